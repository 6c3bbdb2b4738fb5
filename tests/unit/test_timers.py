"""How long a timer is, by the resolution of the loop."""

import os
import subprocess
import sys
from types import SimpleNamespace

import gevent
import pytest

from engineio_gevent.timers import timer_seconds

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
                'import gevent; from engineio_gevent.timers import timer_seconds\n'
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
