"""Servers that spoil the upgrade: whatever happens, polling goes on and nothing is lost."""

import itertools
import time

import gevent
import gevent.select
import pytest
from gevent.event import Event
from gevent.queue import Empty, Queue

from engineio_gevent import connecting
from engineio_gevent.exceptions import ConnectionClosed, HTTPError, ProtocolError
from support import (
    BINARY,
    CLOSE,
    PING,
    PONG,
    TEXT,
    accept_websocket,
    close_frame,
    eventually,
    frame,
    open_packet,
    read_frame,
    read_request,
    read_to_end,
    reset,
    respond,
    response,
    send_frame,
    settle,
)


@pytest.fixture(autouse=True)
def polling_starts_soon(monkeypatch):
    """These probes are slow on purpose; nobody has to wait so long to see it."""
    monkeypatch.setattr(connecting, 'PROBE_HEAD_START', 0.05)


class UpgradingServer:
    """A server of one session that polls in order, and probes as it is told.

    :param probe: what happens on the websocket, a function of the socket and the request.
    :param changes: of the OPEN packet.
    """

    def __init__(self, probe, **changes):
        self.probe = probe
        self.open_packet = open_packet(upgrades=['websocket'], **changes)
        #: packets that go out by the next GETs, each body a list
        self.bodies = Queue()
        #: the packets that came by POST
        self.posted = Queue()
        self.polls = 0
        self.polling = 0
        self.most_polling = 0
        self.websockets = 0
        self.probed = Event()
        self.may_answer_post = Event()
        self.may_answer_post.set()

    def __call__(self, sock):
        while True:
            request = read_request(sock)
            if 'transport=websocket' in request.target:
                self.websockets += 1
                self.probed.set()
                self.probe(sock, request)
                return
            if request.method == 'POST':
                for packet in request.body.decode().split('\x1e'):
                    self.posted.put(packet)
                self.may_answer_post.wait()
                respond(sock, 'ok')
            elif 'sid=' not in request.target:
                respond(sock, self.open_packet)
            else:
                self.polls += 1
                self.polling += 1
                self.most_polling = max(self.most_polling, self.polling)
                try:
                    body = self._wait_for_body(sock)
                finally:
                    self.polling -= 1
                respond(sock, '\x1e'.join(body))

    def _wait_for_body(self, sock):
        while True:
            try:
                return self.bodies.get(timeout=0.01)
            except Empty:
                if sock.closed or gevent.select.select([sock], [], [], 0)[0]:
                    raise ConnectionResetError('the other side has gone') from None

    def say(self, *packets):
        self.bodies.put(packets)


def pong_is_read(one):
    """Wait until the probe has its answer: polling comes to rest then."""
    assert eventually(lambda: one.client._session.transport._paused)


def is_polling(one, script):
    """See whether the connection works both ways over polling, its state in order."""
    number = str(time.monotonic())
    seen = len(one.messages)
    assert (one.client.state, one.client.transport()) == ('connected', 'polling')
    script.say(f'4{number}x')
    assert eventually(lambda: len(one.messages) > seen)
    assert one.messages[seen:] == [f'{number}x']
    one.client.send(f'{number}y')
    assert script.posted.get(timeout=5) == f'4{number}y'
    script.say('2heartbeat')
    assert script.posted.get(timeout=5) == '3heartbeat'
    assert script.most_polling == 1  # a second GET would end the session at a real server
    assert one.ends == []


def answers(data):
    """A probe that is answered by these bytes instead of 101."""

    def probe(sock, request):
        sock.sendall(data)
        read_to_end(sock)

    return probe


def says(data, then=read_to_end):
    """A probe that is accepted, and its PING answered by these bytes."""

    def probe(sock, request):
        accept_websocket(sock, request)
        assert read_frame(sock) == (TEXT, b'2probe')
        sock.sendall(data)
        then(sock)

    return probe


def at_once(data, then=read_to_end):
    """A probe that is accepted, with these bytes before its PING."""

    def probe(sock, request):
        accept_websocket(sock, request)
        sock.sendall(data)
        then(sock)

    return probe


