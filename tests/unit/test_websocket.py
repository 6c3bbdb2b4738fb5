"""The websocket transport against a server that speaks bytes: what it says, and in what order."""

from __future__ import annotations

import itertools
from types import SimpleNamespace

import gevent
import pytest
from gevent import socket
from gevent.event import AsyncResult
from gevent.queue import Queue

from engineio_gevent.exceptions import ConnectionClosed, HTTPError, ProtocolError
from engineio_gevent.protocol.frames import LARGE, LargeFrame
from engineio_gevent.protocol.packet import MESSAGE, OPEN, PING, PONG
from engineio_gevent.transports import websocket
from engineio_gevent.transports.route import Route
from engineio_gevent.transports.websocket import WebSocket
from support import (
    BINARY,
    CLOSE,
    TEXT,
    accept_websocket,
    close_frame,
    eventually,
    frame,
    has_ipv6,
    no_leaks,
    read_frame,
    read_request,
    read_to_end,
    reset,
    respond,
    settle,
)


@pytest.fixture(autouse=True)
def no_netrc(monkeypatch, tmp_path):
    monkeypatch.setenv('NETRC', str(tmp_path / 'netrc'))


class Sink:
    def __init__(self):
        #: the packets of each call
        self.calls = []
        self.lost = []

    @property
    def packets(self):
        return [packet for call in self.calls for packet in call]

    def on_packets(self, transport, packets):
        self.calls.append(list(packets))

    def on_messages(self, transport, messages):
        self.on_packets(transport, [(MESSAGE, data) for data in messages])

    def on_lost(self, transport, error):
        self.lost.append(error)


class Limits:
    request_timeout = 5
    max_message_size = 100_000
    max_receive_delay = 0


class Server:
    """Accepts, and keeps the frames of the client."""

    def __init__(self, greeting=b'', headers=()):
        self.greeting = greeting
        self.headers = headers
        self.request = None
        self.connected = AsyncResult()
        self.heard = Queue()

    def __call__(self, sock):
        self.request = read_request(sock)
        answer = []

        class Collector:
            sendall = answer.append

        accept_websocket(Collector, self.request, self.headers)
        sock.sendall(answer[0] + self.greeting)
        self.connected.set(sock)
        try:
            while True:
                self.heard.put(read_frame(sock))
        finally:
            self.heard.put(None)

    def say(self, data):
        self.connected.get(timeout=5).sendall(data)

    def frames(self, count=None):
        """The next frames, or all to the end."""
        found = []
        while len(found) != count and (one := self.heard.get(timeout=5)) is not None:
            found.append(one)
        return found

    def has_ended(self):
        """Whether the client has closed TCP."""
        return not self.heard.empty() and self.heard.peek() is None


@pytest.fixture
def script():
    return Server()


@pytest.fixture
def patient(monkeypatch):
    """Time does not end the wait for the server's end of TCP."""
    monkeypatch.setattr('engineio_gevent.net.closing.PEER_TIMEOUT', 3600)


@pytest.fixture
def make_websocket():
    made = []

    def make(url, headers=None, **settings):
        made.append(WebSocket(Sink(), Route(url, headers, timestamp=False, **settings), Limits))
        return made[-1]

    yield make
    for one in made:
        one.close()


@pytest.fixture
def opened(hostile_server, make_websocket, script):
    """`opened()`: a connected transport; `script` has the server's end."""

    def begin(headers=None, sid=None, **settings):
        one = make_websocket(hostile_server(script).url, headers, **settings)
        one.open(sid)
        return one

    return begin


# -- The handshake ---------------------------------------------------------------------------------


def test_the_request(opened, script):
    one = opened({'X-Token': 'x', 'Cookie': 'a=1'}, sid='s d')
    request = script.request
    assert (request.method, request.target) == (
        'GET',
        '/engine.io/?transport=websocket&EIO=4&sid=s%20d',
    )
    headers = request.headers
    netloc = one._route.netloc
    assert len(headers.pop('sec-websocket-key')) == 24
    assert headers == {
        'host': netloc,
        'origin': f'http://{netloc}',
        'upgrade': 'websocket',
        'connection': 'Upgrade',
        'sec-websocket-version': '13',
        'x-token': 'x',
        'cookie': 'a=1',
    }


