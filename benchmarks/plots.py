"""One plot per family of measures, as SVG in one column.

Written by hand, so that the text is readable at the width of a phone, and so that the colours
follow the reader's preference for light or dark.
"""

from __future__ import annotations

import math
from html import escape
from pathlib import Path

from .comparison import measured, peers
from .results import Results, Row
from .systems import OURS, title
from .table import number

#: The width in pixels. A phone shows it at four fifths of that.
WIDTH = 440
_BAR = 20
#: Where bars begin, and where the longest ends; its number follows.
_LEFT, _RIGHT = 186, 372
_STYLE = """\
text { font: 13px system-ui, sans-serif; fill: #1f2328; }
.title { font-weight: 600; }
.s0 { fill: #0b7a75; stroke: #0b7a75; }
.s1 { fill: #c2573f; stroke: #c2573f; }
.s2 { fill: #b0822f; stroke: #b0822f; }
.s3 { fill: #4a7fb0; stroke: #4a7fb0; }
rect { stroke: none !important; }
.line { fill: none !important; stroke-width: 2; }
.range { stroke: #1f2328; stroke-width: 1.2; }
.axis { stroke: #8a949e; stroke-width: 1; }
.grid { stroke: #8a949e; stroke-opacity: 0.3; stroke-width: 1; }
@media (prefers-color-scheme: dark) {
  text { fill: #e4e6e8; }
  .s0 { fill: #3fbfb2; stroke: #3fbfb2; }
  .s1 { fill: #e07f68; stroke: #e07f68; }
  .s2 { fill: #d8ac5c; stroke: #d8ac5c; }
  .s3 { fill: #7fb0de; stroke: #7fb0de; }
  .range { stroke: #e4e6e8; }
}"""


def draw(results: Results, folder: Path) -> dict[str, Path]:
    """Write the plots.

    :returns: the file of each family.
    """
    families: dict[str, list[Row]] = {}
    for row in measured(results):
        families.setdefault(row.measure.family, []).append(row)
    systems = [OURS, *peers(results)]
    folder.mkdir(parents=True, exist_ok=True)
    files = {}
    for family, rows in families.items():
        files[family] = folder / f'{family.replace(" ", "-")}.svg'
        picture = _growth(rows, systems) if family == 'scale' else _bars(rows, systems)
        files[family].write_text(picture, encoding='utf-8')
    return files


def _svg(height: float, label: str, parts: list[str]) -> str:
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height:.0f}" '
        f'viewBox="0 0 {WIDTH} {height:.0f}" role="img" aria-label="{escape(label)}">'
    )
    return '\n'.join([head, f'<style>\n{_STYLE}\n</style>', *parts, '</svg>\n'])


def _text(x: float, y: float, text: str, style: str = '', anchor: str = 'start') -> str:
    kind = f' class="{style}"' if style else ''
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"{kind}>{escape(text)}</text>'


def _line(x1: float, y1: float, x2: float, y2: float, style: str) -> str:
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" class="{style}"/>'


def _bars(rows: list[Row], systems: list[str]) -> str:
    """A panel for each figure, with a bar for each system and a line for the range of rounds."""
    parts: list[str] = []
    y = 0.0
    for row in rows:
        shown = [name for name in systems if name in row.numbers]
        parts.append(_text(0, y + 16, f'{row.figure.title} ({row.figure.unit})', 'title'))
        y += 26
        scale = (_RIGHT - _LEFT) / (max(row.extent(name)[1] for name in shown) or 1)
        for name in shown:
            value, (low, high) = row.value(name) or 0.0, row.extent(name)
            style, middle = f's{systems.index(name)}', y + _BAR / 2
            end = _LEFT + value * scale
            parts += [
                _text(_LEFT - 8, middle + 4.5, title(name, row.measure.family), '', 'end'),
                f'<rect x="{_LEFT}" y="{y + 3:.1f}" width="{max(1.0, value * scale):.1f}" '
                f'height="{_BAR - 6}" class="{style}"/>',
                _line(_LEFT + low * scale, middle, _LEFT + high * scale, middle, 'range'),
                _text(max(end, _LEFT + high * scale) + 6, middle + 4.5, number(value)),
            ]
            y += _BAR
        y += 14
    return _svg(y - 8, f'Bars: {", ".join(row.figure.title for row in rows)}', parts)


def _growth(rows: list[Row], systems: list[str]) -> str:
    """A panel for each kind of cost, with a line for each system over the number of clients."""
    kinds: dict[str, list[Row]] = {}
    for row in rows:
        kinds.setdefault(row.figure.key, []).append(row)
    parts: list[str] = []
    y = 0.0
    for index, name in enumerate(systems):
        parts += [
            f'<rect x="0" y="{y + 5:.1f}" width="16" height="10" class="s{index}"/>',
            _text(24, y + 14.5, title(name)),
        ]
        y += _BAR
    for group in kinds.values():
        parts += _panel(group, systems, y + 12)
        y += _PANEL
    return _svg(y, f'Lines: {", ".join(map(_kind, kinds.values()))}', parts)


_PANEL = 240
_FIRST, _LAST = 46, WIDTH - 24


def _kind(group: list[Row]) -> str:
    return group[0].figure.title.rpartition(', ')[0]


def _panel(group: list[Row], systems: list[str], top: float) -> list[str]:
    """The parts of one panel."""
    parts = [_text(0, top + 14, f'{_kind(group)} ({group[0].figure.unit})', 'title')]
    clients = [row.measure.job.clients for row in group]
    highest = max((row.value(name) or 0.0) for row in group for name in systems) or 1
    step = _step(highest)
    steps = math.ceil(highest / step)
    floor, ceiling = top + 178, top + 32
    left, width = math.log(clients[0]), (math.log(clients[-1] / clients[0]) or 1)

    def x(value: float) -> float:
        return _FIRST + (math.log(value) - left) / width * (_LAST - _FIRST)

    def y(value: float) -> float:
        return floor - value / (step * steps) * (floor - ceiling)

    for number_ in range(steps + 1):
        height = y(number_ * step)
        parts += [
            _line(_FIRST, height, _LAST, height, 'grid' if number_ else 'axis'),
            _text(_FIRST - 6, height + 4, f'{number_ * step:g}', '', 'end'),
        ]
    for each in clients:
        parts.append(_text(x(each), floor + 17, f'{each:,}', '', 'middle'))
    parts.append(_text((_FIRST + _LAST) / 2, floor + 34, 'clients in one process', '', 'middle'))
    for index, name in reversed(list(enumerate(systems))):
        points = [
            (x(row.measure.job.clients), y(value))
            for row in group
            if (value := row.value(name)) is not None
        ]
        path = ' '.join(f'{across:.1f},{down:.1f}' for across, down in points)
        parts.append(f'<polyline points="{path}" class="s{index} line"/>')
        parts += [
            f'<circle cx="{across:.1f}" cy="{down:.1f}" r="3.5" class="s{index}"/>'
            for across, down in points
        ]
    return parts


def _step(highest: float) -> float:
    """The distance of grid lines: 1, 2 or 5 times a power of ten, for at most five lines."""
    power = 10.0 ** math.floor(math.log10(highest / 5))
    return next(power * factor for factor in (1.0, 2.0, 5.0, 10.0) if power * factor * 5 >= highest)
