"""The demo's server as a child process, so that what is measured is the client alone."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import gevent
from gevent import subprocess

from . import DemoError, require

#: Seconds that the server may take until it listens.
_START_TIMEOUT = 20.0
#: Seconds that it may take to end, before it is killed.
_STOP_TIMEOUT = 5.0


@contextmanager
def echo_server() -> Iterator[tuple[str, str]]:
    """A server for as long as the block runs.

    :returns: its URL and, in a few words, what it is.
    """
    require('engineio', 'simple_websocket')
    # Not in the terminal's process group: Ctrl-C is for the demo, which then ends the server.
    process = subprocess.Popen(
        [sys.executable, '-m', 'engineio_gevent.demo.server'],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    failure = DemoError('the server of the demo did not start')
    try:
        with gevent.Timeout(_START_TIMEOUT, failure):
            line = process.stdout.readline()
        if not line:
            raise failure
        listening = json.loads(line)
        yield (
            f'http://127.0.0.1:{listening["port"]}',
            f'python-engineio {listening["version"]}, a process of its own',
        )
    finally:
        process.stdin.close()
        try:
            process.wait(_STOP_TIMEOUT)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        process.stdout.close()
