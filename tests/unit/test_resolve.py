"""Looking host names up: once for all who ask at the same time, and for a while."""

from __future__ import annotations

import errno
import gc
import os
import threading
import traceback

import gevent
import greenlet
import pytest
from gevent import socket
from gevent.event import Event

from engineio_gevent.net import resolve
from engineio_gevent.per_hub import PerHub
from support import NativeThread, eventually, settle

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
    monkeypatch.setattr(resolve, '_cache', {})
    monkeypatch.setattr(resolve, '_lookups', PerHub(resolve._Lookups))


@pytest.fixture(autouse=True)
def patient(request, monkeypatch):
    """No look-up is slow, however busy the machine is."""
    if request.function is not test_the_limits:
        monkeypatch.setattr(resolve, 'SLOW', 3600)


@pytest.fixture
def clock(monkeypatch):
    """The time that the cache sees; a list of one number."""
    now = [1000.0]
    monkeypatch.setattr(resolve, 'monotonic', lambda: now[0])
    return now


@pytest.fixture
def resolver(monkeypatch):
    one = Resolver()
    monkeypatch.setattr(resolve.socket, 'getaddrinfo', one.getaddrinfo)
    return one


# -- Looking up ------------------------------------------------------------------------------------


@pytest.mark.parametrize('host', ['127.0.0.1', '192.0.2.7', '::1', '2001:db8::1'])
def test_figures_need_no_resolver(resolver, host):
    ((family, kind, _, _, found),) = resolve.look_up(host, 8080)
    assert found[:2] == (host, 8080)
    assert kind == socket.SOCK_STREAM
    assert family == (socket.AF_INET6 if ':' in host else socket.AF_INET)
    assert resolver.asked == []
    assert resolve.look_up(host, 8080) is resolve.look_up(host, 8080)  # remembered


@pytest.mark.parametrize('host', ['.test', 'empty..label', f'{"long" * 16}.test'])
def test_a_name_that_cannot_be_one(resolver, host):
    with pytest.raises(OSError, match='invalid host name') as caught:
        resolve.look_up(host, 80)
    assert caught.value.errno == errno.EINVAL
    assert isinstance(caught.value.__cause__, UnicodeError)
    assert resolver.asked == []


def test_what_was_found_is_remembered_for_a_while(resolver, clock):
    for _ in range(3):
        assert resolve.look_up('example.test', 80) == resolver.answer
    assert resolver.asked == [('example.test', 80)]
    clock[0] += resolve.CACHE_SECONDS - 0.1
    resolve.look_up('example.test', 80)
    assert len(resolver.asked) == 1
    clock[0] = 1000 + resolve.CACHE_SECONDS
    resolver.answer = [address('192.0.2.2')]
    assert resolve.look_up('example.test', 80) == resolver.answer
    assert len(resolver.asked) == 2


def test_hosts_and_ports_are_told_apart(resolver):
    for host, port in (('a.test', 80), ('b.test', 80), ('a.test', 81), ('a.test', 80)):
        resolve.look_up(host, port)
    assert resolver.asked == [('a.test', 80), ('b.test', 80), ('a.test', 81)]


def test_a_failure_is_not_remembered(resolver):
    resolver.answer = socket.gaierror(socket.EAI_NONAME, 'Name or service not known')
    for _ in range(2):
        with pytest.raises(OSError, match='not known'):
            resolve.look_up('nowhere.test', 80)
    assert len(resolver.asked) == 2


def test_the_cache_does_not_grow_without_end(resolver):
    for number in range(600):
        resolve.look_up(f'host-{number}.test', 80)
        assert len(resolve._cache) <= resolve.CACHE_SIZE


def test_the_limits():
    """Half of gevent's threads stay free. The rest is in the documentation."""
    assert gevent.get_hub().threadpool_size == resolve.CONCURRENCY * 2
    assert (resolve.SLOW, resolve.MAX_SLOW) == (0.25, 50)
    assert (resolve.CACHE_SECONDS, resolve.CACHE_SIZE) == (5, 256)


def test_many_who_ask_together_ask_once(resolver):
    resolver.may_answer.clear()
    asking = [gevent.spawn(resolve.look_up, 'example.test', 80) for _ in range(1000)]
    settle()
    assert resolver.asked == [('example.test', 80)]
    resolver.may_answer.set()
    assert [one.get(timeout=5) for one in asking] == [resolver.answer] * 1000
    assert len(resolver.asked) == 1
    assert resolve._lookups.get()._under_way == {}


def test_many_who_ask_together_fail_together(resolver):
    resolver.answer = socket.gaierror(socket.EAI_NONAME, 'Name or service not known')
    resolver.may_answer.clear()
    failures = []

    def ask():
        with pytest.raises(OSError, match='not known') as caught:
            resolve.look_up('nowhere.test', 80)
        failures.append(caught.value)

    asking = [gevent.spawn(ask) for _ in range(10)]
    settle()
    resolver.may_answer.set()
    gevent.joinall(asking, timeout=5, raise_error=True)
    assert len(failures) == 10
    assert len(resolver.asked) == 1
    assert resolve._lookups.get()._under_way == {}


