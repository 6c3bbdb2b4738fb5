"""The websocket transport: packets in frames over a stream."""

from __future__ import annotations

from time import monotonic
from typing import Any

from gevent.hub import get_hub

from ..exceptions import ConnectionClosed, EngineIOError, HTTPError, ProtocolError
from ..net.deadlines import timer_seconds
from ..net.errors import error_text
from ..net.stream import Stream
from ..net.wakeup import WakeUp
from ..net.watchers import close_watchers
from ..protocol import frames, packet
from ..protocol.frames import (
    BINARY,
    CLOSE,
    LARGE,
    MESSAGE,
    PING,
    PONG,
    TEXT,
    FrameDecoder,
    LargeFrame,
    encode_frame,
)
from ..protocol.messages import split_messages
from ..protocol.open_packet import OpenPacket
from ..protocol.packet import Encoded, is_message
from .base import Limits, Sink, undelivered_error
from .handshake import LateRefusal
from .opening import open_websocket
from .route import Route

#: Seconds for which finish() waits for the server to close TCP after the close frames. Most servers
#: take less than 1 ms. Those that do not close (python-engineio on gevent.pywsgi) get a reset.
FIN_TIMEOUT = 0.02
#: Seconds after which finish() checks whether the server accepts what is queued.
_CHECK_INTERVAL = 0.25

# The longest control packet that is not sent by send_first(): "2probe". To ask is_message() for
# each packet would take 0.05 us.
_MAX_CONTROL = 6

_MESSAGE = str(packet.MESSAGE)
_NORMAL_CLOSURE = frames.encode_close()

# How far a websocket has come to its end (RFC 6455, section 7.1).
_OPEN = 0  # or about to be
_CLOSE_SENT = 1  # our close frame; the server has not answered
_CLOSE_ANSWERED = 2  # by the server's close frame: it has read all that we sent
_CLOSE_RECEIVED = 3  # the server's close frame came first; ours followed at once
_CLOSED = 4  # the stream is closed, or will not be opened


