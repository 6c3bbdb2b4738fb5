"""The figures in the tables of the pages are those of the stored benchmark results."""

import json
import re
from pathlib import Path
from statistics import median

import pytest

ROOT = Path(__file__).resolve().parents[2]
#: The pages, and how many figures of them are compared at least.
PAGES = {
    'README.md': 4,
    'docs/index.md': 4,
    'docs/explanation/no-greenlet-per-client.md': 3,
    'docs/how-to/socketio.md': 3,
}
#: Factor from seconds or bytes to the unit.
UNITS = {'µs': 1e6, 'us': 1e6, 'ms': 1e3, 'KiB': 1 / 1024}
_FIGURE = re.compile(rf'([\d.,]+)\s*({"|".join(UNITS)})\b')


def tables(text):
    """The tables of a Markdown text: rows of cells."""
    found = re.findall(r'(?:^\|.*\n)+', text, re.MULTILINE)
    return [[line.strip('|').split('|') for line in table.splitlines()] for table in found]


def rows_of_figures(text):
    """The rows with a figure of engineio_gevent and one of the other package, and both figures."""
    for heads, _, *rows in tables(text):
        columns = {
            name: number
            for number, head in enumerate(heads)
            for name in ('engineio_gevent', 'python-')
            if name in head
        }
        for row in rows if len(columns) == 2 else []:
            figures = [_FIGURE.search(row[column]) for column in columns.values()]
            if all(figures):
                yield row[0].strip(), [figure.groups() for figure in figures]


def measured():
    """The medians of each figure of the benchmarks: of engineio_gevent and python-engineio."""
    results = json.loads((ROOT / 'docs' / 'benchmarks' / 'results.json').read_text())
    for figures in results['numbers'].values():
        for systems in figures.values():
            if 'python-engineio' not in systems:
                continue
            yield [median(systems[name]) for name in ('ours', 'python-engineio')]


def rounded(value, shown, unit):
    """Whether a value, in this unit and with as many decimals, is what is shown."""
    decimals = len(shown.partition('.')[2])
    return f'{value * UNITS[unit]:.{decimals}f}' == shown.replace(',', '')


@pytest.mark.parametrize('page', PAGES)
def test_the_figures_of_a_page_are_those_of_one_benchmark(page):
    rows = list(rows_of_figures((ROOT / page).read_text()))
    assert len(rows) >= PAGES[page]
    known = list(measured())
    for name, pair in rows:
        assert any(
            all(rounded(value, *figure) for value, figure in zip(values, pair, strict=True))
            for values in known
        ), f'{page}, {name!r}: {pair} is not in docs/benchmarks/results.json'


def test_a_wrong_figure_is_found():
    table = '| a | engineio_gevent | python-engineio |\n|---|---|---|\n| echo | 9.8 us | 143 us |\n'
    ((_, pair),) = rows_of_figures(table)
    assert pair == [('9.8', 'us'), ('143', 'us')]
    assert rounded(9.84e-6, *pair[0])
    assert not rounded(1.421e-4, *pair[1])
