"""Time limits: the seconds of a timer, and a limit for a block or a call."""

from __future__ import annotations

import errno
from collections.abc import Callable
from typing import Any, TypeVar, overload

from gevent import getcurrent
from gevent.hub import get_hub

#: Seconds past a deadline for what lies unread in a socket because the process itself was busy or
#: stopped.
GRACE = 0.1
#: Seconds: a server may name any interval, but not every timer takes it.
LONGEST_TIMER = 86400.0

_Result = TypeVar('_Result')


@overload
def timer_seconds(seconds: float, loop: Any = None) -> float: ...


@overload
def timer_seconds(seconds: float | None, loop: Any = None) -> float | None: ...


def timer_seconds(seconds: float | None, loop: Any = None) -> float | None:
    """The seconds for a timer, from what is left until a deadline or what a user asked for.

    libuv, gevent's loop on Windows, warns of a timer shorter than its resolution of 1 ms; where
    warnings are errors, there is no timer then.

    :param seconds: what is left. None, for no bound, stays None; less than zero is zero.
    :param loop: the loop of the timer; None: that of this thread's hub.
    """
    if seconds is None:
        return None
    if seconds <= 0:
        return 0.0
    if loop is None:
        loop = get_hub().loop
    resolution: float = loop.approx_timer_resolution
    return max(seconds, resolution)


class Bound:
    """A time limit for a block, as a context manager.

    It does what gevent's ``Timeout`` does, which takes 1 us more, several times in a connect.

    :param seconds: the bound; None: there is none.
    """

    __slots__ = ('_seconds', '_timer', 'exception')

    def __init__(self, seconds: float | None) -> None:
        self._seconds = timer_seconds(seconds)
        self._timer: Any = None
        #: It is raised in the greenlet of the block when the time is over.
        self.exception = Expired()

    def __enter__(self) -> None:
        if self._seconds is not None:
            # Like gevent's: what is ready at that moment comes first.
            self._timer = get_hub().loop.timer(self._seconds, priority=-1)
            # The loop's clock may be late.
            self._timer.start(getcurrent().throw, self.exception, update=True)

    def __exit__(self, *error: object) -> None:
        if self._timer is not None:
            self._timer.close()


def within(
    seconds: float | None,
    function: Callable[..., _Result],
    *arguments: Any,
    of: float | None = None,
) -> _Result:
    """Call a function that waits, for so long at the most.

    :param seconds: the bound; None: there is none.
    :param of: the seconds that the error names, if the bound is what is left of them.
    :raises TimeoutError: it took longer.
    """
    limit = Bound(seconds)
    try:
        with limit:
            return function(*arguments)
    except Expired as exc:
        if exc is not limit.exception:
            raise  # of a time limit around this one
        named = seconds if of is None else of
        raise TimeoutError(errno.ETIMEDOUT, f'no answer within {named:g} seconds') from None


class Expired(Exception):
    """The time for a whole step is over."""

    def __str__(self) -> str:
        return 'timed out'
