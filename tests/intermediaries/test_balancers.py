"""Behind nginx and HAProxy: two servers, a cookie that keeps a client on one of them.

Every message is counted, here and on the servers.
"""

import itertools

import gevent
import pytest
from gevent.event import Event

import engineio_gevent
import support
from engineio_gevent import exceptions

MESSAGES = 200
BIG = 'x' * 300_000


class Counter(engineio_gevent.Client):
    """Sends numbers and keeps what comes back; its disconnects are in `ends`."""

    def __init__(self, **options):
        super().__init__(handle_sigint=False, **options)
        self.sent = []
        self.echoes = []
        #: for each disconnect: the reason and the cause
        self.ends = []
        self.ended = Event()
        self.on('message', self.echoes.append)
        self.on('disconnect', self._end)

    def _end(self, reason):
        self.ends.append((reason, self.disconnect_error))
        self.ended.set()

    def tell(self, message):
        self.sent.append(message)
        self.send(message)

    def wait_echoes(self, count=None, timeout=20):
        """Wait until so many messages have come back, all by default."""
        count = len(self.sent) if count is None else count
        assert support.eventually(lambda: len(self.echoes) >= count or self.ends, timeout)
        assert not self.ends, self.ends
        assert len(self.echoes) >= count


@pytest.fixture
def connect(way_transports):
    """`connect(balancer)`: a connected `Counter`; none of its descriptors may be left."""
    clients = []
    leaks = []

    def begin(balancer, query='', **options):
        if not leaks:
            leaks.append(support.Leaks())  # by now the intermediary runs
        clients.append(Counter(**options))
        clients[-1].connect(balancer.url + query, transports=way_transports)
        return clients[-1]

    yield begin
    for client in clients:
        client.disconnect(abort=True)
    if leaks:
        assert support.eventually(lambda: not left_open(leaks[0])), left_open(leaks[0])


def left_open(leaks):
    """What is left of descriptors; the dispatcher keeps its greenlets for the next handlers."""
    return [text for text in leaks.left() if not text.startswith('greenlet')]


def check_counted(client, server, sid):
    """The server has had every message, once, in order; and so has the client its echo."""
    assert client.echoes == client.sent
    assert support.eventually(lambda: len(server.received(sid)) == len(client.sent))
    assert server.received(sid) == client.sent


@pytest.mark.parametrize('buffering', [True, False], ids=['buffered', 'unbuffered'])
@pytest.mark.parametrize('secure', [False, True], ids=['http', 'https'])
@pytest.mark.parametrize('servers', ['js', 'python'], indirect=True)
def test_every_message_arrives(
    balancer, connect, way, buffering, secure, certificates, monkeypatch
):
    monkeypatch.setenv('REQUESTS_CA_BUNDLE', certificates.ca)
    before = balancer(buffering=buffering, tls=certificates if secure else None)
    client = connect(before, f'?greet={MESSAGES}')
    assert client.transport() == ('polling' if way == 'polling' else 'websocket')
    client.wait_echoes(MESSAGES)
    assert client.echoes == [f'g{number}' for number in range(MESSAGES)]
    client.echoes.clear()
    for number in range(MESSAGES):
        client.tell(f'm{number}')
        if number % 10 == 0:
            client.tell(bytes(range(256)) * number)
            gevent.sleep(0)
    client.tell(BIG)
    client.wait_echoes()
    sid = client.sid
    server = before.server_of(sid)
    check_counted(client, server, sid)
    # the goodbye gets through as well
    client.disconnect()
    server.close_reason(sid)
    assert client.ends == [('client disconnect', None)]


def test_sent_just_before_disconnect(balancer, connect):
    before = balancer()
    client = connect(before)
    sid = client.sid
    for number in range(1000):
        client.tell(f'm{number}')
    client.disconnect()
    server = before.server_of(sid)
    assert support.eventually(lambda: len(server.received(sid)) == 1000)
    assert server.received(sid) == client.sent
    server.close_reason(sid)


