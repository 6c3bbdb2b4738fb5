"""TLS over a connection that already has TLS: to a server, through a proxy that speaks TLS.

The standard library's ``SSLSocket`` needs a socket without TLS beneath it.
"""

from __future__ import annotations

import contextlib
import ssl
from collections.abc import Callable
from typing import Any, TypeVar

from .tls_socket import sender

_Result = TypeVar('_Result')

#: Bytes of a TLS record at most, 16384 + 256 (RFC 8446, section 5.2): the records of the proxy
#: are read whole.
_RECORD = 16640
#: Bytes that are encrypted at a time. They become one record.
_PIECE = 16384


class TLSOverTLS:
    """What :class:`.Stream` and a handshake need of a TLS socket.

    It waits in the socket beneath it, or raises what that raises: ``ssl.SSLWantReadError`` after
    ``settimeout(0)``.

    :param sock: a connected TLS socket, which it owns from here.
    :param context: the TLS context for the inner connection.
    :param host: the name that the certificate must have.
    :param suppress_ragged_eofs: whether an end of TCP without an end of TLS is an end of file.
    """

    __slots__ = (
        '_accepted',
        '_from_peer',
        '_send',
        '_sock',
        '_tls',
        '_to_peer',
        '_unsent',
        'suppress_ragged_eofs',
    )

    def __init__(
        self, sock: Any, context: ssl.SSLContext, host: str, suppress_ragged_eofs: bool
    ) -> None:
        self._sock = sock
        self._send = sender(sock)
        #: Named as in the standard library's sockets.
        self.suppress_ragged_eofs = suppress_ragged_eofs
        self._from_peer = ssl.MemoryBIO()
        self._to_peer = ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._from_peer, self._to_peer, server_hostname=host)
        # Encrypted bytes that the socket has not accepted yet.
        self._unsent = b''
        # Bytes of the caller that these stand for.
        self._accepted = 0

    def do_handshake(self) -> None:
        """Do the handshake; waits."""
        try:
            self._run(self._tls.do_handshake)
        except ssl.SSLError:
            with contextlib.suppress(OSError):
                self._flush()  # the alert that says why
            raise
        self._flush()

    def recv(self, size: int) -> bytes:
        """Up to ``size`` bytes, empty at end of file."""
        try:
            return self._run(self._tls.read, size)
        except ssl.SSLEOFError:
            if self.suppress_ragged_eofs:
                return b''
            raise

    def send(self, data: Any) -> int:
        """Send some of ``data``; returns how much.

        Where the socket does not accept it all, it raises. As with every TLS socket, the next
        call has to begin with the same bytes.
        """
        if not self._accepted:
            self._accepted = self._run(self._tls.write, memoryview(data)[:_PIECE])
        self._flush()
        accepted, self._accepted = self._accepted, 0
        return accepted

    def sendall(self, data: Any) -> None:
        """Send all of ``data``; waits."""
        view = memoryview(data)
        while view:
            view = view[self.send(view) :]

    def _run(self, step: Callable[..., _Result], *arguments: Any) -> _Result:
        """Take a step of the inner TLS, for which the peer may have to send something."""
        while True:
            try:
                return step(*arguments)
            except ssl.SSLWantReadError:
                # What it has to say first: a part of the handshake, or the answer to a key update.
                # A peer that does not read now may still send.
                with contextlib.suppress(ssl.SSLWantReadError, ssl.SSLWantWriteError):
                    self._flush()
                self._fill()

    def _fill(self) -> None:
        data = self._sock.recv(_RECORD)
        if data:
            self._from_peer.write(data)
        else:
            self._from_peer.write_eof()

    def _flush(self) -> None:
        self._unsent += self._to_peer.read()
        while self._unsent:
            sent = self._send(self._unsent)
            if not sent:  # from a class of the caller's
                raise ssl.SSLWantWriteError
            self._unsent = self._unsent[sent:]

    # What else is asked of a socket

    @property
    def tls(self) -> ssl.SSLObject:
        """The inner TLS connection."""
        return self._tls

    @property
    def family(self) -> int:
        family: int = self._sock.family
        return family

    @property
    def type(self) -> int:
        kind: int = self._sock.type
        return kind

    @property
    def proto(self) -> int:
        proto: int = self._sock.proto
        return proto

    def fileno(self) -> int:
        number: int = self._sock.fileno()
        return number

    def gettimeout(self) -> float | None:
        seconds: float | None = self._sock.gettimeout()
        return seconds

    def settimeout(self, seconds: float | None) -> None:
        self._sock.settimeout(seconds)

    def setsockopt(self, *option: Any) -> None:
        self._sock.setsockopt(*option)

    def getpeercert(self, binary_form: bool = False) -> Any:
        return self._tls.getpeercert(binary_form)

    def version(self) -> str | None:
        return self._tls.version()

    def cipher(self) -> tuple[str, str, int] | None:
        return self._tls.cipher()

    def detach(self) -> int:
        number: int = self._sock.detach()
        return number

    def close(self) -> None:
        self._sock.close()
