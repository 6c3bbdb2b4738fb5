"""HTTP/1.1 byte by byte: whole responses, every cut, and what is no response."""

from __future__ import annotations

import gzip
import random
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engineio_gevent.exceptions import ConnectionClosed, EngineIOError, ProtocolError
from engineio_gevent.protocol.http1 import (
    MAX_HEAD,
    MAX_HEADERS,
    MAX_INTERIM,
    MAX_MEMBERS,
    NothingCame,
    Response,
    encode_request,
)

OK = b'HTTP/1.1 200 OK\r\n'
CHUNKED = OK + b'Transfer-Encoding: chunked\r\n\r\n'


def read(*pieces, max_size=None):
    """The response in these pieces, after which the server closes the connection."""
    response = Response(max_size)
    for piece in pieces:
        if piece and response.feed(piece):
            return response
    response.end()
    return response


def facts(response):
    """All that a response says but for the bytes after it."""
    return response.status, response.headers, response.cookies, response.body


def outcome(*pieces, max_size=None):
    """What comes of these pieces: the facts of a response, or the error.

    Of bytes that are no response, an error shows those that have come by then.
    """
    try:
        return facts(read(*pieces, max_size=max_size))
    except EngineIOError as error:
        text = str(error).partition('it begins')[0]
        return type(error), text, getattr(error, 'code', None)


def random_bytes(size):
    return random.Random(size).randbytes(size)


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
        False,
    ),
    (
        'chunks-after-length',
        CHUNKED[:-2] + b'Content-Length: 5\r\n\r\n5\r\nhello\r\n0\r\n\r\n',
        200,
        b'hello',
        False,
    ),
    (
        'chunks-in-http-1.0',
        b'HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nTransfer-Encoding: chunked\r\n\r\n'
        b'5\r\nhello\r\n0\r\n\r\n',
        200,
        b'hello',
        False,
    ),
    ('padded-size', CHUNKED + b'5 \t\r\nhello\r\n0\r\n\r\n', 200, b'hello', True),
    (
        'interim',
        b'HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n'
        b'HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello',
        200,
        b'hello',
        True,
    ),
    ('last-interim', b'HTTP/1.1 199 x\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n', 204, b'', True),
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
    assert facts(read(*bytewise(data))) == facts(read(data))


@every_whole
def test_every_cut_in_two(data, status, body, kept):
    for at in range(1, len(data)):
        assert facts(read(data[:at], data[at:])) == facts(read(data))


@every_whole
def test_a_response_is_complete_with_its_last_byte(data, status, body, kept):
    whole = data.removesuffix(b'HTTP/1.1')
    response = Response(None)
    assert [response.feed(byte) for byte in bytewise(whole)[:-1]] == [False] * (len(whole) - 1)
    ends_by_itself = b'\r\n\r\nhello' not in data or b'Length' in data or b'chunked' in data
    assert response.feed(whole[-1:]) is ends_by_itself
    assert response.rest == b''
    response.end()
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
            if status >= 300 and response.body == b'':
                continue  # the status of a refusal says enough
            # Only what has no length of its own may end anywhere, and what is behind is no part.
            assert response.body == whole.body or b'\r\n\r\nhello'.startswith(
                data[data.rindex(b'\r\n\r\n') : at]
            )
            assert not response.keep_alive or at >= len(data) - len(b'HTTP/1.1')


@pytest.mark.parametrize(
    ('head', 'websocket', 'complete'),
    [
        (b'', False, False),
        (b'HTTP/1.1 503 Bu', False, False),
        (b'HTTP/1.1 200 OK\r\n\r\n12', False, False),
        (b'HTTP/1.1 299 OK\r\nContent-Length: 5\r\n\r\n12', False, False),
        (b'HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n12', True, True),
        (b'HTTP/1.1 300 -\r\n\r\n12', False, True),
        (b'HTTP/1.1 503 Busy\r\nContent-Length: 5\r\n\r\n12', False, True),
        (b'HTTP/1.1 503 Busy\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n12', False, True),
    ],
)
def test_a_refusal_that_is_cut_is_complete_without_its_body(head, websocket, complete):
    response = Response(None, websocket=websocket)
    response.feed(head)
    assert response.cut() is complete
    if complete:
        assert (response.body, response.keep_alive) == (b'', False)


