"""The options `dial`, `source_addresses` and `sockopt`: each connection, of whatever kind."""

from __future__ import annotations

import contextlib
import socket as standard

import gevent
import gevent.queue
import gevent.ssl
import pytest
from gevent import socket

import engineio_gevent
import support
from engineio_gevent.exceptions import ConnectionError

WAYS = support.WAYS
BUFFER = socket.SOL_SOCKET, socket.SO_RCVBUF


class Client(engineio_gevent.Client):
    """A client that keeps its messages."""

    def __init__(self, **options):
        super().__init__(**{'request_timeout': support.patience(10), **options})
        self.inbox = gevent.queue.Queue()
        self.on('message', self.inbox.put)

    def ask(self, message):
        """Send a message and wait for the next one."""
        self.send(message)
        return self.inbox.get(timeout=support.patience(10))


@pytest.fixture
def make_client():
    yield from support.made_clients(Client)


@pytest.fixture
def environ(monkeypatch):
    """The environment without proxies; `environ.setenv()` changes it."""
    for name in ('http_proxy', 'https_proxy', 'all_proxy', 'no_proxy', 'ws_proxy', 'wss_proxy'):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    return monkeypatch


class Recorded:
    """A `dial` that keeps what it is called with, and the sockets that it opens.

    :param connect: a `create_connection()`.
    :param to: the port to connect to, if not the one that is asked for.
    """

    def __init__(self, connect=socket.create_connection, to=None):
        self.asked = []
        self.sockets = []
        self._connect = connect
        self._to = to

    def __call__(self, host, port):
        self.asked.append((host, port))
        sock = self._connect(('127.0.0.1', self._to or port))
        self.sockets.append(sock)
        return sock


def count(way):
    """The connections of a connect and one message: those for GET, for POST, the websocket."""
    return {'polling': 2, 'websocket': 1, 'upgraded': 2}[way]


@pytest.mark.parametrize('connect', [socket.create_connection, standard.create_connection])
def test_every_connection_is_made_by_the_function(
    environ, make_client, certificates, origin, scheme, way, connect
):
    dial = Recorded(connect, to=origin.port)
    client = make_client(dial=dial, ssl_verify=certificates.ca)
    client.connect(f'{scheme}://localhost:81', transports=WAYS[way])
    assert client.ask('x' * 100000) == 'x' * 100000
    assert dial.asked == [('localhost', 81)] * count(way)
    assert client.transport() == ('polling' if way == 'polling' else 'websocket')
    requests = origin.requests(client.sid)
    assert {request['headers']['host'] for request in requests} == {'localhost:81'}


def test_every_connect_asks_again(environ, make_client, js_server):
    dial = Recorded()
    client = make_client(dial=dial)
    for number in (1, 2):
        client.connect(js_server.url, transports='websocket')
        client.disconnect()
        assert len(dial.asked) == number


@pytest.fixture(params=['http', 'https', 'socks5'])
def proxy(request):
    """Each kind of proxy: its URL and its port."""
    name = {'socks5': 'socks_proxy'}.get(request.param, f'{request.param}_proxy')
    found = request.getfixturevalue(name)
    return found.url, found.port


def test_with_a_proxy_it_connects_to_that(
    environ, make_client, certificates, proxy, origin, scheme, way
):
    url, port = proxy
    environ.setenv(f'{scheme}_proxy', url)
    dial = Recorded()
    client = make_client(dial=dial, ssl_verify=certificates.ca)
    client.connect(origin.url, transports=WAYS[way])
    assert client.ask('hello') == 'hello'
    assert set(dial.asked) == {('127.0.0.1', port)}
    assert len(dial.asked) >= count(way)  # tinyproxy closes after each answer


def ask_for(sock, port):
    """Have an HTTP proxy connect to a port of this machine."""
    sock.sendall(f'CONNECT 127.0.0.1:{port} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n'.encode())
    answer = b''
    while not answer.endswith(b'\r\n\r\n'):
        answer += sock.recv(1)
    assert b' 200 ' in answer


