"""Polling through the caller's ``requests.Session``, or an object with its interface.

Only a client with an ``http_session`` imports this.
"""

from __future__ import annotations

import functools
import inspect
import ssl
import sys
import traceback
from http.client import HTTPException
from typing import Any
from urllib.parse import urlsplit

import requests
import urllib3
from urllib3.exceptions import NewConnectionError

from ..exceptions import ConnectionClosed, HTTPError, ProtocolError
from ..net.deadlines import within
from ..net.errors import connection_error
from ..net.tunnel import Proxy, root_cause_text
from ..net.unpatched import warn_if_unpatched
from .headers import text, without_framing
from .http import CONTENT_TYPE, body_of_success
from .redirects import Destination, next_destination
from .route import Route

_PATCHED_LATE = (
    'requests cannot use TLS (RecursionError), because it was imported before ssl was '
    'monkey-patched. Call gevent.monkey.patch_all() before any other import; with gunicorn, at the '
    'top of gunicorn.conf.py'
)


#: Seconds for connecting and for reading; None: no limit.
Pair = tuple[float | None, float | None]


class SessionHTTP:
    """Sends every request through a session of the caller's, and never closes it.

    :param route: the way to the server.
    :param session: the session.
    :param max_size: the largest body of a response in bytes, or None for no limit.
    :param pair: the caller's timeouts for connecting and for reading, in place of their sum.
    """

    __slots__ = (
        '_by',
        '_headers',
        '_joins_cookies',
        '_max_size',
        '_opened',
        '_options',
        '_pair',
        '_route',
        '_session',
        '_verify',
    )

    def __init__(
        self,
        route: Route,
        session: Any,
        max_size: int | None,
        pair: Pair | None = None,
    ) -> None:
        warn_if_unpatched('polling through a requests.Session')
        self._route = route
        self._session = session
        self._max_size = max_size
        self._headers = {name: v for name, v in route.headers if name.lower() != 'cookie'}
        # requests adds its jar's cookies, but not where the caller gave some of his own.
        self._joins_cookies = route.has_header('cookie')
        # For errors: not every status or refusal is the server's.
        self._by = '' if route.proxy is None else f' via {Proxy.parse(route.proxy)}'
        # None: as the session says. False and a path are the client's.
        self._verify = None if route.verify is True else route.verify
        self._options = _accepted_options(session)
        self._pair = pair
        self._opened = False

    def get(self, target: str, timeout: float | None) -> bytes:
        return self._request('GET', target, None, timeout)

    def post(self, target: str, body: bytes, timeout: float | None) -> bytes:
        return self._request('POST', target, body, timeout)

    def _request(
        self, method: str, target: str, body: bytes | None, timeout: float | None
    ) -> bytes:
        headers: dict[Any, str | None] = {**self._changed(), **self._headers}
        if body is not None:
            headers = {**headers, 'Content-Type': CONTENT_TYPE}
        if self._joins_cookies:
            headers = {**headers, 'Cookie': self._route.polling_cookies()}
        handled = sys.exc_info()[1]
        try:
            response, content = self._exchange(method, target, headers, body, timeout)
        except Exception as exc:
            _cut_from_pool(exc, handled)
            if isinstance(exc, RecursionError) and _imported_before_patching():
                raise ConnectionClosed(f'{self._route.netloc}{self._by}: {_PATCHED_LATE}') from exc
            if not isinstance(exc, requests.RequestException) and not self._is_foreign(exc):
                raise
            causes = _causes(exc)
            root = causes[-1]
            if isinstance(exc, requests.TooManyRedirects) and exc.response is not None:
                text = f'{self._route.netloc}{self._by}: {exc}'
                raise HTTPError(text, exc.response.status_code, None, exc.response.headers) from exc
            unconnected = any(isinstance(one, NewConnectionError) for one in causes)
            kind = connection_error(root) if unconnected else ConnectionClosed
            raise kind(f'{self._route.netloc}{self._by}: {_error_text(root)}') from exc
        self._opened = True
        status, received = response.status_code, response.headers or {}
        # Locust's sessions return a response of status 0 where there was none.
        error = None if status else getattr(response, 'error', None)
        by = self._by
        if error is not None:
            _cut_from_pool(error, handled)
            by += f': {_error_text(_causes(error)[-1])}'
        try:
            return body_of_success(method, self._route, target, status, received, content, by)
        except HTTPError as exc:
            raise exc from error

    def _changed(self) -> dict[Any, str | None]:
        """What is changed of the session's own headers, as far as it is requests'; None: no header.

        Length and coding of a body are those of each request.
        """
        if not isinstance(self._session, requests.Session):
            return {}
        changed: dict[Any, str | None] = {}
        for name, value in self._session.headers.items():
            sent = [(text(name), text(value))]
            kept = sent if value is None else without_framing(sent)
            if kept != sent:
                changed[name] = kept[0][1] if kept else None
        return changed

    def _exchange(
        self,
        method: str,
        target: str,
        headers: dict[Any, str | None],
        body: bytes | None,
        timeout: float | None,
    ) -> tuple[Any, bytes]:
        options: dict[str, Any] = {
            'timeout': self._timeouts(method, timeout),
            'verify': self._verify,
            'cert': self._route.cert,
            'stream': True,
            # These replace the session's, where it has some of its own.
            'hooks': {'response': [*_hooks(self._session), self._check_redirect]},
        }
        if body is not None:
            options['data'] = body
        url = self._route.http_origin + target
        request = functools.partial(
            self._session.request,
            method,
            url,
            headers=headers,
            **{name: value for name, value in options.items() if name in self._options},
        )
        # A session that has no timeouts waits no longer for that.
        response = request() if 'timeout' in self._options else within(timeout, request)
        try:
            # requests limits the wait for each piece only.
            return response, within(timeout, self._read, response)
        except TimeoutError as exc:
            raise requests.ReadTimeout(exc) from exc
        finally:
            if isinstance(response, requests.Response):
                if response.raw is not None:  # Locust's session has none if there is no connection
                    response.close()
                _detach(response)

    def _timeouts(self, method: str, timeout: float | None) -> Pair | float | None:
        if self._pair is None:
            return timeout
        connect, read = self._pair
        if method == 'GET' and self._opened:  # it waits for messages, for as long as the heartbeat
            return connect, timeout
        return connect, min((one for one in (read, timeout) if one is not None), default=None)

    def _is_foreign(self, error: Exception) -> bool:
        """Whether an exception is that of another library than requests, such as httpx.

        Time limits of this package, which end a request, pass through it.
        """
        package = __name__.partition('.')[0]
        ours = type(error).__module__.partition('.')[0] == package
        return not ours and not isinstance(self._session, requests.Session)

    def _check_redirect(self, response: requests.Response, **_options: object) -> None:
        """A hook of requests, before it follows a redirect: by the rules of our own connections."""
        method = str(response.request.method)
        parts = urlsplit(str(response.url))
        # Host and port do not matter: what requests follows, it follows anywhere.
        here = Destination(parts.scheme == 'https', '', 0, parts.netloc, parts.path)
        try:
            there = next_destination(here, method, response.status_code, response.headers)
            if there is None:
                return
            # Errors of requests show the password of a proxy whose URL is invalid.
            self._route.proxy_for(there.origin, there.url)
            self._read_all(response)  # requests would do it, without a limit
        except BaseException:  # a time-out of the caller's, too, leaves no socket open
            response.close()
            _detach(response)
            raise

    def _read(self, response: requests.Response) -> bytes:
        """The body. Where a refusal has no valid one, the status says enough."""
        try:
            return self._read_all(response)
        except (ProtocolError, requests.exceptions.ContentDecodingError):
            if response.status_code < 300:
                raise
            return b''

    def _read_all(self, response: requests.Response) -> bytes:
        limit = self._max_size
        parts = []
        size = 0
        if isinstance(response, requests.Response) and response.raw is not None:
            _need_close_notify(response)
            pieces = response.iter_content(65536)
        else:
            pieces = iter([response.content or b''])
        for part in pieces:
            size += len(part)
            if limit is not None and size > limit:
                raise ProtocolError(f'response larger than {limit} bytes', 1009)
            parts.append(part)
        # The adapter is the caller's, and need not have urllib3 refuse a body that is cut short.
        missing = getattr(getattr(response, 'raw', None), 'length_remaining', None)
        if missing:
            raise requests.ConnectionError(
                urllib3.exceptions.IncompleteRead(response.raw.tell(), missing)
            )
        return b''.join(parts)


