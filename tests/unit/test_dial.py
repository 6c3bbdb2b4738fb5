"""Looking hosts up once for all, and connecting to the first address that answers."""

from __future__ import annotations

import errno
import threading

import gevent
import pytest
from gevent import socket
from gevent.event import Event

from engineio_gevent.net import dial
from engineio_gevent.per_hub import PerHub
from support import NativeThread, free_port, has_ipv6, no_leaks, settle

pytestmark = pytest.mark.time_limit(5)  # most of them take a hundredth of a second


def address(ip, port=80, family=socket.AF_INET):
    return (family, socket.SOCK_STREAM, 6, '', (ip, port))


class Resolver:
    """Stands for gevent's resolver: answers what it is told, when it is told."""

    def __init__(self):
        self.asked = []
        self.answer = [address('192.0.2.1')]
        self.may_answer = Event()
        self.may_answer.set()

    def getaddrinfo(self, host, port, family=0, kind=0, *args):
        # any family, for TCP, without flags
        assert (family, kind, args) == (0, socket.SOCK_STREAM, ())
        self.asked.append((host, port))
        self.may_answer.wait()
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


@pytest.fixture(autouse=True)
def empty_cache(monkeypatch):
    monkeypatch.setattr(dial, '_cache', {})
    monkeypatch.setattr(dial, '_pending', PerHub(lambda hub: {}))


@pytest.fixture
def clock(monkeypatch):
    """The time that the cache sees; a list of one number."""
    now = [1000.0]
    monkeypatch.setattr(dial, 'monotonic', lambda: now[0])
    return now


@pytest.fixture
def resolver(monkeypatch):
    one = Resolver()
    monkeypatch.setattr(dial.socket, 'getaddrinfo', one.getaddrinfo)
    return one


# -- Looking up ------------------------------------------------------------------------------------


@pytest.mark.parametrize('host', ['127.0.0.1', '192.0.2.7', '::1', '2001:db8::1'])
def test_figures_need_no_resolver(resolver, host):
    ((family, kind, _, _, found),) = dial.look_up(host, 8080)
    assert found[:2] == (host, 8080)
    assert kind == socket.SOCK_STREAM
    assert family == (socket.AF_INET6 if ':' in host else socket.AF_INET)
    assert resolver.asked == []


@pytest.mark.parametrize('host', ['.test', 'empty..label', f'{"long" * 16}.test'])
def test_a_name_that_cannot_be_one(resolver, host):
    with pytest.raises(OSError, match='invalid host name') as caught:
        dial.look_up(host, 80)
    assert caught.value.errno == errno.EINVAL
    assert isinstance(caught.value.__cause__, UnicodeError)
    assert resolver.asked == []


def test_what_was_found_is_remembered_for_a_while(resolver, clock):
    for _ in range(3):
        assert dial.look_up('example.test', 80) == resolver.answer
    assert resolver.asked == [('example.test', 80)]
    clock[0] += dial.CACHE_SECONDS - 0.1
    dial.look_up('example.test', 80)
    assert len(resolver.asked) == 1
    clock[0] = 1000 + dial.CACHE_SECONDS
    resolver.answer = [address('192.0.2.2')]
    assert dial.look_up('example.test', 80) == resolver.answer
    assert len(resolver.asked) == 2


def test_hosts_and_ports_are_told_apart(resolver):
    for host, port in (('a.test', 80), ('b.test', 80), ('a.test', 81), ('a.test', 80)):
        dial.look_up(host, port)
    assert resolver.asked == [('a.test', 80), ('b.test', 80), ('a.test', 81)]


def test_a_failure_is_not_remembered(resolver):
    resolver.answer = socket.gaierror(socket.EAI_NONAME, 'Name or service not known')
    for _ in range(2):
        with pytest.raises(OSError, match='not known'):
            dial.look_up('nowhere.test', 80)
    assert len(resolver.asked) == 2


