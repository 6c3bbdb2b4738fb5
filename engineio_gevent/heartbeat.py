"""Is the server alive? One deadline per connection, moved by each PING and by nothing else."""

from __future__ import annotations

import sys
from collections import OrderedDict
from collections.abc import Callable
from time import monotonic
from typing import Any

from gevent.hub import Hub

from .net.deadlines import GRACE, LONGEST_TIMER, timer_seconds
from .net.watchers import close_watchers
from .per_hub import PerHub


class Heartbeat:
    """The deadline of one connection.

    :param patience: seconds from one PING to the latest moment for the next.
    :param on_silence: called in the hub, once, when that moment has passed.
    """

    __slots__ = ('_shared_timer', 'deadline', 'on_silence')

    def __init__(self, patience: float, on_silence: Callable[[], None]) -> None:
        self.on_silence = on_silence
        self._shared_timer = _timers.get().get(patience)
        #: By the monotonic clock.
        self.deadline = 0.0
        self.beat()

    def beat(self) -> None:
        """A PING came."""
        self._shared_timer.renew(self)

    def stop(self) -> None:
        """The connection has ended; idempotent."""
        self._shared_timer.forget(self)


class _SharedTimer:
    """The heartbeats of one hub that have the same patience, with one timer for all.

    They stand in the order of their deadlines, since each is put at the end when
    it is renewed. A timer for each would fire about once per PING, and to wake
    up costs more than the rest of what a PING costs.
    """

    __slots__ = ('_hub', '_loop', '_overdue', '_patience', '_timer', '_waiting')

    def __init__(self, hub: Hub, patience: float) -> None:
        self._hub = hub
        self._loop = hub.loop
        self._patience = patience
        self._waiting: OrderedDict[Heartbeat, None] = OrderedDict()
        self._overdue: list[Heartbeat] = []
        self._timer: Any = None

    def renew(self, heartbeat: Heartbeat) -> None:
        heartbeat.deadline = monotonic() + self._patience
        self._waiting[heartbeat] = None
        self._waiting.move_to_end(heartbeat)
        if self._timer is None:
            self._arm(self._patience)

    def forget(self, heartbeat: Heartbeat) -> None:
        self._waiting.pop(heartbeat, None)
        if not self._waiting:
            self._disarm()

    def _arm(self, seconds: float) -> None:
        self._disarm()
        loop = self._loop
        self._timer = loop.timer(timer_seconds(min(seconds, LONGEST_TIMER), loop))
        self._timer.start(self._check)

    def _disarm(self) -> None:
        close_watchers(self._loop, self._timer)
        self._timer = None

    def _check(self) -> None:
        """In the hub."""
        now = monotonic()
        silent = [one for one in self._overdue if one in self._waiting and one.deadline <= now]
        self._overdue = []
        for heartbeat in silent:
            del self._waiting[heartbeat]
        for heartbeat in self._waiting:
            if heartbeat.deadline > now:
                break
            self._overdue.append(heartbeat)
        if self._overdue:
            # What the server sent while this process was busy is read first.
            self._arm(GRACE)
        elif self._waiting:
            self._arm(next(iter(self._waiting)).deadline - now)
        else:
            self._disarm()
        for heartbeat in silent:
            try:
                heartbeat.on_silence()
            except Exception:  # the other heartbeats are told nevertheless
                self._hub.handle_error(heartbeat, *sys.exc_info())


#: Timers that are kept for a hub. Servers choose one patience, or a few.
_MAX_TIMERS = 64


class _Timers:
    """The shared timers of one hub, by patience."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self.by_patience: dict[float, _SharedTimer] = {}

    def get(self, patience: float) -> _SharedTimer:
        timers = self.by_patience
        timer = timers.get(patience)
        if timer is None:
            if len(timers) >= _MAX_TIMERS:
                timers.clear()  # their heartbeats keep those that are in use
            timer = timers[patience] = _SharedTimer(self._hub, patience)
        return timer


_timers = PerHub(_Timers)
