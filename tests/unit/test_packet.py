"""Packets in their neutral form: what is sent, what is taken, what stays text."""

from __future__ import annotations

import collections
import enum
import json

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from engineio_gevent.exceptions import ProtocolError
from engineio_gevent.protocol import json_functions as json_module
from engineio_gevent.protocol import packet
from engineio_gevent.protocol.json_functions import json_functions

TYPES = range(7)
dumps, loads = json_functions(json)


class Text(str):
    __slots__ = ()


class Markup(str):
    """As markupsafe's, which web frameworks use: text that is added to it becomes one, too."""

    __slots__ = ()

    def __add__(self, other):
        return Markup(super().__add__(other))

    def __radd__(self, other):
        return Markup(other).__add__(self)


class Color(enum.IntEnum):
    RED = 1


def naive_parse(text):
    """The rule that the quick way must agree with."""
    if not text or text[0].isnumeric():
        return text
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


def test_types_are_those_of_the_protocol():
    names = ['OPEN', 'CLOSE', 'PING', 'PONG', 'MESSAGE', 'UPGRADE', 'NOOP']
    assert list(packet.NAMES) == names
    assert [getattr(packet, name) for name in names] == list(TYPES)


@pytest.mark.parametrize(
    ('data', 'encoded'),
    [
        ('hello', '4hello'),
        ('', '4'),
        ('\u20ac\x1e', '4\u20ac\x1e'),
        (Text('sub'), '4sub'),
        (Markup('<b>'), '4<b>'),
        (b'\x00\xff', b'\x00\xff'),
        (b'', b''),
        (bytearray(b'ab'), b'ab'),
        (memoryview(b'abcd')[::2], b'ac'),
        ({'a': [1, None]}, '4{"a":[1,null]}'),
        (collections.OrderedDict(b=1, a=2), '4{"b":1,"a":2}'),
        ([], '4[]'),
        (None, '4'),
        (5, '45'),
        (-1.5, '4-1.5'),
        (True, '4True'),
    ],
)
def test_messages_are_encoded(data, encoded):
    result = packet.encode_message(data, dumps)
    assert result == encoded
    assert type(result) is type(encoded)


def test_a_subclass_of_int_is_sent_as_its_str():
    assert packet.encode_message(Color.RED, dumps) == '4' + str(Color.RED)


@pytest.mark.parametrize('make', [bytearray, lambda data: memoryview(bytearray(data))])
def test_what_can_change_later_is_copied(make):
    data = make(b'before')
    encoded = packet.encode_message(data, dumps)
    data[:] = b'after!'
    assert encoded == b'before'


def test_bytes_are_not_copied():
    data = b'x' * 1000
    assert packet.encode_message(data, dumps) is data


def test_another_json_module_makes_the_text():
    assert packet.encode_message([1], lambda data: f'<{data}>') == '4<[1]>'


@pytest.mark.parametrize('data', [(1, 2), {1}, object(), 1j, print])
def test_other_types_are_refused_by_name(data):
    with pytest.raises(TypeError, match=f'{type(data).__name__}.*dict, list, int'):
        packet.encode_message(data, dumps)


@pytest.mark.parametrize('packet_type', TYPES)
@pytest.mark.parametrize('data', ['', 'probe', '4\n\u20ac'])
def test_text_packets_are_decoded(packet_type, data):
    assert packet.decode(f'{packet_type}{data}') == (packet_type, data)


def test_binary_packets_are_messages():
    assert packet.decode(b'\x00') == (packet.MESSAGE, b'\x00')
    assert packet.decode(b'') == (packet.MESSAGE, b'')


@pytest.mark.parametrize('text', ['7', '9x', 'bAAAA', '<html>', ' 4', '-1', '\u0664', '\xb2', '\n'])
def test_text_without_a_type_is_refused(text):
    with pytest.raises(ProtocolError) as caught:
        packet.decode(text)
    assert repr(text) in str(caught.value)


def test_empty_text_is_refused():
    with pytest.raises(ProtocolError, match='empty'):
        packet.decode('')


def test_an_error_shows_little_of_a_long_packet():
    with pytest.raises(ProtocolError) as caught:
        packet.decode('<html>' + 'x' * 10_000)
    assert '<html>xxx' in str(caught.value)
    assert len(str(caught.value)) < 100


