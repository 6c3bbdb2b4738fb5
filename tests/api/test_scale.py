"""A thousand clients in one process: what each of them holds, and that nothing of it stays."""

import gc
import logging
from pathlib import Path

import gevent
import gevent.event
import gevent.pool
import pytest

import engineio_gevent
import support
from engineio_gevent.dispatcher import MIN_IDLE

COUNT = 1000


def resident():
    """Bytes of memory that this process holds."""
    gc.collect()
    for line in Path('/proc/self/status').read_text().splitlines():
        if line.startswith('VmRSS:'):
            return int(line.split()[1]) * 1024
    pytest.skip('no /proc')
    return None


class Crowd:
    """Many clients that connect, some at a time, echo, and leave."""

    def __init__(self, url, transports, count=COUNT, **options):
        self.url = url
        self.transports = transports
        self.answers = []
        self.reasons = []
        self.clients = [engineio_gevent.Client(**options) for _ in range(count)]
        for client in self.clients:
            client.on('message', self.answers.append)
            client.on('disconnect', self.reasons.append)

    def _all(self, function):
        gevent.pool.Pool(50).map(function, self.clients)

    def connect(self):
        self._all(lambda client: client.connect(self.url, transports=self.transports))

    def echo(self):
        self.answers.clear()
        for number, client in enumerate(self.clients):
            client.send(f'message {number}')
        assert support.eventually(lambda: len(self.answers) == len(self.clients), 30)
        assert len(set(self.answers)) == len(self.clients)

    def disconnect(self):
        self._all(lambda client: client.disconnect())
        assert self.reasons == ['client disconnect'] * len(self.clients)


def counted():
    """How many descriptors and greenlets there are."""
    gc.collect()
    return len(support.descriptors()), len(support.greenlets())


def check_counts(before):
    """All descriptors are gone, and all greenlets but the workers kept for the next messages."""

    def gone():
        descriptors, greenlets = counted()
        return descriptors <= before[0] and greenlets <= before[1] + MIN_IDLE

    assert support.eventually(gone, interval=0.1), (before, counted())


@pytest.mark.time_limit(120)
def test_a_thousand_come_and_go(make_js_server, way):
    js_server = make_js_server()
    before = counted()
    crowd = Crowd(js_server.url, way)
    crowd.connect()
    js_server.wait_count(COUNT, 10)
    crowd.echo()
    assert {client.transport() for client in crowd.clients} == {
        'polling' if way == ['polling'] else 'websocket'
    }
    if way != ['polling']:
        assert support.eventually(lambda: len(support.descriptors()) - before[0] <= COUNT)
    crowd.disconnect()
    js_server.wait_count(0, 10)
    del crowd
    check_counts(before)


@pytest.mark.time_limit(120)
def test_a_thousand_come_and_go_at_python_engineio(make_python_server):
    python_server = make_python_server()
    before = counted()
    crowd = Crowd(python_server.url, ['websocket'])
    crowd.connect()
    crowd.echo()
    crowd.disconnect()
    python_server.wait_count(0, 10)
    del crowd
    check_counts(before)


def test_memory_is_given_back(js_server, way):
    """Round after round, a process does not grow."""

    def round_of_clients():
        crowd = Crowd(js_server.url, way, 300)
        crowd.connect()
        crowd.echo()
        crowd.disconnect()
        del crowd
        return resident()

    round_of_clients()  # what is made once, and the allocator's arenas
    first, second = round_of_clients(), round_of_clients()
    # 300 clients that stayed would be 2 MiB or more.
    assert second - first < 1 << 20, (first, second)


def alive():
    """The clients and sessions of this process."""
    gc.collect()
    kinds = (engineio_gevent.Client, engineio_gevent.client.Session)
    return [one for one in gc.get_objects() if isinstance(one, kinds)]


def check_garbage(before):
    """All that have come since are gone; what a worker did last may live until it is parked."""
    assert support.eventually(lambda: not [one for one in alive() if id(one) not in before])


def test_ended_clients_are_garbage(any_server, way):
    before = {id(one) for one in alive()}
    crowd = Crowd(any_server.url, way, 20)
    crowd.connect()
    crowd.echo()
    crowd.disconnect()
    del crowd
    check_garbage(before)


def test_clients_that_never_connected_are_garbage(js_server, js_server_with, way):
    refusing = js_server_with(refuse=403)
    silent = logging.Logger('silent', logging.CRITICAL + 1)  # pytest keeps what is logged
    before = {id(one) for one in alive()}
    for url in [js_server.url, refusing.url]:
        client = engineio_gevent.Client(silent)
        client.on('connect', lambda: 1 / 0)
        with pytest.raises(engineio_gevent.exceptions.ConnectionError):
            client.connect(url, transports=way)
    del client
    check_garbage(before)


def test_failed_connects_leave_nothing(make_any_server, transport):
    server = make_any_server(refuse=403)
    port = support.free_port()
    before = counted()
    client = engineio_gevent.Client()
    for _ in range(50):
        for url in [server.url, f'http://127.0.0.1:{port}']:
            with pytest.raises(engineio_gevent.exceptions.ConnectionError):
                client.connect(url, transports=transport)
    check_counts(before)


@pytest.mark.parametrize('transports', [['websocket'], None, ['polling']])
def test_idle_client_is_a_descriptor_and_no_greenlet(any_server, transports):
    before = counted()
    crowd = Crowd(any_server.url, transports, 100)
    crowd.connect()
    assert {client.transport() for client in crowd.clients} == {(transports or ['websocket'])[0]}
    # No handler has run, so there is no worker either.
    assert support.eventually(lambda: counted()[0] - before[0] <= 100), (before, counted())
    assert support.eventually(lambda: counted()[1] <= before[1]), (before, counted())
    crowd.echo()
    crowd.disconnect()
    check_counts(before)
