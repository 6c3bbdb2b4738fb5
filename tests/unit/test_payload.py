"""Polling bodies: what goes into one, and what comes out of one."""

from __future__ import annotations

import base64
import random
import sys
from collections import deque
from itertools import chain

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engineio_gevent.exceptions import ProtocolError
from engineio_gevent.protocol import packet, payload

# What polling can carry: a type, then text without the separator; or bytes.
_text = st.text(st.characters(codec='utf-8', exclude_characters='\x1e'))
_packets = st.builds('{}{}'.format, st.integers(0, 6), _text) | st.binary()


@pytest.mark.parametrize(
    ('encoded', 'part'),
    [
        ('4hello', b'4hello'),
        ('4\u20ac', b'4\xe2\x82\xac'),
        ('3', b'3'),
        (b'', b'b'),
        (b'\x00', b'bAA=='),
        (b'\x1e\xff\xfe', b'bHv/+'),
    ],
)
def test_packets_are_encoded(encoded, part):
    assert payload.encode_packet(encoded) == part
    assert payload.encoded_size(encoded) == len(part)


@pytest.mark.parametrize('text', ['4a\x1eb', '4\x1e', '4\ud800', '4\u20ac\x1e', '4\ud800\x1e'])
def test_text_that_polling_cannot_carry_is_refused(text):
    for refuse in (payload.encode_packet, payload.encoded_size):
        with pytest.raises(ValueError, match=r'U\+001E|surrogates'):
            refuse(text)


def test_a_separator_within_binary_is_carried():
    assert payload.decode(payload.encode_packet(b'\x1e')) == [(packet.MESSAGE, b'\x1e')]


@given(_packets)
def test_the_size_is_that_of_the_encoded_packet(encoded):
    assert payload.encoded_size(encoded) == len(payload.encode_packet(encoded))


@given(st.lists(_packets))
def test_packets_make_the_round_trip(packets):
    body = payload.SEPARATOR.join(map(payload.encode_packet, packets))
    assert payload.decode(body) == [packet.decode(encoded) for encoded in packets]


def test_an_empty_queue_makes_no_body():
    assert payload.take_body(deque(), 100) == b''
    assert payload.take_body(deque(), None) == b''


@pytest.mark.parametrize(
    ('queue', 'max_payload', 'body', 'left'),
    [
        (['4aa', '4bb'], None, b'4aa\x1e4bb', []),
        (['4aa', '4bb'], 7, b'4aa\x1e4bb', []),  # exactly full
        (['4aa', '4bb'], 6, b'4aa', ['4bb']),  # the separator counts
        (['4aaaa', '4b'], 3, b'4aaaa', ['4b']),  # too large: alone
        (['4b', '4aaaa', '4c'], 3, b'4b', ['4aaaa', '4c']),  # not past a large one
        (['4\u20ac', '4b'], 6, b'4\xe2\x82\xac', ['4b']),  # bytes count, not characters
        ([b'abc', '4b'], 7, b'bYWJj', ['4b']),  # so does base64
        ([b'abc', '4b'], 8, b'bYWJj\x1e4b', []),
        (['3', '4b'], 1, b'3', ['4b']),
        (['4a', '4b', '4\x1e'], 3, b'4a', ['4b', '4\x1e']),  # what is not reached is not refused
    ],
)
def test_a_body_takes_what_fits(queue, max_payload, body, left):
    packets = deque(queue)
    assert payload.take_body(packets, max_payload) == body
    assert list(packets) == left


def test_a_body_takes_sixteen_packets_at_most():
    queue = deque(f'4{number}' for number in range(40))
    counts = []
    while queue:
        counts.append(len(payload.decode(payload.take_body(queue, None))))
    assert counts == [16, 16, 8]


@given(st.lists(_packets), st.none() | st.integers(1, 60))
def test_nothing_is_lost_by_cutting(packets, max_payload):
    queue = deque(packets)
    bodies = []
    while queue:
        bodies.append(payload.take_body(queue, max_payload))
    taken = [payload.decode(body) for body in bodies]
    assert list(chain.from_iterable(taken)) == [packet.decode(encoded) for encoded in packets]
    for body, parts in zip(bodies, taken, strict=True):
        assert len(parts) <= payload.MAX_PACKETS
        assert len(parts) == 1 or len(body) <= (max_payload or sys.maxsize)


@given(st.lists(_packets, min_size=1), st.integers(1, 60))
def test_bodies_are_as_full_as_they_may_be(packets, max_payload):
    queue = deque(packets)
    body = payload.take_body(queue, max_payload)
    if queue and len(payload.decode(body)) < payload.MAX_PACKETS:
        grown = len(body) + len(payload.SEPARATOR) + payload.encoded_size(queue[0])
        assert grown > max_payload


@given(st.lists(_packets, max_size=40), st.none() | st.integers(1, 60))
def test_what_is_put_back_is_there_as_before(packets, max_payload):
    queue = deque(packets)
    payload.put_back(queue, payload.take_body(queue, max_payload))
    assert list(queue) == packets


def test_a_packet_that_is_refused_leaves_the_queue_as_it_was():
    queue = deque(['4good', '4bad\x1e', '4good'])
    with pytest.raises(ValueError, match=r'U\+001E'):
        payload.take_body(queue, None)
    assert list(queue) == ['4good', '4bad\x1e', '4good']


def test_a_packet_that_does_not_fit_is_not_encoded(monkeypatch):
    """Else a large one behind many small ones is encoded again and again."""
    encoded = []
    encode_packet = payload.encode_packet

    def record(packet):
        encoded.append(packet)
        return encode_packet(packet)

    monkeypatch.setattr(payload, 'encode_packet', record)
    large = b'x' * 100
    queue = deque(['4small', large])
    payload.take_body(queue, 50)
    assert encoded == ['4small']
    payload.take_body(queue, 50)
    assert encoded == ['4small', large]


