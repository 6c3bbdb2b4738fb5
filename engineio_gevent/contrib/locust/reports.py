"""Reports of a user's requests to Locust."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from .failures import describe

if TYPE_CHECKING:
    from locust import User


class Stopwatch:
    """Measures the time since it was created."""

    __slots__ = ('_from', 'started')

    def __init__(self) -> None:
        #: Time of creation, in seconds since 1970.
        self.started: float = time.time()
        self._from = time.perf_counter()

    def milliseconds(self, until: float | None = None) -> float:
        """Milliseconds since the creation.

        :param until: a value of ``time.perf_counter()`` to use instead of the current time.
        """
        return ((time.perf_counter() if until is None else until) - self._from) * 1000


class Reports:
    """Reports one user's requests to Locust.

    :param user: the user.
    :param path: path of Engine.IO or Socket.IO on the server.
    """

    __slots__ = ('_path', '_user')

    def __init__(self, user: User, path: str) -> None:
        self._user = user
        self._path = path.strip('/')

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
        user.environment.events.request.fire(
            request_type=request_type,
            name=name,
            response_time=milliseconds,
            response_length=length,
            response=response,
            exception=None if error is None else describe(error),
            context=user.context(),
            start_time=time.time() if started is None else started,
            url=f'{(user.host or "").rstrip("/")}/{self._path}/',
        )
