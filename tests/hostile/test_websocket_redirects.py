"""Redirects of a websocket: how many are followed, and the cookies that go with them."""

import gevent.socket
import pytest

import support
from engineio_gevent.exceptions import ConnectionError


@pytest.fixture(autouse=True, scope='module')
def resolver():
    """`localhost` goes through gevent's pool of threads, which is no leak."""
    gevent.socket.getaddrinfo('localhost', 80)


class Front:
    """A server that redirects, then is a good one.

    :param targets: for each request in order, status and ``Location``; None: be good.
    """

    def __init__(self, *targets):
        self.targets = list(targets)
        self.requests = []

    def __call__(self, sock):
        request = support.read_request(sock)
        self.requests.append(request)
        target = self.targets.pop(0) if self.targets else None
        if target:
            support.respond(
                sock,
                status=f'{target[0]} Redirect',
                headers=[('Location', target[1]), ('Set-Cookie', 'front=1; Path=/')],
            )
            return
        support.accept_websocket(sock, request)
        support.send_frame(sock, support.open_packet())
        support.read_to_end(sock)


@pytest.fixture
def go(hostile_server, witness):
    def connect(front, options=None, headers=None):
        client = witness(websocket_extra_options=options).client
        client.connect(hostile_server(front).url, headers, transports='websocket')
        return front.requests

    return connect


@pytest.mark.parametrize('options', [None, {'timeout': 5}])
def test_cookies_stay_over_a_redirect_to_the_same_server(go, options):
    front = Front((308, '/engine.io?transport=websocket&EIO=4'), (307, '/other'))
    asked = go(front, options, {'Cookie': 'mine=1', 'Authorization': 'Basic abc'})
    assert [one.headers.get('cookie') for one in asked] == [
        'mine=1',
        'mine=1; front=1',
        'mine=1; front=1',
    ]
    assert {one.headers['authorization'] for one in asked} == {'Basic abc'}
    assert [one.target.partition('?')[0] for one in asked] == [
        '/engine.io/',
        '/engine.io',
        '/other',
    ]


@pytest.mark.parametrize('given', [{'cookie': 'mine=1'}, {'header': {'Cookie': 'mine=1'}}])
def test_cookies_of_the_options(go, hostile_server, given):
    asked = go(Front((307, '/a')), given, {'Cookie': 'less=1'})
    assert [one.headers.get('cookie') for one in asked] == ['mine=1', 'mine=1; front=1']
    # They do not go elsewhere, and do not come back from there.
    elsewhere = Front()
    away = hostile_server(elsewhere).url.replace('127.0.0.1', 'localhost')
    go(Front((302, away)), {**given, 'redirect_limit': 3})
    assert 'cookie' not in elsewhere.requests[0].headers


def test_a_loop_of_redirects_ends(go):
    for options, count in ((None, 6), ({'redirect_limit': 2}, 6), ({'redirect_limit': 9}, 10)):
        front = Front(*[(307, '/again')] * 50)
        with pytest.raises(ConnectionError, match='307'):
            go(front, options)
        assert len(front.requests) == count
    for options, count in ((None, 1), ({'redirect_limit': 2}, 3), ({'redirect_limit': -1}, 1)):
        front = Front(*[(301, '/again')] * 50)
        with pytest.raises(ConnectionError, match='301'):
            go(front, options)
        assert len(front.requests) == count


def test_a_proxy_for_another_server(go, hostile_server, monkeypatch):
    """After a redirect, `no_proxy` is read for the server where it leads."""
    elsewhere = Front()
    away = hostile_server(elsewhere)
    proxied = []

    def proxy(sock):
        proxied.append(support.read_request(sock).target)

    monkeypatch.setenv('http_proxy', hostile_server(proxy).url)
    monkeypatch.setenv('no_proxy', '127.0.0.1')
    with pytest.raises(ConnectionError, match='localhost'):
        go(Front((302, f'http://localhost:{away.port}/')), {'redirect_limit': 1})
    assert proxied == [f'localhost:{away.port}']
    assert elsewhere.requests == []
