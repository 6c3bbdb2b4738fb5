"""Polling's own HTTP: no greenlet, few system calls, one timer; answers cut anywhere."""

from __future__ import annotations

import _socket
import gzip
import threading
import time

import gevent
import pytest
from gevent.event import AsyncResult, Event

from engineio_gevent.exceptions import ConnectionClosed, HTTPError, ProtocolError
from engineio_gevent.net import stream as stream_module
from engineio_gevent.net.dial import Dialer
from engineio_gevent.protocol.http1 import NothingCame
from engineio_gevent.transports import exchange
from engineio_gevent.transports.direct import DirectHTTP
from engineio_gevent.transports.route import Route
from support import (
    NativeServer,
    eventually,
    greenlets,
    no_leaks,
    outcome,
    patience,
    read_request,
    read_to_end,
    respond,
    response,
    settle,
)


@pytest.fixture(autouse=True)
def no_netrc(monkeypatch, tmp_path):
    monkeypatch.setenv('NETRC', str(tmp_path / 'netrc'))


@pytest.fixture
def make_http():
    """`make_http(url)`; closed with the test."""
    made = []

    def make(url, max_size=None, **settings):
        made.append(DirectHTTP(Route(url, **settings), max_size))
        return made[-1]

    yield make
    for http in made:
        http.close()


def begin(ask, *arguments):
    """Begin a request; returns what its answer comes to."""
    answer = AsyncResult()
    ask(*arguments, answer.set)
    return answer


def got(answer):
    """The body of an answer, or its exception."""
    return answer.get(timeout=patience(5))


def keep_answering(sock):
    while True:
        read_request(sock)
        respond(sock, 'ok')


# -- No greenlet -----------------------------------------------------------------------------------


def test_requests_over_kept_connections_need_no_greenlet(hostile_server, make_http):
    release = Event()

    def handle(sock):
        while True:
            request = read_request(sock)
            if request.target == '/wait':
                release.wait()
            respond(sock, request.target)

    http = make_http(hostile_server(handle).url)
    assert got(begin(http.get, '/', 5)) == b'/'
    assert got(begin(http.post, '/', b'x', 5)) == b'/'
    settle()
    before = len(greenlets())
    waiting = begin(http.get, '/wait', 60)
    posted = begin(http.post, '/posted', b'x', 5)
    assert len(greenlets()) == before
    assert got(posted) == b'/posted'
    assert len(greenlets()) == before
    assert not waiting.ready()
    release.set()
    assert got(waiting) == b'/wait'


def test_a_connection_is_opened_in_a_greenlet(hostile_server, make_http):
    """The hub asks for it, and must not wait: not for the caller's function, which may."""
    server = hostile_server(keep_answering)
    dialed = []

    def dial(host, port):
        dialed.append(gevent.getcurrent())
        gevent.sleep(0.001)
        return gevent.socket.create_connection(('127.0.0.1', server.port))

    http = make_http('http://server.test', dialer=Dialer(dial))
    answer = AsyncResult()
    loop = gevent.get_hub().loop
    loop.run_callback(http.get, '/', 5, answer.set)
    assert got(answer) == b'ok'
    assert dialed[0] not in (gevent.get_hub(), gevent.getcurrent())
    assert eventually(lambda: dialed[0].dead)


def test_a_handshake_opens_its_connection_where_it_is_awaited(
    hostile_server, make_http, monkeypatch
):
    opened = []
    open_connection = exchange.open_connection

    def recorded(*arguments, **options):
        opened.append(gevent.getcurrent())
        return open_connection(*arguments, **options)

    monkeypatch.setattr(exchange, 'open_connection', recorded)
    http = make_http(hostile_server(keep_answering).url)
    assert http.get_and_wait('/', 5) == b'ok'
    assert got(begin(http.get, '/', 5)) == b'ok'
    assert opened == [gevent.getcurrent()]  # and it was kept


