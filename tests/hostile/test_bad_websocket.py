"""Websockets with servers that go wrong after the handshake: one disconnect, with its cause."""

import contextlib
import time

import gevent
import pytest
from gevent.event import AsyncResult, Event
from gevent.queue import Queue

from engineio_gevent.exceptions import ConnectionClosed, HeartbeatTimeout, ProtocolError
from support import (
    BINARY,
    CLOSE,
    PING,
    PONG,
    TEXT,
    accept_websocket,
    close_frame,
    eventually,
    frame,
    open_packet,
    patience,
    read_frame,
    reset,
    send_frame,
    settle,
)

LIMIT = 20000


class WebSocketServer:
    """A websocket server of one session; the test sends by it what it likes.

    :param changes: of the OPEN packet.
    """

    def __init__(self, **changes):
        self.open_packet = open_packet(**changes)
        #: the frames of the client, each (opcode, payload); None at its end
        self.heard = Queue()
        self.connected = AsyncResult()
        self.finish = Event()

    def __call__(self, sock):
        accept_websocket(sock)
        send_frame(sock, self.open_packet)
        self.connected.set(sock)
        try:
            while True:
                self.heard.put(read_frame(sock))
        except OSError:
            self.heard.put(None)
            raise

    def say(self, data):
        self.connected.get(timeout=5).sendall(data)

    def frames(self):
        """All frames of the client up to its end."""
        heard = []
        while (one := self.heard.get(timeout=5)) is not None:
            heard.append(one)
        return heard

    def close_code(self):
        """The code of the close frame, which has to be the client's last."""
        opcode, payload = self.frames()[-1]
        assert opcode == CLOSE
        return int.from_bytes(payload[:2], 'big')


@pytest.fixture
def script():
    return WebSocketServer()


@pytest.fixture
def server(hostile_server, script):
    return hostile_server(script)


@pytest.fixture
def one(witness, server):
    return witness(max_message_size=LIMIT).connect(server, 'websocket')


FAULTS = [
    ('empty', frame(''), 1002),
    ('unknown-type', frame('9'), 1002),
    ('html', frame('<html>'), 1002),
    ('masked', frame('4x', mask=b'abcd'), 1002),
    ('masked-close', frame(b'\x03\xe8', CLOSE, mask=b'abcd'), 1002),
    ('reserved-bit-1', frame('4x', rsv=4), 1002),
    ('reserved-bit-2', frame('4x', rsv=2), 1002),
    ('unknown-opcode', frame('4x', 7), 1002),
    ('unknown-control', frame('', 15), 1002),
    ('continuation-first', frame('4x', 0), 1002),
    ('message-inside', frame('4x', fin=False) + frame('4y'), 1002),
    ('fragmented-ping', frame('', PING, fin=False), 1002),
    ('long-ping', frame('x' * 126, PING), 1002),
    ('utf-8', frame(b'4\xff'), 1007),
    ('utf-8-cut', frame(b'4\xe2\x82'), 1007),
    ('utf-8-surrogate', frame(b'4\xed\xa0\x80'), 1007),
    ('utf-8-in-fragments', frame(b'4\xe2', fin=False) + frame(b'x', 0), 1007),
    ('over-the-limit', frame('4' + 'x' * LIMIT), 1009),
    ('over-the-limit-binary', frame(bytes(LIMIT + 1), BINARY), 1009),
    ('over-the-limit-announced', frame('4x', length=1 << 62), 1009),
    (
        'over-the-limit-fragments',
        frame('4', fin=False) + frame('x' * 15000, 0, fin=False) + frame('x' * 15000, 0),
        1009,
    ),
    ('over-the-limit-by-far', frame('4' + 'x' * 3_000_000), 1009),
    ('garbage', b'\xca\xfe\xba\xbe' * 50000, 1002),
    ('http', b'HTTP/1.1 400 Bad Request\r\n\r\n', 1002),
    ('zeros', bytes(100), 1002),
    ('length-not-minimal', b'\x81\x7f' + (5).to_bytes(8, 'big') + b'4' * 5, 1002),
    ('close-half-a-code', frame(b'\x03', CLOSE), 1002),
    ('close-1006', close_frame(1006), 1002),
    ('close-999', close_frame(999), 1002),
    ('close-reason-utf-8', frame(b'\x03\xe8\xff\xff', CLOSE), 1007),
]
every_fault = pytest.mark.parametrize(
    ('said', 'code'), [case[1:] for case in FAULTS], ids=[case[0] for case in FAULTS]
)


