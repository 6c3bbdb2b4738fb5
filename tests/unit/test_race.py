"""Attempts to connect, side by side: what begins when, which one is kept, what is left."""

from __future__ import annotations

import contextlib
import errno
import os

import gevent
import pytest
from gevent import socket

from engineio_gevent.net import race
from engineio_gevent.net.plain import PlainSocket
from support import (
    eventually,
    free_port,
    has_ipv6,
    no_leaks,
    outcome,
    settle,
    swallowing,
    watchers,
)

pytestmark = pytest.mark.time_limit(5)  # most of them take a hundredth of a second


def address(ip, port=80, family=socket.AF_INET):
    return (family, socket.SOCK_STREAM, 6, '', (ip, port))


def test_families_take_turns():
    v6 = [address(f'::{number}', family=socket.AF_INET6) for number in range(3)]
    v4 = [address(f'192.0.2.{number}') for number in range(2)]
    assert race.in_order(v6 + v4, None) == [v6[0], v4[0], v6[1], v4[1], v6[2]]
    assert race.in_order(v4 + v6, None) == [v4[0], v6[0], v4[1], v6[1], v6[2]]
    assert race.in_order(v6 + v4, v4[1][4]) == [v4[1], v6[0], v4[0], v6[1], v6[2]]
    assert race.in_order(v4, ('198.51.100.1', 80)) == v4
    assert race.in_order([v6[0], *v4], None) == [v6[0], *v4]


def test_the_time_that_the_rfc_recommends():
    assert race.ATTEMPT_DELAY == 0.25


@pytest.fixture
def listener():
    with socket.socket() as sock:
        sock.bind(('127.0.0.1', 0))
        sock.listen()
        yield sock


class Attempts:
    """Stands for the sockets: what each attempt comes to, by the first figure of its address.

    ``ok``: connected at once; ``refused``: fails at once; a number: it is decided by `decide()`.
    """

    def __init__(self):
        self.begun = []
        self.open = {}
        self.closed = []
        self.errors = {}

    def new(self, one, options, source):
        name = one[4][0]
        self.begun.append(name)
        if name.startswith('nosocket'):
            raise OSError(errno.EAFNOSUPPORT, name)
        return FakeSocket(self, name)

    def wait(self, *names):
        """Until these have begun, and no others."""
        assert eventually(lambda: self.begun == list(names), interval=0.001)

    def decide(self, name, error=0):
        self.errors[name] = error
        self.open[name].peer.close()


class FakeSocket(PlainSocket):
    """Half of a pair: it is writable when the test says so."""

    __slots__ = ('attempts', 'name', 'peer')

    def __init__(self, attempts, name):
        ours, self.peer = socket.socketpair()
        super().__init__(ours.family, ours.type, ours.proto, ours.detach())
        self.attempts, self.name = attempts, name
        attempts.open[name] = self
        with contextlib.suppress(BlockingIOError):
            while True:
                self.send(bytes(1 << 20))

    def begin_to_connect(self, where):
        if self.name.startswith('refused'):
            raise OSError(errno.ECONNREFUSED, self.name)
        return self.name.startswith('ok')

    def raise_error(self):
        if error := self.attempts.errors[self.name]:
            raise OSError(error, self.name)

    def close(self):
        if self.fileno() != -1:
            self.attempts.closed.append(self.name)
        super().close()
        self.peer.close()


@pytest.fixture
def attempts(monkeypatch):
    made = Attempts()
    monkeypatch.setattr(race, 'new_socket', made.new)
    before = watchers()
    yield made
    assert watchers() == before


def run(*names, timeout=None, **options):
    """The name of the address that wins."""
    sock, one = race.connect_first([address(name) for name in names], timeout=timeout, **options)
    assert sock.name == one[4][0]
    assert sock.fileno() != -1
    sock.close()
    sock.attempts.closed.remove(sock.name)
    return sock.name


