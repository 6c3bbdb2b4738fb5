"""Every kind of proxy from a program that is not monkey-patched: polling, websocket, upgrade."""

import contextlib

import gevent
import pytest
from gevent import socket

import support

MESSAGES = ['one', 'two', 'ü' * 5000]
KINDS = {
    'http': ('http_proxy', 'http'),
    'http-guarded': ('guarded_http_proxy', 'http'),
    'https': ('https_proxy', 'https'),
    'https-guarded': ('guarded_https_proxy', 'https'),
    'socks5': ('socks_proxy', 'socks5'),
    'socks5h': ('socks_proxy', 'socks5h'),
    'socks5h-guarded': ('guarded_socks_proxy', 'socks5h'),
    'socks4': ('socks4_proxy', 'socks4'),
    'socks4a': ('socks4_proxy', 'socks4a'),
}


class Socks4:
    """A SOCKS 4 and 4a proxy in this thread; `trips()` as those of `Proxy`."""

    user, password = 'identity', ''

    def __init__(self):
        self._trips = []
        self._server = support.HostileServer(self._handle)
        self.port = self._server.port
        self.stop = self._server.stop

    def url_for(self, user, password='', scheme='socks4'):
        return f'{scheme}://{self.user}@127.0.0.1:{self.port}'

    def trips(self):
        trips, self._trips = self._trips, []
        return trips

    def _handle(self, sock):
        version, command = support.read_exactly(sock, 2)
        assert (version, command) == (4, 1)
        port = int.from_bytes(support.read_exactly(sock, 2), 'big')
        address = support.read_exactly(sock, 4)
        assert self._text(sock) == self.user
        host = self._text(sock) if address[:3] == bytes(3) else socket.inet_ntoa(address)
        self._trips.append(f'{host}:{port}')
        with socket.create_connection((host, port)) as there:
            sock.sendall(b'\0\x5a' + bytes(6))
            back = gevent.spawn(self._pump, there, sock)
            self._pump(sock, there)
            back.join()

    @staticmethod
    def _text(sock):
        text = b''
        while (byte := support.read_exactly(sock, 1)) != b'\0':
            text += byte
        return text.decode()

    @staticmethod
    def _pump(source, target):
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                target.sendall(data)
            target.shutdown(socket.SHUT_WR)


@pytest.fixture
def socks4_proxy():
    proxy = Socks4()
    yield proxy
    proxy.stop()


@pytest.fixture(params=list(KINDS))
def kind(request):
    return request.param


@pytest.fixture
def proxy(request, kind):
    return request.getfixturevalue(KINDS[kind][0])


@pytest.fixture
def url(proxy, kind):
    """Its URL, with the credentials that it wants."""
    return proxy.url_for(proxy.user, proxy.password, scheme=KINDS[kind][1])


def test_there_and_back(unpatched, proxy, kind, url, origin, env, way):
    """All of it goes through the proxy, which alone learns the credentials."""
    env['all_proxy'] = url
    outcome = unpatched(origin.url, env=env, way=way, send=MESSAGES)
    assert (outcome.errors, outcome.echoes) == ([], MESSAGES)
    assert outcome.transport == ('polling' if way == 'polling' else 'websocket')
    assert set(outcome.peers) == {proxy.port}
    assert proxy.trips()
    for request in origin.requests(outcome.sid):
        assert not {'proxy-authorization', 'authorization'} & set(request['headers'])
    if proxy.password:
        assert not any(proxy.password in line for line in outcome.log)


def test_no_proxy(unpatched, proxy, kind, url, origin, env, way):
    outcome = unpatched(
        origin.url,
        env={**env, 'all_proxy': url, 'no_proxy': '127.0.0.1'},
        way=way,
        send=MESSAGES,
    )
    assert (outcome.errors, outcome.echoes) == ([], MESSAGES)
    assert set(outcome.peers) == {origin.port}
    assert proxy.trips() == []


@pytest.mark.parametrize(
    'kind', [name for name in KINDS if name.endswith('-guarded')], indirect=True
)
@pytest.mark.parametrize('transport', ['polling', 'websocket'])
def test_wrong_credentials(unpatched, proxy, kind, origin, env, transport):
    env['all_proxy'] = proxy.url_for('somebody', 'wrong-secret', scheme=KINDS[kind][1])
    outcome = unpatched(origin.url, env=env, transports=[transport])
    assert f'via proxy {proxy.netloc}' in outcome.text
    assert not any('wrong-secret' in text for _, text in outcome.errors)
    assert not any('wrong-secret' in line for line in outcome.log)
