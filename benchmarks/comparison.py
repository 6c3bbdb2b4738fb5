"""Compares engineio_gevent with another system, figure by figure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import takewhile

from .results import Results, Row
from .systems import FLOOR, OURS

#: Medians that differ by less than this share count as equal.
TOLERANCE = 0.05
TIMES = '\N{MULTIPLICATION SIGN}'


def multiple(ratio: float) -> str:
    """A ratio as text: 14, 3.0 or 0.82, and a multiplication sign."""
    if ratio >= 9.95:
        return f'{ratio:,.0f}{TIMES}'
    return f'{ratio:.1f}{TIMES}' if ratio >= 1.995 else f'{ratio:.2f}{TIMES}'


def peers(results: Results) -> list[str]:
    """The other clients of a run. The bare loop is not a client."""
    return [name for name in results.systems if name not in (OURS, FLOOR)]


def differ(row: Row, one: str, other: str) -> bool:
    """Whether two systems differ clearly.

    The ranges of their rounds do not overlap, and the medians differ by more than the tolerance.
    """
    (low, high), (low_2, high_2) = row.extent(one), row.extent(other)
    if low <= high_2 and low_2 <= high:
        return False
    first, second = row.value(one) or 0.0, row.value(other) or 0.0
    return abs(first - second) > TOLERANCE * max(first, second)


def lowest(row: Row, names: list[str]) -> list[str]:
    """The system with the lowest figure, and those that are not clearly higher.

    A system that is higher than a clearly higher one is not among them, however wide its range is.

    :param names: the systems to compare.
    """
    known = {name: value for name in names if (value := row.value(name)) is not None}
    ordered = sorted(known, key=lambda name: known[name])
    return list(takewhile(lambda name: not differ(row, ordered[0], name), ordered))


@dataclass
class Comparison:
    """The figures of engineio_gevent and another system, by outcome."""

    lower: list[Row] = field(default_factory=list)
    equal: list[Row] = field(default_factory=list)
    higher: list[Row] = field(default_factory=list)

    @property
    def total(self) -> int:
        """The number of figures."""
        return len(self.lower) + len(self.equal) + len(self.higher)


def compare(results: Results, peer: str) -> Comparison:
    """Sort the figures of a run by whether engineio_gevent's is lower, equal or higher.

    Counts of file descriptors and greenlets are left out.
    """
    comparison = Comparison()
    for row in measured(results):
        if OURS not in row.numbers or peer not in row.numbers:
            continue
        if not differ(row, OURS, peer):
            comparison.equal.append(row)
        elif (row.ratio(peer) or 0.0) < 1:
            comparison.lower.append(row)
        else:
            comparison.higher.append(row)
    return comparison


def measured(results: Results) -> Iterator[Row]:
    """The figures that are times or memory, not counts."""
    return (row for row in results.rows() if row.figure.unit)
