"""Calls from other native threads: a hub cannot wait for events of another hub."""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Any

import gevent
from gevent._hub_local import get_hub_if_exists
from gevent.event import Event
from gevent.hub import Hub
from gevent.monkey import get_original

from .per_hub import PerHub

_allocate_lock: Any = get_original('_thread', 'allocate_lock')


#: Seconds between two looks whether a thread that is waited for still lives.
_LOOK = 1.0


def is_own_hub(hub: Hub) -> bool:
    """Whether this thread is the hub's own.

    Its hub tells, not its identifier, which the next thread gets when one has ended.
    """
    return get_hub_if_exists() is hub


def has_ended(hub: Hub) -> bool:
    """Whether the hub has been destroyed, or its thread has ended."""
    return hub.loop is None or hub.dead


class Inbox:
    """The calls that other native threads want a hub to make. It lives as long as the hub.

    gevent's ``loop.run_callback_threadsafe()`` changes the loop's count of what is active while the
    loop may be changing it. With libev the count drifts, and the loop ends too early or never. With
    libuv a list of the loop can break (gevent issue 2212). An async watcher is safe in both.
    """

    __slots__ = ('_calls', '_watcher', 'hub')

    def __init__(self, hub: Hub) -> None:
        self.hub = hub
        self._calls: deque[tuple[Callable[..., object], tuple[object, ...]]] = deque()
        self._watcher = hub.loop.async_(ref=False)
        self._watcher.start(self._take)

    def call(self, function: Callable[..., object], *arguments: object) -> None:
        """In any native thread: have the hub call a function, which must not wait.

        The calls of a thread keep their order. Nothing happens if the hub has been destroyed.
        """
        self._calls.append((function, arguments))
        with contextlib.suppress(Exception):  # the hub was destroyed; each loop has its own type
            self._watcher.send()

    def _take(self) -> None:
        """In the hub."""
        calls = self._calls
        while calls:
            function, arguments = calls.popleft()
            # An exception of one call must not keep the others from being made.
            self.hub.loop.run_callback(function, *arguments)


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
    if timeout is not None:
        wait(timeout=timeout)
        return
    # Not without a timer: this thread's loop knows nothing of the other, and would give up.
    while not wait(timeout=_LOOK) and not has_ended(inbox.hub):
        pass
