"""Time and memory against what servers can send: linear, and bounded by the limits.

Time is compared, never bounded: of a stream and one four times as long, the quickest of a few
runs each. Four times the time is linear work, sixteen times is quadratic.
"""

from __future__ import annotations

import contextlib
import gc
import gzip
import json
import os
import struct
import subprocess
import sys
import time
import tracemalloc
import zlib
from pathlib import Path

import pytest

import engineio_gevent
from engineio_gevent.exceptions import EngineIOError, ProtocolError
from engineio_gevent.protocol import open_packet, packet, payload
from engineio_gevent.protocol.frames import FrameDecoder
from engineio_gevent.protocol.http1 import MAX_HEAD, Response
from engineio_gevent.transports.cookies import Cookies

MIB = 1 << 20
PROJECT = str(Path(engineio_gevent.__file__).parent.parent)
URL = 'http://example.com/engine.io/'
OK = b'HTTP/1.1 200 OK\r\n'
CHUNKED = OK + b'Transfer-Encoding: chunked\r\n\r\n'


def feed(limit, pieces):
    """Give a decoder these pieces; how many messages come out."""
    decoder = FrameDecoder(limit)
    try:
        return sum(len(decoder.feed(piece)) for piece in pieces)
    except ProtocolError as error:
        return error.code


def read(limit, pieces):
    """Read a response; the length of its content, or the code of the fault."""
    try:
        response = Response(limit)
        if not any(map(response.feed, pieces)):  # up to the one that completes it
            response.end()
        return len(response.content(limit))
    except ProtocolError as error:
        return error.code


def unpack(limit, body):
    try:
        return len(payload.decode(body))
    except ProtocolError as error:
        return len(error.decoded)


def parse(limit, text):
    return packet.parse_text(text, json.loads)


def open_(limit, text):
    with contextlib.suppress(ProtocolError):
        return open_packet.parse(text)


def repeated(begin, piece, count, end=b''):
    yield begin
    for _ in range(count):
        yield bytes(bytearray(piece))  # a new object each time, as a socket gives it
    yield end


def bytewise(data, size=1):
    return (data[at : at + size] for at in range(0, len(data), size))


# -- Linear ----------------------------------------------------------------------------------------


def header(first, length):
    return struct.pack('!BBQ', first, 127, length)


PINGS = b'\x89\x01p' * 1000
TINY = b'\x00\x01x' * 1000
NESTED = '[' * 400 + ']' * 400 + ','

