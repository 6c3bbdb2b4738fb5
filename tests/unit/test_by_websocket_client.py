"""The handshake by websocket-client, and masking keys of the caller's."""

from __future__ import annotations

import base64
import hashlib
import re

import gevent
import gevent.event
import gevent.queue
import pytest
import websocket
from gevent import socket

import engineio_gevent
import support
from engineio_gevent.exceptions import ConnectionClosed, HTTPError, ProtocolError
from engineio_gevent.net.stream import Stream as NetStream
from engineio_gevent.protocol.frames import (
    BINARY,
    CLOSE,
    PING,
    TEXT,
    LargeFrame,
    encode_frame,
    with_new_keys,
)
from engineio_gevent.protocol.http1 import NothingCame
from engineio_gevent.transports import by_websocket_client, websocket_options
from engineio_gevent.transports.by_websocket_client import Handshake, KeyedStream
from engineio_gevent.transports.redirects import Destination

pytestmark = pytest.mark.time_limit(10)

PLACE = Destination(False, 'a.test', 8080, 'a.test:8080', '/engine.io/?transport=websocket')
JAR = websocket._handshake.CookieJar


@pytest.fixture(autouse=True)
def fresh(monkeypatch):
    monkeypatch.setattr(websocket_options, '_warned', set())
    monkeypatch.setattr(JAR, 'jar', {})


class Peer:
    """The socket of a server that answers the request.

    :param reply: its bytes, in which ACCEPT stands for what belongs there; None: silence.
    """

    def __init__(self, reply=None, timeout=5):
        self.ours, self.theirs = socket.socketpair()
        self.ours.settimeout(timeout)
        self.lines = []
        self.reply = reply
        self.serving = gevent.spawn(self.serve)

    def serve(self):
        head = b''
        while not head.endswith(b'\r\n\r\n'):
            data = self.theirs.recv(65536)
            if not data:
                return
            head += data
        self.lines = head.decode('latin-1').split('\r\n')[:-2]
        if self.reply is None:
            self.theirs.recv(1)
            return
        key = self.values('Sec-WebSocket-Key')[0].encode()
        digest = hashlib.sha1(key + b'258EAFA5-E914-47DA-95CA-C5AB0DC85B11').digest()
        self.theirs.sendall(self.reply.replace(b'ACCEPT', base64.b64encode(digest)))
        if b'END' in self.reply:
            self.theirs.close()

    def values(self, name):
        return [line.partition(': ')[2] for line in self.lines if line.startswith(name + ':')]

    def __enter__(self):
        return self

    def __exit__(self, *exc_info):
        self.ours.close()
        self.serving.kill()
        self.theirs.close()


GOOD = (
    b'HTTP/1.1 101 Fine\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n'
    b'Sec-WebSocket-Accept: ACCEPT\r\nX-A: 1\r\nSet-Cookie: a=1; Domain=a.test\r\n\r\nrest'
)


def ask(reply=GOOD, options=None, headers=(), place=PLACE, timeout=5):
    """Ask and check: the peer, the answer and the handshake."""
    with Peer(reply) as peer:
        one = Handshake(options or {}, timeout)
        answer = one.ask(peer.ours, place, list(headers))
        assert peer.ours.fileno() >= 0  # still open
        return peer, answer, one


# -- The request -----------------------------------------------------------------------------------


def test_the_request():
    peer, answer, one = ask(headers=[('X', 'y'), ('Cookie', 'b=2')])
    key = peer.values('Sec-WebSocket-Key')[0]
    assert peer.lines == [
        'GET /engine.io/?transport=websocket HTTP/1.1',
        'Upgrade: websocket',
        'Host: a.test:8080',
        'Origin: http://a.test:8080',
        f'Sec-WebSocket-Key: {key}',
        'Sec-WebSocket-Version: 13',
        'Connection: Upgrade',
        'X: y',
        'Cookie: b=2',
    ]
    assert (answer.status, answer.headers['x-a'], answer.rest) == (101, '1', b'rest')
    assert answer.cookies == ['a=1; Domain=a.test']
    assert one.get_mask_key is None
    one.check(answer, PLACE)
    # It has gone into no jar of the process.
    assert JAR.get('a.test') == ''


