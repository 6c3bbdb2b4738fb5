"""Rounds, many at the same time, until there were enough of them or the time is over."""

from __future__ import annotations

import logging
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import gevent
import gevent.hub
import gevent.pool

import support
from engineio_gevent import process

from .machine import Planned, Round
from .script import Script, draw

#: The seed of a run that names none.
SEED = 1
#: Rounds that run at the same time. Then all rest, and nothing may be left.
AT_ONCE = 24
#: Servers of their own for rounds that end their process.
PRIVATE = 3

PINGS = {
    'calm': {'pingInterval': 25000, 'pingTimeout': 20000},
    'brisk': {'pingInterval': 300, 'pingTimeout': 300},
    'private': {'pingInterval': 25000, 'pingTimeout': 20000},
}


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


class Servers:
    """The servers of a run."""

    def __init__(self) -> None:
        self._shared: dict[tuple[str, str], Any] = {}
        self._private = {kind: gevent.queue.Queue() for kind in ('js', 'python')}
        self._count: Counter[str] = Counter()

    def take(self, kind: str, flavour: str) -> Any:
        if flavour != 'private':
            if (kind, flavour) not in self._shared:
                self._shared[kind, flavour] = self._start(kind, flavour)
            return self._shared[kind, flavour]
        queue = self._private[kind]
        if queue.empty() and self._count[kind] < PRIVATE:
            self._count[kind] += 1
            return self._start(kind, flavour)
        return queue.get()

    def give_back(self, kind: str, flavour: str, server: Any) -> None:
        if flavour == 'private':
            self._private[kind].put(server)

    @staticmethod
    def _start(kind: str, flavour: str) -> Any:
        return getattr(support.ServerProcess, kind)(**PINGS[flavour])

    def start_all(self) -> None:
        """So that none is started while rounds run."""
        for kind in self._private:
            for flavour in ('calm', 'brisk'):
                self.take(kind, flavour)
            for server in [self.take(kind, 'private') for _ in range(PRIVATE)]:
                self.give_back(kind, 'private', server)

    def stop(self) -> None:
        for server in self._shared.values():
            server.stop()
        for queue in self._private.values():
            while not queue.empty():
                queue.get().stop()


class Errors(logging.Handler):
    """What goes to standard error: exceptions in the hub, in threads, in finalizers."""

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

    :param live: show what each round does.
    :param skipped: rules whose steps are left out.
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
        """Rounds of the seeds from this one on.

        :param found: called with each finding.
        """
        began = time.monotonic()
        self.servers.start_all()
        while rounds is None or self.rounds < rounds:
            self.seconds = time.monotonic() - began
            if seconds is not None and self.seconds >= seconds:
                break
            count = self.at_once if rounds is None else min(self.at_once, rounds - self.rounds)
            first = seed + self.rounds
            self.rounds += count
            for finding in self.batch([self.draw(one) for one in range(first, first + count)]):
                self.findings.append(finding)
                found(finding)
        self.seconds = time.monotonic() - began

    def draw(self, seed: int) -> Script:
        """The script of a seed, without the rules that are skipped."""
        script = draw(seed)
        return replace(script, steps=[step for step in script.steps if step.do not in self.skipped])

    def repeat(self, script: Script, times: int) -> list[Finding]:
        """Run a script many times at the same time."""
        findings = []
        for first in range(0, times, self.at_once):
            count = min(self.at_once, times - first)
            found, left = self._together([script] * count)
            findings += found
            if left:
                findings.append(Finding(script, 'left', left, []))
        return findings

    def batch(self, scripts: list[Script]) -> list[Finding]:
        """Run these at the same time. What is left over when all rest is looked for alone."""
        findings, left = self._together(scripts)
        if left and len(scripts) == 1:
            findings.append(Finding(scripts[0], 'left', left, []))
        elif left:
            blamed = []
            for script in scripts:
                blamed += self.batch([script])
            if not blamed:
                findings.append(Finding(scripts[0], 'left by one of the batch', left, []))
            findings += blamed
        return findings

    def _together(self, scripts: list[Script]) -> tuple[list[Finding], list[str]]:
        support.measure_slowness()
        leaks, watchers = support.Leaks(), support.watchers()
        with Errors() as errors:
            greenlets = [gevent.spawn(self.one, script) for script in scripts]
            gevent.joinall(greenlets)
            findings = [finding for one in greenlets for finding in one.value or ()]
            broken = [one.exception for one in greenlets if one.exception]
            del greenlets
            if broken:
                raise broken[0]
            left: list[str] = []

            def nothing() -> bool:
                left[:] = [f'session {one!r}' for one in process._connections]
                left.extend(leaks.left())
                if (now := support.watchers()) > watchers:
                    left.append(f'{now} watchers, {watchers} before')
                return not left

            if findings:
                support.eventually(nothing, 1)
                left.clear()  # what was found may have left this
            else:
                support.eventually(nothing, 4)
            left += errors.found
        return findings, left

    def one(self, script: Script) -> list[Finding]:
        """One round."""
        kind, flavour = script.setup.kind, script.setup.flavour
        server = self.servers.take(kind, flavour)
        round_ = Round(script, server, self.counts, self.live)
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
