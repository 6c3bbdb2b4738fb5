"""The server of the demo and the examples: it sends each message back unchanged.

``python -m engineio_gevent.cli.demonstration.server`` listens on a free port and prints the port
as a line of JSON. It ends with its standard input, so that it does not outlive the process that
started it.
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

from ..limits import allow_descriptors
from . import DemoError, require

_HOST = '127.0.0.1'
#: The limit to set if possible: each client needs two, and the usual limit is 1,024.
_DESCRIPTORS = 4096


class _Untouched:
    """A ``json`` module for python-engineio that decodes no received text."""

    dumps = staticmethod(json.dumps)

    @staticmethod
    def loads(text: str) -> NoReturn:
        """Reject all texts as invalid JSON."""
        raise ValueError('texts are sent back unchanged')


def _start(port: int) -> WSGIServer:
    """Start a server.

    :param port: the port; 0 for a free port.
    """
    require('engineio', 'simple_websocket')
    import engineio

    # With gevent-websocket installed, python-engineio would expect its handler in the web server.
    # Without it, it uses simple-websocket. This process is the server's.
    sys.modules['geventwebsocket'] = None  # type: ignore[assignment]  # Python allows it
    # This mode of python-engineio works without monkey-patching.
    echo = engineio.Server(
        async_mode='gevent', async_handlers=False, json=_Untouched, cors_allowed_origins='*'
    )
    echo.on('message', echo.send)
    server = WSGIServer(
        (_HOST, port), engineio.WSGIApp(echo), backlog=1024, log=None, error_log=None
    )
    try:
        server.init_socket()
        # Accepted sockets inherit this option. Without it the response to a POST takes 40 ms: the
        # body is written after the head and would wait for a delayed acknowledgement.
        server.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        server.start()
    except OSError as exc:
        raise DemoError(
            f'cannot listen on {_HOST}:{port}: {os.strerror(exc.errno or 0)}. Try another --port'
        ) from exc
    return server


def serve(port: int) -> None:
    """Serve until Ctrl-C.

    :param port: the port; 0 for a free port.
    """
    with suppress(DemoError):
        allow_descriptors(_DESCRIPTORS)
    server = _start(port)
    print(f'Echo server on http://{_HOST}:{server.server_port} (Ctrl-C ends it)', flush=True)
    server.serve_forever()


def _serve_parent() -> None:
    server = _start(0)
    listening = {'port': server.server_port, 'version': version('python-engineio')}
    with suppress(BrokenPipeError):  # the parent has ended already
        print(json.dumps(listening), flush=True)
    stdin = sys.stdin.fileno()
    gevent.os.make_nonblocking(stdin)
    while gevent.os.nb_read(stdin, 4096):
        pass
    # Nothing has to be cleaned up, and thousands of greenlets may still run.
    os._exit(0)


if __name__ == '__main__':
    _serve_parent()