SPOILT = [
    ('400', answers(response('{"code":3,"message":"Bad request"}', '400 Bad Request'))),
    ('502-html', answers(response('<html>Bad Gateway', '502 Bad Gateway'))),
    ('200', answers(response('<html>'))),
    ('301', answers(response('', '301 Moved', [('Location', '/elsewhere')]))),
    ('101-of-no-kind', answers(b'HTTP/1.1 101 Switching Protocols\r\n\r\n')),
    ('garbage', answers(b'\x00\xff' * 100 + b'\r\n\r\n')),
    ('status-text', answers(b'HTTP/1.1 abc\r\n\r\n')),
    ('header-latin', answers(b'HTTP/1.1 101 X\r\nX: \xff\r\n\r\n')),
    ('length-text', answers(b'HTTP/1.1 400 X\r\nContent-Length: many\r\n\r\n')),
    (
        'length-huge',
        lambda sock, request: sock.sendall(
            b'HTTP/1.1 400 X\r\nContent-Length: 99999999999999999999\r\n\r\nx'
        ),
    ),
    ('closed-unanswered', lambda sock, request: None),
    ('reset-unanswered', lambda sock, request: reset(sock)),
    ('head-cut', lambda sock, request: sock.sendall(b'HTTP/1.1 101 Swi')),
    ('closed', says(b'', gevent.socket.socket.close)),
    ('reset', says(b'', reset)),
    ('pong-cut', says(frame('3probe')[:-1], gevent.socket.socket.close)),
    ('close-frame', says(close_frame(1000))),
    ('close-frame-at-once', at_once(close_frame(1008, 'no'))),
    ('wrong-pong', says(frame('3'))),
    ('other-pong', says(frame('3prob'))),
    ('longer-pong', says(frame('3probe!'))),
    ('binary-pong', says(frame('3probe', BINARY))),
    ('empty-frame', says(frame(''))),
    ('noop', says(frame('6'))),
    ('message', says(frame('4hello'))),
    ('ping', says(frame('2probe'))),
    ('close-packet', says(frame('1'))),
    ('open-packet', at_once(frame(open_packet()))),
    ('unknown-packet', says(frame('x'))),
    ('utf-8', says(frame(b'3\xff'))),
    ('masked', says(frame('3probe', mask=b'abcd'))),
    ('reserved-bit', says(frame('3probe', rsv=4))),
    ('too-large', says(frame('3probe', length=1 << 50))),
]


@pytest.mark.parametrize('probe', [case[1] for case in SPOILT], ids=[case[0] for case in SPOILT])
def test_a_probe_that_fails(hostile_server, witness, probe):
    script = UpgradingServer(probe)
    server = hostile_server(script)
    one = witness(request_timeout=5).connect(server, None)
    assert (one.connects, script.websockets) == (1, 1)
    is_polling(one, script)
    server.wait_open(2)  # GET and POST; the probe's is closed
    one.client.disconnect()
    assert one.ends == [('client disconnect', 'disconnecting')]
    server.wait_open(0)


HANGING = [
    ('no-answer', lambda sock, request: read_to_end(sock)),
    ('half-an-answer', answers(b'HTTP/1.1 101 Switching Protocols\r\nUpgrade: web')),
    ('no-pong', says(b'')),
    ('half-a-pong', says(frame('3probe')[:-1])),
    ('only-pings', says(frame('', PING) * 3)),
]


@pytest.mark.parametrize('probe', [case[1] for case in HANGING], ids=[case[0] for case in HANGING])
def test_a_probe_that_hangs(hostile_server, witness, probe):
    """Meanwhile the connection is alive; at the end it still is."""
    script = UpgradingServer(probe)
    server = hostile_server(script)
    one = witness(request_timeout=0.3)
    connecting = gevent.spawn(one.connect, server, None)
    assert script.probed.wait(5)
    assert eventually(lambda: script.polls)
    script.say('4early', '2early')
    assert script.posted.get(timeout=5) == '3early'
    assert eventually(lambda: one.messages == ['early'])
    one.client.send('also early')
    assert script.posted.get(timeout=5) == '4also early'
    assert not connecting.ready()
    connecting.get(timeout=5)
    is_polling(one, script)
    server.wait_open(2)


