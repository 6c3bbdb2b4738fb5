"""python-socketio's client on this package's transport: events, acknowledgements, binary data.

It needs the extra ``socketio``. Start its server in one terminal, and this program in another::

    python examples/socketio_server.py
    python examples/socketio_client.py [URL]
"""

from __future__ import annotations

import sys

from socketio.exceptions import ConnectionError

from engineio_gevent.contrib.socketio import Client

sio = Client()


@sio.event
def connect() -> None:
    print(f'connected as {sio.get_sid()}')


@sio.event
def question(text: str) -> str:
    """The return value of a handler is sent to the server as the acknowledgement."""
    return f'{text}? Yes'


@sio.event
def answered(answer: str) -> None:
    print(f'the server received {answer!r}')
    sio.disconnect()


@sio.event
def disconnect(reason: str) -> None:
    print(f'disconnected: {reason}')


def main() -> None:
    url = sys.argv[1] if len(sys.argv) > 1 else 'http://127.0.0.1:5001'
    try:
        sio.connect(url)
    except ConnectionError as exc:
        sys.exit(f'no connection to {url}: {exc}')
    print(f'transport: {sio.transport()}')
    print(f'the sum is {sio.call("add", (1, 2, 39))}')
    print(f'echo of binary data: {sio.call("echo", {"data": bytes(4)})}')
    sio.emit('ask me', 'Ready')
    sio.wait()


if __name__ == '__main__':
    main()
