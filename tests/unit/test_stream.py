"""A stream over real sockets, plain and TLS: what goes in comes out, and every end is one end."""

from __future__ import annotations

import contextlib
import gc
import itertools
import os
import socket as stdlib_socket
import weakref

import gevent
import gevent.ssl
import pytest
from gevent import socket
from gevent.event import Event

from engineio_gevent.net import closing
from engineio_gevent.net.outbox import GATHER_SIZE
from engineio_gevent.net.stream import SMALL_READ_SIZE, Stream
from engineio_gevent.protocol.frames import LargeFrame
from support import (
    BINARY,
    TEXT,
    eventually,
    frame,
    no_leaks,
    read_exactly,
    read_frame,
    read_to_end,
    reset,
    settle,
    watchers,
)

pytestmark = pytest.mark.time_limit(5)  # most of them take a hundredth of a second

SMALL = 65536
"""The buffers of a connection that soon takes no more; the kernel may double them."""
MUCH = 2 << 20
"""More than they take."""


class Owner:
    """Owns a stream and writes down what it is told."""

    def __init__(self, sock, start=True):
        self.pieces = []
        self.lost = []
        self.was_lost = Event()
        self.tls = hasattr(sock, 'do_handshake')
        self.stream = Stream(sock, self.on_data, self.on_lost)
        if start:
            self.stream.start()

    def on_data(self, data):
        self.pieces.append(data)

    def on_lost(self, error):
        self.lost.append(error)
        self.was_lost.set()

    @property
    def data(self):
        return b''.join(self.pieces)

    def wait_lost(self):
        """The one error that it was told of."""
        assert self.was_lost.wait(5), 'not told of the end'
        settle()
        assert len(self.lost) == 1
        assert self.stream.closed
        assert b'' not in self.pieces
        return self.lost[0]


def tcp_pair(small=False):
    with socket.socket() as listener:
        if small:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SMALL)
        listener.bind(('127.0.0.1', 0))
        listener.listen()
        ours = socket.socket()
        if small:
            ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SMALL)
        ours.connect(listener.getsockname())
        peer, _ = listener.accept()
    return ours, peer