@pytest.mark.parametrize(
    'error', [gevent.GreenletExit(), gevent.Timeout(5)], ids=['killed', 'timeout']
)
@pytest.mark.parametrize('which', [0, 1])
def test_one_that_gives_up(resolver, hub_errors, error, which):
    """The look-up goes on for the others, and is not begun again."""
    resolver.may_answer.clear()
    asking = [gevent.spawn(resolve.look_up, 'example.test', 80) for _ in range(4)]
    settle()
    asking.pop(which).kill(error)
    hub_errors.clear()  # the end of this test's own greenlet
    settle()
    resolver.may_answer.set()
    assert [one.get(timeout=5) for one in asking] == [resolver.answer] * 3
    assert resolver.asked == [('example.test', 80)]
    assert resolve._lookups.get()._under_way == {}


def test_all_give_up_and_others_come(resolver):
    """They get the answer of the look-up that is under way: one native thread, and not many."""
    resolver.may_answer.clear()
    for _ in range(20):
        with gevent.Timeout(0.001, False):
            resolve.look_up('example.test', 80)
    asking = gevent.spawn(resolve.look_up, 'example.test', 80)
    settle()
    resolver.may_answer.set()
    assert asking.get(timeout=5) == resolver.answer
    assert resolver.asked == [('example.test', 80)]


def test_an_answer_that_nobody_waits_for_is_remembered(resolver):
    resolver.may_answer.clear()
    with gevent.Timeout(0.001, False):
        resolve.look_up('example.test', 80)
    resolver.may_answer.set()
    settle()
    assert resolve.look_up('example.test', 80) == resolver.answer
    assert resolver.asked == [('example.test', 80)]


def test_names_that_are_not_answered_leave_the_resolver_to_others(resolver):
    resolver.may_answer.clear()
    asking = [gevent.spawn(resolve.look_up, f'host-{number}.test', 80) for number in range(30)]
    settle()
    assert len(resolver.asked) == resolve.CONCURRENCY
    resolver.may_answer.set()
    assert [one.get(timeout=5) for one in asking] == [resolver.answer] * 30


def give_up(*hosts):
    """Ask for these names, and do not wait for the answers."""
    asking = [gevent.spawn(resolve.look_up, host, 80) for host in hosts]
    settle()
    gevent.killall(asking)


def test_names_whose_askers_gave_up_are_not_looked_up(resolver):
    """But for those that have begun."""
    resolver.may_answer.clear()
    give_up(*(f'host-{number}.test' for number in range(50)))
    assert len(resolver.asked) == resolve.CONCURRENCY
    resolver.may_answer.set()
    assert resolve.look_up('other.test', 80) == resolver.answer
    settle()
    assert len(resolver.asked) == resolve.CONCURRENCY + 1
    all_is_over()


def all_is_over():
    lookups = resolve._lookups.get()
    assert (lookups._under_way, lookups._slow) == ({}, 0)
    assert lookups._slots.counter == resolve.CONCURRENCY


def test_names_that_are_not_answered_keep_nobody_waiting(resolver, monkeypatch):
    """Though others wait for them. gevent's pool has a thread more for each, up to a limit."""
    monkeypatch.setattr(resolve, 'SLOW', 0.001)
    pool = gevent.get_hub().threadpool
    size = pool.maxsize
    resolver.may_answer.clear()
    most = resolve.CONCURRENCY + resolve.MAX_SLOW
    names = [f'host-{number}.test' for number in range(most + 10)]
    asking = [gevent.spawn(resolve.look_up, name, 80) for name in names]
    assert eventually(lambda: len(resolver.asked) == most)
    again = [gevent.spawn(resolve.look_up, name, 80) for name in (names[0], names[most - 1])]
    gevent.sleep(0.01)  # the rest are slow by now, too
    assert len(resolver.asked) == most
    assert pool.maxsize == size + resolve.MAX_SLOW
    resolver.may_answer.set()
    assert resolve.look_up('other.test', 80) == resolver.answer
    assert [one.get(timeout=5) for one in asking + again] == [resolver.answer] * (most + 12)
    settle()
    assert sorted(host for host, _ in resolver.asked) == sorted([*names, 'other.test'])
    all_is_over()
    assert pool.maxsize == size


def test_a_look_up_that_waits_for_its_turn_is_killed(resolver):
    resolver.may_answer.clear()
    asking = [gevent.spawn(resolve.look_up, f'host-{number}.test', 80) for number in range(5)]
    settle()
    before = greenlets()
    late = gevent.spawn(resolve.look_up, 'late.test', 80)
    settle()
    (waiting,) = greenlets() - before - {late}
    gevent.kill(waiting)
    settle()
    resolver.may_answer.set()
    assert late.get(timeout=5) == resolver.answer
    gevent.joinall(asking, timeout=5)
    settle()
    all_is_over()


