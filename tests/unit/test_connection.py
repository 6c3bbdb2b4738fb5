"""Connections to a server: by which proxy, with which TLS, and what an error says."""

from __future__ import annotations

import errno
import os
import ssl

import gevent
import pytest
from gevent import socket

from engineio_gevent.exceptions import ConnectionClosed
from engineio_gevent.net.dial import Dialer
from engineio_gevent.net.errors import OutOfResources
from engineio_gevent.net.tls_over_tls import TLSOverTLS
from engineio_gevent.net.tunnel import SOCKS, Proxy
from engineio_gevent.transports import redirects
from engineio_gevent.transports.connection import forwards, open_connection
from engineio_gevent.transports.route import Route
from support import HostileServer, free_port, no_leaks, read_request, read_to_end, settle

pytestmark = pytest.mark.time_limit(5)  # most of them take a hundredth of a second


@pytest.fixture(autouse=True)
def environment(monkeypatch, certificates, tmp_path):
    monkeypatch.setenv('REQUESTS_CA_BUNDLE', certificates.ca)
    monkeypatch.setenv('NETRC', str(tmp_path / 'netrc'))


def connect(url, proxy=None, timeout=5, route_options=None, **options):
    route = Route(url, **(route_options or {}))
    return open_connection(route, redirects.home(route, '/'), proxy, timeout, **options)


def echo(sock):
    while data := sock.recv(100):
        sock.sendall(data)


@pytest.mark.parametrize('scheme', ['http', 'https', *SOCKS])
def test_which_proxies_get_the_requests_themselves(scheme):
    proxy = Proxy(scheme, 'p.test', 1)
    plain, secure = (redirects.home(Route(f'{name}://x'), '/') for name in ('http', 'https'))
    assert forwards(proxy, plain) == (scheme not in SOCKS)
    assert not forwards(proxy, secure)
    assert not forwards(None, plain)


def test_without_a_proxy():
    with no_leaks(), HostileServer(echo) as server:
        option = (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 0)
        with connect(server.url, sockopt=[option]) as sock:
            assert sock.getsockopt(*option[:2]) == 0
            sock.sendall(b'hello')
            assert sock.recv(100) == b'hello'
        server.wait_open(0)


def test_with_tls(certificates):
    with no_leaks(), HostileServer(echo, ssl_context=certificates.server_context()) as server:
        with connect(server.url) as sock:
            sock.sendall(b'hello')
            assert sock.recv(100) == b'hello'
        server.wait_open(0)


def test_sslopt(certificates):
    """The name that the certificate must have, and the authorities."""
    context = certificates.server_context('other.test')
    with no_leaks(), HostileServer(echo, ssl_context=context) as server:
        with connect(server.url, sslopt={'server_hostname': 'other.test'}) as sock:
            sock.sendall(b'hello')
            assert sock.recv(100) == b'hello'
        server.wait_open(0)


def test_the_time_of_the_tls_handshake_with_sslopt():
    """The timeout of websocket-client is for each step."""
    with no_leaks(), HostileServer(read_to_end) as server:
        url = server.url.replace('http:', 'https:')
        with pytest.raises(ConnectionClosed, match='timed out'):
            connect(url, timeout=0.1, sslopt={})
        server.wait_open(0)


def test_no_timeout_is_left_behind_without_sslopt(certificates):
    with no_leaks(), HostileServer(echo, ssl_context=certificates.server_context()) as server:
        with connect(server.url) as sock:
            assert sock.gettimeout() is None
            sock.sendall(b'hello')
            assert sock.recv(100) == b'hello'
        server.wait_open(0)


class ProxyServer:
    """Answers CONNECT, and then is the server."""

    def __init__(self, certificates=None, then=echo):
        self.targets = []
        self.then = then
        context = certificates and certificates.server_context()
        self.server = HostileServer(self.handle, ssl_context=context)
        self.proxy = Proxy('https' if certificates else 'http', '127.0.0.1', self.server.port)

    def handle(self, sock):
        self.targets.append(read_request(sock).target)
        sock.sendall(b'HTTP/1.1 200 OK\r\n\r\n')
        self.then(sock)


@pytest.mark.parametrize('with_tls', [False, True], ids=['http', 'https'])
def test_a_tunnel(certificates, with_tls):
    with no_leaks():
        one = ProxyServer(certificates if with_tls else None)
        with connect('http://server.test', one.proxy) as sock:
            sock.sendall(b'hello')
            assert sock.recv(100) == b'hello'
        one.server.wait_open(0)
        one.server.stop()
    assert one.targets == ['server.test:80']


def test_no_tunnel_for_requests_that_the_proxy_gets():
    with no_leaks(), HostileServer(echo) as server:
        proxy = Proxy('http', '127.0.0.1', server.port)
        option = (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 0)
        with connect('http://server.test', proxy, tunnel=False, sockopt=[option]) as sock:
            assert sock.getsockopt(*option[:2]) == 0
            sock.sendall(b'hello')
            assert sock.recv(100) == b'hello'
        server.wait_open(0)