def test_a_pong_that_is_slow(hostile_server, witness):
    """Longer than the head start: polling carries what comes, then all goes on by websocket."""
    carried = []

    def probe(sock, request):
        accept_websocket(sock, request)
        assert read_frame(sock) == (TEXT, b'2probe')
        for number in range(10):
            assert eventually(lambda: script.polling)
            script.say(f'4{number}', f'2{number}')
            assert script.posted.get(timeout=5) == f'3{number}'
            one.client.send(f'up {number}')
            carried.append(script.posted.get(timeout=5))
        sock.sendall(frame('3probe'))
        # The client asks for nothing new: what it waits for is ended by a noop.
        assert eventually(lambda: script.polling)
        pong_is_read(one)
        for number in range(10, 20):
            one.client.send(f'up {number}')
        settle()
        assert script.posted.empty()
        script.say('410', '6')
        assert read_frame(sock) == (TEXT, b'5')
        for number in range(11, 20):
            send_frame(sock, f'4{number}')
        while len(carried) < 20:
            carried.append(read_frame(sock)[1].decode())
        read_to_end(sock)

    script = UpgradingServer(probe)
    server = hostile_server(script)
    one = witness()
    one.connect(server, None)
    assert one.client.transport() == 'websocket'
    assert eventually(lambda: len(one.messages) == 20 and len(carried) == 20)
    assert one.messages == [str(number) for number in range(20)]
    assert carried == [f'4up {number}' for number in range(20)]
    assert script.most_polling == 1
    assert script.polling == 0
    server.wait_open(1)  # the websocket alone
    assert script.posted.empty()


@pytest.mark.parametrize(
    'then',
    [gevent.socket.socket.close, reset, lambda sock: sock.sendall(close_frame(1011))],
    ids=['close', 'reset', 'close-frame'],
)
def test_a_websocket_that_ends_between_its_pong_and_the_upgrade(hostile_server, witness, then):
    """The GET in flight is awaited, and in this time the websocket goes."""

    def probe(sock, request):
        accept_websocket(sock, request)
        assert read_frame(sock) == (TEXT, b'2probe')
        assert eventually(lambda: script.polling)
        sock.sendall(frame('3probe'))
        pong_is_read(one)
        websocket = one.client._session._on_end.__self__._probe.websocket
        then(sock)
        if sock.fileno() >= 0:
            read_to_end(sock)
        assert eventually(lambda: websocket._stream is None)  # noticed, while the GET is awaited
        script.say('4by polling', '6')

    script = UpgradingServer(probe)
    server = hostile_server(script)
    one = witness(request_timeout=2)
    one.connect(server, None)
    assert eventually(lambda: one.messages == ['by polling'])
    is_polling(one, script)
    server.wait_open(2)


def test_a_get_that_does_not_end_for_the_upgrade(hostile_server, witness):
    """Without the server's noop there is no upgrade, and no harm either."""

    def probe(sock, request):
        accept_websocket(sock, request)
        assert read_frame(sock) == (TEXT, b'2probe')
        assert eventually(lambda: script.polling)
        sock.sendall(frame('3probe'))
        heard.append(read_to_end(sock))

    heard = []
    script = UpgradingServer(probe)
    server = hostile_server(script)
    one = witness(request_timeout=0.5)
    connecting = gevent.spawn(one.connect, server, None)
    assert eventually(lambda: script.polling)
    pong_is_read(one)
    one.client.send('waiting')
    connecting.get(timeout=5)
    assert script.posted.get(timeout=5) == '4waiting'
    is_polling(one, script)
    assert eventually(lambda: heard)
    assert script.polls >= 1


def test_pings_that_come_within_the_upgrade_are_answered(hostile_server, witness):
    def probe(sock, request):
        accept_websocket(sock, request)
        assert read_frame(sock) == (TEXT, b'2probe')
        sock.sendall(frame('', PING) + frame('3probe') + frame('x', PING))
        script.say('6')  # on a slow machine polling has begun
        heard.extend(read_frame(sock) for _ in range(3))
        send_frame(sock, '2')
        heard.append(read_frame(sock))
        read_to_end(sock)

    heard = []
    script = UpgradingServer(probe)
    one = witness().connect(hostile_server(script), None)
    assert one.client.transport() == 'websocket'
    assert eventually(lambda: len(heard) == 4)
    assert sorted(heard[:3]) == [(TEXT, b'5'), (PONG, b''), (PONG, b'x')]
    assert heard[3] == (TEXT, b'3')


# -- Polling goes while the probe goes on ----------------------------------------------------------


class FailingPolling(UpgradingServer):
    """Its GETs and POSTs end as it is told."""

    def __init__(self, failure, probe, **changes):
        super().__init__(probe, **changes)
        self.failure = failure

    def _wait_for_body(self, sock):
        body = super()._wait_for_body(sock)
        if body != ('fail',):
            return body
        self.failure(sock)
        raise ConnectionResetError


