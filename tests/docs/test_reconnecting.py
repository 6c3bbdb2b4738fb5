"""The two loops of the page on reconnecting, against a server that goes and comes back."""

import re
import sys
from pathlib import Path

import gevent
import gevent.subprocess
import pytest

import engineio_gevent
import support

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / 'docs' / 'how-to' / 'reconnecting.md'


def program(name):
    """What the page's file of this name defines."""
    source = re.search(
        rf'<!-- test: file {re.escape(name)} -->\n```python\n(.*?)```', PAGE.read_text(), re.DOTALL)
    names = {}
    exec(compile(source[1], name, 'exec'), names)
    return names


def by_one_greenlet_each(clients, url):
    keep_connected = program('keep_connected.py')['keep_connected']
    return [gevent.spawn(keep_connected, eio, url, 0.2, 1.0) for eio in clients]


def by_the_handler(clients, url):
    stay = program('crowd.py')['stay']
    for eio in clients:
        stay(eio, url, 0.5)
    return []


@pytest.fixture
def serve():
    """`serve(port)`: the server of the demo, as a process."""
    running = []

    def start(port):
        process = gevent.subprocess.Popen(
            [sys.executable, '-m', 'engineio_gevent', 'demo', '--serve', '--port', str(port)],
            cwd=ROOT, stdout=gevent.subprocess.PIPE)
        running.append(process)
        assert b'http://' in process.stdout.readline()
        return process

    yield start
    for process in running:
        process.kill()
        process.wait()
        process.stdout.close()


@pytest.mark.parametrize('start', [by_one_greenlet_each, by_the_handler])
def test_all_come_back_until_they_leave(start, serve):
    clients = [engineio_gevent.Client() for _ in range(20)]

    def connected(count):
        return support.eventually(
            lambda: sum(eio.state == 'connected' for eio in clients) == count, 20)

    port = support.free_port()
    server = serve(port)
    keepers = start(clients, f'http://127.0.0.1:{port}')
    assert connected(20)
    server.kill()
    assert connected(0)
    gevent.sleep(0.5)  # some have tried in vain
    serve(port)
    assert connected(20)
    assert not any(keeper.dead for keeper in keepers)

    for eio in clients:
        eio.disconnect()
    assert len(gevent.joinall(keepers, timeout=10)) == len(keepers)
    gevent.sleep(0.6)  # within this they would have come back
    assert connected(0)