def test_an_empty_body_holds_nothing():
    assert payload.decode(b'') == []


def test_a_body_holds_any_number_of_packets():
    numbers = range(10_000)
    body = payload.SEPARATOR.join(b'4%d' % number for number in numbers)
    assert payload.decode(body) == [(packet.MESSAGE, str(number)) for number in numbers]


@pytest.mark.parametrize(
    ('queue', 'count'),
    [([], 0), (['4a'], 1), ([b''], 1), (['2', '3probe', '1'], 0), (['3', '4a', b'b', '4', '6'], 3)],
)
def test_the_messages_in_a_body_are_counted(queue, count):
    assert payload.count_messages(payload.take_body(deque(queue), None)) == count


_FAULTS = [
    (b'7', 'valid type'),
    (b'<html>', 'valid type'),
    (b'\xef\xbb\xbf4', 'valid type'),  # a byte order mark
    (b'', 'empty'),
    (b'4\xff', 'UTF-8'),
    (b'4\xe2\x82', 'UTF-8'),
    (b'4\xed\xa0\x80', 'UTF-8'),  # a lone surrogate
    (b'bA', 'base64'),
    (b'bAA', 'base64'),
    (b'bA A=', 'base64'),
    (b'b!!!!', 'base64'),
    (b'b\xc3\xa9', 'base64'),
    (b'bAA==AA==', 'base64'),
]


@pytest.mark.parametrize(('fault', 'words'), _FAULTS)
@pytest.mark.parametrize('after', [b'', b'\x1e4later', b'\x1e\xff'])
def test_a_fault_keeps_what_came_before(fault, words, after):
    with pytest.raises(ProtocolError, match=words) as caught:
        payload.decode(b'4one\x1ebAA==\x1e' + fault + after)
    assert caught.value.decoded == [(packet.MESSAGE, 'one'), (packet.MESSAGE, b'\x00')]


@pytest.mark.parametrize(('fault', 'words'), [fault for fault in _FAULTS if fault[0]])
def test_a_fault_at_the_start_has_nothing_before(fault, words):
    with pytest.raises(ProtocolError, match=words) as caught:
        payload.decode(fault)
    assert caught.value.decoded == []


@pytest.mark.parametrize('body', [b'\x1e', b'\x1e4a', b'4a\x1e', b'4a\x1e\x1e4b'])
def test_a_separator_too_many_is_an_empty_packet(body):
    with pytest.raises(ProtocolError, match='empty'):
        payload.decode(body)


def test_an_earlier_fault_comes_before_invalid_utf8():
    with pytest.raises(ProtocolError, match='valid type') as caught:
        payload.decode(b'4a\x1e9\x1e4\xff')
    assert caught.value.decoded == [(packet.MESSAGE, 'a')]


def test_an_error_shows_little_of_a_long_packet():
    with pytest.raises(ProtocolError) as caught:
        payload.decode(b'b' + b'!' * 10_000)
    assert len(str(caught.value)) < 100


@given(st.binary())
def test_any_bytes_are_packets_or_one_error(body):
    try:
        packets = payload.decode(body)
    except ProtocolError as error:
        packets = error.decoded
    assert all(kind in range(7) for kind, _ in packets)


def test_random_base64_of_every_length():
    generator = random.Random(1)
    for length in range(100):
        data = generator.randbytes(length)
        assert payload.decode(b'b' + base64.b64encode(data)) == [(packet.MESSAGE, data)]


def _decoded_whole(body):
    try:
        return payload.decode(body), True
    except ProtocolError as error:
        return error.decoded, False


def _decoded_in_slices(body):
    packets = []
    try:
        for part in payload.slices(body):
            packets += payload.decode(part)
    except ProtocolError as error:
        return packets + error.decoded, False
    return packets, True


@given(
    st.lists(st.sampled_from([b'4', b'4one', b'2', b'bAA==', b'', b'9', b'4\xff', 'ä4'.encode()]))
)
def test_slices_hold_the_packets_of_the_whole(parts):
    """Those before a fault, too. Of two faults, either may be the one that is named."""
    body = payload.SEPARATOR.join(parts)
    whole = _decoded_whole(body)
    for size in (1, 2, 5, 1000):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(payload, 'SLICE', size)
            assert b'\x1e'.join(payload.slices(body)) == body
            assert _decoded_in_slices(body) == whole


@pytest.mark.parametrize(
    ('body', 'parts'),
    [
        (b'', [b'']),
        (b'4\x1e2\x1e2', [b'4', b'2', b'2']),
        (b'4\x1e', [b'4\x1e']),  # an empty packet stays to be found
        (b'4\x1e\x1e4', [b'4', b'\x1e4']),
        (b'4abc\x1e4', [b'4abc', b'4']),
    ],
)
def test_slices_of_a_byte(monkeypatch, body, parts):
    monkeypatch.setattr(payload, 'SLICE', 1)
    assert list(payload.slices(body)) == parts


def test_slices_are_bounded_where_packets_are_small():
    body = b'\x1e'.join([b'2'] * 200_000)
    sizes = [len(part) for part in payload.slices(body)]
    assert 1 < len(sizes) < 10
    assert max(sizes) <= payload.SLICE + 1


@pytest.mark.parametrize('size', [0, 1, 1000, 1 << 20])
def test_one_packet_is_one_slice(size):
    body = b'4' + b'x' * size
    assert list(payload.slices(body)) == [body]
