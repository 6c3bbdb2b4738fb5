"""Run many clients in one process.

An idle client has no greenlet. Only clients that are connecting, sending or
disconnecting need one; this program limits them to 50 at a time.

Start the echo server in one terminal, and this program in another::

    engineio-gevent demo --serve
    python examples/many_clients.py [URL [COUNT]]
"""

from __future__ import annotations

import gc
import sys
import time
from collections.abc import Callable

import greenlet
from gevent.event import AsyncResult
from gevent.pool import Pool

from engineio_gevent import Client

AT_ONCE = 50


def ask(eio: Client) -> bool:
    """Send a message and wait for its echo."""
    answer: AsyncResult[str] = AsyncResult()
    eio.on('message', answer.set)
    eio.send(f'I am {eio.sid}')
    return answer.get(timeout=10) == f'I am {eio.sid}'


def count_greenlets() -> int:
    gc.collect()
    return sum(isinstance(item, greenlet.greenlet) and bool(item) for item in gc.get_objects())


def main() -> None:
    url = sys.argv[1] if len(sys.argv) > 1 else 'http://127.0.0.1:5000'
    count = int(sys.argv[2]) if len(sys.argv) > 2 else 500
    clients = [Client() for _ in range(count)]
    pool = Pool(AT_ONCE)

    def everyone(what: str, function: Callable[[Client], object]) -> None:
        """Run a function for each client, in a greenlet of the pool."""
        start = time.perf_counter()
        results = pool.map(function, clients)
        print(f'{what}: {len(results)} clients in {time.perf_counter() - start:.2f} s')

    everyone('connected', lambda eio: eio.connect(url))
    print(f'idle: {count_greenlets()} greenlets in this process')
    everyone('answered', ask)
    everyone('disconnected', lambda eio: eio.disconnect())


if __name__ == '__main__':
    main()
