"""A run: many rounds at the same time, until there were enough or the time is over."""

from __future__ import annotations

import gc
import itertools
import logging
import sys
import threading
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import gevent.hub
import gevent.pool

import support
from engineio_gevent import process

from .actor import Planned
from .calls import INTERRUPTIONS
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


class Errors(logging.Handler):
    """Collects the exceptions in the hub, in threads, in finalizers and of the dispatcher."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        error = record.exc_info[1] if record.exc_info else None
        if not isinstance(error, (Planned, *INTERRUPTIONS)):
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
        size = GROUPS * self.at_once if self.at_once > 1 else 1

        def in_time() -> Iterator[Script]:
            for one in itertools.islice(seeds, size):
                yield self.draw(one)
                if time.monotonic() >= until:
                    return

        done = -1
        while done < self.rounds and time.monotonic() < until:
            done = self.rounds
            for finding in self.batch(in_time()):
                self.findings.append(finding)
                found(finding)
        self.seconds = time.monotonic() - began

    def draw(self, seed: int) -> Script:
        """The script of a seed, without the rules that are skipped."""
        script = draw(seed)
        return replace(script, steps=[step for step in script.steps if step.do not in self.skipped])

    def repeat(self, script: Script, times: int) -> list[Finding]:
        """Run a script many times."""
        return self.batch([script] * times)

    def batch(self, scripts: Iterable[Script]) -> list[Finding]:
        """Run scripts, as many at the same time as allowed, and look for what they leave."""
        support.measure_slowness()
        # gevent frees no hub of a thread that has ended. Collections would look through them all,
        # and stop this process for seconds.
        gc.collect()
        gc.freeze()
        # The sessions of the rounds are cooperative, although the process is not patched.
        with warnings.catch_warnings():
            warnings.filterwarnings('ignore', 'polling through a requests.Session')
            return self._batch(scripts)

    def _batch(self, scripts: Iterable[Script]) -> list[Finding]:
        began: list[Script] = []
        findings: list[Finding] = []
        with Stalls() as stalls:
            leaks, watchers = support.Leaks(), support.watchers()
            left: list[str] = []

            def one(script: Script) -> list[Finding]:
                began.append(script)
                return self._one(script, stalls)

            def nothing() -> bool:
                left[:] = [f'session {one!r} to {one.base_url}' for one in process._connections]
                left.extend(leaks.left())
                if (now := support.watchers()) > watchers:
                    left.append(f'{now} watchers, {watchers} before')
                return not left

            with Errors() as errors:
                for found in gevent.pool.Pool(self.at_once).imap_unordered(one, scripts):
                    findings += found
                support.eventually(nothing, LEFT)
                left += errors.found
        self.rounds += len(began)
        if left and began:
            left.append(f'after the rounds of the seeds {began[0].seed} to {began[-1].seed}')
            findings.append(Finding(began[0], 'left', [f'left: {text}' for text in left], []))
        return findings

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