def start(*names, timeout=None, **options):
    racing = gevent.spawn(run, *names, timeout=timeout, **options)
    settle()
    return racing


@pytest.fixture
def no_delay(monkeypatch):
    """The first address has no time to itself."""
    monkeypatch.setattr(race, 'ATTEMPT_DELAY', 0.001)


@pytest.fixture
def long_delay(monkeypatch):
    """No address begins because another one takes long."""
    monkeypatch.setattr(race, 'ATTEMPT_DELAY', 1000)


class Delays:
    """Stands for `ATTEMPT_DELAY`: another one after each attempt."""

    def __init__(self, *seconds):
        self.left = list(seconds)

    def __radd__(self, now):
        return now + self.left.pop(0)


def test_one_that_is_connected_at_once(attempts):
    assert run('ok', 'other') == 'ok'
    assert (attempts.begun, attempts.closed) == (['ok'], [])


@pytest.mark.parametrize('first', ['refused', 'nosocket'])
def test_the_next_one_begins_at_once_after_a_failure(attempts, long_delay, first):
    failed = []
    assert run(first, 'ok', on_failure=lambda *failure: failed.append(failure)) == 'ok'
    assert attempts.begun == [first, 'ok']
    assert attempts.closed == ([] if first == 'nosocket' else [first])
    [(where, error)] = failed
    assert (where, error.strerror) == (address(first), first)


@pytest.mark.parametrize('second', ['refused', 'nosocket'])
def test_also_if_another_one_is_under_way(attempts, monkeypatch, second):
    """The third does not wait because of the second, which has ended."""
    monkeypatch.setattr(race, 'ATTEMPT_DELAY', Delays(0.02, 1000, 1000))
    racing = start('slow', second, 'ok')
    assert racing.get(timeout=20) == 'ok'
    assert attempts.begun == ['slow', second, 'ok']
    assert attempts.closed[-1] == 'slow'


def test_the_next_one_begins_after_a_failure_that_took_long(attempts, long_delay):
    racing = start('slow', 'ok')
    assert attempts.begun == ['slow']
    attempts.decide('slow', errno.ECONNREFUSED)
    assert racing.get(timeout=20) == 'ok'
    assert attempts.closed == ['slow']


def test_each_has_its_time_to_itself(attempts, monkeypatch):
    monkeypatch.setattr(race, 'ATTEMPT_DELAY', Delays(0.02, 1000))
    racing = start('slow', 'slow2', 'slow3')
    attempts.wait('slow', 'slow2')
    attempts.decide('slow')
    assert racing.get(timeout=20) == 'slow'
    assert attempts.begun == ['slow', 'slow2']


def test_the_first_that_answers_is_kept(attempts, no_delay):
    racing = start('slow', 'slow2', 'slow3')
    attempts.wait('slow', 'slow2', 'slow3')
    attempts.decide('slow2')
    assert racing.get(timeout=20) == 'slow2'
    assert sorted(attempts.closed) == ['slow', 'slow3']


def test_two_that_answer_in_one_turn(attempts, no_delay):
    racing = start('slow', 'slow2')
    attempts.wait('slow', 'slow2')
    attempts.decide('slow2')
    attempts.decide('slow')
    assert racing.get(timeout=20) in ('slow', 'slow2')
    assert len(attempts.closed) == 1


def test_one_fails_and_the_other_goes_on(attempts, no_delay):
    racing = start('slow', 'slow2')
    attempts.wait('slow', 'slow2')
    attempts.decide('slow2', errno.ECONNREFUSED)
    settle()
    assert not racing.ready()
    attempts.decide('slow')
    assert racing.get(timeout=20) == 'slow'
    assert attempts.closed == ['slow2']


def test_all_fail(attempts, long_delay):
    """The error is the last one."""
    with pytest.raises(OSError, match='refused2') as caught:
        run('refused1', 'nosocket', 'refused2')
    assert caught.value.errno == errno.ECONNREFUSED
    assert attempts.closed == ['refused1', 'refused2']


