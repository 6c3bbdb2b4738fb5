"""The servers of the examples have a websocket where gevent-websocket is installed.

python-engineio prefers it to simple-websocket, and it needs a handler of its own in the web server.
The other tests run these servers without it.
"""

import importlib.util
import os
import sys
from pathlib import Path

import pytest

import engineio_gevent
import support

EXAMPLES = Path(__file__).resolve().parents[2] / 'examples'
ENVIRONMENT = {**os.environ, 'PYTHONPATH': str(support.PROJECT)}


@pytest.fixture(autouse=True)
def gevent_websocket_is_there():
    if importlib.util.find_spec('geventwebsocket') is None:
        support.missing('gevent-websocket', 'pip install gevent-websocket')


@pytest.mark.parametrize(
    ('command', 'path'),
    [
        (['-m', 'engineio_gevent', 'demo', '--serve', '--port', '0'], 'engine.io'),
        ([EXAMPLES / 'gunicorn_bridge' / 'upstream.py', '0'], 'engine.io'),
        ([EXAMPLES / 'locust' / 'chat_server.py', '0'], 'engine.io'),
        ([EXAMPLES / 'socketio_server.py', '0'], 'socket.io'),
    ],
    ids=['demo', 'bridge', 'locust', 'socketio'],
)
@pytest.mark.parametrize('transports', [None, 'websocket'])
def test_example(command, path, transports):
    server = support.AnnouncedServer([sys.executable, *command], ENVIRONMENT)
    try:
        with engineio_gevent.Client() as eio:
            eio.connect(server.url, transports=transports, engineio_path=path)
            assert eio.transport() == 'websocket'
    finally:
        server.stop()


def test_python_server(python_server):
    """That of the tests, which others start in the same environment."""
    with engineio_gevent.Client() as eio:
        eio.connect(python_server.url)
        assert eio.transport() == 'websocket'
