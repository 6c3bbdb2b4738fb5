"""Polling with servers that go wrong after the handshake: one disconnect, with its cause."""

import base64
import gzip
import time

import gevent
import gevent.select
import pytest
from gevent.event import Event
from gevent.queue import Empty, Queue

from engineio_gevent import exceptions
from engineio_gevent.exceptions import ConnectionClosed, HeartbeatTimeout, HTTPError, ProtocolError
from support import (
    eventually,
    open_packet,
    patience,
    read_request,
    read_to_end,
    reset,
    response,
    settle,
)

UNKNOWN_SID = {'code': 1, 'message': 'Session ID unknown'}


class PollingServer:
    """A polling server of one session that answers as it is told, request by request.

    :param changes: of the OPEN packet.
    """

    def __init__(self, **changes):
        self.open_packet = open_packet(**changes)
        #: what answers the GETs, in turn: bytes, or a function of the socket
        self.gets = Queue()
        #: the same for POSTs; an `ok` where there is nothing in it
        self.posts = Queue()
        #: the bodies of the POSTs
        self.posted = Queue()
        #: how many GETs came after the handshake
        self.polls = 0

    def __call__(self, sock):
        while True:
            request = read_request(sock)
            if request.method == 'POST':
                self.posted.put(request.body)
                answer = response('ok') if self.posts.empty() else self.posts.get()
            elif 'sid=' not in request.target:
                answer = response(self.open_packet)
            else:
                self.polls += 1
                answer = self._next_answer(sock)
            if not isinstance(answer, bytes):
                answer(sock)
                return
            sock.sendall(answer)

    def _next_answer(self, sock):
        """Wait for what to answer to a GET, as long as the client does."""
        while True:
            try:
                return self.gets.get(timeout=0.01)
            except Empty:
                if sock.closed or gevent.select.select([sock], [], [], 0)[0]:
                    raise ConnectionResetError('the other side has gone') from None

    def say(self, *bodies):
        """Answer a GET with each of these bodies."""
        for body in bodies:
            self.gets.put(response(body))


def cut(data):
    """Send this and close."""
    return lambda sock: sock.sendall(data)


def hang(data=b''):
    """Send this and wait for the client's end."""

    def answer(sock):
        sock.sendall(data)
        read_to_end(sock)

    return answer


# What a request may be answered with, and what that is called.
FAULTS = [
    (
        '400-json',
        hang(response('{"code":1,"message":"Session ID unknown"}', '400 Bad Request')),
        HTTPError,
    ),
    ('413', hang(response('too large', '413 Payload Too Large')), HTTPError),
    ('502-html', hang(response('<html>', '502 Bad Gateway', content_type='text/html')), HTTPError),
    ('302', hang(response('', '302 Found', [('Location', 'gopher://x/')])), HTTPError),
    ('closed', cut(b''), ConnectionClosed),
    ('reset', reset, ConnectionClosed),
    ('status-line-cut', cut(b'HTTP/1.1 2'), exceptions.EngineIOError),
    ('head-cut', cut(b'HTTP/1.1 200 OK\r\nContent-Le'), exceptions.EngineIOError),
    ('body-cut', cut(response('4whole\x1e4part')[:-2]), ConnectionClosed),
    (
        'chunk-cut',
        cut(b'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\n4hel'),
        ConnectionClosed,
    ),
    (
        'no-last-chunk',
        cut(b'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n4a\r\n'),
        ConnectionClosed,
    ),
    (
        'chunk-text',
        hang(b'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nok\r\n'),
        exceptions.EngineIOError,
    ),
    ('no-http', hang(b'SSH-2.0-OpenSSH_9.6\r\n\r\n'), ProtocolError),
    (
        'gzip-cut',
        hang(response(gzip.compress(b'4hello')[:-3], headers=[('Content-Encoding', 'gzip')])),
        ProtocolError,
    ),
    ('over-the-limit', hang(response('4' * 2001)), ProtocolError),
    (
        'bomb',
        hang(response(gzip.compress(b'4' * 1000000), headers=[('Content-Encoding', 'gzip')])),
        ProtocolError,
    ),
]
every_fault = pytest.mark.parametrize(
    ('answer', 'kind'), [case[1:] for case in FAULTS], ids=[case[0] for case in FAULTS]
)


