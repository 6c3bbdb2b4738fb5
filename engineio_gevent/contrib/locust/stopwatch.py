"""The time that a call of a scenario takes."""

from __future__ import annotations

import time

from ...net.deadlines import timer_seconds


class Stopwatch:
    """Measures the time since it was created."""

    __slots__ = ('_from', 'started')

    def __init__(self) -> None:
        #: Time of creation, in seconds since 1970.
        self.started: float = time.time()
        self._from = time.perf_counter()

    def milliseconds(self, until: float | None = None) -> float:
        """Milliseconds since the creation.

        :param until: a value of ``time.perf_counter()`` to use instead of the current time.
        """
        return ((time.perf_counter() if until is None else until) - self._from) * 1000

    def left(self, timeout: float | None) -> float | None:
        """The seconds that are left of a timeout that began with the creation; for a timer.

        :param timeout: seconds; None, for no limit, stays None.
        """
        if timeout is None:
            return None
        return timer_seconds(timeout + self._from - time.perf_counter())
