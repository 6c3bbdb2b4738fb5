"""The way to the server: URL, headers, cookies, auth, proxies, TLS; decided once per connect.

It decides what requests would decide for this URL, for both transports alike.
"""

from __future__ import annotations

import base64
import os
import re
import ssl
import time
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple
from urllib.parse import quote, unquote, urlsplit

from ..net import tls
from ..net.dial import DIRECT, Dialer
from ..net.hosts import ascii_host, authority, without_login
from ..net.tunnel import Proxy
from . import caller_session, environment
from .cookies import Cookies, joined
from .environment import quoted
from .headers import Headers, checked_headers, one_of_each, without_framing
from .websocket_options import WebSocketOptions

#: The path of a file or a folder, as an option.
FilePath = str | bytes | os.PathLike[Any]

_SECURE = {'http': False, 'ws': False, 'https': True, 'wss': True}
_CONTROL = re.compile(r'[\x00-\x1f\x7f]')
# The names that this package puts into the query. Servers refuse a second value.
_OURS = frozenset(('EIO', 'transport', 'sid', 't'))


class ServerAddress(NamedTuple):
    """What a URL and a path say."""

    secure: bool
    host: str
    port: int
    #: Host and port as in the URL.
    netloc: str
    #: Scheme, host and port, for polling.
    http_origin: str
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
    if '?' in path or '#' in path:
        raise ValueError(f'engineio_path must be a path, without a query: {_shown(path)}')
    secure = _SECURE[parts.scheme]
    host = ascii_host(parts.hostname)
    path = path.strip('/')
    # The name of a parameter has no @, but its value may have one.
    if '@' in f'{parts.path}{parts.query.partition("=")[0]}{parts.fragment}':
        raise ValueError(
            'URL has an @ after its host: write /, ? and # in a user or a password as %2F, %3F and '
            f'%23: {_shown(url)}'
        )
    if unquote(parts.path.strip('/')) not in ('', unquote(path)):
        raise ValueError(
            f'URL has the path {parts.path!r}, but engineio_path is {path!r}: remove the path from '
            f'the URL, and pass engineio_path={parts.path.strip("/")!r} if Engine.IO is there'
        )
    query = '&'.join(one for one in parts.query.split('&') if one and _name(one) not in _OURS)
    netloc = authority(host, port or None)
    return ServerAddress(
        secure,
        host,
        port or (443 if secure else 80),
        netloc,
        f'{"https" if secure else "http"}://{netloc}',
        quoted((f'/{path}/' if path else '/') + '?' + (f'{query}&' if query else '')),
        parts.username,
        parts.password,
    )


def _name(parameter: str) -> str:
    """The name of a query parameter."""
    return unquote(parameter.partition('=')[0])


def _shown(url: str) -> str:
    """A URL for an error message, which applications log: without anything secret."""
    return repr(without_login(url))


