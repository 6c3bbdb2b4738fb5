"""The embedded upstream: an Engine.IO server that answers pings and broadcasts posts.

    python examples/gunicorn_bridge/upstream.py [PORT]

It stands for your own server. `link.py` describes its messages. Plain text from any client is a
post, so you can send posts from a shell with `engineio-gevent connect`.
"""

from __future__ import annotations

import itertools
import json
import secrets
import signal
import socket
import sys
import time
from collections import deque
from typing import Any, NoReturn

import engineio
import gevent
from gevent.event import Event
from gevent.pywsgi import WSGIServer

HOST = '127.0.0.1'
#: Messages kept for workers that are new or reconnect.
HISTORY = 100
#: Number of kept keys, which identify repeated posts.
KEYS = 10_000
#: Maximum characters of a message.
TEXT_LIMIT = 1000

# With gevent-websocket installed, python-engineio would expect its handler in the web server.
# Without it, it uses simple-websocket.
sys.modules['geventwebsocket'] = None


class AsText:
    """A ``json`` module for the server that does not parse text, so that ``42`` is a message."""

    dumps = staticmethod(json.dumps)

    @staticmethod
    def loads(text: str) -> NoReturn:
        """Reject all text, so that the server passes it on unparsed."""
        raise ValueError('text is not parsed by the server')


class Upstream:
    """An Engine.IO server with a history of messages."""

    def __init__(self) -> None:
        # Differs between starts, so that ids are unique.
        self._epoch = secrets.token_hex(4)
        self._numbers = itertools.count(1)
        self._history: deque[dict[str, Any]] = deque(maxlen=HISTORY)
        self._members: dict[str, str] = {}
        self._ids: dict[str, str] = {}
        self.server = engineio.Server(
            async_mode='gevent',
            async_handlers=False,
            json=AsText,
            # A worker notices within 10 s that the upstream hangs.
            ping_interval=5,
            ping_timeout=5,
            max_http_buffer_size=64 << 10,
        )
        self.server.on('message', self._on_message)
        self.server.on('disconnect', self._on_disconnect)

    def _on_message(self, sid: str, data: str | bytes) -> None:
        message = _parse(data)
        reference = {'ref': message.get('ref')}
        match message.get('type'):
            case 'hello':
                self._join(sid, message)
            case 'ping':
                self.server.send(sid, {'type': 'pong', **reference})
            case 'post':
                text = message.get('text')
                if isinstance(text, str) and 0 < len(text) <= TEXT_LIMIT:
                    posted = self._post(message.get('key'), text)
                    self.server.send(sid, {'type': 'posted', 'id': posted, **reference})
                else:
                    error = f'a message must have 1 to {TEXT_LIMIT} characters'
                    self.server.send(sid, {'type': 'refused', 'error': error, **reference})

    def _join(self, sid: str, message: dict[str, Any]) -> None:
        name = self._members[sid] = str(message.get('name'))[:100]
        # Nothing here waits, so no broadcast can come between the history and welcome.
        for entry in self._after(message.get('after')):
            self.server.send(sid, entry)
        self.server.send(sid, {'type': 'welcome'})
        say(f'{name} has joined')

    def _after(self, last_id: object) -> list[dict[str, Any]]:
        entries = list(self._history)
        ids = [entry['id'] for entry in entries]
        return entries[ids.index(last_id) + 1 :] if last_id in ids else entries

    def _post(self, key: object, text: str) -> str:
        if not isinstance(key, str):
            return self._broadcast(text)
        if key not in self._ids:
            self._ids[key] = self._broadcast(text)
            if len(self._ids) > KEYS:
                del self._ids[next(iter(self._ids))]
        return self._ids[key]

    def _broadcast(self, text: str) -> str:
        number = f'{self._epoch}-{next(self._numbers)}'
        entry = {'type': 'message', 'id': number, 'text': text, 'at': time.time()}
        self._history.append(entry)
        for sid in list(self._members):
            self.server.send(sid, entry)
        return number

    def _on_disconnect(self, sid: str, reason: str) -> None:
        name = self._members.pop(sid, None)
        if name is not None:
            say(f'{name} has left: {reason}')


def _parse(data: str | bytes) -> dict[str, Any]:
    if isinstance(data, bytes):
        return {}
    try:
        message = json.loads(data)
    except (ValueError, RecursionError):
        message = None
    return message if isinstance(message, dict) else {'type': 'post', 'text': data}


def say(text: str) -> None:
    """Print a line and flush it."""
    print(f'upstream: {text}', flush=True)


def serve(port: int) -> None:
    """Serve until SIGTERM or Ctrl-C.

    :param port: the port; 0 is any free port.
    """
    upstream = Upstream()
    application = engineio.WSGIApp(upstream.server)
    server = WSGIServer((HOST, port), application, log=None, error_log=None)
    server.init_socket()
    # Accepted sockets inherit this, so that several small writes are not delayed.
    server.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    server.start()
    say(f'listening on http://{HOST}:{server.server_port}')
    ended = Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        gevent.signal_handler(number, ended.set)
    ended.wait()
    # The connections of the clients end, without a last message.
    server.stop(timeout=0)


if __name__ == '__main__':
    serve(int(sys.argv[1]) if len(sys.argv) > 1 else 5000)