@every_fault
def test_a_get_that_fails(hostile_server, witness, answer, kind):
    script = PollingServer()
    server = hostile_server(script)
    one = witness(max_message_size=2000).connect(server)
    script.say('4one', '4two\x1e4three')
    script.gets.put(answer)
    script.gets.put(answer)  # a kept connection that ends without a byte is tried once more
    error = one.loses()
    assert isinstance(error, kind)
    assert str(error)
    assert one.messages == ['one', 'two', 'three']
    server.wait_open(0)


@every_fault
def test_a_post_that_fails(hostile_server, witness, answer, kind):
    script = PollingServer()
    server = hostile_server(script)
    one = witness(max_message_size=2000).connect(server)
    script.say('4one')
    assert eventually(lambda: one.messages == ['one'])
    script.posts.put(answer)
    one.client.send('hello')
    error = one.loses()
    assert isinstance(error, kind)
    assert script.posted.get(timeout=5) == b'4hello'
    assert script.posted.empty()  # not sent a second time, which could double it
    server.wait_open(0)


@pytest.mark.parametrize('end', [gevent.socket.socket.close, reset], ids=['close', 'reset'])
def test_a_post_whose_answer_has_begun_is_not_sent_again(hostile_server, witness, end):
    """Nor on a connection that was used before: the server has taken it."""

    def answer(sock):
        sock.sendall(b'HTTP/1.1 2')
        end(sock)

    script = PollingServer()
    server = hostile_server(script)
    one = witness().connect(server)
    one.client.send('first')
    assert script.posted.get(timeout=5) == b'4first'
    assert eventually(lambda: not one.client.unsent)  # the answer has been read
    script.posts.put(answer)
    one.client.send('second')
    one.loses()
    assert script.posted.get(timeout=5) == b'4second'
    assert script.posted.empty()
    server.wait_open(0)


def test_a_kept_connection_that_ended_is_opened_anew(hostile_server, witness):
    """Servers close what is idle; the message that comes then is neither lost nor doubled."""
    script = PollingServer()
    one = witness().connect(hostile_server(script))

    def answer(sock):
        sock.sendall(response('ok'))
        sock.close()

    script.posts.put(answer)
    one.client.send('first')
    assert eventually(lambda: not one.client.unsent)
    poster = one.client._session.transport._http._poster
    assert eventually(lambda: poster._stream is None)  # its end has arrived
    one.client.send('second')
    assert script.posted.get(timeout=5) == b'4first'
    assert script.posted.get(timeout=5) == b'4second'
    assert eventually(lambda: script.polls == 1)
    assert (one.client.state, script.posted.qsize()) == ('connected', 0)


def test_the_status_and_the_body_of_a_refusal_are_kept(hostile_server, witness):
    script = PollingServer()
    one = witness().connect(hostile_server(script))
    script.gets.put(FAULTS[0][1])
    error = one.loses()
    assert (error.status, error.body) == (400, UNKNOWN_SID)
    assert UNKNOWN_SID['message'] in str(error)


def test_an_oversized_message_is_refused_by_the_server(hostile_server, witness):
    script = PollingServer(maxPayload=100)
    one = witness().connect(hostile_server(script))
    script.posts.put(hang(response('', '413 Payload Too Large')))
    one.client.send('x' * 200)
    assert one.loses().status == 413


