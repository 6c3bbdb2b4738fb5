"""The HTTP under polling: direct, or through the caller's ``requests.Session``."""

from __future__ import annotations

import http.client
import json
import os
import select
import zlib
from http.cookiejar import CookieJar
from typing import Any, NamedTuple, Protocol
from urllib.parse import urljoin, urlsplit

import requests
from gevent import socket
from gevent.monkey import get_original
from requests.utils import requote_uri

from .. import __version__
from ..exceptions import ConnectionClosed, EngineIOError, HTTPError, ProtocolError
from . import dial, tls
from .base import describe
from .route import Route
from .unpatched import warn_if_unpatched

_USER_AGENT = f'engineio-gevent/{__version__}'
_REDIRECTS = frozenset((301, 302, 303, 307, 308))
#: Redirects that one request follows.
MAX_REDIRECTS = 5

#: The type of every posted body: version 4 of the protocol is all text.
_CONTENT_TYPE = 'text/plain;charset=UTF-8'

_poll: Any = get_original('select', 'poll') if hasattr(select, 'poll') else None


#: What callers may poll with in place of our own connections.
HTTPSession = requests.Session


class Answer(NamedTuple):
    """A complete HTTP response."""

    status: int
    body: bytes


class HTTP(Protocol):
    """What polling needs of HTTP: two requests, which may be in flight together."""

    @property
    def cookies(self) -> CookieJar | None:
        """The cookies of this connection."""

    def get(self, target: str, timeout: float | None) -> bytes:
        """GET; returns the body of a 2xx answer. Waits.

        :param target: path and query.
        :param timeout: seconds between two pieces of the answer; None: no bound.
        :raises HTTPError: another status.
        :raises EngineIOError: no connection, or a broken answer.
        """

    def post(self, target: str, body: bytes, timeout: float | None) -> bytes:
        """POST; as :meth:`get`."""

    def close(self) -> None:
        """Close the connections that are ours."""

    def abandon(self) -> None:
        """Let go of the descriptors without a byte to the server."""


def checked(method: str, target: str, answer: Answer) -> bytes:
    """The body of an answer that reports success.

    :raises HTTPError: it does not; with the body, where that is JSON.
    """
    if 200 <= answer.status < 300:
        return answer.body
    raise refused(f'{method} {target.partition("?")[0]}', answer.status, answer.body)


def refused(what: str, status: int, body: bytes | None) -> HTTPError:
    """The exception for an answer of another status than was hoped for."""
    decoded = None
    if body:
        try:
            decoded = json.loads(body)
        except (ValueError, RecursionError):
            decoded = None
    detail = ''
    if isinstance(decoded, dict) and isinstance(decoded.get('message'), str):
        detail = f': {decoded["message"]}'
    return HTTPError(
        f'Unexpected status code {status} in server response to {what}{detail}', status, decoded
    )


class DirectHTTP:
    """Persistent connections of our own, one for GET and one for POST.

    The standard library's http.client over gevent's socket: 110 us a request,
    against 711 us through requests.
    """

    __slots__ = ('_getter', '_headers', '_max_size', '_poster', '_route')

    def __init__(self, route: Route, max_size: int | None) -> None:
        self._route = route
        self._max_size = max_size
        self._headers = _polling_headers(route)
        self._getter = _Connection(route, max_size)
        self._poster: _Connection | None = None

    @property
    def cookies(self) -> CookieJar | None:
        return self._route.cookies.jar

    def get(self, target: str, timeout: float | None) -> bytes:
        return self._request(self._getter, 'GET', target, None, timeout)

    def post(self, target: str, body: bytes, timeout: float | None) -> bytes:
        if self._poster is None:
            self._poster = _Connection(self._route, self._max_size)
        return self._request(self._poster, 'POST', target, body, timeout)

    def _request(
        self,
        connection: _Connection,
        method: str,
        target: str,
        body: bytes | None,
        timeout: float | None,
    ) -> bytes:
        headers = self._headers
        cookies = self._route.polling_cookies()
        if cookies or body is not None:
            headers = dict(headers)
            if cookies:
                headers['Cookie'] = cookies
            if body is not None:
                headers['Content-Type'] = _CONTENT_TYPE
        return checked(
            method, target, connection.request(method, target, headers, body, timeout)
        )

    def close(self) -> None:
        self._getter.close()
        if self._poster is not None:
            self._poster.close()

    def abandon(self) -> None:
        self._getter.abandon()
        if self._poster is not None:
            self._poster.abandon()


