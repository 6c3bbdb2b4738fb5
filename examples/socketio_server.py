"""The server of ``socketio_client.py``: python-socketio's, on gevent.

It needs the extras ``socketio`` and ``demo``::

    python examples/socketio_server.py [PORT]
"""

# ruff: noqa: E402 - the server wants patches, before anything else is imported
from __future__ import annotations

from gevent import monkey

monkey.patch_all()

import sys

import gevent.pywsgi
import socketio

sio = socketio.Server(async_mode='gevent')


@sio.event
def add(sid: str, *numbers: int) -> int:
    return sum(numbers)


@sio.event
def echo(sid: str, data: object) -> object:
    return data


@sio.on('ask me')
def ask(sid: str, text: str) -> None:
    """Ask the client, and tell it what it has answered."""

    def tell(answer: str) -> None:
        sio.emit('answered', answer, to=sid)

    sio.emit('question', text, to=sid, callback=tell)


def main() -> None:
    port = int(sys.argv[1]) if len(sys.argv) > 1 else 5001
    server = gevent.pywsgi.WSGIServer(('127.0.0.1', port), socketio.WSGIApp(sio), log=None)
    server.start()
    print(f'serving http://127.0.0.1:{server.server_port}', flush=True)
    server.serve_forever()


if __name__ == '__main__':
    main()
