"""Responses from sockets: how much is read, whose turn it is, and how a connection ends."""

from __future__ import annotations

import errno
import ssl
import struct

import gevent
import pytest
from gevent import socket

from engineio_gevent.exceptions import ConnectionClosed, EngineIOError, ProtocolError
from engineio_gevent.protocol.http1 import NothingCame, Response
from engineio_gevent.transports import http_reader
from engineio_gevent.transports.http_reader import good_until, read_response

OK = b'HTTP/1.1 200 OK\r\n'
HELLO = OK + b'Content-Length: 5\r\n\r\nhello'
CHUNKED = OK + b'Transfer-Encoding: chunked\r\n\r\n'


@pytest.fixture
def connected():
    """Both ends of a TCP connection: the client's and the server's."""
    with socket.create_server(('127.0.0.1', 0)) as listener:
        ours = socket.create_connection(listener.getsockname())
        theirs, _ = listener.accept()
    with ours, theirs:
        yield ours, theirs


def test_a_response_of_one_piece(connected):
    ours, theirs = connected
    theirs.sendall(HELLO)
    response = read_response(ours, 100)
    assert (response.status, response.body, response.keep_alive) == (200, b'hello', True)


def test_a_response_byte_by_byte(connected):
    ours, theirs = connected
    reading = gevent.spawn(read_response, ours, 100)
    for at in range(len(HELLO)):
        theirs.sendall(HELLO[at : at + 1])
        gevent.sleep(0)
    assert reading.get(timeout=30).body == b'hello'


def test_a_body_that_the_end_of_the_connection_ends(connected):
    ours, theirs = connected
    theirs.sendall(OK + b'\r\nhello')
    theirs.close()
    assert read_response(ours, 100).body == b'hello'


def test_what_follows_the_opening_of_a_websocket(connected):
    ours, theirs = connected
    theirs.sendall(b'HTTP/1.1 101 Switching Protocols\r\n\r\n\x81\x02hi')
    response = read_response(ours, 100)
    assert (response.status, response.rest) == (101, b'\x81\x02hi')


def test_an_upgrade_that_was_not_asked_for(connected):
    ours, theirs = connected
    theirs.sendall(b'HTTP/1.1 101 Switching Protocols\r\n\r\n')
    response = read_response(ours, 100)
    assert (response.status, response.keep_alive) == (101, False)


def test_a_socket_that_is_not_tcp():
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.sendall(HELLO[:20])
        reading = gevent.spawn(read_response, ours, 100)
        gevent.sleep(0)
        theirs.sendall(HELLO[20:])
        assert reading.get(timeout=30).body == b'hello'


@pytest.mark.parametrize('banner', [b'SSH-2.0-OpenSSH\r\n', OK + b'Content-Length: 101\r\n\r\n'])
def test_no_more_is_waited_for_after_a_fault(connected, banner):
    ours, theirs = connected
    theirs.sendall(banner)
    with pytest.raises(ProtocolError):
        read_response(ours, 100)


# -- The end of the connection ---------------------------------------------------------------------


def test_a_connection_that_is_closed_before_the_first_byte(connected):
    ours, theirs = connected
    theirs.close()
    with pytest.raises(NothingCame, match='the server closed the connection without a response'):
        read_response(ours, 100)


@pytest.mark.parametrize('data', [b'H', OK + b'\r', HELLO[:-1], CHUNKED + b'5\r\nhello\r\n'])
def test_a_connection_that_is_closed_in_the_middle(connected, data):
    ours, theirs = connected
    theirs.sendall(data)
    theirs.close()
    with pytest.raises(ConnectionClosed, match='closed the connection in the middle') as caught:
        read_response(ours, 100)
    assert not isinstance(caught.value, NothingCame)


def reset(sock):
    """Close with RST in place of FIN."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0))
    sock.close()


def test_a_reset_before_the_first_byte(connected):
    ours, theirs = connected
    reset(theirs)
    with pytest.raises(NothingCame, match='connection lost: ') as caught:
        read_response(ours, 100)
    assert isinstance(caught.value.__cause__, ConnectionResetError)


class Pieces:
    """A socket that gives these pieces of bytes, one a call; then the end of the file."""

    def __init__(self, *pieces):
        self.pieces = [piece for piece in pieces if piece]

    def recv(self, size):
        if not self.pieces:
            return b''
        piece = self.pieces.pop(0)
        if isinstance(piece, Exception):
            raise piece
        if len(piece) > size:
            self.pieces.insert(0, piece[size:])
        return piece[:size]

    def setsockopt(self, level, option, value):
        pass


@pytest.mark.parametrize('kind', [ConnectionResetError, BrokenPipeError])
@pytest.mark.parametrize('data', [b'H', OK + b'\r\n', HELLO[:-1]])
def test_a_reset_in_the_middle(kind, data):
    """By a script: over TCP a reset may overtake the bytes before it."""
    with pytest.raises(ConnectionClosed, match='in the middle of a response: reset') as caught:
        read_response(Pieces(data, kind(errno.ECONNRESET, 'reset')), 100)
    assert not isinstance(caught.value, NothingCame)
    assert isinstance(caught.value.__cause__, kind)


# -- Turns -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ('begin', 'repeat'),
    [
        (OK + b'\r\n', b'x' * 65536),
        (OK + b'Content-Length: 100000000\r\n\r\n', b'x' * 65536),
        (CHUNKED, b'1\r\n0\r\n' * 1000),
        (CHUNKED, b'10000\r\n' + b'x' * 65536 + b'\r\n'),
    ],
    ids=['to-the-end', 'length', 'small-chunks', 'large-chunks'],
)
def test_others_get_their_turn_though_there_is_always_more_to_read(begin, repeat):
    """gevent's sockets do not switch as long as they need not wait."""
    turns = []

    def look():
        while True:
            turns.append(None)
            gevent.sleep(0)

    looking = gevent.spawn(look)
    with pytest.raises(EngineIOError):
        read_response(Pieces(begin, *[repeat] * 100, ConnectionResetError(104, 'reset')), None)
    looking.kill()
    assert len(turns) > 3


