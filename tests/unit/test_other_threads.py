"""Calls from a native thread in the hub of another one."""

from __future__ import annotations

import threading
from types import SimpleNamespace

import gevent
import pytest
from gevent._hub_local import get_hub_if_exists
from gevent.event import Event

from engineio_gevent import other_threads
from engineio_gevent.other_threads import (
    call_in_hub,
    has_ended,
    inboxes,
    is_own_hub,
    one_at_a_time,
)
from support import NativeThread, eventually, in_thread, settle


@pytest.fixture
def inbox():
    """That of the hub of the test."""
    return inboxes.get()


def with_hub(function):
    """What a thread calls that has a hub of its own, and gives it back."""

    def run():
        gevent.get_hub()
        try:
            return function()
        finally:
            gevent.get_hub().destroy(destroy_loop=True)

    return run


both = pytest.mark.parametrize(
    'prepare', [lambda function: function, with_hub], ids=['no hub', 'hub']
)


def test_whose_hub_it_is():
    hub = gevent.get_hub()
    assert is_own_hub(hub)
    assert not in_thread(is_own_hub, hub)
    assert not in_thread(with_hub(lambda: is_own_hub(hub)))


def test_a_hub_that_runs_has_not_ended():
    assert not has_ended(gevent.get_hub())


def test_a_destroyed_hub_has_ended():
    def run():
        hub = gevent.get_hub()
        hub.destroy(destroy_loop=True)
        return hub

    assert has_ended(in_thread(run))


def test_the_hub_of_a_thread_that_has_ended():
    def run():
        gevent.sleep(0)
        hubs.append(gevent.get_hub())

    hubs = []
    in_thread(run)
    assert eventually(lambda: has_ended(hubs[0]))


def test_one_thread_at_a_time(monkeypatch):
    """But a lock that nobody unlocks, as in a forked child, stops nobody for good."""

    def run():
        with one_at_a_time():
            ran.append(len(ran))

    ran = []
    with one_at_a_time():
        other = NativeThread(run)
        settle()
        assert ran == []
    other.get()
    assert ran == [0]
    monkeypatch.setattr(other_threads, '_LOOK', 0.001)
    with one_at_a_time():
        in_thread(run)
    in_thread(run)
    assert ran == [0, 1, 2]


def test_calling_soon(inbox):
    """In order, and not before this thread lets the hub run."""

    def run():
        return [inbox.call_soon(called.append, number) for number in range(3)]

    called = []
    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert called == []
    assert eventually(lambda: called == [0, 1, 2])


def test_calling_soon_what_raises(inbox, hub_errors):
    """The hub reports it, and makes the other calls."""
    called = []
    for function in (lambda: 1 / 0, lambda: called.append(1)):
        inbox.call_soon(function)
    assert eventually(lambda: called)
    assert [type(error) for _, error in hub_errors] == [ZeroDivisionError]
    hub_errors.clear()


def test_calling_soon_in_what_has_been_destroyed():
    """The loop of a hub is destroyed a moment before the hub has none."""

    def run():
        inbox = inboxes.get()
        loop = inbox.hub.loop
        inbox.hub.destroy(destroy_loop=True)
        return inbox, loop

    called = []
    inbox, loop = in_thread(run)
    assert inbox.call_soon(called.append, 1) is False
    inbox.hub = SimpleNamespace(loop=loop)
    assert inbox.call_soon(called.append, 1) is False
    assert called == []


def test_another_thread_does_not_change_the_references_of_the_loop(inbox):
    """libev changes their number without the GIL. What both change at the same time gets lost."""

    def run():
        return [inbox.call_soon(int) for _ in range(3)]

    loop = inbox.hub.loop
    if not hasattr(loop, 'activecnt'):
        pytest.skip('libuv does not count')
    before = loop.activecnt
    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert loop.activecnt == before


@both
@pytest.mark.parametrize('timeout', [None, 60])
def test_a_greenlet_of_the_other_thread_calls_the_function(prepare, inbox, timeout):
    """The caller waits until the function has returned."""

    def function(*arguments):
        called.append((arguments, threading.current_thread() is here))
        assert gevent.getcurrent() is not inbox.hub
        release.wait()
        called.append('end')

    here = threading.current_thread()
    called, release = [], Event()
    thread = NativeThread(prepare(lambda: call_in_hub(inbox, timeout, function, 1, 'two')))
    assert eventually(lambda: called)
    assert called == [((1, 'two'), True)]
    settle()
    assert thread.running
    release.set()
    thread.get()
    assert called[1:] == ['end']


def test_a_thread_without_a_hub_gets_none(inbox):
    def run():
        call_in_hub(inbox, 60, called.append, 1)
        return get_hub_if_exists()

    called = []
    assert in_thread(run) is None
    assert called == [1]


def test_other_greenlets_of_the_caller_s_thread_go_on(inbox):
    def run():
        for timeout in (60, None):
            ran = Event()
            gevent.spawn(ran.set)
            call_in_hub(inbox, timeout, release.wait)
            assert ran.is_set()
        return True

    release = Event()
    thread = NativeThread(with_hub(run))
    settle()
    release.set()
    assert thread.get()


@both
def test_a_thread_that_is_busy_for_too_long(prepare, inbox):
    release, returned = Event(), []
    in_thread(prepare(lambda: call_in_hub(inbox, 0.01, lambda: returned.append(release.wait()))))
    assert returned == []
    release.set()
    assert eventually(lambda: returned)


@both
def test_a_function_that_raises(prepare, inbox, hub_errors):
    """The greenlet that calls it reports that; nobody waits for more."""
    in_thread(prepare(lambda: call_in_hub(inbox, None, lambda: 1 / 0)))
    assert [type(error) for _, error in hub_errors] == [ZeroDivisionError]
    hub_errors.clear()


@both
@pytest.mark.parametrize('timeout', [None, 60])
def test_a_thread_that_ends_without_calling_the_function(prepare, monkeypatch, timeout):
    def look(name):
        looks.append(name)
        return len(looks) > 2

    class Hub(SimpleNamespace):
        loop = True
        dead = property(look)

    inbox = SimpleNamespace(hub=Hub(), call_soon=lambda *_: True)
    monkeypatch.setattr(other_threads, '_LOOK', 0.001)
    looks = []
    in_thread(prepare(lambda: call_in_hub(inbox, timeout, looks.append, 'called')))
    assert len(looks) == 3