def test_the_time_is_over(attempts, no_delay):
    with pytest.raises(TimeoutError) as caught:
        run('slow', 'slow2', timeout=0.5)
    assert caught.value.strerror == os.strerror(errno.ETIMEDOUT)
    assert caught.value.errno == errno.ETIMEDOUT
    assert attempts.closed == ['slow', 'slow2']


@pytest.mark.parametrize('timeout', [0, -1])
def test_no_time_is_one_turn_of_the_loop(attempts, timeout):
    with pytest.raises(TimeoutError):
        run('slow', 'slow2', timeout=timeout)
    assert attempts.begun == attempts.closed == ['slow']
    assert run('ok', timeout=timeout) == 'ok'


def test_the_time_is_over_before_the_next_one_may_begin(attempts, long_delay):
    with pytest.raises(TimeoutError):
        run('slow', 'slow2', timeout=0.01)
    assert attempts.begun == ['slow']


@pytest.mark.parametrize('names', [['slow'], ['slow', 'slow2']])
def test_who_is_killed_leaves_nothing(attempts, no_delay, names):
    racing = start(*names)
    attempts.wait(*names)
    racing.kill()
    assert sorted(attempts.closed) == names


def test_what_the_function_for_failures_raises_leaves_nothing(attempts, no_delay):
    def on_failure(where, error):
        raise LookupError('mine')

    racing = gevent.spawn(outcome, run, 'slow', 'slow2', on_failure=on_failure)
    attempts.wait('slow', 'slow2')
    attempts.decide('slow', errno.ECONNREFUSED)
    assert isinstance(racing.get(timeout=20), LookupError)
    assert sorted(attempts.closed) == ['slow', 'slow2']


def test_no_address():
    with pytest.raises(OSError, match='the host name has no address'):
        race.connect_first([])


# -- With real sockets -----------------------------------------------------------------------------


def test_a_refusal_and_an_answer(listener, long_delay):
    with no_leaks():
        sock, one = race.connect_first(
            [address('127.0.0.1', free_port()), address(*listener.getsockname())]
        )
        with sock:
            assert sock.getpeername() == one[4] == listener.getsockname()
            assert sock.gettimeout() is None


def test_one_that_answers_late_still_wins(monkeypatch):
    """The attempts go on side by side: nothing but the deadline ends one."""
    monkeypatch.setattr(race, 'ATTEMPT_DELAY', 0.01)
    with swallowing() as full, contextlib.ExitStack() as taken:
        addresses = [address(*full.getsockname()), address('127.0.0.1', free_port())]
        connecting = gevent.spawn(race.connect_first, addresses, timeout=5)
        settle()
        full.settimeout(0.1)
        while not connecting.ready():  # the system asks again after a second
            with contextlib.suppress(TimeoutError):
                taken.enter_context(full.accept()[0])
        sock, _ = connecting.get()
        with sock:
            assert sock.getpeername() == full.getsockname()


def test_options_and_source(listener):
    option = socket.IPPROTO_TCP, socket.TCP_NODELAY, 0
    sock, _ = race.connect_first(
        [address(*listener.getsockname())],
        iter([option]),
        5,
        race.source_address('127.0.0.9'),
    )
    with sock:
        assert sock.getsockname()[0] == '127.0.0.9'
        assert not sock.getsockopt(*option[:2])
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)


@pytest.mark.skipif(not has_ipv6(), reason='no IPv6 here')
def test_a_source_of_ipv6():
    with socket.socket(socket.AF_INET6) as listener:
        listener.bind(('::1', 0))
        listener.listen()
        where = address('::1', listener.getsockname()[1], socket.AF_INET6)
        with race.new_socket(where, (), race.source_address('::1')) as sock:
            if race._BIND_ADDRESS_NO_PORT is not None:
                assert sock.getsockopt(socket.IPPROTO_IP, race._BIND_ADDRESS_NO_PORT)
            sock.connect(where[4])
            assert sock.getsockname()[0] == '::1'


