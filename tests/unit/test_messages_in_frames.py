"""The fast path of what is received, against the decoder, which is the reference."""

from __future__ import annotations

import random
import struct
import sys
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engineio_gevent.exceptions import ProtocolError
from engineio_gevent.protocol.frames import (
    BINARY,
    CLOSE,
    CONTINUATION,
    LARGE,
    PING,
    PONG,
    TEXT,
    FrameDecoder,
)
from engineio_gevent.protocol.messages import split_messages

pytestmark = pytest.mark.usefixtures('implementation')


def frame(opcode, payload=b'', *, fin=True, form=None, length=None):
    """A frame as a server sends it; `form` forces the length into 7, 16 or 64 bits."""
    length = len(payload) if length is None else length
    if form is None:
        form = 7 if length < 126 else 16 if length < 65536 else 64
    first = (0x80 if fin else 0) | opcode
    if form == 7:
        return struct.pack('!BB', first, length) + payload
    if form == 16:
        return struct.pack('!BBH', first, 126, length) + payload
    return struct.pack('!BBQ', first, 127, length) + payload


HELLO = frame(TEXT, b'4hello')


@pytest.mark.parametrize('size', [0, 1, 60, 124, 125, 126, 65534, 65535, 65536, 200_000])
@pytest.mark.parametrize('count', [1, 2, 3])
def test_messages(size, count):
    euro = '\u20ac' * (size // 3)
    for text in ('x' * size, euro):
        data = frame(TEXT, b'4' + text.encode())
        assert split_messages(data * count, sys.maxsize) == ([text] * count, len(data) * count)
    data = frame(BINARY, bytes(size))
    assert split_messages(data * count, sys.maxsize) == ([bytes(size)] * count, len(data) * count)


def test_binary_that_looks_like_text():
    for payload in (b'4\xc2\x81', b'4' * 52, b'4hello', b'\x81' * 52):
        assert split_messages(frame(BINARY, payload), 100) == ([payload], len(payload) + 2)


def test_a_digit_alone_is_an_empty_message():
    assert split_messages(frame(TEXT, b'4'), 1) == ([''], 3)
    assert split_messages(frame(BINARY), 0) == ([b''], 2)


OTHERS = {
    'nothing': b'',
    'one byte': HELLO[:1],
    'incomplete': HELLO[:-1],
    'header of 2 bytes': frame(TEXT, b'4' * 126)[:3],
    'header of 8 bytes': frame(TEXT, b'4' * 65536)[:9],
    'empty text': frame(TEXT),
    'another packet': frame(TEXT, b'2'),
    'another packet, long': frame(TEXT, b'5' * 300),
    'no packet': frame(TEXT, b'\xff'),
    'ping': frame(PING, b'4'),
    'pong': frame(PONG, b'4'),
    'close': frame(CLOSE, b'\x03\xe8'),
    'fragment of text': frame(TEXT, b'4hello', fin=False),
    'fragment of binary': frame(BINARY, b'4hello', fin=False),
    'last fragment': frame(CONTINUATION, b'4hello'),
    'reserved bits': b'\xc1' + HELLO[1:],
    'unknown opcode': b'\x83' + HELLO[1:],
    'masked': b'\x81\x8a\0\0\0\0' + HELLO[2:],
    'masked and empty': b'\x81\x80\0\0\0\0\0\1\0\0' + b'4' * 65536,
    'another packet of 52 bytes': frame(TEXT, b'2' * 52),
    'masked, 16 bits': b'\x81\xfe\0\x7f' + b'4' * 200,
    'masked, 64 bits': b'\x81\xff\0\0\0\0\0\1\0\0' + b'4' * 70000,
    '125 in 16 bits': frame(TEXT, b'4' * 125, form=16),
    '125 in 64 bits': frame(TEXT, b'4' * 125, form=64),
    '65535 in 64 bits': frame(TEXT, b'4' * 65535, form=64),
    'top bit': frame(BINARY, b'4' * 100, form=64, length=1 << 63),
    'all bits': frame(BINARY, b'4' * 100, form=64, length=(1 << 64) - 1),
    'nearly all bits': frame(BINARY, b'4' * 100, form=64, length=(1 << 63) - 1),
    'over the limit': frame(TEXT, b'4' * 70001),
    'binary, over the limit': frame(BINARY, b'4' * 70001),
    'invalid UTF-8': frame(TEXT, b'4\xff'),
    'half a character': frame(TEXT, b'4\xe2\x82'),
    'a lone surrogate': frame(TEXT, b'4' + b'x' * 200 + b'\xed\xa0\x80'),
    'too long a form': frame(TEXT, b'4\xc0\x80'),
    'beyond Unicode': frame(TEXT, b'4\xf4\x90\x80\x80'),
    'invalid UTF-8, large': frame(TEXT, b'4' * 70000)[:-1] + b'\xff',
}


@pytest.mark.parametrize('other', OTHERS)
def test_it_stops_before_anything_else(other):
    data = OTHERS[other]
    assert split_messages(data, 70000) == ([], 0)

    assert split_messages(HELLO + data, 70000) == (['hello'], len(HELLO))
    assert split_messages(HELLO * 2 + data + b'', 70000) == (['hello'] * 2, 2 * len(HELLO))


@pytest.mark.parametrize('limit', [0, 5, 6, 125, 126, 65535, 65536, 70_000])
def test_the_limit(limit):
    data = frame(BINARY, bytes(limit))
    assert split_messages(data, limit) == ([bytes(limit)], len(data))
    assert split_messages(data + frame(BINARY, bytes(limit + 1)), limit) == (
        [bytes(limit)],
        len(data),
    )
    text = frame(TEXT, b'4' + bytes(limit))
    assert split_messages(text, limit + 1) == (['\0' * limit], len(text))
    assert split_messages(text, limit) == ([], 0)


def test_every_cut():
    data = HELLO + frame(BINARY, bytes(200)) + frame(TEXT, '4\u20ac'.encode())
    ends = [len(HELLO), len(HELLO) + 204, len(data)]
    for cut in range(len(data) + 1):
        messages, position = split_messages(data[:cut], 1000)
        assert messages == ['hello', bytes(200), '\u20ac'][: len(messages)]
        assert position == max([0, *(end for end in ends if end <= cut)])
        assert len(messages) == sum(end <= cut for end in ends)


# -- together with the decoder --------------------------------------------------------------------


def decoded(decoder, pieces, split):
    """What comes out of the pieces, with `split` in front of the decoder, or with None."""
    messages = []
    for piece in pieces:
        if split is not None and decoder.idle:
            found, position = split(piece, decoder.max_size)
            messages += [
                (TEXT, '4' + data) if isinstance(data, str) else (BINARY, data) for data in found
            ]
            piece = piece[position:]
        try:
            messages += decoder.feed(piece)
        except ProtocolError as error:
            return messages + error.decoded, str(error), error.code
    return messages, None, None


_frames = st.one_of(
    st.builds(lambda text: frame(TEXT, b'4' + text.encode()), st.text(max_size=200)),
    st.builds(lambda data: frame(TEXT, b'4' + data), st.binary(max_size=8)),
    st.builds(lambda data: frame(BINARY, data), st.binary(max_size=200)),
    st.builds(frame, st.sampled_from([PING, PONG]), st.binary(max_size=10)),
    st.builds(
        lambda data, end: frame(TEXT, data, fin=False) + frame(CONTINUATION, end),
        st.binary(max_size=5),
        st.just(b'end'),
    ),
    st.sampled_from([value for value in OTHERS.values() if len(value) < 300]),
)


@given(st.lists(_frames, max_size=6), st.lists(st.integers(0, 900), max_size=6))
def test_it_changes_nothing_for_any_cuts(frames, cuts):
    data = b''.join(frames)
    points = [0, *sorted(cut for cut in cuts if cut < len(data)), len(data)]
    pieces = [data[start:end] for start, end in pairwise(points)]
    alone = decoded(FrameDecoder(300), pieces, None)
    assert decoded(FrameDecoder(300), pieces, split_messages) == alone


def test_it_changes_nothing_for_large_messages():
    data = HELLO + frame(BINARY, bytes(3 * LARGE)) + HELLO + frame(TEXT, b'4' * LARGE) + HELLO
    for size in (1000, 65536, 70_000, len(data)):
        pieces = [data[start : start + size] for start in range(0, len(data), size)]
        alone = decoded(FrameDecoder(None), pieces, None)
        assert len(alone[0]) == 5
        assert decoded(FrameDecoder(None), pieces, split_messages) == alone


def test_when_a_decoder_is_idle():
    decoder = FrameDecoder(None)
    assert decoder.idle
    for piece, idle in [
        (HELLO, True),
        (HELLO[:1], False),
        (HELLO[1:], True),
        (frame(TEXT, b'4', fin=False), False),
        (frame(PING), False),
        (frame(CONTINUATION), True),
        (frame(BINARY, bytes(LARGE))[:1000], False),
        (frame(BINARY, bytes(LARGE))[1000:], True),
        (b'', True),
        (frame(CLOSE, b'\x03\xe8'), False),
        (HELLO, False),
    ]:
        decoder.feed(piece)
        assert decoder.idle == idle
    decoder = FrameDecoder(None)
    with pytest.raises(ProtocolError):
        decoder.feed(b'\xff\xff')
    assert not decoder.idle


def test_random_bytes():
    rng = random.Random(1)
    for _ in range(3000):
        data = rng.randbytes(rng.randrange(20))
        data = rng.choice([b'', HELLO, b'\x81', b'\x82\x7e', b'\x81\x7f']) + data
        alone = decoded(FrameDecoder(50), [data], None)
        assert decoded(FrameDecoder(50), [data], split_messages) == alone
