"""The opening of a websocket: connections, redirects, cookies; over scripted sockets."""

from __future__ import annotations

import base64
import errno
import hashlib
import os
import re

import pytest

from engineio_gevent.exceptions import ConnectionClosed, HTTPError, ProtocolError
from engineio_gevent.net.tunnel import Proxy
from engineio_gevent.transports import opening
from engineio_gevent.transports.opening import open_websocket
from engineio_gevent.transports.route import Route


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch, tmp_path):
    for name in list(os.environ):
        if name.lower().endswith('_proxy') or name.endswith('CA_BUNDLE'):
            monkeypatch.delenv(name)
    monkeypatch.setenv('NETRC', str(tmp_path / 'netrc'))


def accepted(headers=''):
    return (
        'HTTP/1.1 101 -\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n'
        f'Sec-WebSocket-Accept: ACCEPT\r\n{headers}\r\nrest'
    )


def redirected(status, location, headers=''):
    return f'HTTP/1.1 {status} -\r\nLocation: {location}\r\nContent-Length: 0\r\n{headers}\r\n'


class Socket:
    """A connection to a server that answers with these bytes."""

    def __init__(self, reply, error=None):
        self.reply = reply
        self.error = error
        self.sent = b''
        self.closed = False
        self.seconds = 'unset'

    def sendall(self, data):
        assert not self.closed
        self.sent += data

    def send(self, data):
        self.sendall(bytes(data))
        return len(data)

    def recv(self, size):
        assert not self.closed
        if self.error is not None:
            raise self.error
        key = self.header('Sec-WebSocket-Key').encode()
        digest = hashlib.sha1(key + b'258EAFA5-E914-47DA-95CA-C5AB0DC85B11').digest()
        reply = self.reply.replace('ACCEPT', base64.b64encode(digest).decode())
        self.reply = ''
        return reply.encode()

    def header(self, name):
        (found,) = re.findall(rf'^{name}: (.*)\r$', self.sent.decode(), re.MULTILINE) or [None]
        return found

    @property
    def target(self):
        return self.sent.decode().split(' ')[1]

    def settimeout(self, seconds):
        self.seconds = seconds

    def setblocking(self, flag):
        pass

    def gettimeout(self):
        return self.seconds

    def setsockopt(self, *option):
        pass

    def fileno(self):
        return -1 if self.closed else 5

    def close(self):
        self.closed = True


@pytest.fixture
def connections(monkeypatch):
    """`connections(*replies)`: what the next ones answer. A list of their arguments."""
    replies = []
    made = []

    class Made(list):
        def __call__(self, *given):
            replies.extend(given)
            return self

    def connect(route, place, proxy, timeout, **options):
        reply = replies.pop(0)
        sock = reply if isinstance(reply, Socket) else Socket(reply)
        made.append((place, proxy, timeout, options, sock))
        return sock

    monkeypatch.setattr(opening, 'open_connection', connect)
    made = Made()
    return made


def route(url='http://a.test', headers=None, **options):
    return Route(url, headers, timestamp=False, **options)


# -- One connection --------------------------------------------------------------------------------


@pytest.mark.parametrize('options', [None, {'redirect_limit': 0}])
def test_a_websocket(connections, options):
    connections(accepted('X-A: 1\r\n'))
    seen = []
    opened = open_websocket(route(websocket_options=options), 'the sid', 7, seen.append)
    ((place, proxy, timeout, _, sock),) = connections
    assert opened == (sock, b'rest', None)
    assert not sock.closed
    assert (place.host, place.port, proxy, timeout) == ('a.test', 80, None, 7)
    assert sock.target == '/engine.io/?transport=websocket&EIO=4&sid=the%20sid'
    assert [(one.status, one.headers['x-a']) for one in seen] == [(101, '1')]


def test_arguments_of_the_connection(connections):
    connections(accepted())
    open_websocket(route(), None, 7)
    assert connections[0][3] == {}
    assert connections[0][4].seconds == 'unset'
    options = {'timeout': 3, 'sockopt': [(1, 2, 3)], 'sslopt': {'ciphers': 'HIGH'}}
    connections(accepted())
    open_websocket(route(websocket_options=options), None, 7)
    _, _, timeout, given, sock = connections[1]
    assert given == {'sockopt': [(1, 2, 3)], 'sslopt': {'ciphers': 'HIGH'}}
    assert (timeout, sock.seconds) == (3, 3)


