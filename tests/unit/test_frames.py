"""RFC 6455 from the client's side, against a server's side written here."""

from __future__ import annotations

import os
import random
import re
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engineio_gevent.exceptions import ProtocolError
from engineio_gevent.protocol.frames import (
    BINARY,
    CLOSE,
    CONTINUATION,
    LARGE,
    MESSAGE,
    PING,
    PONG,
    TEXT,
    FrameDecoder,
    LargeFrame,
    encode_close,
    encode_frame,
    parse_close,
    with_new_keys,
)
from engineio_gevent.protocol.masking import keys

pytestmark = pytest.mark.usefixtures('implementation')

# -- the server's side -------------------------------------------------------


def server_frame(opcode, payload=b'', *, fin=True, reserved=0, form=None):
    """A frame as a server sends it; `form` forces the length into 7, 16 or 64 bits."""
    if form is None:
        form = 7 if len(payload) < 126 else 16 if len(payload) < 65536 else 64
    first = (0x80 if fin else 0) | reserved | opcode
    if form == 7:
        header = struct.pack('!BB', first, len(payload))
    elif form == 16:
        header = struct.pack('!BBH', first, 126, len(payload))
    else:
        header = struct.pack('!BBQ', first, 127, len(payload))
    return header + payload


def read_client_frame(data):
    """Opcode, mask key and unmasked payload of the one frame that `data` is."""
    first, second = data[:2]
    assert first & 0xF0 == 0x80
    assert second & 0x80
    length, start = second & 0x7F, 2
    if length == 126:
        length, start = struct.unpack_from('!H', data, 2)[0], 4
        assert length > 125
    elif length == 127:
        length, start = struct.unpack_from('!Q', data, 2)[0], 10
        assert length > 65535
    key, masked = data[start : start + 4], data[start + 4 :]
    assert len(key) == 4
    assert len(masked) == length
    return first & 0x0F, key, bytes(byte ^ key[i % 4] for i, byte in enumerate(masked))


def close_payload(code, reason=b''):
    return struct.pack('!H', code) + reason


def feed_in_pieces(decoder, data, size):
    """All that comes out when `data` is fed in pieces of `size` bytes."""
    messages = []
    for start in range(0, len(data), size):
        messages += decoder.feed(data[start : start + size])
    return messages


def feed_until_fault(decoder, data, size):
    """What came out of `data`, fed in pieces, before the fault; and the fault."""
    messages = []
    for start in range(0, len(data), size):
        try:
            messages += decoder.feed(data[start : start + size])
        except ProtocolError as error:
            return messages + error.decoded, error
    raise AssertionError('no fault')


# -- by the book -----------------------------------------------------------------


@pytest.mark.parametrize(
    ('data', 'payload', 'messages'),
    [
        ('81 05', b'Hello', [(1, 'Hello')]),
        ('01 03 48 65 6c 80 02', b'lo', [(1, 'Hello')]),
        ('02 01 ff 00 01 fe 80 00', b'', [(2, b'\xff\xfe')]),
        ('89 05', b'Hello', [(9, b'Hello')]),
        ('8a 05', b'Hello', [(10, b'Hello')]),
        ('82 7e 01 00', bytes(256), [(2, bytes(256))]),
        ('82 7f 00 00 00 00 00 01 00 00', bytes(65536), [(2, bytes(65536))]),
        ('88 02', b'\x03\xe8', [(8, b'\x03\xe8')]),
    ],
    ids=['text', 'fragments', 'binary', 'ping', 'pong', '16 bits', '64 bits', 'close'],
)
def test_what_a_server_sends(data, payload, messages):
    """Most of it is from RFC 6455, section 5.7."""
    assert FrameDecoder(None).feed(bytes.fromhex(data) + payload) == messages


@pytest.mark.parametrize(
    ('opcode', 'payload', 'header'),
    [
        (TEXT, b'', '81 80'),
        (BINARY, b'', '82 80'),
        (CLOSE, b'', '88 80'),
        (PING, b'', '89 80'),
        (PONG, b'x' * 125, '8a fd'),
        (TEXT, b'x' * 126, '81 fe 00 7e'),
        (BINARY, b'x' * 65536, '82 ff 00 00 00 00 00 01 00 00'),
    ],
    ids=['text', 'binary', 'close', 'ping', 'pong', '16 bits', '64 bits'],
)
def test_the_header_of_what_is_sent(opcode, payload, header):
    assert encode_frame(opcode, payload)[: -4 - len(payload)] == bytes.fromhex(header)


# -- whole messages ------------------------------------------------------------

