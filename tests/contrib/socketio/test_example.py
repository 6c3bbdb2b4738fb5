"""`examples/socketio_client.py` against `examples/socketio_server.py`."""

import os
import re
import sys
from pathlib import Path

import pytest
from gevent import subprocess

import engineio_gevent

PROJECT = Path(engineio_gevent.__file__).resolve().parents[1]
EXAMPLES = Path(__file__).resolve().parents[3] / 'examples'
ENVIRONMENT = {**os.environ, 'PYTHONPATH': str(PROJECT)}

OUTPUT = [
    r'connected as \S+',
    r'transport: websocket',
    r'the sum is 42',
    r"echo of binary data: {'data': b'\\x00\\x00\\x00\\x00'}",
    r"the server received 'Ready\? Yes'",
    r'disconnected: client disconnect',
]


@pytest.fixture
def url():
    command = [sys.executable, EXAMPLES / 'socketio_server.py', '0']
    with subprocess.Popen(command, text=True, stdout=subprocess.PIPE, env=ENVIRONMENT) as process:
        try:
            yield re.search(r'http://[\d.]+:\d+', process.stdout.readline())[0]
        finally:
            process.terminate()


def run(url):
    done = subprocess.run(
        [sys.executable, EXAMPLES / 'socketio_client.py', url],
        text=True,
        capture_output=True,
        timeout=30,
        env=ENVIRONMENT,
        check=False,
    )
    return done.returncode, done.stdout, done.stderr


def test_example(url):
    code, out, err = run(url)
    assert (code, err) == (0, '')
    lines = out.splitlines()
    assert len(lines) == len(OUTPUT), out
    for line, pattern in zip(lines, OUTPUT, strict=True):
        assert re.fullmatch(pattern, line), f'{line!r} is not {pattern!r}'


def test_no_server():
    code, out, err = run('http://127.0.0.1:1')
    assert (code, out) == (1, '')
    assert err == 'no connection to http://127.0.0.1:1: 127.0.0.1:1: Connection refused\n'
