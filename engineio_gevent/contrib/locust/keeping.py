"""``ConnectedUser``: a Locust user that connects, reconnects and disconnects."""

from __future__ import annotations

import contextlib
import copy
import logging
import random
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any

import gevent
import requests
from gevent.pool import Group
from locust import User
from locust.clients import HttpSession
from locust.contrib.fasthttp import FastHttpSession
from locust.event import EventHook
from locust.exception import StopTest
from locust.user.task import LOCUST_STATE_RUNNING, LOCUST_STATE_STOPPING, LOCUST_STATE_WAITING

from ...net.deadlines import timer_seconds
from .presence import Presence
from .reports import Reports
from .retry_after import requested_delay
from .sources import next_source

#: Maximum seconds between two attempts to connect, unless ``connect_retry_delay`` is longer.
MAX_RETRY_DELAY = 30.0
#: Seconds for an attempt to reconnect to end when the user is stopped.
ATTEMPT_TIMEOUT = 1.0

_log = logging.getLogger(__name__)

_Session = requests.Session | FastHttpSession


class _Unreported(requests.Session):
    """One of Locust's sessions, without a row in the report for the URL of each request.

    It shares all attributes, such as the cookies and the pool of connections.
    """

    def __init__(self, session: HttpSession) -> None:
        self.__dict__ = session.__dict__


