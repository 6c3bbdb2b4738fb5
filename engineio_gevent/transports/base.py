"""The interface between a session and what carries its packets."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from ..exceptions import ConnectionClosed
from ..protocol.open_packet import OpenPacket
from ..protocol.packet import Encoded

#: A decoded packet: its type and its data.
Packet = tuple[int, 'str | bytes']


class Sink(Protocol):
    """Receives the reports of a transport. It may be called in the hub, so it never waits."""

    def on_packets(self, transport: Transport, packets: Iterable[Packet]) -> None:
        """Handle packets, in the order in which they arrived."""

    def on_messages(self, transport: Transport, messages: list[str | bytes]) -> None:
        """:meth:`on_packets` for MESSAGE packets alone, given by their data."""

    def on_lost(self, transport: Transport, error: Exception) -> None:
        """The transport failed or was closed by the server. Called at most once."""


class Transport(Protocol):
    """A way to carry packets. Methods that wait say so; the others work in the hub too."""

    #: The name that the protocol gives it: ``'polling'`` or ``'websocket'``.
    name: str
    #: Gets the packets, and the error that ends the transport.
    sink: Sink

    def open(self, sid: str | None = None) -> None:
        """Connect; waits. Packets may reach the sink before it returns.

        :param sid: the session to join, or None to begin one.
        :raises EngineIOError: what went wrong, with the cause chained.
        """

    def apply_open_packet(self, open_packet: OpenPacket) -> None:
        """Use what the server announced."""

    def start(self) -> None:
        """Carry packets until the transport is closed. It may be called several times."""

    def send(self, packet: Encoded) -> int:
        """Send a packet, or queue it.

        :returns: the number of bytes that are queued now; -1: this transport has
                  ended, and the packet is dropped.
        :raises ValueError: this transport has no form for the packet.
        """

    def send_text(self, text: str) -> int:
        """:meth:`send` a MESSAGE packet with this data."""

    def send_first(self, packet: str) -> None:
        """Send a control packet, ahead of the messages that are queued."""

    @property
    def unsent(self) -> int:
        """Messages that are queued or sent in part; after the end: those not sent as a whole.

        Over a websocket a message is sent when the operating system has accepted it. Over polling
        it is sent when the server has answered its POST. Reading this takes 0.3 us for each queued
        message.
        """

    def wait_below(self, limit: int) -> None:
        """Wait until at most ``limit`` bytes are queued, or the transport is closed."""

    def finish(self, timeout: float, limit: float | None = None) -> None:
        """Send what is queued and a CLOSE packet, wait for the server's answer, and close.

        :param timeout: seconds in which the server has to accept some of the queued data, and
                        then to answer.
        :param limit: seconds for all that is queued; None: as ``timeout``.
        """

    def abort(self, timeout: float) -> None:
        """Drop what is queued, send a CLOSE packet, and close.

        :param timeout: seconds in which the server has to answer a POST with the CLOSE packet. A
                        websocket does not wait.
        """

    def close(self, code: int | None = None, reason: str = '') -> None:
        """Close now, whatever is queued; idempotent.

        :param code: a websocket close code. It is sent if that takes no waiting.
        :param reason: the reason that is sent with the code.
        """

    def abandon(self, wake: bool = True) -> None:
        """Close the sockets of this process without sending anything: the connection is another's.

        :param wake: whether to wake the greenlets that wait for this transport. Those of a native
                     thread that has ended cannot be woken.
        """


class Limits(Protocol):
    """The part of a client's options that transports read."""

    @property
    def request_timeout(self) -> float | None:
        """Seconds for a handshake, and for each POST."""

    @property
    def max_message_size(self) -> int | None:
        """Bytes of the largest message from the server."""

    @property
    def max_receive_delay(self) -> float:
        """Seconds that messages may wait for others on a websocket; see :class:`.Stream`."""


def undelivered_error(size: int) -> ConnectionClosed:
    """The error of :meth:`Transport.finish` if not all could be sent in time."""
    return ConnectionClosed(f'{size} bytes could not be sent before the connection ended')
