"""The polling transport over an HTTP that does what the test says."""

from __future__ import annotations

import contextlib

import gevent
import pytest
from gevent.event import AsyncResult
from gevent.queue import Queue

from engineio_gevent.exceptions import ConnectionClosed, HTTPError, ProtocolError
from engineio_gevent.net.errors import OutOfResources
from engineio_gevent.protocol import payload
from engineio_gevent.protocol.open_packet import OpenPacket
from engineio_gevent.protocol.packet import CLOSE, MESSAGE, NOOP, OPEN, PING
from engineio_gevent.transports import polling as module
from engineio_gevent.transports.in_greenlets import InGreenlets
from engineio_gevent.transports.polling import Polling
from engineio_gevent.transports.route import Route
from support import eventually, no_leaks, patience, settle


class FakeHTTP:
    """Requests wait here until the test answers them."""

    cookies = None

    def __init__(self):
        #: of each request: method, target, body, timeout, and what answers it
        self.gets = Queue()
        self.posts = Queue()
        self.in_flight = {'GET': 0, 'POST': 0}
        self.most_in_flight = {'GET': 0, 'POST': 0}
        self.targets = []
        self.closed = self.abandoned = 0

    def get(self, target, timeout):
        return self._ask('GET', self.gets, target, None, timeout)

    def post(self, target, body, timeout):
        return self._ask('POST', self.posts, target, body, timeout)

    def _ask(self, method, queue, target, body, timeout):
        assert not self.closed
        self.targets.append(target)
        answer = AsyncResult()
        self.in_flight[method] += 1
        self.most_in_flight[method] = max(self.most_in_flight[method], self.in_flight[method])
        try:
            queue.put((body, timeout, answer))
            return answer.get()
        finally:
            self.in_flight[method] -= 1

    def answer_get(self, *packets):
        """Answer the GET in flight, or the next."""
        self.gets.get(timeout=5)[2].set('\x1e'.join(packets).encode())

    def answer_post(self):
        """Let a POST succeed; returns its packets."""
        body, _, answer = self.posts.get(timeout=5)
        answer.set(b'ok')
        return body.decode().split('\x1e')

    def close(self, gently=False):
        self.closed += 1
        self.closed_gently = gently

    def abandon(self):
        self.abandoned += 1


class WaitingInGreenlets(InGreenlets):
    """Makes the requests of a `FakeHTTP`, and tells it of the end."""

    def close(self, gently=False):
        self._http.close(gently)
        return super().close(gently)

    def abandon(self, wake=True):
        self._http.abandon()
        super().abandon(wake)


class InHub:
    """Makes the requests of a `FakeHTTP` without a greenlet: answers come from the loop."""

    def __init__(self, http):
        self._http = http
        self._asked = 0
        self._ended = False

    def get_and_wait(self, target, timeout):
        return self._http.get(target, timeout)

    def get(self, target, timeout, on_answer):
        self._ask('GET', self._http.gets, target, None, timeout, on_answer)

    def post(self, target, body, timeout, on_answer):
        self._ask('POST', self._http.posts, target, body, timeout, on_answer)

    def _ask(self, method, queue, target, body, timeout, on_answer):
        http = self._http
        assert not http.closed
        assert http.in_flight[method] == 0
        http.targets.append(target)
        http.in_flight[method] += 1
        http.most_in_flight[method] = max(http.most_in_flight[method], http.in_flight[method])

        def report(found):
            if not self._ended:
                http.in_flight[method] -= 1
                on_answer(found.value if found.exception is None else found.exception)

        answer = AsyncResult()
        answer.rawlink(report)
        queue.put((body, timeout, answer))

    def close(self, gently=False):
        self._end()
        self._http.close(gently)
        return []

    def abandon(self, wake=True):
        if wake:
            self._end()
        self._http.abandon()

    def _end(self):
        self._ended = True
        self._http.in_flight.update(GET=0, POST=0)


class Sink:
    def __init__(self):
        self.packets = []
        self.lost = []

    def on_packets(self, transport, packets):
        self.packets += packets

    def on_lost(self, transport, error):
        self.lost.append(error)


#: Seconds that a GET may be silent for, after `opened`.
SILENCE = 25 + 20 + 5


def opened(max_payload):
    return OpenPacket('the-sid', (), 25.0, 20.0, max_payload)


class Limits:
    request_timeout = 7
    max_message_size = None


@pytest.fixture
def http():
    return FakeHTTP()


@pytest.fixture
def sink():
    return Sink()


@pytest.fixture(params=[WaitingInGreenlets, InHub], ids=['in-greenlets', 'in-the-hub'])
def way(request):
    """How requests are made: by a session of the caller, or over connections of our own."""
    return request.param


