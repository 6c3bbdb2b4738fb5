"""One deadline: the last PING, or the handshake, + pingInterval + pingTimeout."""

import time

import gevent
import pytest

import support
from engineio_gevent.exceptions import HeartbeatTimeout

INTERVAL, TIMEOUT = 300, 400
"""What the servers ping with, in ms; python-engineio announces the interval as one second."""

SLACK = 2
"""Seconds that a busy machine may be late."""


@pytest.fixture
def server(server_with):
    return server_with(pingInterval=INTERVAL, pingTimeout=TIMEOUT)


def silence(client):
    """Seconds of silence that the protocol allows."""
    return client.ping_interval + client.ping_timeout


def wait_end(client, since):
    client.wait_end(silence(client) + SLACK)
    assert client.reasons == ['transport error']
    assert isinstance(client.disconnect_error, HeartbeatTimeout)
    assert time.monotonic() - since >= silence(client) - INTERVAL / 1000 - 0.05


def test_pings_keep_the_connection(server, connect_all_ways):
    clients = connect_all_ways(server)
    # The server gives up a client whose pong is missing for `TIMEOUT`.
    gevent.sleep(2 * (INTERVAL + TIMEOUT) / 1000)
    for client in clients:
        assert client.state == 'connected'
        assert client.ask('hello') == 'hello'
    assert {client.sid for client in clients} <= set(server.control('clients')['ids'])


def test_suspended_server(server, connect_all_ways):
    clients = connect_all_ways(server)
    for client in clients:
        assert client.ask('hello') == 'hello'
    server.suspend()
    try:
        since = time.monotonic()
        for client in clients:
            wait_end(client, since)
    finally:
        server.resume()
    for client in clients:
        client.connect(server.url, transports=client.transports)
        assert client.ask('again') == 'again'


def test_other_traffic_does_not_count(server, connect_all_ways):
    clients = connect_all_ways(server)
    for client in clients:
        client.send('silence')
    since = time.monotonic()

    def chat(client):
        while client.state == 'connected':
            client.ask('still there')
            gevent.sleep(0.02)

    chatting = [gevent.spawn(chat, client) for client in clients]
    for client in clients:
        wait_end(client, since)
    gevent.killall(chatting)
    assert min(len(client.events) for client in clients) > 10


def test_every_client_has_a_deadline_of_its_own(js_server_with, make_client):
    server = js_server_with(pingInterval=INTERVAL, pingTimeout=TIMEOUT)
    lively, silent = make_client(), make_client()
    lively.connect(server.url)
    silent.connect(server.url)
    silent.send('silence')
    wait_end(silent, time.monotonic())
    assert lively.ask('hello') == 'hello'
    assert lively.reasons == []


def test_no_deadline_after_the_end(js_server_with, make_client):
    server = js_server_with(pingInterval=INTERVAL, pingTimeout=TIMEOUT)
    client = make_client()
    client.connect(server.url)
    client.send('silence')
    client.disconnect()
    client.connect(server.url)
    sid = client.sid
    gevent.sleep(silence(client) + 0.2)
    assert client.sid == sid
    assert client.reasons == ['client disconnect']


def test_process_that_was_busy_reads_first(hostile_server, make_client):
    """A PING that came in time, but lies unread behind a busy process, is a PING."""
    pongs = []

    def handler(sock):
        support.accept_websocket(sock)
        support.send_frame(sock, support.open_packet(pingInterval=200, pingTimeout=100))
        support.send_frame(sock, '2one')
        while True:
            _, data = support.read_frame(sock)
            pongs.append(data)
            if data == b'3one':
                gevent.sleep(0.1)
                support.send_frame(sock, '2two')
                # This process is the client's too: nobody runs for long.
                time.sleep(0.6)

    server = hostile_server(handler)
    client = make_client()
    client.connect(server.url, transports='websocket')
    assert support.eventually(lambda: b'3two' in pongs)


@pytest.mark.parametrize('data', ['', 'probe', 'some data'])
def test_pong_has_the_data_of_the_ping(hostile_server, make_client, data):
    answers = []

    def handler(sock):
        support.accept_websocket(sock)
        support.send_frame(sock, support.open_packet())
        support.send_frame(sock, f'2{data}')
        answers.append(support.read_frame(sock))
        support.read_to_end(sock)

    server = hostile_server(handler)
    client = make_client()
    client.connect(server.url, transports='websocket')
    assert support.eventually(lambda: answers)
    assert answers == [(support.TEXT, f'3{data}'.encode())]
    client.disconnect(abort=True)