def test_both_servers_have_their_share(balancer, connect, way):
    """Each client stays where it came to, though no two connections need lead to one server."""
    before = balancer()
    clients = [connect(before) for _ in range(16)]
    for client in clients:
        client.tell('one')
        client.tell('two')
    for client in clients:
        client.wait_echoes()
    homes = [before.server_of(client.sid) for client in clients]
    assert set(homes) == set(before.servers)
    for client, server in zip(clients, homes, strict=True):
        first, *others = server.requests(client.sid)
        assert 'cookie' not in first['headers']
        if way != 'websocket':
            assert others
            # HAProxy keeps the cookie to itself, nginx hands it on
            expected = 'route=' if before.name == 'nginx' else ''
            assert all(
                request['headers'].get('cookie', '').startswith(expected) for request in others
            )
        check_counted(client, server, client.sid)


def test_nginx_without_the_headers_of_a_websocket(nginx, connect, way):
    """The most common mistake: the upgrade fails, polling goes on, nothing is lost."""
    before = nginx(upgrade=False)
    if way == 'websocket':
        with pytest.raises(exceptions.ConnectionError, match=r'400|websocket'):
            connect(before)
        return
    client = connect(before, '?greet=50')
    assert client.transport() == 'polling'
    client.wait_echoes(50)
    for number in range(MESSAGES):
        client.tell(f'm{number}')
    client.wait_echoes(50 + MESSAGES)
    assert client.echoes == [f'g{number}' for number in range(50)] + client.sent


def test_compressed_by_nginx(nginx, connect):
    before = nginx(gzip='on')
    client = connect(before)
    for number in range(MESSAGES):
        client.tell(f'm{number} ' + 'x' * number * 10)
    client.tell(BIG)
    client.wait_echoes()
    check_counted(client, before.server_of(client.sid), client.sid)


def test_too_large_for_nginx(nginx, connect, way):
    """The status is in the cause, though it is nginx's own, with a page of HTML."""
    before = nginx(max_body='10k')
    client = connect(before)
    client.send(BIG)
    if way != 'polling':
        assert support.eventually(lambda: client.echoes == [BIG])
        return
    assert client.ended.wait(10)
    [(reason, error)] = client.ends
    assert reason == 'transport error'
    assert isinstance(error, exceptions.HTTPError)
    assert error.status == 413
    client.connect(before.url, transports=['polling'])
    client.tell('again')
    assert support.eventually(lambda: client.echoes == ['again'])


class Nobody:
    """Where a server should be."""

    def __init__(self, port):
        self.port = port


def test_servers_that_are_down(start, balancer_kind, way_transports):
    """502 or 503 and a page of HTML, which nobody takes for a handshake."""
    nobody = [Nobody(support.free_port()) for _ in range(2)]
    before = start(balancer_kind, nobody)
    client = Counter()
    with support.no_leaks(), pytest.raises(exceptions.ConnectionError, match=r'50[23]') as caught:
        client.connect(before.url, transports=way_transports)
    assert caught.value.__cause__.status in (502, 503)
    assert client.ends == []


