"""HTTP/1.1 byte by byte: whole responses, every cut, and what is no response."""

from __future__ import annotations

import gzip
import zlib

import gevent
import pytest
from gevent import socket
from hypothesis import given
from hypothesis import strategies as st

from engineio_gevent.exceptions import ConnectionClosed, EngineIOError, ProtocolError
from engineio_gevent.transports.http1 import (
    MAX_HEAD,
    MAX_HEADERS,
    MAX_INTERIM,
    NothingCame,
    Response,
    encode_request,
)

OK = b'HTTP/1.1 200 OK\r\n'
CHUNKED = OK + b'Transfer-Encoding: chunked\r\n\r\n'


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


def read(*pieces, max_size=None):
    return Response(Pieces(*pieces), max_size)


def bytewise(data):
    return [data[at : at + 1] for at in range(len(data))]


WHOLE = [
    ('length', b'HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello', 200, b'hello', True),
    ('empty', b'HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n', 200, b'', True),
    ('to-the-end', b'HTTP/1.1 200 OK\r\n\r\nhello', 200, b'hello', False),
    ('http-1.0', b'HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\nhello', 200, b'hello', False),
    (
        'http-1.0-kept',
        b'HTTP/1.0 200 OK\r\nConnection: Keep-Alive\r\nContent-Length: 5\r\n\r\nhello',
        200,
        b'hello',
        True,
    ),
    (
        'close',
        b'HTTP/1.1 200 OK\r\nCONNECTION: Close\r\nContent-Length: 5\r\n\r\nhello',
        200,
        b'hello',
        False,
    ),
    (
        'chunks',
        OK + b'Transfer-Encoding: Chunked\r\n\r\n2\r\nhe\r\n03;a="b"\r\nllo\r\n0\r\n\r\n',
        200,
        b'hello',
        True,
    ),
    ('trailers', CHUNKED + b'5\r\nhello\r\n0\r\nA: b\r\nC: d\r\n\r\n', 200, b'hello', True),
    ('large-chunk', CHUNKED + b'FF\r\n' + b'x' * 255 + b'\r\n0\r\n\r\n', 200, b'x' * 255, True),
    (
        'chunks-before-length',
        OK + b'Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n',
        200,
        b'hello',
        None,
    ),
    (
        'interim',
        b'HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n'
        b'HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello',
        200,
        b'hello',
        True,
    ),
    ('204', b'HTTP/1.1 204 No Content\r\n\r\n', 204, b'', True),
    ('304', b'HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n', 304, b'', True),
    ('bare-line-ends', b'HTTP/1.1 400 Bad\nContent-Length: 5\n\nhello', 400, b'hello', True),
    ('no-phrase', b'HTTP/1.1 200\r\nContent-Length: 5\r\n\r\nhello', 200, b'hello', True),
    ('empty-phrase', b'HTTP/1.1 200 \r\nContent-Length: 5\r\n\r\nhello', 200, b'hello', True),
    ('latin-phrase', b'HTTP/1.1 200 \xc4h\r\nContent-Length: 5\r\n\r\nhello', 200, b'hello', True),
    (
        'same-length-twice',
        b'HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\nhello',
        200,
        b'hello',
        True,
    ),
    (
        'junk-behind',
        b'HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhelloHTTP/1.1',
        200,
        b'hello',
        False,
    ),
]
every_whole = pytest.mark.parametrize(
    ('data', 'status', 'body', 'kept'),
    [case[1:] for case in WHOLE],
    ids=[case[0] for case in WHOLE],
)


@every_whole
def test_whole_responses(data, status, body, kept):
    response = read(data)
    assert (response.status, response.body) == (status, body)
    assert kept is None or response.keep_alive is kept


@every_whole
def test_byte_by_byte(data, status, body, kept):
    response = read(*bytewise(data))
    assert (response.status, response.body) == (status, body)


@every_whole
def test_every_cut_in_two(data, status, body, kept):
    for at in range(1, len(data)):
        response = read(data[:at], data[at:])
        assert (response.status, response.body) == (status, body)


