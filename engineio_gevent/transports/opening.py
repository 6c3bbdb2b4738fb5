"""The opening of a websocket (RFC 6455, section 4): connection, handshake and redirects."""

from __future__ import annotations

import base64
import hashlib
import os
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from ..exceptions import ConnectionClosed, EngineIOError, ProtocolError
from ..net.errors import error_text
from ..protocol.http1 import Response, encode_request
from . import redirects
from .connection import open_connection
from .headers import Headers
from .http import status_error
from .http_reader import read_response
from .redirects import MAX_REDIRECTS, Destination, headers_after_redirect
from .route import Route

#: Bytes of the body of a refusal that are read.
MAX_REFUSAL = 1 << 20

# What the caller's headers, which may be meant for polling, do not decide.
_OURS = frozenset(('connection', 'sec-websocket-key', 'sec-websocket-version', 'upgrade'))

_GUID = b'258EAFA5-E914-47DA-95CA-C5AB0DC85B11'  # section 1.3


class Opened(NamedTuple):
    """An open websocket."""

    #: The connected socket.
    sock: Any
    #: The bytes that the server has sent after its response.
    rest: bytes
    #: The caller's function that makes the keys of frames, or None.
    get_mask_key: Callable[[int], bytes | str] | None = None


def open_websocket(
    route: Route,
    sid: str | None,
    timeout: float | None,
    on_response: Callable[[Response], None] | None = None,
    sock: Any = None,
) -> Opened:
    """Connect and shake hands; waits.

    :param sid: the session to join, or None to begin one.
    :param timeout: seconds for each step, where the caller's options say nothing.
    :param on_response: is called with each response, that of a redirect or a refusal too.
    :param sock: a connected socket for the first request; None: a new one.
    :raises EngineIOError: with the cause chained.
    """
    options = route.websocket_options
    headers = route.websocket_headers()
    limit = 0
    handshake: Any
    if options is None:
        handshake = Handshake(route)
    else:
        from .by_websocket_client import Handshake as ByWebSocketClient  # and that

        timeout = options.timeout(timeout)
        headers = options.merged(headers)
        limit = options.redirect_limit
        handshake = ByWebSocketClient(options, timeout)
    place = redirects.home(route, route.target('websocket', sid))
    followed = 0
    if sock is None and options is not None:
        sock = options.socket()
    while True:
        try:
            sock = sock or _connect(route, place, timeout)
            try:
                answer = handshake.ask(sock, place, headers)
                if on_response is not None:
                    on_response(answer)
                if answer.cookies:
                    route.cookies.store(place.url, answer.cookies)
                there = None
                if followed < max(limit, MAX_REDIRECTS):
                    there = redirects.next_destination(
                        place,
                        'websocket',
                        answer.status,
                        answer.headers.get('location'),
                        anywhere=followed < limit,
                    )
                if there is None:
                    handshake.check(answer, place)
                    return Opened(sock, answer.rest, handshake.get_mask_key)
            except BaseException:  # a time-out or a kill, too, leaves no socket open
                sock.close()
                raise
        except OSError as exc:
            raise ConnectionClosed(f'{place.netloc}: {error_text(exc)}') from exc
        sock.close()
        followed += 1
        headers = headers_after_redirect(headers, place, there, route.cookies.header(there.url))
        place, sock = there, None


