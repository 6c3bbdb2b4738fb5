"""What a run has found: raw numbers, medians, ratios; kept as JSON."""

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
    """The numbers of one run, in seconds, bytes or pieces."""

    #: By measure, figure and system: one number per round.
    numbers: dict[str, dict[str, dict[str, list[float]]]] = field(default_factory=dict)
    #: By measure and system: why there is no number.
    failures: dict[str, dict[str, str]] = field(default_factory=dict)
    #: Machine, versions, command, date.
    about: dict[str, str] = field(default_factory=dict)
    systems: list[str] = field(default_factory=list)

    def add(self, measure: str, system: str, figures: dict[str, float]) -> None:
        """Take the answer of a worker."""
        for key, number in figures.items():
            by_system = self.numbers.setdefault(measure, {}).setdefault(key, {})
            by_system.setdefault(system, []).append(number)

    def fail(self, measure: str, system: str, why: str) -> None:
        """Note that a worker has failed."""
        self.failures.setdefault(measure, {})[system] = why

    def rows(self) -> Iterator[Row]:
        """Each figure that has numbers, in the order of the measures."""
        for name, measure in MEASURES.items():
            for figure in measure.figures:
                numbers = self.numbers.get(name, {}).get(figure.key)
                if numbers:
                    yield Row(measure, figure, numbers)

    def save(self, path: Path) -> None:
        """Write all of it as JSON."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(asdict(self), indent=1) + '\n', encoding='utf-8')

    @classmethod
    def load(cls, path: Path) -> Results:
        """Read what :meth:`save` has written."""
        return cls(**json.loads(path.read_text(encoding='utf-8')))


@dataclass
class Row:
    """One figure of all systems."""

    measure: Measure
    figure: Figure
    numbers: dict[str, list[float]]

    @property
    def name(self) -> str:
        """``measure.figure``"""
        return f'{self.measure.name}.{self.figure.key}'

    def value(self, system: str) -> float | None:
        """The median, in the figure's unit."""
        numbers = self.numbers.get(system)
        return median(numbers) * UNITS[self.figure.unit] if numbers else None

    def extent(self, system: str) -> tuple[float, float]:
        """The lowest and the highest, in the figure's unit."""
        scale = UNITS[self.figure.unit]
        return min(self.numbers[system]) * scale, max(self.numbers[system]) * scale

    def spread(self, system: str) -> float:
        """Half of the distance between the lowest and the highest, relative to the median."""
        low, high = self.extent(system)
        middle = self.value(system)
        return (high - low) / 2 / middle if middle else 0.0

    def ratio(self, system: str) -> float | None:
        """Ours divided by theirs."""
        ours, theirs = self.value(OURS), self.value(system)
        return ours / theirs if ours is not None and theirs else None

    def target(self, system: str) -> float | None:
        """What the ratio should be at most."""
        return self.figure.targets.get(system)
