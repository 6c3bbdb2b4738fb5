"""A slow reader: `send()` waits, memory stays bounded, and the heartbeat goes on."""

import contextvars
import itertools
import socket as stdlib_socket
import time
import tracemalloc

import gevent
import pytest
from gevent.event import Event

import support
from engineio_gevent.dispatcher import BATCH, dispatchers

PING_INTERVAL = 0.3
PINGS = 6
"""Intervals that a connection has to survive."""

SMALL = 1 << 16
"""Buffers of a connection that soon takes no more."""

READ_SIZE = 16384

SMALL_BUFFERS = {'sockopt': [(stdlib_socket.SOL_SOCKET, stdlib_socket.SO_SNDBUF, SMALL)]}


class SlowServer:
    """A server that takes what a client sends at some bytes a second, and pings it.

    :param rate: in bytes a second.
    """

    def __init__(self, hostile_server, transport, rate):
        self.rate = rate
        self.transport = transport
        #: what was read between each PING and its PONG, in bytes
        self.before_pong = []
        self.pings = 0
        self._asked = None
        self._buffer = b''
        #: how many messages came
        self.messages = 0
        #: how many bytes were read of the websocket, or of the bodies of POSTs
        self.read = 0
        self.over = Event()
        self._server = hostile_server(self._serve)
        self.url = self._server.url
        self._server._server.socket.setsockopt(
            stdlib_socket.SOL_SOCKET, stdlib_socket.SO_RCVBUF, SMALL
        )

    def _take(self, packet):
        if packet.startswith(b'3'):
            self.before_pong.append(self.read - self._asked)
            self._asked = None
        elif packet != b'1':
            self.messages += 1

    def _ping(self, send):
        """Ping until the test is over; the next PING waits for a PONG, as servers' do."""
        while not self.over.wait(PING_INTERVAL):
            if self._asked is None:
                self._asked = self.read
                self.pings += 1
                send('2')

    def recv(self, size):
        """What `support.read_frame` and `read_request` read by, slowly."""
        if not self._buffer:
            gevent.sleep(READ_SIZE / self.rate)
            self._buffer = self._sock.recv(READ_SIZE)
            self.read += len(self._buffer)
        data, self._buffer = self._buffer[:size], self._buffer[size:]
        return data

    def _serve(self, sock):
        opening = support.open_packet(pingInterval=int(PING_INTERVAL * 1000), pingTimeout=60_000)
        try:
            if self.transport == 'websocket':
                support.accept_websocket(sock)
                support.send_frame(sock, opening)
                self._sock = sock
                pinging = gevent.spawn(self._ping, lambda ping: support.send_frame(sock, ping))
                try:
                    while True:
                        opcode, payload = support.read_frame(self)
                        if opcode == support.CLOSE:
                            sock.sendall(support.close_frame())
                        else:
                            self._take(payload)
                finally:
                    pinging.kill()
            else:
                self._serve_polling(sock, opening)
        except OSError:
            pass

    def _serve_polling(self, sock, opening):
        while True:
            request = support.read_request(sock)
            if request.method == 'POST':
                # as if the body had been read slowly
                gevent.sleep(len(request.body) / self.rate)
                for packet in request.body.split(b'\x1e'):
                    self._take(packet)
                    self.read += len(packet)
                support.respond(sock, 'ok')
            elif 'sid=' not in request.target:
                support.respond(sock, opening)
            else:
                sent = []
                self._ping_once(sock, sent)
                if not sent:
                    support.respond(sock, '6')

    def _ping_once(self, sock, sent):
        while not sent and not self.over.wait(PING_INTERVAL):
            if self._asked is None:
                self._asked = self.read
                self.pings += 1
                sent.append('2')
                support.respond(sock, '2')


def milliseconds(number):
    """An option of a server, on a machine as busy as this one."""
    return int(support.patience(number))


@pytest.fixture
def slow_server(hostile_server, transport):
    servers = []

    def make(rate):
        servers.append(SlowServer(hostile_server, transport, rate))
        return servers[-1]

    return make


def test_a_sender_waits_and_the_heartbeat_goes_on(slow_server, make_client, transport):
    server = slow_server(2_000_000)
    limit = 200_000
    client = make_client(write_limit=limit, websocket_extra_options=SMALL_BUFFERS)
    client.connect(server.url, transports=transport)
    size = 10_000
    most = waited = sent = 0
    while server.pings < PINGS:
        before = time.monotonic()
        client.send('x' * size)
        waited = max(waited, time.monotonic() - before)
        sent += 1
        most = max(most, client.unsent * size)
    # At a moment when nobody waits there is no more than the limit, and what was sent last.
    assert most <= limit + 2 * size
    assert sent * size > 2 * limit
    assert waited > limit / 2 / server.rate / 2
    server.over.set()
    assert client.state == 'connected'
    assert len(server.before_pong) >= PINGS - 1
    client.disconnect()
    assert (client.reasons, client.disconnect_error) == (['client disconnect'], None)
    assert server.messages == sent


def test_without_a_limit_nothing_waits(slow_server, make_client, transport):
    server = slow_server(4_000_000)
    client = make_client(write_limit=None, websocket_extra_options=SMALL_BUFFERS)
    client.connect(server.url, transports=transport)
    turns = []
    gevent.spawn(turns.append, 'a turn')
    for _ in range(20_000):
        client.send('x' * 200)
    assert turns == []  # send() did not let another greenlet run
    assert client.unsent > 10_000
    support.eventually(lambda: server.pings > 2 and client.unsent == 0, 20)
    server.over.set()
    assert client.unsent == 0
    # A PONG stands behind what was begun, not behind all that is queued.
    assert max(server.before_pong) < 1 << 20
    client.disconnect()
    assert server.messages == 20_000