# Every kind of frame and every form of length, and what must come of them.
STREAM = b''.join(
    [
        server_frame(TEXT, b'4hello'),
        server_frame(TEXT, b''),
        server_frame(BINARY, b'\x00\xff'),
        server_frame(PING, b'ping'),
        server_frame(TEXT, '4\u20ac'.encode() * 50),
        server_frame(BINARY, b''),
        server_frame(TEXT, '4\u20ac'.encode()[:2], fin=False),  # cut inside a character
        server_frame(PONG, b''),
        server_frame(CONTINUATION, '4\u20ac'.encode()[2:], fin=False),
        server_frame(CONTINUATION, b'', fin=False),
        server_frame(PING, b'x' * 125),
        server_frame(CONTINUATION, b'!'),
        server_frame(BINARY, b'', fin=False),
        server_frame(CONTINUATION, b'end'),
        server_frame(TEXT, b'x' * 125),
        server_frame(TEXT, b'x' * 126),
        server_frame(BINARY, b'x' * 65535),
        server_frame(TEXT, b'x' * 65536),
        server_frame(CLOSE, close_payload(1000, b'bye')),
    ]
)
MESSAGES = [
    (TEXT, '4hello'),
    (TEXT, ''),
    (BINARY, b'\x00\xff'),
    (PING, b'ping'),
    (TEXT, '4\u20ac' * 50),
    (BINARY, b''),
    (PONG, b''),
    (PING, b'x' * 125),
    (TEXT, '4\u20ac!'),
    (BINARY, b'end'),
    (TEXT, 'x' * 125),
    (TEXT, 'x' * 126),
    (BINARY, b'x' * 65535),
    (TEXT, 'x' * 65536),
    (CLOSE, close_payload(1000, b'bye')),
]
SHORT = STREAM[:400]  # up to within a long frame
SHORT_MESSAGES = MESSAGES[:10]


@pytest.mark.parametrize('size', [len(STREAM), 1, 2, 3, 7, 100, 4096, 65536])
def test_a_stream_in_pieces_of_any_size(size):
    messages = feed_in_pieces(FrameDecoder(None), STREAM, size)
    assert messages == MESSAGES
    assert [type(payload) for _, payload in messages] == [type(payload) for _, payload in MESSAGES]


def test_a_stream_split_at_every_point():
    whole = SHORT[: len(SHORT) - 1]
    expected = FrameDecoder(None).feed(whole)
    assert expected[:10] == SHORT_MESSAGES
    for split in range(len(whole) + 1):
        decoder = FrameDecoder(None)
        assert decoder.feed(whole[:split]) + decoder.feed(whole[split:]) == expected


@pytest.mark.parametrize('length', [0, 1, 125, 126, 127, 300, 65535, 65536])
@pytest.mark.parametrize('opcode', [TEXT, BINARY])
def test_a_message_comes_out_with_its_last_byte(opcode, length):
    payload = b'x' * length
    message = (opcode, payload.decode() if opcode == TEXT else payload)
    data = server_frame(opcode, payload)
    for decoder in (FrameDecoder(None), FrameDecoder(length)):
        assert decoder.feed(data) == [message]
        assert decoder.feed(data[:-1]) == []
        assert decoder.feed(data[-1:]) == [message]
        assert decoder.feed(data + data + data[:1]) == [message, message]
        assert decoder.feed(data[1:]) == [message]


def test_no_bytes_are_no_messages():
    decoder = FrameDecoder(None)
    assert decoder.feed(b'') == []
    assert decoder.feed(server_frame(TEXT, b'a')[:2]) == []
    assert decoder.feed(b'') == []
    assert decoder.feed(b'a') == [(TEXT, 'a')]


_control = st.tuples(st.sampled_from([PING, PONG]), st.binary(max_size=125))
_message = st.tuples(st.just(TEXT), st.text()) | st.tuples(st.just(BINARY), st.binary())


@st.composite
def _streams(draw):
    """A stream of messages in fragments, with control frames between them."""
    data, messages = b'', []
    for opcode, payload in draw(st.lists(_message | _control, max_size=8)):
        if opcode in (PING, PONG):
            data += server_frame(opcode, payload)
            messages.append((opcode, payload))
            continue
        encoded = payload.encode() if opcode == TEXT else payload
        cuts = sorted(draw(st.lists(st.integers(0, len(encoded)), max_size=3)))
        parts = [encoded[a:b] for a, b in zip([0, *cuts], [*cuts, len(encoded)], strict=True)]
        for index, part in enumerate(parts):
            is_last = index == len(parts) - 1
            data += server_frame(opcode if index == 0 else CONTINUATION, part, fin=is_last)
            if not is_last and draw(st.booleans()):
                control = draw(_control)
                data += server_frame(*control)
                messages.append(control)
        messages.append((opcode, payload))
    return data, messages


