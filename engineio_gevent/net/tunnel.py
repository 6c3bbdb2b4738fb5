"""A way through a proxy for what is not HTTP: by CONNECT or by SOCKS."""

from __future__ import annotations

import base64
from collections.abc import Iterable
from typing import Any, NamedTuple
from urllib.parse import unquote, urlsplit

from gevent import socket

from ..exceptions import ConnectionClosed
from . import dial
from .errors import error_text
from .plain import PlainSocket
from .unpatched import warn_if_unpatched

#: The port of a proxy whose URL names none.
PROXY_PORTS = {'http': 80, 'https': 443}
SOCKS_PORT = 1080  # RFC 1928, section 3
#: Bytes of a proxy's answer that are read before it is refused.
_MAX_ANSWER = 1 << 16

_SOCKS = 'socks4', 'socks4a', 'socks5', 'socks5h'
_SCHEMES = *PROXY_PORTS, *_SOCKS


class Proxy(NamedTuple):
    """A proxy; ``str()`` is its address, without the credentials."""

    scheme: str
    host: str
    port: int
    user: str | None = None
    password: str = ''

    @classmethod
    def parse(cls, url: str) -> Proxy:
        """The proxy that a URL stands for; without a scheme it is ``http``.

        :raises ConnectionClosed: it stands for none. Nothing of the URL is in the text, for it may
                                  have a password in it.
        """
        try:
            parts = urlsplit(url if '://' in url else f'http://{url}')
        except ValueError:
            raise _no_url('invalid host') from None
        try:
            port = parts.port
        except ValueError:
            port = 0
        if parts.scheme not in _SCHEMES:
            raise _no_url(f'the scheme must be one of {", ".join(_SCHEMES)}')
        if port == 0:
            raise _no_url('the port must be a number from 1 to 65535')
        if not parts.hostname:
            raise _no_url('no host')
        port = port or PROXY_PORTS.get(parts.scheme, SOCKS_PORT)
        user = None if parts.username is None else unquote(parts.username)
        return cls(parts.scheme, parts.hostname, port, user, unquote(parts.password or ''))

    def __str__(self) -> str:
        return f'proxy {authority(self.host, self.port)}'


def _no_url(why: str) -> ConnectionClosed:
    return ConnectionClosed(f'not a valid proxy URL: {why}')


class _Refused(OSError):
    """The proxy does not do what it is asked."""


def open_tunnel(
    proxy: Proxy, host: str, port: int, options: Iterable[tuple[Any, ...]], timeout: float | None
) -> PlainSocket:
    """Connect to a host by way of a proxy; waits.

    :param options: ``setsockopt`` arguments for the connection to the proxy.
    :param timeout: in seconds, for each of the steps; None: no bound.
    :raises ConnectionClosed: with the proxy named and the cause chained.
    """
    try:
        if proxy.scheme in _SOCKS:
            return _by_socks(proxy, host, port, options, timeout)
        if proxy.scheme != 'http':
            raise _Refused(
                f'websockets through {proxy.scheme}:// proxies are not supported: '
                'use an http:// or SOCKS proxy'
            )
        sock = dial.open_socket(proxy.host, proxy.port, options, timeout)
        try:
            sock.settimeout(timeout)
            connect(sock, proxy, host, port)
            sock.settimeout(None)
        except BaseException:  # a time-out or a kill, too, leaves no socket open
            sock.close()
            raise
        return sock
    except OSError as exc:
        raise ConnectionClosed(
            f'{authority(host, port)} via {proxy}: {root_cause_text(exc)}'
        ) from exc


def root_cause_text(error: BaseException) -> str:
    """The text of the error that ended the connection through a proxy, which PySocks wraps."""
    while getattr(error, 'socket_err', None) is not None:
        error = error.socket_err  # type: ignore[attr-defined]  # as the line above says
    text = error_text(error)
    # The code of a SOCKS answer: what the proxy says of the server.
    return f'the proxy answered {text!r}' if text.startswith('0x') else text


def connect(sock: PlainSocket, proxy: Proxy, host: str, port: int) -> None:
    """Have an HTTP proxy connect its end of this socket to a host (RFC 9110, section 9.3.6).

    :raises OSError: it does not.
    """
    target = authority(host, port)
    lines = [f'CONNECT {target} HTTP/1.1', f'Host: {target}']
    if proxy.user is not None:
        token = base64.b64encode(f'{proxy.user}:{proxy.password}'.encode()).decode()
        lines.append(f'Proxy-Authorization: Basic {token}')
    sock.sendall('\r\n'.join([*lines, '', '']).encode('latin-1'))
    # Read the header of the proxy's response only. The bytes that follow come from the server,
    # and the proxy may send the first of them in the same segment.
    head = bytearray()
    while not head.endswith(b'\r\n\r\n'):
        if len(head) > _MAX_ANSWER:
            raise _Refused(f'the proxy sent a response header larger than {_MAX_ANSWER} bytes')
        peeked = sock.recv(4096, socket.MSG_PEEK)
        if not peeked:
            raise _Refused('the proxy closed the connection')
        end = (bytes(head[-3:]) + peeked).find(b'\r\n\r\n')
        overlap = min(len(head), 3)
        head += sock.recv(len(peeked) if end < 0 else end + 4 - overlap)
    version, _, status = head.partition(b'\r\n')[0].decode('latin-1').partition(' ')
    if not version.startswith('HTTP/') or not status.startswith('2'):
        raise _Refused(f'the proxy answered CONNECT with {(status or version)[:100]!r}')


def _by_socks(
    proxy: Proxy, host: str, port: int, options: Iterable[tuple[Any, ...]], timeout: float | None
) -> PlainSocket:
    """By PySocks, as requests does it for polling."""
    try:
        import socks
    except ImportError:
        raise _Refused('PySocks is not installed: pip install "engineio-gevent[socks]"') from None
    warn_if_unpatched('a websocket through a SOCKS proxy')
    kind = socks.SOCKS4 if proxy.scheme.startswith('socks4') else socks.SOCKS5
    sock = socks.create_connection(
        (host, port),
        timeout,
        proxy_type=kind,
        proxy_addr=proxy.host,
        proxy_port=proxy.port,
        proxy_rdns=proxy.scheme in ('socks4a', 'socks5h'),
        proxy_username=proxy.user,
        proxy_password=proxy.password,
        socket_options=[*dial.DEFAULT_OPTIONS, *options],
    )
    return PlainSocket(sock.family, sock.type, sock.proto, sock.detach())


def authority(host: str, port: int) -> str:
    return f'[{host}]:{port}' if ':' in host else f'{host}:{port}'
