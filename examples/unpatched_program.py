"""Use the client in a program that is not monkey-patched.

Other greenlets run while clients connect and wait for messages. In this program
one greenlet counts every millisecond.

Start the echo server in one terminal, and this program in another::

    engineio-gevent demo --serve
    python examples/unpatched_program.py [URL]
"""

from __future__ import annotations

import socket
import sys

import gevent
from gevent import monkey
from gevent.event import Event

from engineio_gevent import Client

CLIENTS = 20
MESSAGES = 200


class Ticker:
    """Counts in a greenlet."""

    def __init__(self) -> None:
        self.ticks = 0
        gevent.spawn(self._run)

    def _run(self) -> None:
        while True:
            gevent.sleep(0.001)
            self.ticks += 1

    def ticks_during(self, what: str) -> None:
        """Print the count and reset it."""
        print(f'{self.ticks} ticks while {what}')
        self.ticks = 0


def main() -> None:
    url = sys.argv[1] if len(sys.argv) > 1 else 'http://127.0.0.1:5000'
    assert not monkey.is_module_patched('socket')
    assert socket.socket.__module__ == 'socket'
    all_received = Event()
    received = []

    def message(data: str) -> None:
        received.append(data)
        if len(received) < MESSAGES:
            eio.send(f'message {len(received)}')
        else:
            all_received.set()

    ticker = Ticker()
    for _ in range(CLIENTS):
        with Client() as eio:
            eio.connect(url)
    ticker.ticks_during(f'{CLIENTS} clients connected and disconnected, one after the other')

    with Client() as eio:
        eio.on('message', message)
        eio.connect(url)
        eio.send('message 0')
        all_received.wait(timeout=30)
        ticker.ticks_during(f'a client received {len(received)} messages')


if __name__ == '__main__':
    main()