@given(_streams(), st.lists(st.integers(0, 200), max_size=8))
def test_any_stream_in_any_pieces(stream, sizes):
    data, messages = stream
    decoder = FrameDecoder(None)
    out = []
    for size in sizes:
        piece, data = data[:size], data[size:]
        out += decoder.feed(piece)
    assert out + decoder.feed(data) == messages


@given(st.binary(max_size=100), st.integers(1, 20))
def test_any_bytes_are_messages_or_one_error_in_any_pieces(data, size):
    def outcome(size):
        decoder, messages = FrameDecoder(50), []
        try:
            for start in range(0, len(data), size):
                messages += decoder.feed(data[start : start + size])
        except ProtocolError as error:
            return messages + error.decoded, error.code, str(error)
        return messages, None, None

    assert outcome(size) == outcome(len(data) or 1)


# -- linear work ----------------------------------------------------------------


@pytest.fixture
def looked_at(monkeypatch):
    """The bytes of every call that looks for frames."""
    seen = []
    read_frames = FrameDecoder._read_frames

    def record(decoder, data, messages):
        seen.append(data)
        read_frames(decoder, data, messages)

    monkeypatch.setattr(FrameDecoder, '_read_frames', record)
    return seen


@pytest.mark.parametrize('size', [1, 2, 1000, 65536])
def test_a_large_message_is_joined_once(size, looked_at):
    payload = bytes(1 << (18 if size < 1000 else 20))
    data = server_frame(BINARY, payload)
    assert feed_in_pieces(FrameDecoder(None), data, size) == [(BINARY, payload)]
    # The header may be looked at in pieces, the payload with its first and last byte.
    assert len(looked_at) <= 5
    assert sum(map(len, looked_at)) <= len(data) + 2 * size + 20


def test_a_message_that_began_behind_another_is_joined_once(looked_at):
    first = server_frame(TEXT, b'x' * 100)
    data = server_frame(BINARY, bytes(1000))
    decoder = FrameDecoder(None)
    assert decoder.feed(first + data[:500]) == [(TEXT, 'x' * 100)]
    assert feed_in_pieces(decoder, data[500:], 1) == [(BINARY, bytes(1000))]
    assert looked_at == [first + data[:500], data]


@pytest.mark.parametrize('length', [126, 65536])
@pytest.mark.parametrize('cut', [1, 2, 3])
def test_a_header_that_is_cut_behind_another_message(length, cut):
    first, data = server_frame(PING, b'x' * 125), server_frame(BINARY, bytes(length))
    decoder = FrameDecoder(None)
    assert decoder.feed(first * 1000 + data[:cut]) == [(PING, b'x' * 125)] * 1000
    assert decoder.feed(data[cut:-1]) == []
    assert decoder.feed(data[-1:]) == [(BINARY, bytes(length))]


def test_whole_frames_are_not_copied_before_they_are_read(looked_at):
    decoder = FrameDecoder(None)
    for _ in range(2):
        data = server_frame(TEXT, b'x' * 100)
        decoder.feed(data)
        assert looked_at.pop() is data


def test_many_fragments_are_joined_once():
    count = 1 << 18
    data = server_frame(BINARY, b'a', fin=False)
    data += server_frame(CONTINUATION, b'b', fin=False) * count
    data += server_frame(CONTINUATION, b'c')
    assert feed_in_pieces(FrameDecoder(None), data, 65536) == [(BINARY, b'a' + b'b' * count + b'c')]


def test_empty_fragments_take_no_memory():
    decoder = FrameDecoder(10)
    decoder.feed(server_frame(TEXT, b'', fin=False))
    decoder.feed(server_frame(CONTINUATION, b'', fin=False) * 10_000)
    assert decoder._fragments == [b'']
    assert decoder.feed(server_frame(CONTINUATION, b'')) == [(TEXT, '')]


# -- faults -----------------------------------------------------------------------

