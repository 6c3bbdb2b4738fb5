"""Messages that calls wait for."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Any

import gevent
from gevent.event import Event
from gevent.hub import get_hub

from .failures import CheckFailed, Failure, TimedOut, scrub, shown
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
        accepted = verdict is None or bool(verdict)
    except AssertionError as exc:
        raise CheckFailed(scrub(f'check failed: {exc}' if str(exc) else 'check failed')) from exc
    except Exception as exc:
        raise CheckFailed(f'check failed: {shown(exc)}') from exc
    if not accepted:
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
        self._trouble: BaseException | None = None  # the last exception of the match function
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
        try:
            return bool(self._match(message) if callable(self._match) else self._match == message)
        except (Exception, gevent.Timeout) as exc:
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
                text += f'; match raised {shown(self._trouble)}'
            raise TimedOut(text)
        if self._error is not None:
            raise self._error


class Incoming:
    """Messages as they arrive. Each goes to the call that waits for it, or is counted.

    Match functions are code of the scenario: they may wait, raise or be killed. While one waits,
    what happens next waits for its turn, so that the calls get their messages in order.

    :param count: counts a message that no call waits for: the message and its size in bytes.
    """

    __slots__ = ('_awaited', '_busy', '_count', '_held', '_holds', '_turns', '_unclaimed')

    def __init__(self, count: Callable[[Any, int], None]) -> None:
        self._count = count
        #: The calls that wait, and whether their turn to see messages has come.
        self._awaited: dict[Awaited, bool] = {}
        self._held: deque[tuple[Any, int]] | None = None
        self._holds = 0  # callbacks of hold() that have not run
        self._turns: deque[Callable[[], object]] = deque()
        self._busy = False  # whether a greenlet takes the turns
        self._unclaimed: deque[tuple[Any, int]] = deque()  # to be counted when no turn is left

    def expect(self, awaited: Awaited) -> None:
        """Begin to wait for a message. A message that is held may be it."""
        self._awaited[awaited] = False
        self._in_turn(partial(self._begin, awaited, True))
        self._count_elsewhere()

    def add(self, awaited: Awaited) -> None:
        """Begin to wait for a message that has not arrived yet."""
        self._awaited[awaited] = False
        self._in_turn(partial(self._begin, awaited, False))
        self._count_elsewhere()

    def forget(self, awaited: Awaited) -> None:
        """Wait no more for a message."""
        self._awaited.pop(awaited, None)

    def take(self, message: Any, length: int, at: float) -> None:
        """A message has arrived.

        :param length: its size in bytes.
        :param at: the time, by ``time.perf_counter()``.
        """
        if self._awaited or self._busy or self._held is not None:
            self._in_turn(partial(self._offer, message, length, at))
            self._count_unclaimed()
        else:  # nobody waits: 0.4 us less
            self._count(message, length)

    def lose(self, reason: str, namespace: str | None = None) -> None:
        """The connection has ended, and with it all waiting.

        :param namespace: the namespace of Socket.IO that has ended; None: all.
        """
        waiting = [one for one in self._awaited if namespace in (None, one.namespace)]
        self._in_turn(partial(self._fail, waiting, reason))
        self._count_elsewhere()

    # In turn

    def _in_turn(self, turn: Callable[[], object]) -> None:
        self._turns.append(turn)
        if self._busy:
            return  # the greenlet that takes the turns is in a match function that waits
        self._busy = True
        try:
            while self._turns:
                self._turns.popleft()()
        finally:
            self._busy = False
            if self._turns:  # this greenlet was killed in a match function
                gevent.spawn(self._go_on)

    def _go_on(self) -> None:
        self._in_turn(_nothing)
        self._count_unclaimed()

    def _begin(self, awaited: Awaited, held_too: bool) -> None:
        for held in list(self._held or ()) if held_too else ():
            try:
                taken = awaited.takes(held[0])
            except BaseException:  # killed: another greenlet goes on without what was held
                self._turns.appendleft(partial(self._begin, awaited, False))
                raise
            if taken and awaited in self._awaited:
                self._held = deque(one for one in self._held or () if one is not held)
                self.forget(awaited)
                awaited.arrive(*held, time.perf_counter())
                return
        if awaited in self._awaited:  # else the call has ended meanwhile
            self._awaited[awaited] = True

    def _offer(
        self, message: Any, length: int, at: float, calls: list[Awaited] | None = None
    ) -> None:
        """Give a message to the first call that takes it.

        :param calls: those that have not been asked; None: all.
        """
        if calls is None:
            calls = [one for one, ready in self._awaited.items() if ready]
        while calls:
            awaited = calls.pop(0)
            try:
                taken = awaited.takes(message)
            except BaseException:  # killed: another greenlet asks the other calls
                self._turns.appendleft(partial(self._offer, message, length, at, calls))
                raise
            if taken and awaited in self._awaited:  # else the call has ended meanwhile
                self.forget(awaited)
                awaited.arrive(message, length, at)
                self.hold()
                return
        if self._held is not None:
            self._held.append((message, length))
        else:
            self._unclaimed.append((message, length))

    def _fail(self, waiting: list[Awaited], reason: str) -> None:
        for awaited in waiting:
            if self._awaited.pop(awaited, None) is not None:
                awaited.fail(Failure(f'disconnected while waiting: {reason}'))

    # What no call has taken

    def hold(self) -> None:
        """Keep what comes before the greenlet that was waiting has run, and may wait for more."""
        self._holds += 1
        if self._held is None:
            self._held = deque()
        # After the callback of the event, which runs that greenlet until it waits again.
        get_hub().loop.run_callback(self._release)

    def _release(self) -> None:
        """In the hub, where nothing is counted: Locust's listeners are application code."""
        self._holds -= 1
        if self._holds:
            return  # another call's answer has arrived in the same batch
        if self._busy:
            self._turns.append(self._let_go)
        else:
            self._let_go()

    def _let_go(self) -> None:
        held = self._held
        if held is not None and not self._holds:
            self._held = None
            if held:
                gevent.spawn(self._count_all, held)

    def _count_unclaimed(self) -> None:
        if self._unclaimed and not self._busy:
            unclaimed, self._unclaimed = self._unclaimed, deque()
            self._count_all(unclaimed)

    def _count_elsewhere(self) -> None:
        """In a call of the scenario: what a listener raises is not the caller's."""
        if self._unclaimed:
            gevent.spawn(self._count_unclaimed)

    def _count_all(self, unclaimed: deque[tuple[Any, int]]) -> None:
        try:
            while unclaimed:
                self._count(*unclaimed.popleft())
        finally:
            if unclaimed:  # a listener, or the name of a message, has raised
                gevent.spawn(self._count_all, unclaimed)


def _nothing() -> None:
    pass
