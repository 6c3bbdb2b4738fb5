"""A Socket.IO server to try clients and load tests on: python-socketio's, with gevent.

It needs the extras ``socketio`` and ``demo``::

    python examples/socketio_server.py [PORT]

The namespace ``/`` has calculations, echoes and chat rooms. The namespace ``/members`` accepts
only clients with the token or the cookie ``secret``; ``POST /login`` sets the cookie.
"""

# ruff: noqa: E402 - this program must be monkey-patched before other imports
from __future__ import annotations

from gevent import monkey

monkey.patch_all()

import sys
from collections.abc import Callable, Iterable
from http.cookies import SimpleCookie
from typing import Any

import gevent.pywsgi
import socketio
from socketio.exceptions import ConnectionRefusedError

SECRET = 'secret'

# With gevent-websocket installed, python-engineio would expect its handler in the web server.
# Without it, it uses simple-websocket.
sys.modules['geventwebsocket'] = None

sio = socketio.Server(async_mode='gevent')


@sio.event
def add(sid: str, *numbers: int) -> int:
    return sum(numbers)


@sio.event
def echo(sid: str, data: object) -> object:
    return data


@sio.on('ask me')
def ask(sid: str, text: str) -> None:
    """Ask the client a question, then tell the client which answer arrived."""

    def tell(answer: str) -> None:
        sio.emit('answered', answer, to=sid)

    sio.emit('question', text, to=sid, callback=tell)


@sio.event
def join(sid: str, room: str) -> str:
    sio.enter_room(sid, room)
    return room


@sio.event
def say(sid: str, room: str, text: str) -> None:
    """Send the text to all members of a room."""
    sio.emit('said', text, to=room)


@sio.on('connect', namespace='/members')
def connect_member(sid: str, environ: dict[str, Any], auth: Any) -> None:
    cookies = SimpleCookie(environ.get('HTTP_COOKIE', ''))
    token = auth.get('token') if isinstance(auth, dict) else None
    if token != SECRET and ('login' not in cookies or cookies['login'].value != SECRET):
        raise ConnectionRefusedError('log in first')


@sio.on('whoami', namespace='/members')
def who_am_i(sid: str) -> str:
    return 'a member'


def pages(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """The HTTP part of the server: ``POST /login``. A real one would check a password."""
    if (environ['REQUEST_METHOD'], environ['PATH_INFO']) != ('POST', '/login'):
        start_response('404 Not Found', [('Content-Type', 'text/plain')])
        return [b'not found\n']
    start_response('200 OK', [('Content-Type', 'text/plain'), ('Set-Cookie', f'login={SECRET}')])
    return [b'logged in\n']


def main() -> None:
    port = int(sys.argv[1]) if len(sys.argv) > 1 else 5001
    application = socketio.WSGIApp(sio, wsgi_app=pages)
    server = gevent.pywsgi.WSGIServer(('127.0.0.1', port), application, log=None)
    server.start()
    print(
        f'Socket.IO server on http://127.0.0.1:{server.server_port} (Ctrl-C stops it)', flush=True
    )
    server.serve_forever()


if __name__ == '__main__':
    main()
