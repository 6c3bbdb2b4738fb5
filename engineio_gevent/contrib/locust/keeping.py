"""``ConnectedUser``: a Locust user that connects, reconnects and disconnects."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

import gevent
from gevent.pool import Group
from locust import User
from locust.exception import StopTest
from locust.user.task import LOCUST_STATE_RUNNING, LOCUST_STATE_STOPPING, LOCUST_STATE_WAITING

from ...net.deadlines import timer_seconds

#: Maximum seconds between two attempts to connect, unless ``connect_retry_delay`` is longer.
MAX_RETRY_DELAY = 30.0


class ConnectedUser(User):  # type: ignore[misc, unused-ignore]  # typed where it is installed
    """Base class of users with a connection.

    The user connects in ``on_start`` and retries until it succeeds or the user is stopped.
    ``on_start`` never raises, because Locust would not retry it.
    """

    abstract = True
    _state: str | None  # Locust's

    #: Timeout of an attempt to connect, in seconds.
    connect_timeout: float = 5.0
    #: Seconds before the second attempt to connect. The delay doubles up to 30 s, minus up to 50%
    #: jitter.
    connect_retry_delay: float = 1.0

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self.host is None:
            raise StopTest(
                'You must specify the base host. Either in the host attribute in the User class, '
                'or on the command line using the --host option.'
            )

    def start(self, group: Group) -> gevent.Greenlet[..., Any]:
        """Start the greenlet of this user. The connection is closed when the greenlet ends."""
        greenlet: gevent.Greenlet[..., Any] = super().start(group)
        # Locust calls on_stop where a user is stopped, and not where it dies of an exception.
        greenlet.link_exception(lambda _: self._leave())
        return greenlet

    def on_start(self) -> None:
        """Connect. A subclass that overrides this must call it. It never raises."""
        super().on_start()
        for delay in self._delays():
            if self._attempt() or self._state == LOCUST_STATE_STOPPING:
                return
            # So that Locust does not wait for this user when it is to stop.
            before, self._state = self._state, LOCUST_STATE_WAITING
            gevent.sleep(timer_seconds(delay))
            self._state = before or LOCUST_STATE_RUNNING

    def on_stop(self) -> None:
        """Disconnect, within 3 seconds."""
        super().on_stop()  # type: ignore[no-untyped-call, unused-ignore]  # Locust's has no types
        self._leave()

    def _delays(self) -> Iterator[float]:
        """Seconds between attempts, endlessly."""
        delay = self.connect_retry_delay
        longest = max(delay, MAX_RETRY_DELAY)
        while True:
            yield delay * random.uniform(0.5, 1)
            delay = min(2 * delay, longest)

    def _attempt(self) -> bool:
        """Try to connect once and report it; returns whether it succeeded. It never raises."""
        raise NotImplementedError

    def _leave(self) -> None:
        """Disconnect. It may be called any number of times."""
        raise NotImplementedError
