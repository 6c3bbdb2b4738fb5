"""The way to the server: URL, headers, cookies, auth, proxies, TLS; decided once per connect.

It decides what requests would decide for this URL, for both transports alike.
"""

from __future__ import annotations

import base64
import os
import re
import ssl
import time
import urllib.request
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, NamedTuple
from urllib.parse import quote, unquote, urlsplit

import requests
from requests.utils import (
    DEFAULT_CA_BUNDLE_PATH,
    get_environ_proxies,
    get_netrc_auth,
    requote_uri,
    select_proxy,
    should_bypass_proxies,
)

from ..net import tls
from ..net.tunnel import PROXY_PORTS, SOCKS_PORT, Proxy
from .cookies import Cookies, joined

_SECURE = {'http': False, 'ws': False, 'https': True, 'wss': True}
_CONTROL = re.compile(r'[\x00-\x1f\x7f]')
_NOT_IN_HOST = re.compile(r'[\s"<>\\^`{|}]')
_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+\Z")  # RFC 9110, section 5.6.2
_VALUE = re.compile(r'[^\x00-\x08\x0a-\x1f\x7f]*\Z')  # RFC 9110, section 5.5

# Headers of a prepared polling request that are not the websocket's business.
_POLLING_ONLY = frozenset(('accept', 'accept-encoding', 'connection', 'content-length', 'cookie'))
# The environment that may change what a connection needs, besides netrc.
_ENVIRONMENT = tuple(
    name
    for lower in ('http_proxy', 'https_proxy', 'all_proxy', 'no_proxy')
    for name in (lower, lower.upper())
)
# Those of websocket-client's options that choose a proxy, which is not left to it.
_PROXY_OPTIONS = frozenset(
    (
        'http_proxy_host',
        'http_proxy_port',
        'http_no_proxy',
        'http_proxy_auth',
        'http_proxy_timeout',
        'proxy_type',
    )
)
_BUNDLES = ('REQUESTS_CA_BUNDLE', 'CURL_CA_BUNDLE')

Headers = list[tuple[str, str]]


class ServerAddress(NamedTuple):
    """What a URL and a path say."""

    secure: bool
    host: str
    port: int
    #: Host and port as in the URL.
    netloc: str
    #: Of every request: the path, and the query as far as the caller gave one.
    prefix: str
    user: str | None
    password: str | None


@lru_cache(maxsize=256)  # 12 us, for the next of many clients of one server
def _server_address(url: str, path: str) -> ServerAddress:
    for what, text in (('URL', url), ('engineio_path', path)):
        if _CONTROL.search(text):
            raise ValueError(f'{what} contains a control character: {_shown(text)}')
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:  # its text may show a part of the password
        raise ValueError(f'URL has no valid host and port: {_shown(url)}') from None
    if parts.scheme not in _SECURE:
        raise ValueError(f'URL must begin with http://, https://, ws:// or wss://: {_shown(url)}')
    if not parts.hostname:
        raise ValueError(f'URL has no host: {_shown(url)}')
    secure = _SECURE[parts.scheme]
    host = ascii_host(parts.hostname)
    bracketed = f'[{host}]' if ':' in host else host
    path = path.strip('/')
    return ServerAddress(
        secure,
        host,
        port or (443 if secure else 80),
        f'{bracketed}:{port}' if port else bracketed,
        quoted((f'/{path}/' if path else '/') + '?' + (f'{parts.query}&' if parts.query else '')),
        parts.username,
        parts.password,
    )


def _shown(url: str) -> str:
    """A URL for an error message, which applications log: without user and password."""
    return repr(re.sub(r'[^/]+(?=@)', '...', url))