class Handshake:
    """The handshake as most clients do it (section 4.1)."""

    get_mask_key = None

    def __init__(self, route: Route) -> None:
        self._origin = route.http_origin
        self._key = base64.b64encode(os.urandom(16)).decode()
        self._offered: list[str] = []

    def ask(self, sock: Any, place: Destination, headers: Headers) -> Response:
        """Send the request and read the response; waits."""
        names = {name.lower(): name for name, _ in headers}
        own = [one for one in headers if one[0].lower() not in _OURS]
        self._offered = listed_subprotocols(own)
        lines = [('Upgrade', 'websocket')]
        if 'host' not in names:
            lines.append(('Host', place.netloc))
        if 'origin' not in names:
            lines.append(('Origin', self._origin))
        lines.append(('Sec-WebSocket-Key', self._key))
        lines.append(('Sec-WebSocket-Version', '13'))
        lines.append(('Connection', 'Upgrade'))
        sock.sendall(encode_request('GET', place.target, lines + own, None))
        return read_response(sock, MAX_REFUSAL, upgrading=True)

    def check(self, answer: Response, place: Destination) -> None:
        """Check the response; raises as :func:`check_answer`."""
        check_answer(answer, place, self._key, self._offered)


def check_answer(
    answer: Response, place: Destination, key: str | None, offered: Sequence[str]
) -> None:
    """Section 4.1: what the client must see in the answer.

    :param key: the key that was sent; None: not to be checked.
    :param offered: the subprotocols that were offered.
    :raises HTTPError: the server refused.
    :raises ProtocolError: this is no answer to our request.
    """
    if answer.status != 101:
        url = place.url.partition('?')[0]
        what = f'the websocket handshake with {url}'
        raise status_error(what, answer.status, answer.headers, answer.body)
    headers = answer.headers
    if headers.get('upgrade', '').lower() != 'websocket':
        raise _fault('Upgrade', headers.get('upgrade'))
    if 'upgrade' not in headers.get('connection', '').lower():
        raise _fault('Connection', headers.get('connection'))
    accept = headers.get('sec-websocket-accept')
    if key is not None:
        digest = hashlib.sha1(key.encode() + _GUID, usedforsecurity=False).digest()
        if accept != base64.b64encode(digest).decode():
            raise _fault('Sec-WebSocket-Accept', accept)
    if headers.get('sec-websocket-extensions'):  # none was offered
        raise _fault('Sec-WebSocket-Extensions', headers['sec-websocket-extensions'])
    chosen = headers.get('sec-websocket-protocol')
    fit = [one.lower() for one in offered]
    # One that was not offered is a fault to the RFC; none, where some were, to websocket-client.
    if (chosen or offered) and (chosen or '').lower() not in fit:
        raise _fault('Sec-WebSocket-Protocol', chosen)


def listed_subprotocols(headers: Headers) -> list[str]:
    """The subprotocols that the caller offered by a header of his own."""
    lines = (value for name, value in headers if name.lower() == 'sec-websocket-protocol')
    return [one.strip() for line in lines for one in line.split(',')]


def late_refusal(data: bytes, server: str) -> Exception | None:
    """The refusal that a server sends as an HTTP response after its status 101, as engine.io does.

    :param data: the bytes after the handshake.
    :param server: its name for the error.
    """
    if not data.startswith(b'HTTP/'):
        return None
    response = Response(MAX_REFUSAL)
    try:
        response.feed(data)
        content = response.content(MAX_REFUSAL)
    except EngineIOError:
        return None
    if not response.status:
        return None
    what = f'the websocket handshake with {server}, after status 101'
    return status_error(what, response.status, response.headers, content)


def _fault(name: str, value: str | None) -> ProtocolError:
    if value is None:
        return ProtocolError(f'websocket handshake response without the header {name}')
    return ProtocolError(
        f'websocket handshake response with an invalid header {name}: {value[:100]!r}'
    )


def _connect(route: Route, place: Destination, timeout: float | None) -> Any:
    """A connected socket, with the handshake of TLS done if the server wants TLS."""
    options = route.websocket_options
    if options is None:
        return open_connection(route, place, route.websocket_proxy, timeout)
    own = options.proxy(route.http_origin)
    proxy, limit = (route.websocket_proxy, None) if own is None else own
    sock = open_connection(
        route,
        place,
        proxy,
        timeout if limit is None else limit,
        sockopt=options.sockopt,
        sslopt=options.sslopt,
    )
    sock.settimeout(timeout)
    return sock