def test_over_tls():
    """The socket has it already."""
    place = Destination(True, 'a.test', 443, 'a.test', '/')
    peer, _, _ = ask(place=place)
    assert peer.values('Origin') == ['https://a.test']
    assert peer.values('Host') == ['a.test']


@pytest.mark.parametrize(
    ('headers', 'name', 'values'),
    [
        ([('X', '1'), ('X', '2')], 'X', ['1', '2']),
        ([('X', '1'), ('x', '2')], 'x', ['2']),
        ([('Cookie', 'a=1'), ('COOKIE', 'b=2')], 'Cookie', ['a=1; b=2']),
        ([('Cookie', '')], 'Cookie', []),
        ([], 'Cookie', []),
        ([('HOST', 'h')], 'Host', ['h']),
        ([('Host', '')], 'Host', ['a.test:8080']),
        ([('Origin', '')], 'Origin', ['']),
        ([('ORIGIN', 'o')], 'Origin', ['o']),
        ([('Sec-WebSocket-Version', '12')], 'Sec-WebSocket-Version', ['12']),
        ([('Sec-WebSocket-Key', 'mine')], 'Sec-WebSocket-Key', ['mine']),
        ([('sec-websocket-key', 'mine')], 'Sec-WebSocket-Key', ['mine']),
        ([('SEC-WEBSOCKET-VERSION', '12')], 'Sec-WebSocket-Version', ['12']),
        (
            [('sec-websocket-version', '12'), ('X', 'y'), ('x', 'z')],
            'Sec-WebSocket-Version',
            ['13'],
        ),
    ],
)
def test_headers(headers, name, values):
    peer, answer, one = ask(headers=headers)
    assert peer.values(name) == values
    assert len({line.partition(':')[0].lower() for line in peer.lines}) == len(peer.lines) - (
        len(values) - 1 if name == 'X' else 'x' in (one for one, _ in headers)
    )
    one.check(answer, PLACE)


@pytest.mark.parametrize(
    ('options', 'name', 'values'),
    [
        ({'suppress_origin': True}, 'Origin', []),
        ({'suppress_host': True}, 'Host', []),
        ({'connection': 'Connection: a, Upgrade'}, 'Connection', ['a, Upgrade']),
        ({'subprotocols': None}, 'Sec-WebSocket-Protocol', []),
    ],
)
def test_options(options, name, values):
    peer, _, _ = ask(options=options, headers=[('Host', 'h'), ('Origin', 'o')])
    assert peer.values(name) == values


@pytest.mark.parametrize(
    ('own', 'sent'), [('', []), ('b=2', ['b=2']), ('foreign=1', ['foreign=1'])]
)
def test_cookies_of_others_are_left_out(own, sent):
    JAR.add('foreign=1; Domain=a.test')
    peer, _, _ = ask(headers=[('Cookie', own), ('X', 'y')])
    assert peer.values('Cookie') == sent
    assert peer.values('X') == ['y']
    JAR.add('other=1; Domain=b.test')
    peer, _, _ = ask(headers=[('Cookie', own)], place=PLACE._replace(netloc='c.test'))
    assert peer.values('Cookie') == sent


def test_latin_1():
    """As without options, and not UTF-8."""
    headers = [('X', 'caf\xe9'), ('Cookie', 'b=\xff')]
    peer, answer, one = ask(headers=headers)
    assert (peer.values('X'), peer.values('Cookie')) == (['caf\xe9'], ['b=\xff'])
    one.check(answer, PLACE)
    JAR.add('foreign=\xe9; Domain=a.test')
    peer, _, _ = ask(headers=headers)
    assert (peer.values('X'), peer.values('Cookie')) == (['caf\xe9'], ['b=\xff'])