def _need_close_notify(response: requests.Response) -> None:
    """Have a body that ends with the connection fail if TLS is not closed (RFC 9112, section 9.8).

    Without this, a connection that was cut would look like the end of a complete body.
    """
    raw: Any = response.raw
    if getattr(raw, 'length_remaining', 0) is None and not getattr(raw, 'chunked', True):
        reader = getattr(getattr(raw, '_fp', None), 'fp', None)  # that of http.client
        sock: Any = getattr(getattr(reader, 'raw', None), '_sock', None)
        if hasattr(sock, 'suppress_ragged_eofs'):
            sock.suppress_ragged_eofs = False


def _imported_before_patching() -> bool:
    """Whether urllib3 has the SSLContext of an unpatched ssl, which calls itself when patched."""
    return vars(urllib3.util.ssl_)['SSLContext'] is not ssl.SSLContext


def _causes(error: BaseException) -> list[BaseException]:
    """From what requests raised, by way of urllib3, to what the system, TLS or a proxy raised."""
    causes = [error]
    while isinstance(error, (requests.RequestException, urllib3.exceptions.HTTPError)):
        places = [error.__cause__, getattr(error, 'reason', None), *error.args]
        if isinstance(error, NewConnectionError):
            # Made of PySocks' exceptions it has no cause. That of others may be the caller's.
            places.append(error.__context__)
        beneath = next((one for one in places if isinstance(one, BaseException)), None)
        if beneath is None:
            break
        error = beneath
        causes.append(error)
    return causes