@pytest.mark.parametrize(
    ('encoded', 'expected'),
    [
        ('4', True),
        ('4hello', True),
        (b'', True),
        (b'2', True),
        ('', False),
        ('2', False),
        ('3probe', False),
        ('14', False),
    ],
)
def test_messages_are_told_from_other_packets(encoded, expected):
    assert packet.is_message(encoded) is expected


@given(st.text() | st.binary())
def test_messages_make_the_round_trip(data):
    encoded = packet.encode_message(data, dumps)
    assert packet.decode(encoded) == (packet.MESSAGE, data)


@pytest.mark.parametrize('loads', [loads, json.loads], ids=['quick', 'other'])
@pytest.mark.parametrize(
    ('text', 'value'),
    [
        ('{"a":1}', {'a': 1}),
        ('[1]', [1]),
        ('"x"', 'x'),
        ('-5', -5),
        (' 5', 5),
        ('\t\r\n[]\n', []),
        ('true', True),
        ('false ', False),
        ('null\n', None),
        ('-Infinity', float('-inf')),
        ('Infinity', float('inf')),
        # A digit first, of any script, keeps text.
        ('5', '5'),
        ('5.5', '5.5'),
        ('\u0665', '\u0665'),
        ('\xbd', '\xbd'),
        # Not JSON.
        ('', ''),
        ('hello', 'hello'),
        ('truth', 'truth'),
        ('true story', 'true story'),
        ('nu', 'nu'),
        ('-', '-'),
        ('{', '{'),
        ('\xa0[]', '\xa0[]'),
        ('\ufeff[]', '\ufeff[]'),
        ('[' * 100_000, '[' * 100_000),
    ],
)
def test_text_is_read_as_json_where_it_is_json(loads, text, value):
    result = packet.parse_text(text, loads)
    assert result == value
    assert type(result) is type(value)


# Text that is nearly JSON, and JSON with something before or after it.
_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=5,
).map(json.dumps)
_edge = st.sampled_from(
    ['', ' ', '\t\n', '\r', '\x0b', '\xa0', 'x', '-', '+', '1', ',', '{', 't', 'NaN', '\ufeff']
)
_nearly_json = st.builds('{}{}{}'.format, _edge, _json, _edge)


@given(st.text() | _nearly_json | st.text('truefalsnNIity -01{}[]"\n', max_size=10))
@settings(max_examples=500)
@example('NaN')
@example('nullx')
def test_the_quick_way_agrees_with_always_trying(text):
    result, expected = packet.parse_text(text, loads), naive_parse(text)
    assert repr(result) == repr(expected)  # NaN is not equal to itself


@given(st.text() | _nearly_json)
def test_another_json_module_gets_the_same_rule(text):
    result = packet.parse_text(text, json.loads)
    assert repr(result) == repr(naive_parse(text))


def test_another_json_module_may_know_other_beginnings():
    assert packet.parse_text('hello', str.upper) == 'HELLO'


@pytest.mark.parametrize('text', ['5', '\u0665', '\xb2', '\xbd'])
def test_another_json_module_never_gets_text_that_starts_with_a_digit(text):
    assert packet.parse_text(text, lambda text: 'parsed') == text


@pytest.mark.parametrize('loads', [loads, json.loads], ids=['quick', 'other'])
def test_json_that_nests_too_deep_for_the_stack_stays_text(monkeypatch, loads):
    monkeypatch.setattr(packet, 'too_deep', lambda text: text == '[[]]')
    assert packet.parse_text('[[]]', loads) == '[[]]'
    assert packet.parse_text('[]', loads) == []


def test_plain_words_do_not_reach_the_standard_loads(monkeypatch):
    """Exceptions are what makes plain text slow."""
    calls = []

    def decode(text):
        calls.append(text)
        return json.loads(text)

    monkeypatch.setattr(json_module, 'decode', decode)
    for text in ['hello', 'the', 'no', '', '12', 'Nobody', 'In', 'fa']:
        assert packet.parse_text(text, decode) == text
    assert calls == []
    assert packet.parse_text('[]', decode) == []
    assert calls == ['[]']


@pytest.mark.parametrize('value', ['x' * 40, b'x' * 40])
def test_shorten_leaves_what_is_short(value):
    assert packet.shorten(value) == repr(value)
    assert packet.shorten(value + value[:1]) == repr(value) + '...'


@pytest.mark.parametrize(
    ('encoded', 'expected'),
    [('3', True), ('3probe', True), ('43', False), ('2', False), (b'3', False)],
)
def test_is_pong(encoded, expected):
    assert packet.is_pong(encoded) is expected