class Route:
    """Everything that a connection needs to know of its way.

    :param url: the caller's: ``http``, ``https``, ``ws`` or ``wss``, with any query string.
    :param headers: the caller's headers: a mapping of names to values.
    :param path: where Engine.IO is mounted on the server.
    :param verify: whether to verify the server's certificate.
    :param http_session: a ``requests.Session`` whose settings apply, a callable that
                         makes one, or None.
    :param websocket_options: keyword arguments for ``websocket.create_connection()``.
    :param timestamp: whether each request's URL carries the time, against caches.
    :raises ValueError: the URL, the path or a header is not valid.
    """

    __slots__ = (
        '_netloc',
        '_prefix',
        '_proxies',
        '_timestamp',
        '_websocket_headers',
        'cert',
        'cookies',
        'headers',
        'host',
        'http_session',
        'owns_session',
        'port',
        'proxy',
        'secure',
        'verify',
        'websocket_options',
    )

    def __init__(
        self,
        url: str,
        headers: Mapping[str, Any] | None = None,
        path: str = 'engine.io',
        *,
        verify: bool = True,
        http_session: requests.Session | Callable[[], requests.Session] | None = None,
        websocket_options: Mapping[str, Any] | None = None,
        timestamp: bool = True,
    ) -> None:
        where = _server_address(url, path)
        self.secure: bool = where.secure
        self.host: str = where.host
        self.port: int = where.port
        self._netloc: str = where.netloc
        self._prefix: str = where.prefix
        self._timestamp = timestamp
        #: The headers for every request: the caller's and the authorization, without cookies.
        self.headers: Headers = checked_headers(headers or {})
        self.http_session: requests.Session | None = _session_from(http_session)
        #: Whether that session was made here, and ends with the connection.
        self.owns_session = False
        #: The caller's keyword arguments for websocket-client.
        self.websocket_options: Mapping[str, Any] = websocket_options or {}
        self._websocket_headers = _extra_headers(self.websocket_options.get('header') or {})
        self._resolve_settings(verify)
        if self.websocket_options:
            _check_options(self.websocket_options)
        session = self.http_session
        self.cookies = Cookies(None if session is None else session.cookies)
        if _CONTROL.search(self.cookies.header(self.http_origin + self._prefix)):
            raise ValueError('http_session has a cookie with a control character')
        self._authorize(where.user, where.password)

    def _resolve_settings(self, verify: bool) -> None:
        """Settle proxies, verification and client certificate."""
        url = self.http_origin
        session = self.http_session
        self.cert: tls.Cert = None
        proxies: Mapping[str, str] = {}
        decided: Any = True
        if session is not None:
            settings = session.merge_environment_settings(url, {}, False, None, None)
            proxies, decided, self.cert = settings['proxies'], settings['verify'], settings['cert']
        else:
            # Session.merge_environment_settings() takes 145 us; these look-ups take 5 us, and
            # most often find nothing.
            for name in _BUNDLES:
                decided = os.environ.get(name) or decided
                if decided is not True:
                    break
            # get() costs half of what ``in`` does.
            if _platform_proxies() or any(map(os.environ.get, _ENVIRONMENT)):
                proxies = get_environ_proxies(url)
        # bool(): contexts are shared by this, and 0 is equal to False.
        #: True, False, or the path of the certificate authorities.
        self.verify: tls.Verify = bool(verify) and (True if decided is None else decided)
        self._proxies = proxies
        #: The URL of the proxy, or None.
        self.proxy: str | None = (proxies and select_proxy(url, dict(proxies))) or None
        if self.proxy is not None and session is None:
            # Only requests supports proxies for polling.
            self.http_session = requests.Session()
            self.http_session.auth = _keep_authorization
            self.owns_session = True

    def _authorize(self, user: str | None, password: str | None) -> None:
        """Add the credentials of the URL or of netrc, unless the caller gave his own."""
        if self.has_header('authorization'):
            return
        session = self.http_session
        if user is not None:
            credentials = unquote(user), unquote(password or '')
        elif session is not None and not self.owns_session:
            return  # its prepared requests bring its auth and netrc's
        else:
            found = _has_netrc() and get_netrc_auth(self.http_origin)
            if not found:
                return
            credentials = found
        token = base64.b64encode(':'.join(credentials).encode()).decode()
        self.headers.append(('Authorization', f'Basic {token}'))

    def has_header(self, name: str) -> bool:
        """Whether the caller set this header; the name in lower case."""
        return any(known.lower() == name for known, _ in self.headers)

    @property
    def netloc(self) -> str:
        """Host and port as they stand in the URL and in the ``Host`` header."""
        return self._netloc

    @property
    def origin(self) -> tuple[bool, str, int]:
        """Whether it is secure, the host, the port."""
        return self.secure, self.host, self.port

    @property
    def http_origin(self) -> str:
        """Scheme, host and port, for polling."""
        return f'{"https" if self.secure else "http"}://{self._netloc}'

    def target(self, transport: str, sid: str | None = None, *, stamped: bool = True) -> str:
        """Path and query of a request.

        :param transport: ``'polling'`` or ``'websocket'``.
        :param sid: the session, once there is one.
        :param stamped: whether the time may be in it.
        """
        target = f'{self._prefix}transport={transport}&EIO=4'
        if sid is not None:
            target += f'&sid={quote(sid, safe="")}'
        if stamped and self._timestamp:
            target += f'&t={time.time()}'
        return target

    def url(self, transport: str, sid: str | None = None, *, stamped: bool = True) -> str:
        """The whole URL of a request; parameters as for :meth:`target`."""
        scheme = 'http' if transport == 'polling' else 'ws'
        secure = 's' if self.secure else ''
        target = self.target(transport, sid, stamped=stamped)
        return f'{scheme}{secure}://{self._netloc}{target}'

    def tls_context(self, sslopt: dict[str, Any] | None = None) -> ssl.SSLContext:
        """The TLS context for this route.

        :param sslopt: websocket-client's option of this name.
        :raises OSError: a certificate file cannot be read.
        """
        return tls.context(self.verify, self.cert, DEFAULT_CA_BUNDLE_PATH, sslopt)

    def polling_cookies(self) -> str:
        """The ``Cookie`` header of a polling request: the caller's own and the jar's."""
        own = (value for name, value in self.headers if name.lower() == 'cookie')
        return joined(*own, self.cookies.header(self.http_origin + self._prefix))

    def websocket_handshake(self) -> dict[str, Any]:
        """The arguments of ``websocket.create_connection()``; the caller's options come first."""
        own = self.websocket_options
        # The later source wins, and names of headers have no case.
        sources = *self.headers, *self._session_headers(), *self._websocket_headers
        headers = {name.lower(): (name, value) for name, value in sources}
        _, cookie = headers.pop('cookie', ('', ''))
        options: dict[str, Any] = {
            'cookie': joined(cookie, self.cookies.header(self.http_origin + self._prefix)),
            'redirect_limit': 0,
        }
        # websocket-client has an option for each of these two headers, and a default.
        for name in ('host', 'origin'):
            if name in headers:
                _, options[name] = headers.pop(name)
        options = {**options, **own, 'header': dict(headers.values())}
        return {name: value for name, value in options.items() if name not in _PROXY_OPTIONS}

    def _session_headers(self) -> Headers:
        """What the caller's requests.Session makes of a request: its own headers and its auth."""
        session = self.http_session
        if session is None:
            return []
        asked = requests.Request('GET', self.http_origin + self._prefix, dict(self.headers))
        prepared = session.prepare_request(asked).headers
        usual = requests.utils.default_headers()
        return [
            (name, value.decode('latin-1') if isinstance(value, bytes) else value)
            for name, value in prepared.items()
            if name.lower() not in _POLLING_ONLY and usual.get(name) != value
        ]

    @property
    def websocket_proxy(self) -> Proxy | None:
        """The proxy that the websocket goes through: the caller's option, or that of polling."""
        own = self.websocket_options
        if own.get('http_proxy_host'):
            bypass = own.get('http_no_proxy')
            if bypass and should_bypass_proxies(self.http_origin, ','.join(bypass)):
                return None
            scheme = own.get('proxy_type') or 'http'
            port = own.get('http_proxy_port') or PROXY_PORTS.get(scheme, SOCKS_PORT)
            user, password = own.get('http_proxy_auth') or (None, '')
            return Proxy(scheme, own['http_proxy_host'], int(port), user, password or '')
        url = self._proxies.get('wss' if self.secure else 'ws') or self.proxy
        return Proxy.parse(url) if url else None