SHAPES = {
    'frame-bytewise': (feed, lambda n: bytewise(header(0x82, 20 * n) + bytes(20 * n))),
    'small-frames': (feed, lambda n: repeated(b'', b'\x82\x01x' * 1000, n // 50)),
    'fragments': (feed, lambda n: repeated(b'\x02\x01x', TINY, n // 50, b'\x80\x00')),
    'empty-fragments': (
        feed,
        lambda n: repeated(b'\x02\x01x', b'\x00\x00' * 1000, n // 50, b'\x80\x00'),
    ),
    'pings-in-a-message': (feed, lambda n: repeated(b'\x02\x01x', PINGS, n // 50, b'\x80\x00')),
    'frames-cut-in-the-header': (feed, lambda n: repeated(b'\x82', b'\x00\x82', 10 * n)),
    'length-bytewise': (
        read,
        lambda n: bytewise(OK + b'Content-Length: %d\r\n\r\n' % (20 * n) + bytes(20 * n)),
    ),
    'to-the-end-bytewise': (read, lambda n: repeated(OK + b'\r\n', b'x', 20 * n)),
    'small-chunks': (
        read,
        lambda n: repeated(CHUNKED, b'1\r\nx\r\n' * 1000, n // 50, b'0\r\n\r\n'),
    ),
    'chunks-bytewise': (read, lambda n: bytewise(CHUNKED + b'1\r\nx\r\n' * (2 * n) + b'0\r\n\r\n')),
    # each read ends within a chunk and brings the size of the next
    'chunks-cut-in-the-middle': (
        read,
        lambda n: repeated(
            CHUNKED + b'400\r\n' + bytes(512),
            bytes(512) + b'\r\n400\r\n' + bytes(512),
            2 * n,
            bytes(512) + b'\r\n0\r\n\r\n',
        ),
    ),
    'inflated': (
        read,
        lambda n: [OK + b'Content-Encoding: gzip\r\n\r\n', zlib.compress(bytes(100 * n), 1)],
    ),
    'empty-members': (
        read,
        lambda n: [OK + b'Content-Encoding: gzip\r\n\r\n', gzip.compress(b'') * (n // 10)],
    ),
    'packets': (unpack, lambda n: b'\x1e'.join([b'4x'] * (20 * n))),
    'binary-packets': (unpack, lambda n: b'\x1e'.join([b'bAAAA'] * (5 * n))),
    'empty-packets': (unpack, lambda n: b'\x1e' * (50 * n)),
    'json-array': (parse, lambda n: '[' + '1,' * (20 * n) + '1]'),
    'json-nested': (parse, lambda n: '[' + NESTED * (n // 50) + '1]'),
    'json-too-deep': (parse, lambda n: '[' * (200 * n)),
    'json-too-deep-objects': (parse, lambda n: '{"a":' * (200 * n)),
    'json-deep-in-the-end': (parse, lambda n: '[' + '{},' * (20 * n) + '[' * (20 * n)),
    'json-escapes': (parse, lambda n: '["' + '\\"' * (50 * n)),
    'json-backslashes': (parse, lambda n: '["' + '\\' * (50 * n)),
    'json-escaped-brackets': (parse, lambda n: '["' + '\\"[' * (50 * n) + '"]'),
    'json-strings': (parse, lambda n: '[' + '"[",' * (20 * n) + '1]'),
    'json-figures': (parse, lambda n: '-' + '9' * (200 * n)),
    'json-white-space': (parse, lambda n: ' ' * (200 * n) + 'x'),
    'handshake': (open_, lambda n: '{"sid":"a","upgrades":[' + '"x",' * (20 * n) + '"x"]}'),
}
"""A reader, and what it reads for a number n of about a thousand: work for some milliseconds."""


def quickest(shape, size):
    reader, make = SHAPES[shape]
    times = []
    for _ in range(4):
        data = make(size)
        begun = time.thread_time()
        reader(None, data)
        times.append(time.thread_time() - begun)
    return min(times)


@pytest.mark.parametrize('shape', SHAPES)
def test_time_is_linear(shape):
    size = 1000
    gc.disable()
    try:
        # below some milliseconds, what the clock and the allocator do counts too much
        while quickest(shape, size) < 0.004 and size < 16_000:
            size *= 2
        ratio = 99.0
        for _ in range(5):  # one of them is enough: nothing quadratic is linear by chance
            larger = quickest(shape, 4 * size)
            ratio = min(ratio, larger / quickest(shape, size))
            if ratio < 8 or larger < 0.01:
                return
    finally:
        gc.enable()
    assert ratio < 8, f'{shape}: {ratio:.1f} times the time for 4 times the bytes, from {size}'


@pytest.mark.parametrize(
    ('begin', 'piece'),
    [
        (b'', b'x'),
        (OK, b'X: y\r\n'),
        (OK + b'X: ', b'y'),
        (OK, b'Set-Cookie: a=b\r\n'),
        (b'', b'HTTP/1.1 100 Continue\r\n\r\n'),
        (CHUNKED, b'0'),
        (CHUNKED + b'1;', b'x'),
        (CHUNKED + b'0\r\n', b'X: y\r\n'),
        (CHUNKED, b'\r\n'),
        (OK, b' '),
        (b'', b'\n'),
        (CHUNKED + b'1', b'\n'),
    ],
    ids=[
        'junk',
        'lines',
        'line',
        'cookies',
        'interim',
        'size',
        'extension',
        'trailers',
        'no-sizes',
        'folds',
        'feeds',
        'chunk-without-end',
    ],
)
def test_a_response_without_end_is_given_up_within_the_limit_of_its_head(begin, piece):
    """Counted in bytes: what never gets to a body is refused after 64 KiB and one read."""
    taken = 0

    def pieces():
        nonlocal taken
        yield begin
        while taken < 4 * MAX_HEAD:
            taken += 1000 * len(piece)
            yield piece * 1000

    with pytest.raises(EngineIOError):
        any(map(Response(1000).feed, pieces()))
    assert taken <= MAX_HEAD + 70_000


# -- Memory ----------------------------------------------------------------------------------------

LIMIT = 256 * 1024

STREAMS = {
    'one-frame': lambda: feed(LIMIT, repeated(header(0x82, LIMIT), bytes(4096), LIMIT // 4096)),
    'one-frame-trickled': lambda: feed(LIMIT, repeated(header(0x82, LIMIT), b'ab', LIMIT // 2)),
    'a-frame-over-the-limit': lambda: feed(
        LIMIT, repeated(header(0x82, LIMIT + 1), bytes(4096), 4 * LIMIT // 4096)
    ),
    'the-largest-frame': lambda: feed(
        LIMIT, repeated(header(0x82, (1 << 63) - 1), bytes(4096), 4 * LIMIT // 4096)
    ),
    'fragments': lambda: feed(
        LIMIT, repeated(b'\x02\x00', b'\x00\x02ab' * 1000, LIMIT // 2000, b'\x80\x00')
    ),
    'fragments-without-end': lambda: feed(
        LIMIT, repeated(b'\x02\x00', b'\x00\x02ab' * 1000, LIMIT // 1000)
    ),
    'empty-fragments-without-end': lambda: feed(
        LIMIT, repeated(b'\x02\x00', b'\x00\x00' * 1000, LIMIT // 2000)
    ),
    'pings-in-a-message': lambda: feed(
        LIMIT, repeated(b'\x02\x00', b'\x89\x7d' + bytes(125), LIMIT // 25)
    ),
    'length': lambda: read(
        LIMIT, repeated(OK + b'Content-Length: %d\r\n\r\n' % LIMIT, bytes(4096), LIMIT // 4096)
    ),
    'length-over-the-limit': lambda: read(
        LIMIT, repeated(OK + b'Content-Length: 99999999999999\r\n\r\n', bytes(4096), 1000)
    ),
    'length-trickled': lambda: read(
        LIMIT, repeated(OK + b'Content-Length: %d\r\n\r\n' % LIMIT, b'ab', LIMIT // 2)
    ),
    'to-the-end': lambda: read(LIMIT, repeated(OK + b'\r\n', bytes(4096), 4 * LIMIT // 4096)),
    'to-the-end-trickled': lambda: read(LIMIT, repeated(OK + b'\r\n', b'ab', LIMIT // 2)),
    'chunks': lambda: read(
        LIMIT, repeated(CHUNKED, b'1000\r\n' + bytes(4096) + b'\r\n', LIMIT // 4096, b'0\r\n\r\n')
    ),
    'chunks-without-end': lambda: read(
        LIMIT, repeated(CHUNKED, b'1000\r\n' + bytes(4096) + b'\r\n', LIMIT)
    ),
    'small-chunks': lambda: read(
        LIMIT, repeated(CHUNKED, b'2\r\nab\r\n' * 1000, LIMIT // 2000, b'0\r\n\r\n')
    ),
    'chunks-cut-in-the-middle': lambda: read(
        LIMIT, repeated(CHUNKED + b'2\r\na', b'b\r\n2\r\na', LIMIT // 4, b'b\r\n0\r\n\r\n')
    ),
    # what belongs to no body counts for no limit, and must not stay
    'extensions-of-chunks': lambda: read(
        LIMIT,
        repeated(
            CHUNKED + b'2\r\na', b'b\r\n2;' + b'x' * 60_000 + b'\r\na', 200, b'b\r\n0\r\n\r\n'
        ),
    ),
    'a-chunk-over-the-limit': lambda: read(
        LIMIT, repeated(CHUNKED + b'7fffffffffffffff\r\n', bytes(4096), 1000)
    ),
    'a-bomb': lambda: read(LIMIT, [OK + b'Content-Encoding: gzip\r\n\r\n', BOMB]),
    'a-bomb-of-many-parts': lambda: read(
        LIMIT, [OK + b'Content-Encoding: gzip\r\n\r\n', gzip.compress(b'x') * 1000 + BOMB]
    ),
    'a-bomb-by-deflate': lambda: read(
        LIMIT, [OK + b'Content-Encoding: deflate\r\n\r\n', ZLIB_BOMB]
    ),
}
"""What each of them may take: what is received, once more joined, and a little."""

BOMB = gzip.compress(bytes(50 * MIB), 1)
ZLIB_BOMB = zlib.compress(bytes(50 * MIB), 1)


def peak(work):
    """The most memory that the work has had at once, in bytes."""
    gc.collect()
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        work()
        return tracemalloc.get_traced_memory()[1] - before
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize('name', STREAMS)
def test_memory_is_bounded_by_the_limit(name):
    used = peak(STREAMS[name])
    assert used < 4 * LIMIT + 256 * 1024, f'{used / LIMIT:.1f} times the limit'


@pytest.mark.parametrize(
    'body',
    [
        b'4\x1e' * 50_000 + b'4',
        b'\x1e' * 100_000,
        b'bAAAA\x1e' * 20_000 + b'4',
        b'4' + b'x' * 100_000,
        b'b' + b'A' * 100_000,
        b'4' + '\U0001f600'.encode() * 25_000,
    ],
)
def test_memory_of_packets_is_bounded_by_their_body(body):
    """A packet of a byte is a tuple of 56, a reference to it, and its text."""

    def work():
        try:
            return payload.decode(body)
        except ProtocolError:
            return None

    assert peak(work) < 64 * len(body) + MIB


def test_a_head_of_many_equal_lines():
    line = b'X: ' + b'y' * 600 + b'\r\n'
    assert peak(lambda: read(LIMIT, [OK, line * 99, b'\r\n'])) < MIB


# -- Cookies ---------------------------------------------------------------------------------------


def test_the_number_of_cookies_is_bounded():
    """RFC 6265, section 6.1, wants room for 50 of one host; a jar without bound is an attack."""
    cookies = Cookies()
    for turn in range(50):
        cookies.store(URL, [f'c{turn}-{number}={"x" * 500}' for number in range(40)])
    sent = cookies.header(URL)
    assert len(sent) <= MIB
    assert 50 <= sent.count('=') <= 1000
    assert len(cookies.jar) <= 1000


def test_fifty_usual_cookies_are_kept():
    cookies = Cookies()
    for number in range(50):
        cookies.store(URL, [f'name{number}=a usual value of a cookie {number}; Path=/'])
    sent = cookies.header(URL)
    assert all(f'name{number}=' in sent for number in range(50))


@pytest.mark.parametrize('size', [5000, 60_000])
def test_a_cookie_of_unusual_size_is_not_kept_for_ever(size):
    """The same section: at least 4096 bytes a cookie; no browser keeps more."""
    cookies = Cookies()
    cookies.store(URL, ['a=' + 'x' * size, 'b=1'])
    assert cookies.header(URL) == 'b=1'


@pytest.mark.parametrize('value', ['b\rX-Injected: 1', 'b\x00c', 'b\x0bc', 'b\x7f', 'b\x1fc'])
def test_a_cookie_with_a_control_character_is_not_sent(value):
    """A lenient server takes a lone CR for the end of a line: of its own header, or another's."""
    cookies = Cookies()
    cookies.store(URL, [f'a={value}; Path=/; Domain=.example.com', 'good=1'])
    assert cookies.header(URL) == 'good=1'


# -- Nesting ---------------------------------------------------------------------------------------

DEEP = {
    'arrays': '[' * 100_000 + ']' * 100_000,
    'open': '[' * 100_000,
    'objects': '{"a":' * 100_000 + '1' + '}' * 100_000,
    'mixed': '[{"a":' * 50_000,
    'brackets-in-text-before': '["[\\"[]", ' + '[' * 100_000,
}


@pytest.mark.parametrize('text', DEEP.values(), ids=DEEP)
def test_text_that_nests_too_deep_stays_text(text):
    assert packet.parse_text(text, json.loads) is text


@pytest.mark.parametrize('text', DEEP.values(), ids=DEEP)
def test_a_handshake_that_nests_too_deep_is_refused(text):
    with pytest.raises(ProtocolError):
        open_packet.parse(text)
    with pytest.raises(ProtocolError):
        open_packet.parse('{"sid":"a","upgrades":' + text)


def test_usual_nesting_is_read():
    deep = '[' * 100 + ']' * 100
    assert packet.parse_text(deep, json.loads) == json.loads(deep)


@pytest.mark.parametrize('open_', ['[', '{"a":'])
@pytest.mark.parametrize(
    'reader',
    [
        'packet.parse_text(text, json.loads)',
        'open_packet.parse(text)',
        'status_error("request", 400, {}, text.encode())',
    ],
)
def test_deep_nesting_does_not_crash_where_the_stack_is_small(reader, open_):
    """A client in a native thread: 512 KiB on macOS; CPython 3.13 nests 10,000 deep in C."""
    source = f"""
import sys, threading, json
from engineio_gevent.exceptions import ProtocolError
from engineio_gevent.protocol import open_packet, packet
from engineio_gevent.transports.http import status_error

def read():
    for depth in (4000, 9000, 50000):
        text = sys.argv[1] * depth
        try:
            {reader}
        except ProtocolError:
            pass
    print('alive')

threading.stack_size(256 * 1024)
thread = threading.Thread(target=read)
thread.start()
thread.join()
"""
    done = subprocess.run(
        [sys.executable, '-c', source, open_],
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
        env={**os.environ, 'PYTHONPATH': PROJECT},
    )
    assert (done.returncode, done.stdout) == (0, 'alive\n'), done.stderr
