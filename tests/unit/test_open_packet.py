"""The OPEN packet: every field checked, every fault named."""

from __future__ import annotations

import dataclasses
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engineio_gevent.exceptions import ProtocolError
from engineio_gevent.protocol import open_packet

GOOD = {
    'sid': 'lv_VI97HAXpY6yYWAAAC',
    'upgrades': ['websocket'],
    'pingInterval': 25000,
    'pingTimeout': 20000,
    'maxPayload': 1000000,
}


def parse_with(**changes):
    return open_packet.parse(json.dumps({**GOOD, **changes}))


@pytest.mark.parametrize('encode', [str, str.encode])
def test_a_handshake_is_read(encode):
    assert open_packet.parse(encode(json.dumps(GOOD))) == open_packet.OpenPacket(
        sid='lv_VI97HAXpY6yYWAAAC',
        upgrades=('websocket',),
        ping_interval=25.0,
        ping_timeout=20.0,
        max_payload=1000000,
    )


def test_a_handshake_cannot_be_changed_and_is_small():
    parsed = parse_with()
    with pytest.raises(dataclasses.FrozenInstanceError):
        parsed.sid = 'other'
    assert not hasattr(parsed, '__dict__')


def test_the_patience_for_a_ping():
    assert parse_with(pingInterval=25000, pingTimeout=20000).patience == 45


def test_unknown_fields_are_ignored():
    assert parse_with(future={'a': 1}) == parse_with()


def test_max_payload_may_be_missing():
    without = {field: value for field, value in GOOD.items() if field != 'maxPayload'}
    assert open_packet.parse(json.dumps(without)).max_payload is None
    assert parse_with(maxPayload=None).max_payload is None
    assert parse_with(maxPayload=0).max_payload is None


@pytest.mark.parametrize(
    ('field', 'value', 'attribute', 'parsed'),
    [
        ('upgrades', [], 'upgrades', ()),
        ('upgrades', ['websocket', 'webtransport'], 'upgrades', ('websocket', 'webtransport')),
        ('pingInterval', 0.5, 'ping_interval', 0.0005),
        ('pingInterval', 1500.5, 'ping_interval', 1.5005),
        ('pingTimeout', 0, 'ping_timeout', 0),
        ('maxPayload', 1, 'max_payload', 1),
        ('sid', '\u20ac', 'sid', '\u20ac'),
    ],
)
def test_values_at_the_edge_are_taken(field, value, attribute, parsed):
    assert getattr(parse_with(**{field: value}), attribute) == parsed


_NOT_A_TIME = [None, '25000', True, False, [], {}, -1, float('nan'), float('inf'), 10**400]
_FAULTS = (
    [('sid', value) for value in (None, '', 5, ['x'], 'a\nb', 'a\x00', '\x7f', '\x85', '\ud800')]
    + [('upgrades', value) for value in (None, 'websocket', {}, [1], ['websocket', None], 5)]
    + [('pingInterval', value) for value in (*_NOT_A_TIME, 0, 0.0)]
    + [('pingTimeout', value) for value in _NOT_A_TIME]
    + [('maxPayload', value) for value in (-1, '1000', True, False, 1e6, [], {})]
)


@pytest.mark.parametrize(('field', 'value'), _FAULTS)
def test_a_wrong_field_is_named_with_what_came(field, value):
    with pytest.raises(ProtocolError) as caught:
        parse_with(**{field: value})
    assert repr(field) in str(caught.value)
    assert repr(value)[:10] in str(caught.value)


def test_a_long_value_is_cut_in_the_error():
    value = [[['x' * 100] * 6] * 6] * 6
    with pytest.raises(ProtocolError, match=r'got \[\[\[') as caught:
        parse_with(maxPayload=value)
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize(
    ('field', 'expected'),
    [
        ('sid', 'a non-empty string without control characters'),
        ('upgrades', 'a list of strings'),
        ('pingInterval', 'a number of milliseconds above 0'),
        ('pingTimeout', 'a number of milliseconds of at least 0'),
        ('maxPayload', 'an integer in bytes, or 0 for no limit'),
    ],
)
def test_an_error_says_what_was_expected(field, expected):
    with pytest.raises(ProtocolError, match=f'must be {expected}; got -1$'):
        parse_with(**{field: -1})


def test_the_length_of_a_sid_is_limited():
    """It is in the head of each request: a server must not fill that."""
    assert len(parse_with(sid='x' * 4096).sid) == 4096
    with pytest.raises(ProtocolError, match='at most 4096 characters') as caught:
        parse_with(sid='x' * 4097)
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize('field', ['sid', 'upgrades', 'pingInterval', 'pingTimeout'])
def test_a_missing_field_is_named(field):
    fields = {name: value for name, value in GOOD.items() if name != field}
    with pytest.raises(ProtocolError, match=f"'{field}'.*it is missing"):
        open_packet.parse(json.dumps(fields))


@pytest.mark.parametrize(
    'value', ['x' * 10_000 + '\n', ['x' * 10_000, 1], {'x' * 10_000: [[[[[[1]]]]]]}, 10**1000]
)
def test_an_error_shows_little_of_a_long_value(value):
    field = 'sid' if isinstance(value, str) else 'upgrades'
    with pytest.raises(ProtocolError) as caught:
        parse_with(**{field: value})
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize(
    'data',
    ['', '{', 'probe', '<html>', b'\xff', '[' * 100_000, '{"sid":' * 100_000, '{"a":' + '1' * 5000],
)
def test_broken_json_is_refused(data):
    with pytest.raises(ProtocolError, match='not valid JSON') as caught:
        open_packet.parse(data)
    assert len(str(caught.value)) < 100
    assert caught.value.__cause__ is not None


@pytest.mark.parametrize('encode', [str, str.encode])
def test_json_that_nests_too_deep_for_the_stack_is_not_read(monkeypatch, encode):
    data = json.dumps({**GOOD, 'future': [[]]})
    monkeypatch.setattr(open_packet, 'too_deep', lambda text: text == data)
    with pytest.raises(ProtocolError, match='nests JSON too deeply'):
        open_packet.parse(encode(data))
    assert open_packet.parse(encode(json.dumps(GOOD))) == parse_with()


@pytest.mark.parametrize('data', ['[]', 'null', '5', '"sid"', 'true', 'NaN'])
def test_json_that_is_no_object_is_refused(data):
    with pytest.raises(ProtocolError, match='not a JSON object'):
        open_packet.parse(data)


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)


@given(st.dictionaries(st.sampled_from(list(GOOD)), _json))
def test_any_object_is_a_handshake_or_one_error(changes):
    try:
        parsed = parse_with(**changes)
    except ProtocolError:
        return
    assert parsed.sid
    assert parsed.ping_interval > 0
    assert parsed.ping_timeout >= 0
    assert parsed.max_payload is None or parsed.max_payload > 0


def test_connections_to_a_server_share_what_is_equal():
    one, other = (
        parse_with(upgrades=['websocket'], pingInterval=12_345, maxPayload=10**6) for _ in range(2)
    )
    assert one.upgrades is other.upgrades
    assert one.ping_interval is other.ping_interval
    assert one.max_payload is other.max_payload


def test_long_upgrades_of_a_server_are_not_kept():
    long = 'x' * 100_000
    tracemalloc = pytest.importorskip('tracemalloc')  # PyPy has none
    tracemalloc.start()
    try:
        for number in range(20):
            parse_with(upgrades=[f'{long}{number}'], pingInterval=1000 + number)
        assert tracemalloc.get_traced_memory()[0] < len(long)
    finally:
        tracemalloc.stop()
