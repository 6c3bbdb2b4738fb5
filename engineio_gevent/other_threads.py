"""Calls from other native threads: a hub cannot wait for events of another hub."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gevent
from gevent._hub_local import get_hub_if_exists
from gevent.event import Event
from gevent.hub import Hub
from gevent.monkey import get_original

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


def call_in_hub(
    hub: Hub, timeout: float | None, function: Callable[..., object], *arguments: Any
) -> None:
    """Have a greenlet of the hub's thread call a function, and wait for that.

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

    hub.loop.run_callback_threadsafe(gevent.spawn, run)
    if timeout is not None:
        wait(timeout=timeout)
        return
    # Not without a timer: this thread's loop knows nothing of the other, and would give up.
    while not wait(timeout=_LOOK) and not has_ended(hub):
        pass
