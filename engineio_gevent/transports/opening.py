"""The opening of a websocket (RFC 6455, section 4): connection, handshake and redirects."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from ..exceptions import ConnectionClosed
from ..net.errors import error_text
from ..protocol.http1 import Response
from . import redirects
from .connection import open_connection
from .handshake import Handshake
from .redirects import MAX_REDIRECTS, Destination, headers_after_redirect
from .route import Route


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
        # websocket-client is imported only by programs that use its options.
        from .by_websocket_client import Handshake as ByWebSocketClient

        timeout = options.timeout(timeout)
        headers = options.merged(headers)
        limit = options.redirect_limit
        handshake = ByWebSocketClient(options.arguments(), timeout)
    place = redirects.home(route, route.target('websocket', sid))
    followed = 0
    given = None if options is None or sock is not None else options.socket()
    while True:
        try:
            if given is not None:
                sock, given = given, None
                sock.settimeout(timeout)
            else:
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
                        answer.headers,
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


def _connect(route: Route, place: Destination, timeout: float | None) -> Any:
    """A connected socket, with the handshake of TLS done if the server wants TLS."""
    options = route.websocket_options
    if options is None:
        return open_connection(route, place, route.websocket_proxy, timeout)
    own = options.proxy(place.host, place.secure)
    if own is not None:
        proxy, limit = own
    else:
        proxy, limit = route.proxy_for(place.origin, place.url, 'websocket'), None
    sock = open_connection(
        route,
        place,
        proxy,
        timeout if limit is None else limit,
        sockopt=options.sockopt,
        sslopt=options.sslopt(route.verify),
    )
    sock.settimeout(timeout)
    return sock
