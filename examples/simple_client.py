"""Connect, send a few messages, and disconnect when all of them have come back.

Start the echo server in one terminal, and this program in another::

    engineio-gevent demo --serve
    python examples/simple_client.py [URL]
"""

from __future__ import annotations

import sys
from typing import Any

from engineio_gevent import Client
from engineio_gevent.exceptions import ConnectionError

LAST_WORDS = 'goodbye'

eio = Client()


@eio.on('connect')
def connected() -> None:
    print(f'connected as {eio.sid}')


@eio.on('message')
def message(data: Any) -> None:
    print(f'received {data!r}')
    if data == LAST_WORDS:
        eio.disconnect()


@eio.on('disconnect')
def disconnected(reason: str) -> None:
    print(f'disconnected: {reason}')


def main() -> None:
    url = sys.argv[1] if len(sys.argv) > 1 else 'http://127.0.0.1:5000'
    try:
        eio.connect(url)
    except ConnectionError as exc:
        sys.exit(f'no connection to {url}: {exc.args[0]}')
    print(f'transport: {eio.transport()}')
    eio.send('hello')
    eio.send({'answer': 42, 'list': [1, 2.5, None, True]})
    eio.send(b'\x00\x01\xfe\xff')
    eio.send(LAST_WORDS)
    eio.wait()


if __name__ == '__main__':
    main()