def test_a_function_that_talks_to_the_proxy_itself(environ, make_client, http_proxy, origin, way):
    """As a helper for ssh or for another protocol does."""

    def dial(host, port):
        sock = socket.create_connection(('127.0.0.1', http_proxy.port))
        ask_for(sock, port)
        return sock

    client = make_client(dial=dial, ssl_verify=False)
    client.connect(origin.url, transports=WAYS[way])
    assert client.ask('hello') == 'hello'
    assert {trip[0] for trip in http_proxy.trips()} == {'CONNECT'}


def test_pysocks(environ, make_client, socks_proxy, js_server, way):
    """Its socket is one of the standard library's."""
    socks = pytest.importorskip('socks')

    def dial(host, port):
        return socks.create_connection(
            ('127.0.0.1', port),
            proxy_type=socks.SOCKS5,
            proxy_addr='127.0.0.1',
            proxy_port=socks_proxy.port,
        )

    client = make_client(dial=dial)
    client.connect(js_server.url, transports=WAYS[way])
    assert client.ask('hello') == 'hello'
    assert set(socks_proxy.trips()) == {js_server.netloc}


def test_a_pair_of_sockets_with_a_helper(environ, make_client, js_server, way):
    """As with `ssh -W`: somebody else carries the bytes."""
    carriers = []

    def carry(source, target):
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                target.sendall(data)
        with contextlib.suppress(OSError):
            target.shutdown(socket.SHUT_WR)

    def carry_both(inner, outer):
        with inner, outer:
            gevent.joinall([gevent.spawn(carry, inner, outer), gevent.spawn(carry, outer, inner)])

    def dial(host, port):
        ours, theirs = socket.socketpair()
        carriers.append(gevent.spawn(carry_both, theirs, socket.create_connection((host, port))))
        return ours

    client = make_client(dial=dial)
    client.connect(js_server.url, transports=WAYS[way])
    assert client.ask('x' * 300000) == 'x' * 300000
    client.disconnect()
    gevent.joinall(carriers, timeout=support.patience(10), raise_error=True)
    assert all(one.ready() for one in carriers)