@pytest.mark.parametrize('kind', ['js', 'python'])
def test_pings_in_the_midst_of_many_messages(kind, transport, request, make_client):
    """The server would give up a client whose PONG waits behind them."""
    make_server = request.getfixturevalue(f'make_{kind}_server')
    count = {'js': 40_000, 'python': 10_000}[kind]  # by polling, seconds of work
    server = make_server(pingInterval=1000, pingTimeout=milliseconds(800))
    client = make_client(write_limit=None)
    client.connect(f'{server.url}/?check=1', transports=transport)
    sid = client.sid
    for _ in range(count):
        client.count('burst', 'x' * 20)
    assert support.eventually(lambda: client.unsent == 0 or client.reasons, 30)
    assert client.reasons == []
    client.disconnect()
    assert server.checked(sid) == {'burst': count}


def test_memory_stays_bounded_while_a_server_stands_still(make_js_server, make_client, transport):
    server = make_js_server(maxHttpBufferSize=1 << 20)
    client = make_client(request_timeout=20)
    client.connect(f'{server.url}/?check=1', transports=transport)
    sid = client.sid
    size, count = 20_000, 2000

    def send():
        for _ in range(count):
            client.count('large', 'x' * size)

    tracemalloc.start()
    try:
        # A server that runs would take all of it, while this process is kept from running.
        server.suspend()
        sending = gevent.spawn(send)
        gevent.sleep(1)
        stood = client.counts['large']
        gevent.sleep(0.2)
        assert client.counts['large'] == stood < count  # it waits
        server.resume()
        sending.get(timeout=20)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    # A limit of 1 MiB in text, in frames or bodies, and in pieces on their way; of 40 MB sent.
    assert peak < 8 << 20
    client.disconnect()
    assert server.checked(sid) == {'large': count}


def test_a_client_that_is_slow_to_read(make_js_server, make_client, transport):
    """Its handlers take the processor for longer than the server takes to send."""
    server = make_js_server(pingInterval=800, pingTimeout=milliseconds(800))
    client = make_client()
    count = 20_000
    came = []
    while_blocked = support.patience(0.001)

    def work(message):
        if not len(came) % 10:
            time.sleep(while_blocked)
        came.append(message)

    client.on('message', work)
    client.connect(server.url, transports=transport)
    client.send(f'numbers {count}')
    assert support.eventually(lambda: len(came) == count or client.reasons, 30)
    assert (client.reasons, client.disconnect_error) == ([], None)
    assert came == [str(number) for number in range(count)]


def test_sockets_get_their_turn_between_batches():
    """However many handlers there are to run."""
    dispatcher = dispatchers.get()
    context = contextvars.copy_context()
    ran = 0
    seen = []

    def work(_):
        nonlocal ran
        ran += 1

    ours, other = stdlib_socket.socketpair()
    watcher = gevent.get_hub().loop.io(ours.fileno(), 1)
    watcher.start(lambda: (seen.append(ran), ours.recv(1), other.send(b'x')))
    other.send(b'x')
    count = 40 * BATCH
    try:
        for _ in range(count):
            dispatcher.submit(context, work, None)
        assert support.eventually(lambda: ran == count, 20)
    finally:
        watcher.stop()
        watcher.close()
        ours.close()
        other.close()
    between = [after - before for before, after in itertools.pairwise([0, *seen, count])]
    assert max(between) <= 3 * BATCH


@pytest.mark.parametrize(
    'ping', [support.frame('', support.PING), support.frame('2')], ids=['websocket', 'engine.io']
)
def test_a_server_that_pings_and_does_not_read(hostile_server, make_client, ping):
    """RFC 6455, section 5.5.3: it is enough to answer the last PING."""

    def serve(sock):
        support.accept_websocket(sock)
        support.send_frame(sock, support.open_packet())
        for _ in range(10):
            sock.sendall(ping * 10_000)
        support.send_frame(sock, '4done')
        done.wait()

    done = Event()
    server = hostile_server(serve)
    client = make_client(websocket_extra_options=SMALL_BUFFERS)
    server._server.socket.setsockopt(stdlib_socket.SOL_SOCKET, stdlib_socket.SO_RCVBUF, SMALL)
    tracemalloc.start()
    try:
        client.connect(server.url, transports='websocket')
        assert client.inbox.get(timeout=20) == 'done'
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
        done.set()
    assert held < 2 << 20  # the answers to all would be 5 MiB
    client.disconnect(abort=True)


def test_a_client_whose_handlers_wait(make_js_server, make_client, transport):
    """None of them delays another, nor the heartbeat."""
    server = make_js_server(pingInterval=800, pingTimeout=milliseconds(800))
    client = make_client()
    count = 1000
    began, ended = [], []

    def wait(message):
        began.append(message)
        gevent.sleep(1)
        ended.append(message)

    client.on('message', wait)
    client.connect(server.url, transports=transport)
    client.send(f'numbers {count}')
    assert support.eventually(lambda: len(ended) == count, 20)
    assert began == [str(number) for number in range(count)]
    assert client.reasons == []
