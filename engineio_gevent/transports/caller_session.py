"""The caller's ``requests.Session``: what it says of a connection."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from ..net.tls import Cert

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

    :raises ValueError: the option is not valid.
    """
    if session is None or hasattr(session, 'request'):
        return session
    if not callable(session):
        raise ValueError(
            f'http_session must be a requests.Session or a callable that returns one: {session!r}'
        )
    return session()


def settings(session: Any, url: str) -> Settings:
    """Proxies, verification and the client certificate for a URL."""
    found = session.merge_environment_settings(url, {}, False, None, None)
    return Settings(found['proxies'], found['verify'], found['cert'])


def prepared_headers(
    session: Any, url: str, headers: list[tuple[str, str]]
) -> list[tuple[str, str]]:
    """What the session makes of a request: its own headers and its auth."""
    import requests

    prepared = session.prepare_request(requests.Request('GET', url, dict(headers))).headers
    usual = requests.utils.default_headers()
    return [
        (name, value.decode('latin-1') if isinstance(value, bytes) else value)
        for name, value in prepared.items()
        if name.lower() not in _POLLING_ONLY and usual.get(name) != value
    ]
