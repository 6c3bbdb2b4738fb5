"""Messages that calls wait for."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from typing import Any

import gevent
from gevent.event import Event
from gevent.hub import get_hub

from .failures import CheckFailed, Failure, TimedOut, scrub
from .stopwatch import Stopwatch

#: Recognises a message: a function of the message, or a value to compare with. None accepts any
#: message.
Match = Callable[[Any], Any] | object | None
#: Judges an answer: it is wrong if this function raises or returns something false, except None.
Check = Callable[[Any], Any] | None


def verify(check: Check, answer: Any) -> None:
    """Judge an answer.

    :raises CheckFailed: the answer is wrong.
    """
    if check is None:
        return
    try:
        verdict = check(answer)
    except AssertionError as exc:
        raise CheckFailed(scrub(f'check failed: {exc}' if str(exc) else 'check failed')) from exc
    except Exception as exc:
        raise CheckFailed(f'check failed: {scrub(repr(exc))}') from exc
    if verdict is not None and not verdict:
        raise CheckFailed('check failed')


class Awaited:
    """A message that a call waits for.

    :param match: recognises the message, see :data:`Match`.
    :param what: what is missing if it does not arrive, for the text of the failure.
    :param namespace: the namespace of Socket.IO from which it comes.
    """

    __slots__ = (
        '_arrived', '_error', '_match', '_trouble', '_what', 'at', 'length', 'message', 'namespace',
    )  # fmt: skip

    def __init__(
        self, match: Match, what: str = 'matching message', namespace: str | None = None
    ) -> None:
        self._match = match
        self._what = what
        self._arrived = Event()
        self._error: Exception | None = None
        self._trouble: Exception | None = None  # the last exception of the match function
        #: The namespace of Socket.IO from which it comes.
        self.namespace: str | None = namespace
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
            self._trouble = exc
            return False

    def arrive(self, message: Any, length: int, at: float) -> None:
        """The message has arrived."""
        self.message, self.length, self.at = message, length, at
        self._arrived.set()

    def fail(self, error: Exception) -> None:
        """The message will not arrive."""
        self._error, self.at = error, time.perf_counter()
        self._arrived.set()

    def wait(self, timeout: float | None, watch: Stopwatch) -> None:
        """Wait until the message has arrived.

        :param timeout: seconds since ``watch`` started; None waits without a limit.
        :raises Failure: the message did not arrive, or not in time.
        """
        if not self._arrived.wait(watch.left(timeout)):
            text = f'no {self._what} within {timeout:g} seconds'
            if self._trouble is not None:
                text += f'; match raised {scrub(repr(self._trouble))}'
            raise TimedOut(text)
        if self._error is not None:
            raise self._error


class Incoming:
    """Messages as they arrive. Each goes to the call that waits for it, or is counted.

    :param count: counts a message that no call waits for: the message and its size in bytes.
    """

    __slots__ = ('_awaited', '_count', '_held', '_holds')

    def __init__(self, count: Callable[[Any, int], None]) -> None:
        self._count = count
        self._awaited: list[Awaited] = []
        self._held: deque[tuple[Any, int]] | None = None
        self._holds = 0  # callbacks of hold() that have not run

    def expect(self, awaited: Awaited) -> None:
        """Begin to wait for a message. A message that is held may be it."""
        for held in list(self._held or ()):
            # The match function may wait, and what was held be counted meanwhile.
            if awaited.takes(held[0]) and self._held is not None and held in self._held:
                self._held.remove(held)
                awaited.arrive(*held, time.perf_counter())
                return
        self.add(awaited)

    def add(self, awaited: Awaited) -> None:
        """Begin to wait for a message that has not arrived yet."""
        self._awaited.append(awaited)

    def forget(self, awaited: Awaited) -> None:
        """Wait no more for a message."""
        if awaited in self._awaited:
            self._awaited.remove(awaited)

    def take(self, message: Any, length: int, at: float) -> None:
        """A message has arrived.

        :param length: its size in bytes.
        :param at: the time, by ``time.perf_counter()``.
        """
        for awaited in list(self._awaited):
            # The match function may wait, and the call end meanwhile.
            if awaited.takes(message) and awaited in self._awaited:
                self._awaited.remove(awaited)
                awaited.arrive(message, length, at)
                self.hold()
                return
        if self._held is not None:
            self._held.append((message, length))
        else:
            self._count(message, length)

    def lose(self, reason: str, namespace: str | None = None) -> None:
        """The connection has ended, and with it all waiting.

        :param namespace: the namespace of Socket.IO that has ended; None: all.
        """
        waiting, self._awaited = self._awaited, []
        for awaited in waiting:
            if namespace is None or awaited.namespace == namespace:
                awaited.fail(Failure(f'disconnected while waiting: {reason}'))
            else:
                self._awaited.append(awaited)

    def hold(self) -> None:
        """Keep what comes before the greenlet that was waiting has run, and may wait for more."""
        self._holds += 1
        if self._held is None:
            self._held = deque()
        # After the callback of the event, which runs that greenlet until it waits again.
        get_hub().loop.run_callback(self._release)

    def _release(self) -> None:
        self._holds -= 1
        if self._holds:
            return  # another call's answer has arrived in the same batch
        held, self._held = self._held, None
        if held:
            # Not here in the hub: Locust's listeners are application code.
            gevent.spawn(self._count_all, held)

    def _count_all(self, held: deque[tuple[Any, int]]) -> None:
        for message, length in held:
            self._count(message, length)
