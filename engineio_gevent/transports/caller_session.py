"""The caller's ``requests.Session``: what it says of a connection."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Mapping, Sequence
from http.cookiejar import CookieJar
from typing import Any, NamedTuple, Protocol

import gevent.ssl

from ..exceptions import ConnectionClosed
from ..net.tls import Cert, Verify
from . import environment
from .headers import checked_headers, text, without_framing

# Headers of a prepared polling request that the handshake of a websocket does not repeat.
_POLLING_ONLY = frozenset(('accept', 'accept-encoding', 'connection', 'cookie'))


class HTTPSession(Protocol):
    """The option ``http_session``: a ``requests.Session``, or an object with its interface."""

    @property
    def request(self) -> Callable[..., Any]:
        """Send a request; returns the response."""

    @property
    def cookies(self) -> Any:
        """The cookies of all requests."""


class Settings(NamedTuple):
    """What a session and the environment say, by requests' rules."""

    proxies: Mapping[str, str]
    #: Whether to verify the server's certificate, or the path of a CA bundle; not checked.
    verify: Any
    #: The client certificate; not checked.
    cert: Any


class Pins(NamedTuple):
    """What an adapter of a session says of TLS, besides ``verify`` and ``cert``."""

    context: ssl.SSLContext | None = None
    fingerprint: str | None = None

    def check(self, sock: Any) -> None:
        """Check the certificate of the server at the other end of a socket.

        :raises ssl.SSLError: it has another fingerprint.
        """
        if self.fingerprint:
            from urllib3.exceptions import SSLError
            from urllib3.util.ssl_ import assert_fingerprint

            try:
                assert_fingerprint(sock.getpeercert(True), self.fingerprint)
            except SSLError as exc:
                raise ssl.SSLError(str(exc)) from None


def pins(session: Any, url: str, verify: Verify, cert: Cert, proxy: str | None = None) -> Pins:
    """What the adapter for a URL says of TLS, as far as public means show it: the arguments that it
    has for urllib3.

    :param verify: what the session, the client and the environment say.
    :param proxy: the URL of the proxy to the server, or None. An adapter may have other arguments
                  for proxies.
    :raises ConnectionClosed: a websocket cannot do the same, and might accept a server that polling
                              refuses.
    """
    if not hasattr(session, 'get_adapter'):
        return Pins()
    import requests

    adapter, usual = session.get_adapter(url), requests.adapters.HTTPAdapter
    if not isinstance(adapter, usual):
        return Pins()
    request = requests.Request('GET', url).prepare()
    own = adapter.build_connection_pool_key_attributes(request, verify, cert)[1]
    managers = [adapter.poolmanager]
    if proxy is not None and type(adapter).proxy_manager_for is not usual.proxy_manager_for:
        managers.append(adapter.proxy_manager_for(proxy))
    said: dict[str, Any] = {}
    for manager in managers:
        said.update(getattr(manager, 'connection_pool_kw', {}))
    said.update(own)
    context, fingerprint = said.get('ssl_context'), said.get('assert_fingerprint')
    plain = usual().build_connection_pool_key_attributes(request, verify, cert)[1]
    if context is plain.get('ssl_context'):  # that of requests itself, up to 2.32.4
        context = None
    names = 'assert_hostname', 'server_hostname'
    unlike = [name for name in names if said.get(name)]
    if type(adapter).cert_verify is not usual.cert_verify:
        unlike.append('cert_verify')
    if context is not None:
        # One of another kind, such as truststore's, verifies by methods that are not called here.
        as_usual = getattr(type(context), 'wrap_bio', None) is gevent.ssl.SSLContext.wrap_bio
        strict = as_usual and context.verify_mode == ssl.CERT_REQUIRED and context.check_hostname
        if not as_usual or not (strict or fingerprint or verify is False):
            unlike.append('ssl_context')
        elif verify is False and context.verify_mode != ssl.CERT_NONE:
            context = None  # urllib3 would have it verify nothing, for all its users
    if unlike:
        raise ConnectionClosed(
            f'http_session: its {type(adapter).__name__} for this server verifies in a way that '
            f'the websocket cannot follow ({", ".join(unlike)}). Use polling, or say in '
            'websocket_extra_options how to verify: sslopt with context, ca_certs or cert_reqs'
        )
    return Pins(context, fingerprint)


def session_from(session: Any) -> Any:
    """The session of a connection, from the client's option ``http_session``.

    A function may return None, for no session.

    :raises ValueError: the option is not valid.
    """
    if session is None or known_session(session) is not None:
        return session
    made = session() if callable(session) else session
    if made is not None and known_session(made) is None:
        by = f', not {made!r:.100}' if made is session else f', but it returned {made!r:.100}'
        raise ValueError(
            'http_session must be a requests.Session, an object with its interface, or a function '
            f'that returns one{by}'
        )
    return made


def known_session(option: Any) -> HTTPSession | None:
    """The session that an option is, or None if it is not one, as a function that makes one."""
    is_one = callable(getattr(option, 'request', None)) and not isinstance(option, type)
    return option if is_one else None


def cookies_of(session: Any) -> CookieJar | None:
    """The cookie jar of a session: requests', or that of Locust's FastHttpSession."""
    jars = (getattr(session, name, None) for name in ('cookies', 'cookiejar'))
    return next((jar for jar in jars if isinstance(jar, CookieJar)), None)


def settings(session: Any, url: str) -> Settings:
    """Proxies, verification and the client certificate for a URL."""
    if not hasattr(session, 'merge_environment_settings'):
        return Settings(environment.proxies_for(url), environment.ca_bundle() or True, None)
    found = session.merge_environment_settings(url, {}, None, None, None)
    return Settings(found['proxies'], found['verify'], found['cert'])


def websocket_proxy(session: Any, secure: bool) -> str | None:
    """The URL of the proxy that a session has for websockets alone, as for python-engineio."""
    proxies = getattr(session, 'proxies', None)
    if not isinstance(proxies, Mapping):
        return None
    return proxies.get('wss' if secure else 'ws') or None


def prepared_headers(
    session: Any, url: str, headers: Sequence[tuple[str, str]]
) -> list[tuple[str, str]]:
    """What the session makes of a request: its own headers and its auth.

    :raises ValueError: a header is not valid. An auth object may have made it of a token that
                        comes from elsewhere, and requests does not check it any more.
    """
    if not hasattr(session, 'prepare_request'):
        return []
    import requests

    prepared = session.prepare_request(requests.Request('GET', url, dict(headers))).headers
    usual = requests.utils.default_headers()
    own = checked_headers(
        # Those of an auth object may be numbers: http.client sends them, too.
        (name, str(value) if isinstance(value, int) else value)
        for name, value in prepared.items()
        if text(name).lower() not in _POLLING_ONLY and usual.get(name) != value
    )
    return without_framing(own)
