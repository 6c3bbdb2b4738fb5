"""The server processes of a run."""

from __future__ import annotations

from collections import Counter
from typing import Any

import gevent.queue

import support

#: Servers for rounds that may end their server's process.
PRIVATE = 3

#: The heartbeat of each kind of server, in milliseconds.
PINGS = {
    'calm': {'pingInterval': 25000, 'pingTimeout': 20000},
    'brisk': {'pingInterval': 300, 'pingTimeout': 1500},
    'private': {'pingInterval': 25000, 'pingTimeout': 20000},
}


class Servers:
    """Servers of both kinds. Rounds share them, except for the private ones."""

    def __init__(self) -> None:
        self._shared: dict[tuple[str, str], Any] = {}
        self._private: dict[str, gevent.queue.Queue[Any]] = {
            kind: gevent.queue.Queue() for kind in ('js', 'python')
        }
        self._count: Counter[str] = Counter()

    def take(self, kind: str, flavour: str) -> Any:
        """A server; waits for a private one that is free.

        :param kind: ``'js'`` or ``'python'``.
        :param flavour: ``'calm'``, ``'brisk'`` or ``'private'``.
        """
        if flavour != 'private':
            if (kind, flavour) not in self._shared:
                self._shared[kind, flavour] = self._start(kind, flavour)
            return self._shared[kind, flavour]
        queue = self._private[kind]
        if queue.empty() and self._count[kind] < PRIVATE:
            self._count[kind] += 1
            return self._start(kind, flavour)
        return queue.get()

    def give_back(self, kind: str, flavour: str, server: Any) -> None:
        if flavour == 'private':
            self._private[kind].put(server)

    @staticmethod
    def _start(kind: str, flavour: str) -> Any:
        return getattr(support.ServerProcess, kind)(**PINGS[flavour])

    def start_all(self) -> None:
        """Start those that do not run yet, so that none is started while rounds run."""
        for kind in self._private:
            for flavour in ('calm', 'brisk'):
                self.take(kind, flavour)
            for server in [self.take(kind, 'private') for _ in range(PRIVATE)]:
                self.give_back(kind, 'private', server)

    def stop(self) -> None:
        for server in self._shared.values():
            server.stop()
        for queue in self._private.values():
            while not queue.empty():
                queue.get().stop()