@pytest.mark.parametrize('sent', [b'X: \xe9', 'X: \u20ac'.encode()])
def test_bytes_of_a_class_that_are_not_latin_1_in_utf_8(sent):
    class Mine(websocket.WebSocket):
        def connect(self, url, **options):
            options['socket'].sendall(b'GET / HTTP/1.1\r\nSec-WebSocket-Key: k\r\n')
            options['socket'].sendall(sent + b'\r\n\r\n')
            options['socket'].recv(8)

    peer, _, _ = ask(options={'class_': Mine})
    assert peer.lines[-1].encode('latin-1') == sent


# -- The answer ------------------------------------------------------------------------------------


def refused(reply, options=None, **settings):
    _, answer, one = ask(reply, options, **settings)
    with pytest.raises((HTTPError, ProtocolError)) as caught:
        one.check(answer, PLACE)
    return caught.value


def test_a_subprotocol():
    chosen = GOOD.replace(b'X-A: 1', b'Sec-WebSocket-Protocol: b')
    for options in ({'subprotocols': ['a', 'B']}, {}, {'subprotocols': []}):
        _, answer, one = ask(chosen, options)
        one.check(answer, PLACE)
    for reply in (GOOD, chosen):
        error = refused(reply, {'subprotocols': ['a']})
        assert 'Sec-WebSocket-Protocol' in str(error)


@pytest.mark.parametrize(
    ('old', 'new', 'text'),
    [
        (b'Upgrade: websocket', b'Upgrade: h2c', 'invalid header Upgrade'),
        (b'Connection: Upgrade', b'Connection: close', 'invalid header Connection'),
        (b'ACCEPT', b'wrong', 'Invalid WebSocket Header, such as Sec-WebSocket-Accept: wrong'),
        (b'Sec-WebSocket-Accept: ', b'X: ', 'such as Sec-WebSocket-Accept: None'),
    ],
)
def test_a_wrong_answer(old, new, text):
    error = refused(GOOD.replace(old, new))
    assert isinstance(error, ProtocolError)
    assert text in str(error)


@pytest.mark.parametrize(
    'length', [b'Content-Length: 17', b'Transfer-Encoding: chunked', b'Connection: close']
)
def test_another_status(length):
    body = b'{"message": "no"}'
    if b'chunked' in length:
        body = b'11\r\n' + body + b'\r\n0\r\n\r\n'
    end = b'\r\nX: END' if b'close' in length else b''
    error = refused(b'HTTP/1.1 400 Bad\r\n' + length + end + b'\r\n\r\n' + body)
    assert (error.status, error.body) == (400, {'message': 'no'})


@pytest.mark.parametrize('location', [b'', b'Location: /elsewhere\r\n'])
def test_a_redirect_is_followed_elsewhere(location):
    """Not by websocket-client."""
    _, answer, one = ask(b'HTTP/1.1 302 Found\r\nContent-Length: 0\r\n' + location + b'\r\n')
    assert answer.status == 302
    with pytest.raises(HTTPError):
        one.check(answer, PLACE)


def test_no_connection_is_made_elsewhere(hostile_server):
    server = hostile_server(lambda sock: None)
    location = f'Location: ws://127.0.0.1:{server.port}/\r\n'.encode()
    ask(b'HTTP/1.1 302 Found\r\nContent-Length: 0\r\n' + location + b'\r\n')
    gevent.sleep(0.01)
    assert server.accepted == 0


def test_a_handshake_can_be_done_again():
    """After a redirect; the fault of the first answer is not that of the second."""
    one = Handshake({}, 5)
    for reply in (b'HTTP/1.1 302 Found\r\nContent-Length: 0\r\n\r\n', GOOD):
        with Peer(reply) as peer:
            answer = one.ask(peer.ours, PLACE, [])
    one.check(answer, PLACE)