@every_whole
def test_every_early_end(data, status, body, kept):
    """Nothing that is cut off passes for whole, wherever it is cut."""
    whole = read(data)
    for at in range(len(data)):
        try:
            response = read(data[:at])
        except NothingCame:
            assert at == 0
        except EngineIOError:
            assert at > 0
        else:
            # Only what has no length of its own may end anywhere, and what is behind is no part.
            assert response.body == whole.body or b'\r\n\r\nhello'.startswith(
                data[data.rindex(b'\r\n\r\n') : at]
            )
            assert not response.keep_alive or at >= len(data) - len(b'HTTP/1.1')


@pytest.mark.parametrize('kind', [ConnectionResetError, BrokenPipeError])
def test_a_reset(kind):
    with pytest.raises(NothingCame):
        read(kind(104, 'reset'))
    for data in (b'H', OK + b'\r\n', OK + b'Content-Length: 5\r\n\r\nhe'):
        with pytest.raises(ConnectionClosed) as caught:
            read(data, kind(104, 'reset'))
        assert not isinstance(caught.value, NothingCame)
        assert isinstance(caught.value.__cause__, kind)


NO_RESPONSES = [
    b'SSH-2.0-OpenSSH\r\n\r\n',
    b'HTTP/2 200 OK\r\n\r\n',
    b'HTTP/1.1 20 OK\r\n\r\n',
    b'HTTP/1.1 2000 OK\r\n\r\n',
    b'HTTP/1.1 abc OK\r\n\r\n',
    b'HTTP/1.1  200 OK\r\n\r\n',
    b' HTTP/1.1 200 OK\r\n\r\n',
    b'http/1.1 200 OK\r\n\r\n',
    b'\r\n\r\n',
    b'\x00' * 100 + b'\n\n',
    b'HTTP/1.1 200 OK\r\nno colon\r\n\r\n',
    b'HTTP/1.1 200 OK\r\n: no name\r\n\r\n',
    b'HTTP/1.1 200 OK\r\nX : space\r\n\r\n',
    b'HTTP/1.1 200 OK\r\nX: a\r\n folded\r\n\r\n',
    b'HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n',
    b'HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n',
    b'HTTP/1.1 200 OK\r\nContent-Length: +1\r\n\r\nx',
    b'HTTP/1.1 200 OK\r\nContent-Length: 1_0\r\n\r\nx',
    b'HTTP/1.1 200 OK\r\nContent-Length: \xb2\r\n\r\nxx',
    b'HTTP/1.1 200 OK\r\nContent-Length: 1, 2\r\n\r\nxx',
    b'HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nxx',
    b'HTTP/1.1 200 OK\r\nContent-Length: \r\n\r\n',
    b'HTTP/1.1 200 OK\r\nContent-Length: ' + b'9' * 5000 + b'\r\n\r\n',
    b'HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n',
    b'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n',
    CHUNKED + b'-1\r\n',
    CHUNKED + b'0x1\r\na\r\n0\r\n\r\n',
    CHUNKED + b'\r\na\r\n0\r\n\r\n',
    CHUNKED + b'1\r\nab\r\n0\r\n\r\n',
    CHUNKED + b'f' * 17 + b'\r\n',
    b'HTTP/1.1 101 Switching Protocols\r\n\r\n',
]


@pytest.mark.parametrize('data', NO_RESPONSES, ids=range(len(NO_RESPONSES)))
@pytest.mark.parametrize('cut', [lambda data: [data], bytewise], ids=['whole', 'bytewise'])
def test_what_is_no_response(data, cut):
    with pytest.raises(ProtocolError) as caught:
        read(*cut(data), b'and more of it')
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize(
    'data',
    [
        b'HTTP/1.1 200 OK\r\n' + b'X: y\r\n' * (MAX_HEADERS + 1) + b'\r\n',
        b'HTTP/1.1 200 OK\r\nX: ' + b'x' * (MAX_HEAD + 70000),
        b'x' * (MAX_HEAD + 70000),
        b'HTTP/1.1 100 Continue\r\n\r\n' * (MAX_INTERIM + 1),
        CHUNKED + b'0\r\n' + b'X: y\r\n' * 2000 + b'\r\n',
        CHUNKED + b'1;' + b'x' * (MAX_HEAD + 70000),
    ],
    ids=['headers', 'head', 'status-line', 'interim', 'trailers', 'chunk-header'],
)
def test_limits_of_the_head(data):
    with pytest.raises(ProtocolError):
        read(data, b'x' * 100000)