@pytest.fixture
def polling(http, sink, way):
    """Settled, and not started."""
    one = Polling(sink, Route('http://a.test', timestamp=False), Limits, way(http))
    one.apply_open_packet(opened(max_payload=1000))
    yield one
    one.close()
    gevent.sleep(0)


@pytest.fixture
def started(polling):
    polling.start()
    return polling


# -- The handshake ---------------------------------------------------------------------------------


def test_open(http, sink):
    one = Polling(sink, Route('http://a.test', timestamp=False), Limits, InGreenlets(http))
    opening = gevent.spawn(one.open)
    _, timeout, answer = http.gets.get(timeout=5)
    assert timeout == 7
    answer.set(b'0{}\x1e4hello')
    opening.get(timeout=5)
    assert sink.packets == [(OPEN, '{}'), (MESSAGE, 'hello')]
    assert http.targets == ['/engine.io/?transport=polling&EIO=4']


def test_open_for_a_session_that_there_is(http, sink):
    one = Polling(sink, Route('http://a.test', timestamp=False), Limits, InGreenlets(http))
    opening = gevent.spawn(one.open, 'known')
    http.answer_get('0{}')
    opening.get(timeout=5)
    assert http.targets == ['/engine.io/?transport=polling&EIO=4&sid=known']


@pytest.mark.parametrize(
    ('body', 'words'),
    [
        (b'', 'empty'),
        (b'<html>' + b'x' * 1000, "valid type: '<html>"),
        (b'\xff', 'UTF-8'),
        (b'0{}\x1e9', 'valid type'),
    ],
)
def test_open_with_a_body_of_something_else(http, sink, body, words):
    one = Polling(sink, Route('http://a.test'), Limits, InGreenlets(http))
    http.get = lambda target, timeout: body
    with pytest.raises(ProtocolError, match=words) as caught:
        one.open()
    assert len(str(caught.value)) < 200
    assert sink.packets == sink.lost == []


# -- Receiving -------------------------------------------------------------------------------------


def test_nothing_happens_before_the_start(http, polling):
    polling.send('4one')
    settle()
    assert http.targets == []
    assert polling.queued == 4
    polling.start()
    assert http.answer_post() == ['4one']


def test_one_get_after_the_other(http, sink, started):
    started.start()  # a second time changes nothing
    for number in range(5):
        http.answer_get(f'4{number}', '6')
    assert eventually(lambda: len(sink.packets) == 10)
    assert sink.packets[:4] == [(MESSAGE, '0'), (NOOP, ''), (MESSAGE, '1'), (NOOP, '')]
    assert http.most_in_flight['GET'] == 1
    assert set(http.targets) == {'/engine.io/?transport=polling&EIO=4&sid=the-sid'}


def test_a_pause_after_a_body_of_noops_alone(http, polling, monkeypatch):
    """python-engineio sends such a body at once while it waits for the end of an upgrade."""
    pauses = []

    def after(transport, seconds, function, *arguments):
        pauses.append(seconds)
        gevent.get_hub().loop.run_callback(function, *arguments)

    monkeypatch.setattr(Polling, '_after', after)
    polling.start()
    http.answer_get('4one')
    http.answer_get('6', '4two')
    http.gets.peek(timeout=5)
    assert pauses == []
    http.answer_get('6', '6')
    http.gets.peek(timeout=5)
    assert pauses == [0.05]
    pausing = gevent.spawn(polling.pause)
    gevent.sleep(0)  # it has begun
    http.answer_get('6')  # it ends the last GET before the websocket
    pausing.get(timeout=5)
    assert pauses == [0.05]


def test_a_get_has_the_silence_for_its_time(http, started):
    assert http.gets.get(timeout=5)[1] == SILENCE


@pytest.mark.parametrize(
    ('body', 'kept'),
    [
        (b'', []),
        (b'9', []),
        (b'4a\x1e9', [(MESSAGE, 'a')]),
        (b'4a\x1e2\x1e\xff', [(MESSAGE, 'a'), (PING, '')]),
        (b'4a\x1eb!', [(MESSAGE, 'a')]),
    ],
)
def test_a_body_with_a_fault(http, sink, started, body, kept):
    http.gets.get(timeout=5)[2].set(body)
    assert eventually(lambda: sink.lost)
    assert isinstance(sink.lost[0], ProtocolError)
    assert sink.packets == kept
    assert http.closed == 1
    assert http.gets.empty()