@pytest.mark.parametrize(
    ('options', 'header', 'value'),
    [
        ({'header': {'X': 'y'}}, 'x', 'y'),
        ({'header': ['X: y']}, 'x', 'y'),
        ({'cookie': 'b=2'}, 'cookie', 'b=2'),
        ({'origin': 'http://o.test'}, 'origin', 'http://o.test'),
        ({'host': 'h.test'}, 'host', 'h.test'),
        ({'suppress_origin': True}, 'origin', None),
        ({'header': {'Origin': 'http://o.test'}}, 'origin', 'http://o.test'),
    ],
)
def test_options_of_websocket_client(opened, script, options, header, value):
    opened(websocket_options=options)
    assert script.request.headers.get(header) == value


def test_subprotocols(hostile_server, make_websocket):
    script = Server(headers=[('Sec-WebSocket-Protocol', 'b')])
    make_websocket(
        hostile_server(script).url, websocket_options={'subprotocols': ['a', 'b']}
    ).open()
    assert script.request.headers['sec-websocket-protocol'] == 'a,b'


def test_a_subprotocol_that_the_server_does_not_speak(hostile_server, make_websocket, script):
    one = make_websocket(hostile_server(script).url, websocket_options={'subprotocols': ['a']})
    with no_leaks(), pytest.raises(ProtocolError):
        one.open()


@pytest.mark.parametrize(
    'header', [{'Sec-WebSocket-Protocol': 'a, b'}, ['sec-websocket-protocol: b']]
)
def test_subprotocols_by_a_header(hostile_server, make_websocket, header):
    script = Server(headers=[('Sec-WebSocket-Protocol', 'b')])
    make_websocket(hostile_server(script).url, websocket_options={'header': header}).open()
    assert script.request.headers['sec-websocket-protocol'].endswith('b')


def test_headers_that_are_not_the_caller_s(opened, script):
    one = opened({'Connection': 'keep-alive', 'Upgrade': 'h2c', 'Sec-WebSocket-Key': 'mine'})
    assert one._stream is not None
    assert script.request.headers['connection'] == 'Upgrade'
    assert script.request.headers['upgrade'] == 'websocket'


def test_a_socket_that_is_no_tcp(make_websocket, script):
    """The answer comes in two pieces."""
    ours, theirs = socket.socketpair()

    def serve():
        answer = []

        class Collector:
            sendall = answer.append

        accept_websocket(Collector, read_request(theirs))
        theirs.sendall(answer[0][:20])
        settle()  # that piece has been read
        theirs.sendall(answer[0][20:] + frame('4hello'))

    serving = gevent.spawn(serve)
    one = make_websocket('http://nowhere.test', websocket_options={'socket': ours})
    one.open()
    serving.get(timeout=5)
    assert eventually(lambda: one.sink.packets == [(MESSAGE, 'hello')])
    theirs.close()


def test_socket_options(opened):
    options = [(socket.IPPROTO_TCP, socket.TCP_NODELAY, 0)]
    one = opened(websocket_options={'sockopt': options})
    assert one._stream._sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) == 0


def test_a_connected_socket_of_the_caller_s(hostile_server, make_websocket, script):
    server = hostile_server(script)
    own = socket.socket()
    own.connect(('127.0.0.1', server.port))
    make_websocket('http://nowhere.test', websocket_options={'socket': own}).open()
    assert script.request.headers['host'] == 'nowhere.test'


def test_the_user_in_the_url(hostile_server, make_websocket, script):
    server = hostile_server(script)
    make_websocket(server.url.replace('://', '://me:word@')).open()
    assert script.request.headers['authorization'] == 'Basic bWU6d29yZA=='


@pytest.mark.skipif(not has_ipv6(), reason='no IPv6 here')
def test_ipv6(hostile_server, make_websocket, script):
    server = hostile_server(script, host='::1')
    make_websocket(server.url).open()
    assert script.request.headers['host'] == f'[::1]:{server.port}'


def test_tls(hostile_server, make_websocket, certificates, script):
    script.greeting = frame('0x') + frame('4' + 'y' * 90_000)
    server = hostile_server(script, ssl_context=certificates.server_context())
    one = make_websocket(server.url, websocket_options={'sslopt': {'ca_certs': certificates.ca}})
    one.open()
    assert eventually(lambda: len(one.sink.packets) == 2)
    one.send('4hello')
    assert script.frames(1) == [(TEXT, b'4hello')]
    assert script.request.headers['origin'].startswith('https://')


