"""The two loops of the page on reconnecting, against a server that goes and comes back."""

import re
import sys
from pathlib import Path

import gevent
import gevent.subprocess
import pytest
from gevent.event import Event

import engineio_gevent
import support

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / 'docs' / 'how-to' / 'reconnecting.md'


def program(name):
    """What the page's file of this name defines."""
    source = re.search(
        rf'<!-- test: file {re.escape(name)} -->\n```python\n(.*?)```', PAGE.read_text(), re.DOTALL
    )
    names = {}
    exec(compile(source[1], name, 'exec'), names)
    return names


def by_one_greenlet_each(clients, url):
    keep_connected = program('keep_connected.py')['keep_connected']
    leaving = Event()
    keepers = [gevent.spawn(keep_connected, eio, url, leaving, 0.2, 1.0) for eio in clients]

    def leave():
        assert not any(keeper.dead for keeper in keepers)
        leaving.set()
        for eio in clients:
            eio.disconnect()
        assert len(gevent.joinall(keepers, timeout=10)) == len(keepers)

    return leave


def by_the_handler(clients, url):
    stay = program('crowd.py')['stay']
    leaves = [stay(eio, url, 0.5) for eio in clients]

    def leave():
        for one in leaves:
            one()

    return leave


@pytest.fixture
def serve():
    """`serve(port)`: the server of the demo, as a process."""
    running = []

    def start(port):
        process = gevent.subprocess.Popen(
            [sys.executable, '-m', 'engineio_gevent', 'demo', '--serve', '--port', str(port)],
            cwd=ROOT,
            stdout=gevent.subprocess.PIPE,
        )
        running.append(process)
        assert b'http://' in process.stdout.readline()
        return process

    yield start
    for process in running:
        process.kill()
        process.wait()
        process.stdout.close()


def connected(clients, count):
    return support.eventually(lambda: sum(eio.state == 'connected' for eio in clients) == count, 20)


@pytest.mark.parametrize('start', [by_one_greenlet_each, by_the_handler])
def test_all_come_back_until_they_leave(start, serve):
    clients = [engineio_gevent.Client() for _ in range(20)]
    port = support.free_port()
    server = serve(port)
    leave = start(clients, f'http://127.0.0.1:{port}')
    assert connected(clients, 20)
    server.kill()
    assert connected(clients, 0)
    gevent.sleep(0.5)  # some have tried in vain
    serve(port)
    assert connected(clients, 20)

    leave()
    gevent.sleep(0.6)  # within this they would have come back
    assert connected(clients, 0)


@pytest.mark.parametrize('start', [by_one_greenlet_each, by_the_handler])
def test_they_leave_while_there_is_no_server(start, serve):
    clients = [engineio_gevent.Client() for _ in range(20)]
    port = support.free_port()
    with support.no_leaks():
        leave = start(clients, f'http://127.0.0.1:{port}')
        gevent.sleep(0.5)  # some wait, and some may be on their way
        leave()
    serve(port)
    gevent.sleep(1.1)  # within this they would have come
    assert connected(clients, 0)
