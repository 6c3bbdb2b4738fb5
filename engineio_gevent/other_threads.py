"""Calls from other native threads: a hub cannot wait for events of another hub."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from math import inf
from typing import Any

import gevent
from gevent._hub_local import get_hub_if_exists
from gevent.event import Event
from gevent.hub import Hub
from gevent.monkey import get_original

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


def call_soon(hub: Hub, function: Callable[..., object], *arguments: Any) -> bool:
    """Have the loop of another thread call a function.

    :returns: False if the hub has been destroyed, perhaps just now.
    """
    loop = hub.loop
    if loop is None:
        return False
    try:
        loop.run_callback_threadsafe(function, *arguments)
    except (ValueError, TypeError):  # what a destroyed loop raises; TypeError with CFFI
        return False
    return True


def call_in_hub(
    hub: Hub, timeout: float | None, function: Callable[..., object], *arguments: Any
) -> None:
    """Have a greenlet of the hub's thread call a function. Wait for that, or the thread's end.

    :param hub: the hub of another thread.
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
        tell, wait = left.set, left.wait

    def run() -> None:
        try:
            function(*arguments)
        finally:
            tell()

    if not call_soon(hub, gevent.spawn, run):
        return
    seconds_left = inf if timeout is None else timeout
    while seconds_left > 0:
        # Not without a timer: this thread's loop knows nothing of the other, and would give up.
        step = min(_LOOK, seconds_left)
        if wait(timeout=step) or has_ended(hub):
            return
        seconds_left -= step
