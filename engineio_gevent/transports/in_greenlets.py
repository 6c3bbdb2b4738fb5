"""HTTP by code that waits, such as a ``requests.Session`` of the caller: in greenlets."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from gevent import Greenlet, GreenletExit, Timeout, getcurrent

from ..exceptions import ConnectionClosed
from .http import Answer, OnAnswer


class WaitingHTTP(Protocol):
    """Two requests that wait for their answers. See :class:`.HTTP` for their parameters."""

    def get(self, target: str, timeout: float | None) -> bytes:
        """GET; returns the body of a 2xx answer."""

    def post(self, target: str, body: bytes, timeout: float | None) -> bytes:
        """POST; as :meth:`get`."""


class InGreenlets:
    """Makes requests in two greenlets: one for GETs, one while there is something to POST.

    :param http: makes the requests. Its connections stay open.
    """

    __slots__ = ('_getter', '_http', '_poster')

    def __init__(self, http: WaitingHTTP) -> None:
        self._http = http
        self._getter = _Worker()
        self._poster = _Worker()

    def get_and_wait(self, target: str, timeout: float | None) -> bytes:
        return self._http.get(target, timeout)

    def get(self, target: str, timeout: float | None, on_answer: OnAnswer) -> None:
        self._getter.ask(on_answer, self._http.get, target, timeout)

    def post(self, target: str, body: bytes, timeout: float | None, on_answer: OnAnswer) -> None:
        self._poster.ask(on_answer, self._http.post, target, body, timeout)

    def close(self, gently: bool = False) -> list[Greenlet[..., None]]:
        return self._kill()

    def abandon(self, wake: bool = True) -> None:
        if wake:
            self._kill()

    def _kill(self) -> list[Greenlet[..., None]]:
        return [*self._getter.kill(), *self._poster.kill()]


class _Worker:
    """Makes one request after the other, in a greenlet that ends if there is no next one."""

    __slots__ = ('_greenlet', '_killed', '_next')

    def __init__(self) -> None:
        self._greenlet: Greenlet[..., None] | None = None
        self._next: tuple[OnAnswer, Callable[..., bytes], tuple[Any, ...]] | None = None
        self._killed = False

    def ask(self, on_answer: OnAnswer, request: Callable[..., bytes], *arguments: Any) -> None:
        self._next = on_answer, request, arguments
        if self._greenlet is None:
            self._greenlet = Greenlet.spawn(self._run)
            self._greenlet.rawlink(self._on_end)

    def _run(self) -> None:
        try:
            while self._next is not None and not self._killed:
                on_answer, request, arguments = self._next
                self._next = None
                answer = _answer(request, arguments)
                if not self._killed:
                    on_answer(answer)
                del answer  # a greenlet that waits for the next one keeps nothing of this one
        finally:
            self._greenlet = None

    def _on_end(self, greenlet: Greenlet[..., None]) -> None:
        """In the hub: the application may have killed it before it began."""
        if greenlet is self._greenlet and self._next is not None and not self._killed:
            on_answer = self._next[0]
            self._greenlet = self._next = None
            on_answer(_was_killed())

    def kill(self) -> list[Greenlet[..., None]]:
        """Make no other request; returns the greenlet, if it has to end in a moment."""
        self._killed = True
        greenlet = self._greenlet
        if greenlet is None or greenlet is getcurrent():
            return []
        greenlet.kill(block=False)
        return [greenlet]


def _answer(request: Callable[..., bytes], arguments: tuple[Any, ...]) -> Answer:
    try:
        return request(*arguments)
    except (Exception, Timeout) as exc:  # a Timeout of the code of a session is no Exception
        return exc
    except GreenletExit as exc:
        # By kill(), or by the application, which may kill all greenlets.
        error = _was_killed()
        error.__cause__ = exc
        return error


def _was_killed() -> ConnectionClosed:
    return ConnectionClosed('the greenlet of a polling request was killed')