def test_cookies_of_the_answer(opened, script):
    script.headers = [('Set-Cookie', 'a=1; Path=/'), ('set-cookie', 'b=2; Path=/elsewhere')]
    one = opened()
    assert one._route.polling_cookies() == 'a=1'
    import websocket._handshake

    assert websocket._handshake.CookieJar.get('127.0.0.1') == ''  # which is the process's


def test_what_comes_with_the_answer_is_there_at_once(opened, script):
    script.greeting = frame('0{}') + frame('4one') + frame(b'two', BINARY)
    one = opened()
    assert eventually(lambda: len(one.sink.packets) == 3)
    assert one.sink.packets == [(OPEN, '{}'), (MESSAGE, 'one'), (MESSAGE, b'two')]


def test_an_answer_byte_by_byte(hostile_server, make_websocket):
    def handle(sock):
        request = read_request(sock)
        answer = []

        class Collector:
            sendall = answer.append

        accept_websocket(Collector, request, [('X-Long', 'x' * 300)])
        for byte in answer[0] + frame('4hello'):
            sock.sendall(bytes([byte]))
            gevent.sleep(0)
        read_to_end(sock)

    one = make_websocket(hostile_server(handle).url)
    one.open()
    assert eventually(lambda: one.sink.packets == [(MESSAGE, 'hello')])


def test_a_refusal(hostile_server, make_websocket):
    def handle(sock):
        read_request(sock)
        respond(sock, '{"message":"no"}', '400 Bad Request')
        read_to_end(sock)

    server = hostile_server(handle)
    with no_leaks(), pytest.raises(HTTPError) as caught:
        make_websocket(server.url).open()
    assert (caught.value.status, caught.value.body) == (400, {'message': 'no'})
    server.wait_open(0)


def test_closing_while_it_opens(hostile_server, make_websocket):
    reached, closed = AsyncResult(), AsyncResult()

    def handle(sock):
        request = read_request(sock)
        reached.set()
        closed.get()
        accept_websocket(sock, request)
        read_to_end(sock)

    server = hostile_server(handle)
    one = make_websocket(server.url)
    opening = gevent.spawn(pytest.raises, ConnectionClosed, one.open)
    reached.get(timeout=5)
    one.close()
    closed.set()
    opening.get(timeout=5)
    server.wait_open(0)


def test_a_socket_that_comes_after_the_end_is_closed(make_websocket, monkeypatch):
    ours, theirs = socket.socketpair()
    one = make_websocket('http://a.test')

    def open_websocket(*_):
        one.close()
        return SimpleNamespace(sock=ours, rest=b'', get_mask_key=None)

    monkeypatch.setattr(websocket, 'open_websocket', open_websocket)
    with theirs, pytest.raises(ConnectionClosed, match='closed by this client'):
        one.open()
    assert ours.fileno() == -1


def test_a_fault_that_comes_with_the_answer(opened, script):
    script.greeting = frame('4a') + frame('9')
    one = opened()
    assert one.sink.packets == [(MESSAGE, 'a')]
    assert [type(error) for error in one.sink.lost] == [ProtocolError]


# -- Frames in -------------------------------------------------------------------------------------


def test_a_ping_is_answered(opened, script):
    one = opened()
    script.say(frame(b'\xffword', 9))
    assert script.frames(1) == [(10, b'\xffword')]
    assert one.sink.calls == one.sink.lost == []


def test_what_comes_together_is_told_together(opened, script):
    one = opened()
    script.say(
        frame('4a')
        + frame('2x')
        + frame(b'b', BINARY)
        + frame('', 9)
        + frame('4c')
        + frame('3probe')
    )
    assert eventually(lambda: len(one.sink.packets) == 5)
    assert one.sink.calls == [
        [(MESSAGE, 'a')],  # before the first of another kind, messages go by themselves
        [(PING, 'x'), (MESSAGE, b'b')],
        [(MESSAGE, 'c'), (PONG, 'probe')],
    ]


