"""A way through a proxy for what is not HTTP: by CONNECT or by SOCKS."""

from __future__ import annotations

import base64
import ssl
from collections.abc import Callable
from typing import Any, NamedTuple
from urllib.parse import unquote, urlsplit

from gevent import socket

from ..exceptions import ConnectionClosed
from . import socks, tls
from .dial import Dialer
from .errors import connection_error, error_text
from .hosts import ascii_host, authority
from .race import SocketOptions

#: The port of a proxy whose URL names none.
PROXY_PORTS = {'http': 80, 'https': 443}
SOCKS_PORT = 1080  # RFC 1928, section 3
#: Bytes of a proxy's answer that are read before it is refused.
_MAX_ANSWER = 1 << 16

#: The schemes of SOCKS proxies.
SOCKS = 'socks4', 'socks4a', 'socks5', 'socks5h'
_SCHEMES = *PROXY_PORTS, *SOCKS


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
            host = ascii_host(parts.hostname) if parts.hostname else ''
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
        if not host:
            raise _no_url('no host')
        if '@' in f'{parts.path}{parts.query}{parts.fragment}':
            raise _no_url('write /, ? and # in a user or a password as %2F, %3F and %23')
        port = port or PROXY_PORTS.get(parts.scheme, SOCKS_PORT)
        user = None if parts.username is None else unquote(parts.username)
        return cls(parts.scheme, host, port, user, unquote(parts.password or ''))

    def authorization(self) -> dict[str, str]:
        """The header with the credentials; empty without any."""
        if self.user is None:
            return {}
        token = base64.b64encode(f'{self.user}:{self.password}'.encode()).decode()
        return {'Proxy-Authorization': f'Basic {token}'}

    def __str__(self) -> str:
        return f'proxy {authority(self.host, self.port)}'


def _no_url(why: str) -> ConnectionClosed:
    return ConnectionClosed(f'not a valid proxy URL: {why}')


class _Refused(OSError):
    """The proxy does not do what it is asked."""


def open_tunnel(
    proxy: Proxy,
    host: str,
    port: int,
    dialer: Dialer,
    timeout: float | None,
    options: SocketOptions = (),
    tls_context: Callable[[], ssl.SSLContext] | None = None,
) -> Any:
    """Connect to a host by way of a proxy; waits.

    :param dialer: opens the connection to the proxy.
    :param timeout: in seconds, for each of the steps; None: no bound.
    :param options: ``setsockopt`` arguments for the connection to the proxy.
    :param tls_context: makes the TLS context for a proxy that speaks TLS.
    :raises ConnectionClosed: with the proxy named and the cause chained.
    """
    try:
        if proxy.scheme in SOCKS:
            socks.require()
        sock = open_to_proxy(proxy, dialer, timeout, options, tls_context)
        try:
            sock.settimeout(timeout)
            if proxy.scheme in SOCKS:
                socks.connect(sock, proxy.scheme, host, port, proxy.user, proxy.password)
            else:
                connect(sock, proxy, host, port)
            sock.settimeout(None)
        except BaseException:  # a time-out or a kill, too, leaves no socket open
            sock.close()
            raise
        return sock
    except OSError as exc:
        kind = connection_error(exc)
        raise kind(f'{authority(host, port)} via {proxy}: {error_text(exc)}') from exc


def open_to_proxy(
    proxy: Proxy,
    dialer: Dialer,
    timeout: float | None,
    options: SocketOptions = (),
    tls_context: Callable[[], ssl.SSLContext] | None = None,
) -> Any:
    """Connect to a proxy, with TLS if it is an ``https`` one; waits.

    :raises OSError: it cannot be reached.
    """
    sock = dialer.open(proxy.host, proxy.port, timeout, options)
    if proxy.scheme != 'https':
        return sock
    assert tls_context is not None
    try:
        sock.settimeout(timeout)
        wrapped = tls.wrap(sock, tls_context(), proxy.host)
        wrapped.settimeout(None)
        return wrapped
    except OSError as exc:
        sock.close()
        raise _Refused(exc.errno, f'TLS to the proxy: {error_text(exc)}') from exc
    except BaseException:  # a time-out or a kill, too, leaves no socket open
        sock.close()
        raise


def root_cause_text(error: BaseException) -> str:
    """The text of the error that ended the connection through a proxy, which PySocks wraps."""
    while getattr(error, 'socket_err', None) is not None:
        error = error.socket_err  # type: ignore[attr-defined]  # as the line above says
    text = error_text(error)
    # The code of a SOCKS answer: what the proxy says of the server.
    return f'the proxy answered {text!r}' if text.startswith('0x') else text


def connect(sock: Any, proxy: Proxy, host: str, port: int) -> None:
    """Have an HTTP proxy connect its end of this socket to a host (RFC 9110, section 9.3.6).

    :raises OSError: it does not.
    """
    target = authority(host, port)
    lines = [f'CONNECT {target} HTTP/1.1', f'Host: {target}']
    lines += [f'{name}: {value}' for name, value in proxy.authorization().items()]
    sock.sendall('\r\n'.join([*lines, '', '']).encode('latin-1'))
    head = _read_head(sock)
    version, _, status = head.partition(b'\r\n')[0].decode('latin-1').partition(' ')
    if not version.startswith('HTTP/') or not status.startswith('2'):
        raise _Refused(f'the proxy answered CONNECT with {(status or version)[:100]!r}')


def _read_head(sock: Any) -> bytes:
    """The header of the proxy's response, and nothing more.

    The bytes that follow come from the server, and the proxy may send the first of them in the
    same segment.
    """
    # TLS cannot be peeked at. It holds a record ready, from which single bytes cost little.
    peeks = not hasattr(sock, 'do_handshake')
    head = bytearray()
    while not head.endswith(b'\r\n\r\n'):
        if len(head) > _MAX_ANSWER:
            raise _Refused(f'the proxy sent a response header larger than {_MAX_ANSWER} bytes')
        size = 1
        if peeks:
            peeked = sock.recv(4096, socket.MSG_PEEK)
            end = (bytes(head[-3:]) + peeked).find(b'\r\n\r\n')
            size = len(peeked) if end < 0 else end + 4 - min(len(head), 3)
        piece = sock.recv(size) if size else b''
        if not piece:
            raise _Refused('the proxy closed the connection')
        head += piece
    return bytes(head)