def test_bodies_that_end_with_the_connection():
    response = Response(None)
    seen = []
    for piece in (OK, b'\r\n', b'hello'):
        response.feed(piece)
        seen.append(response.ends_with_connection)
    response.end()
    assert [*seen, response.ends_with_connection] == [False, True, True, False]
    for head in (OK + b'Content-Length: 5\r\n\r\n', CHUNKED, b'HTTP/1.1 101 -\r\n\r\n'):
        response = Response(None)
        response.feed(head)
        assert response.ends_with_connection is False


def test_nothing_after_an_interim_response_is_not_nothing():
    with pytest.raises(ConnectionClosed) as caught:
        read(b'HTTP/1.1 100 Continue\r\n\r\n')
    assert not isinstance(caught.value, NothingCame)


def test_after_status_101_comes_another_protocol():
    head = b'HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n'
    for rest in (b'', b'\x81\x05hello', b'\r\n\r\n'):
        for at in range(1, len(head)):
            response = Response(None)
            assert not response.feed(head[:at])
            assert response.feed(head[at:] + rest)
            assert (response.status, response.rest) == (101, rest)
            assert not response.keep_alive
            assert response.headers == {'upgrade': 'websocket'}


@pytest.mark.parametrize('status', [300, 302, 403, 503])
@pytest.mark.parametrize(
    'rest',
    [
        b'Content-Length: 11\r\n\r\n',
        b'Content-Length: 11\r\n\r\nhello there',
        b'\r\nhello there',
        b'Transfer-Encoding: chunked\r\n\r\n6\r\nhello \r\n5\r\nthere\r\n0\r\n\r\n',
        b'Transfer-Encoding: chunked\r\n\r\nb\r\n',
    ],
)
@pytest.mark.parametrize('cut', [lambda data: [data], bytewise], ids=['whole', 'bytewise'])
def test_a_refusal_that_is_too_large_has_no_body(status, rest, cut):
    response = Response(10)
    for piece in cut(b'HTTP/1.1 %d No\r\nRetry-After: 5\r\n' % status + rest):
        if response.feed(piece):
            break
    else:
        pytest.fail('it is not complete')
    assert (response.status, response.body, response.keep_alive) == (status, b'', False)
    assert response.headers['retry-after'] == '5'


@pytest.mark.parametrize('status', [200, 299])
def test_a_success_that_is_too_large_is_a_fault(status):
    with pytest.raises(ProtocolError, match=r'^response larger than 10 bytes$'):
        Response(10).feed(b'HTTP/1.1 %d\r\nContent-Length: 11\r\n\r\n' % status)


@pytest.mark.parametrize(
    ('encoding', 'body'),
    [
        (b'br', b'xyz'),
        (b'gzip', gzip.compress(b'hello')[:-4]),
        (b'gzip', b'xyz'),
        (b'gzip', gzip.compress(b'x' * 1000)),
    ],
    ids=['unknown', 'cut', 'other', 'too-large'],
)
@pytest.mark.parametrize('status', [200, 299, 300, 403])
def test_a_refusal_whose_body_cannot_be_decoded(encoding, body, status):
    head = b'HTTP/1.1 %d\r\nContent-Encoding: %s\r\nContent-Length: %d\r\n\r\n'
    response = read(head % (status, encoding, len(body)) + body)
    if status < 300:
        with pytest.raises(ProtocolError):
            response.content(100)
    else:
        assert response.content(100) == b''


def test_a_refusal_of_an_upgrade_has_a_body():
    response = read(b'HTTP/1.1 403 No\r\nContent-Length: 2\r\n\r\nno')
    assert (response.status, response.body, response.rest) == (403, b'no', b'')


def test_the_rest_of_a_connection_that_is_kept():
    response = read(b'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP')
    assert (response.body, response.rest, response.keep_alive) == (b'ok', b'HTTP', False)