@pytest.mark.parametrize(
    ('tail', 'words'),
    [
        ('', 'empty'),
        ('9', 'without a valid type'),
        ('<html><body>Maintenance</body></html>', 'without a valid type'),
        (b'4\xff', 'UTF-8'),
        (b'\x89PNG\r\n\x1a\n' * 100, 'UTF-8'),
        ('b!!!', 'base64'),
        ('bA', 'base64'),
        ('\x1e', 'empty'),
    ],
    ids=[
        'empty-packet',
        'unknown-type',
        'html',
        'utf-8',
        'garbage',
        'base64',
        'base64-cut',
        'two-empty-packets',
    ],
)
@pytest.mark.parametrize('before', [b'', b'4one\x1e4two\x1e'], ids=['alone', 'after-messages'])
def test_a_body_that_is_wrong(hostile_server, witness, before, tail, words):
    script = PollingServer()
    server = hostile_server(script)
    one = witness().connect(server)
    tail = tail.encode() if isinstance(tail, str) else tail
    script.say('4zero', before + tail)
    error = one.loses()
    assert isinstance(error, ProtocolError)
    assert words in str(error)
    assert len(str(error)) < 300
    # What came whole before the fault is not lost with it.
    assert one.messages == (['zero', 'one', 'two'] if before else ['zero'])
    server.wait_open(0)


def test_a_server_that_answers_with_nothing_at_once_is_not_asked_for_ever(hostile_server, witness):
    """It would be a busy loop on both sides."""
    script = PollingServer()
    server = hostile_server(script)
    one = witness().connect(server)
    script.say(*[''] * 100)
    assert isinstance(one.loses(), ProtocolError)
    assert script.polls == 1


def test_a_packet_out_of_place_does_no_harm(hostile_server, witness):
    script = PollingServer()
    one = witness().connect(hostile_server(script))
    script.say(open_packet(sid='another'), '3', '3probe', '5', '6', '4one')
    assert eventually(lambda: one.messages == ['one'])
    assert (one.client.state, one.client.sid) == ('connected', 'the-sid')


def test_a_close_packet_is_a_wish_and_no_fault(hostile_server, witness):
    script = PollingServer()
    server = hostile_server(script)
    one = witness().connect(server)
    script.say('4one\x1e1\x1e4too late')
    assert one.loses('server disconnect', 'disconnecting') is None
    assert one.messages == ['one']
    server.wait_open(0)


def test_a_close_packet_and_a_fault_behind_it_are_one_end(hostile_server, witness):
    script = PollingServer()
    one = witness().connect(hostile_server(script))
    script.say(b'4one\x1e1\x1e9\xff')
    one.ended.wait(5)
    settle()
    assert len(one.ends) == 1
    assert one.messages == ['one']


def test_a_post_that_is_answered_before_it_was_read_is_not_delivered(hostile_server, witness):
    """Whatever the answer says: most of the message has not left this machine."""
    script = PollingServer(maxPayload=100_000_000)
    answered = Event()

    def serve(sock):
        if sock.recv(4, gevent.socket.MSG_PEEK) == b'POST':
            sock.recv(1000)
            sock.sendall(response('ok'))
            answered.wait(10)
        else:
            script(sock)

    server = hostile_server(serve)
    one = witness(write_limit=None).connect(server)
    one.client.send(bytes(32 << 20))
    assert isinstance(one.loses(), ProtocolError)
    answered.set()
    assert one.client.unsent == 1
    server.wait_open(0)


def test_get_and_post_that_fail_together_are_one_end(hostile_server, witness):
    script = PollingServer()
    server = hostile_server(script)
    one = witness().connect(server)
    both = Event()

    def answer(sock):
        both.wait()
        reset(sock)

    script.gets.put(answer)
    script.posts.put(answer)
    one.client.send('hello')
    script.posted.get(timeout=5)
    assert eventually(lambda: script.polls == 1)
    both.set()
    assert isinstance(one.loses(), ConnectionClosed)
    server.wait_open(0)


def test_the_listener_goes_between_two_requests(hostile_server, witness):
    script = PollingServer()
    server = hostile_server(script)
    one = witness().connect(server)
    assert eventually(lambda: script.polls == 1)
    server._server.stop(timeout=0)

    def answer(sock):
        sock.sendall(response('4last', headers=[('Connection', 'close')]))

    script.gets.put(answer)
    error = one.loses()
    assert isinstance(error, ConnectionClosed)
    assert isinstance(error.__cause__, ConnectionRefusedError)
    assert one.messages == ['last']


