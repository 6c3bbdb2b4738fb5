"""A connected socket of the caller's, of any kind, used without blocking the thread."""

from __future__ import annotations

import ssl
from typing import Any

from gevent import socket

from .deadlines import timer_seconds
from .plain import PlainSocket
from .tls_over_tls import TLSOverTLS

# Those that give way to other greenlets while they wait.
_COOPERATIVE = PlainSocket, socket.socket, TLSOverTLS


def cooperative(sock: Any) -> Any:
    """The socket itself, or one that waits in gevent's hub in its place."""
    return sock if isinstance(sock, _COOPERATIVE) else _Waiting(sock)


class _Waiting:
    """What a handshake needs of a socket. The socket is non-blocking from here.

    :param sock: such as one of the standard library's, with or without TLS.
    """

    def __init__(self, sock: Any) -> None:
        self._sock = sock
        self._seconds: float | None = sock.gettimeout() or None
        sock.setblocking(False)

    def recv(self, size: int) -> bytes:
        while True:
            try:
                received: bytes = self._sock.recv(size)
                return received
            except (BlockingIOError, ssl.SSLWantReadError):
                self._until(socket.wait_read)
            except ssl.SSLWantWriteError:
                self._until(socket.wait_write)

    def sendall(self, data: Any) -> None:
        view = memoryview(data)
        while view:
            try:
                view = view[self._sock.send(view) :]
            except (BlockingIOError, ssl.SSLWantWriteError):
                self._until(socket.wait_write)
            except ssl.SSLWantReadError:
                self._until(socket.wait_read)

    def _until(self, ready: Any) -> None:
        ready(self._sock.fileno(), timer_seconds(self._seconds), TimeoutError('timed out'))

    @property
    def suppress_ragged_eofs(self) -> bool:
        suppresses: bool = self._sock.suppress_ragged_eofs  # as only sockets with TLS have it
        return suppresses

    @suppress_ragged_eofs.setter
    def suppress_ragged_eofs(self, suppresses: bool) -> None:
        self._sock.suppress_ragged_eofs = suppresses

    def setsockopt(self, *option: Any) -> None:
        self._sock.setsockopt(*option)

    def gettimeout(self) -> float | None:
        return self._seconds

    def settimeout(self, seconds: float | None) -> None:
        self._seconds = seconds

    def fileno(self) -> int:
        number: int = self._sock.fileno()
        return number
