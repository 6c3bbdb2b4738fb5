"""A burst of messages, and `disconnect()` at once after it: all arrive, then the goodbye."""

import struct

import gevent
import pytest
from gevent.event import AsyncResult, Event

import support
from engineio_gevent import session
from support import CLOSE, TEXT

BURST = 10_000


def burst(client, binary=False):
    for _ in range(BURST):
        client.count('burst', 'x' * 80, binary)
    client.disconnect()


@pytest.mark.parametrize('binary', [False, True], ids=['text', 'binary'])
def test_all_of_a_burst_arrives(any_server, make_client, way, binary):
    client = make_client()
    client.connect(f'{any_server.url}/?check=1', transports=way)
    sid = client.sid
    burst(client, binary)
    assert any_server.checked(sid) == {'burst': BURST}
    assert client.state == 'disconnected'
    assert (client.reasons, client.disconnect_error) == (['client disconnect'], None)


def test_all_of_a_burst_arrives_over_tls(make_js_server, trusted, make_client, transport):
    server = make_js_server(tls=trusted.tls)
    client = make_client()
    client.connect(f'{server.url}/?check=1', transports=transport)
    sid = client.sid
    burst(client)
    assert server.checked(sid) == {'burst': BURST}
    assert (client.reasons, client.disconnect_error) == (['client disconnect'], None)


@pytest.mark.parametrize('secure', [False, True], ids=['ws', 'wss'])
def test_the_goodbye_follows_on_a_websocket(hostile_server, trusted, make_client, secure):
    def serve(sock):
        support.accept_websocket(sock)
        support.send_frame(sock, support.open_packet())
        frames = [support.read_frame(sock) for _ in range(BURST + 2)]
        sock.sendall(support.close_frame())
        seen.set((frames, support.read_to_end(sock)))

    seen = AsyncResult()
    tls = {'ssl_context': trusted.server_context()} if secure else {}
    server = hostile_server(serve, **tls)
    client = make_client()
    client.connect(server.url, transports='websocket')
    burst(client)
    frames, rest = seen.get(timeout=5)
    assert frames[:BURST] == [
        (TEXT, f'4burst {number} {"x" * 80}'.encode()) for number in range(BURST)
    ]
    assert frames[BURST:] == [(TEXT, b'1'), (CLOSE, struct.pack('!H', 1000))]
    assert rest == b''
    assert (client.reasons, client.disconnect_error) == (['client disconnect'], None)


def test_the_goodbye_follows_over_polling(hostile_server, make_client):
    def serve(sock):
        while True:
            request = support.read_request(sock)
            if request.method == 'POST':
                bodies.append(request.body)
                support.respond(sock, 'ok')
            elif 'sid=' not in request.target:
                support.respond(sock, support.open_packet())
            else:
                support.read_to_end(sock)

    bodies = []
    server = hostile_server(serve)
    client = make_client()
    client.connect(server.url, transports='polling')
    burst(client)
    packets = [packet for body in bodies for packet in body.split(b'\x1e')]
    assert packets[:-1] == [f'4burst {number} {"x" * 80}'.encode() for number in range(BURST)]
    assert packets[-1] == b'1'
    server.wait_open(0)
    assert (client.reasons, client.disconnect_error) == (['client disconnect'], None)


def test_binary_and_text_keep_their_order(any_server, make_client, way):
    client = make_client()
    client.connect(f'{any_server.url}/?check=1', transports=way)
    sid = client.sid
    for number in range(1000):
        # every length of a frame's header, in any order
        client.count(
            'mixed', 'x' * (70_000 if not number % 100 else number % 7 * 50), binary=number % 2
        )
    client.disconnect()
    assert any_server.checked(sid) == {'mixed': 1000}


@pytest.fixture
def impatient(monkeypatch):
    """A server has a second to take some of a farewell."""
    monkeypatch.setattr(session, 'CLOSE_TIMEOUT', 1)


def test_a_slow_reader_of_a_websocket_gets_all(hostile_server, make_client, impatient):
    def serve(sock):
        support.accept_websocket(sock)
        support.send_frame(sock, support.open_packet())
        data = bytearray()
        while len(data) < size:
            data += sock.recv(100_000)
            gevent.sleep(0.005)
        seen.set(len(data))
        sock.sendall(support.close_frame())
        support.read_to_end(sock)

    size = 30_000_000
    seen = AsyncResult()
    server = hostile_server(serve)
    client = make_client(write_limit=None)
    client.connect(server.url, transports='websocket')
    client.send(b'x' * size)
    client.disconnect()
    assert seen.get(timeout=0) >= size
    assert (client.reasons, client.disconnect_error) == (['client disconnect'], None)
    server.wait_open(0)


def test_a_server_slow_to_answer_posts_gets_all(hostile_server, make_client, impatient):
    def serve(sock):
        while True:
            request = support.read_request(sock)
            if request.method == 'POST':
                gevent.sleep(0.1)
                packets.extend(request.body.split(b'\x1e'))
                support.respond(sock, 'ok')
            elif 'sid=' not in request.target:
                support.respond(sock, support.open_packet())
            else:
                support.read_to_end(sock)

    packets = []
    server = hostile_server(serve)
    client = make_client()
    client.connect(server.url, transports='polling')
    for number in range(300):
        client.send(str(number))
    client.disconnect()
    assert packets == [*(b'4%d' % number for number in range(300)), b'1']
    assert client.disconnect_error is None


@pytest.mark.parametrize('limit', [1.5, None])
def test_a_farewell_has_a_bound_even_so(
    hostile_server, make_client, transport, impatient, monkeypatch, limit
):
    """The server takes something again and again, but would need an hour; or takes nothing."""

    def serve_websocket(sock):
        support.accept_websocket(sock)
        support.send_frame(sock, support.open_packet())
        while not left.wait(0.01):
            if limit and not sock.recv(50_000):
                return

    def serve_polling(sock):
        while True:
            request = support.read_request(sock)
            if request.method == 'POST':
                left.wait(0.05 if limit else 5)
                support.respond(sock, 'ok')
            elif 'sid=' not in request.target:
                support.respond(sock, support.open_packet())
            else:
                support.read_to_end(sock)

    monkeypatch.setattr(session, 'FAREWELL_LIMIT', limit or 30)
    left = Event()
    server = hostile_server(serve_polling if transport == 'polling' else serve_websocket)
    client = make_client(write_limit=None)
    client.connect(server.url, transports=transport)
    for number in range(1000):
        client.send('x' * 50_000 if transport == 'websocket' else str(number))
    with gevent.Timeout(5):
        client.disconnect()
    assert client.unsent > 0
    assert 'could not be sent' in str(client.disconnect_error)
    left.set()
