"""The sockets of the bare loop, with the hub's watchers."""

from __future__ import annotations

import os
import socket
import ssl
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

from gevent.hub import get_hub

_READ, _WRITE = 1, 2
_CHUNK = 1 << 18


def _wait(sock: socket.socket, events: int) -> None:
    hub = get_hub()
    watcher = hub.loop.io(sock.fileno(), events)
    try:
        hub.wait(watcher)
    finally:
        watcher.close()


class Wire:
    """A connected socket. Received data goes to ``feed``; written data is sent in one piece."""

    __slots__ = ('_flushing', '_left', '_out', '_reader', '_writer', 'feed', 'sock')

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self.sock: socket.socket = socket.socket()
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sock.setblocking(False)
        self.sock.connect_ex((parts.hostname or '', parts.port or 0))
        _wait(self.sock, _WRITE)
        if parts.scheme == 'https':
            self._secure(parts.hostname or '')
        self.feed: Callable[[bytes], object] = bytes
        self._out: list[bytes] = []
        self._left = memoryview(b'')
        self._flushing = False
        self._reader: Any = None
        self._writer: Any = None

    def _secure(self, host: str) -> None:
        secured = _context().wrap_socket(
            self.sock, server_hostname=host, do_handshake_on_connect=False
        )
        self.sock = secured
        while True:
            try:
                return secured.do_handshake()
            except ssl.SSLWantReadError:
                _wait(secured, _READ)

    def ask(self, request: bytes) -> tuple[bytes, bytes]:
        """Send a request.

        :returns: the head of the response, and the data after it.
        """
        self.sock.send(request)
        answer = b''
        while b'\r\n\r\n' not in answer:
            answer += self.receive()
        head, _, rest = answer.partition(b'\r\n\r\n')
        return head, rest

    def receive(self) -> bytes:
        """Wait for data from the server."""
        while True:
            try:
                return self.sock.recv(_CHUNK)
            except (BlockingIOError, ssl.SSLWantReadError):
                _wait(self.sock, _READ)

    def start(self, feed: Callable[[bytes], None]) -> None:
        """Pass all further data to ``feed``, in the hub."""
        self.feed = feed
        self._reader = get_hub().loop.io(self.sock.fileno(), _READ)
        self._reader.start(self._readable)

    def _readable(self) -> None:
        secured = isinstance(self.sock, ssl.SSLSocket)
        while True:
            try:
                data = self.sock.recv(_CHUNK)
            except (BlockingIOError, ssl.SSLWantReadError):
                return
            if not data:
                self.close()
                return
            # Data that the handlers write meanwhile is sent in one piece.
            self._flushing = True
            self.feed(data)
            self._flush()
            if not secured:
                return

    def write(self, data: bytes) -> None:
        """Send data at the end of this turn of the loop."""
        self._out.append(data)
        if not self._flushing:
            self._flushing = True
            get_hub().loop.run_callback(self._flush)

    def _flush(self) -> None:
        self._flushing = False
        if not self._left:
            if not self._out:
                return
            self._left = memoryview(b''.join(self._out))
            self._out.clear()
        try:
            sent = self.sock.send(self._left)
        except (BlockingIOError, ssl.SSLWantWriteError):
            sent = 0
        self._left = self._left[sent:]
        if self._left:
            self._flushing = True
            self._writer = self._writer or get_hub().loop.io(self.sock.fileno(), _WRITE)
            self._writer.start(self._writable)

    def _writable(self) -> None:
        self._writer.stop()
        self._flush()
        if not self._left:
            self._flush()

    def close(self) -> None:
        """Send the pending data, and close."""
        if self.sock.fileno() < 0:
            return
        self._flush()
        for watcher in (self._reader, self._writer):
            if watcher is not None:
                watcher.stop()
                watcher.close()
        self.sock.close()


_contexts: list[ssl.SSLContext] = []


def _context() -> ssl.SSLContext:
    if not _contexts:
        _contexts.append(ssl.create_default_context(cafile=os.environ['SSL_CERT_FILE']))
    return _contexts[0]
