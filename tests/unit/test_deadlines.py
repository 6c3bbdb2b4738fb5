"""How long a timer is, by the resolution of the loop; and limits of blocks and calls."""

import os
import subprocess
import sys
import time
from types import SimpleNamespace

import gevent
import pytest
from gevent.event import Event

from engineio_gevent.net.deadlines import Bound, Expired, timer_seconds, within
from support import has_libuv, settle, watchers

LIBUV = SimpleNamespace(approx_timer_resolution=0.001)
LIBEV = SimpleNamespace(approx_timer_resolution=0.00001)


@pytest.mark.parametrize(
    ('left', 'seconds'),
    [
        (None, None),
        (-1, 0.0),
        (0, 0.0),
        (1e-9, 0.001),
        (0.0009, 0.001),
        (0.001, 0.001),
        (0.0011, 0.0011),
        (60, 60),
    ],
)
def test_not_less_than_the_resolution_but_nothing_where_nothing_is_left(left, seconds):
    assert timer_seconds(left, LIBUV) == seconds


def test_a_finer_loop_is_not_made_coarse():
    assert timer_seconds(0.0005, LIBEV) == 0.0005
    assert timer_seconds(1e-9, LIBEV) == 0.00001


def test_the_loop_of_this_thread_unless_told_otherwise():
    resolution = gevent.get_hub().loop.approx_timer_resolution
    assert timer_seconds(resolution / 2) == resolution


@pytest.mark.parametrize('loop', ['libev-cext', 'libev-cffi', 'libuv'])
def test_every_loop_takes_it_without_a_warning(loop):
    done = subprocess.run(
        [
            sys.executable,
            '-W',
            'error',
            '-c',
            (
                'import gevent; from engineio_gevent.net.deadlines import timer_seconds\n'
                'gevent.get_hub(); print("There is such a loop.", flush=True)\n'
                'for seconds in (-1, 0, 1e-9, 0.0009, 0.001):\n'
                '    gevent.sleep(timer_seconds(seconds))\n'
                '    gevent.get_hub().loop.timer(timer_seconds(seconds)).close()\n'
            ),
        ],
        env={**os.environ, 'GEVENT_LOOP': loop},
        timeout=30,
        check=False,
        text=True,
        capture_output=True,
    )
    if not done.stdout:
        pytest.skip(f'this gevent has no loop {loop}')
    assert done.returncode == 0, done.stderr


# -- Bounds ----------------------------------------------------------------------------------------


def test_a_bound_over_a_block():
    settle()
    timers = watchers()
    with pytest.raises(Expired, match='timed out'), Bound(0.01):
        Event().wait(5)
    with Bound(None):
        gevent.sleep(0)
    with Bound(5):
        pass
    assert watchers() == timers  # nothing comes later


def test_a_bound_over_a_call():
    settle()
    timers = watchers()
    with pytest.raises(TimeoutError):
        within(0.01, Event().wait, 5)
    assert within(5, lambda one, two: one + two, 1, 2) == 3
    assert within(None, len, 'abc') == 3
    assert watchers() == timers


def test_the_bound_around_is_not_taken_for_the_inner():
    with pytest.raises(Expired), Bound(0.01):
        within(5, Event().wait, 5)


@pytest.mark.parametrize(('of', 'named'), [(None, '0.01'), (7, '7')])
def test_the_error_names_the_whole_time(of, named):
    with pytest.raises(TimeoutError, match=f'no answer within {named} seconds'):
        within(0.01, Event().wait, 5, of=of)


def test_time_that_the_process_was_busy_before_does_not_count():
    """The clock of the loop stands still meanwhile."""
    gevent.sleep(0)
    time.sleep(1)
    with Bound(0.9):
        gevent.sleep(0.001)


def test_what_is_ready_when_the_time_is_over_comes_first():
    hub = gevent.get_hub()
    if has_libuv():
        pytest.skip('timers of libuv have no priorities')
    ready = hub.loop.timer(0.01)
    with Bound(0.01):
        ready.start(gevent.getcurrent().switch, 'ready')
        time.sleep(0.05)  # until both are due
        assert hub.switch() == 'ready'
    ready.close()
