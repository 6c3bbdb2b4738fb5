"""Servers that take their time, byte by byte or for ever: the handshake has one bound over all."""

import socket
import threading
import time

import gevent
import pytest
from gevent.event import Event

from engineio_gevent import session
from engineio_gevent.exceptions import ConnectionClosed
from support import (
    PING,
    accept_websocket,
    eventually,
    frame,
    no_leaks,
    open_packet,
    patience,
    read_exactly,
    read_request,
    read_to_end,
    respond,
    response,
    send_frame,
    settle,
)

LIMIT = 0.2
"""The `request_timeout` of these tests: no step of a trickling server ever takes that long."""


def drip(sock, data, pause=0.02):
    """Send this byte by byte, as long as the client takes it."""
    for byte in data:
        sock.sendall(bytes([byte]))
        gevent.sleep(pause)


def drip_head(sock):
    read_request(sock)
    drip(sock, response(open_packet(), headers=[('X', 'x' * 2000)]))


def drip_headers(sock):
    read_request(sock)
    sock.sendall(b'HTTP/1.1 200 OK\r\n')
    for number in range(2000):
        sock.sendall(b'X-%d: x\r\n' % number)
        gevent.sleep(0.02)


def drip_interim(sock):
    read_request(sock)
    for _ in range(5):
        sock.sendall(b'HTTP/1.1 102 Processing\r\n\r\n')
        gevent.sleep(0.08)


def drip_body(sock):
    read_request(sock)
    body = open_packet(padding='x' * 2000)
    head = response(body)[: -len(body)]
    sock.sendall(head)
    drip(sock, body.encode())


def drip_chunks(sock):
    read_request(sock)
    sock.sendall(b'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n')
    for _ in range(2000):
        sock.sendall(b'1\r\n0\r\n')
        gevent.sleep(0.02)


def drip_redirects(sock):
    while True:
        read_request(sock)
        gevent.sleep(0.08)
        respond(sock, '', '307 Temporary Redirect', [('Location', '/again')])


def drip_refusal(sock):
    read_request(sock)
    sock.sendall(b'HTTP/1.1 400 Bad Request\r\nContent-Length: 2000\r\n\r\n')
    drip(sock, b'x' * 2000)


def drip_frame(sock):
    accept_websocket(sock)
    drip(sock, frame(open_packet(padding='x' * 2000)))


def drip_fragments(sock):
    accept_websocket(sock)
    sock.sendall(frame('0', fin=False))
    for _ in range(2000):
        sock.sendall(frame('x', 0, fin=False))
        gevent.sleep(0.02)


def drip_pings(sock):
    accept_websocket(sock)
    for _ in range(2000):
        sock.sendall(frame('x', PING))
        gevent.sleep(0.02)


def hang_after_websocket(sock):
    accept_websocket(sock)
    read_to_end(sock)


def hang_after_request(sock):
    read_request(sock)
    read_to_end(sock)


def hang_in_head(sock):
    read_request(sock)
    sock.sendall(b'HTTP/1.1 ')
    read_to_end(sock)


BOTH = [read_to_end, hang_after_request, hang_in_head, drip_head, drip_headers, drip_refusal]
POLLING = [*BOTH, drip_interim, drip_body, drip_chunks, drip_redirects]
WEBSOCKET = [*BOTH, hang_after_websocket, drip_frame, drip_fragments, drip_pings]
CASES = [
    *(('polling', handler) for handler in POLLING),
    *(('websocket', handler) for handler in WEBSOCKET),
]


def fails_in_time(witness, server, transport, limit=LIMIT):
    one = witness(request_timeout=limit, ssl_verify=False)
    began = time.monotonic()
    cause, error = one.fails_to_connect(server, transport)
    took = time.monotonic() - began
    server.wait_open(0)
    assert isinstance(cause, ConnectionClosed)
    assert limit <= took < limit + patience(1)
    return error


@pytest.mark.parametrize(
    ('transport', 'handler'), CASES, ids=[f'{name}-{handler.__name__}' for name, handler in CASES]
)
def test_a_handshake_that_takes_too_long(hostile_server, witness, transport, handler):
    error = fails_in_time(witness, hostile_server(handler), transport)
    assert f'{LIMIT} seconds' in str(error)
    assert transport in str(error)


@pytest.mark.parametrize('transport', ['polling', 'websocket'])
@pytest.mark.parametrize(
    'handler',
    [read_to_end, lambda sock: drip(sock, b'\x16\x03\x03' * 1000)],
    ids=['silent', 'dripping'],
)
def test_a_tls_handshake_that_takes_too_long(hostile_server, witness, transport, handler):
    server = hostile_server(handler)
    server._scheme = 'https'
    if handler is read_to_end:
        fails_in_time(witness, server, transport)
    else:  # which is no TLS either
        witness(request_timeout=LIMIT, ssl_verify=False).fails_to_connect(server, transport)
        server.wait_open(0)


