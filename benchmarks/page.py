"""The results page: made from a results file and `notes.md`, never written by hand."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

from . import plots, table
from .measures import MEASURES
from .results import Results
from .systems import OURS, SYSTEMS

#: Where the page is by default; its plots are in a folder of the same name.
PAGE = Path('docs/benchmarks.md')
NOTES = Path(__file__).with_name('notes.md')
#: Of the families whose names are written in another way.
TITLES = {'socket.io': 'Socket.IO'}


def write(results: Results, page: Path) -> None:
    """Write the page, and draw the plots beside it."""
    images = plots.draw(results, page.with_suffix(''))
    parts = [
        '# Benchmarks',
        'Made by the command below; do not edit. Lower is better everywhere. Each cell is the '
        'median of the rounds and half the distance between the lowest and the highest; each '
        'ratio is this client divided by the peer, with the target in brackets, `!` where it is '
        'missed.',
        _about(results),
    ]
    for family in dict.fromkeys(measure.family for measure in MEASURES.values()):
        if family in images:
            image = os.path.relpath(images[family], page.parent)
            parts += [
                f'## {TITLES.get(family, family.capitalize())}',
                f'![{family}]({image})',
                table.markdown(_only(results, family)),
            ]
        growth = table.growth(results)
        if family == 'scale' and growth:
            parts += ['Each cost with 10,000 clients, relative to 100:', table.as_markdown(growth)]
    missed = _missed(results)
    if missed:
        parts += ['## Targets that are missed', missed]
    parts += [*table.failures(results), NOTES.read_text(encoding='utf-8').strip()]
    page.parent.mkdir(parents=True, exist_ok=True)
    page.write_text('\n\n'.join(parts) + '\n', encoding='utf-8')


def _about(results: Results) -> str:
    lines = ['| | |', '| --- | --- |']
    lines += [f'| {name} | {_cell(name, value)} |' for name, value in results.about.items()]
    return '\n'.join(lines)


def _cell(name: str, value: str) -> str:
    return f'`{value}`' if name == 'command' else value


def _only(results: Results, family: str) -> Results:
    numbers = {
        name: figures
        for name, figures in results.numbers.items()
        if MEASURES[name].family == family
    }
    return replace(results, numbers=numbers)


def _missed(results: Results) -> str:
    lines = []
    for row in results.rows():
        for system in results.systems:
            ratio, target = row.ratio(system), row.target(system)
            if system != OURS and ratio is not None and target is not None and ratio > target:
                lines.append(
                    f'- {row.figure.title}, against {SYSTEMS[system].title}: '
                    f'{ratio:.3g} instead of {target:g}'
                )
    return '\n'.join(lines)
