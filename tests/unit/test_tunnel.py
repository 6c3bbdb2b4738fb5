"""A way through an HTTP proxy by CONNECT, byte by byte, with and without TLS to the proxy."""

from __future__ import annotations

import base64
import errno
import os
import sys

import certifi
import gevent
import pytest
from gevent import socket

from engineio_gevent.exceptions import ConnectionClosed
from engineio_gevent.net import tls
from engineio_gevent.net.dial import DIRECT, Dialer
from engineio_gevent.net.errors import OutOfResources
from engineio_gevent.net.tunnel import (
    Proxy,
    authority,
    open_to_proxy,
    open_tunnel,
    root_cause_text,
)
from support import HostileServer, no_leaks, read_request, read_to_end, settle

pytestmark = pytest.mark.time_limit(5)  # most of them take a hundredth of a second

DONE = b'HTTP/1.1 200 Connection established\r\n\r\n'


class ProxyServer:
    """An HTTP proxy that answers each CONNECT with these pieces, one segment each."""

    def __init__(self, *pieces, then=None, certificates=None):
        self.pieces = pieces
        self.then = then
        self.requests = []
        self.certificates = certificates
        context = certificates and certificates.server_context()
        self.server = HostileServer(self.handle, ssl_context=context)

    def handle(self, sock):
        self.requests.append(read_request(sock))
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for piece in self.pieces:
            sock.sendall(piece)
            settle()  # it has been read
        if self.then is not None:
            self.then(sock)

    def open(self, user=None, password='', timeout=5, host='server.test', port=443, options=()):
        scheme = 'https' if self.certificates else 'http'
        proxy = Proxy(scheme, '127.0.0.1', self.server.port, user, password)
        return open_tunnel(proxy, host, port, DIRECT, timeout, options, self.tls_context)

    def tls_context(self):
        return tls.context(self.certificates.ca, None, certifi.where)

    @property
    def via(self):
        return f'server.test:443 via proxy 127.0.0.1:{self.server.port}'


@pytest.fixture
def proxy():
    """`proxy(*pieces, then=...)`: a `ProxyServer`."""
    made = []

    def make(*pieces, **settings):
        made.append(ProxyServer(*pieces, **settings))
        return made[-1]

    with no_leaks():
        yield make
        for one in made:
            one.server.stop()


def echo(sock):
    while data := sock.recv(100):
        sock.sendall(data)


# -- The URL of a proxy ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ('url', 'expected'),
    [
        ('http://p.test:3128', Proxy('http', 'p.test', 3128)),
        ('http://p.test', Proxy('http', 'p.test', 80)),
        ('p.test:3128', Proxy('http', 'p.test', 3128)),
        ('p.test', Proxy('http', 'p.test', 80)),
        ('https://p.test', Proxy('https', 'p.test', 443)),
        ('http://[::1]:1', Proxy('http', '::1', 1)),
        ('http://b\xfccher.test:1', Proxy('http', 'xn--bcher-kva.test', 1)),
        ('http://P.test.:1', Proxy('http', 'p.test.', 1)),
        ('http://u%40:p%3A@p.test:65535', Proxy('http', 'p.test', 65535, 'u@', 'p:')),
        ('http://u@p.test:1', Proxy('http', 'p.test', 1, 'u', '')),
        ('socks4://p.test', Proxy('socks4', 'p.test', 1080)),
        ('socks4a://p.test:1', Proxy('socks4a', 'p.test', 1)),
        ('socks5://p.test', Proxy('socks5', 'p.test', 1080)),
        ('socks5h://p.test', Proxy('socks5h', 'p.test', 1080)),
    ],
)
def test_the_url_of_a_proxy(url, expected):
    assert Proxy.parse(url) == expected


_QUOTE = 'write /, ? and # in a user or a password as %2F, %3F and %23'


