"""Whether a user is connected, and the calls that wait until it is."""

from __future__ import annotations

from collections.abc import Callable

from gevent.event import Event

from .failures import Failure, TimedOut
from .stopwatch import Stopwatch


class Presence:
    """Lets calls wait for a connection that is being restored."""

    __slots__ = ('_kept', '_waiting', 'returning')

    def __init__(self) -> None:
        #: Whether the user reconnects, should it not be connected.
        self.returning: bool = False
        self._kept = False
        # An event for each call. Calls that shared one could miss a change that is soon undone.
        self._waiting: list[Event] = []

    def keep(self, kept: bool, returning: bool) -> None:
        """Set whether the user reconnects until it succeeds, whatever becomes of an attempt.

        :param returning: whether the user is reconnecting.
        """
        self._kept = kept
        self.change(returning)

    def change(self, returning: bool | None = None) -> None:
        """The connection has changed: let the calls that wait for it look again.

        :param returning: whether the user is reconnecting from now on; None: no change.
        """
        if returning is not None:
            self.returning = returning or self._kept
        waiting, self._waiting = self._waiting, []
        for changed in waiting:
            changed.set()

    def wait(
        self, is_connected: Callable[[], bool], timeout: float | None, watch: Stopwatch
    ) -> None:
        """Wait until the user is connected.

        :param is_connected: whether it is.
        :param timeout: seconds since ``watch`` started; None waits without a limit.
        :raises Failure: the user is not connected and does not reconnect.
        :raises TimedOut: it was not connected in time.
        """
        while not is_connected():
            if not self.returning:
                raise Failure('not connected')
            changed = Event()
            self._waiting.append(changed)
            try:
                if not changed.wait(watch.left(timeout)):
                    raise TimedOut(f'not connected within {timeout:g} seconds')
            finally:
                if changed in self._waiting:
                    self._waiting.remove(changed)
