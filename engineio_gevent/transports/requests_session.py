"""Polling through the caller's ``requests.Session``. Only a client that has one imports this."""

from __future__ import annotations

import ssl
import sys
import traceback
from http.client import HTTPException
from http.cookiejar import CookieJar
from typing import Any
from urllib.parse import urlsplit

import requests
import urllib3
from urllib3.exceptions import NewConnectionError

from ..exceptions import ConnectionClosed, ProtocolError
from ..net.errors import connection_error
from ..net.tunnel import Proxy, root_cause_text
from ..net.unpatched import warn_if_unpatched
from .http import CONTENT_TYPE, body_of_success, lost_packets
from .redirects import REDIRECTS, Destination, follow
from .route import Route

_PATCHED_LATE = (
    'requests cannot use TLS (RecursionError), because it was imported before ssl was '
    'monkey-patched. Call gevent.monkey.patch_all() before any other import; with gunicorn, at the '
    'top of gunicorn.conf.py'
)


class SessionHTTP:
    """Every request through a ``requests.Session``, which stays the caller's own."""

    __slots__ = (
        '_by',
        '_headers',
        '_joins_cookies',
        '_max_size',
        '_route',
        '_session',
        '_verify',
    )

    def __init__(self, route: Route, session: requests.Session, max_size: int | None) -> None:
        warn_if_unpatched('polling through a requests.Session or a proxy')
        self._route = route
        self._session = session
        self._max_size = max_size
        self._headers = {name: v for name, v in route.headers if name.lower() != 'cookie'}
        # requests adds its jar's cookies, but not where the caller gave some of his own.
        self._joins_cookies = route.has_header('cookie')
        # For errors: not every status or refusal is the server's.
        self._by = '' if route.proxy is None else f' via {Proxy.parse(route.proxy)}'
        # None: as the session says. Only a False is ours to add.
        self._verify = None if route.verify else False

    @property
    def cookies(self) -> CookieJar | None:
        return self._session.cookies

    def get(self, target: str, timeout: float | None) -> bytes:
        return self._request('GET', target, None, timeout)

    def post(self, target: str, body: bytes, timeout: float | None) -> bytes:
        return self._request('POST', target, body, timeout)

    def _request(
        self, method: str, target: str, body: bytes | None, timeout: float | None
    ) -> bytes:
        headers = self._headers
        if body is not None:
            headers = {**headers, 'Content-Type': CONTENT_TYPE}
        if self._joins_cookies:
            headers = {**headers, 'Cookie': self._route.polling_cookies()}
        handled = sys.exc_info()[1]
        try:
            status, content = self._exchange(method, target, headers, body, timeout)
        except Exception as exc:
            _cut_from_pool(exc, handled)
            if isinstance(exc, RecursionError) and _imported_before_patching():
                raise ConnectionClosed(f'{self._route.netloc}{self._by}: {_PATCHED_LATE}') from exc
            if not isinstance(exc, requests.RequestException):
                raise
            causes = _causes(exc)
            root = causes[-1]
            unconnected = any(isinstance(one, NewConnectionError) for one in causes)
            kind = connection_error(root) if unconnected else ConnectionClosed
            raise kind(f'{self._route.netloc}{self._by}: {_error_text(root)}') from exc
        return body_of_success(method, self._route, target, status, content, self._by)

    def _exchange(
        self,
        method: str,
        target: str,
        headers: dict[str, str],
        body: bytes | None,
        timeout: float | None,
    ) -> tuple[int, bytes]:
        response = self._session.request(
            method,
            self._route.http_origin + target,
            headers=headers,
            data=body,
            timeout=timeout,
            verify=self._verify,
            stream=True,
            # These replace the session's, where it has some of its own.
            hooks={'response': [*_hooks(self._session), self._check_redirect]},
        )
        try:
            return response.status_code, self._read(response)
        finally:
            response.close()
            _detach(response)

    def _check_redirect(self, response: requests.Response, **_options: object) -> None:
        """A hook of requests, before it follows a redirect: by the rules of our own connections."""
        location = response.headers.get('location')
        if response.status_code not in REDIRECTS or not location:
            return
        try:
            method = response.request.method
            if response.status_code == 303 or (
                response.status_code in (301, 302) and method == 'POST'
            ):
                raise lost_packets(method, response.status_code, location)
            parts = urlsplit(str(response.url))
            secure = parts.scheme == 'https'
            here = Destination(
                secure, parts.hostname or '', parts.port or 0, parts.netloc, parts.path
            )
            follow(here, location)
            self._read(response)  # requests would do it, without a limit
        except BaseException:  # a time-out of the caller's, too, leaves no socket open
            response.close()
            _detach(response)
            raise

    def _read(self, response: requests.Response) -> bytes:
        limit = self._max_size
        parts = []
        size = 0
        for part in response.iter_content(65536):
            size += len(part)
            if limit is not None and size > limit:
                raise ProtocolError(f'response larger than {limit} bytes', 1009)
            parts.append(part)
        # The adapter is the caller's, and need not have urllib3 refuse a body that is cut short.
        missing = getattr(response.raw, 'length_remaining', None)
        if missing:
            raise requests.ConnectionError(
                urllib3.exceptions.IncompleteRead(response.raw.tell(), missing)
            )
        return b''.join(parts)

    def close(self, gently: bool = False) -> None:
        """Nothing: the session is the caller's."""

    def abandon(self) -> None:
        """Nothing: a forked child has its own copy of the session's pool, and closes no socket."""


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


def _hooks(session: requests.Session) -> list[Any]:
    own = session.hooks.get('response') or []
    return [own] if callable(own) else list(own)
