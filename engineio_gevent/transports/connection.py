"""Open a connection to the server, for polling and for websockets: proxies and TLS included."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..net import tls
from ..net.errors import connection_error, error_text
from ..net.hosts import authority
from ..net.race import SocketOptions
from ..net.tunnel import SOCKS, Proxy, open_to_proxy, open_tunnel
from .redirects import Destination
from .route import Route


def forwards(proxy: Proxy | None, place: Destination) -> bool:
    """Whether a proxy gets the polling requests for a server, and sends its own."""
    return proxy is not None and not place.secure and proxy.scheme not in SOCKS


def open_connection(
    route: Route,
    place: Destination,
    proxy: Proxy | None,
    timeout: float | None,
    *,
    tunnel: bool = True,
    sockopt: SocketOptions = (),
    sslopt: Mapping[str, Any] | None = None,
) -> Any:
    """Connect to a server, or to the proxy that gets its requests; waits.

    :param proxy: the proxy for that server, or None.
    :param timeout: in seconds, for each of the steps; None: no limit.
    :param tunnel: whether a proxy has to connect its end to the server. If not, an HTTP proxy
                   gets the requests to a server without TLS.
    :param sockopt: more ``setsockopt`` arguments.
    :param sslopt: websocket-client's option of this name. With it, the timeout is also that of the
                   handshake of TLS.
    :returns: a connected socket, with TLS if the server wants it.
    :raises EngineIOError: with the cause chained.
    """
    options = dict(sslopt or {})
    if (
        options and place.origin != route.origin
    ):  # the name is that of the server that the caller gave
        options.pop('server_hostname', None)
    try:
        if proxy is None:
            sock = route.dialer.open(place.host, place.port, timeout, sockopt)
        elif not tunnel and forwards(proxy, place):
            return open_to_proxy(proxy, route.dialer, timeout, sockopt, route.proxy_tls_context)
        else:
            sock = open_tunnel(
                proxy,
                place.host,
                place.port,
                route.dialer,
                timeout,
                sockopt,
                route.proxy_tls_context,
            )
        if not place.secure:
            return sock
        try:
            if sslopt is not None:
                sock.settimeout(timeout)
            pins = route.pins(place.url, proxy)
            if pins.context is not None:
                options['context'] = pins.context
            sock = tls.wrap(sock, route.tls_context(options), place.host, options)
            pins.check(sock)
            return sock
        except BaseException:  # a time-out or a kill, too, leaves no socket open
            sock.close()
            raise
    except OSError as exc:
        where = authority(place.host, place.port)
        by = '' if proxy is None else f' via {proxy}'
        raise connection_error(exc)(f'{where}{by}: {error_text(exc)}') from exc