@every_fault
def test_a_fault_in_one_piece_with_messages(one, script, server, said, code):
    script.say(frame('4one') + frame(b'two', BINARY) + said + frame('4later'))
    error = one.loses()
    assert isinstance(error, ProtocolError)
    assert error.code == code
    assert 0 < len(str(error)) < 300
    assert one.messages == ['one', b'two']
    assert script.close_code() == code
    server.wait_open(0)


@every_fault
def test_a_fault_byte_by_byte(one, script, server, said, code):
    script.say(frame('4one'))
    assert eventually(lambda: one.messages == ['one'])
    with contextlib.suppress(OSError):  # some are refused before their end
        for byte in said[:200]:
            script.say(bytes([byte]))
            gevent.sleep(0)
        script.say(said[200:])
    assert one.loses().code == code
    assert one.messages == ['one']
    assert script.close_code() == code
    server.wait_open(0)


@pytest.mark.parametrize(
    ('said', 'code'),
    [(frame('9'), 1002), (frame(b'4\xff'), 1007), (frame('4' * 30000), 1009)],
    ids=['packet', 'utf-8', 'over-the-limit'],
)
def test_a_fault_after_a_ping(one, script, said, code):
    """The pong goes first; it must not cost the close frame."""
    script.say(frame('2') + frame('hello', PING) + said)
    one.loses()
    frames = script.frames()
    assert frames[:2] == [(TEXT, b'3'), (PONG, b'hello')]
    assert [opcode for opcode, _ in frames[2:]] == [CLOSE]
    assert frames[2][1][:2] == code.to_bytes(2, 'big')


@pytest.mark.parametrize(
    ('code', 'reason'),
    [
        (None, ''),
        (1000, ''),
        (1001, 'going away'),
        (1009, 'too large'),
        (1011, '\u20ac' * 41),
        (3000, ''),
        (4999, 'mine'),
    ],
)
def test_a_close_frame_is_echoed(one, script, server, code, reason):
    script.say(frame('4one') + (frame('', CLOSE) if code is None else close_frame(code, reason)))
    error = one.loses()
    assert isinstance(error, ConnectionClosed)
    assert (error.code, error.reason) == (code or 1005, reason)
    assert one.messages == ['one']
    payload = b'' if code is None else code.to_bytes(2, 'big')
    assert [(opcode, data[:2]) for opcode, data in script.frames()] == [(CLOSE, payload)]
    server.wait_open(0)


def test_a_close_frame_after_a_ping_is_echoed(one, script):
    script.say(frame('2') + frame('', PING) + close_frame(1001))
    assert one.loses().code == 1001
    assert [opcode for opcode, _ in script.frames()] == [TEXT, PONG, CLOSE]


def test_what_follows_a_close_frame_is_ignored(one, script):
    script.say(frame('4one') + close_frame(1000) + frame('4two') + b'\xff' * 100)
    assert one.loses().code == 1000
    assert one.messages == ['one']
    assert script.close_code() == 1000


def test_a_close_packet_is_a_wish_and_no_fault(one, script, server):
    script.say(frame('4one') + frame('1') + frame('4two') + close_frame(1000))
    assert one.loses('server disconnect', 'disconnecting') is None
    assert one.messages == ['one']
    server.wait_open(0)


@pytest.mark.parametrize(
    'said',
    [
        b'',
        frame('4hello')[:1],
        frame('4hello')[:-1],
        frame('4' + 'x' * 10000)[:3],
        frame('4hello', fin=False),
    ],
    ids=['nothing', 'half-a-header', 'a-byte-short', 'half-a-length', 'first-fragment'],
)
@pytest.mark.parametrize('end', [gevent.socket.socket.close, reset], ids=['close', 'reset'])
def test_the_server_goes_within_a_message(hostile_server, witness, said, end):
    going = Event()

    def handle(sock):
        accept_websocket(sock)
        send_frame(sock, open_packet())
        going.wait()
        sock.sendall(frame('4whole'))
        assert eventually(lambda: one.messages)
        sock.sendall(said)
        end(sock)

    one = witness().connect(hostile_server(handle), 'websocket')
    going.set()
    error = one.loses()
    assert isinstance(error, ConnectionClosed)
    assert error.code == 1006
    assert one.messages == ['whole']
    if end is reset:
        assert isinstance(error.__cause__, ConnectionResetError)