def _unreported(session: _Session | None) -> _Session | None:
    """A session whose requests make no rows in the report, if it is one of Locust's."""
    if isinstance(session, HttpSession):
        return _Unreported(session)
    if isinstance(session, FastHttpSession):
        quiet = copy.copy(session)  # it shares the cookies and the pool of connections
        quiet.request_event = EventHook()  # type: ignore[no-untyped-call, unused-ignore]  # Locust's
        return quiet
    return session


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
    #: jitter. If the server asks for a longer delay by ``Retry-After``, that applies, up to 300 s
    #: and plus up to 25% jitter.
    connect_retry_delay: float = 1.0
    #: Whether to reconnect after the connection is lost.
    reconnect: bool = True

    #: Session for polling, for example ``self.client`` of an ``HttpUser`` or a ``FastHttpUser``, or
    #: a function that returns it. Its cookies are sent with the websocket, too. None: a client of
    #: its own.
    http_session: _Session | Callable[[], _Session | None] | None = None

    #: IP address of this machine to connect from, or a list of them. The users of all workers use
    #: them evenly, and a user keeps its address when it reconnects. None, or an empty list: the
    #: operating system chooses. An ``http_session`` chooses its own.
    source_addresses: str | Collection[str] | None = None

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self.host is None:
            raise StopTest(
                'You must specify the base host. Either in the host attribute in the User class, '
                'or on the command line using the --host option.'
            )
        #: Adds rows to the report: ``self.report('push', 'chat', milliseconds=12.5)``.
        self.report: Reports = Reports(self, self._path())
        self._presence = Presence()
        self._stays = True
        self._spawned = Group()
        self._connecting: gevent.Greenlet[..., Any] | None = None
        self._attempting = False  # whether that greenlet is not between two attempts
        self._requested_delay = 0.0  # by the server that refused the last attempt

    def _complete(self, options: Mapping[str, Any]) -> dict[str, Any]:
        """Complete the options of the client."""
        completed = {
            'request_timeout': self.connect_timeout,
            'handle_sigint': False,  # it is Locust's
            'max_receive_delay': 0,  # it would be part of what is measured
            **options,
        }
        if self.source_addresses:
            worker = getattr(self.environment.runner, 'worker_index', 0)
            completed.setdefault('source_addresses', next_source(self.source_addresses, worker))
        self.http_session = completed.get('http_session', self.http_session)
        return {**completed, 'http_session': self._polling_session}

    def _polling_session(self) -> _Session | None:
        session = self.http_session
        return _unreported(session() if callable(session) else session)

    def start(self, group: Group) -> gevent.Greenlet[..., Any]:
        """Start the greenlet of this user. The connection is closed when the greenlet ends."""
        greenlet: gevent.Greenlet[..., Any] = super().start(group)
        self.report.adopt(greenlet)
        # Locust calls on_stop where a user is stopped, and not where it dies of an exception.
        greenlet.link_exception(lambda _: self._leave())
        return greenlet

    def on_start(self) -> None:
        """Connect. A subclass that overrides this must call it. It never raises."""
        super().on_start()
        self.report.begin()
        self._stays = True
        for delay in self._delays():
            if self._try() or self._state == LOCUST_STATE_STOPPING:
                return
            # So that Locust does not wait for this user when it is to stop.
            before, self._state = self._state, LOCUST_STATE_WAITING
            self._pause(delay)
            self._state = before or LOCUST_STATE_RUNNING

    def on_stop(self) -> None:
        """Disconnect, within 4 seconds. A subclass that overrides this must call it."""
        super().on_stop()  # type: ignore[no-untyped-call, unused-ignore]  # Locust's has no types
        self._leave()

    def spawn(
        self, function: Callable[..., Any], *args: Any, **kwargs: Any
    ) -> gevent.Greenlet[..., Any]:
        """Run a function in a greenlet that is killed when this user stops.

        Its exceptions are logged, and appear in Locust's table "Exceptions".

        :param function: called with the remaining arguments.
        :returns: the greenlet. Its value is what the function returned, or None after an exception.
        """
        greenlet: gevent.Greenlet[..., Any] = self._spawned.spawn(self._run, function, args, kwargs)
        if not self._stays:
            greenlet.kill(block=False)
        return greenlet

    def _run(
        self, function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        try:
            return self.report.guard(lambda: function(*args, **kwargs))
        except Exception:
            with contextlib.suppress(Exception):  # of a log filter
                _log.exception('exception in a greenlet of %s', type(self).__name__)

    def _delays(self) -> Iterator[float]:
        """Seconds between attempts, endlessly."""
        delay = self.connect_retry_delay
        longest = max(delay, MAX_RETRY_DELAY)
        while True:
            yield delay * random.uniform(0.5, 1)
            delay = min(2 * delay, longest)

    def _pause(self, delay: float) -> None:
        """Wait before the next attempt, as long as the server has asked for, too."""
        gevent.sleep(timer_seconds(max(delay, self._requested_delay)))

    def _try(self) -> bool:
        """Try to connect once and report it; returns whether it succeeded. It never raises."""
        self._requested_delay = 0.0
        try:
            self._attempt()
        except Exception as exc:  # it is reported
            self._requested_delay = requested_delay(exc)
            return False
        return True

    def _come_back(self) -> None:
        """Reconnect in the background, if this user is to."""
        if self._stays and self.reconnect:
            self._presence.keep(True, returning=True)
            if self._connecting is None:
                self._connecting = gevent.spawn(self._connect_again)

    def _connect_again(self) -> None:
        try:
            for delay in self._delays():
                self._pause(delay)
                self._attempting = True
                connected = self._try()
                self._attempting = False
                # It may be lost already.
                if not self._stays or (connected and self._is_settled()):
                    return
        finally:
            self._connecting, self._attempting = None, False
            self._presence.keep(False, returning=self._is_settled())

    def _leave(self) -> None:
        """Disconnect. It may be called any number of times."""
        self._stays = False
        self.report.leave()
        try:
            self._spawned.kill(block=False)
            if (connecting := self._connecting) is not None:
                if self._attempting:
                    # If it is killed while it waits for the server's answer, the server keeps the
                    # session until that times out.
                    connecting.join(ATTEMPT_TIMEOUT)
                connecting.kill()
            self._presence.keep(False, returning=False)  # the greenlet may not have begun
            self._disconnect()
        finally:
            self.report.end()

    def _path(self) -> str:
        """The path of Engine.IO or Socket.IO on the server."""
        raise NotImplementedError

    def _attempt(self) -> None:
        """Try to connect once, and report it. It raises if that fails."""
        raise NotImplementedError

    def _is_settled(self) -> bool:
        """Whether it is connected, or reconnects without :meth:`_connect_again`."""
        raise NotImplementedError

    def _disconnect(self) -> None:
        """Disconnect, within 3 seconds."""
        raise NotImplementedError