@pytest.fixture
def own_tls(certificates):
    """`own_tls(port)`: a `dial` that returns sockets with TLS."""
    context = gevent.ssl.SSLContext(gevent.ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(certificates.ca)

    def make(port):
        def dial(host, _):
            sock = socket.create_connection(('127.0.0.1', port), timeout=5)
            return context.wrap_socket(sock, server_hostname='localhost')

        return dial

    return make


def test_tls_of_the_function(environ, make_client, tls_server, own_tls, way):
    """The server has TLS, and the URL does not say so. A GET that blocked would delay the POST."""
    client = make_client(dial=own_tls(tls_server.port))
    client.connect('http://x.test', transports=WAYS[way])
    assert client.ask('x' * 300000) == 'x' * 300000


def test_tls_over_tls_of_the_function(
    environ, make_client, tls_server, https_proxy, certificates, own_tls, way
):
    """The function talks to a proxy with TLS, and the server has TLS, too."""
    connect = own_tls(https_proxy.port)

    def dial(host, port):
        sock = connect(host, port)
        ask_for(sock, tls_server.port)
        return sock

    client = make_client(dial=dial, ssl_verify=certificates.ca)
    client.connect('https://localhost', transports=WAYS[way])
    assert client.ask('x' * 300000) == 'x' * 300000


# -- What goes wrong -------------------------------------------------------------------------------


class Strange(Exception):
    """What no library knows."""


def hang(host, port):
    gevent.sleep(1000)


def hang_and_try_again(host, port):
    while True:
        with contextlib.suppress(Exception):
            gevent.sleep(1000)


@pytest.fixture
def silent():
    """A `dial` that waits for a byte of a listener that sends none."""
    with socket.socket() as listener:
        listener.bind(('127.0.0.1', 0))
        listener.listen()

        def dial(host, port):
            with socket.create_connection(listener.getsockname()) as sock:
                return sock.recv(1)

        yield dial


@pytest.mark.parametrize('function', [hang, hang_and_try_again, 'silent'])
def test_a_function_that_takes_too_long(environ, request, make_client, way, function):
    dial = request.getfixturevalue(function) if isinstance(function, str) else function
    client = make_client(dial=dial, request_timeout=0.2)
    with support.no_leaks(), pytest.raises(ConnectionError, match=r'within 0\.2 seconds'):
        client.connect('http://x.test', transports=WAYS[way])


def test_a_websocket_that_takes_too_long_is_no_upgrade(environ, make_client, js_server):
    """Polling goes on."""
    dial = Recorded()

    def second_hangs(host, port):
        if dial.asked:
            hang(host, port)
        return dial(host, port)

    client = make_client(dial=second_hangs, request_timeout=2)
    client.connect(js_server.url)
    assert client.transport() == 'polling'


def closed(host, port):
    with socket.socket() as sock:
        return sock


def raising(error):
    def dial(host, port):
        raise error

    return dial


@pytest.mark.parametrize(
    ('dial', 'text'),
    [
        (raising(OSError(5, 'no way')), 'x.test:80: no way'),
        (raising(OSError('no way')), 'x.test:80: no way'),
        (raising(Strange('no way')), 'x.test: dial raised Strange: no way'),
        (raising(TimeoutError('no way')), 'x.test:80: no way'),
        (raising(ValueError('no way')), 'x.test: dial raised ValueError: no way'),
        (lambda host, port: None, 'x.test: dial must return a connected socket, not None'),
        (closed, 'x.test: dial returned a closed socket'),
        (
            lambda host, port: socket.socket(),
            'x.test: dial returned a socket that is not connected',
        ),
        (lambda: None, 'x.test: dial raised TypeError: '),
    ],
)
def test_a_function_that_fails(environ, make_client, way, dial, text):
    client = make_client(dial=dial)
    with support.no_leaks(), pytest.raises(ConnectionError) as caught:
        client.connect('http://x.test', transports=WAYS[way])
    assert str(caught.value).startswith(text)
    assert caught.value.__cause__ is not None


@pytest.mark.parametrize('error', [OSError(5, 'no way'), Strange('no way')])
def test_one_that_fails_later(environ, make_client, js_server, error):
    """The connection for POST: the connection ends, with the error."""
    dial = Recorded()

    def only_once(host, port):
        if dial.asked:
            raise error
        return dial(host, port)

    client = make_client(dial=only_once)
    client.connect(js_server.url, transports='polling')
    client.send('hello')
    with gevent.Timeout(support.patience(20)):
        client.wait()
    assert 'no way' in str(client.disconnect_error)


def test_a_connect_that_is_killed(environ, make_client, way):
    client = make_client(dial=hang)
    with support.no_leaks():
        connecting = gevent.spawn(client.connect, 'http://x.test', transports=WAYS[way])
        support.settle()
        connecting.kill()
        support.settle()
    assert client.state == 'disconnected'


# -- sockopt ---------------------------------------------------------------------------------------


@pytest.mark.parametrize('with_dial', [False, True])
def test_options_of_sockets(environ, make_client, js_server, way, with_dial):
    """Of all descriptors that are connected to the server."""
    dial = Recorded() if with_dial else None
    client = make_client(sockopt=[(*BUFFER, 23456)], dial=dial)
    client.connect(js_server.url, transports=WAYS[way])
    assert client.ask('hello') == 'hello'
    found = []
    for number, what in support.descriptors().items():
        if what.startswith('socket'):
            sock = standard.socket(fileno=standard.dup(number))
            with sock, contextlib.suppress(OSError):
                if sock.getpeername() == ('127.0.0.1', js_server.port):
                    found.append(sock.getsockopt(*BUFFER))
    # Linux doubles the value.
    assert found == [23456 * 2] * {'polling': 2, 'websocket': 1, 'upgraded': 1}[way]


def test_an_option_that_the_system_refuses(environ, make_client, js_server, way):
    client = make_client(sockopt=[(socket.SOL_SOCKET, 12345, 1)])
    with support.no_leaks(), pytest.raises(ConnectionError, match=js_server.netloc):
        client.connect(js_server.url, transports=WAYS[way])
