"""Headers of a caller, checked before they are sent."""

from __future__ import annotations

import re

import pytest

from engineio_gevent.transports.headers import NAME, checked_headers, one_of_each, without_framing

TOKEN = "!#$%&'*+-.^_`|~09azAZ"


@pytest.mark.parametrize('name', [TOKEN, 'X', b'X-Y', *TOKEN])
def test_names(name):
    text = name.decode() if isinstance(name, bytes) else name
    assert checked_headers([(name, 'x')]) == [(text, 'x')]
    assert NAME.match(text)


@pytest.mark.parametrize(
    'name',
    [
        '',
        ' ',
        'X ',
        ' X',
        'X Y',
        'X:',
        'X\n',
        '\xfc',
        '\u20ac',
        'X\x00',
        b'\xfc',
        5,
        None,
        *'"(),/;<=>?@[\\]{}',
    ],
)
def test_names_that_are_none(name):
    with pytest.raises(ValueError, match='invalid header name: ') as caught:
        checked_headers([('X', 'x'), (name, 'x')])
    text = name.decode('latin-1') if isinstance(name, bytes) else name
    shown = re.split('[ \t:]', text)[0] if isinstance(text, str) else type(name)
    assert str(caught.value) == f'invalid header name: {shown!r}'


@pytest.mark.parametrize('between', [' ', '\t', ':', ': '])
def test_an_error_shows_only_the_beginning_of_a_name(between):
    """The rest may be the value, and secret."""
    for line, shown in (('Authorization', 'Authorization'), ('S' * 50, 'S' * 40)):
        for name in (f'{line}{between}Bearer SECRET', f'{line}{between}SECRET'.encode()):
            with pytest.raises(ValueError, match='invalid header name: ') as caught:
                checked_headers([(name, 'x')])
            assert str(caught.value) == f'invalid header name: {shown!r}'
    with pytest.raises(ValueError, match='invalid header name: ') as caught:
        checked_headers([(('SECRET',), 'x')])
    assert 'SECRET' not in str(caught.value)


@pytest.mark.parametrize(
    ('value', 'sent'),
    [
        ('x', 'x'),
        ('', ''),
        (' x\t', 'x'),
        ('a\tb c', 'a\tb c'),
        ('\xff\x80', '\xff\x80'),
        (b'\xff', '\xff'),
        ('~', '~'),
    ],
)
def test_values(value, sent):
    assert checked_headers([('X', value)]) == [('X', sent)]


@pytest.mark.parametrize(
    'value',
    [
        *map(chr, range(9)),
        *map(chr, range(0x0A, 0x20)),
        '\x7f',
        'a\r\nY: b',
        'x\n',
        '\u0100',
        'a\u20ac',
        b'\n',
        5,
        1.5,
        True,
        ['x'],
    ],
)
def test_values_that_cannot_be_sent(value):
    """The error does not show them: they may be secret."""
    with pytest.raises(ValueError, match='invalid value for header X: use Latin-1') as caught:
        checked_headers([('X', value)])
    assert '20ac' not in ascii(caught.value)


def test_none_stands_for_no_header():
    assert checked_headers([('A', 'a'), ('X', None), ('B', 'b')]) == [('A', 'a'), ('B', 'b')]
    assert checked_headers([]) == []


# -- What a caller does not decide -----------------------------------------------------------------

OF_ONE_MESSAGE = [
    'content-encoding',
    'content-length',
    'content-type',
    'expect',
    'http2-settings',
    'keep-alive',
    'proxy-connection',
    'te',
    'trailer',
    'transfer-encoding',
    'upgrade',
]


@pytest.mark.parametrize('name', OF_ONE_MESSAGE)
@pytest.mark.parametrize('change', [str.lower, str.upper, str.title])
def test_headers_of_one_message(name, change):
    headers = [('A', 'a'), (change(name), 'x'), ('B', 'b')]
    assert without_framing(headers) == [('A', 'a'), ('B', 'b')]


@pytest.mark.parametrize(
    ('value', 'sent'),
    [
        ('close', 'close'),
        ('Keep-Alive', 'Keep-Alive'),
        (' close ,  keep-alive,', 'close, keep-alive'),
        ('keep-alive, Upgrade', 'keep-alive'),
        ('X-Own, close, TE', 'close'),
        ('X-Own', None),
        ('Upgrade', None),
        ('', None),
    ],
)
def test_connection(value, sent):
    headers = [('A', 'a'), ('CONNECTION', value), ('B', 'b')]
    wanted = [] if sent is None else [('CONNECTION', sent)]
    assert without_framing(headers) == [('A', 'a'), *wanted, ('B', 'b')]


@pytest.mark.parametrize('name', ['Content-Language', 'X-Content-Length', 'Upgrades', 'Cookie'])
def test_other_headers_stay(name):
    assert without_framing([(name, 'x')]) == [(name, 'x')]


def test_one_of_each_name():
    """The last; cookies are all sent."""
    assert one_of_each([]) == []
    given = [('Host', 'a'), ('X', '1'), ('cookie', 'a=1'), ('HOST', 'b'), ('Cookie', 'b=2')]
    assert one_of_each(given) == [('HOST', 'b'), ('X', '1'), ('Cookie', 'a=1; b=2')]
