"""Calls from a native thread in the hub of another one."""

from __future__ import annotations

import sys
import threading
from collections import deque
from types import SimpleNamespace

import gevent
import pytest
from gevent._hub_local import get_hub_if_exists
from gevent.event import Event
from gevent.monkey import get_original

from engineio_gevent import other_threads
from engineio_gevent.other_threads import Inbox, call_in_hub, inboxes, is_own_hub, one_at_a_time
from support import NativeThread, eventually, in_thread, settle, watchers

Thread = get_original('threading', 'Thread')


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
    assert not inboxes.get().has_ended


def test_a_destroyed_hub_has_ended():
    def run():
        inbox = inboxes.get()
        gevent.get_hub().destroy(destroy_loop=True)
        return inbox.has_ended

    assert in_thread(run)


@pytest.mark.skipif(
    sys.implementation.name != 'cpython',
    reason='objects live for longer there',
)
@pytest.mark.parametrize('started', [True, False])
def test_a_thread_has_ended_when_it_is_joined(started):
    """Though its hub was not destroyed, and may never have run."""

    def run():
        found.append(inboxes.get())
        if started:
            gevent.sleep(0)

    found = []
    block_with(run)
    assert found[0].has_ended


def block_with(function):
    """Call a function in a native thread while this thread's loop stands still."""
    thread = Thread(target=function)
    thread.start()
    thread.join()


def test_calls_are_made_in_order_and_in_the_hub():
    def call(number):
        called.append((number, gevent.getcurrent() is hub))

    def run():
        for number in range(3):
            inbox.call(call, number)

    hub, inbox, called = gevent.get_hub(), inboxes.get(), []
    block_with(run)
    assert called == []
    assert eventually(lambda: len(called) == 3)
    assert called == [(0, True), (1, True), (2, True)]


def test_a_call_says_that_it_will_be_made():
    assert inboxes.get().call(int) is True


def test_one_thread_at_a_time():
    def run():
        with one_at_a_time():
            log.append('second')

    log = []
    with one_at_a_time():
        second = NativeThread(run)
        gevent.sleep(0.02)  # time to go wrong
        log.append('first')
    second.get()
    assert log == ['first', 'second']


def test_a_lock_that_nobody_unlocks(monkeypatch):
    """A forked child may have one. Whoever has not locked it does not unlock it."""
    monkeypatch.setattr(other_threads, '_LOOK_INTERVAL', 0.01)
    with one_at_a_time():
        with one_at_a_time():
            pass
        assert other_threads._lock.locked()
    assert not other_threads._lock.locked()


def test_a_call_that_raises_does_not_keep_others_from_being_made(hub_errors):
    def run():
        inbox.call(lambda: 1 / 0)
        inbox.call(called.append, 2)

    inbox, called = inboxes.get(), []
    block_with(run)
    assert eventually(lambda: called)
    assert [type(error) for _, error in hub_errors] == [ZeroDivisionError]
    hub_errors.clear()


def test_another_thread_does_not_change_the_loop():
    """The loop may be changing at that moment: its count of what is active would drift."""
    inbox, called = inboxes.get(), []
    before = watchers()
    block_with(lambda: inbox.call(called.append, 1))
    assert watchers() == before
    assert eventually(lambda: called)
    assert watchers() == before


def test_a_call_for_a_hub_that_has_been_destroyed():
    def run():
        made.append(inboxes.get())
        gevent.get_hub().destroy(destroy_loop=True)

    made = []
    in_thread(run)
    assert not made[0].call(made.append, 'called')
    settle()
    assert len(made) == 1


def test_threads_that_call_all_the_time_do_not_keep_the_hub():
    """It makes the calls that were there, and the others in its next turn."""

    class Endless(deque):
        taken = 0

        def popleft(self):
            self.taken += 1
            if self.taken < 1000:
                self.append(self[0])
            return super().popleft()

    inbox, called = Inbox(gevent.get_hub()), []
    inbox._calls = Endless([(called.append, (1,)), (called.append, (2,))])
    inbox._take()
    settle()
    inbox._watcher.close()
    assert called == [1, 2]


def test_an_inbox_does_not_keep_the_loop_running():
    def run():
        made.append(Inbox(gevent.get_hub()))
        gevent.get_hub().join()
        gevent.get_hub().destroy(destroy_loop=True)

    made = []
    in_thread(run)
    assert made


@both
@pytest.mark.parametrize('timeout', [None, 60])
def test_a_greenlet_of_the_other_thread_calls_the_function(prepare, timeout):
    """The caller waits until the function has returned."""

    def function(*arguments):
        called.append((arguments, threading.current_thread() is here))
        assert gevent.getcurrent() is not hub
        release.wait()
        called.append('end')

    here, hub, inbox = threading.current_thread(), gevent.get_hub(), inboxes.get()
    called, release = [], Event()
    thread = NativeThread(prepare(lambda: call_in_hub(inbox, timeout, function, 1, 'two')))
    assert eventually(lambda: called)
    assert called == [((1, 'two'), True)]
    settle()
    assert thread.running
    release.set()
    thread.get()
    assert called[1:] == ['end']


@both
def test_the_caller_looks_seldom_whether_the_other_thread_lives(prepare, monkeypatch):
    """It does not keep a processor core busy meanwhile."""
    looks = []
    monkeypatch.setattr(
        other_threads.Inbox, 'has_ended', property(lambda inbox: looks.append(1) and False)
    )
    inbox = inboxes.get()
    in_thread(prepare(lambda: call_in_hub(inbox, None, gevent.sleep, 0.05)))
    assert len(looks) < 20  # once a second


def test_a_thread_without_a_hub_gets_none():
    def run():
        call_in_hub(inbox, 60, called.append, 1)
        return get_hub_if_exists()

    inbox, called = inboxes.get(), []
    assert in_thread(run) is None
    assert called == [1]


def test_other_greenlets_of_the_caller_s_thread_go_on():
    def run():
        for timeout in (60, None):
            ran = Event()
            gevent.spawn(ran.set)
            call_in_hub(inbox, timeout, release.wait)
            assert ran.is_set()
        return True

    inbox, release = inboxes.get(), Event()
    thread = NativeThread(with_hub(run))
    settle()
    release.set()
    assert thread.get()


@both
def test_a_thread_that_is_busy_for_too_long(prepare):
    inbox, release, returned = inboxes.get(), Event(), []
    in_thread(prepare(lambda: call_in_hub(inbox, 0.01, lambda: returned.append(release.wait()))))
    assert returned == []
    release.set()
    assert eventually(lambda: returned)


@both
def test_a_function_that_raises(prepare, hub_errors):
    """The greenlet that calls it reports that; nobody waits for more."""
    inbox = inboxes.get()
    in_thread(prepare(lambda: call_in_hub(inbox, None, lambda: 1 / 0)))
    assert [type(error) for _, error in hub_errors] == [ZeroDivisionError]
    hub_errors.clear()


@both
@pytest.mark.parametrize('timeout', [None, 60])
def test_a_thread_that_ends_without_calling_the_function(prepare, timeout, monkeypatch):
    def look(inbox):
        looks.append(inbox)
        return len(looks) > 2

    class Deaf(SimpleNamespace):
        has_ended = property(look)

    monkeypatch.setattr(other_threads, '_LOOK_INTERVAL', 0.001)
    looks = []
    inbox = Deaf(call=lambda *_: None)
    in_thread(prepare(lambda: call_in_hub(inbox, timeout, looks.append, 'called')))
    assert len(looks) == 3
