"""Through a proxy that speaks TLS, HAProxy before tinyproxy: to a wss server it is TLS in TLS.

The clients run in this process, which is not monkey-patched.
"""

import contextlib
import os

import gevent
import gevent.event
import gevent.queue
import pytest
from gevent import monkey, socket

import engineio_gevent
import support
from engineio_gevent.exceptions import ConnectionError
from engineio_gevent.net.tls_over_tls import TLSOverTLS

assert not monkey.is_module_patched('socket')
MESSAGES = ['one', 'two', 'ü' * 5000]
#: several times what all buffers on the way hold
BIG = bytes(range(256)) * (12 << 12)


class Client(engineio_gevent.Client):
    """One that keeps its messages."""

    def __init__(self, **options):
        super().__init__(handle_sigint=False, **options)
        self.inbox = gevent.queue.Queue()
        self.on('message', self.inbox.put)

    def next(self):
        return self.inbox.get(timeout=support.patience(20))


@pytest.fixture
def make_client(http_proxy, tls_server):
    """Make a `Client`, see `support.made_clients`."""
    yield from support.made_clients(Client)


@pytest.fixture
def route(monkeypatch, https_proxy, certificates):
    """This environment leads through the proxy."""
    for name in list(os.environ):
        if name.lower().endswith('_proxy'):
            monkeypatch.delenv(name)
    monkeypatch.setenv('ALL_PROXY', https_proxy.url)
    monkeypatch.setenv('REQUESTS_CA_BUNDLE', certificates.ca)
    return https_proxy


@pytest.fixture
def large_server(js_server_with, certificates):
    return js_server_with(tls=certificates.tls, maxHttpBufferSize=100_000_000)


@pytest.mark.parametrize('scheme', ['http', 'https'], indirect=True)
def test_there_and_back(route, origin, make_client, way_transports):
    client = make_client()
    client.connect(origin.url, transports=way_transports)
    for message in MESSAGES:
        client.send(message)
    assert [client.next() for _ in MESSAGES] == MESSAGES
    assert set(route.trips()) == {'0'}
    client.disconnect()


def test_it_is_tls_in_tls(route, tls_server, make_client):
    client = make_client()
    client.connect(tls_server.url, transports=['websocket'])
    assert type(client._session.transport._stream._sock) is TLSOverTLS


@pytest.mark.parametrize('way', ['polling', 'websocket'], indirect=True)
def test_big_messages_both_ways(route, large_server, make_client, way_transports):
    client = make_client(max_message_size=None)
    client.connect(large_server.url, transports=way_transports)
    sizes = [len(BIG) - number for number in range(3)]
    for size in sizes:
        client.send(BIG[:size])
    for size in sizes:
        assert client.next() == BIG[:size]
    assert client.unsent == 0


def test_many_small_messages(route, tls_server, make_client):
    client = make_client()
    client.connect(tls_server.url)
    assert client.transport() == 'websocket'
    texts = [f'message {number}' for number in range(5000)]
    for text in texts:
        client.send(text)
    assert [client.next() for _ in texts] == texts


def test_a_server_that_does_not_read(route, hostile_server, certificates, make_client):
    """`send()` waits, other greenlets run, and what was sent arrives in order."""
    go_on = gevent.event.Event()
    received = []

    def serve(sock):
        support.accept_websocket(sock)
        support.send_frame(sock, support.open_packet())
        go_on.wait()
        for _ in range(5):
            received.append(len(support.read_frame(sock)[1]))
        support.read_to_end(sock)

    server = hostile_server(serve, ssl_context=certificates.server_context())
    client = make_client(write_limit=100_000)
    client.connect(server.url, transports=['websocket'])
    sending = gevent.spawn(lambda: [client.send(BIG) for _ in range(5)])
    gevent.sleep(0.1)
    assert not sending.ready()
    go_on.set()
    sending.get(timeout=support.patience(20))
    assert support.eventually(lambda: received == [len(BIG)] * 5, 20)


def test_abort_while_the_server_does_not_read(route, hostile_server, certificates, make_client):
    """No descriptor stays open."""

    def serve(sock):
        support.accept_websocket(sock)
        support.send_frame(sock, support.open_packet())
        done.wait()

    done = gevent.event.Event()
    server = hostile_server(serve, ssl_context=certificates.server_context())
    with support.no_leaks():
        client = make_client()
        client.connect(server.url, transports=['websocket'])
        client.send(BIG)
        client.disconnect(abort=True)
        assert client.unsent == 1
        done.set()
        server.wait_open(0)


def test_the_server_closes(route, hostile_server, certificates, make_client):
    """Its last message arrives, and its end of TLS is the end."""

    def serve(sock):
        support.accept_websocket(sock)
        support.send_frame(sock, support.open_packet())
        support.send_frame(sock, '4last words')
        sock.unwrap().close()

    server = hostile_server(serve, ssl_context=certificates.server_context())
    client = make_client()
    client.connect(server.url, transports=['websocket'])
    assert client.next() == 'last words'
    client.wait()
    assert 'closed' in str(client.disconnect_error)


def test_a_client_certificate_is_for_the_server(
    route, js_server_with, certificates, make_client, way_transports
):
    server = js_server_with(tls=certificates.mutual_tls)
    client = make_client(ssl_cert=certificates.client_pem)
    client.connect(server.url, transports=way_transports)
    client.send('hello')
    assert client.next() == 'hello'
    client.disconnect()
    assert set(route.trips()) == {'0'}


