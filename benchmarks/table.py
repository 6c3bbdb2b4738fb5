"""The results as text: our figure, each peer's, the ratio, and the target next to it."""

from __future__ import annotations

from .results import Results, Row
from .systems import OURS, SYSTEMS


def number(value: float) -> str:
    """Three digits that matter."""
    if value >= 100:
        return f'{value:,.0f}'
    return f'{value:.1f}' if value >= 10 else f'{value:.2f}'


def verdict(row: Row, system: str) -> str:
    """The ratio and its target: ``0.10 (0.11 ok)``, or ``!`` where it is missed."""
    ratio, target = row.ratio(system), row.target(system)
    if ratio is None:
        return ''
    shown = f'{ratio:.3f}' if ratio < 0.1 else f'{ratio:.2f}'
    if target is None:
        return shown
    return f'{shown} ({target:g} {"ok" if ratio <= target else "!"})'


def cells(results: Results) -> list[list[str]]:
    """The table, with its headings first."""
    heads = ['']
    for name in results.systems:
        heads += [SYSTEMS[name].title] if name == OURS else [SYSTEMS[name].title, 'ratio (target)']
    table = [heads]
    for row in results.rows():
        unit = f' ({row.figure.unit})' if row.figure.unit else ''
        line = [row.figure.title + unit]
        for name in results.systems:
            line += [_with_spread(row, name)]
            if name != OURS:
                line.append(verdict(row, name))
        table.append(line)
    return table


def _with_spread(row: Row, system: str) -> str:
    value = row.value(system)
    if value is None:
        return '-'
    if len(row.numbers[system]) == 1 or not value:
        return number(value)
    return f'{number(value)} ±{row.spread(system):.0%}'


def growth(results: Results) -> list[list[str]]:
    """What 10,000 clients cost relative to 100, where both were measured; headings first."""
    rows = {row.name: row for row in results.rows()}
    table = [['', *(SYSTEMS[name].title for name in results.systems), 'target']]
    for key, target in (('memory', ''), ('connect', ''), ('echo', '1.3')):
        few, many = rows.get(f'crowd-100.{key}'), rows.get(f'crowd-10000.{key}')
        if few is not None and many is not None:
            line = [f'{key}, 10,000 clients / 100']
            for name in results.systems:
                less, more = few.value(name), many.value(name)
                line.append(f'{more / less:.2f}' if less and more is not None else '-')
            table.append([*line, target])
    return table if len(table) > 1 else []


def text(results: Results) -> str:
    """For a terminal."""
    tables = [_aligned(table) for table in (cells(results), growth(results)) if table]
    return '\n\n'.join([*tables, *failures(results)])


def _aligned(table: list[list[str]]) -> str:
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    lines = []
    for first, *rest in table:
        shown = [cell.rjust(width) for cell, width in zip(rest, widths[1:], strict=True)]
        lines.append('  '.join([first.ljust(widths[0]), *shown]).rstrip())
    lines.insert(1, '-' * max(map(len, lines)))
    return '\n'.join(lines)


def markdown(results: Results) -> str:
    """For a page."""
    return as_markdown(cells(results))


def as_markdown(table: list[list[str]]) -> str:
    """A table with headings and numbers, in Markdown."""
    heads, *lines = table
    rows = [heads, ['---', *['---:'] * (len(heads) - 1)], *lines]
    return '\n'.join(f'| {" | ".join(line)} |' for line in rows)


def failures(results: Results) -> list[str]:
    """A line for each worker that has failed."""
    return [
        f'FAILED {measure}, {system}: {why}'
        for measure, by_system in results.failures.items()
        for system, why in by_system.items()
    ]
