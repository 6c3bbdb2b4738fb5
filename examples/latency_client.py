"""Measure the round-trip time of messages.

Start the echo server in one terminal, and this program in another::

    engineio-gevent demo --serve
    python examples/latency_client.py [URL [COUNT]]
"""

from __future__ import annotations

import sys
import time
from statistics import mean

from gevent.event import AsyncResult

from engineio_gevent import Client

#: Seconds between two round trips.
INTERVAL = 0.1
#: Timeout of a round trip, in seconds.
TIMEOUT = 5.0


def round_trip(eio: Client, number: int) -> float:
    """Send a message, wait for its echo, and return the time between in milliseconds."""
    answer: AsyncResult[str] = AsyncResult()
    eio.on('message', answer.set)
    start = time.perf_counter()
    eio.send(f'message {number}')
    answer.get(timeout=TIMEOUT)
    return (time.perf_counter() - start) * 1000


def main() -> None:
    url = sys.argv[1] if len(sys.argv) > 1 else 'http://127.0.0.1:5000'
    count = int(sys.argv[2]) if len(sys.argv) > 2 else 10
    times = []
    with Client() as eio:
        eio.connect(url)
        for number in range(1, count + 1):
            times.append(round_trip(eio, number))
            print(f'round trip {number}: {times[-1]:.2f} ms')
            eio.sleep(INTERVAL)
    print(
        f'{count} round trips: fastest {min(times):.2f} ms, '
        f'mean {mean(times):.2f} ms, slowest {max(times):.2f} ms'
    )


if __name__ == '__main__':
    main()