def test_messages_alone_are_told_together(opened, script):
    one = opened()
    one.sink.on_packets = None
    batches = []
    one.sink.on_messages = lambda transport, messages: batches.append(messages)
    large = b'x' * 70_000
    begun, rest = frame(large, BINARY)[:100], frame(large, BINARY)[100:]
    script.say(frame('4a') + frame(b'b', BINARY) + frame('4') + begun)
    assert eventually(lambda: batches)
    one.sink.on_packets = lambda transport, packets: batches.append(packets)
    script.say(rest + frame('4c'))
    script.say(frame('4d'))
    assert eventually(lambda: 'd' in batches[-1] or batches[-1][-1] == (MESSAGE, 'd'))
    found = [one[1] if isinstance(one, tuple) else one for batch in batches for one in batch]
    assert found == ['a', b'b', '', large, 'c', 'd']


@pytest.mark.parametrize('fault', ['reserved', 'too large', 'UTF-8', 'type'])
def test_messages_before_a_fault_are_told(opened, script, fault):
    """Whatever stops the fast path is told by the decoder."""
    one = opened()
    script.say(
        frame('4a')
        + frame('4b')
        + {
            'reserved': frame('4c', rsv=1),
            'too large': frame('4' + 'c' * Limits.max_message_size),
            'UTF-8': frame(b'4\xff', TEXT),
            'type': frame('9c'),
        }[fault]
        + frame('4d')
    )
    assert eventually(lambda: one.sink.lost)
    assert one.sink.packets == [(MESSAGE, 'a'), (MESSAGE, 'b')]
    assert isinstance(one.sink.lost[0], ProtocolError)


def test_after_a_close_frame_no_message_is_told(opened, script):
    one = opened()
    script.say(frame('4a') + close_frame(1000) + frame('4b'))
    assert eventually(lambda: one.sink.lost)
    one._on_data(frame('4c'))
    assert one.sink.packets == [(MESSAGE, 'a')]


def test_a_sink_that_closes(opened, script):
    one = opened()
    seen = []

    def on_packets(transport, packets):
        seen.extend(packets)
        transport.close(1000)

    one.sink.on_packets = on_packets
    script.say(frame('4a') + frame('', 9) + frame('4b') + close_frame(1001))
    assert script.frames()[-1][0] == CLOSE
    assert one.sink.lost == []


def test_a_fault_is_told_once(opened, script):
    one = opened()
    script.say(frame('4a') + frame('9') + frame('4b') + frame('\xff', rsv=7))
    ((opcode, said),) = script.frames()  # to the end of the connection
    settle()
    assert one.sink.packets == [(MESSAGE, 'a')]
    assert len(one.sink.lost) == 1
    assert isinstance(one.sink.lost[0], ProtocolError)
    assert (opcode, said[:2]) == (CLOSE, b'\x03\xea')
    assert 0 < len(said) - 2 <= 123


# -- Frames out ------------------------------------------------------------------------------------


def test_text_and_binary(opened, script):
    one = opened()
    for packet in ('4\u20ac', b'\x00\xff', '4', b'', '4' + 'x' * 70_000):
        one.send(packet)
    assert script.frames(5) == [
        (TEXT, '4\u20ac'.encode()),
        (BINARY, b'\x00\xff'),
        (TEXT, b'4'),
        (BINARY, b''),
        (TEXT, b'4' + b'x' * 70_000),
    ]


def test_before_it_is_open_and_after_its_end(make_websocket, opened):
    one = make_websocket('http://a.test')
    assert one.send('4x') == -1
    assert one.unsent == 0
    one.send_first('3')
    one.wait_below(0)
    one.finish(1)
    one.close(1000)
    one.abandon()
    other = opened()
    other.close()
    assert other.send('4x') == -1
    other.wait_below(0)
    other.finish(1)
    other.close()


def test_room(hostile_server, make_websocket):
    going = AsyncResult()

    def handle(sock):
        accept_websocket(sock)
        going.get()
        read_to_end(sock)

    one = make_websocket(hostile_server(handle).url)
    one.open()
    while one.send(bytes(1 << 20)) < 3 << 20:
        pass
    waiting = gevent.spawn(one.wait_below, 1 << 20)
    settle()
    assert not waiting.ready()
    going.set()
    waiting.get(timeout=10)
    assert one._stream.queued <= 1 << 20


# -- Refusals after the response with status 101 ---------------------------------------------------

REFUSAL = b'HTTP/1.1 400 Bad\r\nContent-Length: 17\r\n\r\n{"message": "no"}'


