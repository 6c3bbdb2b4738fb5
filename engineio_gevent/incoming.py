"""Packets from the server, and the heartbeat that watches for them."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable
from typing import Any

from .exceptions import HeartbeatTimeout, ProtocolError
from .handler_calls import HandlerCalls
from .heartbeat import Heartbeat
from .lifecycle import OPEN, OPENING, Event
from .net.wakeup import WakeUp
from .options import Options, Reason
from .outgoing import Outgoing, loggable
from .protocol import open_packet, packet
from .protocol.open_packet import OpenPacket
from .protocol.packet import MESSAGE
from .transports.base import Packet, Transport


class Incoming(Outgoing):
    """The part of a connection that receives.

    :param options: the client's options.
    :param calls: calls the message handler.
    :param netloc: the server, for error messages.
    """

    __slots__ = ('_heartbeat', '_netloc', '_opened', 'open_packet')

    def __init__(self, options: Options, calls: HandlerCalls, netloc: str) -> None:
        super().__init__(options, calls)
        self._netloc = netloc
        self._opened: WakeUp | None = None
        self._heartbeat: Heartbeat | None = None
        #: What the server announced in its OPEN packet.
        self.open_packet: OpenPacket | None = None

    @abstractmethod
    def on_lost(self, transport: Transport, error: Exception) -> None:
        """The transport failed, or the server closed it."""

    @abstractmethod
    def _end(self, event: Event, reason: str, error: Exception | None) -> None:
        """The one end of a connection."""

    def _wait_for_open_packet(self) -> None:
        """Wait for it, or for the end of the handshake. No other greenlet runs after that."""
        self._opened = WakeUp()
        try:
            self._opened.wait()
        finally:
            self._opened = None

    # In the hub, or in a greenlet of the transport

    def on_packets(self, transport: Transport, packets: Iterable[Packet]) -> None:
        """Handle packets that the transport received."""
        if self._options.verbose:
            packets = list(packets)
            for packet_type, data in packets:
                self.info('Received packet %s data %s', packet.NAMES[packet_type], loggable(data))
        calls = self._calls
        for packet_type, data in packets:
            if packet_type == MESSAGE and self.phase is OPEN:
                calls.dispatcher.submit(calls.context, calls.deliver, data)
            else:
                self._on_packet(transport, packet_type, data)

    def on_messages(self, transport: Transport, messages: list[str | bytes]) -> None:
        """:meth:`on_packets` for MESSAGE packets alone."""
        if self.phase is OPEN and not self._options.verbose:
            calls = self._calls
            if len(messages) == 1:
                calls.dispatcher.submit(calls.context, calls.deliver, messages[0])
            else:
                calls.dispatcher.submit_all(calls.context, calls.deliver, messages)
        else:
            self.on_packets(transport, [(MESSAGE, data) for data in messages])

    def _on_packet(self, transport: Transport, packet_type: int, data: Any) -> None:
        """Handle a packet that is not a message of an open connection."""
        if self.phase is OPENING:
            self._on_open(transport, packet_type, data)
        elif not self.phase.alive:
            pass  # one side has closed the connection
        elif packet_type == packet.PING:
            assert self._heartbeat is not None
            assert self.transport is not None
            self._heartbeat.beat()
            # A server must not wait for the PONG behind all the messages that are queued.
            self.transport.send_first(f'{packet.PONG}{data}')
            if self._options.verbose:  # 0.2 us of 2
                self.info('Sending packet %s data %s', 'PONG', loggable(data))
        elif packet_type == MESSAGE:
            self._calls.hold(data)
        elif packet_type == packet.CLOSE:
            self._end(Event.SERVER_CLOSE, Reason.SERVER_DISCONNECT, None)
        elif packet_type != packet.NOOP:
            self.info('Received unexpected packet of type %s', packet.NAMES[packet_type])

    def _on_open(self, transport: Transport, packet_type: int, data: Any) -> None:
        if transport is not self.transport:
            return
        try:
            if packet_type != packet.OPEN:
                raise ProtocolError(f'expected an OPEN packet, got {packet.NAMES[packet_type]}')
            found = open_packet.parse(data)
        except ProtocolError as exc:
            self.on_lost(transport, exc)
            return
        self.move(Event.OPEN_PACKET)
        self.open_packet = found
        self._heartbeat = Heartbeat(found.patience, self._on_silence)
        transport.apply_open_packet(found)
        self._wake_connect()

    def _wake_connect(self) -> None:
        if self._opened is not None:
            self._opened.set()

    def _on_silence(self) -> None:
        """In the hub: no PING has arrived in time."""
        assert self.open_packet is not None
        seconds = self.open_packet.patience
        error = f'{self._netloc}: no PING from the server for {seconds:g} seconds'
        self._end(Event.LOSS, Reason.TRANSPORT_ERROR, HeartbeatTimeout(error))
