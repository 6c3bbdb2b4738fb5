"""The rules of plain English find what they should, and nothing else."""

import importlib.util
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / 'docs' / 'prose.py'
_spec = importlib.util.spec_from_file_location('prose', SCRIPT)
prose = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(prose)

RULES = prose.rules()
each_rule = pytest.mark.parametrize('rule', RULES, ids=[rule.name for rule in RULES])


def faults(text, lines=prose.page_lines):
    """`[(line, name of the rule), ...]` for a page."""
    found = prose.check(prose.blocks(lines(text)), RULES)
    return [(number, rule.name) for number, rule, _ in found]


@each_rule
def test_a_bad_sentence_is_found(rule):
    assert (1, rule.name) in faults(rule.bad)


@each_rule
def test_a_good_sentence_is_not(rule):
    assert faults(rule.good) == []


@pytest.mark.parametrize(
    'text',
    [
        'The server\nsays\ngoodbye.',
        '- An item.\n  It\n  says goodbye.\n- Another.',
        '| a | b |\n|---|---|\n| c | goodbye |',
        '# Text\n\n## Goodbye',
        '```{note}\nIt says\ngoodbye.\n```',
        '<!-- test:\nalone -->\nIt says goodbye.',
    ],
)
def test_wherever_it_stands(text):
    assert faults(text) == [(3, 'personification')]


@pytest.mark.parametrize(
    'text',
    [
        '```python\nprint("goodbye")\n```',
        '````\n```\ngoodbye\n```\ngoodbye\n````',
        '```{note}\n```python\ngoodbye()\n```\n```',
        'Call `goodbye()` or ``goodbye``.',
        '<!-- goodbye\ngoodbye -->',
        'See [the page](goodbye.md) or https://goodbye.test/goodbye.',
        '| what | why |\n|---|---|\n| What is sent | a message. |',
    ],
)
def test_code_comments_and_addresses_are_no_prose(text):
    assert faults(text) == []


def test_lines_after_code_are_prose():
    assert faults('```\ncode\n```\nIt says goodbye.') == [(4, 'personification')]


def test_public_docstrings_are_checked():
    source = """\
class Client:
    \'\'\'A client.

    It is legal
    everywhere. ``is legal``::

        it is legal

    :param a: comes
              about.
    \'\'\'

    def _private(self):
        \'\'\'Nobody calls it.\'\'\'

    def __call__(self):
        \'\'\'Nobody calls it.\'\'\'
"""
    assert faults(source, prose.docstring_lines) == [
        (4, 'is legal'),
        (9, 'idiom: come about'),
        (17, 'whoever'),
    ]