@pytest.mark.parametrize('at', [1, 2, 3, 20, len(REFUSAL) - 1, len(REFUSAL)])
def test_a_late_refusal(opened, script, at):
    one = opened()
    script.say(REFUSAL[:at])
    settle()
    assert bool(one.sink.lost) == (at == len(REFUSAL))
    if at < len(REFUSAL):
        script.say(REFUSAL[at:])
    assert eventually(lambda: one.sink.lost)
    (error,) = one.sink.lost
    assert isinstance(error, HTTPError)
    assert error.body == {'message': 'no'}
    assert f'the websocket handshake with {one._route.netloc}, after status 101' in str(error)
    ((opcode, payload),) = script.frames()
    assert (opcode, payload[:2]) == (CLOSE, b'\x03\xea')


def test_a_late_refusal_that_is_cut(opened, script):
    one = opened()
    script.say(REFUSAL[:-1])
    settle()
    assert one.sink.lost == []
    script.connected.get().close()
    assert eventually(lambda: one.sink.lost)
    assert one.sink.lost[0].status == 400


@pytest.mark.parametrize('said', [b'HTM', b'H\0', b'TH'])
def test_what_is_no_late_refusal(opened, script, said):
    one = opened()
    for byte in said:
        script.say(bytes([byte]))
        settle()
    (error,) = one.sink.lost
    assert isinstance(error, ProtocolError)
    assert 'first byte' in str(error) or 'opcode' in str(error)


@pytest.mark.parametrize('accept', ['OPEN packet', 'probe'])
def test_a_server_that_has_accepted_cannot_refuse(opened, script, accept):
    one = opened()
    sink = Sink()
    if accept == 'probe':
        one.report_to(sink)
    else:
        one.apply_open_packet(None)
        sink = one.sink
    script.say(REFUSAL)
    assert eventually(lambda: sink.lost)
    assert isinstance(sink.lost[0], ProtocolError)


# -- Masking keys of the caller's ------------------------------------------------------------------


def test_masking_keys(opened, script):
    asked = []

    def key(size):
        asked.append(size)
        return 'abcd'

    one = opened(websocket_options={'get_mask_key': key})
    assert one.send('4x') == 0
    one.send('4' + 'x' * 100_000)
    one.send_first('3')
    assert one.unsent == 0
    one.close(1000)
    assert script.frames() == [
        (TEXT, b'4x'),
        (TEXT, b'4' + b'x' * 100_000),
        (TEXT, b'3'),
        (CLOSE, b'\x03\xe8'),
    ]
    assert asked == [4] * 4


# -- The end ---------------------------------------------------------------------------------------


def test_a_farewell(opened, script):
    one = opened()
    one.send('4last')
    finishing = gevent.spawn(one.finish, 5)
    assert script.frames(3) == [(TEXT, b'4last'), (TEXT, b'1'), (CLOSE, b'\x03\xe8')]
    assert not finishing.ready()
    script.say(close_frame(1000))
    finishing.get(timeout=5)
    assert script.frames() == []
    assert one.sink.lost == []


def test_a_server_that_does_not_close_tcp_gets_a_reset(opened, script):
    """It has answered all; a reset leaves no TIME_WAIT on either side."""
    one = opened()
    with no_leaks(timeout=0):
        finishing = gevent.spawn(one.finish, 5)
        assert script.frames(2) == [(TEXT, b'1'), (CLOSE, b'\x03\xe8')]
        script.say(close_frame(1000))
        finishing.get(timeout=5)
        del finishing
    with pytest.raises(ConnectionResetError):
        script.connected.get().recv(1)
    # Most servers take less than a thousandth of a second; the others must not cost much.
    assert 0.001 < websocket.FIN_TIMEOUT < 0.1


def test_the_end_of_tcp_is_part_of_a_farewell(opened, script, monkeypatch):
    """A server that closes at once leaves nothing to wait for when `finish()` returns."""
    monkeypatch.setattr('engineio_gevent.transports.websocket.FIN_TIMEOUT', 60)
    one = opened()
    with no_leaks(timeout=0):
        stream = one._stream
        finishing = gevent.spawn(one.finish, 120)
        script.frames(2)
        script.say(close_frame(1000))
        settle()
        assert not finishing.ready()
        timer = one._fin_timer
        assert timer.active
        assert not script.has_ended()  # RFC 6455, section 7.1.1: the server closes first
        script.connected.get().shutdown(socket.SHUT_WR)
        finishing.get(timeout=5)
        assert stream.closed
        assert not timer.active
        assert script.frames() == []
        del finishing


