"""What Locust is told of a user's requests."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from .failures import describe

if TYPE_CHECKING:
    from locust import User


class Stopwatch:
    """The time since it was made."""

    __slots__ = ('_from', 'started')

    def __init__(self) -> None:
        #: When it was made, in seconds since 1970.
        self.started: float = time.time()
        self._from = time.perf_counter()

    def milliseconds(self, until: float | None = None) -> float:
        """The milliseconds since then.

        :param until: a value of ``time.perf_counter()``, in place of now.
        """
        return ((time.perf_counter() if until is None else until) - self._from) * 1000


class Reports:
    """Tells Locust of one user's requests, by the events of the user's own environment.

    :param user: the user.
    :param path: the path of Engine.IO, or Socket.IO, on its host.
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
        """Count a request.

        :param request_type: the column "Type".
        :param name: the column "Name".
        :param milliseconds: how long it took; None where that would say nothing: it is
                             counted then, and leaves averages and percentiles alone.
        :param length: the bytes of the message.
        :param error: what made it a failure.
        :param started: when it began, in seconds since 1970; the default is now.
        :param response: what came, for listeners.
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
