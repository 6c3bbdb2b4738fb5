"""A stream in a flood: bytes gather for a bounded moment, unless something is written."""

from __future__ import annotations

import itertools
import socket as stdlib_socket
import ssl

import gevent
import pytest
from gevent import socket

from engineio_gevent.net.stream import FLOOD_READS, QUIET_SECONDS, Stream
from engineio_gevent.options import MAX_RECEIVE_DELAY
from engineio_gevent.protocol.frames import LargeFrame
from support import eventually, no_leaks, settle, watchers

pytestmark = pytest.mark.time_limit(5)


class Timer:
    """A timer that fires when the test says so."""

    def __init__(self, seconds):
        self.seconds = seconds
        self.callback = None

    def start(self, callback):
        self.callback = callback

    def fire(self):
        self.callback()

    def close(self):
        self.callback = None


class Loop:
    """The loop, with a clock and with timers of the test."""

    def __init__(self):
        self._loop = gevent.get_hub().loop
        self.time = 1000.0
        self.timers = []

    def now(self):
        return self.time

    def timer(self, seconds):
        self.timers.append(Timer(seconds))
        return self.timers[-1]

    def __getattr__(self, name):
        return getattr(self._loop, name)


class Flooded:
    """A stream, its peer, and what it has read."""

    def __init__(self, ours, peer, **options):
        self.peer = peer
        self.loop = Loop()
        self.reads = []
        self.lost = []
        self.stream = Stream(ours, self.reads.append, self.lost.append, **options)
        self.stream._loop = self.loop
        self.stream.start()

    def say(self, count=1, seconds=0.0):
        """The peer sends so many bytes. Each is read before the next is sent, unless none is."""
        for _ in range(count):
            self.loop.time += seconds
            self.peer.sendall(b'x')
            settle()

    def flood(self):
        """More than enough for a pause."""
        self.say(FLOOD_READS + 1)

    @property
    def read(self):
        return sum(map(len, self.reads))

    @property
    def paused(self):
        return any(timer.callback for timer in self.loop.timers)

    def resume(self):
        self.loop.time += self.loop.timers[-1].seconds
        self.loop.timers[-1].fire()
        settle()


@pytest.fixture
def make_flooded():
    made = []

    def make(**options):
        made.append(Flooded(*socket.socketpair(), **{'max_delay': MAX_RECEIVE_DELAY, **options}))
        return made[-1]

    yield make
    for one in made:
        one.stream.close()
        one.peer.close()


@pytest.fixture
def flooded(make_flooded):
    """One whose stream makes a pause."""
    one = make_flooded()
    one.flood()
    assert one.paused
    assert one.read == FLOOD_READS + 1  # what has come before the pause does not wait
    return one


def test_a_flood_gathers(flooded):
    flooded.peer.sendall(b'y' * 10_000)
    flooded.say(50)
    assert flooded.read == FLOOD_READS + 1
    flooded.resume()
    assert flooded.reads[FLOOD_READS + 1 :] == [b'y' * 10_000 + b'x' * 50]
    assert not flooded.paused


def test_a_pause_is_bounded(make_flooded):
    """One timer, which nothing starts anew, and less than a millisecond for the loop's delay."""
    for seconds in MAX_RECEIVE_DELAY, 0.01, 1:
        one = make_flooded(max_delay=seconds)
        one.flood()
        one.say(100)
        (timer,) = one.loop.timers
        assert 0 < timer.seconds <= seconds


def test_each_pause_of_a_long_flood_has_its_reads(flooded):
    for _ in range(10):
        before = len(flooded.reads)
        flooded.say(100)
        flooded.resume()
        while not flooded.paused:
            flooded.say()
        assert FLOOD_READS / 2 < len(flooded.reads) - before <= FLOOD_READS
    assert len(flooded.loop.timers) == 11


def test_a_flood_that_has_ended_is_forgotten(flooded):
    flooded.resume()
    flooded.say(10 * FLOOD_READS, seconds=0.001)  # one in each pause would be no gain
    assert len(flooded.loop.timers) == 1


@pytest.mark.parametrize('seconds', [0.0002, 0.001, 0.1])
def test_there_is_no_pause_for_what_is_no_flood(make_flooded, seconds):
    one = make_flooded()
    one.say(20 * FLOOD_READS, seconds)
    assert one.reads == [b'x'] * 20 * FLOOD_READS
    assert not one.loop.timers