# -- A server that hangs --------------------------------------------------------------------------


@pytest.mark.parametrize(
    'begun',
    [
        b'',
        b'HTTP/1.1 200',
        b'HTTP/1.1 200 OK\r\nContent-Length: 9\r\n',
        response('ok')[:-1],
    ],
    ids=['no-answer', 'status-line', 'head', 'body'],
)
def test_a_post_that_is_not_answered(hostile_server, witness, begun):
    script = PollingServer()
    server = hostile_server(script)
    one = witness(request_timeout=0.2).connect(server)
    script.posts.put(hang(begun))
    one.client.send('hello')
    assert isinstance(one.loses(), exceptions.EngineIOError)
    assert script.posted.qsize() == 1
    server.wait_open(0)


def test_a_post_that_is_answered_by_a_trickle(hostile_server, witness):
    """The time is for the whole request, not for each byte."""

    def trickle(sock):
        for byte in response('o' * 1000):
            sock.sendall(bytes([byte]))
            gevent.sleep(0.05)

    script = PollingServer()
    server = hostile_server(script)
    one = witness(request_timeout=0.2).connect(server)
    script.posts.put(trickle)
    one.client.send('hello')
    assert isinstance(one.loses(), exceptions.EngineIOError)
    server.wait_open(0)


@pytest.mark.parametrize('tls', [False, True], ids=['plain', 'tls'])
def test_a_post_whose_connection_is_accepted_and_no_more(
    hostile_server, certificates, witness, tls
):
    """The GET waits on a connection of its own, so a POST has to open another."""
    script = PollingServer()
    context = certificates.server_context()
    arrived = []

    def handle(sock):
        arrived.append(sock)
        if len(arrived) > 1:
            read_to_end(sock)  # with TLS: not even its handshake
            return
        with context.wrap_socket(sock, server_side=True) if tls else sock as talking:
            script(talking)

    server = hostile_server(handle)
    if tls:
        server._scheme = 'https'
    one = witness(request_timeout=0.3, ssl_verify=False).connect(server)
    one.client.send('hello')
    assert isinstance(one.loses(), exceptions.EngineIOError)
    server.wait_open(0)


def test_no_ping_ends_it_though_messages_flow(hostile_server, witness):
    script = PollingServer(pingInterval=200, pingTimeout=200)
    server = hostile_server(script)
    one = witness()
    began = time.monotonic()
    one.connect(server)

    def talk():
        while not one.ends:
            script.say('4hello')
            gevent.sleep(0.02)

    talking = gevent.spawn(talk)
    assert isinstance(one.loses(), HeartbeatTimeout)
    talking.join()
    assert 0.4 <= time.monotonic() - began < patience(2)
    assert len(one.messages) > 5
    server.wait_open(0)


def test_a_body_that_trickles_does_not_hold_off_the_heartbeat(hostile_server, witness):
    def trickle(sock):
        for byte in response('4' + 'x' * 1000):
            sock.sendall(bytes([byte]))
            gevent.sleep(0.02)

    script = PollingServer(pingInterval=200, pingTimeout=100)
    server = hostile_server(script)
    one = witness().connect(server)
    script.gets.put(trickle)
    assert isinstance(one.loses(), HeartbeatTimeout)
    assert one.messages == []
    server.wait_open(0)


def test_each_ping_moves_the_deadline_and_gets_its_pong(hostile_server, witness):
    script = PollingServer(pingInterval=150, pingTimeout=150)
    one = witness().connect(hostile_server(script))
    for number in range(5):
        gevent.sleep(0.1)
        script.say(f'2{number}')
        assert script.posted.get(timeout=5) == f'3{number}'.encode()
    assert one.client.state == 'connected'
    assert isinstance(one.loses(), HeartbeatTimeout)