@pytest.mark.parametrize(
    ('url', 'why'),
    [
        ('http://[p:secret@x', 'invalid host'),
        (
            'ftp://u:secret@p.test',
            'the scheme must be one of http, https, socks4, socks4a, socks5, socks5h',
        ),
        ('http://u:secret@p.test:0', 'the port must be a number from 1 to 65535'),
        ('http://u:secret@p.test:65536', 'the port must be a number from 1 to 65535'),
        ('http://u:secret@p.test:x', 'the port must be a number from 1 to 65535'),
        ('http://u:secret@', 'no host'),
        ('http://u:12/secret@p.test', _QUOTE),
        ('http://u:12?secret@p.test', _QUOTE),
        ('http://u:12#secret@p.test', _QUOTE),
        ('http://u:secret/secret@p.test', 'the port must be a number from 1 to 65535'),
        ('http://u:secret@a\xa8b.test', 'invalid host'),
        ('http://u:secret@a..b', 'invalid host'),
    ],
)
def test_an_invalid_url_of_a_proxy(url, why):
    """The error contains nothing of the URL, which may have a password in it."""
    with pytest.raises(ConnectionClosed) as caught:
        Proxy.parse(url)
    assert str(caught.value) == f'not a valid proxy URL: {why}'
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__ or caught.value.__context__ is None


def test_a_proxy_is_named_without_credentials():
    assert str(Proxy('http', 'p.test', 3128, 'user', 'secret')) == 'proxy p.test:3128'
    assert str(Proxy('http', '::1', 3128)) == 'proxy [::1]:3128'


def test_an_authority():
    assert authority('a.test', 80) == 'a.test:80'
    assert authority('::1', 80) == '[::1]:80'


# -- CONNECT ---------------------------------------------------------------------------------------


def test_a_tunnel(proxy):
    one = proxy(DONE, then=echo)
    with one.open() as sock:
        sock.sendall(b'hello')
        assert sock.recv(100) == b'hello'
        assert sock.gettimeout() is None
    [request] = one.requests
    assert (request.method, request.target) == ('CONNECT', 'server.test:443')
    assert request.headers['host'] == 'server.test:443'
    assert 'proxy-authorization' not in request.headers


def test_a_tunnel_to_an_address_of_ipv6(proxy):
    one = proxy(DONE)
    one.open(host='::1', port=80).close()
    assert one.requests[0].target == '[::1]:80'


def test_credentials(proxy):
    one = proxy(DONE)
    one.open('user', 'p:ä').close()
    token = base64.b64encode('user:p:ä'.encode()).decode()
    assert one.requests[0].headers['proxy-authorization'] == f'Basic {token}'


def test_options_of_the_socket(proxy):
    option = (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 0)
    with proxy(DONE).open(options=[option]) as sock:
        assert sock.getsockopt(*option[:2]) == 0


@pytest.mark.parametrize('size', range(1, len(DONE)))
def test_an_answer_in_two_pieces(proxy, size):
    """What follows the answer, in the same segment too, is the server's."""
    with proxy(DONE[:size], DONE[size:] + b'\r\n\r\nfirst').open() as sock:
        received = b''
        while len(received) < 9:
            received += sock.recv(100)
        assert received == b'\r\n\r\nfirst'


def test_an_answer_byte_by_byte(proxy):
    with proxy(*(bytes([one]) for one in DONE + b'first'), then=echo).open() as sock:
        received = b''
        while len(received) < 5:
            received += sock.recv(100)
        assert received == b'first'


@pytest.mark.parametrize(
    ('answer', 'why'),
    [
        (b'HTTP/1.1 407 Proxy Authentication Required\r\n\r\n', "'407 Proxy Authentication Req"),
        (b'HTTP/1.0 502 Bad\r\nX: y\r\n\r\n', "'502 Bad'"),
        (b'HTTP/1.1 100 Continue\r\n\r\n', "'100 Continue'"),
        (b'SSH-2.0-server\r\n\r\n', "'SSH-2.0-server'"),
        (b'ICY 200 OK\r\n\r\n', "'200 OK'"),
        (b'HTTP/1.1 4' + b'x' * 200 + b'\r\n\r\n', repr('4' + 'x' * 99)),
    ],
)
def test_an_answer_that_refuses(proxy, answer, why):
    one = proxy(answer, then=echo)
    with pytest.raises(ConnectionClosed) as caught:
        one.open()
    text = f'{one.via}: the proxy answered CONNECT with {why}'
    assert str(caught.value)[: len(text)] == text
    assert isinstance(caught.value.__cause__, OSError)