@pytest.mark.parametrize(
    ('failure', 'kind'),
    [
        (lambda sock: respond(sock, '{"code":1}', '400 Bad Request'), HTTPError),
        (lambda sock: respond(sock, '9'), ProtocolError),
        (lambda sock: sock.sendall(response('4one')[:-1]), ConnectionClosed),
    ],
    ids=['status', 'packet', 'cut'],
)
@pytest.mark.parametrize('pong', [b'', frame('3probe')], ids=['probing', 'pausing'])
def test_polling_that_fails_within_the_upgrade(hostile_server, witness, failure, kind, pong):
    """One end; connect() is let go, and the probe's socket is closed."""

    def probe(sock, request):
        accept_websocket(sock, request)
        assert read_frame(sock) == (TEXT, b'2probe')
        assert eventually(lambda: script.polling)
        sock.sendall(pong)
        if pong:
            pong_is_read(one)
        script.say('fail')
        read_to_end(sock)

    script = FailingPolling(failure, probe)
    server = hostile_server(script)
    one = witness(request_timeout=5)
    connecting = gevent.spawn(one.connect, server, None)
    assert isinstance(one.loses(), kind)
    connecting.join(timeout=5)
    assert connecting.ready()
    server.wait_open(0)


def test_a_close_packet_within_the_upgrade(hostile_server, witness):
    def probe(sock, request):
        accept_websocket(sock, request)
        assert read_frame(sock) == (TEXT, b'2probe')
        assert eventually(lambda: script.polling)
        script.say('4last', '1')
        read_to_end(sock)

    script = UpgradingServer(probe)
    server = hostile_server(script)
    one = witness()
    connecting = gevent.spawn(one.connect, server, None)
    assert one.loses('server disconnect', 'disconnecting') is None
    connecting.join(timeout=5)
    assert connecting.ready()
    assert one.messages == ['last']
    server.wait_open(0)


@pytest.mark.usefixtures('unhurried_abort')
@pytest.mark.parametrize('abort', [False, True])
@pytest.mark.parametrize('pong', [b'', frame('3probe')], ids=['probing', 'pausing'])
def test_disconnecting_within_the_upgrade(hostile_server, witness, pong, abort):
    def probe(sock, request):
        accept_websocket(sock, request)
        assert read_frame(sock) == (TEXT, b'2probe')
        assert eventually(lambda: script.polling)
        sock.sendall(pong)
        reached.set()
        read_to_end(sock)

    reached = Event()
    script = UpgradingServer(probe)
    server = hostile_server(script)
    one = witness()
    connecting = gevent.spawn(one.connect, server, None)
    assert reached.wait(5)
    if pong:
        pong_is_read(one)
    one.client.disconnect(abort=abort)
    connecting.join(timeout=5)
    assert connecting.ready()
    assert one.ends == [('client disconnect', 'disconnecting')]
    assert script.posted.get(timeout=5) == '1'
    server.wait_open(0)


def test_the_heartbeat_ends_an_upgrade_that_hangs(hostile_server, witness):
    script = UpgradingServer(says(b''), pingInterval=300, pingTimeout=200)
    server = hostile_server(script)
    one = witness(request_timeout=20)
    connecting = gevent.spawn(one.connect, server, None)
    one.loses()
    connecting.join(timeout=5)
    assert connecting.ready()
    server.wait_open(0)


@pytest.mark.parametrize(
    'error', [gevent.Timeout(0.4), gevent.GreenletExit()], ids=['timeout', 'killed']
)
def test_a_caller_that_is_interrupted_within_the_upgrade(
    hostile_server, witness, hub_errors, error
):
    """His exception comes through; nothing stays open."""
    script = UpgradingServer(says(b''))
    server = hostile_server(script)
    one = witness()
    connecting = gevent.spawn(one.connect, server, None)
    assert script.probed.wait(5)
    settle()
    connecting.kill(error, block=False)
    connecting.join(timeout=5)
    assert connecting.ready()
    if isinstance(error, gevent.Timeout):
        assert connecting.exception is error
        hub_errors.clear()  # the end of this test's own greenlet
    one.client.wait()
    assert one.client.state == 'disconnected'
    assert len(one.ends) == 1
    server.wait_open(0)


