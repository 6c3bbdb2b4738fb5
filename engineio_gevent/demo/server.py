"""The server of the demo and of the examples: it sends each message back as it came.

As ``python -m engineio_gevent.demo.server`` it listens on a free port, prints
one line of JSON that says which, and ends with its standard input, so that it
never outlives whoever started it.
"""

from __future__ import annotations

import json
import os
import socket
import sys
from contextlib import suppress
from importlib.metadata import version
from typing import NoReturn

import gevent.os
from gevent.pywsgi import WSGIServer

from . import DemoError, require
from .limits import allow_descriptors

_HOST = '127.0.0.1'
#: Of these the server has two for each client; the usual limit of 1,024 is soon reached.
_DESCRIPTORS = 4096


class _Untouched:
    """A ``json`` for python-engineio that leaves all received text text."""

    dumps = staticmethod(json.dumps)

    @staticmethod
    def loads(text: str) -> NoReturn:
        """Say that this is no JSON."""
        raise ValueError('the text goes back as it came')


def _start(port: int) -> WSGIServer:
    """A server that listens.

    :param port: 0 for any that is free.
    """
    require('engineio', 'simple_websocket')
    import engineio

    # With this async mode python-engineio cooperates without monkey-patching.
    echo = engineio.Server(
        async_mode='gevent', async_handlers=False, json=_Untouched, cors_allowed_origins='*'
    )
    echo.on('message', echo.send)
    server = WSGIServer(
        (_HOST, port), engineio.WSGIApp(echo), backlog=1024, log=None, error_log=None
    )
    try:
        server.init_socket()
        # What it accepts inherits this. Without it an answer to a POST takes 40 ms: its body is
        # written after its head, and waits for the client's delayed acknowledgement.
        server.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        server.start()
    except OSError as exc:
        raise DemoError(f'cannot listen on {_HOST}:{port}: {os.strerror(exc.errno or 0)}') from exc
    return server


def serve(port: int) -> None:
    """Serve until Ctrl-C.

    :param port: 0 for any that is free.
    """
    with suppress(DemoError):
        allow_descriptors(_DESCRIPTORS)
    server = _start(port)
    print(f'Echo server on http://{_HOST}:{server.server_port} (Ctrl-C ends it)', flush=True)
    server.serve_forever()


def _serve_parent() -> None:
    server = _start(0)
    listening = {'port': server.server_port, 'version': version('python-engineio')}
    with suppress(BrokenPipeError):  # they have gone already
        print(json.dumps(listening), flush=True)
    stdin = sys.stdin.fileno()
    gevent.os.make_nonblocking(stdin)
    while gevent.os.nb_read(stdin, 4096):
        pass
    # There is nothing to tidy up, and thousands of greenlets not to wait for.
    os._exit(0)


if __name__ == '__main__':
    _serve_parent()