_LONG_CONTROL = server_frame(PING, b'x' * 126)
_STARTED = server_frame(TEXT, b'a', fin=False)
_FAULTS = [
    ('reserved bit 1', server_frame(TEXT, b'x', reserved=0x40), 1002, 'reserved'),
    ('reserved bit 2', server_frame(BINARY, b'x', reserved=0x20), 1002, 'reserved'),
    ('reserved bit 3', server_frame(PING, b'x', reserved=0x10), 1002, 'reserved'),
    *[
        (f'opcode {opcode}', server_frame(opcode, b'x'), 1002, f'unknown opcode {opcode}$')
        for opcode in (3, 4, 5, 6, 7, 11, 12, 13, 14, 15)
    ],
    ('masked', b'\x81\x81abcdx', 1002, 'masked'),
    ('masked, empty', b'\x81\x80abcd', 1002, 'masked'),
    ('masked, long', b'\x82\xfe\x01\x00abcd', 1002, 'masked'),
    ('fragmented ping', server_frame(PING, b'', fin=False), 1002, 'fragmented control'),
    ('fragmented close', server_frame(CLOSE, b'', fin=False), 1002, 'fragmented control'),
    ('long ping', _LONG_CONTROL, 1002, '125'),
    ('long pong', server_frame(PONG, bytes(70_000)), 1002, '125'),
    ('long close', server_frame(CLOSE, close_payload(1000, b'x' * 124)), 1002, '125'),
    ('continuation first', server_frame(CONTINUATION, b'x'), 1002, 'continuation'),
    ('continuation first, open', server_frame(CONTINUATION, fin=False), 1002, 'continuation'),
    ('text in fragments', _STARTED + server_frame(TEXT, b'b'), 1002, 'new message'),
    ('binary in fragments', _STARTED + server_frame(BINARY, b'b'), 1002, 'new message'),
    ('start in fragments', _STARTED + _STARTED, 1002, 'new message'),
    ('125 in 16 bits', server_frame(TEXT, b'x' * 125, form=16), 1002, 'length 125 .* 2 bytes'),
    ('0 in 64 bits', server_frame(TEXT, b'', form=64), 1002, 'length 0 .* 8 bytes'),
    ('65535 in 64 bits', server_frame(BINARY, bytes(65535), form=64), 1002, 'length 65535'),
    ('top bit', struct.pack('!BBQ', 0x82, 127, 1 << 63), 1002, 'most significant bit'),
    ('invalid UTF-8', server_frame(TEXT, b'ab\xff'), 1007, 'byte 2'),
    ('invalid UTF-8, long', server_frame(TEXT, b'\xff' * 200), 1007, 'byte 0'),
    ('half a character', server_frame(TEXT, b'\xe2\x82'), 1007, 'UTF-8'),
    ('lone surrogate', server_frame(TEXT, b'\xed\xa0\x80'), 1007, 'UTF-8'),
    ('UTF-8 in fragments', _STARTED + server_frame(CONTINUATION, b'\xff'), 1007, 'byte 1'),
    ('close of 1 byte', server_frame(CLOSE, b'\x03'), 1002, 'incomplete code'),
    ('close reason', server_frame(CLOSE, close_payload(1000, b'\xff')), 1007, 'reason'),
    *[
        (f'close code {code}', server_frame(CLOSE, close_payload(code)), 1002, f'code {code}$')
        for code in (0, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000, 65535)
    ],
]


@pytest.mark.parametrize('in_pieces', [False, True], ids=['whole', 'bytewise'])
@pytest.mark.parametrize(
    ('fault', 'code', 'words'),
    [fault[1:] for fault in _FAULTS],
    ids=[fault[0] for fault in _FAULTS],
)
def test_a_fault_keeps_what_came_before(fault, code, words, in_pieces):
    after = server_frame(TEXT, b'later')
    data = server_frame(TEXT, b'one') + server_frame(PING, b'two') + fault + after
    decoder = FrameDecoder(None)
    messages, error = feed_until_fault(decoder, data, 1 if in_pieces else len(data))
    assert messages == [(TEXT, 'one'), (PING, b'two')]
    assert error.code == code
    assert re.search(words, str(error))
    assert decoder.feed(after) == []


def test_decoded_holds_only_what_the_failed_call_would_return():
    decoder = FrameDecoder(None)
    assert decoder.feed(server_frame(TEXT, b'one')) == [(TEXT, 'one')]
    with pytest.raises(ProtocolError) as caught:
        decoder.feed(server_frame(BINARY, b'two') + server_frame(7))
    assert caught.value.decoded == [(BINARY, b'two')]