def test_a_proxy_that_closes(proxy):
    one = proxy(DONE[:-1])
    with pytest.raises(ConnectionClosed) as caught:
        one.open()
    assert str(caught.value) == f'{one.via}: the proxy closed the connection'


def test_the_largest_answer(proxy):
    head = b'HTTP/1.1 200 ' + bytes(65536 - 13)
    proxy(head, then=lambda sock: sock.sendall(b'\r\n\r\n')).open().close()


def test_an_answer_that_is_too_large(proxy):
    head = b'HTTP/1.1 200 ' + bytes(65537 - 13)
    with pytest.raises(ConnectionClosed, match=r'response header larger than 65536 bytes$'):
        proxy(head, then=echo).open()


def test_a_proxy_that_says_nothing(proxy):
    one = proxy(then=lambda sock: sock.recv(1))
    with pytest.raises(ConnectionClosed) as caught:
        one.open(timeout=0.01)
    assert str(caught.value) == f'{one.via}: timed out'


def test_a_caller_that_is_killed_while_it_waits_for_the_proxy(proxy):
    """The socket is closed."""
    one = proxy(then=lambda sock: closed.append(sock.recv(1)))
    closed = []
    opening = gevent.spawn(one.open, timeout=None)
    one.server.wait_open(1)
    opening.kill()
    one.server.wait_open(0)
    assert closed == [b'']


def test_a_proxy_that_does_not_listen(proxy):
    one = proxy()
    one.server.stop()
    with pytest.raises(ConnectionClosed) as caught:
        one.open()
    assert str(caught.value) == f'{one.via}: Connection refused'


def test_a_machine_without_descriptors():
    """Nothing was sent: polling may try again."""

    def connect(host, port):
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    with pytest.raises(OutOfResources) as caught:
        open_tunnel(Proxy('http', 'p.test', 1), 'server.test', 80, Dialer(connect), 5)
    assert str(caught.value) == 'server.test:80 via proxy p.test:1: Too many open files'


# -- A proxy with TLS ------------------------------------------------------------------------------


@pytest.fixture
def tls_proxy(proxy, certificates):
    return lambda *pieces, **settings: proxy(*pieces, certificates=certificates, **settings)


@pytest.mark.parametrize('pieces', [(DONE + b'first',), (DONE[:7], DONE[7:] + b'first')])
def test_a_tunnel_over_tls(tls_proxy, pieces):
    one = tls_proxy(*pieces, then=echo)
    with one.open('user', 'secret') as sock:
        received = b''
        while len(received) < 5:
            received += sock.recv(100)
        assert received == b'first'
        sock.sendall(b'hello')
        assert sock.recv(100) == b'hello'
        assert sock.gettimeout() is None
    assert 'proxy-authorization' in one.requests[0].headers


def test_a_proxy_with_tls_that_is_not_trusted(tls_proxy, hub_errors):
    one = tls_proxy(DONE)
    one.tls_context = lambda: tls.context(True, None, certifi.where)
    with pytest.raises(ConnectionClosed, match=r'^server.test:443 via proxy .*verify failed'):
        one.open()
    assert one.requests == []
    settle()
    hub_errors.clear()  # the server hears of it


def test_a_proxy_with_tls_that_closes(tls_proxy):
    one = tls_proxy(DONE[:-1])
    with pytest.raises(ConnectionClosed, match='the proxy closed the connection'):
        one.open()


def test_a_proxy_with_tls_that_says_nothing(tls_proxy):
    one = tls_proxy(then=lambda sock: sock.recv(1))
    with pytest.raises(ConnectionClosed, match=r'timed out$'):
        one.open(timeout=0.05)


