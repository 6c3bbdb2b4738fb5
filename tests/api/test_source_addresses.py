"""From which address of this machine a client connects, as the server sees it."""

import errno
import itertools
import os

import pytest
import requests
from gevent import socket

import support
from engineio_gevent.exceptions import ConnectionError
from engineio_gevent.net import race

# All of 127.0.0.0/8 is this machine on Linux.
pytestmark = pytest.mark.skipif(not os.path.exists('/proc/net'), reason='Linux only')

_numbers = itertools.count(10)


@pytest.fixture
def addresses():
    """Three addresses that no other test uses: turns are counted for each list."""
    number = next(_numbers)
    return [f'127.0.{number}.{last}' for last in (2, 3, 4)]


def peers(server, client):
    """From where the requests of a client came."""
    return [request['peer'] for request in server.requests(client.sid)]


def connect(client, server, way):
    client.connect(server.url, transports=way)
    client.send('hello')
    client.next()


def test_one_address(js_server, make_client, addresses, way):
    for client in (make_client(source_addresses=addresses[1]) for _ in range(2)):
        connect(client, js_server, way)
        assert set(peers(js_server, client)) == {addresses[1]}


def test_addresses_in_turn(js_server, make_client, addresses, way):
    """One for all sockets of a connection. Lists that are equal are one list."""
    kinds = itertools.cycle([list, tuple, list])
    seen = []
    for kind in itertools.islice(kinds, 6):
        client = make_client(source_addresses=kind(addresses))
        connect(client, js_server, way)
        found = peers(js_server, client)
        assert len(set(found)) == 1
        assert len(found) >= {'polling': 2, 'websocket': 1}.get((way or ['upgraded'])[0], 2)
        seen.append(found[0])
    assert seen == addresses * 2


def test_the_next_connect_has_the_next_address(js_server, make_client, addresses):
    client = make_client(source_addresses=addresses)
    seen = []
    for _ in range(4):
        connect(client, js_server, ['websocket'])
        seen += peers(js_server, client)
        client.disconnect()
    assert seen == [*addresses, addresses[0]]


def test_the_port_is_chosen_for_the_destination(js_server, make_client, addresses, monkeypatch):
    """The option has to be set before the address is bound."""
    bound = []

    class Socket(race.PlainSocket):
        def bind(self, address):
            option = self.getsockopt(socket.IPPROTO_IP, race._BIND_ADDRESS_NO_PORT)
            bound.append((address, option))
            super().bind(address)

    monkeypatch.setattr(race, 'PlainSocket', Socket)
    client = make_client(source_addresses=addresses)
    connect(client, js_server, None)
    assert set(bound) == {((addresses[0], 0), 1)}


def test_the_websocket_of_a_session(js_server, make_client, addresses):
    """A session polls over its own connections."""
    with requests.Session() as session:
        client = make_client(source_addresses=addresses[2], http_session=session)
        connect(client, js_server, ['websocket'])
        assert set(peers(js_server, client)) == {addresses[2]}


@pytest.mark.skipif(not support.has_ipv6(), reason='no IPv6 here')
class TestFamilies:
    def test_ipv6(self, make_js_server, make_client, way):
        server = make_js_server(host='::1')
        client = make_client(source_addresses=['::1'])
        connect(client, server, way)
        assert set(peers(server, client)) == {'::1'}

    def test_a_name_of_both(self, js_server, make_client, addresses):
        client = make_client(source_addresses=addresses)
        client.connect(f'http://localhost:{js_server.port}')
        assert set(peers(js_server, client)) == {addresses[0]}

    @pytest.mark.parametrize(
        ('source', 'host'), [('127.0.0.2', '[::1]'), ('::1', '127.0.0.1')], ids=['4', '6']
    )
    def test_the_other_family(self, js_server, make_client, way, source, host):
        client = make_client(source_addresses=source)
        with support.no_leaks(), pytest.raises(ConnectionError) as caught:
            client.connect(f'http://{host}:{js_server.port}', transports=way)
        assert str(caught.value) == (
            f'{host}:{js_server.port}: the host name has no address of the family of the source '
            f'address {source}'
        )


def test_an_address_of_another_machine(js_server, make_client, way):
    client = make_client(source_addresses='192.0.2.1')
    with support.no_leaks(), pytest.raises(ConnectionError) as caught:
        client.connect(js_server.url, transports=way)
    assert str(caught.value) == (
        f'{js_server.netloc}: source address 192.0.2.1: this machine does not have this address'
    )
    assert caught.value.__cause__.__cause__.errno == errno.EADDRNOTAVAIL


@pytest.mark.parametrize('wrong', ['eth0', ['127.0.0.1', 'eth0'], ['127.0.0.1/8'], [], 7, [7]])
def test_what_is_no_address(js_server, make_client, wrong):
    client = make_client(source_addresses=wrong)
    with pytest.raises(ValueError, match=r'^source_addresses') as caught:
        client.connect(js_server.url)
    assert not wrong or any(one in str(caught.value) for one in ('eth0', '/8', '7'))
