"""A sampling profiler for a process with greenlets.

A timer of CPU time interrupts the process and records the running stack, in
any greenlet. A tracing profiler would mix up the stacks at every switch, and
would slow down small functions more than large ones. Time in C counts for the
line that called it. Time of the event loop between two callbacks counts for
the second callback.
"""

from __future__ import annotations

import signal
from collections import Counter
from html import escape
from pathlib import Path
from time import process_time
from types import FrameType, TracebackType

#: Seconds of CPU time between two samples. The kernel's clock may be coarser.
INTERVAL = 0.001

Stack = tuple[str, ...]

_WIDTH, _ROW = 1200, 16


class Sampler:
    """Counts the stacks of its ``with`` block, outermost frame first."""

    def __init__(self) -> None:
        self.stacks: Counter[Stack] = Counter()
        #: CPU time of the block, in seconds.
        self.seconds = 0.0

    def __enter__(self) -> Sampler:
        self.seconds -= process_time()
        signal.signal(signal.SIGPROF, self._sample)
        signal.setitimer(signal.ITIMER_PROF, INTERVAL, INTERVAL)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        signal.setitimer(signal.ITIMER_PROF, 0)
        self.seconds += process_time()

    def _sample(self, _number: int, frame: FrameType | None) -> None:
        stack = []
        while frame is not None:
            code = frame.f_code
            name = getattr(code, 'co_qualname', code.co_name)  # Python 3.10 does not have it
            stack.append(f'{_short(code.co_filename)}:{name}')
            frame = frame.f_back
        self.stacks[tuple(reversed(stack))] += 1


def _short(path: str) -> str:
    parts = Path(path).parts
    return '/'.join(parts[-2:])


def report(sampler: Sampler, lines: int = 25) -> str:
    """The functions that take most CPU time: their own time, and with the functions they call."""
    stacks = sampler.stacks
    total = stacks.total() or 1
    own: Counter[str] = Counter()
    within: Counter[str] = Counter()
    for stack, count in stacks.items():
        own[stack[-1]] += count
        for name in set(stack):
            within[name] += count
    rows = [f'{total} samples of {sampler.seconds:.1f} s of CPU', '   own  total  function']
    rows += [
        f'{count / total:6.1%} {within[name] / total:6.1%}  {name}'
        for name, count in own.most_common(lines)
    ]
    return '\n'.join(rows)


def save(stacks: Counter[Stack], path: str) -> None:
    """Write ``path.folded`` and ``path.svg``."""
    Path(f'{path}.folded').write_text(folded(stacks), encoding='utf-8')
    Path(f'{path}.svg').write_text(flame_graph(stacks, Path(path).name), encoding='utf-8')


def folded(stacks: Counter[Stack]) -> str:
    """One line per stack, in the format of flame graph tools."""
    return ''.join(f'{";".join(stack)} {count}\n' for stack, count in sorted(stacks.items()))


def flame_graph(stacks: Counter[Stack], title: str) -> str:
    """A flame graph as SVG: the width of a box is its share of the time; callees are above it."""
    boxes: list[str] = []
    depth = max((len(stack) for stack in stacks), default=0)
    total = stacks.total() or 1
    height = (depth + 2) * _ROW

    def draw(level: int, left: float, group: dict[Stack, int]) -> None:
        children: dict[str, dict[Stack, int]] = {}
        for stack, count in group.items():
            if len(stack) > level:
                children.setdefault(stack[level], {})[stack] = count
        for name, below in sorted(children.items()):
            share = sum(below.values()) / total
            boxes.append(_box(name, left, height - (level + 1) * _ROW, share))
            draw(level + 1, left, below)
            left += share * _WIDTH

    draw(0, 0.0, dict(stacks))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}" height="{height}" '
        f'font-family="monospace" font-size="11"><text x="4" y="12">{escape(title)}</text>\n'
        + '\n'.join(boxes)
        + '\n</svg>\n'
    )


def _box(name: str, left: float, top: float, share: float) -> str:
    width = share * _WIDTH
    letters = int(width / 6.7)
    shown = escape(name.rpartition(':')[2][:letters]) if letters > 2 else ''
    hue = 20 + sum(map(ord, name)) % 35
    return (
        f'<g><title>{escape(name)} {share:.1%}</title>'
        f'<rect x="{left:.1f}" y="{top}" width="{max(width - 0.5, 0.2):.1f}" height="{_ROW - 1}" '
        f'fill="hsl({hue} 85% 65%)"/><text x="{left + 2:.1f}" y="{top + 11}">{shown}</text></g>'
    )