@pytest.mark.parametrize(
    'error', [ConnectionClosed('gone'), HTTPError('no', 400), RuntimeError('a fault of ours')]
)
@pytest.mark.parametrize('method', ['gets', 'posts'])
def test_a_request_that_fails(http, sink, started, error, method, monkeypatch):
    monkeypatch.setattr(module, 'LAST_WORDS', 0.01)
    started.send('4hello')
    gevent.sleep(0)
    getattr(http, method).get(timeout=5)[2].set_exception(error)
    assert eventually(lambda: sink.lost)
    settle()
    assert sink.lost == [error]
    assert http.in_flight == {'GET': 0, 'POST': 0}  # the other one is ended
    assert http.closed == 1


def test_both_requests_fail_together(http, sink, started):
    started.send('4hello')
    gevent.sleep(0)
    answers = [http.gets.get()[2], http.posts.get()[2]]
    for answer in answers:
        answer.set_exception(ConnectionClosed('gone'))
    settle()
    assert len(sink.lost) == 1


def test_after_a_post_that_fails_the_last_packets_are_taken(http, sink, started):
    """As a server does it that closes the connection while a POST is in flight."""
    sink.on_packets = lambda transport, packets: (
        sink.packets.extend(packets),
        (CLOSE, '') in packets and transport.close(),
    )
    started.send('4hello')
    http.posts.get(timeout=5)[2].set_exception(ConnectionClosed('reset'))
    settle()
    started.send('4too late')
    http.answer_get('4last', '4words')
    http.answer_get('1')
    settle()
    assert sink.packets == [(MESSAGE, 'last'), (MESSAGE, 'words'), (CLOSE, '')]
    assert sink.lost == []
    assert http.posts.empty()
    assert started.unsent == 2


@pytest.mark.parametrize('request_of', ['gets', 'posts'])
def test_a_timeout_of_the_code_of_a_session_ends_the_connection(
    http, sink, started, monkeypatch, request_of
):
    """It is no Exception. Otherwise the messages of a POST would be lost, and nobody told."""
    monkeypatch.setattr(module, 'LAST_WORDS', 0.01)
    timeout = gevent.Timeout(3)
    started.send('4hello')
    getattr(http, request_of).get(timeout=5)[2].set_exception(timeout)
    assert eventually(lambda: sink.lost)
    (error,) = sink.lost
    assert isinstance(error, ConnectionClosed)
    assert str(error) == 'http_session raised gevent.Timeout: 3 seconds'
    assert error.__cause__ is timeout
    assert started.unsent == 1


def test_after_a_post_that_fails_the_wait_for_the_last_packets_is_bounded(
    http, sink, started, monkeypatch
):
    monkeypatch.setattr(module, 'LAST_WORDS', 0.01)
    error = ConnectionClosed('reset')
    started.send('4hello')
    http.posts.get(timeout=5)[2].set_exception(error)
    http.answer_get('4last')
    assert eventually(lambda: sink.lost)
    assert sink.lost == [error]
    assert sink.packets == [(MESSAGE, 'last')]
    settle()
    assert http.in_flight == {'GET': 0, 'POST': 0}


def test_a_sink_that_closes_while_packets_come(http, sink, started):
    """As the session does on a CLOSE packet."""
    sink.on_packets = lambda transport, packets: transport.close()
    http.answer_get('1')
    settle()
    assert sink.lost == []
    assert http.gets.empty()


# -- Sending ---------------------------------------------------------------------------------------


def test_a_packet_is_posted_at_once(http, started):
    assert started.send('4hello') == 6
    body, timeout, answer = http.posts.get(timeout=5)
    assert (body, timeout) == (b'4hello', 7)
    answer.set(b'ok')
    assert eventually(lambda: started.queued == 0)
    assert http.in_flight['POST'] == 0


def test_what_comes_meanwhile_goes_together(http, started):
    started.send('4first')
    assert http.posts.peek(timeout=5)
    for number in range(40):
        started.send(f'4{number}')
    sent = []
    sizes = []
    while len(sent) < 41:
        packets = http.answer_post()
        sizes.append(len(packets))
        sent += packets
    assert sent == ['4first', *(f'4{number}' for number in range(40))]
    assert sizes == [1, 16, 16, 8]
    assert max(sizes) <= payload.MAX_PACKETS
    assert http.most_in_flight['POST'] == 1


def test_a_control_packet_goes_ahead_of_what_is_queued(http, started):
    started.send_first('3')
    assert http.answer_post() == ['3']
    started.send('4in flight')
    http.posts.peek(timeout=5)
    started.send('4one')
    started.send('4two')
    started.send_first('3')
    assert [http.answer_post(), http.answer_post()] == [['4in flight'], ['3', '4one', '4two']]
    settle()
    assert started.queued == 0


