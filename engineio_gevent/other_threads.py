"""Calls from other native threads: a hub cannot wait for events of another hub."""

from __future__ import annotations

import contextlib
import sys
from collections import deque
from collections.abc import Callable, Iterator
from math import inf
from typing import Any

import gevent
from gevent._hub_local import get_hub_if_exists
from gevent.event import Event
from gevent.hub import Hub
from gevent.monkey import get_original

from .per_hub import PerHub

_allocate_lock: Any = get_original('_thread', 'allocate_lock')

_lock: Any = _allocate_lock()

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


@contextlib.contextmanager
def one_at_a_time() -> Iterator[None]:
    """Let one native thread at a time run a block, in which nobody waits."""
    # A forked child may have a copy that is locked, and that nobody unlocks.
    locked = _lock.acquire(timeout=_LOOK)
    try:
        yield
    finally:
        if locked:
            _lock.release()


class Inbox:
    """What other native threads want a hub to call.

    ``loop.run_callback_threadsafe()`` does that, too, but changes libev's count of references
    while libev changes it without the GIL. Such changes get lost, about one for a thousand calls
    beside busy timers. A count that is too low ends the loop with ``LoopExit``.

    :param hub: the hub of this thread.
    """

    __slots__ = ('_calls', '_watcher', 'hub')

    def __init__(self, hub: Hub) -> None:
        self.hub = hub
        self._calls: deque[tuple[Callable[..., object], tuple[Any, ...]]] = deque()
        # It ends with the loop. Nothing waits for it.
        self._watcher = hub.loop.async_(ref=False)
        self._watcher.start(self._run)

    def call_soon(self, function: Callable[..., object], *arguments: Any) -> bool:
        """In any thread: have the hub call a function. Calls keep their order.

        :returns: False if the hub has been destroyed, perhaps just now.
        """
        if self.hub.loop is None:
            return False
        self._calls.append((function, arguments))
        try:
            self._watcher.send()
        except Exception:  # each kind of loop raises another one after it has been destroyed
            return False
        return True

    def _run(self) -> None:
        """In the hub."""
        calls = self._calls
        for _ in range(len(calls)):
            function, arguments = calls.popleft()
            try:
                function(*arguments)
            except BaseException:  # as gevent does for a callback: the other calls are made
                self.hub.handle_error(function, *sys.exc_info())


#: The inbox of this thread's hub: ``inboxes.get()``.
inboxes = PerHub(Inbox)


def call_in_hub(
    inbox: Inbox, timeout: float | None, function: Callable[..., object], *arguments: Any
) -> None:
    """Have a greenlet of the hub's thread call a function. Wait for that, or the thread's end.

    :param inbox: that of the hub of another thread.
    :param timeout: in seconds, since that thread may be busy for long; None: no bound.
    """
    left: Any
    tell: Callable[[], object]
    if get_hub_if_exists() is None:
        # A gevent event would make a hub in this thread, and leave it behind.
        left = _allocate_lock()
        left.acquire()
        tell, wait = left.release, left.acquire
    else:
        own, left = inboxes.get(), Event()
        wait = left.wait

        def tell() -> None:
            own.call_soon(left.set)

    def run() -> None:
        try:
            function(*arguments)
        finally:
            tell()

    if not inbox.call_soon(gevent.spawn, run):
        return
    seconds_left = inf if timeout is None else timeout
    while seconds_left > 0:
        # Not without a timer: this thread's loop knows nothing of the other, and would give up.
        step = min(_LOOK, seconds_left)
        if wait(timeout=step) or has_ended(inbox.hub):
            return
        seconds_left -= step