def test_the_server_begins_and_closes_tcp_first(opened, script, patient):
    one = opened()
    script.say(close_frame(1001))
    assert script.frames(1) == [(CLOSE, b'\x03\xe9')]
    assert len(one.sink.lost) == 1
    settle()
    assert not script.has_ended()
    script.connected.get().shutdown(socket.SHUT_WR)
    assert script.frames() == []


@pytest.mark.parametrize('first', ['client', 'server'])
def test_a_server_that_does_not_close_tcp(opened, script, first, monkeypatch):
    """It costs a descriptor for a moment."""
    monkeypatch.setattr('engineio_gevent.net.closing.PEER_TIMEOUT', 0.01)
    one = opened()
    with no_leaks():
        finishing = gevent.spawn(one.finish, 5) if first == 'client' else None
        if finishing:
            script.frames(2)
        script.say(close_frame(1000))
        script.frames()
        if finishing:
            finishing.get(timeout=5)
        script.connected.get().close()


def test_a_server_that_floods_after_its_close_frame(opened, script, patient):
    one = opened()
    finishing = gevent.spawn(one.finish, 5)
    script.frames(2)
    flooding = gevent.spawn(pytest.raises, OSError, script.say, close_frame(1000) + bytes(64 << 20))
    flooding.get(timeout=10)
    finishing.get(timeout=5)
    assert one.sink.packets == one.sink.lost == []


def test_a_farewell_that_nobody_answers_is_bounded(opened, script):
    one = opened()
    with gevent.Timeout(5):
        one.finish(0.05)
    assert script.frames() == [(TEXT, b'1'), (CLOSE, b'\x03\xe8')]
    assert one.sink.lost == []


def test_a_farewell_that_cannot_go_out(hostile_server, make_websocket):
    def handle(sock):
        accept_websocket(sock)
        ended.get()

    ended = AsyncResult()
    one = make_websocket(hostile_server(handle).url)
    one.open()
    while one.send(bytes(1 << 20)) < 1 << 20:
        pass
    with gevent.Timeout(5):
        one.finish(0.05)
    (error,) = one.sink.lost  # what was sent has not all arrived
    assert isinstance(error, ConnectionClosed)
    assert 'bytes could not be sent' in str(error)
    ended.set()


@pytest.mark.parametrize('code', [None, 1000, 4000])
def test_closing_at_once(opened, script, code):
    one = opened()
    one.send('4a')
    one.send('4b')
    one.close(code, 'words')
    one.close(1001)
    frames = script.frames()
    if code is not None:
        assert frames == [(TEXT, b'4a'), (TEXT, b'4b'), (CLOSE, code.to_bytes(2, 'big') + b'words')]
    settle()
    assert one.sink.lost == []


def test_abandoning_sends_nothing(opened, script):
    one = opened()
    one.abandon()
    assert script.frames() == []  # but the end: nobody else holds the descriptor here
    assert one.sink.lost == []


def test_it_costs_no_greenlet_and_one_descriptor(hostile_server, make_websocket, script):
    from support import descriptors, greenlets

    server = hostile_server(script)
    gevent.sleep(0)
    before = len(descriptors()), len(greenlets())
    make_websocket(server.url).open()
    assert script.connected.get(timeout=5)
    settle()
    # the server, which is in this process too, has a greenlet and a descriptor
    assert len(descriptors()) - before[0] == 2
    assert len(greenlets()) - before[1] == 1


# -- How the server ends it ------------------------------------------------------------------------


@pytest.mark.parametrize('reason', ['', 'away'])
def test_the_code_and_the_reason_of_the_server(opened, script, reason):
    one = opened()
    script.say(close_frame(1001, reason))
    assert script.frames(1) == [(CLOSE, b'\x03\xe9')]  # RFC 6455, section 5.5.1: the code alone
    (error,) = one.sink.lost
    assert isinstance(error, ConnectionClosed)
    assert str(error) == (
        f'{one._route.netloc}: the server closed the websocket with code 1001'
        + (': away' if reason else '')
    )
    assert (error.code, error.reason) == (1001, reason)


def test_the_end_of_tcp_alone(opened, script):
    one = opened()
    script.connected.get(timeout=5).shutdown(socket.SHUT_WR)
    assert script.frames() == []
    (error,) = one.sink.lost
    assert isinstance(error, ConnectionClosed)
    assert str(error) == f'{one._route.netloc}: the server closed the connection'
    assert error.__cause__ is None