def test_a_control_packet_after_the_end(http, started):
    started.close()
    started.send_first('3')
    settle()
    assert started.queued == 0
    assert http.posts.empty()


def test_the_limit_of_the_server(http, started):
    started.apply_open_packet(opened(max_payload=100))
    started.send('4' + 'x' * 60)
    started.send('4' + 'y' * 60)
    started.send('4' + 'z' * 200)  # the server may decide
    started.send(b'x' * 60)
    assert [[len(packet) for packet in http.answer_post()] for _ in range(4)] == [
        [61],
        [61],
        [201],
        [81],
    ]


@pytest.mark.parametrize(
    'packets',
    [
        ['4a'],
        ['4\u20ac', b'\x00\xff', '4', b''],
        ['4' + 'x' * 5000] * 3,
        [b'x' * 5000] * 3,
        ['4\U0001f600' * 50] * 50,
    ],
)
def test_the_count_of_bytes_ends_at_nothing(http, started, packets):
    expected = 0
    for packet in packets:
        expected += payload.encoded_size(packet)
        assert started.send(packet) == expected
    while started.queued:
        http.answer_post()
        gevent.sleep(0)
    assert started.queued == 0


@pytest.mark.parametrize('packet', ['4a\x1eb', '4\ud800'])
def test_what_polling_cannot_carry_is_refused_and_spoils_nothing(http, started, packet):
    with pytest.raises(ValueError, match=r'U\+001E|surrogates'):
        started.send(packet)
    assert started.queued == 0
    started.send('4good')
    assert http.answer_post() == ['4good']


def test_waiting_for_room(http, started):
    for _ in range(4):
        started.send('4' + 'x' * 999)
    waiting = [gevent.spawn(started.wait_below, limit) for limit in (3000, 1000, 0)]
    started.wait_below(4000)
    settle()
    for ready in ([False] * 3, [True, False, False], [True, False, False], [True, True, False]):
        assert [one.ready() for one in waiting] == ready
        http.answer_post()
        settle()
    gevent.joinall(waiting, timeout=5, raise_error=True)
    assert all(one.ready() for one in waiting)


def test_those_who_wait_go_at_the_end(http, started):
    started.send('4' + 'x' * 999)
    waiting = [gevent.spawn(started.wait_below, 0) for _ in range(3)]
    settle()
    started.close()
    gevent.joinall(waiting, timeout=5, raise_error=True)
    assert all(one.ready() for one in waiting)


@pytest.mark.parametrize('end', ['close', 'abandon'])
def test_those_who_wait_go_at_an_end_before_the_start(polling, end):
    polling.send('4one')
    waiting = gevent.spawn(polling.wait_below, 0)
    settle()
    getattr(polling, end)()
    waiting.get(timeout=5)


# -- After an upgrade ------------------------------------------------------------------------------


def test_after_an_upgrade_the_server_may_close_first(http, sink, started):
    pausing = gevent.spawn(started.pause)
    http.answer_get('6')
    pausing.get(timeout=5)
    started.retire()
    started.close()
    assert (http.closed, http.closed_gently) == (1, True)
    assert sink.lost == []


def test_another_end_is_at_once(http, started):
    started.close()
    assert http.closed_gently is False


# -- No descriptor, no port ------------------------------------------------------------------------


@pytest.fixture
def quick(monkeypatch):
    """The clock of the test's own; the pauses between attempts take no time."""
    now = [1000.0]

    def after(transport, seconds, function, *arguments):
        def call():
            now[0] += seconds
            if not transport._closed:
                function(*arguments)

        gevent.get_hub().loop.run_callback(call)

    monkeypatch.setattr(Polling, '_after', after)
    monkeypatch.setattr(module, 'monotonic', lambda: now[0])
    return now


def exhausted():
    return OutOfResources('Too many open files')


@pytest.mark.parametrize('method', ['gets', 'posts'])
def test_a_request_that_finds_no_descriptor_is_repeated(http, sink, started, quick, method):
    started.send('4one')
    gevent.sleep(0)
    for _ in range(3):
        getattr(http, method).get(timeout=5)[2].set_exception(exhausted())
    http.answer_get('4hello')
    assert http.answer_post() == ['4one']
    started.send('4two')
    assert http.answer_post() == ['4two']
    settle()
    assert sink.packets == [(MESSAGE, 'hello')]
    assert sink.lost == []
    assert started.queued == started.unsent == 0