def test_the_bundle_of_websocket_client(connections, monkeypatch, certificates):
    monkeypatch.setenv('WEBSOCKET_CLIENT_CA_BUNDLE', certificates.ca)
    for verify, found in ((True, {'ca_certs': certificates.ca}), ('/own.pem', {})):
        connections(accepted())
        open_websocket(route(verify=verify, websocket_options={'timeout': 3}), None, 7)
        assert connections[-1][3]['sslopt'] == found


def test_keys_of_frames(connections):
    connections(accepted())
    opened = open_websocket(route(websocket_options={'get_mask_key': len}), None, 7)
    assert opened.get_mask_key is len


@pytest.mark.parametrize('options', [None, {'timeout': 5}])
def test_a_given_connection(connections, options):
    """As the command `probe` has one already. It goes before the option `socket`."""
    sock = Socket(accepted())
    if options:
        options['socket'] = lambda: 1 / 0
    opened = open_websocket(route(websocket_options=options), None, 7, sock=sock)
    assert opened.sock is sock
    assert connections == []
    assert sock.seconds == 'unset'


def test_a_socket_among_the_options(connections):
    sock = Socket(accepted())
    opened = open_websocket(route(websocket_options={'socket': sock, 'timeout': 3}), None, 7)
    assert opened.sock is sock
    assert connections == []
    assert sock.seconds == 3
    # After a redirect, it is the next connection's turn.
    first = Socket(redirected(307, '/b'))
    connections(accepted())
    opened = open_websocket(route(websocket_options={'socket': lambda: first}), None, 7)
    assert first.closed
    assert opened.sock is connections[0][4]


@pytest.mark.parametrize('options', [None, {'timeout': 5}])
@pytest.mark.parametrize(
    ('reply', 'kind', 'text'),
    [
        ('HTTP/1.1 400 -\r\nContent-Length: 0\r\n\r\n', HTTPError, 'status code 400'),
        ('HTTP/1.1 101 -\r\n\r\n', ProtocolError, 'Upgrade'),
        ('SSH-2.0\r\n', ProtocolError, 'not an HTTP response'),
        ('', ConnectionClosed, 'without a response'),
    ],
)
def test_a_failure_closes_the_socket(connections, options, reply, kind, text):
    connections(reply)
    with pytest.raises(kind, match=text):
        open_websocket(route(websocket_options=options), None, 7)
    assert connections[0][4].closed


def test_an_error_of_the_system(connections):
    connections(Socket('', OSError(errno.EIO, 'some words')))
    with pytest.raises(ConnectionClosed) as caught:
        open_websocket(route('http://a.test:81'), None, 7)
    assert str(caught.value) == 'a.test:81: some words'
    assert isinstance(caught.value.__cause__, OSError)
    assert connections[0][4].closed


def test_an_end_from_outside(connections):
    """A time limit, or a kill."""
    connections(Socket('', GeneratorExit()))
    with pytest.raises(GeneratorExit):
        open_websocket(route(), None, 7)
    assert connections[0][4].closed


def test_what_on_response_raises(connections):
    connections(accepted())
    with pytest.raises(ZeroDivisionError):
        open_websocket(route(), None, 7, lambda response: 1 / 0)
    assert connections[0][4].closed


# -- Redirects -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ('status', 'options', 'count'),
    [
        (307, None, 6),
        (308, None, 6),
        (307, {'redirect_limit': 2}, 6),
        (307, {'redirect_limit': 7}, 8),
        (301, None, 1),
        (302, {'redirect_limit': 2}, 3),
        (303, {'redirect_limit': 1}, 2),
    ],
)
def test_the_number_of_redirects(connections, status, options, count):
    connections(*[redirected(status, '/b')] * 20)
    responses = []
    with pytest.raises(HTTPError, match=str(status)):
        open_websocket(route(websocket_options=options), None, 7, responses.append)
    assert len(connections) == count
    assert [one.status for one in responses] == [status] * count
    assert all(sock.closed for *_, sock in connections)
    assert [sock.target for *_, sock in connections][1:] == ['/b'] * (count - 1)


