"""The results as tables of text, for a terminal and for Markdown."""

from __future__ import annotations

from .comparison import lowest, multiple
from .results import Results, Row
from .systems import OURS, title

#: The spread of the rounds is shown from this share of the median on.
WIDE = 0.1
#: The figures that show how a cost grows from 100 clients to 10,000.
GROWTH = ('memory', 'connect', 'echo')


def number(value: float) -> str:
    """A number with three significant digits."""
    if value >= 100:
        return f'{value:,.0f}'
    return f'{value:.1f}' if value >= 10 else f'{value:.2f}'


def quantity(row: Row, system: str) -> str:
    """The median of a system with its unit, and the spread of the rounds where it is wide."""
    value = row.value(system)
    if value is None:
        return 'not measured'
    if not row.figure.unit:
        return f'{value:.2f}'.rstrip('0').rstrip('.')
    spread = row.spread(system)
    return f'{number(value)} {row.figure.unit}' + (f' ±{spread:.0%}' if spread >= WIDE else '')


def with_spread(row: Row, system: str) -> str:
    """The median of a system with its unit, and always with the spread of the rounds."""
    value = row.value(system)
    if value is None:
        return 'not measured'
    shown = f'{number(value)} {row.figure.unit}'.rstrip()
    return f'{shown} ±{row.spread(system):.0%}' if row.spread(system) else shown


def compared(row: Row, system: str) -> str:
    """The quantity of a system, and how many times engineio_gevent's it is."""
    ratio = row.ratio(system)
    shown = quantity(row, system)
    if system == OURS or not ratio or not row.figure.unit:
        return shown
    return f'{shown} ({multiple(1 / ratio)})'


def cells(results: Results, systems: list[str], heading: str = '') -> list[list[str]]:
    """A table of all figures, headings first.

    :param systems: the columns.
    :param heading: the heading of the first column.
    """
    table = [[heading, *(title(name) for name in systems)]]
    table += [
        [row.figure.title, *(compared(row, name) for name in systems)] for row in results.rows()
    ]
    return table


def with_lowest_bold(rows: list[Row], systems: list[str], heading: str) -> list[list[str]]:
    """A table of one family for a page: the lowest figures of each row are bold.

    :param systems: the columns.
    :param heading: the heading of the first column.
    """
    family = rows[0].measure.family
    table = [[heading, *(title(name, family) for name in systems)]]
    for row in rows:
        best = lowest(row, systems) if row.figure.unit else []
        line = [row.figure.title.removeprefix('Socket.IO: ')]
        for name in systems:
            shown = compared(row, name)
            line.append(f'**{shown}**' if name in best else shown)
        table.append(line)
    return table


def growth(results: Results, systems: list[str]) -> list[list[str]]:
    """The cost of a client among 10,000, relative to 100; headings first.

    :returns: nothing if one of the two was not measured.
    """
    rows = {row.name: row for row in results.rows()}
    table = [['cost per client', *(title(name) for name in systems)]]
    for key in GROWTH:
        few, many = rows.get(f'crowd-100.{key}'), rows.get(f'crowd-10000.{key}')
        if few is not None and many is not None:
            line = [many.figure.title.partition(',')[0]]
            for name in systems:
                less, more = few.value(name), many.value(name)
                line.append('not measured' if not less or more is None else multiple(more / less))
            table.append(line)
    return table if len(table) > 1 else []


def text(results: Results) -> str:
    """The tables for a terminal."""
    tables = [
        aligned(table)
        for table in (
            cells(results, results.systems, 'median (multiple of engineio_gevent)'),
            growth(results, results.systems),
        )
        if table
    ]
    if len(tables) > 1:
        tables[1] = f'Cost of a client among 10,000, relative to 100:\n\n{tables[1]}'
    return '\n\n'.join([*tables, *failures(results)])


def aligned(table: list[list[str]]) -> str:
    """A table for a terminal, headings first."""
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    lines = []
    for first, *rest in table:
        shown = [cell.rjust(width) for cell, width in zip(rest, widths[1:], strict=True)]
        lines.append('  '.join([first.ljust(widths[0]), *shown]).rstrip())
    lines.insert(1, '-' * max(map(len, lines)))
    return '\n'.join(lines)


def as_markdown(table: list[list[str]], align: str = '---:') -> str:
    """A table in Markdown.

    :param table: the cells, headings first.
    :param align: the alignment of all columns but the first.
    """
    heads, *lines = table
    rows = [heads, ['---', *[align] * (len(heads) - 1)], *lines]
    return '\n'.join(f'| {" | ".join(line)} |' for line in rows)


def failures(results: Results) -> list[str]:
    """One line for each worker that failed."""
    return [
        f'FAILED {measure}, {system}: {why}'
        for measure, by_system in results.failures.items()
        for system, why in by_system.items()
    ]
