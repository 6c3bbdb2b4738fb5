"""The end of watchers, also of those whose loop has been destroyed."""

from __future__ import annotations

import os
import subprocess
import sys

import gevent
import pytest

from engineio_gevent.net.watchers import close_watchers
from support import settle, watchers


@pytest.fixture
def pipe():
    """The two descriptors of a pipe that can be read from."""
    reader, writer = os.pipe()
    os.write(writer, b'x')
    yield reader, writer
    os.close(reader)
    os.close(writer)


def test_they_are_stopped(pipe):
    loop, calls = gevent.get_hub().loop, []
    settle()
    before = watchers()
    made = [loop.io(pipe[0], 1), loop.timer(0.001), loop.io(pipe[1], 2)]
    for one in made:
        one.start(calls.append, 1)
    assert watchers() == before + 3
    close_watchers(loop, made[0], None, *made[1:])
    assert watchers() == before
    gevent.sleep(0.01)
    assert calls == []


PROGRAM = """
import gevent, os, threading
from engineio_gevent.net.watchers import close_watchers

def run():
    global loop
    hub = gevent.get_hub()
    loop = hub.loop
    made.extend([loop.io(os.pipe()[0], 1), loop.timer(60)])
    for one in made:
        one.start(print)
    gevent.sleep(0)
    hub.destroy(destroy_loop=True)

made = []
thread = threading.Thread(target=run)
thread.start()
thread.join()
close_watchers(loop, *made)
print('done')
"""


@pytest.mark.parametrize('loop', ['libev-cext', 'libev-cffi'])
def test_those_of_a_destroyed_loop(loop):
    """To stop them would raise an exception."""
    done = subprocess.run(
        [sys.executable, '-c', PROGRAM],
        env={**os.environ, 'GEVENT_LOOP': loop},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.stdout, done.stderr, done.returncode) == ('done\n', '', 0)
