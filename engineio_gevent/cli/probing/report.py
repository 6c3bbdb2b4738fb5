"""The report on a connection: its steps, their times and facts, and a verdict."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any, Protocol

from ...exceptions import EngineIOError
from ...net.errors import error_text

#: The status of a step or of a run. These words and all names in the report are stable.
OK, WARNING, FAILED, SKIPPED = 'ok', 'warning', 'failed', 'skipped'

_WORSE = (OK, SKIPPED, WARNING, FAILED)


class Fault(Exception):
    """A problem of a step, in words for the person who has to fix it.

    :param problem: the problem and what to try, without a full stop at its end.
    :param step: the step to look at, if it is not the step that failed.
    :param summary: the problem without possible causes, which another finding may rule out.
    """

    def __init__(self, problem: str, step: str | None = None, summary: str | None = None) -> None:
        super().__init__(problem)
        self.problem = problem
        self.step = step
        self.summary = problem if summary is None else summary


class Stop(Exception):
    """A step failed, and the steps after it depend on it."""


@dataclass
class Step:
    """One thing that the client does to connect."""

    name: str
    status: str = OK
    #: None if the step was skipped.
    seconds: float | None = None
    #: The problem and what to try.
    problem: str | None = None
    #: The step to look at to solve the problem.
    look_at: str = ''
    facts: dict[str, Any] = field(default_factory=dict)

    def warn(self, problem: str) -> None:
        """The step succeeded, with a problem."""
        self._mark(WARNING, problem)

    def fail(self, problem: str, look_at: str | None = None) -> None:
        """The step failed."""
        self._mark(FAILED, problem, look_at)

    def _mark(self, status: str, problem: str, look_at: str | None = None) -> None:
        self.status, self.problem, self.look_at = status, problem, look_at or self.name

    def as_json(self) -> dict[str, Any]:
        """The form in the JSON report."""
        return {
            'name': self.name,
            'status': self.status,
            'ms': milliseconds(self.seconds),
            'problem': self.problem,
            'facts': self.facts,
        }


@dataclass(frozen=True)
class Verdict:
    """The result of a run."""

    status: str
    #: The step to look at; None if there is no problem.
    step: str | None
    text: str

    def as_json(self) -> dict[str, Any]:
        """The form in the JSON report."""
        return {'status': self.status, 'step': self.step, 'text': self.text}


class Watcher(Protocol):
    """Is notified of each step."""

    def begins(self, step: Step) -> None:
        """The step has started."""

    def ended(self, step: Step) -> None:
        """The step has ended."""


class _Ignore:
    """A watcher that does nothing."""

    def begins(self, step: Step) -> None:
        """Do nothing."""

    def ended(self, step: Step) -> None:
        """Do nothing."""


IGNORE = _Ignore()


class Run:
    """One connection, from the first step to the last.

    :param watcher: is notified of the steps.
    """

    def __init__(self, watcher: Watcher) -> None:
        self._watcher = watcher
        self.steps: list[Step] = []
        #: How the client was connected in the end, for the verdict.
        self.outcome = ''

    @contextmanager
    def step(self, name: str, *, needed: bool = True) -> Iterator[Step]:
        """Run a step, measure its time and record its failure.

        :param needed: whether the next steps depend on it. If so, its failure raises :class:`Stop`.
                       If not, its failure is a warning.
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
        """The step of this name, if it was run."""
        return next((step for step in self.steps if step.name == name), None)

    @property
    def seconds(self) -> float:
        """The total time of all steps."""
        return sum(step.seconds or 0.0 for step in self.steps)

    @property
    def verdict(self) -> Verdict:
        """The first failure, else the first warning, else the outcome."""
        for status in FAILED, WARNING:
            for step in self.steps:
                if step.status == status:
                    return Verdict(status, step.look_at, f'{step.look_at}: {step.problem}')
        return Verdict(OK, None, self.outcome)

    def as_json(self) -> dict[str, Any]:
        """The form in the JSON report."""
        return {
            'ms': milliseconds(self.seconds),
            'verdict': self.verdict.as_json(),
            'steps': [step.as_json() for step in self.steps],
        }


def worst(runs: Iterable[Run]) -> Verdict:
    """The verdict on several runs: the worst of their verdicts, the first if several are equal."""
    return max((run.verdict for run in runs), key=lambda one: _WORSE.index(one.status))


def times(runs: Sequence[Run]) -> dict[str, list[float]]:
    """The seconds that each step took, in the runs in which it did not fail."""
    found: dict[str, list[float]] = {}
    for run in runs:
        for step in run.steps:
            if step.seconds is not None and step.status != FAILED:
                found.setdefault(step.name, []).append(step.seconds)
    return found


def document(url: str, runs: Sequence[Run]) -> dict[str, Any]:
    """The report on all runs, as one JSON object.

    :param url: the given URL, without credentials.
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
    """Seconds in the unit of the report."""
    return None if seconds is None else round(seconds * 1000, 3)


def _sentence(error: Exception) -> str:
    return error.problem if isinstance(error, Fault) else error_text(error)
