"""HTTP over persistent connections of our own: one for GET, one for POST."""

from __future__ import annotations

from time import monotonic
from typing import Any

from gevent import Greenlet
from gevent.hub import get_hub

from .. import __version__
from ..exceptions import ConnectionClosed
from ..net.deadlines import LONGEST_TIMER, timer_seconds
from ..net.hosts import host_header
from ..net.wakeup import WakeUp
from ..net.watchers import close_watchers
from .exchange import Exchange, Request
from .http import CONTENT_TYPE, Answer, OnAnswer
from .route import Route

_USER_AGENT = f'engineio-gevent/{__version__}'


class DirectHTTP:
    """Persistent connections of our own, driven by the hub.

    One timer watches the deadlines of all requests. It is not armed anew for each: most requests
    are answered long before it fires.

    :param route: the way to the server.
    :param max_size: the largest body of a response in bytes, or None for no limit.
    :param upgrade_may_follow: whether the first GET is most likely the only one. It then asks
                               the server to close its connection: the port of whoever closes
                               first is in use for another minute.
    """

    __slots__ = (
        '_asks_to_close',
        '_fires',
        '_getter',
        '_has_cookies',
        '_headers',
        '_max_size',
        '_post_headers',
        '_poster',
        '_route',
        '_timer',
        '_waiting',
    )

    def __init__(
        self, route: Route, max_size: int | None, *, upgrade_may_follow: bool = False
    ) -> None:
        self._route = route
        self._max_size = max_size
        self._headers = polling_headers(route)
        self._post_headers: dict[str, str] | None = None
        # The caller's own header goes first.
        self._asks_to_close = upgrade_may_follow and not route.has_header('connection')
        self._has_cookies = route.has_header('cookie')
        self._getter = Exchange(route, max_size)
        self._poster: Exchange | None = None
        self._waiting: WakeUp | None = None  # for the answer to get_and_wait()
        self._timer: Any = None
        self._fires = 0.0  # when the timer fires, by the monotonic clock

    def get_and_wait(self, target: str, timeout: float | None) -> bytes:
        headers = self._headers
        if self._asks_to_close:
            self._asks_to_close = False
            headers = {**headers, 'Connection': 'close'}
        self._waiting = answer = WakeUp()
        try:
            request = Request('GET', target, self._with_cookies(headers), None, timeout, answer.set)
            self._getter.ask(request, here=True)
            self._arm(self._getter)
            answer.wait()
        finally:
            self._waiting = None
            if not answer.is_set:  # the greenlet was interrupted
                self._getter.cancel()
        found: Answer = answer.value
        if isinstance(found, BaseException):
            try:
                raise found
            finally:
                del found, answer, request  # its traceback has this frame
        return found

    def get(self, target: str, timeout: float | None, on_answer: OnAnswer) -> None:
        headers = self._with_cookies(self._headers)
        self._getter.ask(Request('GET', target, headers, None, timeout, on_answer))
        self._arm(self._getter)

    def post(self, target: str, body: bytes, timeout: float | None, on_answer: OnAnswer) -> None:
        if self._poster is None:
            self._poster = Exchange(self._route, self._max_size)
            self._post_headers = {**self._headers, 'Content-Type': CONTENT_TYPE}
        assert self._post_headers is not None
        headers = self._with_cookies(self._post_headers)
        self._poster.ask(Request('POST', target, headers, body, timeout, on_answer))
        self._arm(self._poster)

    def _with_cookies(self, headers: dict[str, str]) -> dict[str, str]:
        if self._route.cookies.jar is None and not self._has_cookies:
            return headers  # 0.8 us less
        cookies = self._route.polling_cookies()
        return {**headers, 'Cookie': cookies} if cookies else headers

    # Deadlines

    def _arm(self, exchange: Exchange) -> None:
        """Have the timer fire in time for a request."""
        moment = exchange.next_look
        if moment is None or (self._timer is not None and self._fires <= moment):
            return
        loop = get_hub().loop
        close_watchers(loop, self._timer)
        left = min(moment - monotonic(), LONGEST_TIMER)
        self._timer = loop.timer(timer_seconds(left, loop))
        self._timer.start(self._look)
        self._fires = moment

    def _look(self) -> None:
        """In the hub."""
        self._stop_timer()
        now = monotonic()
        exchanges = [one for one in (self._getter, self._poster) if one is not None]
        for exchange in exchanges:
            exchange.look(now)
        for exchange in exchanges:
            self._arm(exchange)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            close_watchers(self._timer.loop, self._timer)
            self._timer = None

    # The end

    def close(self, gently: bool = False) -> list[Greenlet[..., None]]:
        self._stop_timer()
        ending = [self._getter.close(gently)]
        if self._poster is not None:
            ending.append(self._poster.close(gently))
        self._wake()
        return [greenlet for greenlet in ending if greenlet is not None]

    def abandon(self, wake: bool = True) -> None:
        self._getter.abandon(wake)
        if self._poster is not None:
            self._poster.abandon(wake)
        self._stop_timer()
        if wake:
            self._wake()

    def _wake(self) -> None:
        """Wake the greenlet that waits for the handshake."""
        if self._waiting is not None:
            self._waiting.set(ConnectionClosed('the connection was closed by this client'))


def polling_headers(route: Route) -> dict[str, str]:
    """The headers of every polling request but cookies; the caller's go first."""
    headers = {
        'Host': host_header(route.netloc),
        'User-Agent': _USER_AGENT,
        'Accept': '*/*',
        'Accept-Encoding': 'gzip, deflate',
    }
    names = {name.lower(): name for name in (*headers, 'Connection')}
    for name, value in route.headers:
        if name.lower() != 'cookie':
            headers[names.get(name.lower(), name)] = value
    return headers