def test_without_it_the_server_refuses(route, js_server_with, certificates, make_client):
    server = js_server_with(tls={**certificates.mutual_tls, 'rejectUnauthorized': True})
    for transport in 'polling', 'websocket':
        with pytest.raises(ConnectionError):
            make_client().connect(server.url, transports=[transport])


@pytest.mark.parametrize('transport', ['polling', 'websocket'])
@pytest.mark.parametrize('scheme', ['http', 'https'], indirect=True)
def test_a_proxy_that_is_not_trusted(route, monkeypatch, origin, make_client, transport, scheme):
    monkeypatch.delenv('REQUESTS_CA_BUNDLE')
    with pytest.raises(
        ConnectionError, match=f'via proxy {route.netloc}: TLS to the proxy: .*verify failed'
    ):
        make_client().connect(origin.url, transports=[transport])


def test_a_proxy_without_tls(route, monkeypatch, hostile_server, js_server, make_client):
    proxy = hostile_server(lambda sock: sock.sendall(b'HTTP/1.1 400 Bad request\r\n\r\n'))
    monkeypatch.setenv('ALL_PROXY', f'https://u:secret@127.0.0.1:{proxy.port}')
    with pytest.raises(ConnectionError) as caught:
        make_client().connect(js_server.url)
    text = str(caught.value)
    assert text.startswith(
        f'{js_server.netloc} via proxy 127.0.0.1:{proxy.port}: TLS to the proxy: '
    )
    assert text.endswith('(the port does not speak TLS: use http:// or ws://)')


# -- Silence at each step --------------------------------------------------------------------------


class StagedProxy:
    """An HTTP proxy in this thread that says nothing at a stage, until it may go on."""

    def __init__(self, stage, certificates):
        self.stage = stage
        self.held = gevent.event.Event()
        self.go_on = gevent.event.Event()
        self.context = certificates and certificates.server_context()
        self.greenlets = []
        self.server = support.HostileServer(self.handle)
        self.url = f'{"https" if certificates else "http"}://127.0.0.1:{self.server.port}'

    def hold(self, stage):
        if stage == self.stage:
            self.held.set()
            self.go_on.wait()

    def handle(self, sock):
        self.hold('TLS to the proxy')
        if self.context is not None:
            # Otherwise a failed handshake would leave the descriptor to the collector.
            sock = self.context.wrap_socket(sock, server_side=True, do_handshake_on_connect=False)
        with sock:
            if self.context is not None:
                sock.do_handshake()
            request = support.read_request(sock)
            assert request.method == 'CONNECT'
            self.hold('CONNECT')
            host, _, port = request.target.rpartition(':')
            with socket.create_connection((host, int(port))) as there:
                sock.sendall(b'HTTP/1.1 200 OK\r\n\r\n')
                back = gevent.spawn(self.pump, there, sock, 'answer')
                self.pump(sock, there)
                back.join()

    def pump(self, source, target, stage=None):
        # ValueError: gevent's shutdown() ends TLS, which the other direction may read.
        with contextlib.suppress(OSError, ValueError):
            while data := source.recv(65536):
                self.hold(stage)
                target.sendall(data)
            target.shutdown(socket.SHUT_WR)


@pytest.mark.parametrize('transport', ['polling', 'websocket'])
@pytest.mark.parametrize('with_tls', [False, True], ids=['http-proxy', 'https-proxy'])
@pytest.mark.parametrize('stage', ['TLS to the proxy', 'CONNECT', 'answer'])
def test_a_proxy_that_says_nothing_for_a_while(
    route, monkeypatch, tls_server, certificates, make_client, transport, with_tls, stage
):
    """The thread goes on: the proxy is in it. So is this test."""
    proxy = StagedProxy(stage, certificates if with_tls else None)
    monkeypatch.setenv('ALL_PROXY', proxy.url)
    client = make_client()
    connecting = gevent.spawn(client.connect, tls_server.url, transports=[transport])
    assert proxy.held.wait(support.patience(5))
    assert not connecting.ready()
    proxy.go_on.set()
    connecting.get(timeout=support.patience(10))
    client.send('hello')
    assert client.next() == 'hello'
    client.disconnect()
    proxy.server.wait_open(0)
    proxy.server.stop()


@pytest.mark.parametrize('transport', ['polling', 'websocket'])
@pytest.mark.parametrize('with_tls', [False, True], ids=['http-proxy', 'https-proxy'])
@pytest.mark.parametrize('stage', ['TLS to the proxy', 'CONNECT', 'answer'])
@pytest.mark.parametrize('end', ['timeout', 'kill'])
def test_a_proxy_that_never_says_anything(
    route, monkeypatch, tls_server, certificates, make_client, transport, with_tls, stage, end
):
    """In the end no descriptor is left."""
    proxy = StagedProxy(stage, certificates if with_tls else None)
    monkeypatch.setenv('ALL_PROXY', proxy.url)
    client = make_client(request_timeout=1.5 if end == 'timeout' else None)
    connecting = gevent.spawn(
        support.outcome, client.connect, tls_server.url, transports=[transport]
    )
    assert proxy.held.wait(support.patience(5))
    if end == 'kill':
        connecting.kill()
    error = connecting.get(timeout=support.patience(10))
    if end == 'timeout':
        assert isinstance(error, ConnectionError)
        assert tls_server.netloc in str(error)
    proxy.go_on.set()
    proxy.server.wait_open(0)
    proxy.server.stop()