@pytest.mark.parametrize(
    ('reply', 'kind', 'text'),
    [
        (b'', NothingCame, 'without a response'),
        (b'HTTP/1.1 101', ConnectionClosed, 'in the middle'),
        (b'SSH-2.0\r\n', ProtocolError, "begins 'SSH-2.0'"),
    ],
)
def test_no_answer(reply, kind, text):
    with Peer(reply) as peer:
        peer.serving.link(lambda greenlet: peer.theirs.close())
        with pytest.raises(kind, match=re.escape(text)) as caught:
            Handshake({}, 5).ask(peer.ours, PLACE, [])
        assert type(caught.value) is kind
        assert caught.value.__suppress_context__


def test_a_silent_server():
    with Peer(None, timeout=0.05) as peer, pytest.raises(TimeoutError):
        Handshake({}, 5).ask(peer.ours, PLACE, [])


def test_a_server_that_has_gone():
    with Peer(None) as peer:
        peer.serving.kill()
        peer.theirs.close()
        with pytest.raises((OSError, ConnectionClosed)):
            Handshake({}, 5).ask(peer.ours, PLACE, [])


def test_a_large_refusal_has_no_body():
    size = by_websocket_client.MAX_REFUSAL + 1
    _, answer, _ = ask(b'HTTP/1.1 400 Bad\r\nContent-Length: %d\r\n\r\n' % size)
    assert (answer.status, answer.body) == (400, b'')


# -- class_ ----------------------------------------------------------------------------------------


def test_a_class_of_the_callers():
    made = []

    class Mine(websocket.WebSocket):
        def __init__(self, mine, **options):
            super().__init__(**options)
            made.append((mine, self.timeout))
            self.set_mask_key(len)

        def settimeout(self, seconds):
            super().settimeout(seconds)
            made.append(seconds)

        def connect(self, url, **options):
            made.append(url)
            super().connect(url, **{**options, 'header': ['X: mine']})
            sock = options['socket']
            assert sock.gettimeout() == 5
            sock.settimeout(7)
            assert sock.gettimeout() == 7
            assert sock.fileno() > 0
            sock.shutdown(2)
            sock.close()

    peer, _, one = ask(options={'class_': Mine, 'mine': 5}, timeout=3)
    assert made == [(5, None), 3, f'ws://a.test:8080{PLACE.target}']
    assert peer.values('X') == ['mine']
    assert one.get_mask_key is len


def test_a_key_function():
    assert ask(options={'get_mask_key': len})[2].get_mask_key is len


NEVER_CALLED = (
    'recv recv_data recv_data_frame recv_frame send send_bytes send_text send_binary send_close '
    'send_frame ping pong close shutdown abort _recv _send'
)


@pytest.mark.parametrize('name', NEVER_CALLED.split())
def test_methods_that_are_not_called(name):
    original = getattr(websocket.WebSocket, name, None)
    if original is None:
        pytest.skip('an older websocket-client')

    def method(self, *arguments, **options):
        return original(self, *arguments, **options)

    mine = type('Mine', (websocket.WebSocket,), {name: method})
    with pytest.warns(RuntimeWarning) as caught:
        ask(options={'class_': mine})
    assert [str(one.message) for one in caught] == [
        f'websocket_extra_options: Mine.{name}() is not called after the handshake'
    ]


def test_a_class_without_websocket_client():
    class Mine:
        def __init__(self, **options):
            pass

        def settimeout(self, seconds):
            pass

        def connect(self, url, **options):
            pass

    with Peer() as peer, pytest.raises(ConnectionClosed) as caught:
        Handshake({'class_': Mine}, 5).ask(peer.ours, PLACE, [])
    assert str(caught.value) == 'websocket-client did not use the connection: Mine'


