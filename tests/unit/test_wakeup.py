"""What greenlets wait for, once."""

from __future__ import annotations

import time

import gevent
import gevent.exceptions
import pytest
from gevent.hub import get_hub

import support
from engineio_gevent.net.wakeup import WakeUp


def test_it_wakes_all_who_wait():
    one = WakeUp()
    waiting = [gevent.spawn(one.wait, seconds) for seconds in (None, 10, None)]
    gevent.sleep(0)
    assert not one.is_set
    assert one.value is None
    one.set('value')
    assert not any(greenlet.ready() for greenlet in waiting)  # soon, not at once
    gevent.joinall(waiting)
    assert [greenlet.value for greenlet in waiting] == [True, True, True]
    assert one.value == 'value'


def test_it_happens_once():
    one = WakeUp()
    assert one.value is None
    one.set('first')
    one.set('second')
    assert one.value == 'first'
    assert one.is_set
    assert one.wait() is one.wait(5) is True


def test_it_may_not_happen_in_time():
    one = WakeUp()
    with support.no_leaks():
        assert one.wait(0.01) is False
        assert one.wait(0) is False
    one.set()
    assert one.wait(0) is True


def test_time_that_the_process_was_busy_before_does_not_count():
    """The clock of the loop stands still meanwhile."""
    one = WakeUp()
    gevent.sleep(0)
    timer = get_hub().loop.timer(1.2)
    timer.start(one.set)
    time.sleep(1)
    assert one.wait(0.9)
    timer.close()


def test_a_callback_of_the_loop_may_set_it():
    support.settle()
    before = support.watchers()
    one = WakeUp()
    get_hub().loop.run_callback(one.set, 5)
    assert one.wait(10)
    assert one.value == 5
    assert support.watchers() == before  # no timer is left


@pytest.mark.parametrize('seconds', [None, 10], ids=['without limit', 'with limit'])
def test_whoever_is_killed_does_not_wait_any_more(seconds):
    one = WakeUp()
    ended = []

    def wait():
        try:
            one.wait(seconds)
        except gevent.GreenletExit:
            # set() has been called by now, and its callback must not end this
            gevent.sleep(0.01)
            ended.append('slept')
            raise

    with support.no_leaks():
        greenlet = gevent.spawn(wait)
        gevent.sleep(0)
        greenlet.kill(block=False)
        one.set()
        greenlet.join()
    assert ended == ['slept']


def test_a_timeout_around_it():
    one = WakeUp()
    with support.no_leaks(), pytest.raises(gevent.Timeout), gevent.Timeout(0.01):
        one.wait()
    one.set()


def test_the_hub_cannot_wait():
    one, errors = WakeUp(), []

    def wait():
        try:
            one.wait(1)
        except gevent.exceptions.BlockingSwitchOutError as exc:
            errors.append(exc)

    with support.no_leaks():
        get_hub().loop.run_callback(wait)
        gevent.sleep(0.01)
    assert len(errors) == 1


def test_a_hub_that_was_destroyed():
    def run():
        one = WakeUp()
        waiting = gevent.spawn(one.wait)
        gevent.sleep(0)
        get_hub().destroy(destroy_loop=True)
        one.set()
        return one.is_set, waiting.dead

    assert support.in_thread(run) == (True, False)


def test_the_end_of_the_time_and_the_event_at_once():
    """The greenlet goes on once, and later waits for something else."""
    one, other = WakeUp(), WakeUp()

    def run():
        return one.wait(0.01), other.wait(0.05)

    greenlet = gevent.spawn(run)
    gevent.sleep(0)
    timer = get_hub().loop.timer(0.01)
    timer.start(one.set)
    time.sleep(0.03)  # until both are due
    assert greenlet.get()[1] is False
    timer.close()