def test_the_server_goes_while_the_client_sends(hostile_server, witness):
    """Whether reading or writing finds it out, there is one end."""
    going = Event()

    def handle(sock):
        accept_websocket(sock)
        send_frame(sock, open_packet())
        going.wait()
        reset(sock)

    one = witness().connect(hostile_server(handle), 'websocket')
    for _ in range(10):
        one.client.send(b'x' * 100_000)
    going.set()
    for _ in range(20):
        one.client.send(b'x' * 100_000)
    assert isinstance(one.loses(), ConnectionClosed)
    one.client.send('nobody hears')  # silently dropped


def test_a_sender_that_waits_for_room_is_let_go_when_the_server_goes(hostile_server, witness):
    going = Event()

    def handle(sock):
        accept_websocket(sock)
        send_frame(sock, open_packet())
        going.wait()
        reset(sock)

    one = witness(write_limit=100_000).connect(hostile_server(handle), 'websocket')
    waiting = gevent.spawn(lambda: [one.client.send(bytes(1_000_000)) for _ in range(50)])
    settle()
    assert not waiting.ready()
    going.set()
    waiting.get(timeout=5)
    one.loses()


def test_a_packet_out_of_place_does_no_harm(one, script):
    script.say(
        frame(open_packet(sid='another'))
        + frame('3')
        + frame('3probe')
        + frame('5')
        + frame('6')
        + frame('', PONG)
        + frame('4one')
    )
    assert eventually(lambda: one.messages == ['one'])
    assert (one.client.state, one.client.sid) == ('connected', 'the-sid')


# -- What the server asks for ----------------------------------------------------------------------


def test_pings_are_answered_with_their_data(one, script):
    script.say(frame('2') + frame('2probe') + frame(b'\x00\xff' * 62, PING) + frame('', PING))
    assert [script.heard.get(timeout=5) for _ in range(4)] == [
        (TEXT, b'3'),
        (TEXT, b'3probe'),
        (PONG, b'\x00\xff' * 62),
        (PONG, b''),
    ]
    assert one.client.state == 'connected'


@pytest.mark.parametrize('in_pieces', [False, True], ids=['whole', 'bytewise'])
def test_fragments_with_control_frames_between_them(one, script, in_pieces):
    """RFC 6455, section 5.4."""
    said = b''.join(
        [
            frame('4\u20ac'.encode()[:2], fin=False),
            frame('a', PING),
            frame('4\u20ac'.encode()[2:3], 0, fin=False),
            frame('', 0, fin=False),
            frame('', PONG),
            frame('4\u20ac'.encode()[3:], 0),
            frame(b'\x00', BINARY, fin=False),
            frame('b', PING),
            frame(b'\xff', 0),
            frame('', BINARY, fin=False),
            frame('', 0),
            frame('4'),
        ]
    )
    for piece in [said[i : i + 1] for i in range(len(said))] if in_pieces else [said]:
        script.say(piece)
        gevent.sleep(0)
    assert eventually(lambda: len(one.messages) == 4)
    assert one.messages == ['\u20ac', b'\x00\xff', b'', '']
    assert [script.heard.get(timeout=5) for _ in range(2)] == [(PONG, b'a'), (PONG, b'b')]