def test_a_connection_that_is_lost(hostile_server, make_websocket):
    def handle(sock):
        accept_websocket(sock)
        connected.get()
        reset(sock)

    connected = AsyncResult()
    one = make_websocket(hostile_server(handle).url)
    one.open()
    connected.set()
    assert eventually(lambda: one.sink.lost)
    (error,) = one.sink.lost
    assert isinstance(error, ConnectionClosed)
    assert str(error).startswith(f'{one._route.netloc}: connection lost: ')
    assert isinstance(error.__cause__, ConnectionResetError)


def test_a_fault_of_the_sink_is_told_as_it_is(opened, script):
    fault = ValueError('mine')

    def on_packets(transport, packets):
        raise fault

    one = opened()
    one.sink.on_packets = on_packets
    script.say(frame('4a'))
    script.frames()
    assert one.sink.lost == [fault]


@pytest.mark.parametrize('how', ['shutdown', 'close'])
def test_what_ends_the_wait_of_a_farewell(opened, script, how):
    """The end of TCP, or `close()` in another greenlet; neither is told."""
    one = opened()
    finishing = gevent.spawn(one.finish, 120)
    script.frames(2)
    if how == 'close':
        one.close(1001)
    else:
        script.connected.get().shutdown(socket.SHUT_WR)
    finishing.get(timeout=5)
    assert script.frames() == []
    assert one.sink.lost == []


def test_an_abort(opened, script):
    one = opened()
    one.abort(120)
    assert script.frames() == [(TEXT, b'1'), (CLOSE, b'\x03\xe8')]
    assert one.sink.lost == []


# -- What is written to a stream, and when it is given up ------------------------------------------


class SlowStream:
    """The stream of a server that accepts little; only `drain()` takes time, in its own clock.

    :param queued: the bytes that are queued after each wait, one after the other; the last of
                   them stays. After None, the connection is lost.
    """

    closed = False

    def __init__(self, *queued):
        self.queued = 100
        self.now = 1000.0
        self.waits = []
        self.done = []
        self.entries = []
        self.on_wait = lambda: None
        self._next = itertools.chain(queued, itertools.repeat(queued[-1] if queued else 100))

    def write(self, frame):
        self.entries.append(frame)
        return self.queued

    write_large = write

    def drain(self, seconds):
        assert len(self.waits) < 1000
        self.waits.append(seconds)
        self.now += seconds
        self.queued = next(self._next)
        self.on_wait()
        return not self.queued

    def unsent(self):
        return self.entries

    def abandon(self, wake):
        self.done.append(('abandon', wake))

    def __getattr__(self, name):
        """flush(), reset() and the like."""
        return lambda: self.done.append(name)


@pytest.fixture
def slow(make_websocket, monkeypatch):
    """`slow(*queued)`: a transport and its `SlowStream`, by whose clock it goes.

    `stream.last_wait` is how long it is ready to wait for the server's close frame.
    """

    def make(*queued):
        one, stream = make_websocket('http://a.test'), SlowStream(*queued)
        one._stream = stream
        stream.last_wait = None

        def timer_seconds(seconds):
            stream.last_wait = seconds
            return 0

        monkeypatch.setattr(websocket, 'monotonic', lambda: stream.now)
        monkeypatch.setattr(websocket, 'timer_seconds', timer_seconds)
        return one, stream

    return make


def test_a_server_that_accepts_nothing_is_given_up(slow):
    one, stream = slow()
    one.finish(1, 10)
    assert stream.waits == [0.25] * 4
    assert [str(error) for error in one.sink.lost] == [
        '100 bytes could not be sent before the connection ended'
    ]
    assert stream.last_wait is None
    assert stream.done == ['flush', 'close']


def test_a_server_that_stops_is_given_up(slow):
    one, stream = slow(100, 100, 90, 90, 90, 80)
    one.finish(1, 10)
    assert len(stream.waits) == 6 + 4
    assert len(one.sink.lost) == 1


def test_a_server_that_goes_on_is_not_given_up(slow):
    one, stream = slow(*[100, 100, 90] * 2, *[80, 80, 80, 0])
    one.finish(1, 10)
    assert len(stream.waits) == 10
    assert one.sink.lost == []
    assert stream.last_wait == 1
    assert stream.done == ['flush', 'close']  # the server has not answered