class TestIdleTimeouts:
    """Connections that an intermediary ends when nothing passes for a while."""

    def test_longer_than_the_pings(self, balancer, pinging, connect, way):
        """PINGs and PONGs keep the way open."""
        before = balancer(servers=pinging, idle='1500ms')
        client = connect(before)
        client.tell('first')
        assert not client.ended.wait(2.5)
        client.tell('second')
        client.wait_echoes()
        check_counted(client, before.server_of(client.sid), client.sid)

    def test_shorter_than_the_pings(self, balancer, connect, way, way_transports):
        """The connection ends, once, soon and with its cause; the next one works."""
        before = balancer(idle='600ms')
        client = connect(before)
        client.tell('first')
        client.wait_echoes()
        assert client.ended.wait(4)
        client.wait()
        [(reason, error)] = client.ends
        assert reason == 'transport error'
        if way == 'polling':
            assert isinstance(error, exceptions.HTTPError)
            assert error.status == 504
        else:
            assert isinstance(error, exceptions.ConnectionClosed)
        client.connect(before.url, transports=way_transports)
        client.tell('second')
        assert support.eventually(lambda: client.echoes == client.sent)
        assert len(client.ends) == 1

    def test_reconnecting_from_the_disconnect_handler(self, balancer, connect, way_transports):
        """It is how people live with it."""
        before = balancer(idle='600ms')
        client = connect(before)
        sids = [client.sid]
        again = Event()

        @client.on('disconnect')
        def disconnect(reason):
            if len(sids) < 3:
                client.connect(before.url, transports=way_transports)
                sids.append(client.sid)
                client.tell(f'after {len(sids)}')
            else:
                again.set()

        assert again.wait(10)
        assert client.echoes == client.sent == ['after 2', 'after 3']
        assert len(set(sids)) == 3

    def test_of_the_kept_connection(self, balancer, connect):
        """A pause longer than the time-out for the next request costs nothing."""
        before = balancer(keepalive='200ms')
        client = connect(before)
        for number in range(8):
            client.tell(f'm{number}')
            gevent.sleep(0.35 if number % 2 else 0.02)
        client.wait_echoes()
        check_counted(client, before.server_of(client.sid), client.sid)


class Sender:
    """A client that sends numbers without end, and comes back when it is cut off."""

    def __init__(self, balancer, transports, name):
        self.balancer = balancer
        self.transports = transports
        self.name = name
        #: for each connection: its sid, what was sent, what came back, its end
        self.connections = []
        self.client = Counter()
        self.client.on('message', self.take)
        self.client.on('disconnect', self.left)
        self.running = True
        self._connect()
        self.greenlet = gevent.spawn(self.run)

    def _connect(self):
        self.client.connect(self.balancer.url, transports=self.transports)
        self.connections.append({'sid': self.client.sid, 'sent': [], 'echoes': [], 'error': None})

    def take(self, message):
        self.connections[-1]['echoes'].append(message)

    def left(self, reason):
        self.connections[-1]['error'] = self.client.disconnect_error

    def run(self):
        for number in itertools.count():
            if not self.running:
                return
            if self.client.state != 'connected':
                self.client.wait()
                self._connect()
            message = f'{self.name} {number}'
            self.connections[-1]['sent'].append(message)
            self.client.send(message)
            gevent.sleep(0.005)

    def stop(self):
        """Send no more; wait for the echoes of the last connection."""
        self.running = False
        self.greenlet.get(timeout=20)
        last = self.connections[-1]
        support.eventually(lambda: len(last['echoes']) == len(last['sent']) or last['error'], 20)
        self.client.disconnect()

    def check(self):
        """What each connection has carried: nothing twice, nothing out of order, nothing left out.

        Where it was cut off the end may be missing, and it says why.
        """
        for connection in self.connections:
            server = self.balancer.server_of(connection['sid'])
            received = server.received(connection['sid'])
            assert received == connection['sent'][: len(received)]
            assert connection['echoes'] == received[: len(connection['echoes'])]
            if connection['error'] is None:
                assert received == connection['sent'] == connection['echoes']
        return [connection['error'] for connection in self.connections[:-1]]


@pytest.mark.parametrize('grace', ['60s', '1s'])
def test_reload_under_load(start, balancer_kind, servers, way, way_transports, grace):
    before = start(balancer_kind, servers, shutdown_timeout=grace)
    senders = [Sender(before, way_transports, f'{way}-{number}') for number in range(6)]
    try:
        for _ in range(3):
            gevent.sleep(0.3)
            before.reload()
        gevent.sleep(1.5 if grace == '1s' else 0.3)
    finally:
        for sender in senders:
            sender.stop()
    errors = [error for sender in senders for error in sender.check()]
    assert all(isinstance(error, exceptions.EngineIOError) for error in errors)
    if grace == '1s' and way != 'polling':
        assert len(errors) >= len(senders)  # the old worker has cut them off
    elif way != 'polling':
        assert errors == []  # it serves its websockets to their end