@pytest.mark.parametrize('method', ['gets', 'posts'])
def test_no_descriptor_for_longer_than_the_heartbeat(
    http, sink, started, quick, method, monkeypatch
):
    monkeypatch.setattr(module, 'LAST_WORDS', 0)
    started.send('4one')
    gevent.sleep(0)
    error = exhausted()
    attempts = 0
    while not sink.lost:
        getattr(http, method).get(timeout=5)[2].set_exception(error)
        attempts += 1
        settle()
    assert sink.lost == [error]
    assert quick[0] == 1000 + SILENCE
    assert attempts == 1 + SILENCE / 0.25


def test_the_time_for_a_descriptor_begins_anew_with_each_request(http, sink, started, quick):
    http.gets.get(timeout=5)[2].set_exception(exhausted())
    http.answer_get('4one')
    http.gets.peek(timeout=5)
    quick[0] += 1000
    http.gets.get()[2].set_exception(exhausted())
    http.answer_get('4two')
    settle()
    assert sink.packets == [(MESSAGE, 'one'), (MESSAGE, 'two')]
    assert sink.lost == []


def test_a_handshake_waits_for_no_descriptor(http, sink, quick):
    one = Polling(sink, Route('http://a.test'), Limits, InGreenlets(http))
    answer = AsyncResult()
    answer.set_exception(exhausted())
    http.get = lambda target, timeout: answer.get()
    with pytest.raises(OutOfResources):
        one.open()
    assert quick[0] == 1000


def test_a_pause_does_not_wait_for_a_descriptor(http, sink, started, quick):
    """What could not be posted is there for the websocket, in order."""
    started.send('4one')
    started.send(b'\x00two')
    gevent.sleep(0)
    get, post = http.gets.get(timeout=5)[2], http.posts.get(timeout=5)[2]
    pausing = gevent.spawn(started.pause)
    gevent.sleep(0)
    started.send('4three')
    get.set_exception(exhausted())
    post.set_exception(exhausted())
    pausing.get(timeout=5)
    assert started.unsent == 3
    assert http.gets.empty()
    assert http.posts.empty()
    assert started.take_queued() == ['4one', b'\x00two', '4three']
    assert sink.lost == []


def test_a_pause_ends_with_a_post_that_finds_no_descriptor(http, started, quick):
    started.send('4one')
    gevent.sleep(0)  # the POST is under way
    post = http.posts.get(timeout=5)[2]
    pausing = gevent.spawn(started.pause)
    http.answer_get('6')
    settle()
    assert not pausing.ready()
    post.set_exception(exhausted())
    pausing.get(timeout=5)
    assert started.take_queued() == ['4one']


def test_after_a_pause_what_found_no_descriptor_is_posted(http, started, quick):
    started.send('4one')
    gevent.sleep(0)
    get, post = http.gets.get(timeout=5)[2], http.posts.get(timeout=5)[2]
    pausing = gevent.spawn(started.pause)
    gevent.sleep(0)
    post.set_exception(exhausted())
    get.set(b'6')
    pausing.get(timeout=5)
    queued = started.queued
    started.resume()
    assert http.answer_post() == ['4one']
    settle()
    assert (queued, started.queued) == (4, 0)


def test_a_farewell_is_bounded_without_a_descriptor(http, sink, started):
    started.send('4one')
    gevent.sleep(0)
    http.posts.get(timeout=5)[2].set_exception(exhausted())
    finishing = gevent.spawn(started.finish, 0.01)
    finishing.get(timeout=5)
    assert http.closed == 1
    assert len(sink.lost) == 1
    assert started.unsent == 1


# -- Pausing, for an upgrade -----------------------------------------------------------------------


def test_a_pause_awaits_what_is_in_flight(http, sink, started):
    started.send('4first')
    http.posts.peek(timeout=5)
    http.gets.peek(timeout=5)
    pausing = gevent.spawn(started.pause)
    settle()
    started.send('4second')
    http.answer_get('4hello')
    settle()
    assert not pausing.ready()
    http.answer_post()
    pausing.get(timeout=5)
    assert sink.packets == [(MESSAGE, 'hello')]
    assert (http.gets.empty(), http.posts.empty()) == (True, True)
    assert started.take_queued() == ['4second']
    assert started.queued == 0


def test_a_pause_before_the_start_is_at_once(http, polling):
    polling.send('4one')
    polling.pause()
    polling.start()
    settle()
    assert http.targets == []
    assert polling.take_queued() == ['4one']


def test_a_resume_starts_it(http, polling):
    polling.pause()
    polling.send('4one')
    polling.resume()
    assert http.answer_post() == ['4one']
    http.gets.peek(timeout=5)


