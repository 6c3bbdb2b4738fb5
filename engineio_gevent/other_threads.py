"""Calls from other native threads: a hub cannot wait for events of another hub."""

from __future__ import annotations

import contextlib
import weakref
from collections import deque
from collections.abc import Callable, Iterator
from functools import partial
from math import inf
from time import monotonic
from typing import Any

import gevent
from gevent._hub_local import get_hub_if_exists
from gevent.event import Event
from gevent.hub import Hub
from gevent.monkey import get_original

from .per_hub import PerHub, lives

_allocate_lock: Any = get_original('_thread', 'allocate_lock')

_lock: Any = _allocate_lock()

#: Seconds between two looks whether a thread that is waited for still lives.
_LOOK_INTERVAL = 1.0


def is_own_hub(hub: Hub) -> bool:
    """Whether this thread is the hub's own.

    Its hub tells, not its identifier, which the next thread gets when one has ended.
    """
    return get_hub_if_exists() is hub


@contextlib.contextmanager
def one_at_a_time() -> Iterator[None]:
    """Let one native thread at a time run a block. The block must not wait."""
    # After a fork the lock of the child may be locked for ever, by a thread of the parent.
    locked = _lock.acquire(timeout=_LOOK_INTERVAL)
    try:
        yield
    finally:
        if locked:
            _lock.release()


class Inbox:
    """The calls that other native threads want a hub to make. It lives as long as the hub.

    gevent's ``loop.run_callback_threadsafe()`` changes the loop's count of what is active while the
    loop may be changing it. With libev the count drifts, and the loop ends too early or never. With
    libuv a list of the loop can break (gevent issue 2212). An async watcher is safe in both.
    """

    __slots__ = ('_calls', '_hub', '_life', '_watcher')

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._life = weakref.ref(lives.get())
        self._calls: deque[tuple[Callable[..., object], tuple[object, ...]]] = deque()
        self._watcher = hub.loop.async_(ref=False)
        self._watcher.start(self._take)

    @property
    def has_ended(self) -> bool:
        """Whether the hub has been destroyed, or its thread has ended."""
        return self._hub.loop is None or self._life() is None or self._hub.dead

    def call(self, function: Callable[..., object], *arguments: object) -> bool:
        """In any native thread: have the hub call a function, which must not wait.

        The calls of a thread keep their order.

        :returns: False if the hub has been destroyed, perhaps just now.
        """
        self._calls.append((function, arguments))
        try:
            self._watcher.send()
        except Exception:  # each kind of loop raises another one after it has been destroyed
            return False
        return True

    def _take(self) -> None:
        """In the hub."""
        calls = self._calls
        for _ in range(len(calls)):  # threads that call all the time must not keep the hub here
            function, arguments = calls.popleft()
            # An exception of one call must not keep the others from being made.
            self._hub.loop.run_callback(function, *arguments)


#: The inbox of this thread's hub: ``inboxes.get()``.
inboxes = PerHub(Inbox)


def call_in_hub(
    inbox: Inbox, timeout: float | None, function: Callable[..., object], *arguments: Any
) -> None:
    """Have a greenlet of another thread call a function, and wait for that.

    :param inbox: that of the other thread's hub.
    :param timeout: in seconds, since that thread may be busy for long; None: no bound.
    """
    left: Any
    if get_hub_if_exists() is None:
        # A gevent event would make a hub in this thread, and leave it behind.
        left = _allocate_lock()
        left.acquire()
        tell, wait = left.release, left.acquire
    else:
        left = Event()
        tell, wait = partial(inboxes.get().call, left.set), left.wait

    def run() -> None:
        try:
            function(*arguments)
        finally:
            tell()

    inbox.call(gevent.spawn, run)
    until = inf if timeout is None else monotonic() + timeout
    # Not without a timer: this thread's loop knows nothing of the other, and would give up.
    while not inbox.has_ended and (left_seconds := until - monotonic()) > 0:
        if wait(timeout=min(_LOOK_INTERVAL, left_seconds)):
            return