def test_chunks_are_counted():
    response = Response(None)
    response.feed(CHUNKED)
    assert response.chunks == 0
    response.feed(b'1\r\nx\r\n' * 3 + b'1\r\n')
    assert response.chunks == 4


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
    b'HTTP/1.1 200 OK\r\nX: a\r\n folded: b\r\n\r\n',
    b'HTTP/1.1 200 OK\r\n\tX: a\r\n\r\n',
    b'HTTP/1.1 200 OK\r\nX: a\rTransfer-Encoding: chunked\r\n\r\n',
    b'HTTP/1.1 200 OK\r\nX: a\r\r\nContent-Length: 1\r\n\r\nx',
    b'HTTP/1.1 200 OK\rX: a\r\n\r\n',
    b'HTTP/1.1 200 OK\r\nX: a\0b\r\n\r\n',
    b'HTTP/1.1 200 OK\r\nTransfer-Encoding\x0b: chunked\r\n\r\n',
    b'HTTP/1.1 200 OK\r\nTransfer Encoding: chunked\r\n\r\n',
    b'HTTP/1.1 200 OK\r\nTransfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n',
    b'HTTP/1.1 200 OK\r\nTransfer-Encoding: identity\r\nContent-Length: 1\r\n\r\nx',
    b'HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n',
    b'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n',
    b'HTTP/1.1 200 OK\r\nContent-Length: 1\xa0\r\n\r\nx',
    b'HTTP/1.1 200 OK\r\nContent-Length: 1,\r\n\r\nx',
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
    CHUNKED + b' 1\r\na\r\n0\r\n\r\n',
    CHUNKED + b'+1\r\na\r\n0\r\n\r\n',
    CHUNKED + b'1_0\r\na\r\n0\r\n\r\n',
    CHUNKED + b'1 1\r\na\r\n0\r\n\r\n',
    CHUNKED + b'1\x0b\r\na\r\n0\r\n\r\n',
    CHUNKED + b'1\r\r\na\r\n0\r\n\r\n',
    CHUNKED + b'1;x\ry\r\na\r\n0\r\n\r\n',
    CHUNKED + b'1\na\r\n0\r\n\r\n',
    CHUNKED + b'1\r\na\n0\r\n\r\n',
    CHUNKED + b'1;x\na\r\n0\r\n\r\n',
]


@pytest.mark.parametrize('data', NO_RESPONSES, ids=range(len(NO_RESPONSES)))
@pytest.mark.parametrize('cut', [lambda data: [data], bytewise], ids=['whole', 'bytewise'])
def test_what_is_no_response(data, cut):
    with pytest.raises(ProtocolError) as caught:
        read(*cut(data), b'and more of it')
    assert len(str(caught.value)) < 200
    assert outcome(*cut(data), b'and more of it') == outcome(data + b'and more of it')


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
    pieces = [data[at : at + 1000] for at in range(0, len(data), 1000)]
    assert outcome(*pieces, b'x' * 100_000) == outcome(data + b'x' * 100_000)


@pytest.mark.parametrize('over', [0, 1])
@pytest.mark.parametrize('end', [b'\n\n', b'\r\n\r\n', b'\r\n\n'])
@pytest.mark.parametrize('last', [1, 2, 3, 1000, MAX_HEAD])
def test_the_largest_head(over, end, last):
    """Its size is counted without the line end and the empty line, however it is cut."""
    carriage_return = end.startswith(b'\r')
    head = OK + b'X: ' + b'x' * (MAX_HEAD - len(OK) - 3 - carriage_return + over) + end
    data = head + b'body'
    at = len(head) - last
    wanted = outcome(data)
    assert wanted[0] == (ProtocolError if over else 200)
    assert outcome(data[:at], data[at:]) == wanted


@pytest.mark.parametrize('over', [0, 1])
def test_a_head_is_refused_as_soon_as_it_must_be_too_large(over):
    """Its last two bytes may still be the beginning of the empty line."""
    begins = OK + b'X: ' + b'x' * (MAX_HEAD - len(OK) - 4 + over) + b'\r\n\r'
    response = Response(None)
    if over:
        with pytest.raises(ProtocolError, match='header larger'):
            response.feed(begins)
    else:
        assert not response.feed(begins)


@pytest.mark.parametrize('over', [0, 1])
@pytest.mark.parametrize('last', [1, 2, 1000])
def test_the_largest_line_of_a_chunk(over, last):
    line = b'1;' + b'x' * (MAX_HEAD - 3 + over) + b'\r\n'
    data = CHUNKED + line + b'x\r\n0\r\n\r\n'
    at = len(CHUNKED + line) - last
    assert outcome(data)[0] == (ProtocolError if over else 200)
    assert outcome(data[:at], data[at:]) == outcome(data)


@pytest.mark.parametrize('over', [0, 1])
def test_the_most_trailers(over):
    data = CHUNKED + b'0\r\n' + b'X: y\r\n' * (MAX_HEADERS + over) + b'\r\n'
    assert outcome(data)[0] == (ProtocolError if over else 200)


TOO_LONG = 'x' * 50


