"""Reports of a user's requests to Locust."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import gevent
from gevent import getcurrent

from ...net.deadlines import timer_seconds
from ...net.hosts import without_login
from .awaited import Awaited
from .failures import CheckFailed, describe
from .stopwatch import Stopwatch

if TYPE_CHECKING:
    from locust import User

#: Minimum seconds of a call that fails. A loop of calls that fail at once would freeze the process.
MOMENT = 0.1

#: The types of calls that have response times.
_TIMED = frozenset({'call', 'request'})

#: The key of a user among the ``spawn_tree_locals`` of its greenlets.
_USER = 'engineio_gevent user'


class UserLeft(gevent.GreenletExit):
    """Ends a greenlet that belongs to a user that has left."""


class Reports:
    """Reports one user's requests to Locust.

    When the user leaves, its connection ends and its calls fail. These failures are not reported.
    Calls that still go on in other greenlets when it has left are not reported either: they would
    count in the next run.

    :param user: the user.
    :param path: path of Engine.IO or Socket.IO on the server.
    """

    __slots__ = ('_leaving', '_left', '_path', '_user')

    def __init__(self, user: User, path: str) -> None:
        self._user = user
        self._path = path.strip('/')
        self._leaving = self._left = False

    def __call__(
        self,
        request_type: str,
        name: str,
        *,
        milliseconds: float | None = None,
        length: int = 0,
        error: BaseException | None = None,
        started: float | None = None,
        response: Any = None,
    ) -> None:
        """Report a request.

        :param request_type: the column "Type" of the report.
        :param name: the column "Name" of the report.
        :param milliseconds: the response time. With None the request is counted, and averages and
                             percentiles ignore it.
        :param length: size of the message in bytes.
        :param error: the exception, if the request failed.
        :param started: start time, in seconds since 1970; the default is the current time.
        :param response: the received message, for listeners.
        """
        user = self._user
        if (self._left or (self._leaving and error)) and getcurrent() is not user.greenlet:
            return
        user.environment.events.request.fire(
            request_type=request_type,
            name=name,
            response_time=milliseconds,
            response_length=length,
            response=response,
            exception=None if error is None else describe(error),
            context=user.context(),
            start_time=time.time() if started is None else started,
            url=self._url(),
        )

    def _url(self) -> str:
        """The URL without a query and a password, which may be secret."""
        try:
            parts = urlsplit(without_login(self._user.host or ''))
        except ValueError:  # an invalid URL; the row of connect() says why
            return f'/{self._path}/'
        return f'{parts.scheme}://{parts.netloc.rpartition("@")[2]}/{self._path}/'

    # The life of the user

    def begin(self) -> None:
        """The user connects."""
        self._leaving = self._left = False

    def leave(self) -> None:
        """The user is about to disconnect. No failure from now on is the server's."""
        self._leaving = True

    def end(self) -> None:
        """The user has disconnected."""
        self._left = True

    # Calls of the scenario

    def connect(
        self,
        transport: str,
        watch: Stopwatch,
        error: BaseException | None,
        timeout: float | None,
        until: float | None = None,
    ) -> None:
        """Report an attempt to connect.

        :param watch: the time since the start of the attempt.
        :param error: why it failed, if it did.
        :param timeout: its timeout in seconds. A failure before that has no response time.
        :param until: its end, by ``time.perf_counter()``; the default is the current time.
        """
        took = watch.milliseconds(until)
        timed = (
            error is None
            or isinstance(error, gevent.Timeout)
            or (timeout is not None and took >= 1000 * timeout)
        )
        self(
            'connect', transport, milliseconds=took if timed else None, started=watch.started,
            error=error,
        )  # fmt: skip

    def failed(
        self,
        request_type: str,
        name: str,
        error: BaseException,
        watch: Stopwatch,
        awaited: Awaited | None = None,
    ) -> None:
        """Report a failed call, and make it last a moment.

        :param watch: the time since the start of the call.
        :param awaited: the answer for which it waited.
        :raises UserLeft: the user has left, and this is one of its other greenlets.
        """
        if not self._leaving:
            failure = describe(error)
            answer = awaited if isinstance(error, CheckFailed) else None
            until = None if answer is None else answer.at
            timed = failure.timed and request_type in _TIMED
            self(
                request_type, name, error=failure, started=watch.started,
                milliseconds=watch.milliseconds(until) if timed else None,
                length=answer.length if answer else 0,
                response=answer.message if answer else None,
            )  # fmt: skip
        elif self._is_spawned():
            raise UserLeft
        gevent.sleep(timer_seconds(MOMENT - watch.milliseconds() / 1000))
        if self._leaving and self._is_spawned():  # it has left meanwhile
            raise UserLeft

    def _is_spawned(self) -> bool:
        """Whether the scenario has spawned the current greenlet, or it runs a handler."""
        greenlet: Any = getcurrent()
        tree = getattr(greenlet, 'spawn_tree_locals', None) or {}
        return tree.get(_USER) is self._user and greenlet is not self._user.greenlet

    # Code of the scenario

    def adopt(self, greenlet: Any) -> None:
        """Make a greenlet the user's. gevent passes that on to all that it spawns."""
        # It is None if GEVENT_TRACK_GREENLET_TREE is off.
        greenlet.spawn_tree_locals = {**(greenlet.spawn_tree_locals or {}), _USER: self._user}

    def guard(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """Call a handler. Its exceptions also go to Locust's table "Exceptions".

        :returns: what it returned, or None if it was ended because the user has left.
        :raises Exception: what it raised.
        """
        greenlet: Any = getcurrent()
        before = getattr(greenlet, 'spawn_tree_locals', None)
        if before is not None:  # a greenlet of gevent's, and its option to track trees is on
            self.adopt(greenlet)
        try:
            return function(*arguments)
        except UserLeft:
            return None
        except Exception as exc:
            self.exception(exc)
            raise
        finally:
            if before is not None:
                greenlet.spawn_tree_locals = before

    def exception(self, error: Exception) -> None:
        """Add an exception to Locust's table "Exceptions"."""
        if not self._left:
            self._user.environment.events.user_error.fire(
                user_instance=self._user, exception=error, tb=error.__traceback__
            )
