"""Each file in `examples/`, run as its docstring says."""

import ast
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import engineio_gevent
import support

EXAMPLES = Path(__file__).resolve().parents[1] / 'examples'
TIMEOUT = 60
"""Seconds that an example may take on an idle machine."""

ENVIRONMENT = {**os.environ, 'PYTHONPATH': str(Path(engineio_gevent.__file__).parents[1])}

# What each prints, line by line.
OUTPUT = {
    'simple_client.py': [
        r'connected as \S+',
        r'transport: websocket',
        r"received 'hello'",
        r"received {'answer': 42, 'list': \[1, 2\.5, None, True\]}",
        r"received b'\\x00\\x01\\xfe\\xff'",
        r"received 'goodbye'",
        r'disconnected: client disconnect',
    ],
    'latency_client.py': [
        *(rf'round trip {number}: \d+\.\d\d ms' for number in range(1, 11)),
        r'10 round trips: fastest \d+\.\d\d ms, mean \d+\.\d\d ms, slowest \d+\.\d\d ms',
    ],
    'many_clients.py': [
        r'connected: 500 clients in \d+\.\d\d s',
        r'idle: \d greenlets in this process',
        r'answered: 500 clients in \d+\.\d\d s',
        r'disconnected: 500 clients in \d+\.\d\d s',
    ],
    'unpatched_program.py': [
        r'[1-9]\d* ticks while 20 clients connected and disconnected, one after the other',
        r'[1-9]\d* ticks while a client received 200 messages',
    ],
}

# What has other servers, and so another test: contrib/socketio/test_example.py.
ELSEWHERE = {'socketio_client.py', 'socketio_server.py'}

# The same with the arguments after the URL.
SHORTER = {
    'latency_client.py': ('3', r'3 round trips: '),
    'many_clients.py': ('20', r'disconnected: 20 clients'),
}


def run(name, *arguments):
    """Run an example; returns the exit code, the standard output and the standard error."""
    done = subprocess.run(
        [sys.executable, EXAMPLES / name, *arguments],
        text=True,
        capture_output=True,
        timeout=support.patience(TIMEOUT),
        env=ENVIRONMENT,
        check=False,
    )
    return done.returncode, done.stdout, done.stderr


@pytest.fixture
def url(pool):
    """The URL of a demo's server."""
    command = [sys.executable, '-m', 'engineio_gevent', 'demo', '--serve', '--port', '0']
    return pool.get('demo', lambda: support.AnnouncedServer(command, ENVIRONMENT)).url


def test_none_is_forgotten():
    assert {path.name for path in EXAMPLES.glob('*.py')} == set(OUTPUT) | ELSEWHERE


@pytest.mark.parametrize('name', OUTPUT)
def test_example(name, url):
    code, out, err = run(name, url)
    assert (code, err) == (0, '')
    lines = out.splitlines()
    assert len(lines) == len(OUTPUT[name]), out
    for line, pattern in zip(lines, OUTPUT[name], strict=True):
        assert re.fullmatch(pattern, line), f'{line!r} is not {pattern!r}'


@pytest.mark.parametrize('name', SHORTER)
def test_arguments(name, url):
    count, pattern = SHORTER[name]
    code, out, err = run(name, url, count)
    assert (code, err) == (0, '')
    assert re.match(pattern, out.splitlines()[-1]), out


def test_no_server():
    code, out, err = run('simple_client.py', 'http://127.0.0.1:1')
    assert (code, out) == (1, '')
    assert err == ('no connection to http://127.0.0.1:1: 127.0.0.1:1: Connection refused\n')


@pytest.mark.parametrize('name', OUTPUT)
def test_docstring(name):
    """It says how to run it, and the README lists it."""
    text = ast.get_docstring(ast.parse((EXAMPLES / name).read_text()))
    assert '\n    engineio-gevent demo --serve\n' in text
    assert f'\n    python examples/{name} [URL' in text
    assert f'`python examples/{name}`' in (EXAMPLES / 'README.md').read_text()