@pytest.mark.parametrize('transport', ['polling', 'websocket'])
def test_tls_that_is_done_and_then_silent(hostile_server, certificates, witness, transport):
    server = hostile_server(read_to_end, ssl_context=certificates.server_context())
    fails_in_time(witness, server, transport)


@pytest.mark.parametrize('transport', ['polling', 'websocket'])
def test_a_connection_that_nobody_accepts(witness, transport):
    """The backlog is full: the operating system lets the client wait."""
    listener = socket.socket()
    listener.bind(('127.0.0.1', 0))
    listener.listen(0)
    fillers = []
    for _ in range(10):
        filler = gevent.socket.socket()
        fillers.append(filler)
        filler.settimeout(0.1)
        try:
            filler.connect(listener.getsockname())
        except OSError:
            break
    else:
        pytest.skip('this system lets any number of connections wait')

    class Full:
        url = 'http://{}:{}'.format(*listener.getsockname())

    one = witness(request_timeout=LIMIT)
    try:
        with no_leaks():
            began = time.monotonic()
            one.fails_to_connect(Full, transport)
            took = time.monotonic() - began
    finally:
        for sock in (listener, *fillers):
            sock.close()
    assert took < LIMIT + patience(1)


def test_all_transports_that_take_too_long(hostile_server, witness):
    """Each has its own time."""
    server = hostile_server(read_to_end)
    one = witness(request_timeout=LIMIT, try_all_transports=True)
    began = time.monotonic()
    _, error = one.fails_to_connect(server, None)
    assert 2 * LIMIT <= time.monotonic() - began < 2 * LIMIT + patience(1)
    assert 'polling' in str(error)
    assert server.accepted == 2
    server.wait_open(0)


@pytest.mark.parametrize('transport', ['polling', 'websocket'])
def test_a_server_that_takes_its_time_within_the_bound(hostile_server, witness, transport):
    def handle(sock):
        request = read_request(sock)
        if transport == 'websocket':
            accept_websocket(sock, request)
            drip(sock, frame(open_packet()), 0.001)
        else:
            drip(sock, response(open_packet()), 0.001)
        read_to_end(sock)

    one = witness(request_timeout=10).connect(hostile_server(handle), transport)
    assert one.client.sid == 'the-sid'
    one.client.disconnect(abort=True)


@pytest.mark.parametrize('transport', ['polling', 'websocket'])
def test_no_bound_at_all(hostile_server, witness, transport):
    """`request_timeout=None`; another greenlet can still end it."""
    server = hostile_server(hang_after_request)
    one = witness(request_timeout=None)
    failing = gevent.spawn(one.fails_to_connect, server, transport)
    assert eventually(lambda: server.open)
    settle()
    assert not failing.ready()
    one.client.disconnect()
    failing.get(timeout=patience(5))
    server.wait_open(0)


@pytest.mark.parametrize('transport', ['polling', 'websocket'])
@pytest.mark.parametrize('how', ['kill', 'timeout'])
def test_a_caller_that_gives_up(hostile_server, witness, transport, how):
    """His own exception comes through, and nothing stays."""
    server = hostile_server(hang_after_request)
    one = witness(request_timeout=20)
    if how == 'timeout':
        own = gevent.Timeout(0.1)
        with pytest.raises(gevent.Timeout) as caught, own:
            one.connect(server, transport)
        assert caught.value is own
    else:
        connecting = gevent.spawn(one.connect, server, transport)
        assert eventually(lambda: server.open)
        connecting.kill()
    server.wait_open(0)
    assert (one.client.state, one.connects, one.ends) == ('disconnected', 0, [])


def test_the_websocket_timeout_of_the_caller_goes_first(hostile_server, witness):
    """`timeout` in `websocket_extra_options` keeps its meaning."""
    server = hostile_server(hang_after_request)
    one = witness(request_timeout=20, websocket_extra_options={'timeout': 0.2})
    began = time.monotonic()
    one.fails_to_connect(server, 'websocket')
    assert time.monotonic() - began < patience(5)
    server.wait_open(0)


FLOODS = {
    'interim': (b'', b'HTTP/1.1 100 Continue\r\n\r\n'),
    'header': (b'HTTP/1.1 200 OK\r\n', b'X: x\r\n'),
    'body': (b'HTTP/1.1 200 OK\r\n\r\n', b'0' * 1000),
    'chunks': (b'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n', b'1\r\n0\r\n'),
    'nothing-like-it': (b'', b'\x00'),
}


