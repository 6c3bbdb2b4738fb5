"""Memory, descriptors and greenlets of this process."""

from __future__ import annotations

import gc
import os
from dataclasses import dataclass
from pathlib import Path

from greenlet import greenlet


@dataclass(frozen=True, slots=True)
class Usage:
    """The usage at one moment. A value is None if the system does not report it."""

    kib: float | None
    descriptors: int | None
    greenlets: int

    @classmethod
    def now(cls) -> Usage:
        """Collect garbage, then measure."""
        gc.collect()
        return cls(_unique_kib(), _descriptors(), _greenlets())


def _unique_kib() -> float | None:
    """The unique set size: memory that no other process shares."""
    try:
        text = Path('/proc/self/smaps_rollup').read_text()
    except OSError:
        return None
    lines = [line.split() for line in text.splitlines() if line.startswith('Private_')]
    return float(sum(int(size) for _, size, *_ in lines))


def _descriptors() -> int | None:
    for folder in ('/proc/self/fd', '/dev/fd'):
        try:
            return len(os.listdir(folder)) - 1  # without the descriptor of the listing
        except OSError:
            pass
    return None


def _greenlets() -> int:
    """The number of greenlets that have started and not ended."""
    return sum(isinstance(item, greenlet) and bool(item) for item in gc.get_objects())