def test_all_together_has_a_limit(slow):
    one, stream = slow(*range(90, 0, -1))
    one.finish(1, 2)
    assert len(stream.waits) == 8
    assert [str(error) for error in one.sink.lost] == [
        '83 bytes could not be sent before the connection ended'
    ]


def test_without_a_limit_it_is_that_of_each_step(slow):
    one, stream = slow(*range(90, 0, -1))
    one.finish(0.5)
    assert len(stream.waits) == 2


def test_the_answer_has_to_come_within_the_limit(slow):
    one, stream = slow(90, 80, 70, 60, 50, 0)
    one.finish(1, 2)
    assert stream.last_wait == 0.5
    assert one.sink.lost == []


def test_a_short_time(slow):
    one, stream = slow()
    one.finish(0.125)
    assert stream.waits == [0.125]


def test_a_connection_that_is_lost_in_a_farewell(slow):
    one, stream = slow()
    error = OSError('gone')

    def lose():
        stream.closed = True
        one._on_stream_lost(error)

    stream.on_wait = lose
    one.finish(1, 10)
    assert len(stream.waits) == 1
    (lost,) = one.sink.lost
    assert lost.__cause__ is error
    assert stream.last_wait is None


def test_a_refusal_that_is_cut_in_a_farewell(slow):
    """The refusal is told, not the end of TCP, which came with it."""
    one, stream = slow()

    def refuse():
        one._on_data(REFUSAL[:-1])
        stream.closed = True
        one._on_stream_lost(None)

    stream.on_wait = refuse
    one.finish(1, 10)
    assert [lost.status for lost in one.sink.lost] == [400]


def test_a_close_frame_that_comes_before_ours_has_left(slow):
    """It does not answer ours, and what is queued is lost."""
    one, stream = slow()
    stream.on_wait = lambda: one._on_data(close_frame(4000) if len(stream.waits) == 1 else b'')
    one.finish(1, 10)
    assert [lost.code for lost in one.sink.lost] == [4000]
    assert len(stream.entries) == 1
    assert stream.done == ['flush', 'close']


def test_a_server_that_answers_has_read_all(slow):
    """The stream knows that the end may come now, and may be reset."""
    one, stream = slow(0)
    stream.on_wait = lambda: one._on_data(close_frame(1000))
    one.finish(1, 10)
    assert stream.done == ['expect_end', 'flush', 'reset', 'close']
    assert one.sink.lost == []


@pytest.mark.parametrize('queued', [0, 100])
def test_the_server_closes_tcp_first_if_it_gets_our_close_frame(slow, queued):
    one, stream = slow()
    stream.queued = queued
    one._on_data(close_frame(1000))
    assert len(one.sink.lost) == 1
    assert stream.done == ['flush', *([] if queued else ['close_gently']), 'close']


def test_without_close_frames_tcp_is_closed_at_once(slow):
    one, stream = slow()
    stream.queued = 0
    one.close()
    assert stream.done == ['flush', 'close']
    # What has come by then finds no stream.
    one._on_data(frame('', 9) + close_frame(1000))
    one._on_stream_lost(None)
    assert one.sink.lost == []


@pytest.mark.parametrize('arguments', [(), (False,)])
def test_abandoning(slow, arguments):
    one, stream = slow()
    one.abandon(*arguments)
    assert stream.done == [('abandon', not arguments)]
    one._on_stream_lost(None)
    assert one.sink.lost == []


@pytest.mark.parametrize('packet', ['4' + 'x' * LARGE, bytes(LARGE + 1)])
def test_large_packets_are_sent_in_pieces(slow, packet):
    one, stream = slow()
    for size, large in ((LARGE - 1, False), (LARGE, True), (LARGE + 1, True)):
        assert one.send(packet[:size]) == 100
        assert isinstance(stream.entries[-1], LargeFrame) is large
    assert one.unsent == 3


def test_only_messages_count(slow):
    one, stream = slow()
    for control in ('2', '3', '5', '2probe', '1'):
        assert one.send(control) == 100
        assert one.unsent == 0
    messages = '4', '4x', '4hello', '4longer', b'', b'2', b'binary'
    for count, message in enumerate(messages, 1):
        assert one.send(message) == 100
        assert one.unsent == count
    one.finish(1)  # with frames of its own
    assert len(stream.entries) == 5 + len(messages) + 1
    assert one.unsent == len(messages)