@pytest.mark.parametrize('kind', [socket.gaierror, OSError, TypeError])
def test_each_waiter_gets_an_exception_of_its_own(resolver, kind):
    """One that were shared would lead from one client into the frames of another, and what is
    secret there.
    """

    def ask(authorization):
        try:
            resolve.look_up('example.test', 80)
        except kind as exc:
            return exc

    resolver.answer = kind(5, 'no such name')
    resolver.may_answer.clear()
    asking = [gevent.spawn(ask, f'secret {number}') for number in range(3)]
    settle()
    resolver.may_answer.set()
    errors = [one.get() for one in asking]
    assert [(type(one), one.args) for one in errors] == [(kind, (5, 'no such name'))] * 3
    assert len({*map(id, errors), id(resolver.answer)}) == 4
    for number, error in enumerate(errors):
        assert (error.__cause__, error.__context__) == (None, None)
        frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
        outer = [frame for frame, _ in traceback.walk_stack(frames[0])]
        seen = [one.f_locals.get('authorization') for one in (*frames, *outer)]
        assert set(seen) - {None} == {f'secret {number}'}
    assert resolver.answer.__traceback__ is None


def test_a_machine_without_native_threads(resolver):
    resolver.answer = RuntimeError("can't start new thread")
    with pytest.raises(OSError, match="can't start new thread") as caught:
        resolve.look_up('example.test', 80)
    assert caught.value.errno == errno.EAGAIN


def test_a_fault_of_the_resolver(resolver):
    resolver.answer = TypeError('unexpected')
    with pytest.raises(TypeError, match='unexpected'):
        resolve.look_up('example.test', 80)


def test_the_greenlet_of_a_look_up_is_killed(resolver, hub_errors):
    """As by a program that kills all greenlets that the garbage collector finds."""
    resolver.may_answer.clear()
    before = greenlets()
    asking = gevent.spawn(resolve.look_up, 'example.test', 80)
    settle()
    (looking,) = greenlets() - before - {asking}
    gevent.kill(looking)
    resolver.may_answer.set()
    assert asking.get(timeout=5) == resolver.answer
    assert len(resolver.asked) == 2
    assert resolve._lookups.get()._under_way == {}


def greenlets():
    return {one for one in gc.get_objects() if isinstance(one, greenlet.greenlet) and not one.dead}


def test_the_errors_of_many_who_ask_are_their_own(resolver):
    resolver.answer = socket.gaierror(socket.EAI_NONAME, 'Name or service not known')
    resolver.may_answer.clear()
    failures = []

    def ask():
        with pytest.raises(OSError, match='not known') as caught:
            resolve.look_up('nowhere.test', 80)
        failures.append(caught.value)

    asking = [gevent.spawn(ask) for _ in range(2)]
    settle()
    resolver.may_answer.set()
    gevent.joinall(asking, timeout=5)
    first, second = failures
    assert first is not second
    assert (first.errno, first.strerror) == (socket.EAI_NONAME, 'Name or service not known')


@pytest.mark.skipif(not hasattr(os, 'fork'), reason='no fork here')
@pytest.mark.parametrize('slow', [False, True])
def test_a_child_does_not_wait_for_a_look_up_of_its_parent(resolver, monkeypatch, slow):
    """The native threads of the resolver are not in the child."""
    monkeypatch.setattr(resolve, 'SLOW', 0.001 if slow else 3600)
    pool = gevent.get_hub().threadpool
    size = pool.maxsize
    resolver.may_answer.clear()
    asking = gevent.spawn(resolve.look_up, 'example.test', 80)
    lookups = resolve._lookups.get()
    assert eventually(lambda: lookups._slow == slow and lookups._under_way)
    assert pool.maxsize == size + slow
    monkeypatch.setattr(resolve, 'SLOW', 3600)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(resolve.os, 'getpid', lambda: -1)
        child = gevent.spawn(resolve.look_up, 'example.test', 80)
        settle()
        assert len(resolver.asked) == 2
        assert pool.maxsize == size
        resolver.may_answer.set()
        assert child.get(timeout=5) == asking.get(timeout=5) == resolver.answer
    all_is_over()
    assert pool.maxsize == size


def test_native_threads_that_ask_together_ask_each_for_itself(resolver, monkeypatch):
    """A greenlet cannot wait for the answer that a greenlet of another hub gets."""
    all_ask = threading.Barrier(3)

    def getaddrinfo(host, *_):
        resolver.asked.append(host)
        all_ask.wait(timeout=5)
        return resolver.answer

    monkeypatch.setattr(resolve.socket, 'getaddrinfo', getaddrinfo)

    def ask():
        try:
            return resolve.look_up('example.test', 80)
        finally:
            gevent.get_hub().destroy(destroy_loop=True)

    threads = [NativeThread(ask) for _ in range(3)]
    assert [thread.get() for thread in threads] == [resolver.answer] * 3
    # What they found is shared.
    assert resolve.look_up('example.test', 80) == resolver.answer
    assert len(resolver.asked) == 3