@pytest.mark.parametrize('begun', [True, False], ids=['begun', 'not-begun'])
def test_the_application_kills_the_greenlet_that_opens_a_connection(
    hostile_server, make_http, begun
):
    """As programs do that kill all greenlets."""
    server = hostile_server(keep_answering)
    dialed = []

    def dial(host, port):
        dialed.append(port)
        if len(dialed) == 1 and begun:
            gevent.sleep(60)
        return gevent.socket.create_connection(('127.0.0.1', server.port))

    http = make_http('http://server.test', dialer=Dialer(dial))
    answer = begin(http.post, '/', b'x', None)
    assert not begun or eventually(lambda: dialed)
    http._poster._opening.kill(block=False)
    error = got(answer)
    assert isinstance(error, ConnectionClosed)
    assert 'was killed' in str(error)
    assert got(begin(http.post, '/', b'x', None)) == b'ok'
    assert len(dialed) == 1 + begun


# -- System calls and timers -----------------------------------------------------------------------


def test_a_request_and_its_answer_are_one_send_and_one_recv(hostile_server, make_http, monkeypatch):
    calls = []

    def recv(sock, *arguments):
        calls.append('recv')
        return _socket.socket.recv(sock, *arguments)

    def send(sock, *arguments):
        calls.append('send')
        return _socket.socket.send(sock, *arguments)

    server = hostile_server(keep_answering)
    monkeypatch.setattr(stream_module, '_recv', recv)
    monkeypatch.setattr(stream_module.PlainSocket, 'send', send)
    http = make_http(server.url)
    for ask in (http.get, '/', 5), (http.post, '/', b'x', 5):
        got(begin(*ask))
        calls.clear()
        for _ in range(10):
            assert got(begin(*ask)) == b'ok'
        assert sorted(calls) == ['recv'] * 10 + ['send'] * 10


class CountedTimers:
    """A loop whose timers are counted."""

    def __init__(self, loop):
        self._loop = loop
        self.timers = []
        self.made = []

    def __getattr__(self, name):
        return getattr(self._loop, name)

    def timer(self, seconds, *arguments, **options):
        self.timers.append(seconds)
        self.made.append(self._loop.timer(seconds, *arguments, **options))
        return self.made[-1]


@pytest.fixture
def loop(monkeypatch):
    loop = CountedTimers(gevent.get_hub().loop)
    hub = type('Hub', (), {'loop': loop})()
    monkeypatch.setattr('engineio_gevent.transports.direct.get_hub', lambda: hub)
    return loop


def test_the_timer_is_not_armed_for_each_request(hostile_server, make_http, loop):
    http = make_http(hostile_server(keep_answering).url)
    for _ in range(20):
        got(begin(http.get, '/', 50))
        got(begin(http.post, '/', b'x', 5))
    assert len(loop.timers) == 2  # that of the first GET, and an earlier one for the POST
    assert loop.timers[0] == pytest.approx(50, abs=5)
    assert loop.timers[1] == pytest.approx(5, abs=1)


@pytest.mark.parametrize('end', ['close', 'abandon'])
def test_no_timer_is_left(hostile_server, make_http, loop, end):
    """It would keep a program from its end."""
    http = make_http(hostile_server(keep_answering).url)
    got(begin(http.get, '/', 500))
    got(begin(http.post, '/', b'x', 50))
    assert [one.active for one in loop.made] == [False, True]
    getattr(http, end)()
    assert [one.active for one in loop.made] == [False, False]


def test_without_a_time_limit_there_is_no_timer(hostile_server, make_http):
    http = make_http(hostile_server(keep_answering).url)
    assert got(begin(http.get, '/', None)) == b'ok'
    assert http._timer is None


# -- Time ------------------------------------------------------------------------------------------


def test_an_answer_that_lay_unread_past_the_deadline_counts(make_http):
    """The process was busy, or stopped, and the server answered in time."""
    answered = threading.Event()

    def handle(sock):
        read_request(sock)
        sock.sendall(response('ok'))
        answered.set()
        read_to_end(sock)

    server = NativeServer(handle)
    try:
        http = make_http(server.url)
        limit = patience(0.3)
        answer = begin(http.get, '/', limit)
        assert eventually(lambda: http._getter._stream is not None, interval=0)
        assert answered.wait(patience(5))  # the whole thread waits
        time.sleep(limit)
        assert got(answer) == b'ok'
    finally:
        http.close()
        server.stop()


