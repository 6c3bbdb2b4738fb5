"""The transport of a Locust user's Socket.IO client."""

from __future__ import annotations

import time
from typing import Any

import gevent

from ..socketio import EngineIOClient


class CountingClient(EngineIOClient):
    """The transport. It knows when it was connected, and what it was given to send."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        #: Bytes of messages, by greenlet: others send while one waits.
        self.sent: dict[Any, int] = {}
        #: When the last ``connect()`` ended, by ``time.perf_counter()``.
        self.connected_at: float = 0.0

    def connect(self, *args: Any, **kwargs: Any) -> None:
        super().connect(*args, **kwargs)
        self.connected_at = time.perf_counter()

    def send(self, data: Any) -> None:
        self._add(data)
        super().send(data)

    def send_together(self, *messages: Any) -> None:
        self._add(*messages)
        super().send_together(*messages)

    def _add(self, *messages: str | bytes) -> None:
        me = gevent.getcurrent()
        if me in self.sent:
            self.sent[me] += sum(
                len(one.encode('utf-8', 'replace') if isinstance(one, str) else one)
                for one in messages
            )
