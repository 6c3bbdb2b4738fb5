"""Tools for applications that do not depend on gevent themselves, as python-engineio has them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gevent
import gevent.event
import gevent.queue

from .net.deadlines import timer_seconds


class Tools:
    """Greenlets, queues and events under the names of python-engineio."""

    def start_background_task(
        self, target: Callable[..., Any], *args: Any, **kwargs: Any
    ) -> gevent.Greenlet[..., Any]:
        """Run a function in a new greenlet.

        :param target: the function. It is called with the remaining arguments.
        :returns: the greenlet, which has ``join()``.
        """
        return gevent.spawn(target, *args, **kwargs)

    def sleep(self, seconds: float = 0) -> None:
        """Sleep while other greenlets run.

        :param seconds: how long to sleep.
        """
        gevent.sleep(timer_seconds(seconds))

    def create_queue(self, *args: Any, **kwargs: Any) -> gevent.queue.Queue[Any]:
        """Return a new ``gevent.queue.Queue``."""
        return gevent.queue.Queue(*args, **kwargs)

    def get_queue_empty_exception(self) -> type[Exception]:
        """Return the exception that an empty queue raises, ``gevent.queue.Empty``."""
        return gevent.queue.Empty

    def create_event(self, *args: Any, **kwargs: Any) -> gevent.event.Event:
        """Return a new ``gevent.event.Event``."""
        return gevent.event.Event(*args, **kwargs)