@pytest.mark.parametrize('size', [0, 1, 124, 125, 126, 65535, 65536, 1 << 20])
def test_frames_of_the_client_are_masked_and_whole(hostile_server, witness, size):
    script = WebSocketServer()  # its read_frame insists on the mask
    one = witness().connect(hostile_server(script), 'websocket')
    binary = bytes(range(256)) * (size // 256 + 1)
    one.client.send(binary[:size])
    one.client.send('x' * size)
    assert script.heard.get(timeout=5) == (BINARY, binary[:size])
    assert script.heard.get(timeout=5) == (TEXT, b'4' + b'x' * size)


def test_masks_differ(hostile_server, witness):
    masks = set()
    done = Event()

    def handle(sock):
        accept_websocket(sock)
        send_frame(sock, open_packet())
        for _ in range(100):
            masks.add(sock.recv(7, gevent.socket.MSG_WAITALL)[2:6])
        done.set()

    one = witness().connect(hostile_server(handle), 'websocket')
    for _ in range(100):
        one.client.send('')
    assert done.wait(5)
    assert len(masks) > 90


def test_the_farewell_is_packet_then_frame_and_the_server_s_answer_is_awaited(one, script):
    one.client.send('last words')
    leaving = gevent.spawn(one.client.disconnect)
    assert [script.heard.get(timeout=5) for _ in range(3)] == [
        (TEXT, b'4last words'),
        (TEXT, b'1'),
        (CLOSE, b'\x03\xe8'),
    ]
    settle()
    assert not leaving.ready()
    script.say(frame('4crossing') + close_frame(1000))
    leaving.get(timeout=5)
    assert one.ends == [('client disconnect', 'disconnecting')]
    assert one.client.disconnect_error is None
    assert script.frames() == []  # no second close frame


@pytest.mark.parametrize(
    'said',
    [b'', b'\xff' * 100, frame('9'), frame('4x', mask=b'abcd'), frame('4x')[:2]],
    ids=['end', 'garbage', 'unknown-type', 'masked', 'cut'],
)
def test_a_farewell_is_not_spoilt_by_what_comes(hostile_server, witness, said):
    def handle(sock):
        accept_websocket(sock)
        send_frame(sock, open_packet())
        while read_frame(sock)[0] != CLOSE:
            pass
        sock.sendall(said)

    server = hostile_server(handle)
    one = witness().connect(server, 'websocket')
    one.client.disconnect()
    assert one.ends == [('client disconnect', 'disconnecting')]
    server.wait_open(0)


# -- Heartbeat -------------------------------------------------------------------------------------


def test_no_ping_ends_it_though_messages_flow(hostile_server, witness):
    script = WebSocketServer(pingInterval=200, pingTimeout=200)
    server = hostile_server(script)
    one = witness()
    began = time.monotonic()
    one.connect(server, 'websocket')

    def talk():
        with contextlib.suppress(OSError):
            while not one.ends:
                script.say(frame('4hello') + frame('', PING) + frame('6'))
                gevent.sleep(0.02)

    talking = gevent.spawn(talk)
    assert isinstance(one.loses(), HeartbeatTimeout)
    talking.get(timeout=5)
    assert 0.4 <= time.monotonic() - began < patience(2)
    assert len(one.messages) > 5
    server.wait_open(0)


def test_the_rest_of_a_frame_does_not_hold_off_the_heartbeat(hostile_server, witness):
    script = WebSocketServer(pingInterval=100, pingTimeout=100)
    server = hostile_server(script)
    one = witness().connect(server, 'websocket')
    script.say(frame('4' + 'x' * 100)[:50])
    assert isinstance(one.loses(), HeartbeatTimeout)
    assert one.messages == []
    server.wait_open(0)


def test_each_ping_moves_the_deadline(hostile_server, witness):
    script = WebSocketServer(pingInterval=150, pingTimeout=150)
    one = witness().connect(hostile_server(script), 'websocket')
    for _ in range(5):
        gevent.sleep(0.1)
        script.say(frame('2'))
        assert script.heard.get(timeout=5) == (TEXT, b'3')
    assert one.client.state == 'connected'
    assert isinstance(one.loses(), HeartbeatTimeout)


@pytest.mark.parametrize('busy', ['loop', 'sleep', 'handler'])
def test_a_busy_process_finds_its_ping_in_the_socket(hostile_server, witness, busy):
    """Nobody reads while the process is busy; that is not the server's silence."""
    script = WebSocketServer(pingInterval=100, pingTimeout=100)
    one = witness().connect(hostile_server(script), 'websocket')

    def be_busy(_=None):
        deadline = time.monotonic() + 0.4
        while time.monotonic() < deadline:
            if busy != 'loop':
                time.sleep(0.1)

    if busy == 'handler':
        one.client.on('message', be_busy)
        script.say(frame('4go on') + frame('6') + frame('2'))
    else:
        script.say(frame('2'))  # sent, and not read
        be_busy()
    assert script.heard.get(timeout=5) == (TEXT, b'3')
    assert (one.client.state, one.ends) == ('connected', [])


def test_a_busy_process_without_a_ping_in_the_socket_gives_up(hostile_server, witness):
    script = WebSocketServer(pingInterval=100, pingTimeout=100)
    one = witness().connect(hostile_server(script), 'websocket')
    time.sleep(0.5)
    assert one.ends == []
    assert isinstance(one.loses(), HeartbeatTimeout)