@pytest.mark.parametrize('transport', ['polling', 'websocket'])
@pytest.mark.parametrize(('begin', 'repeat'), FLOODS.values(), ids=FLOODS)
def test_a_server_that_never_stops_sending(witness, transport, begin, repeat):
    """There is always something to read, and still there is an end.

    The server is a native thread: a client that never lets go could not starve it.
    """
    listener = socket.create_server(('127.0.0.1', 0))
    ended = []
    bound = patience(15)

    def flood():
        sock, _ = listener.accept()
        sock.settimeout(bound)
        deadline = time.monotonic() + bound
        try:
            sock.recv(65536)
            sock.sendall(begin)
            while time.monotonic() < deadline:
                sock.sendall(repeat * 1000)
        except OSError as exc:
            ended.append(type(exc))
        finally:
            sock.close()

    class Flooding:
        url = 'http://{}:{}'.format(*listener.getsockname())

    thread = threading.Thread(target=flood, daemon=True)
    thread.start()
    with listener:
        witness(request_timeout=1, max_message_size=1 << 17).fails_to_connect(Flooding, transport)
        thread.join(2 * bound)
    assert ended  # by the client, before the server's own deadline
    assert issubclass(ended[0], ConnectionError)


@pytest.mark.parametrize('transport', ['polling', 'websocket'])
def test_the_disconnect_of_a_dead_peer_is_bounded(hostile_server, witness, monkeypatch, transport):
    assert session.CLOSE_TIMEOUT < 5
    monkeypatch.setattr(session, 'CLOSE_TIMEOUT', 0.3)

    def handle(sock):
        request = read_request(sock)
        if transport == 'websocket':
            accept_websocket(sock, request)
            send_frame(sock, open_packet())
        elif request.method == 'GET' and 'sid=' not in request.target:
            respond(sock, open_packet())
        dying.wait()

    dying = Event()
    one = witness().connect(hostile_server(handle), transport)
    for _ in range(50):
        one.client.send(b'x' * 10000)  # more than anybody takes
    with gevent.Timeout(patience(2)):
        one.client.disconnect()
    dying.set()
    assert one.ends == [('client disconnect', 'disconnecting')]


# -- A POST ----------------------------------------------------------------------------------------


def answers_handshake(sock, request):
    """Answer what is no POST; whether it was one."""
    if request.method == 'POST':
        return True
    if 'sid=' in request.target:
        read_to_end(sock)  # the GET
        raise ConnectionResetError
    respond(sock, open_packet(maxPayload=None))
    return False


def test_redirects_of_a_post_share_its_time_limit(hostile_server, witness):
    """Each of them comes within it, and the server would send five."""
    posts = []

    def serve(sock):
        while True:
            request = read_request(sock)
            if answers_handshake(sock, request):
                posts.append(request.target)
                gevent.sleep(0.6 * limit)
                respond(sock, '', '307 Temporary Redirect', [('Location', '/again')])

    limit = patience(0.3)
    one = witness(request_timeout=limit).connect(hostile_server(serve))
    one.client.send('hello')
    assert f'no answer within {limit:g} seconds' in str(one.loses())
    assert len(posts) <= 2
    assert one.client.unsent == 1


class SlowReader:
    """Takes a body in pieces, each of them within the time limit, all of them not."""

    def __init__(self, pause):
        self.size = 0
        self._pause = pause

    def __call__(self, sock):
        # What waits in the buffers counts as taken, so these are small.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, PIECE // 4)
        while True:
            head = b''
            while not head.endswith(b'\r\n\r\n'):
                head += read_exactly(sock, 1)
            if head.startswith(b'POST'):
                missing = int(head.lower().partition(b'content-length: ')[2].split()[0])
                while missing:
                    gevent.sleep(self._pause)
                    piece = read_exactly(sock, min(missing, PIECE))
                    self.size += len(piece)
                    missing -= len(piece)
                respond(sock, 'ok')
            elif b'sid=' in head:
                read_to_end(sock)
                return
            else:
                respond(sock, open_packet(maxPayload=None))


PIECE = 1 << 18


def test_a_large_body_may_take_longer_than_the_time_limit(hostile_server, witness):
    """As long as the server takes some of it."""
    limit = patience(0.5)
    script = SlowReader(limit / 8)
    one = witness(
        request_timeout=limit,
        write_limit=None,
        sockopt=[(socket.SOL_SOCKET, socket.SO_SNDBUF, PIECE // 4)],
    ).connect(hostile_server(script))
    message = 'x' * (12 * PIECE)
    one.client.send(message)
    assert eventually(lambda: not one.client.unsent or one.ends, 60)
    assert script.size == 1 + len(message)
    assert one.client.state == 'connected'
