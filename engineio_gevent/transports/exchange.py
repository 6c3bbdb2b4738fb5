"""Requests over one persistent HTTP connection, one after the other, driven by the hub.

While an answer is awaited there is no greenlet. One is started for what has to wait: to open a
connection, by name look-ups, proxies and TLS.
"""

from __future__ import annotations

import errno
import select
from time import monotonic
from typing import Any

from gevent import Greenlet
from gevent.hub import get_hub
from gevent.monkey import get_original

from ..exceptions import ConnectionClosed, HTTPError, ProtocolError
from ..net.deadlines import GRACE, within
from ..net.errors import error_text
from ..net.hosts import authority
from ..net.stream import Stream
from ..net.tunnel import Proxy
from ..protocol.http1 import Response, encode_request
from . import redirects
from .connection import forwards, open_connection
from .http import Answer, OnAnswer, body_of_success
from .http_reader import CHUNKS_PER_TURN, acknowledge, end_with_error, good_until
from .route import Route

#: Seconds between two looks at how much of a large request the server has accepted.
SENDING_INTERVAL = 0.25
#: Bytes of a body that the operating system accepts at once, most often.
SMALL_BODY = 1 << 16

_PROXY_LOGIN = 'proxy-authorization'
_poll: Any = get_original('select', 'poll') if hasattr(select, 'poll') else None
_POLLIN = 1


class Request:
    """A request that is under way, through redirects.

    :param timeout: seconds for all of it. The time to send a large body does not count, as long as
                    the server accepts some of it within these seconds. None: no limit.
    :param on_answer: see :meth:`.HTTP.get`.
    """

    __slots__ = (
        'body',
        'deadline',
        'headers',
        'is_overdue',
        'method',
        'on_answer',
        'redirects',
        'target',
        'timeout',
    )

    def __init__(
        self,
        method: str,
        target: str,
        headers: dict[str, str],
        body: bytes | None,
        timeout: float | None,
        on_answer: OnAnswer,
    ) -> None:
        self.method = method
        self.target = target
        self.headers = headers
        self.body = body
        self.timeout = timeout
        self.on_answer = on_answer
        self.redirects = 0
        self.deadline = None if timeout is None else monotonic() + timeout
        self.is_overdue = False