def test_a_system_without_the_option_for_ports(listener, monkeypatch):
    for option in None, 12345:
        monkeypatch.setattr(race, '_BIND_ADDRESS_NO_PORT', option)
        source = race.source_address('127.0.0.9')
        with race.new_socket(address(*listener.getsockname()), (), source) as sock:
            assert sock.getsockname()[0] == '127.0.0.9'


def test_a_socket_without_options():
    with race.new_socket(address('127.0.0.1'), (), None) as sock:
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        assert sock.getsockname() == ('0.0.0.0', 0)  # it is bound nowhere


def test_a_source_address():
    assert race.source_address('192.0.2.1')[0] == socket.AF_INET
    assert race.source_address('192.0.2.1')[4] == ('192.0.2.1', 0)
    assert race.source_address('fe80::1%1')[4] == ('fe80::1', 0, 0, 1)
    with pytest.raises(OSError, match='not known'):
        race.source_address('localhost')


@pytest.mark.parametrize('options', [[(socket.SOL_SOCKET, 12345, 1)], [('x',)]])
def test_an_option_that_is_refused_closes_the_socket(options):
    with no_leaks(), pytest.raises((OSError, TypeError)):
        race.new_socket(address('127.0.0.1'), options, None)


def test_a_source_address_that_this_machine_does_not_have():
    with no_leaks(), pytest.raises(OSError, match='this machine') as caught:
        race.new_socket(address('127.0.0.1'), (), race.source_address('192.0.2.1'))
    assert caught.value.errno == errno.EADDRNOTAVAIL
    assert caught.value.strerror == (
        'source address 192.0.2.1: this machine does not have this address'
    )


def test_a_source_address_that_cannot_be_bound():
    with socket.socket() as sock:
        sock.bind(('127.0.0.1', 0))
        sock.listen()
        source = (*race.source_address('127.0.0.1')[:4], sock.getsockname())
        with no_leaks(), pytest.raises(OSError, match='in use') as caught:
            race.new_socket(address('127.0.0.1'), (), source)
    text = os.strerror(errno.EADDRINUSE)
    assert caught.value.strerror == f'source address 127.0.0.1: {text}'


@pytest.mark.parametrize(
    ('source', 'text'),
    [
        (None, 'none left. If this machine has no free port, use source_addresses'),
        ('127.0.0.9', 'source address 127.0.0.9: no free port. Add source_addresses'),
    ],
)
def test_a_machine_without_free_ports(source, text):
    found = race.explained(
        OSError(errno.EADDRNOTAVAIL, 'none left'), source and race.source_address(source)
    )
    assert (found.errno, found.strerror) == (errno.EADDRNOTAVAIL, text)
    other = OSError(errno.ECONNREFUSED, 'refused')
    assert race.explained(other, None) is other


# -- Options of sockets ----------------------------------------------------------------------------


@pytest.mark.parametrize('data', [0, 1, b'', b'x', bytearray(4), memoryview(b'x')])
def test_the_arguments_of_setsockopt(data):
    assert race.is_socket_option((1, 2, data))
    assert race.is_socket_option((1, 2, None, 4))


@pytest.mark.parametrize(
    'value',
    [
        5,
        'abc',
        [1, 2, 3],
        (),
        (1, 2),
        (1, 2, None),
        (1, 2, 'x'),
        (1, 2, 1.5),
        ('a', 2, 3),
        (1, 'b', 3),
        (1, 2, 3, 4),
        ('a', 2, None, 4),
        (1, 'b', None, 4),
        (1, 2, None, 'x'),
        (1, 2, None, 4, 5),
    ],
    ids=repr,
)
def test_what_are_none(value):
    assert not race.is_socket_option(value)
