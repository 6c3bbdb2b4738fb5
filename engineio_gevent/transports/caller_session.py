"""The caller's ``requests.Session``: what it says of a connection."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from http.cookiejar import CookieJar
from typing import Any, NamedTuple, Protocol

from ..net.tls import Cert
from . import environment
from .headers import text, without_framing

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
    #: Whether to verify the server's certificate, the path of a CA bundle, or None: no setting.
    verify: bool | str | None
    cert: Cert


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
        return Settings(environment.proxies_for(url), environment.ca_bundle(), None)
    found = session.merge_environment_settings(url, {}, None, None, None)
    return Settings(found['proxies'], found['verify'], found['cert'])


def websocket_proxy(session: Any, secure: bool) -> str | None:
    """The URL of the proxy that a session has for websockets alone, as for python-engineio."""
    proxies = getattr(session, 'proxies', None)
    if not isinstance(proxies, Mapping):
        return None
    return proxies.get('wss' if secure else 'ws') or None


def prepared_headers(
    session: Any, url: str, headers: list[tuple[str, str]]
) -> list[tuple[str, str]]:
    """What the session makes of a request: its own headers and its auth."""
    if not hasattr(session, 'prepare_request'):
        return []
    import requests

    prepared = session.prepare_request(requests.Request('GET', url, dict(headers))).headers
    usual = requests.utils.default_headers()
    return without_framing(
        (text(name), text(value))
        for name, value in prepared.items()
        if text(name).lower() not in _POLLING_ONLY and usual.get(name) != value
    )
