"""The opening handshake of a websocket (RFC 6455, section 4).

Where the caller wants redirects followed, websocket-client does it; the other
ways are our own, 100 us shorter.
"""

from __future__ import annotations

import base64
import hashlib
import os
from collections.abc import Mapping
from typing import Any

import websocket

from ..exceptions import ConnectionClosed, ProtocolError
from . import dial, tls
from .base import describe
from .http import refused
from .http1 import Response, encode_request
from .route import Route
from .tunnel import open_tunnel
from .unpatched import warn_if_unpatched

#: Bytes of the body of a refusal that are read.
MAX_REFUSAL = 1 << 20

_GUID = b'258EAFA5-E914-47DA-95CA-C5AB0DC85B11'  # section 1.3


def open_websocket(route: Route, sid: str | None, timeout: float | None) -> tuple[Any, bytes]:
    """Connect and shake hands; waits.

    :param sid: the session to join, or None to begin one.
    :param timeout: seconds for the parts of it, where the caller's options say nothing.
    :returns: the connected socket, and what the server has sent after its answer.
    :raises EngineIOError: with the cause chained.
    """
    options = route.websocket_handshake()
    options.setdefault('timeout', timeout)
    try:
        if options.get('redirect_limit'):
            return _by_websocket_client(route, sid, options), b''
        return _directly(route, sid, options)
    except OSError as exc:
        raise ConnectionClosed(f'{route.netloc}: {describe(exc)}') from exc


def _directly(route: Route, sid: str | None, options: dict[str, Any]) -> tuple[Any, bytes]:
    target = route.target('websocket', sid)
    key = base64.b64encode(os.urandom(16)).decode()
    request = encode_request('GET', target, _headers(route, options, key), None)
    sock = options.get('socket') or _connect(route, options)
    try:
        sock.sendall(request)
        answer = Response(sock, MAX_REFUSAL, upgrading=True)
        if answer.cookies:
            route.cookies.store(route.http_origin + target, answer.cookies)
        _check(answer, options, key)
    except BaseException:
        sock.close()
        raise
    return sock, answer.rest


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
    headers.extend(own.items())
    if options['cookie']:
        headers.append(('Cookie', options['cookie']))
    return headers


def _check(answer: Response, options: Mapping[str, Any], key: str) -> None:
    """Section 4.1: what the client must see in the answer.

    :raises HTTPError: the server refused.
    :raises ProtocolError: this is no answer to our request.
    """
    if answer.status != 101:
        raise refused('websocket handshake', answer.status, answer.body)
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
    chosen = headers.get('sec-websocket-protocol')
    # One that was not offered is a fault to the RFC; none, where some were, to websocket-client.
    if (chosen or offered) and (chosen or '').lower() not in [one.lower() for one in offered]:
        raise _fault('Sec-WebSocket-Protocol', chosen)


def _fault(name: str, value: str | None) -> ProtocolError:
    came = 'none' if value is None else repr(value[:100])
    return ProtocolError(f'websocket handshake: wrong header {name} in the answer: {came}')


def _connect(route: Route, options: dict[str, Any]) -> Any:
    """A connected socket, with the handshake of TLS done where the route wants that."""
    sockopt = options.get('sockopt') or ()
    sslopt = options.get('sslopt') or {}
    proxy = route.websocket_proxy
    if proxy is None:
        sock = dial.open_socket(route.host, route.port, sockopt, options['timeout'])
    else:
        sock = open_tunnel(proxy, route.host, route.port, sockopt, options['timeout'])
    try:
        # The session bounds the whole handshake; this is for a caller who wants less.
        sock.settimeout(route.websocket_options.get('timeout'))
        if not route.secure:
            return sock
        return tls.wrap(sock, route.tls_context(sslopt), route.host, sslopt)
    except BaseException:
        sock.close()
        raise


def _proxy_options(route: Route) -> dict[str, Any]:
    """The proxy of this route in websocket-client's words.

    Without a host, it would look for one in the environment itself.
    """
    proxy = route.websocket_proxy
    if proxy is None:
        return {'http_proxy_host': '-', 'http_proxy_port': 1, 'http_no_proxy': ['*']}
    options: dict[str, Any] = {
        'http_proxy_host': proxy.host,
        'http_proxy_port': proxy.port,
        'http_no_proxy': ['-'],  # an empty list would have it read the environment
        'proxy_type': proxy.scheme,
    }
    if proxy.user is not None:
        options['http_proxy_auth'] = proxy.user, proxy.password
    return options


def _by_websocket_client(route: Route, sid: str | None, options: dict[str, Any]) -> Any:
    """The long way; returns the connected socket."""
    warn_if_unpatched('a websocket through redirects')
    options.update(_proxy_options(route))
    if route.secure and not (options.get('sslopt') or {}).get('context'):
        sslopt = dict(options.get('sslopt') or {})
        sslopt['context'] = route.tls_context(sslopt)
        options['sslopt'] = sslopt
    try:
        connected = websocket.create_connection(route.url('websocket', sid), **options)
    except websocket.WebSocketBadStatusException as exc:
        body = exc.resp_body if isinstance(exc.resp_body, bytes) else None
        raise refused('websocket handshake', exc.status_code, body) from exc
    except websocket.WebSocketConnectionClosedException as exc:
        raise ConnectionClosed('the server closed the connection in the handshake') from exc
    except websocket.WebSocketException as exc:
        raise ProtocolError(f'websocket handshake: {str(exc)[:200]}') from exc
    connected.sock, sock = None, connected.sock
    return sock
