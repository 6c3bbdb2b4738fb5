"""Notices that this process stood still: a short heartbeat may then be late."""

from __future__ import annotations

import time
from typing import Any

import gevent

#: Seconds between two looks.
_INTERVAL = 0.05
#: Seconds for which the process must have stood still.
STALL = 0.3


class Stalls:
    """Watches the loop of this thread. It is a context manager."""

    def __init__(self) -> None:
        self._last = 0.0
        #: The end of each stall, and its seconds.
        self._stalls: list[tuple[float, float]] = []
        self._timer: Any = None

    def __enter__(self) -> Stalls:
        self._last = time.monotonic()
        self._timer = gevent.get_hub().loop.timer(_INTERVAL, _INTERVAL)
        self._timer.start(self._look)
        return self

    def __exit__(self, *_: object) -> None:
        self._timer.stop()
        self._timer.close()

    def any_since(self, moment: float) -> bool:
        """Whether the process has stood still since then."""
        return self.seconds_since(moment) > 0

    def seconds_since(self, moment: float) -> float:
        """For how long the process has stood still since then."""
        self._look()
        return sum(seconds for end, seconds in self._stalls if end >= moment)

    def _look(self) -> None:
        now = time.monotonic()
        if now - self._last > STALL:
            self._stalls.append((now, now - self._last))
        self._last = now