def test_just_within_the_limits_of_the_head():
    response = read(
        b'HTTP/1.1 100 Continue\r\n\r\n' * MAX_INTERIM
        + b'HTTP/1.1 204 OK\r\n'
        + b'X: y\r\n' * MAX_HEADERS
        + b'\r\n'
    )
    assert response.status == 204


@pytest.mark.parametrize(
    ('data', 'size'),
    [
        (b'HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n', 'length'),
        (b'HTTP/1.1 200 OK\r\n\r\n', 'end'),
        (CHUNKED, 'chunks'),
    ],
)
@pytest.mark.parametrize('over', [0, 1])
def test_the_limit_of_the_body(data, size, over):
    body = b'x' * (1000 + over)
    if size == 'length':
        data = data % len(body) + body
    elif size == 'end':
        data += body
    else:
        data += (
            b''.join(
                b'64\r\n' + body[at : at + 100] + b'\r\n'
                if len(body[at : at + 100]) == 100
                else b'1\r\nx\r\n'
                for at in range(0, len(body), 100)
            )
            + b'0\r\n\r\n'
        )
    if not over:
        assert read(data, max_size=1000).body == body
        return
    with pytest.raises(ProtocolError) as caught:
        read(data, max_size=1000)
    assert caught.value.code == 1009


@pytest.mark.parametrize('banner', [b'SSH-2.0-OpenSSH\r\n', b'HTTQ\n', bytes(40)])
def test_the_end_of_what_is_no_response_is_not_waited_for(banner):
    sock = Pieces(banner, b'never read')
    with pytest.raises(ProtocolError, match='not an HTTP response: it begins'):
        Response(sock, None)
    assert sock.pieces == [b'never read']


@pytest.mark.parametrize('alien', [b'SSH', b'\x15\x03\x01\0\x02\x02\x46', b'HTTQ'])
def test_a_few_bytes_that_are_no_response(alien):
    """As of a server that wants TLS, and closes."""
    for cut in range(1, len(alien) + 1):
        with pytest.raises(ProtocolError) as caught:
            Response(Pieces(alien[:cut], alien[cut:]), None)
        assert str(caught.value) == f'not an HTTP response: it begins {alien.decode()!r}'


@pytest.mark.parametrize('start', [b'', b'HT', b'HTTP/1.1 200'])
def test_what_might_have_become_a_response(start):
    with pytest.raises(ConnectionClosed):
        Response(Pieces(start), None)


def test_a_body_over_the_limit_is_not_waited_for():
    sock = Pieces(b'HTTP/1.1 200 OK\r\nContent-Length: 1001\r\n\r\n', b'never read')
    with pytest.raises(ProtocolError):
        Response(sock, 1000)
    assert sock.pieces == [b'never read']


def test_headers_and_cookies():
    response = read(
        b'HTTP/1.1 204 OK\r\nX-A:  one \r\nx-a: two\r\nSet-Cookie: a=1\r\n'
        b'SET-COOKIE: b=2, c\r\nEmpty:\r\nLatin: \xfc\r\n\r\n'
    )
    assert response.headers == {'x-a': 'one, two', 'empty': '', 'latin': '\xfc'}
    assert response.cookies == ['a=1', 'b=2, c']


def test_headers_of_an_interim_response_are_not_those_of_the_last():
    response = read(
        b'HTTP/1.1 103 Early Hints\r\nContent-Length: 3\r\n\r\n'
        b'HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello'
    )
    assert response.headers == {'content-length': '5'}


