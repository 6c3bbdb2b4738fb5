"""The results of a run: raw numbers, medians and ratios, stored as JSON."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median

from .measures import MEASURES, UNITS, Figure, Measure
from .systems import OURS


@dataclass
class Results:
    """The numbers of one run, in seconds, bytes or counts."""

    #: By measure, figure and system: one number per round.
    numbers: dict[str, dict[str, dict[str, list[float]]]] = field(default_factory=dict)
    #: By measure and system: the error of a worker that failed.
    failures: dict[str, dict[str, str]] = field(default_factory=dict)
    #: Date, command, machine and versions.
    about: dict[str, str] = field(default_factory=dict)
    systems: list[str] = field(default_factory=list)

    def add(self, measure: str, system: str, figures: dict[str, float]) -> None:
        """Add the figures of a worker."""
        for key, number in figures.items():
            by_system = self.numbers.setdefault(measure, {}).setdefault(key, {})
            by_system.setdefault(system, []).append(number)

    def fail(self, measure: str, system: str, why: str) -> None:
        """Record that a worker failed."""
        self.failures.setdefault(measure, {})[system] = why

    def rows(self) -> Iterator[Row]:
        """All figures with numbers, in the order of the measures."""
        for name, measure in MEASURES.items():
            for figure in measure.figures:
                numbers = self.numbers.get(name, {}).get(figure.key)
                if numbers:
                    yield Row(measure, figure, numbers)

    def save(self, path: Path) -> None:
        """Write the results as JSON."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(asdict(self), indent=1) + '\n', encoding='utf-8')

    @classmethod
    def load(cls, path: Path) -> Results:
        """Read a file written by :meth:`save`."""
        return cls(**json.loads(path.read_text(encoding='utf-8')))


@dataclass
class Row:
    """One figure, for all systems."""

    measure: Measure
    figure: Figure
    numbers: dict[str, list[float]]

    @property
    def name(self) -> str:
        """``measure.figure``"""
        return f'{self.measure.name}.{self.figure.key}'

    def value(self, system: str) -> float | None:
        """The median in the figure's unit, or None if it was not measured."""
        numbers = self.numbers.get(system)
        return median(numbers) * UNITS[self.figure.unit] if numbers else None

    def extent(self, system: str) -> tuple[float, float]:
        """The lowest and the highest number, in the figure's unit."""
        scale = UNITS[self.figure.unit]
        return min(self.numbers[system]) * scale, max(self.numbers[system]) * scale

    def spread(self, system: str) -> float:
        """Half the range of the rounds, relative to the median."""
        low, high = self.extent(system)
        middle = self.value(system)
        return (high - low) / 2 / middle if middle else 0.0

    def ratio(self, system: str) -> float | None:
        """engineio_gevent's median divided by that of another system."""
        ours, theirs = self.value(OURS), self.value(system)
        return ours / theirs if ours is not None and theirs else None

    def target(self, system: str) -> float | None:
        """The highest accepted ratio, or None."""
        return self.figure.targets.get(system)