def test_it_can_be_switched_off(make_flooded):
    one = make_flooded(max_delay=0)
    one.say(10 * FLOOD_READS)
    assert one.reads == [b'x'] * 10 * FLOOD_READS
    assert not one.loop.timers


def test_it_is_off_unless_it_is_asked_for():
    """As for the connections of polling."""
    one = Flooded(*socket.socketpair())
    one.say(10 * FLOOD_READS)
    assert one.reads == [b'x'] * 10 * FLOOD_READS
    assert not one.loop.timers
    one.stream.close()
    one.peer.close()


def test_there_is_no_pause_where_much_is_read_at_once(make_flooded):
    one = make_flooded()
    for _ in range(5 * FLOOD_READS):
        one.peer.sendall(bytes(5000))
        settle()
    assert one.read == 5 * FLOOD_READS * 5000
    assert not one.loop.timers


# -- Writes ----------------------------------------------------------------------------------------

WRITES = {
    'write': lambda stream: stream.write(b'y'),
    'answer': lambda stream: stream.write_first(1, b'y'),
    'large': lambda stream: stream.write_large(LargeFrame(b'y')),
}


@pytest.mark.parametrize('kind', WRITES)
def test_there_is_no_pause_after_a_write(make_flooded, kind):
    one = make_flooded()
    for _ in range(10):
        WRITES[kind](one.stream)
        one.say(50, QUIET_SECONDS / 100)
    assert one.reads == [b'x'] * 500
    assert not one.loop.timers
    one.loop.time += QUIET_SECONDS
    one.flood()
    assert one.paused


@pytest.mark.parametrize('kind', WRITES)
def test_a_write_ends_the_pause(flooded, kind):
    flooded.say(10)
    WRITES[kind](flooded.stream)
    assert not flooded.paused
    settle()
    assert flooded.reads[-1] == b'x' * 10
    flooded.flood()
    assert not flooded.paused
    assert len(flooded.loop.timers) == 1


def test_a_write_of_the_same_turn_leaves_no_pause(make_flooded):
    """The pause begins at a read, so that no write of its turn can have come before."""
    one = make_flooded()
    one.flood()
    one.stream.write(b'1')
    one.flood()
    one.stream.write(b'2')
    assert not one.paused
    settle()
    assert one.peer.recv(10) == b'12'


def test_there_is_no_pause_while_something_is_queued(make_flooded):
    one = make_flooded()
    while not one.stream.queued:
        one.loop.time += 1  # a turn for each
        one.stream.write(bytes(100_000))
    one.loop.time += 1
    one.flood()
    assert not one.paused


# -- The end ---------------------------------------------------------------------------------------


@pytest.mark.parametrize('end', ['eof', 'reset'])
def test_an_end_within_a_pause_is_told_after_it(flooded, end):
    flooded.say(3)
    if end == 'eof':
        flooded.peer.close()
    settle()
    assert not flooded.lost
    if end == 'reset':
        flooded.stream._sock.shutdown(socket.SHUT_RD)
    flooded.resume()
    assert flooded.lost == [None]
    assert flooded.reads[-1] == b'x' * 3
    assert not flooded.paused


@pytest.mark.parametrize('end', ['close', 'close_gently', 'reset', 'fail', 'abandon', 'write'])
def test_nothing_is_left_of_a_pause(end):
    """With the real timer: it does not fire after the end, and is not left behind."""
    settle()
    before = watchers()
    with no_leaks():
        one = Flooded(*socket.socketpair(), max_delay=1)
        one.loop.timer = gevent.get_hub().loop.timer
        one.flood()
        assert one.stream._pause.active
        pause = one.stream._pause
        if end == 'write':
            one.peer.close()
            one.stream.write(b'y')
        elif end == 'fail':
            one.stream.fail(OSError('mine'))
        else:
            getattr(one.stream, end)()
        assert one.stream.closed
        assert not pause.active
        assert one.stream._pause is None
        one.peer.close()
        assert eventually(lambda: watchers() == before)
        settle()
        assert len(one.lost) == (end in ('write', 'fail'))


def test_an_owner_that_closes_in_a_flood(make_flooded):
    one = make_flooded()
    one.stream._on_data = lambda data: (
        one.reads.append(data) or (len(one.reads) > FLOOD_READS and one.stream.close())
    )
    one.flood()
    assert one.stream.closed
    assert not one.loop.timers