def test_a_tunnel_by_socks():
    asked = []

    def serve(sock):
        asked.append(sock.recv(100))
        sock.sendall(b'\x00\x5a' + bytes(6))  # granted
        echo(sock)

    with no_leaks(), HostileServer(serve) as server:
        proxy = Proxy('socks4', '127.0.0.1', server.port)
        with open_tunnel(proxy, '192.0.2.1', 80, DIRECT, 5) as sock:
            sock.sendall(b'hello')
            assert sock.recv(100) == b'hello'
        server.wait_open(0)
    assert asked == [b'\x04\x01\x00\x50\xc0\x00\x02\x01\x00']


def test_only_socks_needs_socksio(proxy, monkeypatch):
    monkeypatch.setitem(sys.modules, 'socksio', None)
    one = proxy(DONE)
    one.open().close()
    with HostileServer(read_to_end) as server:
        for scheme in ('socks4', 'socks4a', 'socks5', 'socks5h'):
            with pytest.raises(ConnectionClosed, match=r'engineio-gevent\[socks\]'):
                open_tunnel(Proxy(scheme, '127.0.0.1', server.port), 'a.test', 80, DIRECT, 5)
        assert server.accepted == 0


def test_a_proxy_that_does_not_shake_hands():
    with no_leaks(), HostileServer(read_to_end) as server:
        proxy = Proxy('https', '127.0.0.1', server.port)
        context = tls.context(False, None, certifi.where)
        with pytest.raises(OSError, match=r'TLS to the proxy: .*timed out'):
            open_to_proxy(proxy, DIRECT, 0.05, (), lambda: context)
        server.wait_open(0)


def test_no_timeout_is_left_behind_by_the_handshake_with_the_proxy(certificates):
    context = tls.context(certificates.ca, None, certifi.where)
    with no_leaks(), HostileServer(echo, ssl_context=certificates.server_context()) as server:
        proxy = Proxy('https', '127.0.0.1', server.port)
        with open_to_proxy(proxy, DIRECT, 5, (), lambda: context) as sock:
            assert sock.gettimeout() is None
            sock.sendall(b'hello')
            assert sock.recv(100) == b'hello'
        server.wait_open(0)


def test_who_is_killed_in_the_handshake_with_the_proxy(certificates):
    """The socket is closed."""
    closed = []
    with no_leaks(), HostileServer(lambda sock: closed.append(read_to_end(sock)[:1])) as server:
        proxy = Proxy('https', '127.0.0.1', server.port)
        context = tls.context(certificates.ca, None, certifi.where)
        opening = gevent.spawn(open_to_proxy, proxy, DIRECT, None, (), lambda: context)
        server.wait_open(1)
        settle()
        opening.kill()
        server.wait_open(0)
    assert closed == [b'\x16']


@pytest.mark.parametrize('error', [OSError(2, 'no such bundle'), ValueError('no such bundle')])
def test_an_invalid_bundle_for_the_proxy(error):
    """The socket is closed."""

    def broken():
        raise error

    with no_leaks(), HostileServer(read_to_end) as server:
        proxy = Proxy('https', '127.0.0.1', server.port)
        kind = OSError if isinstance(error, OSError) else ValueError
        with pytest.raises(kind, match='no such bundle'):
            open_to_proxy(proxy, DIRECT, None, (), broken)
        server.wait_open(0)


def test_to_a_proxy_without_tls(proxy):
    one = proxy()
    option = (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 0)
    target = Proxy('http', '127.0.0.1', one.server.port)
    with open_to_proxy(target, DIRECT, 5, [option]) as sock:
        assert sock.getpeername()[1] == one.server.port
        assert sock.getsockopt(*option[:2]) == 0


def test_the_root_cause():
    class Wrapped(OSError):
        socket_err = OSError(111, 'refused')

    class Twice(OSError):
        socket_err = Wrapped()

    assert root_cause_text(OSError(5, 'broken')) == 'broken'
    assert root_cause_text(Wrapped()) == root_cause_text(Twice()) == 'refused'
    assert root_cause_text(OSError('0x05: Connection refused')) == (
        "the proxy answered '0x05: Connection refused'"
    )