@pytest.mark.parametrize(
    'header',
    [
        b'\xc1\x05',
        b'\x83\x05',
        b'\x81\x85',
        b'\x09\x05',
        b'\x89\x7e',
        b'\x88\x7f',
        b'\x80\x05',
        b'\x81\x7e\x00\x7d',
        b'\x82\x7f\x00\x00\x00\x00\x00\x00\xff\xff',
        b'\x82\x7f\x80\x00\x00\x00\x00\x00\x00\x00',
    ],
)
def test_a_bad_header_is_refused_before_its_payload_comes(header):
    decoder = FrameDecoder(None)
    decoder.feed(header[:-1])
    with pytest.raises(ProtocolError):
        decoder.feed(header[-1:])


def test_the_longest_message_is_waited_for():
    decoder = FrameDecoder(None)
    assert decoder.feed(struct.pack('!BBQ', 0x82, 127, (1 << 63) - 1)) == []
    assert decoder.feed(b'x') == []


# -- the limit ------------------------------------------------------------------


@pytest.mark.parametrize('limit', [0, 1, 124, 125, 126, 200, 65535, 65536, 70_000])
@pytest.mark.parametrize('opcode', [TEXT, BINARY])
def test_a_message_over_the_limit_is_refused_by_its_header(opcode, limit):
    fitting = server_frame(opcode, b'x' * limit)
    assert len(FrameDecoder(limit).feed(fitting)) == 1
    data = server_frame(opcode, b'x' * (limit + 1))
    header = data[: len(data) - limit - 1]
    for pieces in ([header], [header[:1], header[1:]], [data]):
        decoder = FrameDecoder(limit)
        assert all(decoder.feed(piece) == [] for piece in pieces[:-1])
        with pytest.raises(ProtocolError, match=f'limit of {limit}') as caught:
            decoder.feed(pieces[-1])
        assert caught.value.code == 1009
        assert decoder._waiting == []


def test_fragments_count_together():
    fragment = server_frame(CONTINUATION, b'x' * 4, fin=False)
    start = server_frame(BINARY, b'x' * 4, fin=False)
    decoder = FrameDecoder(10)
    end = server_frame(CONTINUATION, b'xx')
    # Each message has the limit to itself; control frames do not count.
    for _ in range(3):
        assert decoder.feed(start + server_frame(PING, b'p' * 100) + fragment + end) == [
            (PING, b'p' * 100),
            (BINARY, b'x' * 10),
        ]
    assert decoder.feed(server_frame(TEXT, b'x' * 10)) == [(TEXT, 'x' * 10)]
    with pytest.raises(ProtocolError, match='11 bytes') as caught:
        decoder.feed(start + fragment + server_frame(CONTINUATION, b'xxx')[:2])
    assert caught.value.code == 1009
    assert decoder._fragments is None


def test_control_frames_are_not_limited():
    assert FrameDecoder(0).feed(server_frame(PING, b'x' * 125)) == [(PING, b'x' * 125)]


# -- the end ---------------------------------------------------------------------


@pytest.mark.parametrize(
    'code', [1000, 1001, 1002, 1003, *range(1007, 1015), 3000, 3999, 4000, 4999]
)
def test_a_valid_close_comes_out(code):
    payload = close_payload(code, '\u20ac'.encode())
    assert FrameDecoder(None).feed(server_frame(CLOSE, payload)) == [(CLOSE, payload)]
    assert parse_close(payload) == (code, '\u20ac')


def test_an_empty_close_comes_out():
    assert FrameDecoder(None).feed(server_frame(CLOSE)) == [(CLOSE, b'')]
    assert parse_close(b'') == (1005, '')


@pytest.mark.parametrize('after', [server_frame(TEXT, b'x'), server_frame(7), b'\x81'])
def test_nothing_is_read_after_a_close(after):
    close = server_frame(CLOSE, close_payload(1001))
    decoder = FrameDecoder(None)
    assert decoder.feed(close + after) == [(CLOSE, close_payload(1001))]
    assert decoder.feed(after) == []
    assert decoder._waiting == []


def test_a_close_within_fragments_is_the_end():
    decoder = FrameDecoder(None)
    close = (CLOSE, close_payload(1000))
    assert decoder.feed(_STARTED + server_frame(*close)) == [close]
    assert decoder.feed(server_frame(CONTINUATION, b'x')) == []


@pytest.mark.parametrize('payload', [fault[1][2:] for fault in _FAULTS if 'close ' in fault[0]])
def test_parse_close_refuses_what_the_decoder_refuses(payload):
    with pytest.raises(ProtocolError):
        parse_close(payload)


@given(st.sampled_from([1000, 1001, 1011, 3000, 4999]), st.text())
def test_a_close_makes_the_round_trip_as_far_as_it_fits(code, reason):
    payload = encode_close(code, reason)
    assert len(payload) <= 125
    parsed_code, parsed_reason = parse_close(payload)
    assert parsed_code == code
    assert reason.startswith(parsed_reason)
    assert parsed_reason == reason or len(payload) > 121  # no character more would fit