class Route:
    """Everything that a connection needs to know of its way.

    :param url: the caller's: ``http``, ``https``, ``ws`` or ``wss``, with any query string.
    :param headers: the caller's headers: a mapping of names to values.
    :param path: where Engine.IO is mounted on the server.
    :param verify: whether to verify the server's certificate, or the path of the CA bundle.
    :param cert: a client certificate, or None.
    :param dialer: opens the TCP connections.
    :param http_session: a ``requests.Session`` whose settings apply, a callable that
                         makes one, or None.
    :param websocket_options: keyword arguments for ``websocket.create_connection()``.
    :param timestamp: whether each request's URL carries the time, against caches.
    :raises ValueError: the URL, the path or a header is not valid.
    """

    __slots__ = (
        '_prefix',
        '_timestamp',
        'cert',
        'cookies',
        'dialer',
        'headers',
        'host',
        'http_origin',
        'http_session',
        'netloc',
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
        verify: Any = True,
        cert: Any = None,
        dialer: Dialer = DIRECT,
        http_session: Any = None,
        websocket_options: Mapping[str, Any] | None = None,
        timestamp: bool = True,
    ) -> None:
        for what, text in (('URL', url), ('engineio_path', path)):
            if not isinstance(text, str):  # and perhaps nothing that a cache takes
                raise ValueError(f'{what} must be a string, not {type(text).__name__}')
        where = _server_address(url, path)
        self.secure: bool = where.secure
        self.host: str = where.host
        self.port: int = where.port
        #: Host and port as they stand in the URL and in the ``Host`` header.
        self.netloc: str = where.netloc
        #: Scheme, host and port, for polling.
        self.http_origin: str = where.http_origin
        self._prefix: str = where.prefix
        self._timestamp = timestamp
        #: The headers for every request: the caller's and the authorization, without cookies.
        self.headers: Sequence[tuple[str, str]] = ()
        if headers is not None:
            if not isinstance(headers, Mapping):
                raise ValueError(f'headers must be a dict of names and values, not {type(headers)}')
            self.headers = one_of_each(without_framing(checked_headers(headers.items())))
        self.http_session: Any = None
        if http_session is not None:
            self.http_session = caller_session.session_from(http_session)
            own = getattr(self.http_session, 'headers', None)
            if isinstance(own, Mapping):
                checked_headers(own.items())
        #: The caller's keyword arguments for websocket-client, if there are any.
        self.websocket_options = WebSocketOptions(websocket_options) if websocket_options else None
        #: Opens the TCP connections.
        self.dialer = dialer
        self._resolve_settings(verify, cert)
        session = self.http_session
        self.cookies = Cookies(None if session is None else caller_session.cookies_of(session))
        if session is not None and _CONTROL.search(
            self.cookies.unchecked_header(self.http_origin + self._prefix)
        ):
            raise ValueError('http_session has a cookie with a control character')
        self._authorize(where.user, where.password)

    def _resolve_settings(self, verify: Any, cert: Any) -> None:
        """Settle proxies, verification and client certificate."""
        verify = tls.checked_verify('ssl_verify', verify)
        cert = tls.checked_cert('ssl_cert', cert)
        url = self.http_origin
        session = self.http_session
        if session is not None:
            settings = caller_session.settings(session, url)
            proxies = settings.proxies
            decided = tls.checked_verify('http_session.verify', settings.verify)
            cert = cert or tls.checked_cert('http_session.cert', settings.cert or None)
        else:
            # Session.merge_environment_settings() takes 145 us; these look-ups take 5 us, and
            # most often find nothing.
            proxies = environment.proxies_for(url)
            decided = environment.ca_bundle() or True
        #: True, False, or the path of the certificate authorities.
        self.verify: tls.Verify = decided if verify is True else verify
        self.cert: tls.Cert = cert
        #: The URL of the proxy for polling, or None.
        self.proxy: str | None = environment.select_proxy(url, proxies)

    def proxy_for(
        self, origin: tuple[bool, str, int], url: str, transport: str = 'polling'
    ) -> Proxy | None:
        """The proxy for a request, which may have been redirected to another server.

        :param transport: ``'polling'`` or ``'websocket'``, for which the session of the caller may
                          name another proxy.
        :raises ConnectionClosed: the URL of the proxy is invalid.
        """
        proxy = self.proxy
        session = self.http_session
        own = None
        if transport == 'websocket' and session is not None:
            own = caller_session.websocket_proxy(session, origin[0])
        if own is not None:
            proxy = own
        elif origin != self.origin:
            proxies = (
                environment.proxies_for(url)
                if session is None
                else caller_session.settings(session, url).proxies
            )
            proxy = environment.select_proxy(url, proxies)
        return None if proxy is None else Proxy.parse(proxy)

    def _authorize(self, user: str | None, password: str | None) -> None:
        """Add the credentials of the URL or of netrc, unless the caller gave his own."""
        if self.headers and self.has_header('authorization'):
            return
        session = self.http_session
        if user is not None:
            credentials = unquote(user), unquote(password or '')
        elif session is not None:
            return  # its prepared requests bring its auth and netrc's
        else:
            found = environment.netrc_credentials(self.http_origin)
            if not found:
                return
            credentials = found
        token = base64.b64encode(':'.join(credentials).encode()).decode()
        self.headers = [*self.headers, ('Authorization', f'Basic {token}')]

    def has_header(self, name: str) -> bool:
        """Whether the caller set this header; the name in lower case."""
        return any(known.lower() == name for known, _ in self.headers)

    @property
    def origin(self) -> tuple[bool, str, int]:
        """Whether it is secure, the host, the port."""
        return self.secure, self.host, self.port

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
        return f'{scheme}{secure}://{self.netloc}{target}'

    def tls_context(self, sslopt: dict[str, Any] | None = None) -> ssl.SSLContext:
        """The TLS context for this route.

        :param sslopt: websocket-client's option of this name.
        :raises OSError: a certificate file cannot be read.
        """
        return tls.context(self.verify, self.cert, environment.default_ca_bundle, sslopt)

    def pins(self, url: str, proxy: Proxy | None) -> caller_session.Pins:
        """What the session says of the certificate of a server, besides ``verify``.

        :param proxy: the proxy to the server, or None.
        :raises ConnectionClosed: a websocket cannot do the same.
        :raises OSError: a file cannot be read, or holds no certificate.
        """
        options = self.websocket_options
        if self.http_session is None or (options is not None and options.verifies):
            return caller_session.Pins()
        # Without user and password: the adapter is only asked for its settings.
        by = proxy and f'{proxy.scheme}://{authority(proxy.host, proxy.port)}'
        pins = caller_session.pins(self.http_session, url, self.verify, self.cert, by)
        if pins.context is not None:
            tls.complete(pins.context, self.verify, self.cert, environment.default_ca_bundle)
        return pins

    def proxy_tls_context(self) -> ssl.SSLContext:
        """The TLS context for a proxy that speaks TLS. Client certificates are for the server."""
        return tls.context(self.verify, None, environment.default_ca_bundle)

    def polling_cookies(self) -> str:
        """The ``Cookie`` header of a polling request: the caller's own and the jar's."""
        own = (value for name, value in self.headers if name.lower() == 'cookie')
        return joined(*own, self.cookies.header(self.http_origin + self._prefix))

    def websocket_headers(self) -> Headers:
        """The headers for the handshake of a websocket: the caller's and those of the session.

        Names have no case, and the later source wins. Cookies are in one header.
        """
        session = self.http_session
        if session is None and not self.headers and not self.cookies.jar:
            return []
        headers = {name.lower(): (name, value) for name, value in self.headers}
        if session is not None:
            url = self.http_origin + self._prefix
            for name, value in caller_session.prepared_headers(session, url, self.headers):
                headers[name.lower()] = name, value
        _, cookie = headers.pop('cookie', ('', ''))
        cookie = joined(cookie, self.cookies.header(self.http_origin + self._prefix))
        if cookie:
            headers['cookie'] = 'Cookie', cookie
        return list(headers.values())

    @property
    def websocket_proxy(self) -> Proxy | None:
        """The proxy for websockets, if the caller's options have none.

        :raises ConnectionClosed: its URL is invalid.
        """
        if self.proxy is None and self.http_session is None:
            return None
        return self.proxy_for(self.origin, self.http_origin, 'websocket')
