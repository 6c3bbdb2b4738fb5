"""The caller's ``requests.Session``: what it says of a connection."""

from __future__ import annotations

from collections.abc import Mapping
from http.cookiejar import CookieJar
from typing import Any, NamedTuple

from ..net.tls import Cert
from . import environment

# Headers of a prepared polling request that the handshake of a websocket does not repeat.
_POLLING_ONLY = frozenset(('accept', 'accept-encoding', 'connection', 'content-length', 'cookie'))


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
    if session is None or _is_session(session):
        return session
    made = session() if callable(session) else session
    if made is not None and not _is_session(made):
        by = f', not {made!r:.100}' if made is session else f', but it returned {made!r:.100}'
        raise ValueError(
            'http_session must be a requests.Session, an object with its interface, or a function '
            f'that returns one{by}'
        )
    return made


def _is_session(given: Any) -> bool:
    return callable(getattr(given, 'request', None)) and not isinstance(given, type)


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


def prepared_headers(
    session: Any, url: str, headers: list[tuple[str, str]]
) -> list[tuple[str, str]]:
    """What the session makes of a request: its own headers and its auth."""
    if not hasattr(session, 'prepare_request'):
        return []
    import requests

    prepared = session.prepare_request(requests.Request('GET', url, dict(headers))).headers
    usual = requests.utils.default_headers()
    return [
        (name, value.decode('latin-1') if isinstance(value, bytes) else value)
        for name, value in prepared.items()
        if name.lower() not in _POLLING_ONLY and usual.get(name) != value
    ]