def test_what_is_taken_is_taken_once(polling):
    polling.send('4one')
    assert polling.take_queued() == ['4one']
    assert polling.take_queued() == []
    assert polling.unsent == polling.queued == 0


def test_going_on_after_a_pause(http, sink, started):
    http.answer_get('6')
    http.gets.peek(timeout=5)
    pausing = gevent.spawn(started.pause)
    gevent.sleep(0)
    http.answer_get('6')
    pausing.get(timeout=5)
    started.send('4kept')
    started.resume()
    assert http.answer_post() == ['4kept']
    http.answer_get('4hello')
    assert eventually(lambda: (MESSAGE, 'hello') in sink.packets)
    assert http.most_in_flight == {'GET': 1, 'POST': 1}


def test_going_on_while_the_get_of_before_is_still_in_flight(http, started):
    http.gets.peek(timeout=5)
    pausing = gevent.spawn(started.pause)
    gevent.sleep(0)
    pausing.kill()
    started.resume()
    settle()
    assert http.gets.qsize() == 1
    http.answer_get('6')
    http.answer_get('6')
    assert http.most_in_flight['GET'] == 1


def test_a_pause_ends_with_the_transport(http, started):
    http.gets.peek(timeout=5)
    pausing = gevent.spawn(started.pause)
    gevent.sleep(0)
    started.close()
    pausing.get(timeout=5)


# -- The end ---------------------------------------------------------------------------------------


def test_a_farewell_posts_what_is_queued_and_a_close_packet(http, sink, started):
    for number in range(20):
        started.send(f'4{number}')
    finishing = gevent.spawn(started.finish, 5)
    sent = []
    while not finishing.ready() and len(sent) < 21:
        sent += http.answer_post()
        gevent.sleep(0)
    finishing.get(timeout=5)
    assert sent == [*(f'4{number}' for number in range(20)), str(CLOSE)]
    assert sink.lost == []
    assert http.in_flight == {'GET': 0, 'POST': 0}
    assert http.closed == 1


def test_a_farewell_before_the_start(http, polling):
    """Of an application that leaves within its connect handler."""
    polling.send('4one')
    finishing = gevent.spawn(polling.finish, 5)
    assert http.answer_post() == ['4one', '1']
    finishing.get(timeout=5)
    assert http.most_in_flight['GET'] == 0


def test_a_farewell_within_a_pause(http, started):
    http.gets.peek(timeout=5)
    pausing = gevent.spawn(started.pause)
    gevent.sleep(0)
    started.send('4one')
    finishing = gevent.spawn(started.finish, 5)
    assert http.answer_post() == ['4one', '1']
    finishing.get(timeout=5)
    pausing.get(timeout=5)


def test_a_get_may_end_as_it_likes_within_a_farewell(http, sink, started):
    get = http.gets.get(timeout=5)
    finishing = gevent.spawn(started.finish, 5)
    http.posts.peek(timeout=5)
    get[2].set_exception(HTTPError('closed', 400))
    settle()
    assert not finishing.ready()
    assert http.answer_post() == ['1']
    finishing.get(timeout=5)
    assert sink.lost == []


def test_a_farewell_to_a_dead_server_is_bounded_and_says_what_was_not_sent(http, sink, started):
    started.send('4' + 'x' * 999)
    with gevent.Timeout(5):
        started.finish(0.05)
    assert len(sink.lost) == 1
    assert http.in_flight == {'GET': 0, 'POST': 0}


def test_a_farewell_that_fails(http, sink, started):
    finishing = gevent.spawn(started.finish, 5)
    error = ConnectionClosed('gone')
    http.posts.get(timeout=5)[2].set_exception(error)
    finishing.get(timeout=5)
    assert sink.lost == [error]


def test_a_farewell_that_fails_before_the_first_get(http, sink, polling):
    finishing = gevent.spawn(polling.finish, 5)
    error = ConnectionClosed('gone')
    http.posts.get(timeout=5)[2].set_exception(error)
    finishing.get(timeout=5)
    assert sink.lost == [error]


@pytest.mark.parametrize(
    ('limit', 'taken'), [(None, 1), (3, 3)], ids=['no limit of its own', 'a limit for all of it']
)
def test_the_time_of_a_farewell_begins_anew_when_the_server_takes_something(
    http, sink, started, quick, limit, taken
):
    """A second for each POST, which the server takes 0.9 s for, as long as there is time at all."""
    for _ in range(5):
        started.send('4' + 'x' * 1000)
    http.posts.peek(timeout=5)
    finishing = gevent.spawn(started.finish, 1, limit)
    settle()
    for _ in range(taken):
        quick[0] += 0.9
        assert http.answer_post() == ['4' + 'x' * 1000]
        settle()
        assert not finishing.ready()
    quick[0] += 0.9
    http.answer_post()
    finishing.get(timeout=5)
    assert len(sink.lost) == 1
    assert started.unsent == 5 - taken - 1