class Exchange:
    """One persistent connection, opened when needed, with one request at a time.

    :param route: the way to the server.
    :param max_size: the largest body of a response in bytes, or None for no limit.
    """

    __slots__ = (
        '_closed',
        '_good_until',
        '_is_reused',
        '_max_size',
        '_opening',
        '_place',
        '_proxy',
        '_request',
        '_response',
        '_route',
        '_stream',
        '_unsent',
    )

    def __init__(self, route: Route, max_size: int | None) -> None:
        self._route = route
        self._max_size = max_size
        self._stream: Stream | None = None
        self._opening: Greenlet[..., None] | None = None
        # Where the stream leads, by which proxy. Elsewhere than home after a redirect.
        self._place = redirects.home(route, '/')
        self._proxy = route.proxy_for(route.origin, self._place.url)
        self._request: Request | None = None
        # Made with the first byte: an idle client waits for most of its life.
        self._response: Response | None = None
        self._is_reused = False  # whether the stream has had an earlier request
        self._unsent = 0  # bytes of a large request, at the last look
        self._good_until: float | None = None
        self._closed = False

    @property
    def _by(self) -> str:
        """For errors, the proxy: not every status or refusal is the server's."""
        return '' if self._proxy is None else f' via {self._proxy}'

    # The request

    def ask(self, request: Request, *, here: bool = False) -> None:
        """Begin a request; does not wait.

        :param here: whether to open the connection in this greenlet, which waits for that.
        """
        if self._closed:
            error = ConnectionClosed('the connection was closed by this client')
            get_hub().loop.run_callback(request.on_answer, error)
            return
        self._request = request
        try:
            self._go_to(redirects.home(self._route, request.target))
            self._begin(here)
        except Exception as exc:  # the caller is the hub, most often
            get_hub().loop.run_callback(self._fail, exc)

    def _go_to(self, place: redirects.Destination) -> None:
        if place.origin != self._place.origin:
            self._drop()
            self._proxy = self._route.proxy_for(place.origin, place.url)
        self._place = place

    def _begin(self, here: bool = False) -> None:
        """Send the request over the kept connection, or a new one."""
        assert self._request is not None
        size = len(self._request.body or b'')
        self._unsent = size if size > SMALL_BODY else 0
        self._drop_if_stale()
        if self._stream is not None:
            self._is_reused = True
            self._send()
        elif here:
            self._open()
        else:
            self._opening = Greenlet.spawn(self._open)
            self._opening.rawlink(self._on_opening_ended)

    def _open(self) -> None:
        """In a greenlet: open a connection, and send the request."""
        request = self._request
        if request is None:
            return
        try:
            left = None if request.deadline is None else request.deadline - monotonic()
            sock = within(left, self._connect, request.timeout, of=request.timeout)
            self._opening = None
            if self._request is not request:  # closed meanwhile
                sock.close()
                return
            if hasattr(sock, 'suppress_ragged_eofs'):
                # Else an end of TCP in the middle would look like an end of TLS.
                sock.suppress_ragged_eofs = False
            self._stream = Stream(sock, self._on_data, self._on_lost)
            self._stream.start()
            self._is_reused = False
            self._send()
        except Exception as exc:
            self._opening = None
            self._fail(self._with_place(exc))

    def _on_opening_ended(self, greenlet: Greenlet[..., None]) -> None:
        """In the hub: the application may have killed it, perhaps before it has begun."""
        if self._opening is greenlet:
            self._opening = None
            self._fail(ConnectionClosed('the greenlet that opens a connection was killed'))

    def _connect(self, timeout: float | None) -> Any:
        return open_connection(self._route, self._place, self._proxy, timeout, tunnel=False)

    @property
    def _forwarding_proxy(self) -> Proxy | None:
        """The proxy, if it is an HTTP proxy that gets the requests themselves."""
        return self._proxy if forwards(self._proxy, self._place) else None

    def _send(self) -> None:
        request, stream = self._request, self._stream
        assert request is not None
        assert stream is not None
        target, headers = self._place.target, request.headers
        proxy = self._forwarding_proxy
        if proxy is not None:
            target = self._place.url  # RFC 9112, section 3.2.2
            own = proxy.authorization()
            headers = {n: v for n, v in headers.items() if not own or n.lower() != _PROXY_LOGIN}
            headers.update(own)
        stream.write(encode_request(request.method, target, headers.items(), request.body))
        self._unsent = self._unsent and stream.queued

    def _drop_if_stale(self) -> None:
        """Forget a kept connection that the server has closed meanwhile, or is about to."""
        stream = self._stream
        if stream is None:
            return
        if stream.closed or (self._good_until is not None and monotonic() >= self._good_until):
            self._drop()
        elif _poll is not None:
            poller = _poll()
            poller.register(stream.fileno(), _POLLIN)  # end of file, or junk
            if poller.poll(0):
                self._drop()

    # The answer, in the hub

    def _on_data(self, data: bytes) -> bool:
        """Take bytes of the connection.

        :returns: whether other connections and timers have to get a turn.
        """
        response = self._response
        if response is None:
            if self._request is None:
                self._drop()  # bytes that nobody asked for
                return False
            response = self._response = Response(self._max_size)
        chunks = response.chunks
        try:
            is_complete = response.feed(data)
        except Exception as exc:
            self._fail(exc)
            return False
        assert self._stream is not None
        if is_complete:
            self._complete(response, self._stream.queued)
            return False
        acknowledge(self._stream)
        return response.chunks - chunks >= CHUNKS_PER_TURN

    def _on_lost(self, error: Exception | None) -> None:
        stream = self._stream
        if stream is None or not stream.closed:
            return  # this is the end of an earlier stream
        self._stream = None
        if self._request is None:
            return
        response, self._response = self._response, None
        refused = error is None or isinstance(error, ConnectionError)
        if refused and self._is_reused and stream.queued and response is None:
            # It could not be sent: the server has closed the connection that it kept. A request
            # that the server may have taken is never sent again (RFC 9110, section 9.2.2): a POST
            # would double its messages, and to a GET that is lost the server may have given some.
            self._begin()
            return
        began = response is not None
        response = response or Response(self._max_size)
        try:
            if stream.queued and isinstance(error, OSError):
                raise error
            end_with_error(response, error, began)
        except Exception as exc:
            self._fail(self._with_place(exc))
        else:
            self._complete(response, stream.queued)

    def _complete(self, response: Response, unsent: int) -> None:
        """The response is whole: follow a redirect, or report the answer.

        :param unsent: bytes of the request that the server has answered without them.
        """
        request, place = self._request, self._place
        assert request is not None
        self._response = None
        keep = response.keep_alive
        # RFC 9112, section 9.6: nothing is sent after a request to close.
        keep = keep and 'close' not in request.headers.get('Connection', '').lower()
        if self._forwarding_proxy is not None:
            # Some proxies (tinyproxy) close it when the next request is under way.
            keep = keep and 'keep-alive' in response.headers.get('connection', '').lower()
        if unsent:
            self._drop()
        elif not keep:
            self._drop(gently=True)
        self._good_until = good_until(response)
        try:
            if response.cookies:
                self._route.cookies.store(place.url, response.cookies)
            there = redirects.next_destination(
                place, request.method, response.status, response.headers
            )
            if there is not None:
                self._follow(request, response, there)
                return
            content = response.content(self._max_size)
            answer: Answer = body_of_success(
                request.method,
                self._route,
                request.target,
                response.status,
                response.headers,
                content,
                self._by,
            )
            if unsent:
                raise ProtocolError('the server has answered before it had the whole request')
        except Exception as exc:
            answer = self._with_place(exc)
        self._report(answer)

    def _follow(self, request: Request, response: Response, there: redirects.Destination) -> None:
        place = self._place
        if request.redirects == redirects.MAX_REDIRECTS:
            raise HTTPError(
                f'more than {redirects.MAX_REDIRECTS} redirects, the last to '
                f'{redirects.shown(there.url)}',
                response.status,
                None,
                response.headers,
            )
        if request.deadline is not None and monotonic() >= request.deadline:
            raise _time_out(request)
        request.redirects += 1
        cookies = self._route.cookies.header(there.url)
        request.headers = dict(
            redirects.headers_after_redirect(request.headers.items(), place, there, cookies)
        )
        self._go_to(there)
        self._begin()

    def _with_place(self, error: Exception) -> Exception:
        """An error of the operating system as one of this package, with the server's name."""
        if not isinstance(error, OSError):
            return error
        where = authority(self._place.host, self._place.port)
        named = ConnectionClosed(f'{where}{self._by}: {error_text(error)}')
        named.__cause__ = error
        return named

    def _fail(self, error: Exception) -> None:
        self._drop()
        self._report(error)

    def _report(self, answer: Answer) -> None:
        request, self._request = self._request, None
        if request is not None:
            request.on_answer(answer)

    # The deadline

    @property
    def next_look(self) -> float | None:
        """When to call :meth:`look`, by the monotonic clock; None: there is no deadline."""
        request = self._request
        if request is None or request.deadline is None:
            return None
        if request.is_overdue:
            return request.deadline + GRACE
        if self._unsent:
            return min(request.deadline, monotonic() + SENDING_INTERVAL)
        return request.deadline

    def look(self, now: float) -> None:
        """End the request if its time is over.

        :param now: by the monotonic clock.
        """
        request = self._request
        if request is None or request.deadline is None or request.timeout is None:
            return
        if self._unsent and self._stream is not None and self._stream.queued < self._unsent:
            self._unsent = self._stream.queued
            request.deadline = now + request.timeout
            request.is_overdue = False
        if now < request.deadline:
            return
        if not request.is_overdue:
            request.is_overdue = True
        elif now >= request.deadline + GRACE:
            self._stop_opening()
            self._fail(self._with_place(_time_out(request)))

    # The end

    def cancel(self) -> None:
        """End the request, if one is under way, without an answer; its connection, too."""
        if self._request is not None:
            self._request = None
            self._stop_opening()
            self._drop()

    def _stop_opening(self) -> Greenlet[..., None] | None:
        opening, self._opening = self._opening, None
        if opening is not None:
            opening.kill(block=False)
        return opening

    def close(self, gently: bool) -> Greenlet[..., None] | None:
        """Close for good. A request that is under way gets no answer.

        :param gently: let the server close the connection first, if it has answered all.
        :returns: a greenlet that still closes a connection.
        """
        self._closed = True
        gently = gently and self._request is None
        self._request = None
        opening = self._stop_opening()
        self._drop(gently)
        return opening

    def _drop(self, gently: bool = False) -> None:
        self._response = None
        stream, self._stream = self._stream, None
        if stream is None:
            return
        if gently:
            stream.close_gently(answered=True)
        else:
            stream.close()

    def abandon(self, wake: bool) -> None:
        """Give up the descriptor of this process only; see :meth:`.HTTP.abandon`."""
        self._closed = True  # and no other is opened
        self._request = None
        if wake:
            self._stop_opening()
        stream, self._stream = self._stream, None
        if stream is not None:
            stream.abandon(wake)


def _time_out(request: Request) -> TimeoutError:
    return TimeoutError(errno.ETIMEDOUT, f'no answer within {request.timeout:g} seconds')
