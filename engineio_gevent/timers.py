"""What a time that is left has to be, for a timer of any of gevent's event loops."""

from __future__ import annotations

from typing import Any, overload

from gevent.hub import get_hub


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