@pytest.mark.parametrize(
    ('reason', 'kept'),
    [
        ('x' * 123, 'x' * 123),
        ('x' * 124, 'x' * 123),
        ('\u20ac' * 41, '\u20ac' * 41),
        ('x' + '\u20ac' * 41, 'x' + '\u20ac' * 40),
        ('\U0001f600' * 31, '\U0001f600' * 30),
        ('\ud800', '?'),  # words of an exception must not make another
    ],
)
def test_a_close_reason_is_cut_between_characters(reason, kept):
    assert parse_close(encode_close(1000, reason)) == (1000, kept)


def test_a_close_is_normal_by_default():
    assert encode_close() == b'\x03\xe8'


def test_no_code_is_no_payload():
    assert encode_close(1005, 'dropped') == b''


@pytest.mark.parametrize('code', [-1, 0, 999, 1004, 1006, 1015, 2999, 5000, 70_000])
def test_codes_that_must_not_be_sent_are_refused(code):
    with pytest.raises(ValueError, match=f'code {code}'):
        encode_close(code)


# -- encoding ---------------------------------------------------------------------

_LENGTHS = [
    0,
    1,
    2,
    3,
    4,
    5,
    124,
    125,
    126,
    127,
    2047,
    2048,
    2049,
    2050,
    2051,
    65535,
    65536,
    99_999,
]


@pytest.mark.parametrize('length', _LENGTHS)
def test_frames_of_every_length_are_read_back(length):
    payload = os.urandom(length)
    opcode, _, unmasked = read_client_frame(encode_frame(BINARY, payload))
    assert (opcode, unmasked) == (BINARY, payload)


@given(st.text(max_size=3000))
def test_text_is_read_back(text):
    opcode, _, unmasked = read_client_frame(encode_frame(TEXT, text))
    assert (opcode, unmasked.decode()) == (TEXT, text)


@given(st.sampled_from([CLOSE, PING, PONG]), st.binary(max_size=125))
def test_control_frames_are_read_back(opcode, payload):
    assert read_client_frame(encode_frame(opcode, payload))[::2] == (opcode, payload)


@pytest.mark.parametrize('length', [3, 125, 126, 5000])
def test_every_type_of_buffer_is_taken(length):
    data = os.urandom(length)
    doubled = b''.join(bytes((byte, 0)) for byte in data)
    buffers = [data, bytearray(data), memoryview(data), memoryview(doubled)[::2]]
    for buffer in [*buffers, memoryview(bytearray(data))]:
        frame = encode_frame(BINARY, buffer)
        assert type(frame) is bytes
        assert read_client_frame(frame)[2] == data
    words = memoryview(bytes(8)).cast('I')
    assert read_client_frame(encode_frame(BINARY, words))[2] == bytes(8)


def test_a_buffer_stays_as_it_was():
    data = bytearray(b'x' * 5000)
    encode_frame(BINARY, data)
    assert data == b'x' * 5000


@pytest.mark.parametrize('opcode', [CLOSE, PING, PONG])
def test_a_control_frame_that_is_too_long_is_refused(opcode):
    with pytest.raises(ValueError, match='125'):
        encode_frame(opcode, b'x' * 126)


@pytest.mark.parametrize('length', [1, 200, 5000])
def test_a_lone_surrogate_is_refused(length):
    with pytest.raises(UnicodeEncodeError):
        encode_frame(TEXT, 'x' * length + '\ud800')


@pytest.mark.parametrize(
    'encode',
    [
        lambda payload: encode_frame(BINARY, payload),
        lambda payload: b''.join(taken(LargeFrame(payload))),
    ],
    ids=['at once', 'in pieces'],
)
def test_keys_are_drawn_where_none_are_left(encode):
    keys.clear()
    frames = [read_client_frame(encode(bytes(LARGE))) for _ in range(3)]
    assert {(opcode, payload) for opcode, _, payload in frames} == {(BINARY, bytes(LARGE))}
    assert len({key for _, key, _ in frames}) == 3


# -- large frames -------------------------------------------------------------------


def taken(frame):
    """All pieces of a large frame; its length is what is left after each."""
    pieces = []
    left = len(frame)
    while frame:
        pieces.append(frame.take())
        left -= len(pieces[-1])
        assert len(frame) == left
    return pieces


