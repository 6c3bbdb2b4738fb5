"""A run: many rounds at the same time, until there were enough or the time is over."""

from __future__ import annotations

import itertools
import logging
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import gevent.hub
import gevent.pool

import support
from engineio_gevent import process

from .actor import Planned
from .round import Round
from .script import Script, draw
from .servers import Servers
from .stalls import Stalls

#: The seed of a run that names none.
SEED = 1
#: Rounds that run at the same time.
AT_ONCE = 40
#: After so many times the rounds that run at the same time, all rest, and nothing may be left.
GROUPS = 8
#: Seconds until nothing must be left of rounds.
LEFT = 4.0

_dispatcher_log = logging.getLogger('engineio_gevent.dispatcher')


class Finding(NamedTuple):
    """A script for which something does not hold."""

    script: Script
    kind: str
    texts: list[str]
    log: list[str]

    def __str__(self) -> str:
        failed = [f'  failed: {text}' for text in self.texts]
        return '\n'.join([f'FINDING {self.kind}', str(self.script), *failed])


def _left(script: Script, left: list[str]) -> Finding:
    return Finding(script, 'left', [f'left: {text}' for text in left], [])


class Errors(logging.Handler):
    """Collects the exceptions in the hub, in threads, in finalizers and of the dispatcher."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        error = record.exc_info[1] if record.exc_info else None
        if not isinstance(error, (Planned, gevent.GreenletExit, gevent.Timeout)):
            self.found.append(f'logged: {record.getMessage()} {error!r}')

    def __enter__(self) -> Errors:
        _dispatcher_log.addHandler(self)
        _dispatcher_log.propagate = False
        self._before = (
            gevent.hub.Hub.print_exception,
            threading.excepthook,
            sys.unraisablehook,
        )

        def print_exception(hub: Any, context: Any, kind: Any, value: Any, tb: Any) -> None:
            if not isinstance(value, Planned):
                self.found.append(f'in the hub, {context!r}: {value!r}')

        gevent.hub.Hub.print_exception = print_exception  # type: ignore[method-assign]  # undone
        threading.excepthook = lambda args: self.found.append(f'in a thread: {args.exc_value!r}')
        sys.unraisablehook = lambda args: self.found.append(
            f'in a finalizer: {args.exc_value!r} {args.object!r}'
        )
        return self

    def __exit__(self, *_: object) -> None:
        _dispatcher_log.removeHandler(self)
        (
            gevent.hub.Hub.print_exception,  # type: ignore[method-assign]  # as it was
            threading.excepthook,
            sys.unraisablehook,
        ) = self._before


class Run:
    """All rounds of one run.

    :param live: whether to print what each round does.
    :param at_once: how many rounds run at the same time.
    :param skipped: the rules whose steps are left out.
    """

    def __init__(
        self, live: bool = False, at_once: int = AT_ONCE, skipped: Sequence[str] = ()
    ) -> None:
        self.skipped = skipped
        self.live = live
        self.at_once = at_once
        self.servers = Servers()
        self.counts: Counter[str] = Counter()
        self.rounds = 0
        self.steps = 0
        self.seconds = 0.0
        self.findings: list[Finding] = []

    def run(
        self,
        seed: int = SEED,
        rounds: int | None = None,
        seconds: float | None = None,
        found: Callable[[Finding], object] = lambda finding: None,
    ) -> None:
        """Run the rounds of the seeds from this one on.

        :param found: called with each finding.
        """
        self.servers.start_all()
        began = time.monotonic()
        until = began + (float('inf') if seconds is None else seconds)
        last = seed + (sys.maxsize if rounds is None else rounds)
        seeds = iter(range(seed, last))
        while (found_now := self._group(seeds, until)) is not None:
            for finding in found_now:
                self.findings.append(finding)
                found(finding)
        self.seconds = time.monotonic() - began

    def _group(self, seeds: Iterator[int], until: float) -> list[Finding] | None:
        """Some rounds, and then a look for what they leave; None if there are none to run."""
        scripts: list[Script] = []

        def take() -> Iterator[Script]:
            for seed in itertools.islice(seeds, GROUPS * self.at_once):
                scripts.append(self.draw(seed))
                yield scripts[-1]
                if time.monotonic() >= until:
                    return

        if time.monotonic() >= until:
            return None
        findings, left = self._together(take())
        self.rounds += len(scripts)
        if not scripts:
            return None
        if left:
            blamed = {finding.script.seed for finding in findings}
            findings += self._blame([one for one in scripts if one.seed not in blamed], left)
        return findings

    def draw(self, seed: int) -> Script:
        """The script of a seed, without the rules that are skipped."""
        script = draw(seed)
        return replace(script, steps=[step for step in script.steps if step.do not in self.skipped])

    def repeat(self, script: Script, times: int) -> list[Finding]:
        """Run a script many times."""
        findings, left = self._together([script] * times)
        if left and not findings:
            findings.append(_left(script, left))
        return findings

    def batch(self, scripts: list[Script]) -> list[Finding]:
        """Run these scripts, and look for what they leave."""
        findings, left = self._together(scripts)
        if left and not findings:
            findings += self._blame(scripts, left)
        return findings

    def _blame(self, scripts: list[Script], left: list[str]) -> list[Finding]:
        """Find a script that leaves something, by running ever fewer of them."""
        if len(scripts) == 1:
            return [_left(scripts[0], left)]
        middle = len(scripts) // 2
        for half in (scripts[:middle], scripts[middle:]):
            findings, its = self._together(half)
            if its and not findings:
                return self._blame(half, its)
            if findings:
                return findings
        return [_left(scripts[0], ['by one of many, and not again', *left])]

    def _together(self, scripts: Iterable[Script]) -> tuple[list[Finding], list[str]]:
        """Run scripts, as many at the same time as allowed.

        :returns: the findings, and what is left when all rest.
        """
        support.measure_slowness()
        findings: list[Finding] = []
        left: list[str] = []
        with Stalls() as stalls:
            leaks, watchers = support.Leaks(), support.watchers()

            def nothing() -> bool:
                left[:] = [f'session {one!r}' for one in process._connections]
                left.extend(leaks.left())
                if (now := support.watchers()) > watchers:
                    left.append(f'{now} watchers, {watchers} before')
                return not left

            with Errors() as errors:
                pool = gevent.pool.Pool(self.at_once)
                for one in pool.imap_unordered(lambda script: self._one(script, stalls), scripts):
                    findings += one
                del pool
                support.eventually(nothing, LEFT)
                left += errors.found
        return findings, left

    def _one(self, script: Script, stalls: Stalls) -> list[Finding]:
        """One round."""
        kind, flavour = script.setup.kind, script.setup.flavour
        server = self.servers.take(kind, flavour)
        round_ = Round(script, server, self.counts, stalls, self.live)
        try:
            round_.run()
        finally:
            self.servers.give_back(kind, flavour, server)
            self.steps += round_.steps
        if not round_.failures:
            return []
        texts = [f'{kind}: {text}' for kind, text in round_.failures]
        return [Finding(script, round_.failures[0][0], texts, round_.log)]

    def shrink(self, finding: Finding, seconds: float = 60) -> Finding:
        """The finding with steps left out, as long as it is found."""
        until = time.monotonic() + seconds
        size = max(1, len(finding.script.steps) // 2)
        while size and time.monotonic() < until:
            steps, end = finding.script.steps, len(finding.script.steps)
            while end > 0 and time.monotonic() < until:
                start = max(0, end - size)
                steps = finding.script.steps
                shorter = replace(finding.script, steps=steps[:start] + steps[end:])
                again = self.repeat(shorter, self.at_once)
                if same := [one for one in again if one.kind == finding.kind]:
                    finding = same[0]
                end = start
            size //= 2
        return finding
