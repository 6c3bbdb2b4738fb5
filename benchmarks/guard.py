"""The guard against regressions: ratios to python-engineio of the same run, never a time."""

from __future__ import annotations

import json
from pathlib import Path

from .results import Results
from .systems import UPSTREAM

#: How many times a ratio may be its stored one.
TOLERANCE = 1.5
#: Rounds of what is measured once more. On a shared machine the ratio of one round to the next
#: differs by a factor of up to 2; that of the medians of five stays within the tolerance.
REPEAT_ROUNDS = 5
#: Where the stored ratios are.
BASELINE = Path(__file__).with_name('baseline.json')


def ratios(results: Results) -> dict[str, float]:
    """Ours divided by python-engineio's, by the name of the row."""
    found = {row.name: row.ratio(UPSTREAM) for row in results.rows() if row.figure.guarded}
    return {name: round(ratio, 4) for name, ratio in found.items() if ratio is not None}


def write(results: Results, path: Path) -> None:
    """Store the ratios of a run; of one that is stored already, the higher.

    Machines differ: the flood of sends had a ratio of 0.10 on one and 0.19 on another.
    """
    known = read(path) if path.exists() else {}
    found = {name: max(ratio, known.get(name, 0.0)) for name, ratio in ratios(results).items()}
    stored = {'about': results.about, 'ratios': {**known, **found}}
    path.write_text(json.dumps(stored, indent=1) + '\n', encoding='utf-8')


def read(path: Path) -> dict[str, float]:
    """The stored ratios."""
    stored: dict[str, float] = json.loads(path.read_text(encoding='utf-8'))['ratios']
    return stored


def worse(results: Results, baseline: dict[str, float]) -> dict[str, tuple[float, float]]:
    """The rows that are clearly worse than stored, each with its ratio and the stored one."""
    return {
        name: (ratio, baseline[name])
        for name, ratio in ratios(results).items()
        if name in baseline and ratio > TOLERANCE * baseline[name]
    }