class WebSocket:
    """The websocket transport.

    :param sink: whom to tell.
    :param route: the way to the server.
    :param limits: the client's ``request_timeout``, ``max_message_size`` and
                   ``max_receive_delay``.
    """

    name = 'websocket'

    # Mutable: _state, _stream, _end_awaited, _never_sent, sink; touched only in the hub's own
    # thread.
    __slots__ = (
        '_decoder',
        '_end_awaited',
        '_fin_timer',
        '_limits',
        '_may_refuse',
        '_never_sent',
        '_route',
        '_state',
        '_stream',
        'sink',
    )

    def __init__(self, sink: Sink, route: Route, limits: Limits) -> None:
        self.sink = sink
        self._route = route
        self._limits = limits
        self._decoder: FrameDecoder | LateRefusal = FrameDecoder(
            limits.max_message_size, take_digit=True
        )
        self._state = _OPEN
        self._stream: Stream | None = None
        # While finish() waits: how the server ended the connection, which is not reported then.
        self._end_awaited: WakeUp | None = None
        self._fin_timer: Any = None
        self._never_sent = 0
        # Whether the server may still refuse, as it has accepted the HTTP request alone.
        self._may_refuse = True

    def report_to(self, sink: Sink) -> None:
        """Report packets and the end to another sink from now on: the probe has succeeded."""
        self.sink = sink
        self._may_refuse = False

    # Opening

    def open(self, sid: str | None = None) -> None:
        """Do the websocket handshake and begin to read."""
        opened = open_websocket(self._route, sid, self._limits.request_timeout)
        sock, leftover = opened.sock, opened.rest
        if self._state == _CLOSED:
            sock.close()
            raise ConnectionClosed('the connection was closed by this client while connecting')
        delay = self._limits.max_receive_delay
        stream: Any = Stream(sock, self._on_data, self._on_stream_lost, delay)
        if opened.get_mask_key is not None:
            from .by_websocket_client import KeyedStream

            stream = KeyedStream(stream, opened.get_mask_key)
        self._stream = stream
        if leftover:
            self._on_data(leftover)
        if not stream.closed:
            stream.start()

    def apply_open_packet(self, open_packet: OpenPacket) -> None:
        """The server has accepted. Only polling has a limit for what it sends at once."""
        self._may_refuse = False

    def start(self) -> None:
        """Nothing to do: an open websocket carries packets."""

    # Receiving, in the hub

    def _on_data(self, data: bytes) -> None:
        decoder = self._decoder
        if decoder.idle:
            # Most data is whole messages: 0.45 us instead of 1.6 for one of 100 bytes.
            received, end = split_messages(data, decoder.max_size)
            if received:
                self.sink.on_messages(self, received)
                if end == len(data):
                    return
                data = data[end:]
        try:
            messages = decoder.feed(data)
        except ProtocolError as exc:
            self._take(exc.decoded)
            begun = self._decoder.unread
            if self._may_refuse and begun.startswith(LateRefusal.BEGINS):
                self._decoder = LateRefusal(exc, self._route.netloc)
                self._on_data(begun)
            else:
                self._fail(exc)
        except HTTPError as exc:
            self._refused(exc)
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
            if opcode == MESSAGE:
                packets.append((opcode, data))
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
            if self._state == _OPEN:
                # Section 5.5.1: answer with the code received.
                stream.write(_control_frame(CLOSE, data[:2]))
                self._state = _CLOSE_RECEIVED
            elif self._state == _CLOSE_SENT and not stream.queued:  # else it has not left
                self._state = _CLOSE_ANSWERED
                stream.expect_end()
                if self._end_awaited is not None:
                    # The server closes TCP now. finish() waits for both, and wakes once.
                    self._fin_timer = get_hub().loop.timer(FIN_TIMEOUT)
                    self._fin_timer.start(self._end_awaited.set, None)
                    return
            code, reason = frames.parse_close(data)
            words = f'{self._route.netloc}: the server closed the websocket with code {code}'
            self._on_end(ConnectionClosed(f'{words}: {reason}' if reason else words, code, reason))

    def _refused(self, reason: EngineIOError) -> None:
        """The server has refused after its status 101."""
        assert isinstance(self._decoder, LateRefusal)
        self._fail(self._decoder.fault, reason)

    def _on_stream_lost(self, error: Exception | None) -> None:
        if isinstance(self._decoder, LateRefusal):
            self._refused(self._decoder.error())
            return
        if self._end_awaited is not None and self._state == _CLOSE_ANSWERED:
            self._end_awaited.set()  # as it should end, so nobody asks how
            return
        server = self._route.netloc
        if error is None:
            lost: Exception = ConnectionClosed(f'{server}: the server closed the connection')
        elif isinstance(error, OSError):
            lost = ConnectionClosed(f'{server}: connection lost: {error_text(error)}')
            lost.__cause__ = error
        else:
            lost = error
        self._on_end(lost)

    def _fail(self, error: ProtocolError, refusal: Exception | None = None) -> None:
        """Tell the server what was wrong (section 7.1.7), then end.

        :param refusal: the server's reason, if it is not the fault in its frames.
        """
        if self._state != _CLOSED:
            self._send_close(error.code, str(error))
            self._on_end(refusal or error)

    def _on_end(self, error: Exception) -> None:
        if self._end_awaited is not None:
            self._end_awaited.set(error)
        elif self._state != _CLOSED:
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
        if size <= _MAX_CONTROL and not is_message(packet):
            return stream.write(_control_frame(TEXT, packet))
        # bytes of the application may be of a subclass, an encoded str is not.
        return stream.write(encode_frame(TEXT if type(packet) is str else BINARY, packet))

    def send_text(self, text: str) -> int:
        """Send a text message as one frame; see :meth:`.Transport.send_text`."""
        stream = self._stream
        if stream is None:
            return -1
        if len(text) >= LARGE:
            return stream.write_large(LargeFrame(text, _MESSAGE))
        return stream.write(encode_frame(TEXT, _MESSAGE + text))

    def send_first(self, packet: str) -> None:
        """Send a control packet ahead of the messages that are queued."""
        if self._stream is not None:
            self._stream.write_first(TEXT, _control_frame(TEXT, packet))

    @property
    def unsent(self) -> int:
        """Messages that the operating system has not taken whole; see :meth:`.Transport.unsent`."""
        stream = self._stream
        return self._never_sent if stream is None else _count_messages(stream)

    def wait_below(self, limit: int) -> None:
        """Wait until at most ``limit`` bytes are queued, or the transport is closed."""
        if self._stream is not None:
            self._stream.wait_below(limit)

    def _send_close(self, code: int, reason: str) -> None:
        if self._state == _OPEN and self._stream is not None:
            self._state = _CLOSE_SENT
            self._stream.write(_control_frame(CLOSE, frames.encode_close(code, reason)))

    # Ending

    def finish(self, timeout: float, limit: float | None = None) -> None:
        """Send a CLOSE packet and the close frame after what is queued; wait for the server's."""
        deadline = monotonic() + (timeout if limit is None else limit)
        stream = self._stream
        try:
            if stream is not None and not stream.closed:
                self._end_awaited = end = WakeUp()
                goodbye = encode_frame(TEXT, str(packet.CLOSE))
                if self._state == _OPEN:
                    self._state = _CLOSE_SENT
                    goodbye += encode_frame(CLOSE, _NORMAL_CLOSURE)
                # In one system call.
                queued = stream.write(_ControlFrame(goodbye))
                if queued < 0:
                    # The caller's get_mask_key has failed: the hub reports the error in a moment.
                    end.wait(timer_seconds(timeout))
                    self.sink.on_lost(self, end.value or undelivered_error(len(goodbye)))
                elif not queued or self._drain(stream, timeout, deadline):
                    end.wait(timer_seconds(min(timeout, deadline - monotonic())))
                else:
                    self.sink.on_lost(self, end.value or undelivered_error(stream.queued))
        finally:
            self._end_awaited = None
            close_watchers(get_hub().loop, self._fin_timer)
            self._fin_timer = None
            self._close()

    def _drain(self, stream: Stream, timeout: float, deadline: float) -> bool:
        """Wait until nothing is queued; whether that is so.

        :param timeout: seconds in which the server has to accept some of it.
        :param deadline: for all of it, by the monotonic clock.
        """
        queued = stream.queued
        patience = monotonic() + timeout
        while not stream.drain(min(_CHECK_INTERVAL, timeout)) and not stream.closed:
            now = monotonic()
            if stream.queued < queued:
                queued = stream.queued
                patience = now + timeout
            if now >= min(patience, deadline):
                break
        return not stream.queued

    def abort(self, timeout: float) -> None:
        """Close at once. A CLOSE packet and a close frame go out if the socket takes them."""
        self.send(str(packet.CLOSE))
        self.close(1000)

    def close(self, code: int | None = None, reason: str = '') -> None:
        """Close at once; idempotent. With a code, a close frame goes out if the socket takes it.

        This side closes TCP first, unless the close frames have been exchanged, and keeps its port
        for a minute. A reset would not, but might overtake what was sent before.
        """
        if code is not None:
            self._send_close(code, reason)
        self._close()

    def _close(self) -> None:
        if self._end_awaited is not None:
            self._end_awaited.set(None)  # finish() waits in another greenlet
        state, self._state = self._state, _CLOSED
        stream, self._stream = self._stream, None
        if stream is not None:
            # A close frame, and a pong before it, may wait for the end of the loop's turn.
            stream.flush()
            # Section 7.1.1: after the close frames, the server closes TCP first.
            if state == _CLOSE_ANSWERED:
                stream.reset()
            elif state == _CLOSE_RECEIVED and not stream.queued:
                stream.close_gently()
            stream.close()
            if stream.queued:
                self._never_sent = _count_messages(stream)

    def abandon(self, wake: bool = True) -> None:
        """Let go of the socket without a byte to the server; see :meth:`.Transport.abandon`."""
        self._state = _CLOSED
        if self._stream is not None:
            self._stream.abandon(wake)


class _ControlFrame(bytes):
    """A frame of ours that does not carry a message."""

    __slots__ = ()


def _control_frame(opcode: int, payload: str | bytes) -> _ControlFrame:
    return _ControlFrame(encode_frame(opcode, payload))


def _count_messages(stream: Stream) -> int:
    return sum(not isinstance(entry, _ControlFrame) for entry in stream.unsent())
