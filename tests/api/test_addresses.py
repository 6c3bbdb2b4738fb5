"""A host name whose first address is dead: what each connection does, and what it remembers."""

import contextlib

import gevent
import pytest
from gevent import socket

import support
from engineio_gevent.net import dial, race, resolve
from engineio_gevent.net.plain import PlainSocket
from engineio_gevent.per_hub import PerHub

NAME = 'two.test'


@pytest.fixture
def attempts(monkeypatch):
    """The addresses to which connections were begun, in order."""
    begun = []
    begin = PlainSocket.begin_to_connect

    def begin_to_connect(self, address):
        begun.append(address[0])
        return begin(self, address)

    monkeypatch.setattr(PlainSocket, 'begin_to_connect', begin_to_connect)
    return begun


@pytest.fixture
def two_addresses(monkeypatch):
    """The resolver finds a dead address first, and then the server's."""
    known = socket.getaddrinfo

    def getaddrinfo(host, port, *rest):
        if host != NAME:
            return known(host, port, *rest)
        return [
            (socket.AF_INET, socket.SOCK_STREAM, 6, '', (address, port))
            for address in ('127.0.0.2', '127.0.0.1')
        ]

    monkeypatch.setattr(resolve.socket, 'getaddrinfo', getaddrinfo)
    monkeypatch.setattr(resolve, '_cache', {})
    monkeypatch.setattr(resolve, '_lookups', PerHub(resolve._Lookups))
    monkeypatch.setattr(dial, '_answered_first', {})


@pytest.fixture(params=['swallows', 'refuses'])
def dead(request, js_server):
    """The first address does this."""
    with contextlib.ExitStack() as stack:
        if request.param == 'swallows':
            stack.enter_context(support.swallowing('127.0.0.2', js_server.port))
        yield request.param


def test_every_connection(two_addresses, dead, attempts, js_server, make_client, way, monkeypatch):
    """The first of all tries the dead address; the POST, the upgrade and the next client do not."""
    if dead == 'refuses':
        monkeypatch.setattr(race, 'ATTEMPT_DELAY', 1000)  # it is not waited for
    url = f'http://{NAME}:{js_server.port}'
    client = make_client(request_timeout=30)
    with gevent.Timeout(support.patience(10)):
        client.connect(url, transports=way)
        assert client.ask('hello') == 'hello'
        assert attempts[:2] == ['127.0.0.2', '127.0.0.1']
        assert set(attempts[2:]) <= {'127.0.0.1'}
        if way != ['websocket']:
            assert attempts[2:]
        before = len(attempts)
        resolve._cache.clear()  # it is remembered though the name is looked up again
        other = make_client(request_timeout=30)
        other.connect(url, transports=way)
        assert other.ask('hello') == 'hello'
        assert set(attempts[before:]) == {'127.0.0.1'}


@pytest.mark.parametrize('transport', ['polling', 'websocket'])
def test_no_address_answers(two_addresses, attempts, make_client, transport):
    """Both are tried, side by side; no descriptor is left."""
    with support.swallowing('127.0.0.2') as full, socket.socket() as other:
        port = full.getsockname()[1]
        other.bind(('127.0.0.1', port))  # it does not listen: nobody else may
        client = make_client(request_timeout=1)
        error = support.outcome(client.connect, f'http://{NAME}:{port}', transports=[transport])
        assert 'request_timeout' in str(error) or 'timed out' in str(error)
        assert attempts == ['127.0.0.2', '127.0.0.1']
