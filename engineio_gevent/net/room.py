"""Greenlets that wait until there is room in the queue of a socket."""

from __future__ import annotations

from time import monotonic

from gevent.event import Event

from .deadlines import timer_seconds


class Room:
    """Lets greenlets wait until a queue is short enough.

    All of them wait for one event. It is set at the highest of their limits, and each checks its
    own limit when it wakes.
    """

    __slots__ = ('_event', '_limit')

    def __init__(self) -> None:
        self._event = Event()
        self._limit = 0

    def wait_below(self, limit: int, deadline: float | None) -> bool:
        """Wait until the queue is shorter or ends.

        :param limit: bytes that may be queued.
        :param deadline: by the monotonic clock; None: none.
        :returns: whether that came before the deadline.
        """
        event = self._event
        if event.is_set():
            event.clear()
            self._limit = limit
        else:
            self._limit = max(self._limit, limit)
        return event.wait(timer_seconds(None if deadline is None else deadline - monotonic()))

    def offer(self, size: int) -> None:
        """Wake the greenlets, if the queue is short enough.

        :param size: bytes that are queued now.
        """
        if size <= self._limit:
            self._event.set()

    def end(self) -> None:
        """Wake the greenlets: the queue has ended."""
        self._event.set()