def test_a_redirect_to_another_server(connections):
    connections(redirected(307, 'http://b.test/'))
    with pytest.raises(HTTPError, match=r'redirects to http://b\.test/'):
        open_websocket(route(), None, 7)
    connections(redirected(302, 'ws://b.test:81/x?y=z'), accepted())
    open_websocket(route(websocket_options={'redirect_limit': 1}), None, 7)
    place = connections[2][0]
    assert (place.host, place.port, place.netloc, place.target) == (
        'b.test',
        81,
        'b.test:81',
        '/x?y=z',
    )


OWN = [
    (None, {'Cookie': 'own=1'}),
    ({'timeout': 5}, {'cookie': 'own=1'}),
    ({'cookie': 'own=1'}, {'Cookie': 'less=1'}),
    ({'header': {'Cookie': 'own=1'}}, {}),
]


@pytest.mark.parametrize(('options', 'headers'), OWN)
def test_cookies_over_redirects(connections, options, headers):
    connections(
        redirected(307, '/b', 'Set-Cookie: a=1; Path=/\r\n'),
        redirected(308, '/c', 'Set-Cookie: a=2; Path=/\r\n'),
        accepted('Set-Cookie: z=1\r\n'),
    )
    way = route('http://a.test', headers, websocket_options=options)
    open_websocket(way, None, 7)
    cookies = [sock.header('Cookie') for *_, sock in connections]
    assert cookies == ['own=1', 'own=1; a=1', 'own=1; a=2']
    assert sorted(cookie.name for cookie in way.cookies.jar) == ['a', 'z']


@pytest.mark.parametrize(('options', 'headers'), OWN[1:])
def test_cookies_to_another_server_and_back(connections, options, headers):
    connections(
        redirected(302, 'http://b.test/', 'Set-Cookie: a=1; Path=/\r\n'),
        redirected(302, 'http://b.test/x', 'Set-Cookie: b=1; Path=/\r\n'),
        redirected(302, 'http://a.test/'),
        accepted(),
    )
    secret = {**headers, 'Authorization': 'Basic abc', 'X-A': '1'}
    options = {**options, 'redirect_limit': 3, 'host': 'virtual.test'}
    open_websocket(route('http://a.test', secret, websocket_options=options), None, 7)
    sent = [
        [sock.header(name) for name in ('Host', 'Cookie', 'Authorization', 'X-A')]
        for *_, sock in connections
    ]
    assert sent == [
        ['virtual.test', 'own=1', 'Basic abc', '1'],
        ['b.test', None, None, '1'],
        ['b.test', 'b=1', None, '1'],
        ['a.test', 'a=1', None, '1'],
    ]


# -- Proxies ---------------------------------------------------------------------------------------


def test_proxies_of_the_environment(connections, monkeypatch):
    monkeypatch.setenv('http_proxy', 'http://p.test:3128')
    monkeypatch.setenv('no_proxy', 'b.test')
    proxy = Proxy('http', 'p.test', 3128)
    for options in (None, {'timeout': 7}):
        connections(accepted())
        open_websocket(route(websocket_options=options), None, 7)
        assert connections[-1][1:3] == (proxy, 7)
    connections(redirected(302, 'http://b.test/'), redirected(302, 'http://c.test/'), accepted())
    open_websocket(route(websocket_options={'redirect_limit': 2}), None, 7)
    assert [one[1] for one in connections[2:]] == [proxy, None, proxy]


def test_a_proxy_of_the_options(connections, monkeypatch):
    monkeypatch.setenv('http_proxy', 'http://p.test:3128')
    options = {
        'http_proxy_host': 'own.test',
        'http_proxy_port': 5,
        'http_no_proxy': ['b.test'],
        'http_proxy_timeout': 20,
        'redirect_limit': 1,
    }
    connections(redirected(302, 'http://b.test/'), accepted())
    open_websocket(route(websocket_options=options), None, 7)
    assert [one[1:3] for one in connections] == [
        (Proxy('http', 'own.test', 5), 20),
        (None, 7),
    ]
    assert [sock.seconds for *_, sock in connections] == [7, 7]
