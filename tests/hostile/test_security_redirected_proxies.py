"""Redirects and proxies: each server is reached by its own proxy, and secrets stay there.

The proxy also plays all servers that nothing but the proxy can reach.
"""

import base64

import pytest
import requests

from engineio_gevent.exceptions import ConnectionError
from support import accept_websocket, frame, open_packet, read_request, respond
from support import read_to_end as wait_for_the_end

FAR = 'far.test:80'  # no name server knows it
FOR_THE_PROXY = 'Basic ' + base64.b64encode(b'keeper:pr0xy').decode()
FOR_THE_SERVER = 'Basic ' + base64.b64encode(b'user:s3cret').decode()

WAYS = {
    'direct': ('polling', {}),
    'session': ('polling', {'http_session': requests.Session}),
    'websocket': ('websocket', {'websocket_extra_options': {'redirect_limit': 3}}),
    'session-websocket': (
        'websocket',
        {'websocket_extra_options': {'redirect_limit': 3}, 'http_session': requests.Session},
    ),
}


class Server:
    """An Engine.IO server that first redirects, if it is given a location."""

    def __init__(self, location=None):
        self.location = location
        self.requests = []

    def __call__(self, sock):
        while True:
            self.answer(sock, read_request(sock))

    def answer(self, sock, request):
        self.requests.append(request)
        websocket = 'sec-websocket-key' in request.headers
        if self.location is not None:
            location = self.location.replace('http', 'ws' if websocket else 'http', 1)
            respond(sock, b'', '302 Found', [('Location', location)])
        elif websocket:
            accept_websocket(sock, request)
            sock.sendall(frame(open_packet()))
            wait_for_the_end(sock)
        else:
            respond(sock, open_packet())


class Proxy:
    """An HTTP proxy, and the server that all its requests go to.

    :param server: that server.
    """

    def __init__(self, server):
        self._server = server
        #: Host and port of each request, and the request that the proxy itself saw.
        self.seen = []

    def __call__(self, sock):
        while True:
            request = read_request(sock)
            if request.method == 'CONNECT':
                self.seen.append((request.target, request))
                sock.sendall(b'HTTP/1.1 200 Connection established\r\n\r\n')
                self._server(sock)
            else:
                authority = request.target.split('/')[2]
                self.seen.append((authority if ':' in authority else f'{authority}:80', request))
                self._server.answer(sock, request)


@pytest.fixture
def connect(witness):
    """`connect(url, way)`: connect with a secret header, and disconnect."""
    sessions = []

    def make_session():
        sessions.append(requests.Session())
        return sessions[-1]

    def go(url, way):
        transport, options = WAYS[way]
        if 'http_session' in options:
            options = {**options, 'http_session': make_session}
        client = witness(**options).client
        client.connect(url, {'Authorization': FOR_THE_SERVER}, transports=transport)
        client.disconnect(abort=True)

    yield go
    for session in sessions:
        session.close()


def set_proxy(monkeypatch, server, *, beside):
    for name in ('http_proxy', 'all_proxy', 'no_proxy', 'HTTP_PROXY', 'ALL_PROXY', 'NO_PROXY'):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv('http_proxy', server.url.replace('//', '//keeper:pr0xy@'))
    monkeypatch.setenv('no_proxy', beside)


@pytest.mark.parametrize('way', WAYS)
def test_from_a_server_beside_the_proxy_to_one_behind_it(native, connect, monkeypatch, way):
    far = Server()
    proxy = Proxy(far)
    home = Server(f'http://{FAR}/engine.io/')
    set_proxy(monkeypatch, native(proxy), beside='127.0.0.1')
    connect(native(home).url, way)
    assert home.requests[0].headers['authorization'] == FOR_THE_SERVER
    assert 'proxy-authorization' not in home.requests[0].headers
    assert {authority for authority, _ in proxy.seen} == {FAR}
    assert all(one.headers['proxy-authorization'] == FOR_THE_PROXY for _, one in proxy.seen)
    assert far.requests
    for request in (*far.requests, *(one for _, one in proxy.seen)):
        assert 'authorization' not in request.headers
    if 'websocket' in way:  # within the tunnel
        assert 'proxy-authorization' not in far.requests[0].headers


# Not through a session: requests keeps the proxy of the first request for its redirects.
@pytest.mark.parametrize('way', [way for way in WAYS if way != 'session'])
def test_from_a_server_behind_the_proxy_to_one_beside_it(native, connect, monkeypatch, way):
    beside = Server()
    far = Server(f'{native(beside).url}/engine.io/')
    proxy = Proxy(far)
    set_proxy(monkeypatch, native(proxy), beside='127.0.0.1')
    connect(f'http://{FAR}', way)
    assert far.requests[0].headers['authorization'] == FOR_THE_SERVER
    assert {authority for authority, _ in proxy.seen} == {FAR}
    assert beside.requests
    for request in beside.requests:
        assert not {'authorization', 'proxy-authorization'} & request.headers.keys()
        assert request.target.startswith('/engine.io/')  # no URL, which is for proxies


@pytest.mark.parametrize('way', WAYS)
def test_a_proxy_that_refuses_is_no_reason_to_go_beside_it(native, connect, monkeypatch, way):
    reached = Server()
    there = native(reached)
    refusals = []

    def refuse(sock):
        refusals.append(read_request(sock))
        respond(sock, b'', '403 Forbidden', [('Connection', 'close')])

    set_proxy(monkeypatch, native(refuse), beside='')
    with pytest.raises(ConnectionError, match='403'):
        connect(there.url, way)
    assert refusals
    assert (there.accepted, reached.requests) == (0, [])
