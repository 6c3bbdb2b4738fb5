"""What is told of a connection: its steps, their times and facts, and a verdict."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any, Protocol

from ...exceptions import EngineIOError
from ...transports.base import describe

#: How a step, or the whole, has gone. The report is stable: these words and the names below.
OK, WARNING, FAILED, SKIPPED = 'ok', 'warning', 'failed', 'skipped'

_WORSE = (OK, SKIPPED, WARNING, FAILED)


class Fault(Exception):
    """What is wrong, in a sentence for the person who has to mend it.

    :param problem: the sentence.
    :param step: where to look, if that is another step than the one it came up in.
    """

    def __init__(self, problem: str, step: str | None = None) -> None:
        super().__init__(problem)
        self.problem = problem
        self.step = step


class Stop(Exception):
    """A step has failed, and without it there is no next."""


@dataclass
class Step:
    """One thing that the client does on its way to a connection."""

    name: str
    status: str = OK
    #: None: it was not done.
    seconds: float | None = None
    #: What is wrong with it.
    problem: str | None = None
    #: The step to look at for that.
    look_at: str = ''
    facts: dict[str, Any] = field(default_factory=dict)

    def warn(self, problem: str) -> None:
        """It has gone well, but for this."""
        self._mark(WARNING, problem)

    def fail(self, problem: str, look_at: str | None = None) -> None:
        """It has not gone well."""
        self._mark(FAILED, problem, look_at)

    def _mark(self, status: str, problem: str, look_at: str | None = None) -> None:
        self.status, self.problem, self.look_at = status, problem, look_at or self.name

    def as_json(self) -> dict[str, Any]:
        """For the report."""
        return {
            'name': self.name,
            'status': self.status,
            'ms': milliseconds(self.seconds),
            'problem': self.problem,
            'facts': self.facts,
        }


@dataclass(frozen=True)
class Verdict:
    """All in one sentence."""

    status: str
    #: The step to look at; None: all is well.
    step: str | None
    text: str

    def as_json(self) -> dict[str, Any]:
        """For the report."""
        return {'status': self.status, 'step': self.step, 'text': self.text}


class Watcher(Protocol):
    """Who is told while it happens."""

    def begins(self, step: Step) -> None:
        """This step is under way."""

    def ended(self, step: Step) -> None:
        """It is over."""


class Run:
    """One connection, from the first step to the last.

    :param watcher: who is told of the steps.
    """

    def __init__(self, watcher: Watcher) -> None:
        self._watcher = watcher
        self.steps: list[Step] = []
        #: How one was connected in the end, for the verdict.
        self.outcome = ''

    @contextmanager
    def step(self, name: str, *, needed: bool = True) -> Iterator[Step]:
        """Do a step, and take its time; what goes wrong in it is kept.

        :param needed: whether there is no next one without it: then :class:`Stop` is
                       raised if it fails. If not, its failure is a warning.
        """
        step = Step(name)
        self.steps.append(step)
        self._watcher.begins(step)
        begun = perf_counter()
        try:
            yield step
        except (Fault, EngineIOError, OSError) as exc:
            step.fail(_sentence(exc), exc.step if isinstance(exc, Fault) else None)
            if not needed:
                step.status = WARNING
        except BaseException:  # Ctrl-C
            step.fail('interrupted')
            raise
        finally:
            if step.seconds is None and step.status != SKIPPED:
                step.seconds = perf_counter() - begun
            self._watcher.ended(step)
        if step.status == FAILED:
            raise Stop

    def has(self, name: str) -> Step | None:
        """The step of this name, if it was done."""
        return next((step for step in self.steps if step.name == name), None)

    @property
    def seconds(self) -> float:
        """The time of all steps."""
        return sum(step.seconds or 0.0 for step in self.steps)

    @property
    def verdict(self) -> Verdict:
        """What comes of the steps: the first that failed, else the first warning."""
        for status in FAILED, WARNING:
            for step in self.steps:
                if step.status == status:
                    return Verdict(status, step.look_at, f'{step.look_at}: {step.problem}')
        return Verdict(OK, None, self.outcome)

    def as_json(self) -> dict[str, Any]:
        """For the report."""
        return {
            'ms': milliseconds(self.seconds),
            'verdict': self.verdict.as_json(),
            'steps': [step.as_json() for step in self.steps],
        }


def worst(runs: Iterable[Run]) -> Verdict:
    """The verdict over several runs: the worst of theirs, the first of several."""
    return max((run.verdict for run in runs), key=lambda one: _WORSE.index(one.status))


def times(runs: Sequence[Run]) -> dict[str, list[float]]:
    """The seconds that each step took in the runs in which it did not fail."""
    found: dict[str, list[float]] = {}
    for run in runs:
        for step in run.steps:
            if step.seconds is not None and step.status != FAILED:
                found.setdefault(step.name, []).append(step.seconds)
    return found


def document(url: str, runs: Sequence[Run]) -> dict[str, Any]:
    """The report on all runs, as one JSON object.

    :param url: as it was given, without credentials.
    """
    return {
        'schema': 1,
        'url': url,
        'verdict': worst(runs).as_json(),
        'runs': [run.as_json() for run in runs],
        'times': {
            name: {
                'count': len(values),
                'min': milliseconds(min(values)),
                'median': milliseconds(statistics.median(values)),
                'max': milliseconds(max(values)),
            }
            for name, values in times(runs).items()
        },
    }


def milliseconds(seconds: float | None) -> float | None:
    """Seconds as the report has them."""
    return None if seconds is None else round(seconds * 1000, 3)


def _sentence(error: Exception) -> str:
    return error.problem if isinstance(error, Fault) else describe(error)
