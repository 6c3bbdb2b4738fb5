"""Proxies of `websocket_extra_options`, with real ones, in a program that is not patched."""

import gevent
import pytest

import engineio_gevent
from engineio_gevent.exceptions import ConnectionError


@pytest.fixture
def connect():
    """`connect(url, proxy, transports, **options)`: a client whose websocket has that proxy."""
    clients = []

    def go(url, proxy, transports=('websocket',), client=(), **options):
        auth = None if proxy.user is None else (proxy.user, proxy.password)
        one = engineio_gevent.Client(
            websocket_extra_options={
                'http_proxy_host': '127.0.0.1',
                'http_proxy_port': proxy.port,
                'http_proxy_auth': auth,
                'proxy_type': proxy.scheme,
                **options,
            },
            handle_sigint=False,
            **dict(client),
        )
        clients.append(one)
        inbox = one.create_queue()
        one.on('message', inbox.put)
        one.connect(url, transports=transports)
        assert one.transport() == 'websocket'
        one.send('hello')
        assert inbox.get(timeout=10) == 'hello'
        return one

    yield go
    for one in clients:
        one.disconnect(abort=True)


@pytest.fixture(params=['http_proxy', 'guarded_http_proxy', 'socks_proxy', 'guarded_socks_proxy'])
def proxy(request):
    return request.getfixturevalue(request.param)


@pytest.mark.parametrize('transports', [('websocket',), None])
def test_the_websocket_alone_goes_through(connect, proxy, js_server, transports):
    connect(js_server.url, proxy, transports)
    assert len(proxy.trips()) == 1


def test_tls(connect, proxy, tls_server, certificates):
    connect(tls_server.url, proxy, sslopt={'ca_certs': certificates.ca})
    assert len(proxy.trips()) == 1


def test_socks5h(connect, guarded_socks_proxy, js_server):
    """The proxy looks the name up."""
    url = js_server.url.replace('127.0.0.1', 'localhost')
    connect(url, guarded_socks_proxy, proxy_type='socks5h')
    (trip,) = guarded_socks_proxy.trips()
    assert 'localhost' in trip


def test_wrong_credentials(connect, guarded_http_proxy, js_server):
    with pytest.raises(ConnectionError, match=r'407|401'):
        connect(js_server.url, guarded_http_proxy, http_proxy_auth=('someone', 'wrong'))


def test_http_no_proxy(connect, proxy, js_server):
    connect(js_server.url, proxy, http_no_proxy=['127.0.0.1'])
    gevent.sleep(0.05)
    assert proxy.trips() == []
