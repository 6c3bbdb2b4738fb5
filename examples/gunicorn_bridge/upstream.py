"""The embedded upstream: a small Engine.IO server that answers pings and broadcasts posts.

    python examples/gunicorn_bridge/upstream.py [PORT]

It stands for the server that you have. What it speaks is told in `link.py`; plain text from any
other client counts as a post, so that a person can talk to it from a shell.
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
#: Messages kept for workers that come back, or are new.
HISTORY = 100
#: Posts whose keys are kept, by which it is known that one comes again.
KEYS = 10_000
#: Characters of a message.
TEXT_LIMIT = 1000


class AsText:
    """A ``json`` for the server that leaves text as it is: ``42`` is a message, too."""

    dumps = staticmethod(json.dumps)

    @staticmethod
    def loads(text: str) -> NoReturn:
        """Say that this is no JSON."""
        raise ValueError('it is looked at here')


class Upstream:
    """An Engine.IO server and what it remembers."""

    def __init__(self) -> None:
        # Another one for each start, so that no id comes twice.
        self._epoch = secrets.token_hex(4)
        self._numbers = itertools.count(1)
        self._history: deque[dict[str, Any]] = deque(maxlen=HISTORY)
        self._members: dict[str, str] = {}
        self._ids: dict[str, str] = {}
        self.server = engineio.Server(
            async_mode='gevent',
            async_handlers=False,
            json=AsText,
            # A worker on the same machine notices by this that an upstream hangs, within 10 s.
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
                    error = f'a message is text of 1 to {TEXT_LIMIT} characters'
                    self.server.send(sid, {'type': 'refused', 'error': error, **reference})

    def _join(self, sid: str, message: dict[str, Any]) -> None:
        name = self._members[sid] = str(message.get('name'))[:100]
        # Nothing in here waits, so nothing is broadcast between the history and what follows it.
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
    """Print a line that is seen at once, by whoever reads along."""
    print(f'upstream: {text}', flush=True)


def serve(port: int) -> None:
    """Serve until SIGTERM or Ctrl-C.

    :param port: 0 for any that is free.
    """
    upstream = Upstream()
    application = engineio.WSGIApp(upstream.server)
    server = WSGIServer((HOST, port), application, log=None, error_log=None)
    server.init_socket()
    # What it accepts inherits this: an answer of several writes does not wait for a delayed ACK.
    server.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    server.start()
    say(f'listening on http://{HOST}:{server.server_port}')
    ended = Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        gevent.signal_handler(number, ended.set)
    ended.wait()
    # Its clients see their connections end: it has no more to say to them.
    server.stop(timeout=0)


if __name__ == '__main__':
    serve(int(sys.argv[1]) if len(sys.argv) > 1 else 5000)