def test_tls_to_a_proxy_that_gets_the_requests(certificates):
    with no_leaks(), HostileServer(echo, ssl_context=certificates.server_context()) as server:
        proxy = Proxy('https', '127.0.0.1', server.port)
        with connect('http://server.test', proxy, tunnel=False) as sock:
            sock.sendall(b'hello')
            assert sock.recv(100) == b'hello'
        server.wait_open(0)


def test_a_tunnel_for_tls_in_any_case(certificates):
    """The proxy never has the requests of a server with TLS."""

    def serve(sock):
        with certificates.server_context().wrap_socket(sock, server_side=True) as inner:
            echo(inner)

    with no_leaks():
        one = ProxyServer(then=serve)
        with connect('https://localhost', one.proxy, tunnel=False) as sock:
            sock.sendall(b'hello')
            assert sock.recv(100) == b'hello'
        one.server.wait_open(0)
        one.server.stop()
    assert one.targets == ['localhost:443']


def test_a_client_certificate_is_not_for_the_proxy(certificates):
    route = Route('https://localhost', cert=certificates.client_pem)
    assert route.proxy_tls_context() is not route.tls_context()
    assert route.proxy_tls_context() is Route('https://localhost').tls_context()


@pytest.mark.parametrize(
    ('url', 'place'),
    [('http://127.0.0.1:{}', '127.0.0.1:{}'), ('http://[::1]:{}', '[::1]:{}')],
)
def test_a_server_that_is_not_there(url, place):
    port = free_port()
    with no_leaks(), pytest.raises(ConnectionClosed) as caught:
        connect(url.format(port))
    assert str(caught.value).startswith(f'{place.format(port)}: ')
    assert isinstance(caught.value.__cause__, OSError)
    assert type(caught.value) is ConnectionClosed


@pytest.mark.parametrize('proxy', [None, Proxy('http', 'p.test', 1)])
@pytest.mark.parametrize('tunnel', [False, True])
def test_a_machine_without_descriptors(proxy, tunnel):
    def fail(host, port):
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    with pytest.raises(OutOfResources) as caught:
        connect('http://server.test', proxy, tunnel=tunnel, route_options={'dialer': Dialer(fail)})
    by = '' if proxy is None else ' via proxy p.test:1'
    assert str(caught.value) == f'server.test:80{by}: Too many open files'


def test_a_certificate_of_another_host(certificates, hub_errors):
    context = certificates.server_context('other.test')
    with no_leaks(), HostileServer(echo, ssl_context=context) as server:
        with pytest.raises(ConnectionClosed, match=r'^127\.0\.0\.1:\d+: .*verify failed'):
            connect(server.url)
        server.wait_open(0)
        settle()
    hub_errors.clear()  # the server hears of it


def test_authorities_that_are_not_there(certificates, monkeypatch, tmp_path):
    """The socket is closed."""
    monkeypatch.setenv('REQUESTS_CA_BUNDLE', str(tmp_path / 'none.pem'))
    with no_leaks(), HostileServer(read_to_end) as server:
        with pytest.raises(ConnectionClosed, match='No such file'):
            connect(server.url.replace('http', 'https'))
        server.wait_open(0)


def test_who_is_killed_in_the_handshake():
    with no_leaks(), HostileServer(read_to_end) as server:
        connecting = gevent.spawn(connect, server.url.replace('http', 'https'), timeout=None)
        server.wait_open(1)
        settle()
        connecting.kill()
        server.wait_open(0)


def test_the_time_for_a_step():
    with no_leaks(), HostileServer(read_to_end) as server:
        proxy = Proxy('http', '127.0.0.1', server.port)
        with pytest.raises(ConnectionClosed, match='timed out'):
            connect('http://server.test', proxy, timeout=0.01)
        server.wait_open(0)


def test_tls_in_tls(certificates):
    def serve(sock):
        # The inner TLS of the server, by hand.
        received, sent = ssl.MemoryBIO(), ssl.MemoryBIO()
        inner = certificates.server_context().wrap_bio(received, sent, server_side=True)
        while True:
            try:
                data = inner.read(100)
            except ssl.SSLWantReadError:
                pass
            else:
                inner.write(data)
            if out := sent.read():
                sock.sendall(out)
            data = sock.recv(65536)
            if not data:
                return
            received.write(data)

    with no_leaks():
        one = ProxyServer(certificates, then=serve)
        sock = connect('https://localhost', one.proxy)
        assert type(sock) is TLSOverTLS
        sock.sendall(b'hello')
        assert sock.recv(100) == b'hello'
        sock.close()
        one.server.wait_open(0)
        one.server.stop()
