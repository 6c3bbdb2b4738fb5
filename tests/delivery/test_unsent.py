"""What was not delivered is known, and nothing is half delivered."""

import socket as stdlib_socket
import threading
import time

import gevent
import pytest
from gevent.event import AsyncResult, Event

import support
from support import BINARY, CLOSE, TEXT

SMALL = 1 << 16
"""Buffers of a connection that soon takes no more."""


@pytest.fixture(params=['ws', 'wss'])
def secure(request):
    return request.param == 'wss'


class Reader:
    """A websocket server that reads when it is told to."""

    def __init__(self, hostile_server, tls=None):
        self.go_on = Event()
        #: the bytes that came after the handshake, once the client has left
        self.data = AsyncResult()
        self.sock = None
        self.secure = tls is not None
        self.server = hostile_server(self._serve, **({'ssl_context': tls} if tls else {}))
        listener = self.server._server.socket
        listener.setsockopt(stdlib_socket.SOL_SOCKET, stdlib_socket.SO_RCVBUF, SMALL)

    def _serve(self, sock):
        support.accept_websocket(sock)
        support.send_frame(sock, support.open_packet())
        self.sock = sock
        self.go_on.wait()
        self.data.set(support.read_to_end(sock))

    def connect(self, make_client, **options):
        sockopt = [(stdlib_socket.SOL_SOCKET, stdlib_socket.SO_SNDBUF, SMALL)]
        client = make_client(websocket_extra_options={'sockopt': sockopt}, **options)
        client.connect(self.server.url, transports='websocket')
        return client

    def frames(self):
        """The whole frames that came, and how many bytes of one more."""
        data = self.data.get(timeout=20)
        frames, at = [], 0
        while True:
            source = Bytes(data, at)
            try:
                frames.append(support.read_frame(source))
            except ConnectionResetError:
                return frames, len(data) - at
            at = source.at


class Bytes:
    """What `support.read_frame` reads from."""

    def __init__(self, data, at):
        self.data, self.at = data, at

    def recv(self, size):
        piece = self.data[self.at : self.at + size]
        self.at += len(piece)
        return piece


@pytest.fixture
def reader(hostile_server, trusted, secure):
    return Reader(hostile_server, trusted.server_context() if secure else None)


def message(number, size=100):
    return f'{number:08} {"x" * size}'


PAYLOADS = {
    'small': lambda number: message(number),
    'text': lambda number: message(number, 2000 if number % 50 else 20_000),
    'binary': lambda number: message(number, 3000).encode(),
    'large': lambda number: message(number, 100_000 if number % 2 else 150),
}


def expected(payload):
    return (TEXT, b'4' + payload.encode()) if isinstance(payload, str) else (BINARY, payload)


def accounted(reader, frames, client, sent):
    """Each message has arrived or is known not to have."""
    twice = len(frames) + client.unsent - sent
    if reader.secure:
        # What TLS did not take whole it may have sent in part: at most one write of 64 KiB.
        assert twice >= 0
        assert sum(len(payload) for _, payload in frames[len(frames) - twice :]) <= 65536
    else:
        assert twice == 0


@pytest.mark.parametrize('kind', list(PAYLOADS))
@pytest.mark.parametrize('end', ['abort', 'lost'])
def test_what_has_arrived_and_what_has_not_make_all(reader, make_client, kind, end):
    make = PAYLOADS[kind]
    client = reader.connect(make_client, write_limit=None)
    sent = 0
    while client.unsent < 100:
        client.send(make(sent))
        sent += 1
        gevent.sleep(0)
    for _ in range(10):
        client.send(make(sent))  # gathered, not tried
        sent += 1
    before = client.unsent
    assert before >= 110
    if end == 'abort':
        client.disconnect(abort=True)
    else:
        client._session.on_lost(client._session.transport, ConnectionError('cut off'))
    assert client.unsent <= before  # what the system takes at the last moment has left
    reader.go_on.set()
    frames, _ = reader.frames()
    if frames[-1][0] == CLOSE:  # there was room for all of it at the last moment
        assert frames[-2] == (TEXT, b'1')
        assert client.unsent == 0
        del frames[-2:]
    assert frames == [expected(make(number)) for number in range(len(frames))]
    accounted(reader, frames, client, sent)


def test_it_goes_to_zero(reader, make_client):
    client = reader.connect(make_client)
    assert client.unsent == 0
    for number in range(5000):
        client.send(message(number))
    assert client.unsent > 1000
    reader.go_on.set()
    assert support.eventually(lambda: client.unsent == 0)
    client.disconnect()
    frames, rest = reader.frames()
    assert frames[5000] == (TEXT, b'1')
    assert frames[5001][0] == CLOSE
    assert (len(frames), rest, client.unsent) == (5002, 0, 0)


def test_a_farewell_that_fails(reader, make_client):
    client = reader.connect(make_client)
    for number in range(5000):
        client.send(message(number))
    before = time.monotonic()
    client.disconnect()
    assert time.monotonic() - before < support.patience(5)
    assert client.unsent > 1000
    assert 'could not be sent' in str(client.disconnect_error)
    reader.go_on.set()
    frames, _ = reader.frames()
    # neither the CLOSE packet nor the close frame has overtaken a message
    assert frames == [expected(message(number)) for number in range(len(frames))]
    accounted(reader, frames, client, 5000)