def test_a_program_does_not_end_in_a_pause():
    """While it pauses, the timer keeps the loop running, as the reader does otherwise."""
    one = Flooded(*socket.socketpair(), max_delay=0.01)
    one.loop.timer = gevent.get_hub().loop.timer
    one.flood()
    assert one.stream._pause.ref
    one.peer.sendall(b'last')
    assert eventually(lambda: one.reads[-1] == b'last')
    one.stream.close()
    one.peer.close()


# -- TLS -------------------------------------------------------------------------------------------


class Recorder:
    """Notes what a socket's ``recv()`` brings: bytes, or None for nothing."""

    def __init__(self, stream):
        self._recv = stream._recv
        stream._recv = self
        self.found = []

    def __call__(self, size):
        self.found.append(None)
        self.found[-1] = data = self._recv(size)
        return data


@pytest.fixture
def tls_flooded(certificates):
    with socket.create_server(('127.0.0.1', 0)) as listener:
        ours = socket.create_connection(listener.getsockname())
        peer, _ = listener.accept()
    peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    context = certificates.server_context()
    serving = gevent.spawn(context.wrap_socket, peer, server_side=True)
    context = gevent.ssl.SSLContext(gevent.ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(certificates.ca)
    ours = context.wrap_socket(ours, server_hostname='localhost')
    one = Flooded(ours, serving.get(timeout=5), max_delay=MAX_RECEIVE_DELAY)
    settle()
    yield one
    one.stream.close()
    one.peer.close()


def test_a_tls_socket_that_brought_one_record_is_seldom_read_again(tls_flooded):
    one = tls_flooded
    recorder = Recorder(one.stream)
    for number in range(1, 161):
        one.loop.time += 0.001
        one.peer.sendall(b'x')
        assert eventually(lambda number=number: one.read == number, interval=0)
    settle()
    assert recorder.found.count(b'x') == 160
    assert 8 <= recorder.found.count(None) <= 13


def test_a_tls_socket_that_brings_several_records_is_read_on(tls_flooded):
    """Once that was of use it is done each time."""
    one = tls_flooded
    one.stream._max_delay = 0
    recorder = Recorder(one.stream)
    for number in range(1, 101):
        one.stream._reader.stop()
        for _ in range(5):
            one.peer.sendall(b'x')
        one.stream._reader.start(one.stream._read)
        assert eventually(lambda number=number: one.read == 5 * number, interval=0)
    settle()
    wakes = [list(group) for found, group in itertools.groupby(recorder.found, bool) if found]
    assert len(wakes) > 80  # nothing was found after each five
    assert [len(wake) for wake in wakes].count(5) > 80


def test_a_tls_flood_gathers(tls_flooded):
    one = tls_flooded
    while not one.paused:
        one.say()
    before = one.read
    one.say(50)
    assert one.read == before
    one.resume()
    assert eventually(lambda: one.read == before + 50)


class Buffering:
    """Stands for a TLS socket of another kind: it reads many records, and returns one, a line."""

    do_handshake = None

    def __init__(self, sock):
        self._sock = sock
        self._read = b''

    def recv(self, size):
        try:
            self._read += self._sock.recv(65536)
        except BlockingIOError:
            if not self._read:
                raise ssl.SSLWantReadError from None
        line, self._read = self._read[:2], self._read[2:]
        return line

    def __getattr__(self, name):
        return getattr(self._sock, name)


@pytest.fixture
def buffering():
    ours, peer = stdlib_socket.socketpair()
    one = Flooded(Buffering(ours), peer)
    yield one
    one.stream.close()
    peer.close()


def test_a_tls_socket_that_may_hold_more_is_read_again_each_time(buffering):
    """The loop does not announce what has been read from the descriptor."""
    for _ in range(3):
        for lines in b'a\n', b'b\nc\n':
            buffering.peer.sendall(lines)
            settle()
    assert buffering.reads == [b'a\n', b'b\n', b'c\n'] * 3


def test_a_tls_socket_whose_owner_wants_a_pause_is_read_on(buffering):
    buffering.stream._on_data = lambda data: buffering.reads.append(data) or True
    buffering.peer.sendall(b'a\nb\nc\n')
    assert eventually(lambda: len(buffering.reads) == 3)


def test_an_owner_that_wants_a_pause_has_one_after_each_piece(make_flooded):
    one = make_flooded()
    one.stream._on_data = lambda data: one.reads.append(data) or True
    one.peer.sendall(bytes(10_000))
    one.stream._read()
    assert len(one.reads) == 1
    assert eventually(lambda: one.read == 10_000)
