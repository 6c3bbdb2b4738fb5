"""Where a redirect leads, and what may go there."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import NamedTuple
from urllib.parse import urljoin, urlsplit

from ..exceptions import HTTPError, ProtocolError
from ..net.hosts import ascii_host, authority, host_header, without_login
from .cookies import joined
from .environment import quoted
from .route import Route

#: The statuses (RFC 9110, section 15.4).
REDIRECTS = frozenset((301, 302, 303, 307, 308))
#: Redirects that one request follows.
MAX_REDIRECTS = 5

_CREDENTIALS = {'authorization', 'proxy-authorization'}
_HTTP = {'http': 'http', 'https': 'https', 'ws': 'http', 'wss': 'https'}


class Destination(NamedTuple):
    """Where a request goes."""

    secure: bool
    host: str
    port: int
    #: Host and port, as for the ``Host`` header.
    netloc: str
    #: Path and query.
    target: str

    @property
    def origin(self) -> tuple[bool, str, int]:
        """Scheme, host and port."""
        return self[:3]

    @property
    def url(self) -> str:
        """The whole, as ``http`` or ``https``."""
        return f'{"https" if self.secure else "http"}://{self.netloc}{self.target}'


def home(route: Route, target: str) -> Destination:
    """The place of a request on the way that the caller gave."""
    return Destination(route.secure, route.host, route.port, route.netloc, target)


def next_destination(
    place: Destination,
    method: str,
    status: int,
    headers: Mapping[str, str],
    *,
    anywhere: bool = True,
) -> Destination | None:
    """Where a request has to be sent again, or None if its response is to be taken as it is.

    :param place: where the response came from.
    :param method: ``'GET'``, ``'POST'``, or ``'websocket'``, which is a GET.
    :param headers: those of the response.
    :param anywhere: whether to follow all redirects. If not, only those of status 307 or 308 to
                     the same scheme, host and port. Many servers send one from ``/engine.io/``
                     to ``/engine.io``.
    :raises HTTPError: the redirect cannot be followed.
    """
    location = headers.get('location')
    if status not in REDIRECTS or not location:
        return None
    if not anywhere:
        if status not in (307, 308):
            return None
        try:
            there = follow(place, location)
        except ProtocolError:
            return None
        return there if there.origin == place.origin else None
    # A POST that these turn into a GET would lose its packets (RFC 9110, section 15.4).
    if (status == 303 and method != 'websocket') or (status in (301, 302) and method == 'POST'):
        raise HTTPError(
            f'{method} redirected by status {status} to {shown(location)}: connect to the final '
            'URL instead',
            status,
            None,
            headers,
        )
    try:
        return follow(place, location)
    except ProtocolError as exc:
        raise HTTPError(str(exc), status, None, headers) from exc


def follow(place: Destination, location: str) -> Destination:
    """The place that the ``Location`` of a response names.

    :raises ProtocolError: that is no address, or one without TLS after one with TLS.
    """
    try:
        url = quoted(urljoin(place.url, location))
        parts = urlsplit(url)
        scheme, port = _HTTP.get(parts.scheme), parts.port
        host = ascii_host(parts.hostname) if parts.hostname else ''
    except ValueError:  # its text may show a part of a password
        raise ProtocolError(f'redirected to an invalid URL: {shown(location)!r}') from None
    if scheme is None or not host or port == 0:
        raise ProtocolError(f'redirected to a URL that is not HTTP: {shown(url)!r}')
    secure = scheme == 'https'
    if place.secure and not secure:
        raise ProtocolError(f'redirected from https to {shown(url)}, which has no TLS')
    target = (parts.path or '/') + (f'?{parts.query}' if parts.query else '')
    netloc = authority(host, port)
    return Destination(secure, host, port or (443 if secure else 80), netloc, target)


def shown(url: str) -> str:
    """A URL for an error: without user, password and query, and not long."""
    return without_login(url)[:100]


def headers_after_redirect(
    headers: Collection[tuple[str, str]], here: Destination, there: Destination, cookies: str
) -> list[tuple[str, str]]:
    """The headers of the next request: what is secret stays with the host it was meant for.

    The caller's own ``Cookie`` header goes to the same scheme, host and port only.

    :param cookies: what the jar has for that place.
    """
    same_host = (here.host, here.port) == (there.host, there.port)
    left = {'cookie', 'host'} | (set() if same_host else _CREDENTIALS)
    kept = [
        ('Host', host_header(there.netloc)),
        *(one for one in headers if one[0].lower() not in left),
    ]
    if here.origin == there.origin:
        new = {_name(one) for one in cookies.split(';')}
        earlier = (value for name, value in headers if name.lower() == 'cookie')
        own = (one.strip() for line in earlier for one in line.split(';'))
        cookies = joined(*(one for one in own if _name(one) not in new), cookies)
    return [*kept, ('Cookie', cookies)] if cookies else kept


def _name(cookie: str) -> str:
    return cookie.partition('=')[0].strip()