@pytest.mark.parametrize(
    ('data', 'text'),
    [
        (f'SSH-{TOO_LONG}', f'not an HTTP response: it begins {"SSH-" + "x" * 36!r}'),
        (f'HTTP/2 {TOO_LONG}\r\n\r\n', f'not an HTTP response: it begins {"HTTP/2 " + "x" * 33!r}'),
        ('HTTP/1.1 2\r\nA: b\r\n\r\n', "not an HTTP response: it begins 'HTTP/1.1 2'"),
        (
            f'HTTP/1.1 200\r\n{TOO_LONG}\r\n\r\n',
            f'invalid header line in the response: {"x" * 40!r}',
        ),
        (
            f'HTTP/1.1 200\r\nTransfer-Encoding: {TOO_LONG}\r\n\r\n',
            f'response with an unsupported Transfer-Encoding: {"x" * 40!r}',
        ),
        (
            f'HTTP/1.1 200\r\nContent-Length: {TOO_LONG}\r\n\r\n',
            f'invalid Content-Length in the response: {"x" * 40!r}',
        ),
        (f'HTTP/1.1 200\r\nX: {"x" * MAX_HEAD}', f'response header larger than {1 << 16} bytes'),
        (
            'HTTP/1.1 200\r\n' + 'X: y\r\n' * 101 + '\r\n',
            'response with more than 100 header lines',
        ),
        ('HTTP/1.1 100\r\n\r\n' * 11, 'more than 10 interim (1xx) responses'),
        (
            CHUNKED.decode() + f'{TOO_LONG}\r\n',
            f'invalid chunk size in the response: {b"x" * 40!r}',
        ),
        (
            CHUNKED.decode() + '1;' + 'x' * MAX_HEAD,
            f'chunk line in the response larger than {1 << 16} bytes',
        ),
        (CHUNKED.decode() + '1\r\nxy\r\n', 'response chunk longer than its declared size'),
        (CHUNKED.decode() + '1\n', 'chunk line in the response that does not end with CR LF'),
        ('HTTP/1.1 200\r\nX: a\rb\r\n\r\n', 'response header with a lone CR or a NUL'),
        (
            CHUNKED.decode() + '0\r\n' + 'X: y\r\n' * 101,
            'response with more than 100 trailer lines',
        ),
    ],
)
def test_what_errors_say(data, text):
    """Each names the limit or the beginning of what was wrong, and is raised at once."""
    with pytest.raises(ProtocolError) as caught:
        Response(None).feed(data.encode())
    assert str(caught.value) == text
    assert caught.value.code == 1002


def test_before_anything_has_come():
    response = Response(None)
    assert (response.status, response.headers, response.cookies) == (0, {}, [])
    assert (response.body, response.rest) == (b'', b'')


@pytest.mark.parametrize('digits', [18, 19])
def test_the_longest_length(digits):
    head = b'HTTP/1.1 200 OK\r\nContent-Length: %s\r\n\r\n' % (b'1' * digits)
    if digits == 18:
        assert not Response(None).feed(head)
    else:
        with pytest.raises(ProtocolError, match='invalid Content-Length'):
            Response(None).feed(head)


def test_an_empty_line_in_place_of_the_size_of_a_chunk():
    """At the very beginning of what came."""
    response = Response(None)
    response.feed(CHUNKED)
    with pytest.raises(ProtocolError, match='does not end with CR LF'):
        response.feed(b'\n' + b'x' * (MAX_HEAD + 1))


def test_the_largest_head_after_an_interim_response():
    head = OK + b'X: ' + b'x' * (MAX_HEAD - len(OK) - 4) + b'\r\n\r\n'
    response = Response(None)
    response.feed(b'HTTP/1.1 100 Continue\r\n\r\n' + head)
    assert response.status == 200


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


@pytest.mark.parametrize(
    'banner',
    [
        b'SSH-2.0-OpenSSH\r',
        b'HTTQ\n',
        b'SSH-2.0' + b'x' * 33,
        b'\x00',
        b'\x08',
        b'\x0a',
        b'\x1f',
        b'\x7f',
        b'\xff',
        b'HT\x15',
        b'*1\r',
    ],
)
def test_what_is_no_response_is_refused_before_its_end(banner):
    """A line that has ended, or a byte that no text has, is enough."""
    with pytest.raises(ProtocolError, match='not an HTTP response: it begins'):
        Response(None).feed(banner)
    response = Response(None)
    assert not any(response.feed(byte) for byte in bytewise(banner[:-1]))
    with pytest.raises(ProtocolError, match='not an HTTP response: it begins'):
        response.feed(banner[-1:])


