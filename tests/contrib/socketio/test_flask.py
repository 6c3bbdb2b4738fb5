"""The Flask-SocketIO server of `docs/how-to/socketio.md`, with the client."""

import re
import sys
from pathlib import Path

import pytest
import socketio
from gevent import subprocess

import support
from engineio_gevent.contrib.socketio import Client

pytest.importorskip('flask_socketio')

PAGE = Path(__file__).resolve().parents[3] / 'docs' / 'how-to' / 'socketio.md'


@pytest.fixture
def url(tmp_path):
    source = re.search(
        r'<!-- test: file flask_server.py -->\n```python\n(.*?)```', PAGE.read_text(), re.DOTALL
    )[1]
    port = support.free_port()
    (tmp_path / 'flask_server.py').write_text(source.replace('5001', str(port)))
    with open(tmp_path / 'log', 'w') as log:
        process = subprocess.Popen(
            [sys.executable, tmp_path / 'flask_server.py'], stdout=log, stderr=log
        )
        printed = Path(log.name)
        # Not whether somebody listens: another program may.
        listens = f'Running on http://127.0.0.1:{port}'
        assert support.eventually(lambda: listens in printed.read_text(), 20), printed.read_text()
        yield f'http://127.0.0.1:{port}'
        process.kill()
        process.wait()


@pytest.mark.parametrize(
    ('transports', 'used'),
    [(None, 'websocket'), ('polling', 'polling'), ('websocket', 'websocket')],
)
def test_calls_and_namespaces(url, transports, used):
    refusals = []
    sio = Client()
    sio.on('connect_error', refusals.append, namespace='/members')
    namespaces = ['/', '/members']
    with pytest.raises(socketio.exceptions.ConnectionError, match='/members'):
        sio.connect(url, transports=transports, namespaces=namespaces, auth={'token': 'wrong'})
    assert refusals == [{'message': 'log in first'}]
    sio.connect(url, transports=transports, namespaces=namespaces, auth={'token': 'secret'})
    assert sio.transport() == used
    assert sio.call('add', (1, 2, 39)) == 42
    assert sio.call('whoami', namespace='/members') == 'a member'
    sio.disconnect()
