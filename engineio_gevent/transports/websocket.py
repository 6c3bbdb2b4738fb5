"""The websocket transport: handshake by websocket-client, frames over a stream."""

from __future__ import annotations

from time import monotonic
from typing import Any

import websocket
from gevent.event import Event

from ..exceptions import ConnectionClosed, ProtocolError
from ..protocol import frames, packet
from ..protocol.frames import BINARY, CLOSE, PING, PONG, TEXT, FrameDecoder, encode_frame
from ..protocol.packet import Encoded
from . import dial, tls
from .base import Limits, Sink, describe, unsent
from .http import refused
from .route import Route
from .stream import Stream
from .unpatched import warn_if_unpatched

#: Bytes of an answer to the handshake that are read before it is refused.
MAX_ANSWER = 1 << 20



class WebSocket:
    """The websocket transport.

    :param sink: whom to tell.
    :param route: the way to the server.
    :param limits: the client's ``request_timeout`` and ``max_message_size``.
    """

    name = 'websocket'

    # Mutable: _stream, _closing, _peer_closed, sink; touched only in the hub's own thread.
    __slots__ = (
        '_closed', '_closing', '_decoder', '_limits', '_lost', '_peer_closed', '_route', '_stream',
        'sink',
    )

    def __init__(self, sink: Sink, route: Route, limits: Limits) -> None:
        self.sink = sink
        self._route = route
        self._limits = limits
        self._decoder = FrameDecoder(limits.max_message_size)
        self._stream: Stream | None = None
        self._closing = False  # a close frame went out
        self._closed = False
        self._peer_closed: Event | None = None
        self._lost: Exception | None = None  # what came in place of the server's farewell

    # Opening

    def open(self, sid: str | None = None) -> None:
        """Do the websocket handshake and begin to read."""
        try:
            sock, leftover = _handshake(self._route, sid, self._limits.request_timeout)
        except websocket.WebSocketBadStatusException as exc:
            body = exc.resp_body if isinstance(exc.resp_body, bytes) else None
            raise refused('websocket handshake', exc.status_code, body) from exc
        except websocket.WebSocketConnectionClosedException as exc:
            raise ConnectionClosed('the server closed the connection in the handshake') from exc
        except websocket.WebSocketException as exc:
            raise ProtocolError(f'websocket handshake: {str(exc)[:200]}') from exc
        except OSError as exc:
            raise ConnectionClosed(f'{self._route.netloc}: {describe(exc)}') from exc
        if self._closed:
            sock.close()
            raise ConnectionClosed('closed while connecting')
        self._stream = Stream(sock, self._on_data, self._on_stream_lost)
        if leftover:
            self._on_data(leftover)
        if not self._stream.closed:
            self._stream.start()

    def start(self) -> None:
        """Nothing to do: an open websocket carries packets."""

    # Receiving, in the hub

    def _on_data(self, data: bytes) -> None:
        try:
            messages = self._decoder.feed(data)
        except ProtocolError as exc:
            self._take(exc.decoded)
            self._fail(exc)
        else:
            self._take(messages)

    def _take(self, messages: list[tuple[int, str | bytes]]) -> None:
        packets = []
        decode = packet.decode
        for opcode, data in messages:
            if opcode <= BINARY:  # TEXT or BINARY
                try:
                    packets.append(decode(data))
                except ProtocolError as exc:
                    self.sink.on_packets(self, packets)
                    self._fail(exc)
                    return
                continue
            if packets:
                self.sink.on_packets(self, packets)
                packets = []
            self._on_control(opcode, data)
        if packets:
            self.sink.on_packets(self, packets)

    def _on_control(self, opcode: int, data: str | bytes) -> None:
        stream = self._stream
        if stream is None or stream.closed:
            return
        if opcode == PING:
            stream.write(encode_frame(PONG, data))  # RFC 6455, section 5.5.2
        elif opcode == CLOSE:
            assert isinstance(data, bytes)
            code, reason = frames.parse_close(data)
            if not self._closing:
                # Section 5.5.1: answer with the code received.
                self._closing = True
                stream.write(encode_frame(CLOSE, data[:2]))
            words = f'the server closed the websocket with code {code}'
            self._end(ConnectionClosed(f'{words}: {reason}' if reason else words, code, reason))

    def _on_stream_lost(self, error: Exception | None) -> None:
        if error is None:
            lost: Exception = ConnectionClosed('the server closed the connection')
        elif isinstance(error, OSError):
            lost = ConnectionClosed(f'connection lost: {describe(error)}')
            lost.__cause__ = error
        else:
            lost = error
        self._end(lost)

    def _fail(self, error: ProtocolError) -> None:
        """Tell the server what was wrong (section 7.1.7), then end."""
        if not self._closed:
            self._say_close(error.code, str(error))
            self._end(error)

    def _end(self, error: Exception) -> None:
        if self._peer_closed is not None:
            self._lost = error
            self._peer_closed.set()  # we are waiting for just that
        elif not self._closed:
            self._close()
            self.sink.on_lost(self, error)

    # Sending

    def send(self, packet: Encoded) -> int:
        """Send a packet as one frame; see :meth:`.Transport.send`."""
        stream = self._stream
        if stream is None:
            return 0
        return stream.write(encode_frame(BINARY if isinstance(packet, bytes) else TEXT, packet))

    def wait_below(self, limit: int) -> None:
        """Wait until at most ``limit`` bytes are queued, or the transport is closed."""
        if self._stream is not None:
            self._stream.wait_below(limit)

    def _say_close(self, code: int, reason: str) -> None:
        if not self._closing and self._stream is not None:
            self._closing = True
            self._stream.write(encode_frame(CLOSE, frames.encode_close(code, reason)))

    # Ending

    def finish(self, timeout: float) -> None:
        """Send a CLOSE packet and the close frame after what is queued; wait for the server's."""
        deadline = monotonic() + timeout
        stream = self._stream
        try:
            if stream is not None and not stream.closed:
                self._peer_closed = Event()
                goodbye = encode_frame(TEXT, str(packet.CLOSE))
                if not self._closing:
                    self._closing = True
                    goodbye += encode_frame(CLOSE, frames.encode_close())
                stream.write(goodbye)
                if stream.drain(timeout):
                    self._peer_closed.wait(max(0.0, deadline - monotonic()))
                else:
                    self.sink.on_lost(self, self._lost or unsent(stream.queued))
        finally:
            self._peer_closed = None
            self._close()

    def close(self, code: int | None = None, reason: str = '') -> None:
        """Close at once; idempotent. With a code, a close frame goes out if the socket takes it."""
        if code is not None and not self._closed:
            self._say_close(code, reason)
        self._close()

    def _close(self) -> None:
        self._closed = True
        if self._stream is not None:
            # A close frame, and a pong before it, may wait for the end of the loop's turn.
            self._stream.flush()
            self._stream.close()

    def abandon(self) -> None:
        """Let go of the socket without a byte to the server."""
        self._closed = True
        if self._stream is not None:
            self._stream.abandon()


# The handshake


def _handshake(route: Route, sid: str | None, timeout: float | None) -> tuple[Any, bytes]:
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