def _has_netrc() -> bool:
    """Whether get_netrc_auth() has a file to read. It would take 20 us to see that it has none."""
    paths = _netrc_paths(os.environ.get('NETRC'), os.environ.get('HOME'))
    return any(map(os.path.exists, paths))


@lru_cache(maxsize=16)
def _netrc_paths(given: str | None, _home: str | None) -> list[str]:
    names = ['~/.netrc', '~/_netrc'] if given is None else [given]
    return list(map(os.path.expanduser, names))


def _keep_authorization(request: requests.PreparedRequest) -> requests.PreparedRequest:
    """The auth of our own sessions: what has been decided here stays, whatever is in netrc."""
    return request


def quoted(url: str) -> str:
    """A URL in ASCII, with what must be quoted quoted."""
    quoted_url: str = requote_uri(url)
    return quoted_url


def checked_headers(headers: Mapping[str, Any]) -> Headers:
    """A copy of a caller's headers that is safe to send.

    :raises ValueError: a name or a value has characters that a header cannot
                        have (RFC 9110, section 5), a line end above all.
    """
    checked = []
    for name, value in headers.items():
        name = name.decode('latin-1') if isinstance(name, bytes) else name
        value = value.decode('latin-1') if isinstance(value, bytes) else value
        if value is None:
            continue
        if not isinstance(name, str) or not _NAME.match(name):
            raise ValueError(f'invalid header name: {name!r}')
        if not isinstance(value, str) or not _VALUE.match(value) or not _is_latin_1(value):
            raise ValueError(
                f'invalid value for header {name}: use Latin-1 text without control characters'
            )
        checked.append((name, value.strip()))
    return checked