def test_the_cache_does_not_grow_without_end(resolver):
    for number in range(600):
        dial.look_up(f'host-{number}.test', 80)
        assert len(dial._cache) <= dial._CACHE_SIZE


def test_many_who_ask_together_ask_once(resolver):
    resolver.may_answer.clear()
    asking = [gevent.spawn(dial.look_up, 'example.test', 80) for _ in range(1000)]
    settle()
    assert resolver.asked == [('example.test', 80)]
    resolver.may_answer.set()
    assert [one.get(timeout=5) for one in asking] == [resolver.answer] * 1000
    assert len(resolver.asked) == 1
    assert dial._pending.get() == {}


def test_many_who_ask_together_fail_together(resolver):
    resolver.answer = socket.gaierror(socket.EAI_NONAME, 'Name or service not known')
    resolver.may_answer.clear()
    failures = []

    def ask():
        with pytest.raises(OSError, match='not known') as caught:
            dial.look_up('nowhere.test', 80)
        failures.append(caught.value)

    asking = [gevent.spawn(ask) for _ in range(10)]
    settle()
    resolver.may_answer.set()
    gevent.joinall(asking, timeout=5, raise_error=True)
    assert len(failures) == 10
    assert len(resolver.asked) == 1
    assert dial._pending.get() == {}


@pytest.mark.parametrize(
    'error', [gevent.GreenletExit(), gevent.Timeout(5)], ids=['killed', 'timeout']
)
def test_one_that_is_killed_while_it_asks_for_many(resolver, hub_errors, error):
    """The others get their answer; it was not their time that was over."""
    resolver.may_answer.clear()
    first = gevent.spawn(dial.look_up, 'example.test', 80)
    gevent.sleep(0)
    others = [gevent.spawn(dial.look_up, 'example.test', 80) for _ in range(3)]
    gevent.sleep(0)
    assert len(resolver.asked) == 1
    first.kill(error)
    hub_errors.clear()  # the end of this test's own greenlet
    settle()
    resolver.may_answer.set()
    assert [one.get(timeout=5) for one in others] == [resolver.answer] * 3
    assert dial._pending.get() == {}


def test_one_that_is_killed_while_it_waits_for_another(resolver):
    resolver.may_answer.clear()
    first = gevent.spawn(dial.look_up, 'example.test', 80)
    second = gevent.spawn(dial.look_up, 'example.test', 80)
    gevent.sleep(0)
    second.kill()
    resolver.may_answer.set()
    assert first.get(timeout=5) == resolver.answer


def test_native_threads_that_ask_together_ask_each_for_itself(resolver, monkeypatch):
    """A greenlet cannot wait for the answer that a greenlet of another hub gets."""
    all_ask = threading.Barrier(3)

    def getaddrinfo(*arguments):
        all_ask.wait(timeout=5)
        return resolver.getaddrinfo(*arguments)

    monkeypatch.setattr(dial.socket, 'getaddrinfo', getaddrinfo)

    def ask():
        try:
            return dial.look_up('example.test', 80)
        finally:
            gevent.get_hub().destroy(destroy_loop=True)

    threads = [NativeThread(ask) for _ in range(3)]
    assert [thread.get() for thread in threads] == [resolver.answer] * 3
    # What they found is shared.
    assert dial.look_up('example.test', 80) == resolver.answer
    assert len(resolver.asked) == 3


# -- Connecting ------------------------------------------------------------------------------------


@pytest.fixture
def listener():
    with socket.socket() as sock:
        sock.bind(('127.0.0.1', 0))
        sock.listen()
        yield sock


def test_a_connection(listener):
    with dial.open_socket(*listener.getsockname()) as sock:
        peer, _ = listener.accept()
        with peer:
            sock.sendall(b'hello')
            assert peer.recv(5) == b'hello'
            assert sock.gettimeout() is None


def test_small_frames_do_not_wait(listener):
    with dial.open_socket(*listener.getsockname()) as sock:
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)