def test_a_busy_process_finds_its_ping_in_the_socket(hostile_server, witness):
    """Nobody reads while the process is busy; that is not the server's silence."""
    script = PollingServer(pingInterval=500, pingTimeout=500)
    one = witness().connect(hostile_server(script))
    assert eventually(lambda: script.polls == 1)
    script.say('2')
    gevent.sleep(0)  # the answer is on its way; the client has not read it
    deadline = time.monotonic() + 1.4
    while time.monotonic() < deadline:
        pass
    assert script.posted.get(timeout=5) == b'3'
    assert (one.client.state, one.ends) == ('connected', [])


# -- Odd, but allowed ------------------------------------------------------------------------------


def test_a_hundred_packets_in_one_body(hostile_server, witness):
    script = PollingServer()
    one = witness().connect(hostile_server(script))
    parts = [
        f'4{number}' if number % 2 else 'b' + base64.b64encode(b'%d' % number).decode()
        for number in range(100)
    ]
    script.say('\x1e'.join(parts))
    assert eventually(lambda: len(one.messages) == 100)
    assert one.messages == [str(number) if number % 2 else b'%d' % number for number in range(100)]


@pytest.mark.parametrize(
    'whole',
    [
        response('4hello'),
        response('4hello', headers=[('Connection', 'close')]),
        b'HTTP/1.0 200 OK\r\nContent-Length: 6\r\n\r\n4hello',
        b'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1;x=y\r\n4\r\n5\r\nhello\r\n0\r\n'
        b'X: trailer\r\n\r\n',
        b'HTTP/1.1 100 Continue\r\n\r\n' + response('4hello'),
        b'HTTP/1.1 200\r\nContent-Length: 6\r\n\r\n4hello',
        response(gzip.compress(b'4hello'), headers=[('Content-Encoding', 'GZip')]),
        response('4hello', '201 Created'),
    ],
    ids=['length', 'close', 'http-1.0', 'chunked', '100-continue', 'no-phrase', 'gzip', '201'],
)
def test_answers_byte_by_byte(hostile_server, witness, whole):
    def slowly(sock):
        for byte in whole:
            sock.sendall(bytes([byte]))
            gevent.sleep(0)
        if b'close' not in whole and b'HTTP/1.0' not in whole:
            script(sock)

    script = PollingServer()
    one = witness().connect(hostile_server(script))
    script.gets.put(slowly)
    script.say('4again')
    assert eventually(lambda: len(one.messages) == 2)
    assert one.messages == ['hello', 'again']
    assert one.client.state == 'connected'


def test_disconnecting_from_a_server_that_answers_nothing_any_more(hostile_server, witness):
    script = PollingServer()
    server = hostile_server(script)
    one = witness(request_timeout=0.2).connect(server)
    script.posts.put(hang())
    one.client.send('hello')
    with gevent.Timeout(5):
        one.client.disconnect()
    assert len(one.ends) == 1
    assert one.client.state == 'disconnected'
    server.wait_open(0)


def test_disconnecting_while_the_server_breaks(hostile_server, witness):
    """The reason stays the application's."""
    script = PollingServer()
    server = hostile_server(script)
    one = witness().connect(server)
    assert eventually(lambda: script.polls == 1)
    script.posts.put(hang(response('', '500 Oops')))
    one.client.disconnect()
    assert one.ends == [('client disconnect', 'disconnecting')]
    assert script.posted.get(timeout=5) == b'1'
    server.wait_open(0)


def test_a_limit_of_0_bytes_is_no_limit(hostile_server, witness):
    """As of servers whose limit is configured so."""
    script = PollingServer(maxPayload=0)
    one = witness().connect(hostile_server(script))
    messages = ['x' * 200_000, b'y' * 1000, 'z']
    for message in messages:
        one.client.send(message)
    assert one.client.unsent == 3
    assert eventually(lambda: not one.client.unsent)
    bodies = [script.posted.get_nowait() for _ in range(script.posted.qsize())]
    packets = [part for body in bodies for part in body.split(b'\x1e')]
    assert len(packets) == 3
    assert packets[0] == b'4' + b'x' * 200_000
    one.client.disconnect()
