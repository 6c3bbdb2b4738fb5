"""A way through a proxy by CONNECT, byte by byte; SOCKS as far as no proxy is needed for it."""

from __future__ import annotations

import base64
import sys

import gevent
import pytest
from gevent import socket

from engineio_gevent.exceptions import ConnectionClosed
from engineio_gevent.net import tunnel, unpatched
from engineio_gevent.net.tunnel import Proxy, authority, open_tunnel, root_cause_text
from support import HostileServer, no_leaks, read_request, settle

pytestmark = pytest.mark.time_limit(5)  # most of them take a hundredth of a second

DONE = b'HTTP/1.1 200 Connection established\r\n\r\n'


class ProxyServer:
    """An HTTP proxy that answers each CONNECT with these pieces, one segment each."""

    def __init__(self, *pieces, then=None):
        self.pieces = pieces
        self.then = then
        self.requests = []
        self.server = HostileServer(self.handle)

    def handle(self, sock):
        self.requests.append(read_request(sock))
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for piece in self.pieces:
            sock.sendall(piece)
            settle()  # it has been read
        if self.then is not None:
            self.then(sock)

    def open(self, user=None, password='', timeout=5, host='server.test', port=443, options=()):
        proxy = Proxy('http', '127.0.0.1', self.server.port, user, password)
        return open_tunnel(proxy, host, port, options, timeout)

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


# -- Other proxies ---------------------------------------------------------------------------------


def test_a_proxy_with_tls():
    with pytest.raises(ConnectionClosed) as caught:
        open_tunnel(Proxy('https', 'p.test', 443), 'server.test', 80, (), 5)
    assert str(caught.value) == (
        'server.test:80 via proxy p.test:443: websockets through https:// proxies are not '
        'supported: use an http:// or SOCKS proxy'
    )


@pytest.mark.parametrize('scheme', ['socks4', 'socks4a', 'socks5', 'socks5h'])
def test_socks_without_pysocks(monkeypatch, scheme):
    monkeypatch.setitem(sys.modules, 'socks', None)
    with pytest.raises(ConnectionClosed) as caught:
        open_tunnel(Proxy(scheme, 'p.test', 1), 'server.test', 80, (), 5)
    assert str(caught.value) == (
        'server.test:80 via proxy p.test:1: PySocks is not installed: '
        'pip install "engineio-gevent[socks]"'
    )


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


class FakeSocks:
    """Stands for PySocks: keeps what it is asked for."""

    SOCKS4, SOCKS5 = 'four', 'five'

    def __init__(self, port):
        self.port = port
        self.asked = []

    def create_connection(self, address, timeout, **settings):
        self.asked.append((address, timeout, settings))
        return socket.create_connection(('127.0.0.1', self.port))


@pytest.mark.parametrize(
    ('scheme', 'kind', 'by_proxy'),
    [
        ('socks4', 'four', False),
        ('socks4a', 'four', True),
        ('socks5', 'five', False),
        ('socks5h', 'five', True),
    ],
)
def test_what_pysocks_is_asked_for(monkeypatch, proxy, scheme, kind, by_proxy):
    monkeypatch.setattr(unpatched, '_warned', False)
    one = proxy()
    one.server.handler = echo
    fake = FakeSocks(one.server.port)
    monkeypatch.setitem(sys.modules, 'socks', fake)
    option = (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 0)
    asked = Proxy(scheme, 'p.test', 9, 'user', 'secret')
    with pytest.warns(RuntimeWarning, match='^a websocket through a SOCKS proxy blocks'):
        sock = open_tunnel(asked, 'server.test', 80, [option], 5)
    with sock:
        sock.sendall(b'hello')
        assert sock.recv(100) == b'hello'
    [(address, timeout, settings)] = fake.asked
    assert (address, timeout) == (('server.test', 80), 5)
    assert settings == {
        'proxy_type': kind,
        'proxy_addr': 'p.test',
        'proxy_port': 9,
        'proxy_rdns': by_proxy,
        'proxy_username': 'user',
        'proxy_password': 'secret',
        'socket_options': [*tunnel.dial.DEFAULT_OPTIONS, option],
    }
