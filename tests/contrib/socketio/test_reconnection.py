"""Connections that are lost, and what comes back."""

import gevent
import pytest
import socketio
import socketio.exceptions
from gevent.event import Event

import support

TIMEOUT = 10
"""Seconds within which anything has to happen that a test waits for."""

WEBSOCKET = ['websocket']


@pytest.fixture
def lost(make_server, make_client):
    """`lost(**options)`: a client that was connected, and whose server has gone."""

    def make(**options):
        server = make_server()
        client = make_client(**options)
        client.connect(server.url, transports=WEBSOCKET)
        server.kill()
        client.wait_seen('disconnect')
        return client, server.port

    return make


def test_a_dropped_connection_comes_back(server, make_client, ticker):
    """With all of its namespaces, and another client was not in its way."""
    client = make_client(namespaces=['/', '/chat'], randomization_factor=0)
    client.connect(
        server.url, transports=WEBSOCKET, auth={'token': 'kept'}, headers={'X-Kept': 'yes'}
    )
    before = dict(client.namespaces)
    for times in (1, 2, 3):
        client.emit('drop')
        client.wait_seen('connect', 2 * times + 2)
        assert support.eventually(lambda: client.connected)
    assert sorted(client.seen('disconnect')) == (
        3 * [['/', 'transport error']] + 3 * [['/chat', 'transport error']]
    )
    assert client.seen('__disconnect_final') == []
    assert set(client.namespaces) == set(before)
    assert client.namespaces != before
    who = client.call('who', namespace='/chat', timeout=TIMEOUT)
    assert (who['sid'], who['auth']) == (client.get_sid('/chat'), {'token': 'kept'})
    assert ticker.ticks > 5


def test_by_each_transport(make_any_server, make_client, way):
    server = make_any_server()
    client = make_client()
    client.connect(server.url, transports=way)
    server.kill()
    client.wait_seen('disconnect')
    make_any_server(port=server.port)
    client.wait_seen('connect', 2)
    assert client.call('echo', b'back', timeout=TIMEOUT) == b'back'
    assert client.transport() == ('polling' if way == ['polling'] else 'websocket')
    assert client.seen('disconnect') == [['/', 'transport error']]


def test_attempts_go_on_until_the_server_is_back(make_server, lost):
    client, port = lost()
    errors = client.wait_seen('connect_error', 3)
    assert all('Connection refused' in error for _, error in errors)
    assert not client.connected
    make_server(port=port)
    client.wait_seen('connect', 2)
    assert client.seen('__disconnect_final') == []


def test_attempts_come_to_an_end(lost, ticker):
    client, _ = lost(reconnection_attempts=3)
    with gevent.Timeout(TIMEOUT):
        client.wait()
    assert len(client.seen('connect_error')) == 3
    assert client.seen('__disconnect_final') == [['/']]
    assert ticker.ticks > 5


def test_after_giving_up_one_can_begin_again(make_server, lost):
    client, port = lost(reconnection_attempts=1)
    client.wait_seen('__disconnect_final')
    server = make_server(port=port)
    client.connect(server.url, transports=WEBSOCKET)
    client.emit('drop')
    client.wait_seen('connect', 3)
    assert client.call('echo', 'back', timeout=TIMEOUT) == 'back'


def test_not_wanted(lost):
    client, _ = lost(reconnection=False)
    with gevent.Timeout(TIMEOUT):
        client.wait()
    assert client.seen('disconnect') == [['/', 'transport error']]
    assert client.seen('__disconnect_final') == [['/']]
    assert client.seen('connect_error') == []


def test_wait_goes_on_over_a_reconnection(server, client):
    client.connect(server.url, transports=WEBSOCKET)
    waiting = gevent.spawn(client.wait)
    client.emit('drop')
    client.wait_seen('connect', 2)
    gevent.sleep(1.2)  # upstream's wait() looks after one second
    assert not waiting.ready()
    client.disconnect()
    waiting.get(timeout=TIMEOUT)


def test_delays_may_be_random_to_nothing(server, make_client):
    """The factor can make a delay negative; that is no delay."""
    client = make_client(
        reconnection_delay=0.01, reconnection_delay_max=0.01, randomization_factor=0.5
    )
    client.connect(server.url, transports=WEBSOCKET)
    for times in range(2, 8):
        client.emit('drop')
        client.wait_seen('connect', times, timeout=2)
        assert support.eventually(lambda: client.connected)


def test_calls_of_a_lost_connection_time_out(server, client):
    client.connect(server.url, transports=WEBSOCKET)

    @gevent.spawn
    def calling():
        with pytest.raises(socketio.exceptions.TimeoutError):
            client.call('never', timeout=1)

    gevent.sleep(0)
    client.emit('drop')
    client.wait_seen('connect', 2)
    calling.get(timeout=TIMEOUT)
    assert client.callbacks == {}


