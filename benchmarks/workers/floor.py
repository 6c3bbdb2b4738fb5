"""The worker of the bare loop: the cost of the kernel, the TLS library and the event loop.

It uses raw sockets with the hub's watchers, builds handshakes by hand, checks
nothing, and calls handlers from the hub. It only has the methods of a client
that the verbs need.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import gevent

from .floor_transports import Packet, Polling, WebSocket
from .greenlets import Worker
from .meter import read_job, report


class Client:
    """The part of the client API that the verbs use.

    :param spawn: whether handlers wait, so that each needs a greenlet.
    """

    __slots__ = ('_handlers', '_ready', '_sid', '_spawn', '_transport')

    def __init__(self, spawn: bool) -> None:
        self._spawn = spawn
        self._handlers: dict[str, Callable[..., None]] = {}
        self._transport: Any = None
        self._sid = ''
        self._ready = False

    def on(self, event: str, handler: Callable[..., None]) -> None:
        """Set the handler of an event."""
        self._handlers[event] = handler

    def transport(self) -> str:
        """The name of the transport."""
        return 'websocket' if isinstance(self._transport, WebSocket) else 'polling'

    def connect(self, url: str, transports: list[str] | None) -> None:
        """Connect. Without ``transports``, connect by polling and upgrade."""
        if transports == ['polling']:
            polling = self._transport = Polling(url, self._on_packet)
            polling.start(self._sid)
        elif transports == ['websocket']:
            self._transport = self._open(url, '')
        else:
            polling = Polling(url, self._on_packet)
            self._ready = False
            self._transport = self._open(url, f'sid={self._sid}&')
            self._transport.send('5')
            polling.close()
        self._handlers['connect']()

    def _open(self, url: str, query: str) -> WebSocket:
        """A websocket after its open packet, or after the PONG of its probe."""
        websocket = WebSocket(url, query, self._on_packet)
        if query:
            websocket.send('2probe')
        while not self._ready:
            websocket.pump()
        websocket.start()
        return websocket

    def _on_packet(self, packet: Packet) -> None:
        if isinstance(packet, bytes):
            self._on_message(packet)
        elif packet[0] == '4':
            self._on_message(json.loads(packet[1:]) if packet[1] == '{' else packet[1:])
        elif packet[0] == '2':
            self._transport.send('3')
        elif packet[0] == '0':
            self._sid = json.loads(packet[1:])['sid']
            self._ready = True
        elif packet[0] == '3':
            self._ready = True

    def _on_message(self, data: Any) -> None:
        if self._spawn:
            gevent.spawn_raw(self._handlers['message'], data)
        else:
            self._handlers['message'](data)

    def send(self, data: Any) -> None:
        """A message."""
        if isinstance(data, str):
            self._transport.send('4' + data)
        elif isinstance(data, bytes):
            self._transport.send(data)
        else:
            self._transport.send('4' + json.dumps(data, separators=(',', ':')))

    def disconnect(self) -> None:
        """Leave at once."""
        self._transport.send('1')
        self._transport.close()
        self._handlers['disconnect']()


def main() -> None:
    """Run the job of the command line and print its figures."""
    job = read_job()
    report(Worker(lambda: Client(spawn=bool(job.sleep)), job).run())


if __name__ == '__main__':
    main()
