"""The interface between a session and what carries its packets."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Protocol

from ..exceptions import ConnectionClosed
from ..protocol.packet import Encoded

#: A decoded packet: its type and its data.
Packet = tuple[int, 'str | bytes']


class Sink(Protocol):
    """Who a transport reports to. It may be called in the hub: it never blocks."""

    def on_packets(self, transport: Transport, packets: Iterable[Packet]) -> None:
        """Packets came, in the order given."""

    def on_lost(self, transport: Transport, error: Exception) -> None:
        """The transport failed or was closed by the server. Called at most once."""


class Transport(Protocol):
    """A way to carry packets. Methods that wait say so; the others work in the hub too."""

    #: The name that the protocol gives it: ``'polling'`` or ``'websocket'``.
    name: str
    #: Whom to tell of packets and of the end.
    sink: Sink

    def open(self, sid: str | None = None) -> None:
        """Connect; waits. Packets may reach the sink before it returns.

        :param sid: the session to join, or None to begin one.
        :raises EngineIOError: what went wrong, with the cause chained.
        """

    def start(self) -> None:
        """The handshake is done: carry packets until closed."""

    def send(self, packet: Encoded) -> int:
        """Send a packet, or queue it; returns the number of bytes that are queued now.

        :raises ValueError: this transport has no form for the packet.
        """

    def wait_below(self, limit: int) -> None:
        """Wait until at most ``limit`` bytes are queued, or the transport is closed."""

    def finish(self, timeout: float) -> None:
        """Send what is queued, say goodbye, wait at most ``timeout`` seconds for it, and close."""

    def close(self, code: int | None = None, reason: str = '') -> None:
        """Close now, whatever is queued; idempotent.

        :param code: a websocket close code to tell the server on the way, if
                     that takes no waiting.
        :param reason: the words that go with the code.
        """

    def abandon(self) -> None:
        """Let go of the sockets without a byte to the server: a forked child's duty."""


class Limits(Protocol):
    """The part of a client's options that transports read."""

    request_timeout: float | None
    max_message_size: int | None


def unsent(size: int) -> ConnectionClosed:
    """What a farewell reports that could not be said in time."""
    return ConnectionClosed(f'{size} bytes could not be sent before the connection ended')


def describe(error: BaseException) -> str:
    """An exception in a few words, whatever its class makes of ``str()``."""
    text: Any = getattr(error, 'strerror', None) or str(error)
    return str(text) if text else type(error).__name__