def test_the_time_of_a_farewell_does_not_begin_anew_without_that(http, sink, started, quick):
    get = http.gets.get(timeout=5)[2]
    finishing = gevent.spawn(started.finish, 0.1, 60)
    http.posts.peek(timeout=5)
    quick[0] += 0.09
    get.set_exception(HTTPError('closed', 400))
    settle()
    assert not finishing.ready()
    quick[0] += 0.09
    finishing.get(timeout=5)
    assert len(sink.lost) == 1


def test_a_request_that_cannot_be_killed_does_not_hold_a_farewell(http, started, monkeypatch):
    """An adapter of the caller's session may catch everything."""
    release = AsyncResult()

    def get(target, timeout):
        while not release.ready():
            with contextlib.suppress(gevent.GreenletExit):
                release.get()
        return b'6'

    http.gets.peek(timeout=5)
    http.get = get
    http.answer_get('6', '4')
    settle()
    with gevent.Timeout(5):
        started.finish(0.05)
    assert http.closed == 1
    release.set(None)


def test_aborting_drops_what_is_queued_and_posts_a_close_packet(http, sink, started):
    started.send('4in flight')
    in_flight = http.posts.get(timeout=5)[2]
    started.send('4first')
    started.send(b'second')
    aborting = gevent.spawn(started.abort, 60)
    settle()
    assert http.posts.empty()  # a server accepts one POST at a time
    assert started.unsent == 3
    in_flight.set(b'ok')
    assert http.answer_post() == ['1']
    aborting.get(timeout=5)
    assert started.unsent == 2
    assert sink.lost == []
    assert http.in_flight == {'GET': 0, 'POST': 0}
    assert http.closed == 1
    started.abort(60)  # a second time changes nothing
    assert started.unsent == 2


def test_aborting_makes_no_other_get(http, polling):
    """Over a session that is not cooperative, it would block the thread. So would a long POST."""

    def answer_post():
        body, timeout, answer = http.posts.get(timeout=5)
        answer.set(b'ok')
        return body, timeout

    polling.start()
    answering = gevent.spawn(answer_post)
    polling.abort(0.5)
    assert answering.get(timeout=5) == (b'1', 0.5)
    assert http.gets.empty()
    assert (http.in_flight, http.closed) == ({'GET': 0, 'POST': 0}, 1)


def test_aborting_before_the_start(http, polling):
    polling.send('4one')
    aborting = gevent.spawn(polling.abort, 60)
    assert http.answer_post() == ['1']
    aborting.get(timeout=5)
    assert polling.unsent == 1


@pytest.mark.parametrize('in_flight', [0, 1])
def test_aborting_is_bounded_and_nobody_is_told_of_a_dead_server(http, sink, started, in_flight):
    for number in range(2 * in_flight):
        started.send(f'4{number}')
        gevent.sleep(0)
    with gevent.Timeout(5):
        started.abort(0.01)
    settle()
    assert started.unsent == 2 * in_flight
    assert sink.lost == []
    assert http.in_flight == {'GET': 0, 'POST': 0}
    assert http.closed == 1


def test_aborting_fails(http, sink, started):
    aborting = gevent.spawn(started.abort, 60)
    http.posts.get(timeout=5)[2].set_exception(ConnectionClosed('gone'))
    http.gets.get(timeout=5)[2].set_exception(ConnectionClosed('gone'))
    aborting.get(timeout=5)
    assert sink.lost == []
    assert http.closed == 1


def test_closing_ends_all_at_once(http, sink, started):
    with no_leaks():
        http.gets.peek(timeout=5)
        started.send('4hello')
        http.posts.peek(timeout=5)
        started.close()
        started.close(1000, 'words that only a websocket has')
        assert http.closed == 1
        gevent.sleep(0)
        assert http.in_flight == {'GET': 0, 'POST': 0}
        assert sink.lost == []
        assert started.send('4more') == -1
        started.start()
        started.resume()
        settle()
        assert http.in_flight == {'GET': 0, 'POST': 0}


def test_closing_before_the_first_switch(http, sink, polling):
    """Greenlets that have not begun yet are not begun."""
    polling.start()
    polling.send('4one')
    polling.close()
    settle()
    assert http.targets == []
    assert sink.lost == []


