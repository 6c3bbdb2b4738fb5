"""The opening handshake of a websocket, by websocket-client over a socket of our own."""

from __future__ import annotations

from typing import Any

import websocket

from ..exceptions import ConnectionClosed, ProtocolError
from . import dial, tls
from .base import describe
from .http import refused
from .route import Route
from .unpatched import warn_if_unpatched

#: Bytes of an answer to the handshake that are read before it is refused.
MAX_ANSWER = 1 << 20


def open_websocket(route: Route, sid: str | None, timeout: float | None) -> tuple[Any, bytes]:
    """Connect and shake hands; waits.

    :param sid: the session to join, or None to begin one.
    :param timeout: seconds for the parts of it, where the caller's options say nothing.
    :returns: the connected socket, and what the server has sent after its answer.
    :raises EngineIOError: with the cause chained.
    """
    try:
        return _shake_hands(route, sid, timeout)
    except websocket.WebSocketBadStatusException as exc:
        body = exc.resp_body if isinstance(exc.resp_body, bytes) else None
        raise refused('websocket handshake', exc.status_code, body) from exc
    except websocket.WebSocketConnectionClosedException as exc:
        raise ConnectionClosed('the server closed the connection in the handshake') from exc
    except websocket.WebSocketException as exc:
        raise ProtocolError(f'websocket handshake: {str(exc)[:200]}') from exc
    except OSError as exc:
        raise ConnectionClosed(f'{route.netloc}: {describe(exc)}') from exc


def _shake_hands(route: Route, sid: str | None, timeout: float | None) -> tuple[Any, bytes]:
    """Connect and shake hands; returns the socket and what came after the server's answer."""
    options = route.websocket_handshake()
    options.setdefault('timeout', timeout)
    url = route.url('websocket', sid)
    if options.get('http_proxy_host') or options.get('redirect_limit'):
        warn_if_unpatched('a websocket through a proxy or redirects')
        if route.secure and not (options.get('sslopt') or {}).get('context'):
            sslopt = dict(options.get('sslopt') or {})
            sslopt['context'] = route.tls_context(sslopt)
            options['sslopt'] = sslopt
        connected = websocket.create_connection(url, **options)
        connected.sock, sock = None, connected.sock
        return sock, b''
    given = options.pop('socket', None)
    sock = _connect(route, options) if given is None else given
    try:
        reader = _AnswerReader(sock)
        connected = websocket.create_connection(url, socket=reader, **options)
        connected.sock = None
        route.cookies.store(route.http_origin + route.target('websocket'), reader.cookies)
        return sock, reader.leftover
    except BaseException:
        sock.close()
        raise


def _connect(route: Route, options: dict[str, Any]) -> Any:
    """A connected socket, with the handshake of TLS done where the route wants that."""
    sockopt = options.get('sockopt') or ()
    sslopt = options.get('sslopt') or {}
    sock = dial.open_socket(route.host, route.port, sockopt, options['timeout'])
    try:
        # The session bounds the whole handshake; this is for a caller who wants less.
        sock.settimeout(route.websocket_options.get('timeout'))
        if not route.secure:
            return sock
        return tls.wrap(sock, route.tls_context(sslopt), route.host, sslopt)
    except BaseException:
        sock.close()
        raise


class _AnswerReader:
    """A socket to websocket-client while it reads the server's answer.

    It asks for headers one byte a system call. This reads what there is and
    gives a line at a time: 20 us for a handshake's answer against 340 us. It
    also keeps cookies away from websocket-client, whose jar is one for the
    whole process.
    """

    __slots__ = ('_buffer', '_in_head', '_pieces', '_read', '_sock', 'cookies')

    def __init__(self, sock: Any) -> None:
        self._sock = sock
        self._buffer = b''
        self._pieces: list[bytes] = []
        self._in_head = True
        self._read = 0
        self.cookies: list[str] = []

    @property
    def leftover(self) -> bytes:
        """What came after the answer: the server's first frames."""
        return self._buffer

    def gettimeout(self) -> float:
        """Zero, for which websocket-client calls :meth:`recv` as it is: it waits on its own."""
        return 0

    def settimeout(self, timeout: float | None) -> None:
        """Nothing: the socket has its timeout already."""

    def send(self, data: bytes) -> int:
        self._sock.sendall(data)
        return len(data)

    def recv(self, size: int) -> bytes:
        """Up to ``size`` bytes; where a header's byte is asked, a line's text and then its end."""
        if self._pieces:
            return self._pieces.pop()
        if self._in_head and size == 1:
            line = self._line()
            if line.endswith(b'\n'):
                self._pieces.append(b'\n')
                return line[:-1] or self._pieces.pop()
            return line
        if not self._buffer:
            self._fill()
        data, self._buffer = self._buffer[:size], self._buffer[size:]
        return data

    def _line(self) -> bytes:
        """The next line of the head that websocket-client shall see; empty at end of file."""
        while True:
            end = self._buffer.find(b'\n') + 1
            if not end:
                if not self._fill():
                    return b''
                continue
            line, self._buffer = self._buffer[:end], self._buffer[end:]
            if line[:11].lower() == b'set-cookie:':
                self.cookies.append(line[11:].decode('latin-1').strip())
                continue
            self._in_head = bool(line.strip())
            return line

    def _fill(self) -> bool:
        data = self._sock.recv(65536)
        self._read += len(data)
        if self._read > MAX_ANSWER:
            raise websocket.WebSocketException(f'an answer of more than {MAX_ANSWER} bytes')
        self._buffer += data
        return bool(data)

    def close(self) -> None:
        self._sock.close()