def test_the_websocket_fails_just_after_the_upgrade(hostile_server, witness):
    """By then it is the connection: no way back to polling."""

    def probe(sock, request):
        says(frame('3probe'), lambda sock: script.say('6'))(sock, request)
        assert read_frame(sock) == (TEXT, b'5')
        sock.sendall(frame('4one') + frame('9'))
        frames.extend(iter(lambda: read_frame(sock), (CLOSE, b'')))

    frames = []
    script = UpgradingServer(probe)
    server = hostile_server(script)
    one = witness().connect(server, None)
    assert isinstance(one.loses(), ProtocolError)
    assert one.messages == ['one']
    server.wait_open(0)


def test_a_thousand_messages_each_way_across_the_upgrade(hostile_server, witness):
    """Sent all the time while the probe is slow; none is lost, doubled or reordered."""
    count = 1000

    def probe(sock, request):
        accept_websocket(sock, request)
        assert read_frame(sock) == (TEXT, b'2probe')
        assert eventually(lambda: one.messages)  # polling is under way
        sock.sendall(frame('3probe'))
        upgrading.set()
        while True:
            data = read_frame(sock)[1].decode()
            if data == '5':
                break
        upgraded.set()
        while not script.bodies.empty():
            for packet in script.bodies.get():
                send_frame(sock, packet)
        for number in numbers:
            send_frame(sock, f'4{number}')
        while True:
            received.append(read_frame(sock)[1].decode())

    def talk():
        """By polling, until it is over."""
        while not upgrading.is_set():
            script.say(*[f'4{number}' for number in itertools.islice(numbers, 7)])
            gevent.sleep(0.01)
        script.say('6')

    numbers = iter(range(count))
    received = []
    upgrading, upgraded = Event(), Event()
    script = UpgradingServer(probe)
    server = hostile_server(script)
    one = witness()
    talking = gevent.spawn(talk)
    connecting = gevent.spawn(one.connect, server, None)
    assert eventually(lambda: one.client.state == 'connected')
    for number in range(count):
        one.client.send(str(number))
        if not number % 20:
            gevent.sleep(0.01)
    connecting.get(timeout=5)
    talking.get(timeout=5)
    assert one.client.transport() == 'websocket'
    assert eventually(
        lambda: script.posted.qsize() + len(received) >= count and len(one.messages) >= count
    )
    posted = [script.posted.get() for _ in range(script.posted.qsize())]
    assert posted
    assert received
    assert posted + received == [f'4{number}' for number in range(count)]
    assert one.messages == [str(number) for number in range(count)]


@pytest.mark.parametrize('pong', ['before', 'after', 'never'])
def test_disconnecting_within_the_upgrade_loses_nothing(hostile_server, witness, pong):
    """What was sent goes out over polling, and then the CLOSE packet.

    :param pong: whether polling comes to rest for the upgrade before or after disconnect().
    """

    def probe(sock, request):
        accept_websocket(sock, request)
        assert read_frame(sock) == (TEXT, b'2probe')
        assert eventually(lambda: script.polling)
        may_answer.wait()
        if pong != 'never':
            sock.sendall(frame('3probe'))
            answered.set()
        ended.append(read_to_end(sock))

    ended = []
    may_answer, answered = Event(), Event()
    script = UpgradingServer(probe)
    server = hostile_server(script)
    one = witness()
    connecting = gevent.spawn(one.connect, server, None)
    assert eventually(lambda: script.polling)
    if pong == 'before':
        may_answer.set()
        pong_is_read(one)
        one.client.send('0')
    else:
        script.may_answer_post.clear()
        one.client.send('0')
        assert script.posted.get(timeout=5) == '40'  # its answer is on the way
    one.client.send('1')
    leaving = gevent.spawn(one.client.disconnect)
    settle()
    may_answer.set()
    if pong == 'after':
        answered.wait()
        settle()
    script.may_answer_post.set()
    leaving.get(timeout=5)
    connecting.get(timeout=5)
    expected = ['40', '41', '1'] if pong == 'before' else ['41', '1']
    assert [script.posted.get(timeout=5) for _ in expected] == expected
    assert one.ends == [('client disconnect', 'disconnecting')]
    assert (one.client.unsent, one.client.disconnect_error) == (0, None)
    assert eventually(lambda: ended)  # the probe's websocket is closed
    server.wait_open(0)