@pytest.mark.parametrize('end', ['close', 'abandon'])
def test_the_hub_may_end_it(http, started, end):
    started.send('4hello')
    http.gets.peek(timeout=5)
    http.posts.peek(timeout=5)
    gevent.get_hub().loop.run_callback(getattr(started, end))
    settle()
    assert (http.closed, http.abandoned) == ((1, 0) if end == 'close' else (0, 1))
    assert http.in_flight == {'GET': 0, 'POST': 0}


def test_abandoning_in_another_thread_wakes_nobody(http, started):
    """The greenlets are those of a thread that has ended. Here they go on, which shows that."""
    queued = gevent.spawn(started.wait_below, -1)
    http.gets.peek(timeout=5)
    settle()
    started.abandon(wake=False)
    settle()
    assert http.abandoned == 1
    assert http.in_flight['GET'] == 1
    assert not queued.ready()
    queued.kill()
    http.gets.get()[2].set(b'4late')


def test_abandoning(http, sink, started):
    http.gets.peek(timeout=5)
    started.send('4 of the parent')
    http.posts.peek(timeout=5)
    waiting = gevent.spawn(started.wait_below, 0)
    settle()
    started.abandon()
    assert (http.abandoned, http.closed, sink.lost) == (1, 0, [])
    assert started.send('4x') == -1
    assert started.unsent == 0
    waiting.get(timeout=5)
    settle()
    assert http.in_flight == {'GET': 0, 'POST': 0}
    assert sink.packets == sink.lost == []


def test_one_pong_waits_at_most(started, http):
    """PINGs that come faster than POSTs are answered must not fill the memory."""
    started.send('4in flight')
    first = http.posts.get(timeout=5)
    started.send('4next')
    for number in range(1000):
        started.send_first(f'3{number}')
    assert started.queued == len('4in flight') + len('4next') + len('3999')
    assert started.unsent == 2
    first[2].set(b'ok')
    assert http.answer_post() == ['3999', '4next']  # RFC 6455, section 5.5.3, says so of its pongs
    assert eventually(lambda: not started.queued)


@pytest.mark.parametrize('first', ['4a message', b'3 binary', '1'])
def test_a_pong_replaces_no_other_packet(polling, http, first):
    polling.send(first)
    polling.send_first('3')
    polling.start()
    encoded = first if isinstance(first, str) else payload.encode_packet(first).decode()
    assert http.answer_post() == ['3', encoded]
    assert eventually(lambda: not polling.queued)


def test_a_body_of_many_packets_is_not_in_memory_as_a_whole(http, sink, started):
    tracemalloc = pytest.importorskip('tracemalloc')  # PyPy has none
    body = b'\x1e'.join([b'2'] * (1 << 18))
    counts = []
    sink.on_packets = lambda transport, packets: counts.append(len(packets))
    answer = http.gets.get(timeout=5)[2]
    tracemalloc.start()
    try:
        answer.set(body)
        assert http.gets.get(timeout=patience(10))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert sum(counts) == 1 << 18
    assert peak < 6 << 20  # all of them take 19 MB


def test_handlers_get_a_turn_within_a_large_body(http, sink, started):
    """Else all its messages wait in memory, each of which takes more there than in the body."""
    turns = []
    seen = []
    sink.on_packets = lambda transport, packets: (
        seen.append(len(turns)),
        gevent.spawn(turns.append, 1),
    )
    http.answer_get(*['4'] * 200_000)
    assert http.gets.get(timeout=patience(5))
    assert len(seen) > 3
    assert seen == list(range(len(seen)))


@pytest.mark.parametrize('when', ['handshake', 'later'])
def test_timers_get_a_turn_within_a_large_body(http, sink, polling, when):
    """Else a server could stop the whole process for seconds, with all its time limits."""
    turns = 0
    seen = []

    def turn():
        nonlocal turns
        turns += 1
        timer.start(turn)

    sink.on_packets = lambda transport, packets: seen.append(turns)
    timer = gevent.get_hub().loop.timer(0)
    timer.start(turn)
    try:
        if when == 'handshake':
            http.get = lambda target, timeout: b'\x1e'.join([b'6'] * 200_000)
            Polling(sink, Route('http://a.test'), Limits, InGreenlets(http)).open()
        else:
            polling.start()
            http.answer_get(*['4'] * 200_000)
            assert http.gets.get(timeout=patience(5))
    finally:
        timer.close()
    assert len(set(seen)) == len(seen) > 3


def test_what_comes_before_a_fault_in_a_large_body(http, sink, started):
    http.answer_get(*['4'] * 200_000, '9', '4later')
    assert eventually(lambda: sink.lost)
    assert sink.packets == [(MESSAGE, '')] * 200_000
    assert 'valid type' in str(sink.lost[0])