def test_a_class_that_fails():
    class Mine(websocket.WebSocket):
        def connect(self, url, **options):
            raise websocket.WebSocketException('mine')

    with Peer() as peer, pytest.raises(ConnectionClosed) as caught:
        Handshake({'class_': Mine}, 5).ask(peer.ours, PLACE, [])
    assert str(caught.value) == 'websocket-client did not use the connection: mine'

    class Other(websocket.WebSocket):
        def connect(self, url, **options):
            raise OSError('other')

    with Peer() as peer, pytest.raises(OSError, match='other'):
        Handshake({'class_': Other}, 5).ask(peer.ours, PLACE, [])


def test_sending_by_parts():
    """As a class may do."""
    seen = []

    class Mine(websocket.WebSocket):
        def connect(self, url, **options):
            seen.append(options['socket'].send(b'GET / HTTP/1.1\r\n'))
            options['socket'].sendall(b'Sec-WebSocket-Key: k\r\n\r\n')
            seen.append(options['socket'].recv(8))
            seen.append(options['socket'].recv(1))

    _, answer, _ = ask(options={'class_': Mine})
    assert seen == [16, b'HTTP/1.1', b' ']
    assert answer.status == 101


# -- Keys of frames --------------------------------------------------------------------------------


def unmasked(data):
    """The frames of a client: opcode, key, payload."""
    found = []
    while data:
        size, at = data[1] & 127, 2
        if size > 125:
            more = 2 if size == 126 else 8
            size, at = int.from_bytes(data[2 : 2 + more], 'big'), 2 + more
        key, masked = data[at : at + 4], data[at + 4 : at + 4 + size]
        repeated = (key * (size // 4 + 1))[:size]
        plain = int.from_bytes(masked, 'big') ^ int.from_bytes(repeated, 'big')
        found.append((data[0] & 15, key, plain.to_bytes(size, 'big')))
        data = data[at + 4 + size :]
    return found


SIZES = [0, 1, 125, 126, 127, 65535, 65536, 70001]


@pytest.mark.parametrize('size', SIZES)
def test_new_keys(size):
    payload = bytes(index % 251 for index in range(size))
    assert unmasked(with_new_keys(encode_frame(BINARY, payload), lambda: b'abcd')) == [
        (BINARY, b'abcd', payload)
    ]


def test_new_keys_of_several_frames():
    keys = [b'aaaa', b'bbbb', b'cccc']
    frames = (
        encode_frame(TEXT, '1') + encode_frame(TEXT, 'x' * 300) + encode_frame(CLOSE, b'\3\xe8')
    )
    assert unmasked(with_new_keys(frames, lambda: keys.pop(0))) == [
        (TEXT, b'aaaa', b'1'),
        (TEXT, b'bbbb', b'x' * 300),
        (CLOSE, b'cccc', b'\3\xe8'),
    ]
    assert keys == []


def test_the_type_of_frames_is_kept():
    class Mine(bytes):
        pass

    assert type(with_new_keys(Mine(encode_frame(TEXT, 'x')), lambda: b'abcd')) is Mine
    assert type(with_new_keys(encode_frame(TEXT, 'x'), lambda: b'abcd')) is bytes


class Stream:
    queued = 5
    closed = False

    def __init__(self):
        self.written = []

    def write(self, data):
        self.written.append(data)
        return 1

    def write_first(self, kind, data):
        self.written.append((kind, data))
        return 2

    def write_large(self, frame):
        pieces = b''
        while len(frame):
            pieces += frame.take()
        self.written.append(pieces)
        return 3


@pytest.mark.parametrize('key', ['abcd', b'abcd', bytearray(b'abcd'), '\xff\x80ab'])
def test_a_stream_with_keys(key):
    asked = []
    stream = Stream()
    keyed = KeyedStream(stream, lambda size: asked.append(size) or key)
    wanted = key.encode('latin-1') if isinstance(key, str) else bytes(key)
    assert keyed.write(encode_frame(TEXT, 'one')) == 1
    assert keyed.write_first(9, encode_frame(TEXT, 'two')) == 2
    assert keyed.write_large(LargeFrame('x' * 200_000)) == 3
    one, (kind, two), large = stream.written
    assert kind == 9
    assert unmasked(one) == [(TEXT, wanted, b'one')]
    assert unmasked(two) == [(TEXT, wanted, b'two')]
    assert unmasked(large) == [(TEXT, wanted, b'x' * 200_000)]
    assert asked == [4, 4, 4]
    assert keyed.queued == 5


def raising(size):
    raise RuntimeError('boom')


WAYS = {
    'write': lambda stream: stream.write(encode_frame(TEXT, 'one')),
    'write_first': lambda stream: stream.write_first(9, encode_frame(TEXT, 'one')),
    'write_large': lambda stream: stream.write_large(LargeFrame('x' * 200_000)),
}


@pytest.mark.parametrize('way', WAYS)
@pytest.mark.parametrize(
    ('function', 'text', 'cause'),
    [
        (raising, 'RuntimeError: boom', RuntimeError),
        *(
            (lambda size, key=key: key, 'ValueError: it must return 4 bytes', ValueError)
            for key in ('', 'abc', b'abcde', 5, None, [1, 2, 3, 4])
        ),
        (lambda size: '\u20acabc', "UnicodeEncodeError: 'latin-1' codec", UnicodeEncodeError),
    ],
)
def test_a_key_function_that_fails(way, function, text, cause):
    ours, theirs = socket.socketpair()
    lost = []
    asked = []
    ended = gevent.event.Event()

    def on_lost(error):
        lost.append(error)
        ended.set()

    stream = KeyedStream(
        NetStream(ours, lambda data: None, on_lost), lambda size: asked.append(1) or function(size)
    )
    stream.start()
    assert WAYS[way](stream) == -1
    assert stream.closed
    assert lost == []  # the caller may be anywhere: the hub says so
    for again in WAYS.values():
        assert again(stream) == -1
    ended.wait()
    assert theirs.recv(10) == b''
    theirs.close()
    (error,) = lost
    assert asked == [1]
    assert isinstance(error, ConnectionClosed)
    assert str(error).startswith(f'websocket_extra_options: get_mask_key failed: {text}')
    assert type(error.__cause__) is cause


def connected(row, key):
    """A client, and what it has reported."""
    client = engineio_gevent.Client(
        request_timeout=5, websocket_extra_options={'get_mask_key': key}
    )
    reasons = []
    client.on('disconnect', reasons.append)
    client.connect(row.url, transports='websocket')
    return client, reasons


ENDS = {
    'send': lambda client, server: client.send('x'),
    'send large': lambda client, server: client.send('x' * 300_000),
    'disconnect': lambda client, server: client.disconnect(),
    'abort': lambda client, server: client.disconnect(abort=True),
    'pong': lambda client, server: server.put((b'', PING)),
    'PONG': lambda client, server: server.put((b'2', TEXT)),
    'close': lambda client, server: server.put((b'\x03\xe8', CLOSE)),
}


@pytest.mark.parametrize('end', ENDS)
def test_the_end_by_a_key_function(end, hostile_server, capsys):
    frames = gevent.queue.Queue()

    def serve(sock):
        support.accept_websocket(sock)
        support.send_frame(sock, support.open_packet())
        sending = gevent.spawn(lambda: [support.send_frame(sock, *one) for one in frames])
        support.read_to_end(sock)
        sending.kill()

    client, reasons = connected(hostile_server(serve), raising)
    ENDS[end](client, frames)
    client.wait()
    assert support.eventually(lambda: reasons)
    ours = end in ('disconnect', 'abort')
    assert reasons == ['client disconnect' if ours else 'transport error']
    assert client.state == 'disconnected'
    if end == 'close':
        assert 'code 1000' in str(client.disconnect_error)
    elif end != 'abort':
        assert 'get_mask_key failed: RuntimeError: boom' in str(client.disconnect_error)
        assert type(client.disconnect_error.__cause__) is RuntimeError
    assert client.unsent == (end.startswith('send'))
    assert capsys.readouterr().err == ''  # no traceback
