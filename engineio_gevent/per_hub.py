"""One object for each hub: what the clients of a native thread share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, TypeVar

import gevent
from gevent import getcurrent
from gevent._hub_local import get_hub_if_exists
from gevent.hub import Hub, get_hub
from gevent.monkey import get_original

_T = TypeVar('_T')


class PerHub(Generic[_T]):
    """Makes an object for a hub when it is first needed, and a new one for the next hub.

    :param make: called with the hub.
    """

    def __init__(self, make: Callable[[Hub], _T]) -> None:
        self._make = make
        # A patched local would belong to a greenlet, not to the native thread.
        self._local: Any = get_original('threading', 'local')()

    def get(self) -> _T:
        """The object of this thread's hub."""
        hub = get_hub()
        local = self._local
        if getattr(local, 'hub', None) is not hub:
            local.item = self._make(hub)
            local.hub = hub
        item: _T = local.item
        return item


class Life:
    """Lives as long as its native thread. A hub's ``dead`` may change later than that, or never."""

    __slots__ = ('__weakref__',)

    def __init__(self, hub: Hub) -> None:
        pass


#: ``lives.get()`` is that of this thread. Keep weak references to it only.
lives = PerHub(Life)


def give_way() -> None:
    """Let other greenlets run. A loop of calls that do nothing would freeze the thread.

    It does nothing in the hub, and in a thread without a hub.
    """
    hub = get_hub_if_exists()
    if hub is not None and getcurrent() is not hub:
        gevent.sleep(0)
