"""The probe of an upgrade: it checks whether a websocket works."""

from __future__ import annotations

from collections.abc import Iterable

from .exceptions import ProtocolError
from .net.wakeup import WakeUp
from .protocol import packet
from .transports.base import Limits, Packet, Transport
from .transports.polling import Polling
from .transports.route import Route
from .transports.websocket import WebSocket

_WORD = 'probe'


class Probe:
    """A websocket beside a polling connection, and what listens to it meanwhile.

    :param route: the way to the server.
    :param limits: as for the transports.
    """

    def __init__(self, route: Route, limits: Limits) -> None:
        self._answer = WakeUp()
        self._lost: Exception | None = None
        self.websocket = WebSocket(self, route, limits)

    def run(self, sid: str, polling: Polling) -> None:
        """Open the websocket, ask, and bring polling to rest; waits.

        When it returns, the server awaits the UPGRADE packet and no request is
        under way.

        :param sid: the session to upgrade.
        :param polling: the transport that carries it so far.
        :raises Exception: there is no upgrade; both transports are as they were.
        """
        self.websocket.open(sid)
        self.websocket.send(f'{packet.PING}{_WORD}')
        self._answer.wait()
        if self._answer.value is not None:
            raise self._answer.value
        polling.pause()  # the server ends a GET in flight with a noop
        if self._lost is not None:
            raise self._lost  # after the right answer

    def on_packets(self, transport: Transport, packets: Iterable[Packet]) -> None:
        """The first packet decides."""
        for packet_type, data in packets:
            if packet_type == packet.PONG and data == _WORD:
                self._answer.set(None)
            else:
                wrong = f'expected a PONG packet with "probe", got {packet.NAMES[packet_type]}'
                self._answer.set(ProtocolError(wrong))
            return

    def on_messages(self, transport: Transport, messages: list[str | bytes]) -> None:
        """The first packet is not the answer."""
        self.on_packets(transport, [(packet.MESSAGE, data) for data in messages])

    def on_lost(self, transport: Transport, error: Exception) -> None:
        """The websocket failed: there is no upgrade."""
        self._lost = error
        self._answer.set(error)