def tls_pair(certificates, small=False):
    ours, peer = tcp_pair(small)
    serving = gevent.spawn(certificates.server_context().wrap_socket, peer, server_side=True)
    context = gevent.ssl.SSLContext(gevent.ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(certificates.ca)
    return context.wrap_socket(ours, server_hostname='localhost'), serving.get(timeout=5)


@pytest.fixture(params=['plain', 'tls'])
def make_pair(request):
    """`make_pair()` makes two connected sockets: one for a stream, and its peer."""
    peers = []

    def make(small=False):
        if request.param == 'plain':
            ours, peer = tcp_pair(small)
        else:
            ours, peer = tls_pair(request.getfixturevalue('certificates'), small)
        peers.append(peer)
        return ours, peer

    yield make
    for peer in peers:
        peer.close()


@pytest.fixture
def pair(make_pair):
    """An owner of a started stream, and the peer."""
    ours, peer = make_pair()
    owner = Owner(ours)
    yield owner, peer
    owner.stream.close()


# -- Both ways -------------------------------------------------------------------------------------


def test_bytes_arrive_in_order(pair):
    owner, peer = pair
    for number in range(1000):
        peer.sendall(b'%d,' % number)
    expected = b''.join(b'%d,' % number for number in range(1000))
    assert eventually(lambda: len(owner.data) == len(expected))
    assert owner.data == expected


def test_bytes_leave_in_order(pair):
    owner, peer = pair
    expected = b''
    for number in range(1000):
        expected += b'%d,' % number
        owner.stream.write(b'%d,' % number)
        if not number % 100:
            gevent.sleep(0)
    assert read_exactly(peer, len(expected)) == expected


def test_five_megabytes_both_ways_at_once(pair):
    owner, peer = pair
    size = 5 << 20
    upwards, downwards = os.urandom(size), os.urandom(size)
    sending = gevent.spawn(peer.sendall, downwards)
    reading = gevent.spawn(read_exactly, peer, size)
    for start in range(0, size, 100_000):
        owner.stream.write(upwards[start : start + 100_000])
    assert owner.stream.drain(20)
    assert reading.get(timeout=20) == upwards
    sending.get(timeout=20)
    assert eventually(lambda: sum(map(len, owner.pieces)) == size, 20)
    assert owner.data == downwards


def test_what_comes_before_the_start_is_not_lost(make_pair):
    ours, peer = make_pair()
    peer.sendall(b'early')
    assert gevent.select.select([ours], [], [], 5)[0]  # it has arrived
    owner = Owner(ours, start=False)
    settle()
    assert owner.data == b''
    owner.stream.start()
    assert eventually(lambda: owner.data == b'early')
    owner.stream.close()


@pytest.mark.parametrize('size', [1, 1000, 16384, 16385, 65536, 65537, 200_000, 1_000_000])
def test_nothing_decrypted_is_left_behind(certificates, size):
    """TLS takes whole records off the socket, which is silent about the rest of them then."""
    ours, peer = tls_pair(certificates)
    data = os.urandom(size + 1)
    sending = gevent.spawn(peer.sendall, data)
    first = ours.recv(1)  # the rest of this record is decrypted by now
    owner = Owner(ours)
    assert eventually(lambda: len(owner.data) == size)
    assert first + owner.data == data
    sending.get(timeout=5)
    owner.stream.close()
    peer.close()


def test_many_small_records_in_one_segment(certificates):
    ours, peer = tls_pair(certificates)
    owner = Owner(ours, start=False)
    for number in range(500):
        peer.sendall(b'%04d' % number)
    owner.stream.start()
    assert eventually(lambda: len(owner.data) == 2000)
    assert owner.data == b''.join(b'%04d' % number for number in range(500))
    owner.stream.close()
    peer.close()


@pytest.mark.parametrize('number', range(6, 18))
def test_a_large_record_behind_small_ones(certificates, number):
    """One of the reads is small, and leaves most of the record with TLS."""
    ours, peer = tls_pair(certificates)
    owner = Owner(ours, start=False)
    for _ in range(number):
        peer.sendall(b'x')
    peer.sendall(bytes(16384))
    owner.stream.start()
    assert eventually(lambda: len(owner.data) == number + 16384)
    owner.stream.close()
    peer.close()


def test_a_socket_that_blocks():
    """It does so no longer once the stream owns it."""
    ours, peer = stdlib_socket.socketpair()
    descriptor = ours.fileno()
    owner = Owner(ours)
    assert not os.get_blocking(descriptor)
    peer.sendall(bytes(SMALL_READ_SIZE))
    assert eventually(lambda: owner.data == bytes(SMALL_READ_SIZE))
    owner.stream.close()
    peer.close()


def test_a_flood_does_not_keep_the_loop_to_itself(certificates):
    """Another stream of the loop gets its turn between the reads of a flood."""
    ours, peer = tls_pair(certificates)
    owner = Owner(ours)
    size = 4 << 20
    seen = []
    sending = gevent.spawn(peer.sendall, bytes(size))
    while sum(map(len, owner.pieces)) < size:
        seen.append(sum(map(len, owner.pieces)))
        gevent.sleep(0)
    sending.get(timeout=5)
    assert len(seen) > 3
    # _READS_PER_TURN records of 16 KiB, and what lets the sender go on meanwhile
    assert max(after - before for before, after in itertools.pairwise(seen)) < 1 << 20
    owner.stream.close()
    peer.close()


# -- Few system calls ------------------------------------------------------------------------------


@pytest.fixture
def records():
    """A stream over a socket that keeps what each system call sends apart, and its peer."""
    ours, peer = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    owner = Owner(ours)
    yield owner.stream, peer
    owner.stream.close()
    peer.close()


def test_the_first_write_of_a_turn_goes_at_once(records):
    stream, peer = records
    gevent.sleep(0)
    assert stream.write(b'now') == 0
    assert peer.recv(100, socket.MSG_DONTWAIT) == b'now'


def test_what_follows_in_a_turn_is_one_system_call(records):
    stream, peer = records
    gevent.sleep(0.001)
    queued = [stream.write(b'%02d' % number) for number in range(100)]
    assert queued == [2 * number for number in range(100)]
    assert peer.recv(1000) == b'00'
    assert peer.recv(1000) == b''.join(b'%02d' % number for number in range(1, 100))
    assert stream.queued == 0


def test_each_turn_has_its_first_write(records):
    stream, peer = records
    for number in range(5):
        gevent.sleep(0.001)
        stream.write(b'%d' % number)
        assert peer.recv(100, socket.MSG_DONTWAIT) == b'%d' % number


def test_much_is_not_kept_until_the_turn_ends(records):
    stream, peer = records
    gevent.sleep(0.001)
    stream.write(b'first')
    written = 0
    while written < GATHER_SIZE:
        assert stream.queued == written
        stream.write(bytes(1000))
        written += 1000
    assert stream.queued == 0
    assert peer.recv(1000, socket.MSG_DONTWAIT) == b'first'
    assert len(peer.recv(1 << 20, socket.MSG_DONTWAIT)) == written


def test_a_whole_system_call_is_not_kept_until_the_turn_ends(records):
    stream, peer = records
    gevent.sleep(0.001)
    stream.write(b'first')
    half = bytes(GATHER_SIZE // 2)
    assert [stream.write(half) for _ in range(2)] == [len(half), 0]
    assert peer.recv(1000, socket.MSG_DONTWAIT) == b'first'
    assert len(peer.recv(1 << 20, socket.MSG_DONTWAIT)) == GATHER_SIZE


def test_all_that_the_socket_takes_goes_at_once(records):
    stream, peer = records
    gevent.sleep(0.001)
    stream.write(b'first')
    stream.write(b'second')
    assert stream.write_large(LargeFrame(bytes(70_000))) == 0
    sizes = [len(peer.recv(1 << 20, socket.MSG_DONTWAIT)) for _ in range(4)]
    assert sizes[:2] == [5, 6]
    assert sum(sizes[2:]) == HEAD + 70_000


def test_nothing_is_watched_for_what_the_socket_takes_at_once(records):
    stream, _ = records
    gevent.sleep(0.001)
    before = watchers()
    assert stream.write(b'now') == 0
    assert watchers() == before


@pytest.fixture
def turns():
    """A list that gets a 'turn' in each turn of the loop, before its sockets."""
    events = []
    watcher = gevent.get_hub().loop.prepare()
    watcher.start(events.append, 'turn')
    yield events
    watcher.close()


def test_reads_grow_with_what_arrives(turns):
    """Much is read in few system calls, in one turn; few bytes take a small buffer."""
    ours, peer = socket.socketpair()
    owner = Owner(ours, start=False)
    owner.pieces = turns
    owner.stream.start()

    def sizes(size):
        turns.clear()
        peer.sendall(bytes(size))
        assert eventually(lambda: sum(len(one) for one in turns if one != 'turn') == size)
        groups = itertools.groupby(turns, lambda one: one == 'turn')
        return [[len(piece) for piece in group] for is_turn, group in groups if not is_turn]

    much, small = 50_000, SMALL_READ_SIZE
    assert sizes(much) == [[small, much - small]]
    assert sizes(much) == [[much]]
    assert sizes(small - 1) == [[small - 1]]
    assert sizes(much) == [[small, much - small]]
    assert sizes(1) == [[1]]
    assert sizes(small) == [[small]]
    assert sizes(much) == [[much]]
    owner.stream.close()
    peer.close()


def test_less_than_was_asked_for_is_all_there_is(turns):
    """There is no second read to find that out: the end comes in another turn."""
    ours, peer = socket.socketpair()
    owner = Owner(ours, start=False)
    owner.pieces = owner.lost = turns
    peer.sendall(b'last')
    peer.close()
    owner.stream.start()
    assert owner.was_lost.wait(5)
    assert turns.index(None) > turns.index('turn', turns.index(b'last'))


def test_large_writes_are_not_joined(records):
    """A copy of what fills a system call anyway would buy nothing."""
    stream, peer = records
    gevent.sleep(0.001)
    stream.write(b'first')
    for _ in range(2):
        stream.write(bytes(GATHER_SIZE))
    assert [len(peer.recv(1 << 20)) for _ in range(3)] == [5, GATHER_SIZE, GATHER_SIZE]


# -- A peer that is slow ---------------------------------------------------------------------------


def test_partial_writes(make_pair):
    ours, peer = make_pair(small=True)
    owner = Owner(ours)
    data = os.urandom(MUCH)
    for start in range(0, len(data), 12_345):
        owner.stream.write(data[start : start + 12_345])
    queued = owner.stream.queued
    assert 0 < queued <= len(data)
    assert not owner.stream.drain(0.01)
    reading = gevent.spawn(read_exactly, peer, len(data))
    assert owner.stream.drain(20)
    assert owner.stream.queued == 0
    assert reading.get(timeout=20) == data
    assert owner.stream.drain(0)
    owner.stream.close()


def test_writes_while_the_socket_takes_no_more(make_pair):
    """They queue behind, each behind the one before."""
    ours, peer = make_pair(small=True)
    owner = Owner(ours)
    expected = [os.urandom(MUCH)]
    owner.stream.write(expected[0])
    for number in range(300):
        gevent.sleep(0)
        before = owner.stream.queued
        expected.append(b'%03d' % number)
        assert owner.stream.write(expected[-1]) == before + 3
    expected = b''.join(expected)
    assert gevent.spawn(read_exactly, peer, len(expected)).get(timeout=20) == expected
    owner.stream.close()


def test_several_wait_for_room(make_pair):
    ours, peer = make_pair(small=True)
    owner = Owner(ours)
    stream = owner.stream
    size = MUCH
    for _ in range(size >> 14):
        stream.write(bytes(1 << 14))
    total = stream.queued
    limits = [0, total // 2, total // 4, total // 2, 0, total * 3 // 4]
    woken = []

    def wait(limit):
        assert stream.wait_below(limit)
        woken.append((limit, stream.queued))

    waiting = [gevent.spawn(wait, limit) for limit in limits]
    assert stream.wait_below(total)  # true already
    settle()
    assert woken == []
    read = 0
    while read < size:
        read += len(peer.recv(16384))
        gevent.sleep(0)
    gevent.joinall(waiting, timeout=5, raise_error=True)
    assert [limit for limit, _ in woken] == sorted(limits, reverse=True)
    assert all(queued <= limit for limit, queued in woken)
    # The content ones did not have to wait for all of it.
    assert woken[0][1] > 0
    stream.close()


@pytest.mark.parametrize('shares', [[2], [1, 2], [2, 1, 2]])
def test_one_that_waits_for_some_room_is_not_kept_for_more(make_pair, shares):
    """Whoever waited before, and for whatever."""
    ours, peer = make_pair(small=True)
    stream = Owner(ours).stream
    for share in shares:
        for _ in range(MUCH >> 14):
            stream.write(bytes(1 << 14))
        limit = stream.queued // share if share > 1 else 0
        waiting = gevent.spawn(stream.wait_below, limit)
        gevent.sleep(0)
        while not waiting.ready():
            peer.recv(16384)
            gevent.sleep(0)
        assert waiting.get() is True
        assert (stream.queued > 0) == (limit > 0)
    stream.close()


def test_one_that_gives_up_does_not_spoil_it_for_the_others(make_pair):
    ours, peer = make_pair(small=True)
    owner = Owner(ours)
    stream = owner.stream
    stream.write(bytes(MUCH))
    patient = gevent.spawn(stream.wait_below, 0)
    impatient = gevent.spawn(stream.wait_below, stream.queued // 2, 0.01)
    killed = gevent.spawn(stream.wait_below, 0)
    assert impatient.get(timeout=5) is False
    killed.kill()
    assert not patient.ready()
    reading = gevent.spawn(read_exactly, peer, MUCH)
    assert patient.get(timeout=10) is True
    reading.get(timeout=5)
    stream.close()


def test_waiting_again_and_again(make_pair):
    """The event between them is used anew each time."""
    ours, peer = make_pair(small=True)
    owner = Owner(ours)
    reading = gevent.spawn(read_to_end, peer)
    for _ in range(20):
        owner.stream.write(bytes(500_000))
        assert owner.stream.drain(10)
        assert owner.stream.queued == 0
    owner.stream.close()
    assert len(reading.get(timeout=5)) == 20 * 500_000


class Narrow(gevent.socket.socket):
    """Takes as many bytes as there is `room` for."""

    do_handshake = None
    room = 0

    def send(self, data):
        data = data[: self.room]
        if not data:
            raise BlockingIOError
        self.room -= len(data)
        return super().send(data)


def test_all_has_left_but_one_byte(make_odd):
    owner, sock, _ = make_odd(Narrow)
    sock.room = 2
    assert owner.stream.write(b'abc') == 1
    assert not owner.stream.drain(0.01)
    sock.room = 1
    assert owner.stream.drain(5)


def test_what_has_not_left_whole(make_odd):
    owner, sock, peer = make_odd(Narrow)
    stream = owner.stream
    sock.room = 3
    for data in (b'one', b'two', b'three', b'four'):
        stream.write(data)
    assert stream.unsent() == [b'two', b'three', b'four']
    for room, left in (
        (1, [b'two', b'three', b'four']),
        (3, [b'three', b'four']),
        (4, [b'four']),
        (3, [b'four']),
    ):
        sock.room = room
        stream.flush()
        assert stream.unsent() == left
    stream.write(b'five')
    stream.write_large(large := LargeFrame(bytes(500_000)))
    stream.write(b'six')
    assert stream.unsent() == [b'four', b'five', large, b'six']
    sock.room = 1000
    stream.flush()
    assert stream.unsent() == [large, b'six']
    assert stream.queued == 500_000 + HEAD - 1000 + 1 + 4 + 3
    stream.close()
    assert stream.unsent() == [large, b'six']
    assert peer.recv(100).startswith(b'onetwothreefourfive')


def test_a_flush_is_at_once(records):
    stream, peer = records
    stream.flush()
    gevent.sleep(0.001)
    for data in (b'one', b'two', b'three'):
        stream.write(data)
    stream.flush()
    assert [peer.recv(100, socket.MSG_DONTWAIT) for _ in range(2)] == [b'one', b'twothree']


def test_a_flush_after_the_end(pair):
    owner, _ = pair
    for _ in range(3):
        owner.stream.write(b'x')
    owner.stream.close()
    left = owner.stream.queued
    assert left
    owner.stream.flush()
    settle()
    assert owner.stream.queued == left
    assert owner.lost == []


# -- TLS that reads in order to write, and the other way round -------------------------------------
# As in a renegotiation, which no server of ours can be brought to at the right moment.


class ReadsFirst(gevent.socket.socket):
    """Cannot send before the peer has said something, which to send reads."""

    do_handshake = None
    refusals = 0
    kept = None

    def recv(self, *arguments):
        if self.kept:
            data, self.kept = self.kept, b''
            return data
        return super().recv(*arguments)

    def send(self, data):
        if self.kept is None:
            try:
                self.kept = super().recv(100)
            except BlockingIOError:
                self.refusals += 1
                raise gevent.ssl.SSLWantReadError from None
        return super().send(data)


class BusyThenReadsFirst(ReadsFirst):
    """Takes no more at first."""

    busy = True

    def send(self, data):
        if self.busy:
            self.busy = False
            raise BlockingIOError
        return super().send(data)


class WritesFirst(gevent.socket.socket):
    """Takes what it reads off the system's buffer, and gives it out only when asked again."""

    do_handshake = None
    kept = b''

    def recv(self, *arguments):
        if self.kept:
            data, self.kept = self.kept, b''
            return data
        self.kept = super().recv(*arguments)
        raise gevent.ssl.SSLWantWriteError


@pytest.fixture
def make_odd():
    """`make_odd(kind)`: an owner of a started stream over such a socket, the socket, its peer."""
    made = []

    def make(kind):
        ours, peer = gevent.socket.socketpair()
        sock = kind(fileno=ours.detach())
        made.append((Owner(sock), sock, peer))
        return made[-1]

    yield make
    for owner, _, peer in made:
        owner.stream.close()
        peer.close()


@pytest.mark.parametrize('kind', [ReadsFirst, BusyThenReadsFirst])
def test_a_write_that_has_to_read_first(make_odd, kind):
    owner, sock, peer = make_odd(kind)
    stream = owner.stream
    assert [stream.write(data) for data in (b'one', b'two')] == [3, 6]
    settle()
    assert sock.refusals < 5  # it does not ask again and again
    assert stream.queued == 6
    peer.sendall(b'now')
    assert read_exactly(peer, 6) == b'onetwo'
    assert eventually(lambda: owner.data == b'now')
    # Then it is as any other.
    stream.write(bytes(MUCH))
    assert stream.queued
    reading = gevent.spawn(read_exactly, peer, MUCH)
    assert stream.drain(20)
    assert reading.get(timeout=20) == bytes(MUCH)


def test_a_write_that_has_to_read_first_and_an_end_meanwhile(make_odd):
    owner, _, _ = make_odd(ReadsFirst)
    assert owner.stream.write(b'one') == 3
    owner.stream.close()
    settle()
    assert owner.lost == []
    assert owner.stream.unsent() == [b'one']


def test_a_read_that_has_to_write_first(make_odd):
    owner, _, peer = make_odd(WritesFirst)
    for data in (b'one', b'two'):
        peer.sendall(data)
        assert eventually(lambda data=data: owner.pieces[-1:] == [data])
    assert owner.pieces == [b'one', b'two']


# -- Answers that go ahead -------------------------------------------------------------------------


PONG, OTHER = 1, 2
"""Kinds of answers."""


@pytest.fixture
def waiting(make_pair):
    """`waiting(answers)`: a stream whose socket takes no more, those answers behind; its peer.

    What waits before them is `FILLER`.
    """
    owners = []

    def make(*answers):
        ours, peer = make_pair(small=True)
        owners.append(Owner(ours))
        stream = owners[-1].stream
        stream.write(FILLER)
        assert stream.queued
        for kind, data in answers:
            stream.write_first(kind, data)
        return stream, peer

    yield make
    for owner in owners:
        owner.stream.close()


FILLER = b'f' * MUCH
HEAD = 14
"""Bytes before the payload of a large frame."""


def all_of(stream, peer):
    """All that the peer hears until the stream has sent what is queued, `FILLER` left out."""
    reading = gevent.spawn(read_to_end, peer)
    assert stream.drain(20)
    assert stream.queued == 0
    stream.close()
    heard = reading.get(timeout=20)
    assert heard.startswith(FILLER)
    return heard[MUCH:]


def test_an_answer_is_a_write_where_nothing_waits(records):
    stream, peer = records
    gevent.sleep(0.001)
    assert stream.write_first(PONG, b'one') == 0
    assert peer.recv(100, socket.MSG_DONTWAIT) == b'one'
    assert [stream.write_first(PONG, data) for data in (b'two', b'three')] == [3, 8]
    assert peer.recv(100) == b'twothree'  # each of them, in their order


def test_an_answer_goes_ahead_of_what_is_not_begun(waiting):
    stream, peer = waiting()
    stream.write(b'message')
    before = stream.queued
    assert stream.write_first(PONG, b'pong') == before + 4
    assert stream.queued == before + 4
    assert all_of(stream, peer) == b'pongmessage'


@pytest.mark.parametrize('newer', [b'new', b'newer and longer', b''])
def test_an_answer_replaces_an_older_one_of_its_kind(waiting, newer):
    stream, peer = waiting((PONG, b'older one'), (OTHER, b'other'))
    stream.write(b'message')
    before = stream.queued
    assert stream.write_first(PONG, newer) == before - 9 + len(newer)
    assert all_of(stream, peer) == b'other' + newer + b'message'


def test_thousands_of_answers_are_one(waiting):
    """The memory for a peer that asks and does not read has a bound."""
    stream, peer = waiting()
    before = stream.queued
    for number in range(5000):
        assert stream.write_first(PONG, b'%04d' % number) == before + 4
    assert all_of(stream, peer) == b'4999'


def test_an_answer_that_is_begun_is_sent_whole(waiting):
    older = b'o' * MUCH
    stream, peer = waiting((PONG, older))
    stream.write(b'message')
    assert read_exactly(peer, MUCH + 1) == FILLER + b'o'
    settle()  # the socket takes no more
    before = stream.queued
    assert before > 7
    for newer in (b'first', b'second'):
        assert stream.write_first(PONG, newer) == before + len(newer)
    reading = gevent.spawn(read_exactly, peer, MUCH - 1 + 6 + 7)
    assert stream.drain(20)
    assert reading.get(timeout=20) == older[1:] + b'secondmessage'


def test_a_large_frame(pair):
    """It begins to leave at once, and is over with the stream."""
    owner, peer = pair
    stream = owner.stream
    payload = os.urandom(MUCH)
    stream.write_large(LargeFrame(payload))
    assert read_frame(peer) == (BINARY, payload)
    assert stream.drain(20)
    stream.close()
    assert stream.write_large(LargeFrame(payload)) == -1
    assert stream.queued == 0


def test_an_answer_does_not_go_into_the_midst_of_a_large_frame(waiting):
    stream, peer = waiting()
    stream.write_large(LargeFrame(bytes(MUCH)))
    stream.write_first(PONG, frame('one', mask=b'mask'))
    gevent.spawn(stream.drain)
    assert read_exactly(peer, MUCH) == FILLER
    assert read_frame(peer) == (TEXT, b'one')  # the large one was not begun
    assert read_exactly(peer, 1) == bytes([0x80 | BINARY])  # now it is
    stream.write_first(PONG, frame('two', mask=b'mask'))
    read_exactly(peer, HEAD - 1 + MUCH)
    assert read_frame(peer) == (TEXT, b'two')


def test_after_the_end_there_are_no_answers(waiting):
    stream, _ = waiting((PONG, b'one'))
    stream.close()
    queued = stream.queued
    assert stream.write_first(PONG, b'two') == -1
    assert stream.queued == queued


# -- The end ---------------------------------------------------------------------------------------


def test_end_of_file(pair):
    owner, peer = pair
    peer.sendall(b'last')
    peer.close()
    assert owner.wait_lost() is None
    assert owner.data == b'last'


def test_a_reset(pair):
    owner, peer = pair
    reset(peer)
    error = owner.wait_lost()
    if owner.tls:
        # The standard library's ssl takes a reset for a ragged end of file.
        assert error is None or isinstance(error, OSError)
    else:
        assert isinstance(error, ConnectionResetError)


def test_a_peer_that_shuts_down_its_side_only(make_pair):
    ours, peer = make_pair()
    owner = Owner(ours)
    peer.shutdown(socket.SHUT_WR)
    assert owner.wait_lost() is None


def test_bytes_that_are_no_tls(certificates):
    ours, peer = tls_pair(certificates)
    owner = Owner(ours)
    os.write(peer.fileno(), b'this is not a TLS record, is it?')
    assert isinstance(owner.wait_lost(), gevent.ssl.SSLError)
    peer.close()


def test_a_peer_that_went_is_noticed_by_writing(make_pair):
    """The owner is told by the hub, and never from within `write()`."""
    ours, peer = make_pair()
    owner = Owner(ours, start=False)  # nobody reads
    reset(peer)
    assert eventually(lambda: (owner.stream.write(b'x' * 1000), owner.stream.closed)[1])
    owner.lost.append('written')
    assert owner.was_lost.wait(5)
    assert owner.lost[0] == 'written'
    assert isinstance(owner.lost[1], OSError)
    assert len(owner.lost) == 2
    assert owner.stream.write(b'more') == -1


def test_what_a_failed_write_leaves(make_pair):
    ours, peer = make_pair()
    reset(peer)
    assert gevent.select.select([ours], [], [], 5)[0]
    owner = Owner(ours, start=False)  # nobody reads
    assert owner.stream.write(b'not taken') == 9
    assert owner.stream.closed
    assert owner.stream.queued == 9
    assert owner.stream.unsent() == [b'not taken']
    assert isinstance(owner.wait_lost(), OSError)


def test_a_peer_that_went_is_noticed_when_there_is_room(make_pair):
    ours, peer = make_pair(small=True)
    peer.sendall(b'unread')
    owner = Owner(ours, start=False)  # nobody reads
    queued = owner.stream.write(bytes(MUCH))
    assert queued
    settle()  # what is there to read wakes nobody
    assert not owner.stream.closed
    reset(peer)
    assert isinstance(owner.wait_lost(), OSError)
    assert 0 < owner.stream.queued <= queued


@pytest.mark.parametrize('fault', [RuntimeError('no text'), ValueError()])
@pytest.mark.parametrize('end', ['recv', 'send'])
def test_a_tls_that_raises_no_oserror_ends_the_stream(end, fault):
    """As PyPy's does; the others cannot be brought to it."""

    def fail(*_):
        raise fault

    class TLS(gevent.socket.socket):
        do_handshake = None
        recv = fail if end == 'recv' else gevent.socket.socket.recv
        send = fail if end == 'send' else gevent.socket.socket.send

    ours, peer = gevent.socket.socketpair()
    with no_leaks(), peer:
        owner = Owner(TLS(fileno=ours.detach()), start=end == 'recv')
        if end == 'send':
            owner.stream.write(b'x')
            assert not owner.lost  # by the hub, later
        else:
            peer.sendall(b'x')
        lost = owner.wait_lost()
        assert owner.lost == [lost]
        assert isinstance(lost, OSError)
        assert str(lost) == (str(fault) or 'ValueError')
        assert lost.__cause__ is fault
        assert owner.stream.closed


def test_an_owner_that_fails_ends_its_own_stream_alone(make_pair, hub_errors):
    fault = RuntimeError('not my day')

    class Failing(Owner):
        def on_data(self, data):
            super().on_data(data)
            raise fault

    (ours, peer), (others, other_peer) = make_pair(), make_pair()
    failing, other = Failing(ours), Owner(others)
    peer.sendall(b'one')
    assert failing.wait_lost() is fault
    assert failing.data == b'one'
    other_peer.sendall(b'two')
    assert eventually(lambda: other.data == b'two')
    assert not other.stream.closed
    assert hub_errors == []
    other.stream.close()


ENDS = ['close', 'close_gently', 'reset', 'abandon']


@pytest.mark.parametrize('end', ENDS)
def test_closing_from_within_the_owner(make_pair, end):
    """Nothing is delivered after it, nor is the owner told of an end that it wished."""

    class Closing(Owner):
        def on_data(self, data):
            super().on_data(data)
            getattr(self.stream, end)()

    ours, peer = make_pair()
    sending = gevent.spawn(peer.sendall, bytes(1 << 20))
    assert gevent.select.select([ours], [], [], 5)[0]  # it has arrived
    owner = Closing(ours, start=False)
    owner.stream.start()
    assert eventually(lambda: owner.stream.closed)
    settle()
    assert len(owner.pieces) == 1
    assert owner.lost == []
    sending.kill()


def test_closing_and_raising_from_within_the_owner(make_pair):
    class Both(Owner):
        def on_data(self, data):
            self.stream.close()
            raise RuntimeError

    ours, peer = make_pair()
    owner = Both(ours)
    peer.sendall(b'x')
    assert eventually(lambda: owner.stream.closed)
    settle()
    assert owner.lost == []


def test_writing_from_within_the_owner(make_pair):
    class Echoing(Owner):
        def on_data(self, data):
            self.stream.write(data)

    ours, peer = make_pair()
    owner = Echoing(ours)
    data = os.urandom(3 << 20)
    sending = gevent.spawn(peer.sendall, data)
    assert read_exactly(peer, len(data)) == data
    sending.get(timeout=5)
    owner.stream.close()


def test_closing_is_idempotent_and_lets_those_who_wait_go(make_pair):
    ours, peer = make_pair(small=True)
    owner = Owner(ours)
    stream = owner.stream
    stream.write(bytes(MUCH))
    waiting = [
        gevent.spawn(stream.drain),
        gevent.spawn(stream.wait_below, 1000, 60),
        gevent.spawn(stream.wait_below, 0),
    ]
    settle()
    stream.close()
    stream.close()
    assert [one.get(timeout=5) for one in waiting] == [False] * 3
    assert stream.closed
    assert stream.write(b'more') == -1
    settle()
    assert owner.lost == []
    reading = gevent.spawn(read_to_end, peer)
    assert len(reading.get(timeout=5)) < MUCH


@pytest.mark.parametrize('end', ENDS)
def test_after_each_end_nobody_waits(make_pair, end):
    ours, peer = make_pair(small=True)
    owner = Owner(ours)
    stream = owner.stream
    stream.write(bytes(MUCH))
    waiting = gevent.spawn(stream.drain)
    settle()
    left = stream.queued
    assert left
    for _ in range(2):
        getattr(stream, end)()
    assert stream.closed
    assert waiting.get(timeout=5) is False
    assert stream.queued == left
    peer.close()
    settle()
    assert owner.lost == []


def end_of(peer):
    """What the peer reads at the end of TCP: b'' or the error."""
    with socket.socket(fileno=os.dup(peer.fileno())) as bare, gevent.Timeout(5):
        try:
            return bare.recv(100)
        except OSError as exc:
            return type(exc)


def is_open(peer):
    with socket.socket(fileno=os.dup(peer.fileno())) as bare:
        return not gevent.select.select([bare], [], [], 0)[0]


@pytest.fixture
def heard(pair):
    """A `pair` whose owner has read all that was sent, TLS's session tickets among them."""
    owner, peer = pair
    peer.sendall(b'sentinel')
    assert eventually(lambda: owner.data == b'sentinel')
    return pair


def end_first(owner, peer):
    """The peer ends its side: that of TLS alone, if there is one."""
    if owner.tls:
        with contextlib.suppress(OSError):  # it wants the answer
            peer._sslobj.shutdown()  # sends a close_notify
    else:
        peer.shutdown(socket.SHUT_WR)


def test_the_peer_closes_first(heard, monkeypatch):
    monkeypatch.setattr(closing, 'PEER_TIMEOUT', 3600)
    owner, peer = heard
    owner.stream.close_gently()
    owner.stream.close()
    settle()
    assert is_open(peer)
    with socket.socket(fileno=os.dup(peer.fileno())) as bare:
        bare.shutdown(socket.SHUT_WR)
    assert end_of(peer) == b''


def test_a_peer_that_does_not_close_first_is_not_reset(heard, monkeypatch):
    """It has not answered what was sent last."""
    monkeypatch.setattr(closing, 'PEER_TIMEOUT', 0.01)
    owner, peer = heard
    owner.stream.close_gently()
    assert end_of(peer) == b''


def test_a_reset_of_the_peer(heard):
    owner, peer = heard
    owner.stream.reset()
    assert end_of(peer) is ConnectionResetError


@pytest.mark.parametrize('answered', [False, True])
def test_the_peer_ends_before_tcp_does(heard, answered):
    """With TLS, whose end comes first, the port is not kept if nothing can be lost by that."""
    owner, peer = heard
    if answered:
        owner.stream.expect_end()
    end_first(owner, peer)
    assert owner.wait_lost() is None
    assert end_of(peer) == (ConnectionResetError if owner.tls and answered else b'')


def test_an_owner_that_fails_after_the_answer(heard):
    """Its fault is no end of TLS."""
    owner, peer = heard
    owner.pieces = None
    owner.stream.expect_end()
    peer.sendall(b'x')
    assert owner.was_lost.wait(5)
    assert isinstance(owner.lost[0], AttributeError)
    assert end_of(peer) == b''


def test_those_who_wait_go_when_the_peer_does(make_pair):
    ours, peer = make_pair(small=True)
    owner = Owner(ours)
    owner.stream.write(bytes(MUCH))
    waiting = gevent.spawn(owner.stream.drain)
    settle()
    reset(peer)
    waiting.get(timeout=5)
    owner.wait_lost()


def test_closing_with_a_flush_to_come(pair):
    """What a turn has gathered, and what the loop was asked for, touch nothing afterwards."""
    owner, _ = pair
    for _ in range(10):
        owner.stream.write(b'x' * 100)
    owner.stream.close()
    settle()
    assert owner.lost == []


@pytest.mark.parametrize('end', ['close', 'eof', 'reset', 'write', 'abandon'])
def test_nothing_is_left(make_pair, end):
    """No watcher, no descriptor, no reference from the loop."""
    settle()
    before = watchers()
    with no_leaks():
        ours, peer = make_pair(small=True)
        owner = Owner(ours)
        owner.stream.write(bytes(MUCH))  # it watches for room as well
        assert owner.stream.queued
        settle()
        assert watchers() > before
        if end == 'close':
            owner.stream.close()
        elif end == 'abandon':
            owner.stream.abandon()
        elif end == 'eof':
            peer.close()
        elif end == 'reset':
            reset(peer)
        else:
            reset(peer)
            owner.stream.write(b'x')
        if end in ('eof', 'reset', 'write'):
            owner.was_lost.wait(5)
        peer.close()
        assert owner.stream.closed
        assert eventually(lambda: watchers() == before)
        gone = weakref.ref(owner)
        del owner, ours
        gc.collect()
        assert gone() is None


def assert_silent(copy, peer):
    """What a copy of our descriptor sends now is the next that the peer hears, TLS or not."""
    bare = socket.socket(fileno=os.dup(peer.fileno()))
    # Closing it resets the connection if TLS's session tickets are unread: not before it is heard.
    with bare, open(copy, 'wb', buffering=0) as ours:
        ours.write(b'sentinel')
        assert bare.recv(100) == b'sentinel'


def test_abandoning_tells_the_peer_nothing(make_pair):
    """In a forked child, the descriptor is a copy of the parent's, who goes on."""
    ours, peer = make_pair()
    copy = os.dup(ours.fileno())
    owner = Owner(ours)
    for _ in range(3):
        owner.stream.write(b'spoken')
    assert read_exactly(peer, 18) == b'spoken' * 3
    owner.stream.abandon()
    owner.stream.abandon()
    assert owner.stream.closed
    assert owner.stream.write(b'more') == -1
    settle()
    assert_silent(copy, peer)
    assert owner.lost == []


@pytest.mark.parametrize('wake', [True, False])
def test_abandoning_wakes_those_that_wait_for_room(make_pair, wake):
    """But not where they are greenlets of a thread that has ended."""
    ours, _ = make_pair(small=True)
    owner = Owner(ours)
    owner.stream.write(b'x' * MUCH)
    waiting = gevent.spawn(owner.stream.wait_below, 0)
    settle()
    owner.stream.abandon(wake)
    settle()
    assert waiting.ready() is wake
    waiting.kill()


def test_abandoning_drops_what_is_queued(make_pair):
    ours, peer = make_pair(small=True)
    copy = os.dup(ours.fileno())
    owner = Owner(ours)
    for _ in range(10):
        owner.stream.write(b'x' * 1000)  # all but the first for the end of the turn
    owner.stream.abandon()
    settle()
    assert read_exactly(peer, 1000) == b'x' * 1000
    assert_silent(copy, peer)
