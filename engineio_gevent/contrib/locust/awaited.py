"""Messages that somebody waits for."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from gevent.event import Event

from ...timers import timer_seconds
from .failures import Failure, scrub
from .reports import Stopwatch

#: A function of a message that says whether it is the one; anything else is compared with it;
#: None takes whatever comes.
Match = Callable[[Any], Any] | object | None


class Awaited:
    """One message to come.

    :param match: which it is, see :data:`Match`.
    """

    __slots__ = ('_arrived', '_error', '_match', 'at', 'length', 'message', 'trouble')

    def __init__(self, match: Match) -> None:
        self._match = match
        self._arrived = Event()
        self._error: Exception | None = None
        #: What the matcher raised last, if it has.
        self.trouble: Exception | None = None
        self.message: Any = None
        #: In bytes.
        self.length: int = 0
        #: When it came, by ``time.perf_counter()``.
        self.at: float = 0.0

    def takes(self, message: Any) -> bool:
        """Whether this is the message. A matcher that raises says no."""
        if self._match is None:
            return True
        if not callable(self._match):
            return bool(self._match == message)
        try:
            return bool(self._match(message))
        except Exception as exc:
            self.trouble = exc
            return False

    def arrive(self, message: Any, length: int, at: float) -> None:
        """Here it is."""
        self.message, self.length, self.at = message, length, at
        self._arrived.set()

    def fail(self, error: Exception) -> None:
        """It will not come."""
        self._error, self.at = error, time.perf_counter()
        self._arrived.set()

    def wait(self, timeout: float | None, since: Stopwatch) -> None:
        """Wait until it is there.

        :param timeout: seconds; None for no bound.
        :param since: since when.
        :raises Failure: it did not come, or did not come in time.
        """
        left = None if timeout is None else timeout - since.milliseconds() / 1000
        if not self._arrived.wait(timer_seconds(left)):
            text = f'nothing came within {timeout:g} seconds'
            if self.trouble is not None:
                text += f'; the matcher raised {scrub(repr(self.trouble))}'
            raise Failure(text)
        if self._error is not None:
            raise self._error
