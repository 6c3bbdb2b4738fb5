"""The client's option ``websocket_extra_options``: websocket-client's keyword arguments, checked.

websocket-client acts on those for the request. This package acts on those for the connection,
because it opens it, with the meaning that websocket-client gives them.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping
from typing import Any

from ..exceptions import ConnectionClosed
from ..net.tunnel import PROXY_PORTS, SOCKS_PORT, Proxy
from . import environment
from .headers import NAME, Headers, checked_headers

#: For the connection, which this package opens.
_CONNECTION = frozenset((
    'sockopt', 'sslopt', 'socket', 'timeout', 'redirect_limit',
    'http_proxy_host', 'http_proxy_port', 'http_no_proxy', 'http_proxy_auth', 'http_proxy_timeout',
    'proxy_type',
))  # fmt: skip
#: For the request and its response, which are left to websocket-client.
_REQUEST = frozenset((
    'header', 'cookie', 'origin', 'host', 'connection', 'subprotocols', 'suppress_origin',
    'suppress_host', 'class_',
))  # fmt: skip
#: For frames, where this package does the same, or does it in any case.
_FRAMES = frozenset(('get_mask_key', 'skip_utf8_validation', 'enable_multithread'))

_warned: set[str] = set()


class WebSocketOptions:
    """The options of one connection.

    :param given: the keyword arguments.
    :raises ValueError: one of them is not valid.
    """

    __slots__ = ('_given', 'header')

    def __init__(self, given: Mapping[str, Any]) -> None:
        self._given = given
        #: The caller's headers: names and values in order.
        self.header: Headers = _header_lines(given.get('header') or ())
        for name in ('cookie', 'host', 'origin'):
            checked_headers([(name, given.get(name))])
        if given.get('connection'):
            _header_lines([given['connection']])
        for one in given.get('subprotocols') or ():
            if not isinstance(one, str) or not NAME.match(one):
                raise ValueError(
                    f'invalid subprotocol for the header Sec-WebSocket-Protocol: {one!r}'
                )
        if 'class_' not in given:  # which may have arguments of its own
            known = _CONNECTION | _REQUEST | _FRAMES
            for name in given.keys() - known:
                warn(f'{name} has no effect')

    def merged(self, headers: Headers) -> Headers:
        """The headers of a request: these, and the options', which come first.

        :param headers: those of the client and its session.
        """
        own = list(self.header)
        for name in ('Cookie', 'Host', 'Origin'):
            if self._given.get(name.lower()) is not None:
                own = [one for one in own if one[0].lower() != name.lower()]
                own.append((name, self._given[name.lower()]))
        names = {name.lower() for name, _ in own}
        return [one for one in headers if one[0].lower() not in names] + own

    def request(self) -> dict[str, Any]:
        """The arguments for websocket-client."""
        return {name: value for name, value in self._given.items() if name not in _CONNECTION}

    def timeout(self, default: float | None) -> float | None:
        """Seconds for the opening of the websocket; None: no limit.

        :param default: the client's ``request_timeout``.
        """
        seconds: float | None = self._given.get('timeout', default)
        if seconds is None:
            import websocket

            seconds = websocket.getdefaulttimeout()
        return seconds

    @property
    def sockopt(self) -> Iterable[tuple[Any, ...]]:
        return self._given.get('sockopt') or ()

    @property
    def sslopt(self) -> dict[str, Any]:
        return dict(self._given.get('sslopt') or {})

    @property
    def redirect_limit(self) -> int:
        """How many redirects are followed to any server. websocket-client's default is 3."""
        return int(self._given.get('redirect_limit') or 0)

    def socket(self) -> Any:
        """The caller's connected socket, or None. A function returns a new one each time.

        :raises ConnectionClosed: it is closed, as after the connection that it was for.
        """
        given = self._given.get('socket')
        sock = given() if callable(given) else given
        if sock is not None and sock.fileno() == -1:
            raise ConnectionClosed(
                'websocket_extra_options: the socket is closed. It serves one connection: pass a '
                'function that returns a new one each time'
            )
        return sock

    def proxy(self, url: str) -> tuple[Proxy | None, float | None] | None:
        """The caller's proxy for a URL, and its timeout in seconds.

        :returns: None if the options do not name a proxy. The proxy is None if ``http_no_proxy``
                  names the host.
        """
        own = self._given
        if not own.get('http_proxy_host'):
            return None
        bypass = own.get('http_no_proxy')
        if bypass and environment.bypasses_proxy(url, ','.join(bypass)):
            return None, None
        scheme = own.get('proxy_type') or 'http'
        port = own.get('http_proxy_port') or PROXY_PORTS.get(scheme, SOCKS_PORT)
        user, password = own.get('http_proxy_auth') or (None, '')
        proxy = Proxy(scheme, own['http_proxy_host'], int(port), user, password or '')
        return proxy, own.get('http_proxy_timeout')


def _header_lines(headers: Any) -> Headers:
    """The option ``header``: a mapping, lines, or pairs."""
    if isinstance(headers, Mapping):
        return checked_headers(headers.items())
    pairs = []
    for line in [headers] if isinstance(headers, str) else headers:
        if isinstance(line, str):
            name, colon, value = line.partition(':')
            if not colon:
                raise ValueError(f'invalid header line {line!r}: use "Name: value"')
            pairs.append((name, value))
        else:
            name, value = line
            pairs.append((name, value))
    return checked_headers(pairs)


def warn(what: str) -> None:
    """Warn, once in a process."""
    if what not in _warned:
        _warned.add(what)
        warnings.warn(f'websocket_extra_options: {what}', RuntimeWarning, stacklevel=2)