@pytest.mark.parametrize('size', [LARGE, LARGE + 1, 2 * LARGE + 3, 1 << 20])
def test_large_binary_frames(size):
    payload = random.Random(size).randbytes(size)
    pieces = taken(LargeFrame(payload))
    opcode, _, unmasked = read_client_frame(b''.join(pieces))
    assert (opcode, unmasked) == (BINARY, payload)
    assert max(map(len, pieces)) <= LARGE + 14


@pytest.mark.parametrize('text', ['x' * LARGE, 'ab' * LARGE, 'ö' * LARGE, 'x€😀' * LARGE])
def test_large_text_frames(text):
    opcode, _, unmasked = read_client_frame(b''.join(taken(LargeFrame(text))))
    assert (opcode, unmasked.decode()) == (TEXT, text)


def test_a_large_text_with_a_lone_surrogate_is_refused():
    with pytest.raises(UnicodeEncodeError):
        LargeFrame('x' * LARGE + '\ud800')


@pytest.mark.parametrize('size', [7, 1000, 65536, 100_000])
def test_what_stands_around_a_large_frame(size):
    text = 'ä' * LARGE
    data = server_frame(PING, b'a') + server_frame(TEXT, text.encode()) + server_frame(PONG, b'b')
    data += server_frame(BINARY, bytes(LARGE)) + server_frame(TEXT, b'c')
    data += server_frame(BINARY, bytes(LARGE), fin=False) + server_frame(CONTINUATION, bytes(LARGE))
    assert feed_in_pieces(FrameDecoder(None), data, size) == [
        (PING, b'a'),
        (TEXT, text),
        (PONG, b'b'),
        (BINARY, bytes(LARGE)),
        (TEXT, 'c'),
        (BINARY, bytes(2 * LARGE)),
    ]


def test_a_large_text_that_is_not_utf_8():
    data = server_frame(TEXT, b'one') + server_frame(TEXT, b'x' * LARGE + b'\xff')
    decoder = FrameDecoder(None)
    assert decoder.feed(data[:1000]) == [(TEXT, 'one')]
    with pytest.raises(ProtocolError, match=f'invalid UTF-8 at byte {LARGE}') as caught:
        decoder.feed(data[1000:])
    assert caught.value.code == 1007
    assert decoder.feed(server_frame(TEXT, b'x')) == []


def fragments(opcode, size, piece):
    """The frames of a message in fragments, all of them of the same size."""
    payload = b'x' * piece
    count = size // piece
    return b''.join(
        server_frame(CONTINUATION if number else opcode, payload, fin=number == count - 1)
        for number in range(count)
    )


MIB = 1 << 20


