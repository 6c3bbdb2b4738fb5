"""The pages that explain the code name files, functions and phases that exist."""

import re
from pathlib import Path

import pytest

from engineio_gevent import lifecycle

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / 'engineio_gevent'
EXPLANATION = ROOT / 'docs' / 'explanation'
ARCHITECTURE = (EXPLANATION / 'architecture.md').read_text()
LIFE = (EXPLANATION / 'life-of-a-connection.md').read_text()


def section(page, heading):
    return page.split(f'\n## {heading}\n')[1].split('\n## ')[0]


def rows(text):
    """The cells of each row of the tables, without the headings."""
    found = [line.strip('|').split(' | ') for line in re.findall(r'^\|.*\|$', text, re.MULTILINE)]
    return [[cell.strip() for cell in row] for row in found if not set(row[0]) <= {'-', '|', ' '}]


def files(cell):
    """`http.py` stands for that of the folder that was named before."""
    folder = ''
    for name in re.findall(r'`([\w/]+\.py)`', cell):
        if '/' in name:
            folder = name.rpartition('/')[0] + '/'
        yield name if '/' in name else folder + name


def test_each_file_of_the_parts_exists():
    named = {name for row in rows(section(ARCHITECTURE, 'The parts')) for name in files(row[0])}
    assert len(named) > 25
    assert [name for name in sorted(named) if not (PACKAGE / name).is_file()] == []


def test_each_file_has_a_place():
    named = {name for row in rows(section(ARCHITECTURE, 'The parts')) for name in files(row[0])}
    inner = [
        path.relative_to(PACKAGE).as_posix()
        for folder in ('.', 'net', 'transports')
        for path in PACKAGE.glob(f'{folder}/*.py')
    ]
    assert {name for name in inner if '__' not in name} - named == set()


QUESTIONS = rows(section(ARCHITECTURE, 'Where to look'))[1:]
TEXT = '\n'.join(path.read_text() for path in sorted(PACKAGE.rglob('*.py')))


def is_defined(name):
    """A function, a class or a constant; `Class.method` and `method()`, too."""
    *owner, last = name.removesuffix('()').split('.')
    return all(
        re.search(rf'^ *(def|class) {one}\b|^{one} = ', TEXT, re.MULTILINE)
        for one in (*owner, last)
    )


@pytest.mark.parametrize(
    ('question', 'where', 'names'), QUESTIONS, ids=[question for question, *_ in QUESTIONS]
)
def test_where_to_look(question, where, names):
    assert [name for name in files(where) if not (PACKAGE / name).is_file()] == []
    quoted = re.findall(r'`([\w.()/]+)`', names)
    found = [name for name in quoted if re.search(r'\(\)$|^_?[A-Z]', name)]
    assert found
    assert [name for name in found if not is_defined(name)] == []


def test_phases():
    told = {}
    for names, state, _ in rows(section(LIFE, 'The phases'))[1:]:
        for name in re.findall(r'`(\w+)`', names):
            told[name] = state.strip('`')
    assert told == {phase.name: phase.state for phase in lifecycle.TRANSITIONS}
