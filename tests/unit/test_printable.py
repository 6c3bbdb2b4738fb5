"""Text from servers with escapes."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engineio_gevent import exceptions
from engineio_gevent.cli import screen
from engineio_gevent.printable import printable, shortened


@pytest.mark.parametrize(
    ('text', 'shown'),
    [
        ('', ''),
        ('plain äöü 漢字 😀 \\n', 'plain äöü 漢字 😀 \\n'),
        ('one\r\ntwo\t', 'one\\r\\ntwo\\t'),
        ('\x1b[2J\x07\x00\x7f', '\\x1b[2J\\x07\\x00\\x7f'),
        ('\x85\x9b', '\\x85\\x9b'),
        ('\u2028\u2029', '\\u2028\\u2029'),
        ('\u202e\u2066\u200f\u061c', '\\u202e\\u2066\\u200f\\u061c'),
        ('\ud800', '\\ud800'),
        ('a\xa0b', 'a\xa0b'),  # a space, though str.isprintable() says otherwise
    ],
)
def test_printable(text, shown):
    assert printable(text) == shown


@given(st.text(st.characters(codec=None) | st.sampled_from('\x1b\n\u2028\u202e\ud800')))
def test_nothing_changes_the_lines_or_the_terminal(text):
    shown = printable(text)
    assert not {'Cc', 'Cs', 'Zl', 'Zp'} & {unicodedata.category(char) for char in shown}
    assert len(shown.splitlines()) <= 1
    assert printable(shown) == shown
    assert not {'Cc', 'Cs', 'Zl', 'Zp'} & {
        unicodedata.category(char) for char in screen.one_line(text)
    }


@pytest.mark.parametrize(
    ('text', 'shown'),
    [
        ('12345', '12345'),
        ('123456', '12345...'),
        ('1234\n', '1234\\...'),
        ('\x1b' * 1000, '\\x1b\\...'),
    ],
)
def test_shortened(text, shown):
    assert shortened(text, 5) == shown


def test_the_text_of_an_exception():
    error = exceptions.ConnectionError('one\ntwo', {'message': 'one\ntwo'})
    assert str(error) == error.args[0] == 'one\\ntwo'
    assert error.args[1] == {'message': 'one\ntwo'}
    assert len(str(exceptions.ProtocolError('x' * 5000))) == exceptions.MAX_TEXT + 3
    assert (str(exceptions.EngineIOError()), str(exceptions.EngineIOError(5))) == ('', '5')