def _polling_headers(route: Route) -> dict[str, str]:
    """The headers of every polling request but cookies; the caller's go first."""
    headers = {
        'Host': route.netloc,
        'User-Agent': _USER_AGENT,
        'Accept': '*/*',
        'Accept-Encoding': 'gzip, deflate',
    }
    names = {name.lower(): name for name in headers}
    for name, value in route.headers:
        if name.lower() != 'cookie':
            headers[names.get(name.lower(), name)] = value
    return headers


class _Connection:
    """One keep-alive connection, opened when needed, used by one greenlet at a time."""

    __slots__ = ('_busy', '_closed', '_connection', '_max_size', '_origin', '_route')

    def __init__(self, route: Route, max_size: int | None) -> None:
        self._route = route
        self._max_size = max_size
        self._connection: http.client.HTTPConnection | None = None
        self._origin = (route.secure, route.host, route.port)
        self._busy = self._closed = False

    def request(
        self,
        method: str,
        target: str,
        headers: dict[str, str],
        body: bytes | None,
        timeout: float | None,
    ) -> Answer:
        """Send a request and read its answer, through redirects.

        :raises EngineIOError: with the cause chained.
        """
        if self._origin != (self._route.secure, self._route.host, self._route.port):
            self._drop()  # the last request was redirected; this one begins at home again
        url = urljoin(self._route.http_origin, target)
        for _ in range(MAX_REDIRECTS + 1):
            response, content = self._once(method, target, headers, body, timeout)
            self._route.cookies.store(url, response.headers.get_all('Set-Cookie', []))
            location = response.headers.get('Location')
            if response.status not in _REDIRECTS or not location:
                return Answer(response.status, content)
            if response.status == 303 or (response.status in (301, 302) and method == 'POST'):
                raise ProtocolError(f'POST redirected to {location} by status {response.status}')
            url = urljoin(url, location)
            target, headers = self._redirect(url, headers)
        raise ProtocolError(f'more than {MAX_REDIRECTS} redirects, the last to {url}')

    def _redirect(self, url: str, headers: dict[str, str]) -> tuple[str, dict[str, str]]:
        """Turn to another place; what is secret stays with the host it was meant for."""
        parts = urlsplit(requote_uri(url))
        try:
            port = parts.port or (443 if parts.scheme == 'https' else 80)
        except ValueError:
            port = 0
        if parts.scheme not in ('http', 'https') or not parts.hostname or not port:
            raise ProtocolError(f'redirected to {url!r}, which is no HTTP address')
        secure = parts.scheme == 'https'
        if self._origin[0] and not secure:
            raise ProtocolError(f'redirected from https to {url}')
        if self._origin[1:] != (parts.hostname, port):
            headers = {
                name: value
                for name, value in headers.items()
                if name.lower() not in ('authorization', 'cookie')
            }
        headers = {**headers, 'Host': parts.netloc.rpartition('@')[2]}
        cookie = self._route.cookies.header(url)
        if cookie:
            headers['Cookie'] = cookie
        if self._origin != (secure, parts.hostname, port):
            self._drop()
            self._origin = (secure, parts.hostname, port)
        return parts.path + (f'?{parts.query}' if parts.query else '') or '/', headers

    def _once(
        self,
        method: str,
        target: str,
        headers: dict[str, str],
        body: bytes | None,
        timeout: float | None,
    ) -> tuple[http.client.HTTPResponse, bytes]:
        """One request and its answer over the kept connection, or a new one."""
        done = False
        self._busy = True
        try:
            for reused in self._attempts():
                connection = self._connected(timeout)
                connection.sock.settimeout(timeout)
                try:
                    connection.request(method, target, body, headers)
                    response = connection.getresponse()
                except (ConnectionError, http.client.RemoteDisconnected):
                    # A server may close a connection that it kept just as the next
                    # request is on its way; before the first byte of an answer,
                    # once, and only then, the request goes out anew (RFC 9112, 9.3.1).
                    self._drop()
                    if reused:
                        continue
                    raise
                content = self._read(response)
                done = not response.will_close
                return response, content
            raise AssertionError('unreachable')
        except http.client.HTTPException as exc:
            raise _broken(exc) from exc
        except OSError as exc:
            raise ConnectionClosed(self._where(exc)) from exc
        finally:
            self._busy = False
            if not done or self._closed:
                self._drop()

    def _attempts(self) -> tuple[bool, ...]:
        """Whether each attempt, in turn, uses a connection that was kept."""
        self._drop_if_stale()
        return (False,) if self._connection is None else (True, False)

    def _drop_if_stale(self) -> None:
        """Forget a kept connection that the server has closed meanwhile."""
        if self._connection is None or _poll is None:
            return
        poller = _poll()
        poller.register(self._connection.sock.fileno(), 1)  # POLLIN: end of file, or junk
        if poller.poll(0):
            self._drop()

    def _connected(self, timeout: float | None) -> http.client.HTTPConnection:
        if self._connection is None:
            secure, host, port = self._origin
            connection = http.client.HTTPConnection(host, port)
            sock: socket.socket = dial.open_socket(host, port, timeout=timeout)
            if secure:
                try:
                    sock = tls.wrap(sock, self._route.tls_context(), host)
                except BaseException:
                    sock.close()
                    raise
            connection.sock = sock
            self._connection = connection
        return self._connection

    def _where(self, exc: OSError) -> str:
        _, host, port = self._origin
        return f'{host}:{port}: {describe(exc)}'

    def _read(self, response: http.client.HTTPResponse) -> bytes:
        """The whole body, decompressed, as far as the size limit goes."""
        limit = self._max_size
        raw = response.read() if limit is None else response.read(limit + 1)
        if limit is not None and len(raw) > limit:
            raise ProtocolError(f'a response of more than {limit} bytes', 1009)
        encoding = response.headers.get('Content-Encoding', 'identity').strip().lower()
        if encoding in ('identity', '') or not raw:
            return raw
        return _inflate(raw, encoding, limit)

    def close(self) -> None:
        """Close for good; where a request is under way, as soon as that ends."""
        self._closed = True
        if not self._busy:
            self._drop()

    def _drop(self) -> None:
        connection, self._connection = self._connection, None
        self._origin = (self._route.secure, self._route.host, self._route.port)
        if connection is not None:
            connection.close()

    def abandon(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            os.close(connection.sock.detach())


def _inflate(raw: bytes, encoding: str, limit: int | None) -> bytes:
    """Decompress a body, never to more than the size limit."""
    if encoding not in ('gzip', 'deflate', 'x-gzip'):
        raise ProtocolError(f'a response in the unknown encoding {encoding[:40]!r}')
    try:
        # +32: zlib or gzip by its own header. Some servers' "deflate" has none.
        inflater = zlib.decompressobj(zlib.MAX_WBITS | 32)
        try:
            body = inflater.decompress(raw, 0 if limit is None else limit + 1)
        except zlib.error:
            inflater = zlib.decompressobj(-zlib.MAX_WBITS)
            body = inflater.decompress(raw, 0 if limit is None else limit + 1)
    except zlib.error as exc:
        raise ProtocolError(f'a response that is not {encoding}: {exc}') from exc
    if limit is not None and len(body) > limit:
        raise ProtocolError(f'a response of more than {limit} bytes when decompressed', 1009)
    if not inflater.eof:
        raise ProtocolError(f'a {encoding} response that ends too early')
    return body


def _broken(exc: http.client.HTTPException) -> EngineIOError:
    if isinstance(exc, http.client.IncompleteRead):
        return ConnectionClosed('the server closed the connection within a response')
    if isinstance(exc, http.client.RemoteDisconnected):
        return ConnectionClosed('the server closed the connection without a response')
    return ProtocolError(f'not an HTTP response: {type(exc).__name__}: {str(exc)[:80]}')


class SessionHTTP:
    """Every request through a ``requests.Session``, which stays the caller's own."""

    __slots__ = ('_headers', '_max_size', '_route', '_session', '_verify')

    def __init__(self, route: Route, session: requests.Session, max_size: int | None) -> None:
        warn_if_unpatched('polling through a requests.Session or a proxy')
        self._route = route
        self._session = session
        self._max_size = max_size
        self._headers = dict(route.headers)
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
            headers = {**headers, 'Content-Type': _CONTENT_TYPE}
        try:
            response = self._session.request(
                method,
                self._route.http_origin + target,
                headers=headers,
                data=body,
                timeout=timeout,
                verify=self._verify,
                stream=True,
            )
            try:
                answer = Answer(response.status_code, self._read(response))
            finally:
                response.close()
        except requests.RequestException as exc:
            raise ConnectionClosed(f'{self._route.netloc}: {describe(exc)}') from exc
        return checked(method, target, answer)

    def _read(self, response: requests.Response) -> bytes:
        limit = self._max_size
        parts = []
        size = 0
        for part in response.iter_content(65536):
            size += len(part)
            if limit is not None and size > limit:
                raise ProtocolError(f'a response of more than {limit} bytes', 1009)
            parts.append(part)
        return b''.join(parts)

    def close(self) -> None:
        """Close the session, unless it is the caller's."""
        if self._route.owns_session:
            self._session.close()

    def abandon(self) -> None:
        """Nothing: a forked child has its own copy of the session's pool, and closes no socket."""
