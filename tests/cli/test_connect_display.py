"""How `connect` prints messages: layout, colours and escapes."""

import json
import re

import pytest
from rich.console import Console

from engineio_gevent.cli import colours
from engineio_gevent.cli.layout import laid_out
from engineio_gevent.cli.printer import ForPeople
from engineio_gevent.cli.screen import one_line, printable

#: Control characters and other characters that must not reach a terminal.
HOSTILE = [
    '\x1b',
    '\x07',
    '\x08',
    '\r',
    '\x00',
    '\x7f',
    '\x9b',
    '\x85',
    '\u202e',
    '\u2066',
    '\u200f',
    '\u061c',
    '\u2028',
    '\ud800',
]


@pytest.mark.parametrize(
    'text',
    [
        '{}',
        '[]',
        '{"a": {}, "b": []}',
        '[1,2.50,-0,1E400,123456789012345678901234567890.10]',
        r'{"\u00e9\"\\": "\ud83d\ude00 {[,:]}", "a": null, "a": true}',
        '[[["x"], "y"], {"z": [0]}]',
    ],
)
def test_json_is_laid_out_and_nothing_changed(text):
    shown = laid_out(text)
    assert ''.join(re.findall(r'"(?:[^"\\]|\\.)*"|\S', shown)) == ''.join(
        re.findall(r'"(?:[^"\\]|\\.)*"|\S', text)
    )
    # the same number of lines as in the layout of the standard library
    assert len(shown.splitlines()) == len(
        json.dumps(json.loads(text, object_pairs_hook=Pairs), indent=2, default=str).splitlines()
    )


class Pairs(dict):
    """An object that keeps duplicate names."""

    def __init__(self, pairs):
        super().__init__((f'{number} {name}', value) for number, (name, value) in enumerate(pairs))


def test_how_json_is_laid_out():
    assert laid_out('{"a":[1,{"b":null}],"c":{}}') == (
        '{\n  "a": [\n    1,\n    {\n      "b": null\n    }\n  ],\n  "c": {}\n}'
    )


@pytest.mark.parametrize(
    'text',
    [
        '',
        'text',
        '1',
        '"text"',
        '{',
        '[1,]',
        '[1] [2]',
        "{'a': 1}",
        '{"a": 1',
        ' {}',
        '[' * 70 + ']' * 70,
        f'["{"x" * 70_000}"]',
        f'[{"9" * 5000}]',
        '[' * 60_000,
    ],
)
def test_what_is_not_laid_out(text):
    assert laid_out(text) is None


@pytest.mark.parametrize('character', HOSTILE)
def test_no_character_does_what_a_terminal_may_obey(character):
    assert character not in printable(f'a{character}b')
    assert re.fullmatch(r'a\\\w+b', printable(f'a{character}b'))


def test_what_is_only_text_stays():
    text = 'Grüße, 世界 \U0001f600 é\u0301 a\u200db\nline'
    assert printable(text) == text
    assert one_line('a\nb') == r'a\nb'
    assert printable('a\tb') == 'a    b'


@pytest.fixture
def shown(tmp_path):
    """`shown(terminal, method, ...)`: the output of the printer for people."""

    def show(terminal, method, *arguments):
        path = tmp_path / 'out'
        with open(path, 'w', encoding='utf-8', errors='strict') as file:
            console = Console(
                file=file, force_terminal=terminal, markup=False, highlight=False, soft_wrap=True
            )
            getattr(ForPeople(console), method)(*arguments)
        return path.read_text(encoding='utf-8')

    return show


@pytest.mark.parametrize('terminal', [True, False])
@pytest.mark.parametrize('character', HOSTILE)
def test_all_that_is_printed_is_escaped(shown, terminal, character):
    escaped = json.dumps(character)[1:-1]
    for method, *arguments in (
        ('message', 'received', f'a{character}b'),
        ('message', 'received', f'{{"a{escaped}": "{escaped}"}}'),
        ('message', 'received', f'["{character}"]'),
        ('message', 'sent', f'a{character}b'),
        ('packet', 'received', 'PONG', f'{character}'),
        ('note', f'a{character}b'),
        ('connected', 'polling', f'{character}'),
        ('ended', f'a{character}', OSError(f'{character}'), 1),
    ):
        text = shown(terminal, method, *arguments)
        without_styles = re.sub(r'\x1b\[[\d;]*m', '', text) if terminal else text
        assert character not in without_styles, (method, arguments, text)


def test_no_further_line_of_a_message_looks_like_one_of_ours(shown):
    text = shown(False, 'message', 'received', 'a\n12:00:00.000 * disconnected: server disconnect')
    first, second = text.splitlines()
    assert first.endswith(' < a')
    assert second == ' ' * 15 + '12:00:00.000 * disconnected: server disconnect'


def test_markup_is_only_text(shown):
    assert (
        shown(True, 'message', 'received', '[red]a[/red] :smile:')
        .rstrip()
        .endswith('[red]a[/red] :smile:')
    )


def test_binary_is_bounded(shown):
    assert shown(False, 'message', 'received', b'').rstrip().endswith(' < 0 bytes')
    lines = shown(False, 'message', 'received', bytes(2_000_000)).splitlines()
    assert lines[0].endswith(' < 2,000,000 bytes')
    assert len(lines) == 34
    assert lines[-1] == '  ... 1,999,488 more'


def brightness(number):
    """The relative luminance of one of the 256 colours (WCAG 2.2)."""
    steps = 0, 95, 135, 175, 215, 255
    number -= 16
    parts = [steps[number // 36], steps[number // 6 % 6], steps[number % 6]]
    linear = [((part / 255 + 0.055) / 1.055) ** 2.4 if part else 0 for part in parts]
    return sum(weight * part for weight, part in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


@pytest.mark.parametrize('name', ['ACCENT', 'GOOD', 'WARNING', 'BAD', 'VALUE'])
def test_colours_can_be_read_on_black_and_on_white(name):
    light = brightness(int(re.fullmatch(r'color\((\d+)\)', getattr(colours, name))[1]))
    assert (light + 0.05) / 0.05 >= 4  # on black
    assert 1.05 / (light + 0.05) >= 4  # on white


def test_json_has_these_colours_alone(shown):
    """All of rich's own styles for JSON are replaced."""
    styles = {f'json.{name}' for name in ('key', 'str', 'number', 'brace', 'null')}
    assert colours.JSON_STYLES.keys() == styles | {'json.bool_true', 'json.bool_false'}


def test_lines_of_a_message_stand_below_its_first(shown):
    for terminal, text in (True, '{"a": 1}'), (True, 'a\nb'), (False, 'a\nb'):
        plain = re.sub(r'\x1b\[[\d;]*m', '', shown(terminal, 'message', 'received', text))
        first, *others = plain.splitlines()
        indent = ' ' * (first.index('<') + 2)
        assert others
        assert all(line.startswith(indent) for line in others)