def test_timers_run_though_a_response_has_very_many_chunks():
    """A turn of the other greenlets is not enough: the bound of a handshake is a timer."""
    fired = []
    timer = gevent.spawn_later(0.001, fired.append, True)
    read_response(Pieces(CHUNKED, b'1\r\n0\r\n' * 100_000 + b'0\r\n\r\n'), None)
    assert fired
    timer.join()


@pytest.fixture
def steps(monkeypatch):
    """What happens between the reads."""
    steps = []
    monkeypatch.setattr(http_reader.gevent, 'sleep', lambda seconds: steps.append(seconds))
    return steps


class Watched(Pieces):
    """It tells of each read, and of each request to acknowledge at once."""

    def __init__(self, steps, *pieces):
        super().__init__(*pieces)
        self.steps = steps

    def recv(self, size):
        self.steps.append('read')
        return super().recv(size)

    def setsockopt(self, level, option, value):
        assert (level, option, value) == (socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)
        self.steps.append('acknowledge')


AGAIN = ['acknowledge', 'read']


@pytest.mark.skipif(not hasattr(socket, 'TCP_QUICKACK'), reason='Linux alone')
def test_each_further_read_asks_for_an_acknowledgement_and_each_fourth_gives_way(steps):
    sock = Watched(steps, OK + b'Content-Length: 9\r\n\r\n', *[b'x'] * 9)
    assert read_response(sock, None).body == b'x' * 9
    assert steps == ['read', *AGAIN * 3, 0, *AGAIN * 4, 0, *AGAIN * 2]


def test_a_system_without_quick_acknowledgements(steps, monkeypatch):
    monkeypatch.setattr(http_reader, '_QUICKACK', None)
    sock = Watched(steps, HELLO[:-1], HELLO[-1:])
    assert read_response(sock, None).body == b'hello'
    assert steps == ['read', 'read']


@pytest.mark.parametrize(
    ('chunks', 'sleeps'),
    [
        ([4096, 4095, 1], [0.001, 0.001]),
        ([4095, 1, 4095, 1], [0.001, 0.001]),
        ([4095, 4095], [0.001]),
        ([5000, 4095, 1], [0.001, 0.001]),
        ([4095], []),
    ],
)
def test_timers_get_a_turn_after_so_many_chunks(steps, chunks, sleeps):
    pieces = [b'1\r\nx\r\n' * count for count in chunks]
    read_response(Pieces(CHUNKED + pieces[0], *pieces[1:], b'0\r\n\r\n'), None)
    assert [one for one in steps if one] == sleeps


# -- The end of TLS --------------------------------------------------------------------------------


class TLS:
    """A socket with TLS that gives these pieces; an exception is raised."""

    def __init__(self, *pieces):
        self._pieces = list(pieces)
        self.suppress_ragged_eofs = True
        #: what that was at each read
        self.suppressed = []

    def recv(self, size):
        self.suppressed.append(self.suppress_ragged_eofs)
        piece = self._pieces.pop(0)
        if isinstance(piece, Exception):
            raise piece
        return piece

    def setsockopt(self, *option):
        pass


@pytest.mark.parametrize('end', [b'', ssl.SSLZeroReturnError()], ids=['cpython', 'pypy'])
def test_tls_is_closed(end):
    sock = TLS(OK + b'\r\nhe', b'llo', end)
    assert read_response(sock, 100).body == b'hello'
    assert sock.suppressed == [True, False, False]
    assert sock.suppress_ragged_eofs


def test_tls_is_not_closed():
    sock = TLS(OK + b'\r\nhello', ssl.SSLEOFError())
    with pytest.raises(ConnectionClosed, match='TLS was not closed') as caught:
        read_response(sock, 100)
    assert isinstance(caught.value.__cause__, ssl.SSLEOFError)
    assert sock.suppress_ragged_eofs


def test_a_body_with_a_length_needs_no_end_of_tls():
    sock = TLS(OK + b'Content-Length: 5\r\n\r\nhe', b'llo')
    assert read_response(sock, 100).body == b'hello'
    assert sock.suppressed == [True, True]


@pytest.mark.parametrize(
    ('line', 'seconds'),
    [
        ('', None),
        ('Keep-Alive: max=5', None),
        ('Keep-Alive: timeout=5', 4.0),
        ('Keep-Alive: timeout=0, max=1', -1.0),
        ('Keep-Alive: timeout=123456789', 123455.0),
    ],
)
def test_until_when_the_server_keeps_a_connection(monkeypatch, line, seconds):
    monkeypatch.setattr(http_reader, 'monotonic', lambda: 1000.0)
    response = Response(100)
    lines = ['HTTP/1.1 204 -', line, '', ''] if line else ['HTTP/1.1 204 -', '', '']
    assert response.feed('\r\n'.join(lines).encode())
    assert good_until(response) == (None if seconds is None else 1000 + seconds)
