"""The websocket transport: packets in frames over a stream."""

from __future__ import annotations

from time import monotonic

from gevent.event import Event

from ..exceptions import ConnectionClosed, ProtocolError
from ..net.deadlines import timer_seconds
from ..net.errors import error_text
from ..net.stream import Stream
from ..protocol import frames, packet
from ..protocol.frames import (
    BINARY,
    CLOSE,
    LARGE,
    PING,
    PONG,
    TEXT,
    FrameDecoder,
    LargeFrame,
    encode_frame,
)
from ..protocol.packet import Encoded, is_message
from .base import Limits, Sink, unsent
from .opening import open_websocket
from .route import Route

#: Seconds for which finish() waits for the server to close TCP after the close frames, so that
#: nothing is left when it returns. Most servers take less than 1 ms; the hub waits for the others.
FIN_TIMEOUT = 0.02
#: Seconds after which a farewell looks whether the server takes what is queued.
_LOOK = 0.25

# The longest control packet that is not sent by send_first(): "2probe". To ask is_message() for
# each packet would take 0.05 us.
_MAX_CONTROL = 6


class WebSocket:
    """The websocket transport.

    :param sink: whom to tell.
    :param route: the way to the server.
    :param limits: the client's ``request_timeout`` and ``max_message_size``.
    """

    name = 'websocket'

    # Mutable: _stream, _closing, _peer_closed, sink; touched only in the hub's own thread.
    __slots__ = (
        '_answered',
        '_closed',
        '_closing',
        '_decoder',
        '_limits',
        '_lost',
        '_never_sent',
        '_peer_closed',
        '_route',
        '_stream',
        'sink',
    )

    def __init__(self, sink: Sink, route: Route, limits: Limits) -> None:
        self.sink = sink
        self._route = route
        self._limits = limits
        self._decoder = FrameDecoder(limits.max_message_size)
        self._stream: Stream | None = None
        self._closing = False  # a close frame went out
        self._answered = False  # our close frame was, by the server's
        self._closed = False
        self._peer_closed: Event | None = None
        self._never_sent = 0
        self._lost: Exception | None = None  # what came in place of the server's farewell

    # Opening

    def open(self, sid: str | None = None) -> None:
        """Do the websocket handshake and begin to read."""
        sock, leftover = open_websocket(self._route, sid, self._limits.request_timeout)
        if self._closed:
            sock.close()
            raise ConnectionClosed('the connection was closed by this client while connecting')
        self._stream = stream = Stream(sock, self._on_data, self._on_stream_lost)
        if leftover:
            self._on_data(leftover)
        if not stream.closed:
            stream.start()

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
            # RFC 6455, section 5.5.2; 5.5.3: it is enough to answer the last PING.
            stream.write_first(PONG, _control_frame(PONG, data))
        elif opcode == CLOSE:
            assert isinstance(data, bytes)
            code, reason = frames.parse_close(data)
            self._answered = self._closing
            if not self._closing:
                # Section 5.5.1: answer with the code received.
                self._closing = True
                stream.write(_control_frame(CLOSE, data[:2]))
                stream.flush()
                if not stream.queued:
                    stream.close_gently(answered=False)
            words = f'{self._route.netloc}: the server closed the websocket with code {code}'
            self._end(ConnectionClosed(f'{words}: {reason}' if reason else words, code, reason))

    def _on_stream_lost(self, error: Exception | None) -> None:
        server = self._route.netloc
        if error is None:
            lost: Exception = ConnectionClosed(f'{server}: the server closed the connection')
        elif isinstance(error, OSError):
            lost = ConnectionClosed(f'{server}: connection lost: {error_text(error)}')
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
            return -1
        size = len(packet)
        if size >= LARGE:
            return stream.write_large(LargeFrame(packet))
        frame = encode_frame(BINARY if isinstance(packet, bytes) else TEXT, packet)
        if size <= _MAX_CONTROL and not is_message(packet):
            frame = _ControlFrame(frame)
        return stream.write(frame)

    def send_first(self, packet: str) -> None:
        """Send a control packet ahead of the messages that are queued."""
        if self._stream is not None:
            self._stream.write_first(TEXT, _control_frame(TEXT, packet))

    @property
    def unsent(self) -> int:
        """Messages that the operating system has not taken whole; see :meth:`.Transport.unsent`."""
        if self._stream is None:
            return self._never_sent
        return sum(not isinstance(entry, _ControlFrame) for entry in self._stream.unsent())

    def wait_below(self, limit: int) -> None:
        """Wait until at most ``limit`` bytes are queued, or the transport is closed."""
        if self._stream is not None:
            self._stream.wait_below(limit)

    def _say_close(self, code: int, reason: str) -> None:
        if not self._closing and self._stream is not None:
            self._closing = True
            self._stream.write(_control_frame(CLOSE, frames.encode_close(code, reason)))

    # Ending

    def finish(self, timeout: float, limit: float | None = None) -> None:
        """Send a CLOSE packet and the close frame after what is queued; wait for the server's."""
        deadline = monotonic() + (timeout if limit is None else limit)
        stream = self._stream
        try:
            if stream is not None and not stream.closed:
                self._peer_closed = Event()
                goodbye = encode_frame(TEXT, str(packet.CLOSE))
                if not self._closing:
                    self._closing = True
                    goodbye += encode_frame(CLOSE, frames.encode_close())
                stream.write(_ControlFrame(goodbye))
                queued = stream.queued
                patience = monotonic() + timeout
                while not stream.drain(min(_LOOK, timeout)) and not stream.closed:
                    now = monotonic()
                    if stream.queued < queued:  # the server takes it
                        queued = stream.queued
                        patience = now + timeout
                    if now >= min(patience, deadline):
                        break
                if not stream.queued:
                    self._peer_closed.wait(timer_seconds(min(timeout, deadline - monotonic())))
                    if self._answered:
                        stream.wait_closed(min(FIN_TIMEOUT, deadline - monotonic()))
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
            if self._answered:
                self._stream.close_gently(answered=True)
            self._stream.close()
            self._never_sent = self.unsent
            self._stream = None  # and what is queued

    def abandon(self) -> None:
        """Let go of the socket without a byte to the server."""
        self._closed = True
        if self._stream is not None:
            self._stream.abandon()


class _ControlFrame(bytes):
    """A frame of ours that does not carry a message."""

    __slots__ = ()


def _control_frame(opcode: int, payload: str | bytes) -> _ControlFrame:
    return _ControlFrame(encode_frame(opcode, payload))