def test_the_options_of_the_caller_go_last(listener):
    options = [
        (socket.IPPROTO_TCP, socket.TCP_NODELAY, 0),
        (socket.SOL_SOCKET, socket.SO_RCVBUF, 65536),
    ]
    with dial.open_socket(*listener.getsockname(), options) as sock:
        assert not sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF) in (65536, 131072)


@pytest.mark.skipif(not has_ipv6(), reason='no IPv6 here')
def test_ipv6():
    with socket.socket(socket.AF_INET6) as listener:
        listener.bind(('::1', 0))
        listener.listen()
        with dial.open_socket('::1', listener.getsockname()[1]) as sock:
            assert sock.family == socket.AF_INET6


def test_the_next_address_is_tried_where_one_refuses(resolver, listener):
    resolver.answer = [address('127.0.0.1', free_port()), address(*listener.getsockname())]
    with no_leaks(), dial.open_socket('two.test', 80) as sock:
        assert sock.getpeername() == listener.getsockname()


def swallowing():
    """A listener that takes no connection, though it does not refuse any; None if it cannot be."""
    full = socket.socket()
    full.bind(('127.0.0.1', 0))
    full.listen(0)
    fillers = []
    for _ in range(10):
        filler = socket.socket()
        filler.settimeout(0.1)
        fillers.append(filler)
        try:
            filler.connect(full.getsockname())
        except OSError:
            return full, fillers
    return None, fillers


@pytest.fixture
def black_hole():
    full, fillers = swallowing()
    if full is None:
        pytest.skip('this system lets any number of connections wait')
    yield full.getsockname()
    for sock in (full, *fillers):
        sock.close()


@pytest.fixture
def shares(monkeypatch, clock):
    """The seconds that each address gets, and takes by that clock."""
    found = []

    class Socket(dial.PlainSocket):
        def connect(self, address):
            found.append(self.gettimeout())
            clock[0] += found[-1]
            super().connect(address)

    monkeypatch.setattr(dial, 'PlainSocket', Socket)
    return found


def test_the_next_address_is_tried_where_one_swallows(resolver, listener, black_hole, shares):
    """Each gets an equal share of the time."""
    resolver.answer = [address(*black_hole)] * 2 + [address(*listener.getsockname())]
    with no_leaks(), dial.open_socket('three.test', 80, timeout=0.3) as sock:
        assert sock.getpeername() == listener.getsockname()
        assert sock.gettimeout() is None
    assert shares == pytest.approx([0.1] * 3)


def test_an_address_whose_time_is_over(resolver, listener, shares):
    """It still gets a moment."""
    resolver.answer = [address(*listener.getsockname())]
    with dial.open_socket('late.test', 80, timeout=-1) as sock:
        assert sock.getpeername() == listener.getsockname()
    assert shares == [0.001]


def test_addresses_that_all_swallow(resolver, black_hole):
    resolver.answer = [address(*black_hole)] * 3
    with no_leaks(), gevent.Timeout(5), pytest.raises(TimeoutError):
        dial.open_socket('black.test', 80, timeout=0.3)


def test_addresses_that_all_refuse(resolver):
    resolver.answer = [address('127.0.0.1', free_port()) for _ in range(3)]
    with no_leaks(), pytest.raises(ConnectionRefusedError):
        dial.open_socket('none.test', 80)


def test_no_address_at_all(resolver):
    resolver.answer = []
    with pytest.raises(OSError, match='the host name has no address'):
        dial.open_socket('none.test', 80)


def test_an_option_that_is_refused_closes_the_socket(listener):
    with no_leaks(), pytest.raises(OSError, match=r'.+'):
        dial.open_socket(*listener.getsockname(), [(socket.SOL_SOCKET, 12345, 1)])


def test_one_that_is_killed_while_it_connects(black_hole):
    with no_leaks():
        connecting = gevent.spawn(dial.open_socket, *black_hole)
        settle()
        connecting.kill()
