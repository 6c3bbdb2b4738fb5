"""Messages that a call waits for."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from gevent.event import Event

from ...net.deadlines import timer_seconds
from .failures import Failure, scrub
from .reports import Stopwatch

#: Recognises a message: a function of the message, or a value to compare with. None accepts any
#: message.
Match = Callable[[Any], Any] | object | None


class Awaited:
    """A message that a call waits for.

    :param match: recognises the message, see :data:`Match`.
    """

    __slots__ = ('_arrived', '_error', '_match', 'at', 'length', 'message', 'trouble')

    def __init__(self, match: Match) -> None:
        self._match = match
        self._arrived = Event()
        self._error: Exception | None = None
        #: The last exception of the match function, or None.
        self.trouble: Exception | None = None
        self.message: Any = None
        #: Size in bytes.
        self.length: int = 0
        #: Time of arrival, by ``time.perf_counter()``.
        self.at: float = 0.0

    def takes(self, message: Any) -> bool:
        """Whether this is the message. If the match function raises, it is not."""
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
        """The message has arrived."""
        self.message, self.length, self.at = message, length, at
        self._arrived.set()

    def fail(self, error: Exception) -> None:
        """The message will not arrive."""
        self._error, self.at = error, time.perf_counter()
        self._arrived.set()

    def wait(self, timeout: float | None, since: Stopwatch) -> None:
        """Wait until the message has arrived.

        :param timeout: seconds; None waits without a limit.
        :param since: the start of the timeout.
        :raises Failure: the message did not arrive, or not in time.
        """
        left = None if timeout is None else timeout - since.milliseconds() / 1000
        if not self._arrived.wait(timer_seconds(left)):
            text = f'no matching message within {timeout:g} seconds'
            if self.trouble is not None:
                text += f'; match raised {scrub(repr(self.trouble))}'
            raise Failure(text)
        if self._error is not None:
            raise self._error