@pytest.mark.parametrize('alien', [b'SSH', b'S\tH', b'HTTQ'])
def test_a_few_bytes_that_are_no_response(alien):
    for cut in range(1, len(alien) + 1):
        with pytest.raises(ProtocolError) as caught:
            read(alien[:cut], alien[cut:])
        assert str(caught.value) == f'not an HTTP response: it begins {alien.decode()!r}'


def test_a_short_binary_answer_is_not_waited_for():
    """A server that wants TLS sends an alert."""
    with pytest.raises(ProtocolError) as caught:
        Response(None).feed(b'\x15\x03\x01\0\x02\x02\x46')
    assert str(caught.value) == (
        "not an HTTP response: it begins '\\x15\\x03\\x01\\x00\\x02\\x02F'"
    )


@pytest.mark.parametrize('start', [b'', b'HT', b'HTTP/1.1 200'])
def test_what_might_have_become_a_response(start):
    with pytest.raises(ConnectionClosed):
        read(start)


@pytest.mark.parametrize(
    'head',
    [b'HTTP/1.1 200 OK\r\nContent-Length: 1001\r\n\r\n', CHUNKED + b'3e9\r\n'],
    ids=['length', 'chunk'],
)
def test_a_body_over_the_limit_is_not_waited_for(head):
    with pytest.raises(ProtocolError) as caught:
        Response(1000).feed(head)
    assert caught.value.code == 1009


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


@pytest.mark.parametrize('encoding', ['gzip', 'deflate'])
def test_a_body_that_is_not_compressed(encoding):
    data = f'HTTP/1.1 200 OK\r\nContent-Encoding: {encoding}\r\nContent-Length: 5\r\n\r\nhello'
    with pytest.raises(ProtocolError, match=f'response body is not valid {encoding}: Error -3'):
        read(data.encode()).content(None)


def test_the_name_of_an_unknown_encoding_is_cut():
    data = f'HTTP/1.1 200 OK\r\nContent-Encoding: {TOO_LONG}\r\nContent-Length: 1\r\n\r\nx'
    with pytest.raises(ProtocolError) as caught:
        read(data.encode()).content(None)
    assert str(caught.value) == f'response with an unsupported Content-Encoding: {"x" * 40!r}'


@pytest.mark.parametrize('how', ['gzip', 'deflate', 'raw'])
def test_a_compressed_body_that_is_cut(how):
    whole = compressed(b'some text of a certain length', 'gzip', how).partition(b'\r\n\r\n')[2]
    for size in range(1, len(whole) - (8 if how == 'gzip' else 4 if how == 'deflate' else 0)):
        data = b'HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n' % size
        with pytest.raises(ProtocolError):
            read(data + whole[:size]).content(1000)


def encoded(body, encoding='gzip'):
    head = f'HTTP/1.1 200 OK\r\nContent-Encoding: {encoding}\r\nContent-Length: {len(body)}'
    return read(head.encode() + b'\r\n\r\n' + body)


def test_all_members_of_gzip_are_decompressed():
    parts = [b'4one', b'', b'x' * 100_000, random_bytes(5000), b'2']
    body = b''.join(map(gzip.compress, parts))
    whole = b''.join(parts)
    assert encoded(body).content(None) == whole
    assert encoded(body).content(len(whole)) == whole


def test_members_of_every_size():
    """They end before, at and after each piece that is given to zlib."""
    for size in range(480, 530):
        parts = [random_bytes(size), random_bytes(2000 - size), b'end']
        assert encoded(b''.join(map(gzip.compress, parts))).content(None) == b''.join(parts)


def test_the_limit_is_one_for_all_members():
    body = gzip.compress(b'x' * 600) * 2
    assert encoded(body).content(1200) == b'x' * 1200
    for limit in (599, 600, 601, 1199):
        with pytest.raises(ProtocolError) as caught:
            encoded(body).content(limit)
        assert caught.value.code == 1009


