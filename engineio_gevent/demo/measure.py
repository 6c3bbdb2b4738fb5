"""What the operating system and the interpreter know of this process."""

from __future__ import annotations

import gc
import os
from dataclasses import dataclass
from pathlib import Path

from greenlet import greenlet


@dataclass(frozen=True, slots=True)
class Usage:
    """What the process holds at one moment; None is not known on this system."""

    kib: float | None
    descriptors: int | None
    greenlets: int

    @classmethod
    def now(cls) -> Usage:
        """Measure it, without the garbage."""
        gc.collect()
        return cls(_unique_kib(), _descriptors(), _greenlets())


def _unique_kib() -> float | None:
    """The unique set size: memory that would be free if this process ended."""
    try:
        text = Path('/proc/self/smaps_rollup').read_text()
    except OSError:
        return None
    lines = [line.split() for line in text.splitlines() if line.startswith('Private_')]
    return float(sum(int(size) for _, size, *_ in lines))


def _descriptors() -> int | None:
    for folder in ('/proc/self/fd', '/dev/fd'):
        try:
            return len(os.listdir(folder)) - 1  # that of the listing itself
        except OSError:
            pass
    return None


def _greenlets() -> int:
    """Those that run or wait; not the finished, nor those that have not begun."""
    return sum(isinstance(item, greenlet) and bool(item) for item in gc.get_objects())