@pytest.mark.parametrize(
    ('begin', 'repeat'),
    [
        (OK + b'\r\n', b'x' * 65536),
        (OK + b'Content-Length: 100000000\r\n\r\n', b'x' * 65536),
        (CHUNKED, b'1\r\n0\r\n' * 10000),
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
        read(begin, *[repeat] * 100, ConnectionResetError(104, 'reset'))
    looking.kill()
    assert len(turns) > 3


def test_timers_run_though_a_response_has_very_many_chunks():
    """A turn of the other greenlets is not enough: the bound of a handshake is a timer."""
    fired = []
    timer = gevent.spawn_later(0.001, fired.append, True)
    read(CHUNKED, b'1\r\n0\r\n' * 100_000 + b'0\r\n\r\n')
    assert fired
    timer.join()


# -- Compression -----------------------------------------------------------------------------------


def compressed(body, encoding, how):
    packed = {
        'gzip': gzip.compress,
        'x-gzip': gzip.compress,
        'deflate': zlib.compress,
        'raw': lambda data: zlib.compress(data)[2:-4],
    }[how](body)
    head = f'HTTP/1.1 200 OK\r\nContent-Encoding: {encoding}\r\nContent-Length: {len(packed)}'
    return head.encode() + b'\r\n\r\n' + packed


@pytest.mark.parametrize(
    ('encoding', 'how'),
    [
        ('gzip', 'gzip'),
        ('GZIP', 'gzip'),
        ('x-gzip', 'gzip'),
        ('deflate', 'deflate'),
        ('deflate', 'raw'),
    ],
)
@pytest.mark.parametrize('size', [1, 999, 1000])
def test_compressed_bodies(encoding, how, size):
    response = read(compressed(b'x' * size, encoding, how), max_size=1000)
    assert response.content(1000) == b'x' * size
    assert response.content(None) == b'x' * size


@pytest.mark.parametrize('how', ['gzip', 'deflate', 'raw'])
@pytest.mark.parametrize('size', [1001, 10_000_000])
def test_a_bomb(how, size):
    response = read(compressed(bytes(size), 'deflate', how))
    with pytest.raises(ProtocolError) as caught:
        response.content(1000)
    assert caught.value.code == 1009


@pytest.mark.parametrize('encoding', ['br', 'zstd', 'compress', 'gzip, gzip', '\xff' * 500])
def test_an_unknown_encoding(encoding):
    data = f'HTTP/1.1 200 OK\r\nContent-Encoding: {encoding}\r\nContent-Length: 1\r\n\r\nx'
    with pytest.raises(ProtocolError) as caught:
        read(data.encode('latin-1')).content(None)
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize('encoding', ['identity', 'Identity', ''])
def test_no_encoding(encoding):
    data = f'HTTP/1.1 200 OK\r\nContent-Encoding: {encoding}\r\nContent-Length: 1\r\n\r\nx'
    assert read(data.encode()).content(None) == b'x'


@pytest.mark.parametrize('how', ['gzip', 'deflate', 'raw'])
def test_a_compressed_body_that_is_cut(how):
    whole = compressed(b'some text of a certain length', 'gzip', how).partition(b'\r\n\r\n')[2]
    for size in range(1, len(whole) - (8 if how == 'gzip' else 4 if how == 'deflate' else 0)):
        data = b'HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n' % size
        with pytest.raises(ProtocolError):
            read(data + whole[:size]).content(1000)


def test_an_empty_body_needs_no_decompression():
    assert (
        read(b'HTTP/1.1 200 OK\r\nContent-Encoding: br\r\nContent-Length: 0\r\n\r\n').content(None)
        == b''
    )


# -- Anything --------------------------------------------------------------------------------------


@given(st.binary(max_size=300), st.sampled_from([1, 3, 1000]))
def test_any_bytes_are_a_response_or_one_kind_of_error(data, size):
    for begin in (b'', OK, CHUNKED):
        whole = begin + data
        try:
            response = read(
                *[whole[at : at + size] for at in range(0, len(whole), size)], max_size=100
            )
        except EngineIOError:
            continue
        assert len(response.body) <= 100


@given(st.lists(st.binary(min_size=1, max_size=50)), st.integers(1, 20))
def test_chunks_round_trip(chunks, size):
    body = b''.join(b'%x\r\n%s\r\n' % (len(chunk), chunk) for chunk in chunks)
    data = CHUNKED + body + b'0\r\n\r\n'
    response = read(*[data[at : at + size] for at in range(0, len(data), size)])
    assert response.body == b''.join(chunks)
    assert response.keep_alive


# -- Requests --------------------------------------------------------------------------------------


def test_requests():
    headers = [('Host', 'a.test'), ('X', '\xfc')]
    assert encode_request('GET', '/x?y', headers, None) == (
        b'GET /x?y HTTP/1.1\r\nHost: a.test\r\nX: \xfc\r\n\r\n'
    )
    assert encode_request('POST', '/', headers[:1], b'\x00\xff') == (
        b'POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 2\r\n\r\n\x00\xff'
    )
    assert encode_request('POST', '/', [], b'').endswith(b'Content-Length: 0\r\n\r\n')


def test_a_real_socket():
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.sendall(WHOLE[0][1])
        assert Response(ours, 100).body == b'hello'