def _error_text(error: BaseException) -> str:
    if isinstance(error, HTTPException) and not isinstance(error, OSError):
        return repr(error)  # its text alone says little: BadStatusLine's is that line
    return root_cause_text(error)


def _cut_from_pool(error: BaseException, handled: BaseException | None) -> None:
    """Cut what leads from an exception to urllib3's pool, in which connections lie idle.

    ``Session.close()`` leaves them to the collector, and the client keeps the exception that
    ended its connection. Its traceback stays, without the local variables.

    :param handled: what the caller of requests was handling: its frames are not ours.
    """
    waiting: list[object] = [error]
    seen = {id(handled)}
    while waiting:
        one = waiting.pop()
        if not isinstance(one, BaseException) or id(one) in seen:
            continue
        seen.add(id(one))
        traceback.clear_frames(one.__traceback__)
        if isinstance(one, urllib3.exceptions.PoolError):
            one.pool = None  # type: ignore[assignment]  # as when urllib3 pickles it
        if isinstance(one, urllib3.exceptions.InvalidChunkLength):
            one.response, one.args = None, one.args[1:]  # type: ignore[assignment]  # it has ended
        if isinstance(one, requests.RequestException) and one.response is not None:
            _detach(one.response)
        waiting += [one.__cause__, one.__context__, *one.args]


def _detach(response: requests.Response) -> None:
    """Let a response, and those of the redirects to it, go on without urllib3's, which has ended.

    That leads to the pool, and many an exception leads to the response.
    """
    for one in (response, *response.history):
        one.raw = None


# What requests' interface takes, and this package sends.
_OPTIONS = frozenset(('data', 'timeout', 'verify', 'cert', 'stream', 'hooks'))


def _accepted_options(session: Any) -> frozenset[str]:
    """The options that the ``request()`` of a session takes, besides method, URL and headers."""
    parameters = inspect.signature(session.request).parameters
    kinds = {one.kind for one in parameters.values()}
    # Another class may pass the rest on to a library that is not requests.
    if isinstance(session, requests.Session) and inspect.Parameter.VAR_KEYWORD in kinds:
        return _OPTIONS
    return _OPTIONS & parameters.keys() | {'data'}


def _hooks(session: Any) -> list[Any]:
    own = getattr(session, 'hooks', {}).get('response') or []
    return [own] if callable(own) else list(own)
