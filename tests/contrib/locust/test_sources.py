"""Users of several workers that connect from several addresses, as the server sees them."""

import sys
from collections import Counter, defaultdict
from urllib.parse import parse_qs, urlsplit

import pytest

pytestmark = pytest.mark.skipif(sys.platform != 'linux', reason='127.0.0.0/8 is Linux only')

ADDRESSES = ['127.0.3.1', '127.0.3.2', '127.0.3.3']


class Seen:
    """What a server has seen of the users so far."""

    def __init__(self, server):
        #: by user, the addresses of all its requests
        self.addresses = defaultdict(set)
        #: by user, how often it has connected
        self.connects = Counter()
        for request in server.requests():
            user = request['headers']['x-user']
            self.addresses[user].add(request['peer'])
            self.connects[user] += 'sid' not in parse_qs(urlsplit(request['url']).query)

    @property
    def users(self):
        """By process and address, how many users there are."""
        return Counter((user.split()[0], *addresses) for user, addresses in self.addresses.items())


@pytest.fixture
def see(locust, make_js_server, monkeypatch):
    """`see(kind, addresses, users)`: run two workers until each user has connected twice."""

    def run(kind, addresses, users):
        monkeypatch.setenv('SOURCES', ' '.join(addresses))
        monkeypatch.setenv('KIND', kind)
        server = make_js_server()
        process = locust('sources.py', server.url, '--processes', 2, users=users)
        process.until(
            lambda: len(connects := Seen(server).connects) == users and min(connects.values()) > 1
        )
        process.quit(1)  # each has lost its connection
        return Seen(server)

    return run


@pytest.mark.parametrize('kind', ['EngineIO', 'SocketIO'])
def test_users_of_all_workers_use_the_addresses_evenly(see, kind):
    """A user keeps its address when it reconnects."""
    seen = see(kind, ADDRESSES, users=6)
    assert {len(addresses) for addresses in seen.addresses.values()} == {1}
    assert len(seen.users) == 6
    assert {address for _, address in seen.users} == set(ADDRESSES)


def test_workers_begin_with_different_addresses(see):
    seen = see('EngineIO', ADDRESSES[:2], users=2)
    assert sorted(address for _, address in seen.users) == ADDRESSES[:2]


def test_an_empty_list(see):
    """As of a variable that is not set."""
    seen = see('EngineIO', [], users=2)
    assert {address for _, address in seen.users} == {'127.0.0.1'}
