"""Measuring and reporting in the Python workers."""

from __future__ import annotations

import gc
import json
import os
import resource
import sys
from collections.abc import Callable
from time import process_time

from ..job import Job

#: CPU seconds of this process so far, user and system, all threads.
cpu = process_time

Figures = dict[str, float]


def read_job() -> Job:
    """Read the job from the command line, and raise the limit of file descriptors."""
    job = Job.from_json(sys.argv[1])
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return job


def report(figures: Figures) -> None:
    """Print the figures and exit at once, without closing ten thousand connections."""
    print(json.dumps(figures), flush=True)
    os._exit(0)


def unique_set_size() -> int:
    """The private memory of this process in bytes, after a garbage collection."""
    gc.collect()
    gc.collect()
    with open('/proc/self/smaps_rollup', encoding='ascii') as file:
        return 1024 * sum(int(line.split()[1]) for line in file if line.startswith('Private_'))


def descriptors() -> int:
    """The number of open file descriptors of this process."""
    return len(os.listdir('/proc/self/fd'))


def count(kind: type) -> int:
    """The number of objects of a type that the garbage collector tracks."""
    return sum(isinstance(item, kind) for item in gc.get_objects())


class Growth:
    """The growth of this process by a number of clients."""

    def __init__(self, tasks: Callable[[], int]) -> None:
        self._tasks = tasks
        self._before = self._now()

    def _now(self) -> tuple[int, int, int]:
        return unique_set_size(), descriptors(), self._tasks()

    def per_client(self, clients: int) -> Figures:
        """Bytes, file descriptors, and greenlets or tasks per client."""
        memory, files, tasks = (
            (now - before) / clients for now, before in zip(self._now(), self._before, strict=True)
        )
        return {'memory': memory, 'descriptors': files, 'tasks': tasks}


def percentiles(seconds: list[float]) -> Figures:
    """The median and the 99th percentile of a list of times."""
    ordered = sorted(seconds)
    return {'p50': ordered[len(ordered) // 2], 'p99': ordered[len(ordered) * 99 // 100]}


def plausible(pongs: int, job: Job) -> None:
    """Check the server's count of PONGs. It may differ by one PING per client.

    :raises RuntimeError: there are too few or too many.
    """
    expected = job.clients * job.seconds / job.ping_interval
    if not 0.7 < pongs / expected < 1.3:
        raise RuntimeError(f'{pongs} pongs where about {expected:.0f} are due')


def check(found: object, wanted: object, what: str) -> None:
    """Check that the work was done.

    :raises RuntimeError: the two values differ.
    """
    if found != wanted:
        raise RuntimeError(f'{what}: {found} instead of {wanted}')