def test_a_reset_by_the_server(reader, make_client):
    client = reader.connect(make_client, write_limit=None)
    seen = []
    client.on('disconnect', lambda reason: seen.append((reason, client.unsent)))
    for number in range(10_000):
        client.send(message(number))
    before = client.unsent
    support.reset(reader.sock)
    client.wait_end()
    assert seen == [('transport error', before)]
    assert client.unsent == before
    client.send('this one is dropped, as ever while not connected')
    assert client.unsent == before
    reader.go_on.set()


def test_control_packets_do_not_count(hostile_server, make_client):
    def serve(sock):
        support.accept_websocket(sock)
        support.send_frame(sock, support.open_packet())
        blocked.wait()
        for number in range(100):
            support.send_frame(sock, f'2{number}')
            support.send_frame(sock, b'are you there', support.PING)
        support.send_frame(sock, '4done')
        done.wait()

    blocked, done = Event(), Event()
    server = hostile_server(serve)
    client = make_client(write_limit=None)
    client.connect(server.url, transports='websocket')
    while client.unsent < 3:
        client.send('x' * 200_000)
        gevent.sleep(0)
    before = client.unsent
    blocked.set()
    assert client.inbox.get(timeout=5) == 'done'
    assert client.unsent == before
    done.set()


def test_who_sends_for_as_long_as_it_is_connected_learns_of_the_end(reader, make_client):
    client = reader.connect(make_client)
    support.reset(reader.sock)
    count = 0
    # Nothing else runs, unless send() lets it.
    while client.state == 'connected' and count < 10_000:
        client.send('x')
        count += 1
    assert client.state == 'disconnected'
    assert client.reasons == ['transport error']
    assert client.unsent == count
    reader.go_on.set()


def test_other_threads_that_send_past_the_end(reader, make_client):
    client = reader.connect(make_client, write_limit=None)

    def send():
        for number in range(1000):
            client.send(message(number))

    thread = threading.Thread(target=send)
    thread.start()
    thread.join()  # while the hub stands still: nothing has left this thread's hands yet
    client.disconnect(abort=True)
    reader.go_on.set()
    frames, _ = reader.frames()
    accounted(reader, [frame for frame in frames if frame[1].startswith(b'4')], client, 1000)


# -- Polling ---------------------------------------------------------------------------------------


class PostReader:
    """A polling server that answers its POSTs when told to, each by one `answer`."""

    def __init__(self, hostile_server):
        #: the packets of the POSTs that were answered, and of the one that waits
        self.answered, self.waiting = [], []
        self.answers = gevent.queue.Queue()
        self.server = hostile_server(self._serve)

    def _serve(self, sock):
        while True:
            request = support.read_request(sock)
            if request.method == 'POST':
                self.waiting = request.body.split(b'\x1e')
                status = self.answers.get()
                if status is None:
                    return
                support.respond(sock, 'ok', status)
                if status == '200 OK':
                    self.answered += self.waiting
                self.waiting = []
            elif 'sid=' not in request.target:
                support.respond(sock, support.open_packet())
            else:
                support.read_to_end(sock)

    def connect(self, make_client, **options):
        client = make_client(**options)
        client.connect(self.server.url, transports='polling')
        return client


def messages(packets):
    return [packet for packet in packets if packet.startswith((b'4', b'b'))]


@pytest.mark.parametrize('end', ['disconnect', 'abort', 'refused', 'lost'])
def test_what_no_answered_post_has_carried(hostile_server, make_client, end):
    reader = PostReader(hostile_server)
    client = reader.connect(make_client)
    for number in range(100):
        client.send(message(number) if number % 3 else message(number).encode())
    assert client.unsent == 100
    for _ in range(3):
        reader.answers.put('200 OK')
    assert support.eventually(lambda: len(reader.answered) == 48 and len(reader.waiting) == 16)
    assert client.unsent == 52
    if end == 'refused':
        reader.answers.put('400 Bad Request')
        client.wait_end()
    elif end == 'lost':
        client._session.on_lost(client._session.transport, ConnectionError('cut off'))
    else:
        client.disconnect(abort=end == 'abort')
    client.wait_end()
    reader.answers.put(None)
    assert client.unsent == 52
    assert len(messages(reader.answered)) == 48


def test_it_goes_to_zero_over_polling(hostile_server, make_client):
    reader = PostReader(hostile_server)
    client = reader.connect(make_client)
    for number in range(100):
        client.send(message(number))
    for _ in range(10):
        reader.answers.put('200 OK')
    assert support.eventually(lambda: client.unsent == 0)
    assert len(messages(reader.answered)) == 100
    client.disconnect()
    assert client.unsent == 0
    assert messages(reader.answered) == [f'4{message(number)}'.encode() for number in range(100)]


def test_a_new_connection_begins_at_zero(hostile_server, make_client):
    reader = PostReader(hostile_server)
    client = reader.connect(make_client)
    client.send('never answered')
    client.disconnect(abort=True)
    assert client.unsent == 1
    for _ in range(3):  # the message, and a CLOSE packet of each connection
        reader.answers.put(None)
    client.connect(reader.server.url, transports='polling')
    assert client.unsent == 0