def test_a_deadline_that_passes_while_other_requests_have_theirs(hostile_server, make_http):
    http = make_http(hostile_server(read_to_end).url)
    get = begin(http.get, '/', 60)
    post = begin(http.post, '/', b'x', 0.1)
    error = got(post)
    assert isinstance(error, ConnectionClosed)
    assert str(error).endswith('no answer within 0.1 seconds')
    assert isinstance(error.__cause__, TimeoutError)
    settle()
    assert not get.ready()
    assert http._timer is not None  # for the GET


def test_a_large_body_has_time_as_long_as_the_server_takes_some(hostile_server, make_http):
    size = 24 << 20

    def handle(sock):
        left = size
        while left > 0:
            gevent.sleep(0.02)
            left -= len(sock.recv(1 << 20))
        respond(sock, 'ok')
        read_to_end(sock)

    http = make_http(hostile_server(handle).url)
    limit = patience(0.3)
    began = time.monotonic()
    answer = begin(http.post, '/', bytes(size), limit)
    assert answer.get(timeout=patience(30)) == b'ok'
    assert time.monotonic() - began > 0.3  # else the test has shown nothing


def test_a_large_body_that_is_redirected_has_time_again(hostile_server, make_http):
    """The first server has taken it at once, but answers later."""
    size = 24 << 20
    limit = patience(1)

    def handle(sock):
        left = size
        while left > 0:
            gevent.sleep(limit / 16)  # slow, but never silent for as long as the limit
            left -= len(sock.recv(1 << 20))
        respond(sock, 'ok')
        read_to_end(sock)

    slow = hostile_server(handle)

    def send_on(sock):
        read_request(sock)
        gevent.sleep(2 * exchange.SENDING_INTERVAL)  # the client looks, and finds all of it sent
        respond(sock, '', '307 Temporary Redirect', [('Location', f'{slow.url}/')])

    http = make_http(hostile_server(send_on).url)
    answer = begin(http.post, '/', bytes(size), limit)
    assert answer.get(timeout=patience(30)) == b'ok'


# -- Answers cut anywhere --------------------------------------------------------------------------

CHUNKED = (
    b'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n'
    b'2;a=b\r\n4h\r\n3\r\nell\r\n1\r\no\r\n0\r\nX: y\r\n\r\n'
)


@pytest.mark.parametrize(
    'answer',
    [
        response('4hello'),
        CHUNKED,
        response(gzip.compress(b'4hello'), headers=[('Content-Encoding', 'gzip')]),
        b'HTTP/1.1 103 Early\r\n\r\n' + response('4hello'),
    ],
    ids=['length', 'chunks', 'gzip', 'interim'],
)
@pytest.mark.parametrize('method', ['GET', 'POST'])
def test_an_answer_byte_by_byte(hostile_server, make_http, answer, method):
    def handle(sock):
        while True:
            read_request(sock)
            for byte in answer:
                sock.sendall(bytes([byte]))
                gevent.sleep(0)

    server = hostile_server(handle)
    http = make_http(server.url)
    ask = (http.get, '/', 60) if method == 'GET' else (http.post, '/', b'x', 60)
    for _ in range(2):
        assert got(begin(*ask)) == b'4hello'
    assert server.accepted == 1


def test_an_answer_before_the_whole_request_is_sent(hostile_server, make_http):
    """A refusal of a large body: the connection is not used again."""
    answered = Event()

    def handle(sock):
        sock.recv(1000)
        respond(sock, 'too large', '413 Payload Too Large')
        answered.wait(10)

    server = hostile_server(handle)
    http = make_http(server.url)
    error = got(begin(http.post, '/', bytes(32 << 20), 5))
    answered.set()
    assert isinstance(error, HTTPError)
    assert error.status == 413
    server.wait_open(0)


@pytest.mark.parametrize('closed', [False, True])
def test_a_success_before_the_whole_request_is_sent_is_none(hostile_server, make_http, closed):
    """The messages in the rest have not arrived, so they must not count as delivered."""
    answered = Event()

    def handle(sock):
        sock.recv(1000)
        if closed:
            sock.sendall(b'HTTP/1.1 200 OK\r\n\r\nok')
            sock.shutdown(1)
        else:
            respond(sock, 'ok')
        answered.wait(10)

    server = hostile_server(handle)
    http = make_http(server.url)
    error = got(begin(http.post, '/', bytes(32 << 20), 5))
    answered.set()
    assert isinstance(error, ProtocolError)
    assert 'before it had the whole request' in str(error)
    server.wait_open(0)


