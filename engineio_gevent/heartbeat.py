"""Is the server alive? One deadline, moved by each PING and by nothing else."""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic
from typing import Any

from gevent.hub import get_hub

#: Seconds past the deadline for a PING that lies unread in the socket because the
#: process itself was busy or stopped.
GRACE = 0.1
#: Seconds: a server may name any ping interval, but not every timer takes it.
_LONGEST_TIMER = 86400.0


class Heartbeat:
    """The deadline of one connection.

    The timer is not armed anew for each PING: when it fires, it looks when the
    last one came.

    :param patience: seconds from one PING to the latest moment for the next.
    :param on_silence: called in the hub, once, when that moment has passed.
    """

    __slots__ = ('_deadline', '_loop', '_on_silence', '_overdue', '_timer', 'patience')

    def __init__(self, patience: float, on_silence: Callable[[], None]) -> None:
        #: Seconds from one PING to the latest moment for the next.
        self.patience = patience
        self._on_silence = on_silence
        self._loop = get_hub().loop
        self._overdue = False
        self._timer: Any = None
        self.beat()
        self._arm(patience)

    def beat(self) -> None:
        """A PING came."""
        self._deadline = monotonic() + self.patience

    def stop(self) -> None:
        """The connection has ended; idempotent."""
        if self._timer is not None:
            self._timer.stop()
            self._timer.close()
            self._timer = None

    def _arm(self, seconds: float) -> None:
        self.stop()
        self._timer = self._loop.timer(min(seconds, _LONGEST_TIMER))
        self._timer.start(self._look)

    def _look(self) -> None:
        """In the hub."""
        if self._timer is None:
            return
        left = self._deadline - monotonic()
        if left > 0:
            self._overdue = False
            self._arm(left)
        elif not self._overdue:
            # What the server sent while this process was busy is read first.
            self._overdue = True
            self._arm(GRACE)
        else:
            self.stop()
            self._on_silence()
