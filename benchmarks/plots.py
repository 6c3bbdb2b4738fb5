"""A plot per family of measures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from .results import Results, Row
from .systems import SYSTEMS
from .table import number

_COLOURS = {
    'ours': '#0b6e4f',
    'python-engineio': '#c8553d',
    'asyncio': '#e0a458',
    'javascript': '#588bae',
    'floor': '#b0b0b0',
}
_COLUMNS = 2


def draw(results: Results, folder: Path) -> dict[str, Path]:
    """Draw all of it as SVG.

    :returns: the file of each family.
    """
    import matplotlib as mpl

    mpl.use('Agg')
    # The same numbers give the same file.
    mpl.rcParams.update({'svg.fonttype': 'none', 'svg.hashsalt': 'benchmarks', 'font.size': 9})
    families: dict[str, list[Row]] = {}
    for row in results.rows():
        families.setdefault(row.measure.family, []).append(row)
    folder.mkdir(parents=True, exist_ok=True)
    files = {}
    for family, rows in families.items():
        figure = _growth(rows, results.systems) if family == 'scale' else _bars(rows, results)
        files[family] = folder / f'{family.replace(" ", "-")}.svg'
        figure.savefig(files[family], metadata={'Date': None}, bbox_inches='tight')
    return files


def _grid(panels: int, height: float) -> tuple[Any, list[Any]]:
    from matplotlib.figure import Figure

    lines = -(-panels // _COLUMNS)
    figure = Figure(figsize=(9, lines * height), layout='constrained')
    axes = [figure.add_subplot(lines, _COLUMNS, number + 1) for number in range(panels)]
    for each in axes:
        each.spines[['top', 'right']].set_visible(False)
    return figure, axes


def _bars(rows: list[Row], results: Results) -> Any:
    """A panel per figure, a bar per system, its spread as a line."""
    figure, axes = _grid(len(rows), 1.7)
    for axis, row in zip(axes, rows, strict=True):
        systems = [name for name in reversed(results.systems) if row.value(name) is not None]
        values = [row.value(name) or 0.0 for name in systems]
        extents = [row.extent(name) for name in systems]
        spread = (
            [value - low for value, (low, _) in zip(values, extents, strict=True)],
            [high - value for value, (_, high) in zip(values, extents, strict=True)],
        )
        bars = axis.barh(
            [SYSTEMS[name].title for name in systems],
            values,
            xerr=spread,
            color=[_COLOURS[name] for name in systems],
            error_kw={'linewidth': 0.8},
        )
        axis.bar_label(bars, [number(value) for value in values], padding=4)
        axis.set_title(_title(row), loc='left', fontsize=9)
        axis.set_xlim(0, 1.25 * max([high for _, high in extents] or [1]) or 1)
        axis.set_xticks([])
    return figure


def _growth(rows: list[Row], systems: list[str]) -> Any:
    """A panel per kind of cost: how it grows with the number of clients."""
    kinds: dict[str, list[Row]] = {}
    for row in rows:
        if row.figure.key in ('connect', 'echo', 'memory'):
            kinds.setdefault(row.figure.key, []).append(row)
    figure, axes = _grid(len(kinds), 2.6)
    for axis, group in zip(axes, kinds.values(), strict=True):
        for name in systems:
            points = [(row.measure.job.clients, row.value(name)) for row in group]
            known = [(clients, value) for clients, value in points if value is not None]
            if known:
                axis.plot(
                    *zip(*known, strict=True),
                    marker='o',
                    markersize=4,
                    color=_COLOURS[name],
                    label=SYSTEMS[name].title,
                )
        axis.set_xscale('log')
        axis.set_ylim(bottom=0)
        axis.set_xlabel('clients in one process')
        title, unit = group[0].figure.title.rpartition(', ')[0], group[0].figure.unit
        axis.set_title(f'{title} ({unit})', loc='left', fontsize=9)
    axes[0].legend(fontsize=7)
    return figure


def _title(row: Row) -> str:
    unit = f' ({row.figure.unit})' if row.figure.unit else ''
    return row.figure.title + unit
