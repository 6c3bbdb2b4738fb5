"""Runs the workers, one process per system, measure and round, and collects their figures."""

from __future__ import annotations

import json
import os
import random
import subprocess
import tempfile
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from time import monotonic

from . import servers
from .job import Job
from .measures import Measure
from .results import Results
from .systems import SYSTEMS

#: Timeout of a worker, in seconds.
WORKER_TIMEOUT = 300
#: By protocol: the system that warms up a server.
WARM_UP_SYSTEMS = {'engineio': 'floor', 'socketio': 'ours'}
WARM_UP_CLIENTS = 100
#: The warm-up sends this many times the messages of a quick run.
WARM_UP_TIMES = 4
#: The folder that ``benchmarks`` is imported from.
ROOT = Path(__file__).resolve().parent.parent


class WorkerFailed(Exception):
    """A worker exited without figures, or timed out."""


def run(
    results: Results,
    measures: Iterable[Measure],
    systems: Iterable[str],
    rounds: int,
    progress: Callable[[str], None],
) -> None:
    """Measure each system in turn, round by round.

    All rounds of a measure use the same servers. Every worker is a fresh process.
    """
    systems = list(systems)
    with tempfile.TemporaryDirectory() as folder:
        certificates = servers.Certificates(Path(folder))
        environment = {**os.environ, **certificates.environment()}
        for measure in measures:
            with servers.running(measure.job, certificates) as urls:
                job = replace(measure.job, urls=urls)
                progress(f'{measure.name}, warm-up')
                _warm_up(measure, urls, environment)
                for number in range(min(rounds, measure.rounds)):
                    for system in in_order(measure, systems, number):
                        progress(f'{measure.name}, round {number + 1}, {system}')
                        try:
                            figures = work(system, job, environment)
                        except WorkerFailed as exc:
                            results.fail(measure.name, system, str(exc))
                        else:
                            results.add(measure.name, system, figures)


def in_order(measure: Measure, systems: list[str], number: int) -> list[str]:
    """The systems in the order of a round: shuffled, and begun with another one in each round.

    The first to meet a server finds it less warm than the others do.

    :param number: the round's number, from 0.
    """
    systems = [system for system in systems if measure.runs_on(system)]
    random.Random(measure.name).shuffle(systems)
    first = number % (len(systems) or 1)
    return systems[first:] + systems[:first]


def _warm_up(measure: Measure, urls: list[str], environment: dict[str, str]) -> None:
    """Run the measure before it counts, so that Node compiles the server's code.

    Without a warm-up the first round of echoes cost twice as much as later ones. After a short one
    the first client had a p99 of 1 to 2 ms where the last one had 0.07 ms.
    """
    job = measure.hurried().job
    job = replace(
        job,
        urls=urls,
        clients=min(job.clients, WARM_UP_CLIENTS),
        messages=job.messages * WARM_UP_TIMES,
        rate=0.0,
    )
    end = monotonic() + measure.warm_up
    with suppress(WorkerFailed):  # the measured workers will report it
        work(WARM_UP_SYSTEMS[job.protocol], job, environment)
        while monotonic() < end:
            work(WARM_UP_SYSTEMS[job.protocol], job, environment)


def work(system: str, job: Job, environment: dict[str, str]) -> dict[str, float]:
    """Run one worker and read its figures.

    :raises WorkerFailed: the worker timed out or printed no figures.
    """
    try:
        done = subprocess.run(
            [*SYSTEMS[system].command, job.to_json()],
            cwd=ROOT,
            env=environment,
            capture_output=True,
            text=True,
            timeout=WORKER_TIMEOUT,
            check=False,
            preexec_fn=servers.pinned_to('client'),
        )
    except subprocess.TimeoutExpired as exc:
        raise WorkerFailed(f'timed out after {WORKER_TIMEOUT} seconds') from exc
    try:
        figures: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    except (IndexError, ValueError) as exc:
        said = (done.stderr or done.stdout).strip()[-2000:]
        raise WorkerFailed(f'exit status {done.returncode}: {said}') from exc
    return figures