@pytest.mark.parametrize('junk', [b'\0', b'\0' * 8, b'junk', b'\x1f', b'\x1f\x8b', b'\x1f\x8bx'])
@pytest.mark.parametrize('how', ['gzip', 'deflate', 'raw'])
def test_junk_after_a_compressed_body(how, junk):
    body = compressed(b'4hello', 'gzip', how).partition(b'\r\n\r\n')[2]
    for size in (len(body), 600):  # zlib gets 512 bytes at first
        for limit in (None, 1000):
            with pytest.raises(ProtocolError):
                encoded(body + junk * (size // len(body)), how.replace('raw', 'deflate')).content(
                    limit
                )


def test_a_member_that_is_cut():
    first = gzip.compress(b'4one')
    whole = first + gzip.compress(b'4two')
    for size in range(1, len(whole)):
        if size != len(first):  # the only cut that nobody can see
            with pytest.raises(ProtocolError):
                encoded(whole[:size]).content(1000)


def test_deflate_without_a_header():
    for number in range(300):
        text = random_bytes(number)[: number % 40 + 1]
        assert encoded(zlib.compress(text)[2:-4], 'deflate').content(None) == text


@pytest.mark.parametrize(
    ('body', 'marks', 'text'),
    [
        (b'\1\x17\0\xe8\xff' + b'x' * 23, (False, True), b'x' * 23),
        (b'\x08\1\0\xfe\xffx' + b'\1\0\0\xff\xff', (True, False), b'x'),
    ],
)
def test_deflate_with_a_mark_of_a_header(body, marks, text):
    """Its first bytes may have one of the two; blocks that are stored, as compressors differ."""
    assert (body[0] & 15 == 8, int.from_bytes(body[:2], 'big') % 31 == 0) == marks
    assert encoded(body, 'deflate').content(None) == text


def test_no_member_is_decompressed_above_the_limit(monkeypatch):
    """Not even the last, which shares the limit with the others."""
    sizes = []
    make = zlib.decompressobj

    class Measuring:
        def __init__(self, window):
            self._inflater = make(window)

        def __getattr__(self, name):
            return getattr(self._inflater, name)

        def decompress(self, *arguments):
            part = self._inflater.decompress(*arguments)
            sizes.append(len(part))
            return part

    monkeypatch.setattr(zlib, 'decompressobj', Measuring)
    body = gzip.compress(bytes(600)) + gzip.compress(bytes(100_000))
    with pytest.raises(ProtocolError) as caught:
        encoded(body).content(1000)
    assert caught.value.code == 1009
    assert sizes == [600, 401]


def test_many_empty_members_take_linear_time(monkeypatch):
    """Each byte is copied a bounded number of times, however many members follow."""
    copied = []
    make = zlib.decompressobj

    class Counting:
        def __init__(self, window):
            self._inflater = make(window)

        def __getattr__(self, name):
            return getattr(self._inflater, name)

        @property
        def unused_data(self):
            copied.append(len(self._inflater.unused_data))
            return self._inflater.unused_data

    monkeypatch.setattr(zlib, 'decompressobj', Counting)
    body = gzip.compress(b'') * 5000
    assert encoded(body).content(1000) == b''
    assert len(copied) == 5000
    assert sum(copied) < 50 * len(body)


def test_the_number_of_members_is_limited():
    """Even if they are empty, each takes time, and there is room for 5 million in 100 MiB."""
    members = gzip.compress(b'') * (MAX_MEMBERS - 1) + gzip.compress(b'4last')
    assert encoded(members).content(1000) == b'4last'
    with pytest.raises(ProtocolError, match='more than 10000 members') as caught:
        encoded(members + gzip.compress(b'')).content(1000)
    assert caught.value.code == 1009


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
            response = read(whole, max_size=100)
        except EngineIOError:
            pass
        else:
            assert len(response.body) <= 100
        pieces = [whole[at : at + size] for at in range(0, len(whole), size)]
        assert outcome(*pieces, max_size=100) == outcome(whole, max_size=100)


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


@pytest.mark.parametrize('status', [200, 299, 300, 503])
@pytest.mark.parametrize('headers', ['', 'Content-Encoding: gzip\r\n'])
def test_each_answer_but_101_is_a_refusal_of_a_websocket(status, headers):
    head = f'HTTP/1.1 {status} X\r\n{headers}Content-Length: %d\r\n\r\n'
    response = Response(10, websocket=True)
    assert response.feed((head % 11).encode())
    assert (response.status, response.body, response.keep_alive) == (status, b'', False)
    response = Response(10, websocket=True)
    assert response.feed((head % 5).encode() + b'hello')
    assert response.content(10) == (b'' if headers else b'hello')
