"""The client without handlers."""

import gevent
import pytest
import socketio.exceptions

import support
from engineio_gevent.contrib.socketio import SimpleClient

TIMEOUT = 10
"""Seconds within which anything has to happen that a test waits for."""


@pytest.fixture
def make_simple():
    clients = []

    def make(**options):
        clients.append(
            SimpleClient(
                **{
                    'handle_sigint': False,
                    'reconnection_delay': 0.05,
                    'reconnection_delay_max': 0.1,
                    **options,
                }
            )
        )
        return clients[-1]

    yield make
    for client in clients:
        client.disconnect()


@pytest.fixture
def simple(make_simple):
    return make_simple()


def test_emit_and_receive(server, simple, way, ticker):
    simple.connect(server.url, transports=way)
    simple.emit('echo', ('one', b'two'))
    assert simple.receive(timeout=TIMEOUT) == ['echo', 'one', b'two']
    assert simple.call('echo', [3], timeout=TIMEOUT) == [3]
    assert simple.call('who', timeout=TIMEOUT)['sid'] == simple.sid
    assert simple.transport == ('polling' if way == ['polling'] else 'websocket')


def test_namespace(server, simple):
    simple.connect(server.url, namespace='/chat')
    simple.emit('echo', 1)
    assert simple.receive(timeout=TIMEOUT) == ['echo', 1]


def test_a_refusal(server, simple):
    with pytest.raises(socketio.exceptions.ConnectionError):
        simple.connect(server.url, namespace='/private')
    assert not simple.connected


def test_receive_times_out_and_blocks_nobody(server, simple, ticker):
    simple.connect(server.url)
    with pytest.raises(socketio.exceptions.TimeoutError):
        simple.receive(timeout=0.3)
    assert ticker.ticks >= 5
    with pytest.raises(socketio.exceptions.TimeoutError):
        simple.call('never', timeout=0.05)


def test_emits_wait_for_the_reconnection(make_server, make_simple, ticker):
    server = make_server()
    simple = make_simple()
    simple.connect(server.url, transports=['websocket'])
    first = simple.sid
    server.kill()
    assert support.eventually(lambda: not simple.connected_event.is_set())
    calling = gevent.spawn(simple.call, 'echo', 'later', timeout=TIMEOUT)
    gevent.sleep(0.1)
    assert not calling.ready()
    make_server(port=server.port)
    assert calling.get(timeout=TIMEOUT) == 'later'
    assert simple.sid != first
    assert ticker.ticks > 5


def test_a_server_that_ends_it(server, simple):
    simple.connect(server.url, transports=['websocket'])

    @gevent.spawn
    def receiving():
        with pytest.raises(socketio.exceptions.DisconnectedError):
            simple.receive()

    simple.emit('kick')
    receiving.get(timeout=TIMEOUT)
    with pytest.raises(socketio.exceptions.DisconnectedError):
        simple.emit('echo')
    error = socketio.exceptions.DisconnectedError
    assert support.gives_way(lambda: simple.emit('echo'), error)
    assert support.gives_way(simple.receive, error)


def test_the_end_is_the_end(make_server):
    """Leaving while the server is away: nobody goes on reconnecting."""
    server = make_server()
    with support.no_leaks(), SimpleClient(reconnection_delay=60, handle_sigint=False) as simple:
        simple.connect(server.url, transports=['websocket'])
        server.kill()
        assert support.eventually(lambda: not simple.connected_event.is_set())
    assert not simple.connected


def test_it_is_a_context_manager(server):
    with support.no_leaks(), SimpleClient(handle_sigint=False) as simple:
        simple.connect(server.url)
        simple.emit('echo', 'bye')
        assert simple.receive(timeout=TIMEOUT) == ['echo', 'bye']
