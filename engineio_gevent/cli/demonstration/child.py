"""The server of the demo in a child process, so that only the clients are measured."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import gevent
from gevent import subprocess

from . import DemoError, require

#: Seconds for the server to start.
_START_TIMEOUT = 20.0
#: Seconds for the server to end before it is killed.
_STOP_TIMEOUT = 5.0


@contextmanager
def echo_server() -> Iterator[tuple[str, str]]:
    """Run a server during the block.

    :returns: the URL and a description of the server.
    """
    require('engineio', 'simple_websocket')
    # In another process group than the terminal's, so that Ctrl-C only ends the demo. The demo then
    # ends the server.
    process = subprocess.Popen(
        [sys.executable, '-m', 'engineio_gevent.cli.demonstration.server'],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    failure = DemoError(f'the server did not start within {_START_TIMEOUT:g} seconds')
    try:
        with gevent.Timeout(_START_TIMEOUT, failure):
            line = process.stdout.readline()
        if not line:
            raise failure
        listening = json.loads(line)
        yield (
            f'http://127.0.0.1:{listening["port"]}',
            f'python-engineio {listening["version"]}, in its own process',
        )
    finally:
        process.stdin.close()
        try:
            process.wait(_STOP_TIMEOUT)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        process.stdout.close()
