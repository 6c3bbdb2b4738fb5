"""The opening handshake of a websocket (RFC 6455, section 4), by the options of websocket-client.

websocket-client's own takes 100 us more, keeps cookies for the whole process,
and follows redirects with all headers to any host.
"""

from __future__ import annotations

import base64
import hashlib
import os
from collections.abc import Callable, Mapping
from typing import Any

from ..exceptions import ConnectionClosed, ProtocolError
from ..net.errors import error_text
from ..protocol.http1 import Response, encode_request
from . import redirects
from .connection import open_connection
from .http import status_error
from .http_reader import read_response
from .redirects import MAX_REDIRECTS, REDIRECTS, Destination, headers_after_redirect
from .route import Route

#: Bytes of the body of a refusal that are read.
MAX_REFUSAL = 1 << 20

# What the caller's headers, which may be meant for polling, do not decide.
_OURS = frozenset(('connection', 'sec-websocket-key', 'sec-websocket-version', 'upgrade'))

_GUID = b'258EAFA5-E914-47DA-95CA-C5AB0DC85B11'  # section 1.3


def open_websocket(
    route: Route,
    sid: str | None,
    timeout: float | None,
    on_response: Callable[[Response], None] | None = None,
) -> tuple[Any, bytes]:
    """Connect and shake hands; waits.

    :param sid: the session to join, or None to begin one.
    :param timeout: seconds for the parts of it, where the caller's options say nothing.
    :param on_response: is called with each response, that of a redirect or a refusal too.
    :returns: the connected socket, and what the server has sent after its answer.
    :raises EngineIOError: with the cause chained.
    """
    options = route.websocket_handshake()
    options.setdefault('timeout', timeout)
    place = redirects.home(route, route.target('websocket', sid))
    key = base64.b64encode(os.urandom(16)).decode()
    headers = _headers(route, options, key)
    left: int = options.get('redirect_limit') or 0
    at_home = MAX_REDIRECTS
    while True:
        try:
            sock = options.pop('socket', None) or _connect(route, place, options)
            try:
                sock.sendall(encode_request('GET', place.target, headers, None))
                answer = read_response(sock, MAX_REFUSAL, upgrading=True)
                if on_response is not None:
                    on_response(answer)
                if answer.cookies:
                    route.cookies.store(place.url, answer.cookies)
                there = _next_destination(place, answer, left, at_home)
                if there is None:
                    _check(answer, options, key, place)
                    return sock, answer.rest
            except BaseException:  # a time-out or a kill, too, leaves no socket open
                sock.close()
                raise
        except OSError as exc:
            raise ConnectionClosed(f'{place.netloc}: {error_text(exc)}') from exc
        sock.close()
        if there.origin == place.origin:
            at_home -= 1
        else:
            left -= 1
        headers = headers_after_redirect(headers, place, there, route.cookies.header(there.url))
        place = there


def _next_destination(
    place: Destination, answer: Response, left: int, at_home: int
) -> Destination | None:
    """Where to ask again, or None to take the answer as it is.

    :param left: how many redirects the caller allows, to any server.
    :param at_home: how many more are followed by statuses 307 and 308 to the same server. Fronts
                    send those from ``/engine.io/`` to ``/engine.io``.
    """
    location = answer.headers.get('location')
    if answer.status not in REDIRECTS or not location:
        return None
    if answer.status in (307, 308) and at_home:
        there = redirects.follow(place, location)
        if there.origin == place.origin:
            return there
    return redirects.follow(place, location) if left else None


def _headers(route: Route, options: Mapping[str, Any], key: str) -> list[tuple[str, str]]:
    """The request's header (section 4.1), by the options of websocket-client."""
    own: Mapping[str, str] = options['header']
    headers = [('Upgrade', 'websocket')]
    if not options.get('suppress_host'):
        headers.append(('Host', options.get('host') or route.netloc))
    if not options.get('suppress_origin'):
        headers.append(('Origin', options.get('origin') or route.http_origin))
    headers.append(('Sec-WebSocket-Key', key))
    headers.append(('Sec-WebSocket-Version', '13'))
    headers.append(('Connection', 'Upgrade'))
    if options.get('subprotocols'):
        headers.append(('Sec-WebSocket-Protocol', ','.join(options['subprotocols'])))
    headers.extend(one for one in own.items() if one[0].lower() not in _OURS)
    if options['cookie']:
        headers.append(('Cookie', options['cookie']))
    return headers


def _check(answer: Response, options: Mapping[str, Any], key: str, place: Destination) -> None:
    """Section 4.1: what the client must see in the answer.

    :raises HTTPError: the server refused.
    :raises ProtocolError: this is no answer to our request.
    """
    if answer.status != 101:
        url = place.url.partition('?')[0]
        raise status_error(
            f'the websocket handshake with {url}', answer.status, answer.headers, answer.body
        )
    headers = answer.headers
    if headers.get('upgrade', '').lower() != 'websocket':
        raise _fault('Upgrade', headers.get('upgrade'))
    if 'upgrade' not in headers.get('connection', '').lower():
        raise _fault('Connection', headers.get('connection'))
    digest = hashlib.sha1(key.encode() + _GUID, usedforsecurity=False).digest()
    if headers.get('sec-websocket-accept') != base64.b64encode(digest).decode():
        raise _fault('Sec-WebSocket-Accept', headers.get('sec-websocket-accept'))
    if headers.get('sec-websocket-extensions'):  # none was offered
        raise _fault('Sec-WebSocket-Extensions', headers['sec-websocket-extensions'])
    offered = options.get('subprotocols') or ()
    fit = [one.lower() for one in (*offered, *_listed(options['header']))]
    chosen = headers.get('sec-websocket-protocol')
    # One that was not offered is a fault to the RFC; none, where some were, to websocket-client.
    if (chosen or offered) and (chosen or '').lower() not in fit:
        raise _fault('Sec-WebSocket-Protocol', chosen)


def _listed(own: Mapping[str, str]) -> list[str]:
    """The subprotocols that the caller offered by a header of his own."""
    lines = (value for name, value in own.items() if name.lower() == 'sec-websocket-protocol')
    return [one.strip() for line in lines for one in line.split(',')]


def _fault(name: str, value: str | None) -> ProtocolError:
    if value is None:
        return ProtocolError(f'websocket handshake response without the header {name}')
    return ProtocolError(
        f'websocket handshake response with an invalid header {name}: {value[:100]!r}'
    )


def _connect(route: Route, place: Destination, options: dict[str, Any]) -> Any:
    """A connected socket, with the handshake of TLS done where the route wants that."""
    sock = open_connection(
        route,
        place,
        route.websocket_proxy,
        options['timeout'],
        sockopt=options.get('sockopt') or (),
        sslopt=options.get('sslopt'),
    )
    # The session bounds the whole handshake; this is for a caller who wants less.
    sock.settimeout(route.websocket_options.get('timeout'))
    return sock