@pytest.mark.parametrize('opcode', [TEXT, BINARY])
@pytest.mark.parametrize(
    ('size', 'piece', 'cut'),
    [
        (MIB // 4, 2, 65536),
        (MIB, 64, 65536),
        (4 * MIB, 4 * MIB, 65536),
        (MIB // 32, 2, 1),
        (MIB // 8, MIB // 8, 1),
        (MIB // 8, MIB // 8, 2),
        (MIB // 8, MIB // 16, 2),
        (65000, 65000, 2),
    ],
)
def test_a_message_takes_about_its_own_memory(opcode, size, piece, cut):
    """However many fragments it has, and however they are cut."""
    tracemalloc = pytest.importorskip('tracemalloc')  # PyPy has none
    data = fragments(opcode, size, piece)
    decoder = FrameDecoder(None)
    last = (len(data) - 1) // cut * cut
    tracemalloc.start()
    try:
        for start in range(0, last, cut):
            assert decoder.feed(data[start : start + cut]) == []
        held = tracemalloc.get_traced_memory()[0]
        messages = decoder.feed(data[last:])
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert [(kind, len(message)) for kind, message in messages] == [(opcode, size)]
    assert held < 1.2 * size + 65536
    assert peak < 2.5 * size + MIB // 4  # the message, and what it is made of


def test_one_frame_of_many_fragments_takes_about_its_own_memory():
    """A large frame that does not end its message, as other large frames."""
    tracemalloc = pytest.importorskip('tracemalloc')  # PyPy has none
    data = server_frame(TEXT, b'x' * (MIB // 4), fin=False)
    decoder = FrameDecoder(None)
    tracemalloc.start()
    try:
        for start in range(0, len(data), 2):
            assert decoder.feed(data[start : start + 2]) == []
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < MIB // 2
    assert decoder.feed(server_frame(CONTINUATION)) == [(TEXT, 'x' * (MIB // 4))]


@pytest.mark.parametrize('size', [LARGE - 1, LARGE, LARGE + 1, 1 << 20])
@pytest.mark.parametrize('letter', ['x', '\xe4', '\u20ac'])
def test_a_digit_before_a_large_text(letter, size):
    text = letter * size
    frame = LargeFrame(text, '4')
    pieces = taken(frame)
    opcode, _, unmasked = read_client_frame(b''.join(pieces))
    assert (opcode, unmasked.decode()) == (TEXT, '4' + text)
    assert max(map(len, pieces)) <= LARGE + 14
    assert frame.take() == b''


def test_no_digit_before_large_binary():
    pieces = taken(LargeFrame(bytes(LARGE), '4'))
    assert read_client_frame(b''.join(pieces))[2] == bytes(LARGE)


# -- messages without their digit ------------------------------------------------------------------


def without_digit(messages):
    """What `take_digit` may make of messages."""
    return [
        (MESSAGE, data[1:]) if opcode == TEXT and data.startswith('4') else (opcode, data)
        for opcode, data in messages
    ]


@pytest.mark.parametrize('text', ['4' + 'x' * 2 * LARGE, '4' + 'x€' * LARGE, '2' * LARGE, '4'])
@pytest.mark.parametrize('size', [1000, 65536, 70_000])
def test_the_digit_is_taken_off(text, size):
    data = server_frame(TEXT, text.encode()[:-1], fin=False)
    data += server_frame(CONTINUATION, text.encode()[-1:]) + server_frame(BINARY, b'4')
    messages = feed_in_pieces(FrameDecoder(None, take_digit=True), data, size)
    assert messages == without_digit([(TEXT, text), (BINARY, b'4')])
    assert feed_in_pieces(FrameDecoder(None), data, size) == [(TEXT, text), (BINARY, b'4')]


def test_the_digit_of_a_large_frame_is_taken_off():
    data = server_frame(TEXT, b'4' * (LARGE + 1))
    assert feed_in_pieces(FrameDecoder(None, True), data, 60_000) == [(MESSAGE, '4' * LARGE)]


def test_whole_frames_keep_their_digit():
    decoder = FrameDecoder(None, take_digit=True)
    assert decoder.feed(server_frame(TEXT, b'4a')) == [(TEXT, '4a')]


@given(_streams(), st.integers(1, 50))
def test_taking_digits_off_changes_nothing_else(stream, size):
    data = stream[0]
    alone = feed_in_pieces(FrameDecoder(None), data, size)
    messages = feed_in_pieces(FrameDecoder(None, take_digit=True), data, size)
    assert without_digit(messages) == without_digit(alone)


@pytest.mark.parametrize('at', [0, 1, 5000, LARGE - 1, LARGE, 2 * LARGE])
@pytest.mark.parametrize('take_digit', [False, True])
def test_where_a_large_text_is_not_utf_8(at, take_digit):
    payload = b'4' * at + b'\xff' + b'x' * (3 * LARGE)
    data = server_frame(TEXT, payload)
    with pytest.raises(ProtocolError, match=f'invalid UTF-8 at byte {at}$'):
        feed_in_pieces(FrameDecoder(None, take_digit), data, 50_000)


@pytest.mark.parametrize('piece', [3, 4095, 4096, 4097, 65536])
def test_characters_cut_by_pieces(piece):
    text = '4' + 'a' * 9000 + '\u20ac\U0001f600' * (LARGE // 7) + 'b' * 9000
    data = server_frame(TEXT, text.encode())
    assert feed_in_pieces(FrameDecoder(None, True), data, piece) == [(MESSAGE, text[1:])]
    assert feed_in_pieces(FrameDecoder(None), data, piece) == [(TEXT, text)]


# -- keys of the caller's ------------------------------------------------------------------------


def test_frames_with_new_keys():
    sizes = [0, 1, 125, 126, 65535, 65536]
    made = iter([bytes([number] * 4) for number in range(1, 7)])
    frames = [encode_frame(BINARY, b'x' * size) for size in sizes]
    data = with_new_keys(b''.join(frames), lambda: next(made))
    for number, (size, frame) in enumerate(zip(sizes, frames, strict=True), 1):
        one, data = data[: len(frame)], data[len(frame) :]
        assert read_client_frame(one) == (BINARY, bytes([number] * 4), b'x' * size)
    assert data == b''


def test_a_large_frame_with_another_key():
    frame = LargeFrame('x' * LARGE, '4')
    frame.change_key(b'abcd')
    pieces = b''.join(taken(frame))
    assert read_client_frame(pieces) == (TEXT, b'abcd', b'4' + b'x' * LARGE)