def _is_latin_1(value: str) -> bool:
    return value.isascii() or max(value) <= '\xff'


def _extra_headers(headers: Any) -> Headers:
    """The ``header`` among the options for websocket-client: a mapping, or a list of lines."""
    if not isinstance(headers, Mapping):
        lines = [headers] if isinstance(headers, str) else list(headers)
        headers = {}
        for line in lines:
            name, colon, value = line.partition(':')
            if not colon:
                raise ValueError(f'invalid header line {line!r}: use "Name: value"')
            headers[name] = value
    return checked_headers(headers)


def _check_options(options: Mapping[str, Any]) -> None:
    """Refuse what websocket-client's options would put into the header as it is."""
    for name in ('cookie', 'host', 'origin'):
        checked_headers({name: options.get(name)})
    for one in options.get('subprotocols') or ():
        if not _NAME.match(one):
            raise ValueError(f'invalid subprotocol for the header Sec-WebSocket-Protocol: {one!r}')


def _session_from(
    session: requests.Session | Callable[[], requests.Session] | None,
) -> requests.Session | None:
    if session is None or isinstance(session, requests.Session):
        return session
    if not callable(session):
        raise ValueError(
            f'http_session must be a requests.Session or a callable that returns one: {session!r}'
        )
    return session()


def ascii_host(host: str) -> str:
    """A host name as it goes over the wire.

    :raises ValueError: it is none.
    """
    if _NOT_IN_HOST.search(host):
        raise ValueError(f'invalid host name: {host!r}')
    try:
        return host if host.isascii() else host.encode('idna').decode('ascii')
    except UnicodeError:
        raise ValueError(f'invalid host name: {host!r}') from None


def _platform_proxies() -> bool:
    """Whether this platform keeps proxies elsewhere than in the environment."""
    return urllib.request.getproxies is not getattr(urllib.request, 'getproxies_environment', None)