def test_the_server_may_come_after_the_client(make_server, make_client):
    port = support.free_port()
    client = make_client()
    connecting = gevent.spawn(client.connect, f'http://127.0.0.1:{port}', retry=True)
    client.wait_seen('connect_error', 2)
    server = make_server(port=port)
    connecting.get(timeout=TIMEOUT)
    assert client.call('echo', 1, timeout=TIMEOUT) == 1
    client.disconnect()
    server.stop()


# -- Stopping -----------------------------------------------------------------------------------


def test_shutdown_between_attempts(lost):
    client, _ = lost(reconnection_delay=60, reconnection_delay_max=60)
    waiting = gevent.spawn(client.wait)
    with gevent.Timeout(2):
        client.shutdown()
        waiting.join()
    assert client.seen('__disconnect_final') == [['/']]


def test_shutdown_as_soon_as_it_is_lost(make_server, make_client):
    """Before the greenlet that reconnects has begun."""
    server = make_server()
    client = make_client(reconnection_delay=60, reconnection_delay_max=60)
    leaving = []
    client.on('disconnect', lambda reason: leaving.append(gevent.spawn(client.shutdown)))
    client.connect(server.url, transports=WEBSOCKET)
    server.kill()
    assert support.eventually(lambda: leaving)
    leaving[0].get(timeout=2)
    assert not client.connected
    assert client.seen('__disconnect_final') == [['/']]


def test_shutdown_within_an_attempt(hostile_server, make_client):
    """The server has accepted, and says nothing: who wants to leave need not wait for it."""
    silent = Event()

    def serve(sock):
        request = support.read_request(sock)
        if not silent.is_set():
            support.accept_websocket(sock, request)
            support.send_frame(sock, support.open_packet())
            support.read_frame(sock)
            support.send_frame(sock, '40{"sid":"one"}')
            silent.wait()
            return
        support.read_to_end(sock)

    server = hostile_server(serve)
    client = make_client(request_timeout=60)
    client.connect(server.url, transports=WEBSOCKET)
    silent.set()
    client.wait_seen('disconnect')
    assert support.eventually(lambda: server.accepted == 2)
    with gevent.Timeout(2):
        client.shutdown()
    server.wait_open(0)
    assert client.seen('__disconnect_final') == [['/']]


def test_shutdown_in_a_handler(lost):
    """Which runs in the very greenlet that reconnects."""
    client, _ = lost()
    client.on('connect_error', lambda _: client.shutdown())
    with gevent.Timeout(TIMEOUT):
        client.wait()
    assert client.seen('__disconnect_final') == [['/']]


def test_shutdown_while_connected(server, client):
    client.connect(server.url)
    client.shutdown()
    assert client.seen('disconnect') == [['/', 'client disconnect']]
    client.shutdown()
    assert len(client.seen('disconnect')) == 1


def test_a_connect_that_failed_leaves_nobody_connecting(hostile_server, make_client):
    """The transport was there, and lost before the namespace was."""

    def serve(sock):
        support.accept_websocket(sock)
        support.send_frame(sock, support.open_packet())
        support.read_frame(sock)

    server = hostile_server(serve)
    client = make_client(reconnection_delay=0.4, reconnection_delay_max=0.4, randomization_factor=0)
    with pytest.raises(socketio.exceptions.ConnectionError):
        client.connect(server.url, transports=WEBSOCKET, wait_timeout=0.1)
    gevent.sleep(0.6)
    assert server.accepted == 1
    assert not client.connected


# -- Handlers -----------------------------------------------------------------------------------


def test_a_handler_that_fails_does_not_stop_it(server, client, caplog):
    @client.event
    def disconnect(reason):
        raise RuntimeError(f'no {reason} for me')

    client.connect(server.url, transports=WEBSOCKET)
    client.emit('drop')
    client.wait_seen('connect', 2)
    assert support.eventually(lambda: client.connected)
    assert client.call('echo', 'back', timeout=TIMEOUT) == 'back'
    assert 'no transport error for me' in caplog.text


def test_one_who_was_sent_away_does_not_come_back(server, make_client):
    """The farewell and the end of the connection may arrive at once."""
    for _ in range(10):
        client = make_client(reconnection_delay=0.01)
        client.connect(server.url, transports=WEBSOCKET)
        client.emit('kick')
        with gevent.Timeout(TIMEOUT):
            client.eio.wait()
        gevent.sleep(0.05)
        assert client.seen('disconnect') == [['/', 'server disconnect']]
        assert len(client.seen('connect')) == 1