def test_others_get_their_turn_within_an_answer_of_many_chunks(hostile_server, make_http):
    def handle(sock):
        read_request(sock)
        sock.sendall(b'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n')
        sock.sendall(b'1\r\n0\r\n' * 500_000 + b'0\r\n\r\n')
        read_to_end(sock)

    http = make_http(hostile_server(handle).url)
    turns = []
    feed = exchange.Response.feed
    loop = gevent.get_hub().loop
    answer = begin(http.get, '/', None)
    fed = []

    def counted(one, data):
        fed.append(len(turns))
        return feed(one, data)

    def turn():
        turns.append(None)
        if not answer.ready():
            ticking.start(turn)

    ticking = loop.timer(0.0)
    ticking.start(turn)
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(exchange.Response, 'feed', counted)
            assert len(answer.get(timeout=patience(20))) == 500_000
    finally:
        ticking.close()
    assert len(set(fed)) > len(fed) / 3  # a timer has run between two reads, most often


# -- The end of a connection -----------------------------------------------------------------------


def test_bytes_that_nobody_asked_for_end_an_idle_connection(hostile_server, make_http):
    say = Event()

    def handle(sock):
        read_request(sock)
        respond(sock, 'ok')
        say.wait()
        sock.sendall(b'HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil')
        read_to_end(sock)

    server = hostile_server(handle)
    http = make_http(server.url)
    with no_leaks():
        assert got(begin(http.get, '/', 5)) == b'ok'
        say.set()
        server.wait_open(0)
        assert http._getter._stream is None
    say.clear()
    assert got(begin(http.get, '/', 5)) == b'ok'


def test_the_end_of_an_earlier_stream_is_not_that_of_the_next(hostile_server, make_http):
    """A failed write is reported by a later callback, and by then there may be another stream."""
    release = Event()

    def handle(sock):
        read_request(sock)
        release.wait()
        respond(sock, 'ok')
        read_to_end(sock)

    http = make_http(hostile_server(handle).url)
    answer = begin(http.get, '/', 5)
    assert eventually(lambda: http._getter._stream is not None)
    http._getter._on_lost(OSError(32, 'of the stream before'))
    settle()
    assert not answer.ready()
    release.set()
    assert got(answer) == b'ok'


def test_the_end_while_an_answer_is_awaited(hostile_server, make_http):
    def handle(sock):
        read_request(sock)

    http = make_http(hostile_server(handle).url)
    error = got(begin(http.get, '/', 5))
    assert isinstance(error, NothingCame)


def test_a_request_that_cannot_be_made_has_its_error_for_an_answer(
    hostile_server, make_http, monkeypatch
):
    """The hub asks for it, and must not get an exception."""
    http = make_http(hostile_server(keep_answering).url)
    assert got(begin(http.get, '/', 5)) == b'ok'
    error = ValueError('no such request')

    def refuse(*arguments):
        raise error

    monkeypatch.setattr(exchange, 'encode_request', refuse)
    answer = begin(http.get, '/', 5)
    assert not answer.ready()
    assert got(answer) is error


@pytest.mark.parametrize('wake', [True, False])
def test_abandoning_wakes_the_handshake(hostile_server, make_http, wake):
    """In a forked child. The greenlets of a native thread that has ended cannot be woken."""
    server = hostile_server(read_to_end)
    http = make_http(server.url)
    handshake = gevent.spawn(outcome, http.get_and_wait, '/', 60)
    server.wait_open(1)
    http.abandon() if wake else http.abandon(wake=False)
    server.wait_open(0)
    settle()
    assert handshake.ready() is wake
    if wake:
        assert isinstance(handshake.value, ConnectionClosed)
    handshake.kill()


def test_after_the_end_no_answer_comes(hostile_server, make_http):
    server = hostile_server(read_to_end)
    http = make_http(server.url)
    answers = [begin(http.get, '/', 5), begin(http.post, '/', b'x', 5)]
    server.wait_open(2)
    http.close()
    server.wait_open(0)
    settle()
    assert [answer.ready() for answer in answers] == [False, False]
    late = begin(http.get, '/', 5)
    assert not late.ready()
    assert isinstance(got(late), ConnectionClosed)
