"""What the Python workers measure with, and how they report it."""

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
    """The job of the command line; this process is set up for it."""
    job = Job.from_json(sys.argv[1])
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return job


def report(figures: Figures) -> None:
    """Print the figures and end at once, without a farewell to ten thousand connections."""
    print(json.dumps(figures), flush=True)
    os._exit(0)


def unique_set_size() -> int:
    """Bytes of memory that this process has to itself, after a collection."""
    gc.collect()
    gc.collect()
    with open('/proc/self/smaps_rollup', encoding='ascii') as file:
        return 1024 * sum(int(line.split()[1]) for line in file if line.startswith('Private_'))


def descriptors() -> int:
    """Open file descriptors of this process."""
    return len(os.listdir('/proc/self/fd'))


def count(kind: type) -> int:
    """Objects of a type; gc knows them."""
    return sum(isinstance(item, kind) for item in gc.get_objects())


class Growth:
    """What a number of clients adds to this process."""

    def __init__(self, tasks: Callable[[], int]) -> None:
        self._tasks = tasks
        self._before = self._now()

    def _now(self) -> tuple[int, int, int]:
        return unique_set_size(), descriptors(), self._tasks()

    def per_client(self, clients: int) -> Figures:
        """Bytes, descriptors, and greenlets or tasks that one client costs."""
        memory, files, tasks = (
            (now - before) / clients for now, before in zip(self._now(), self._before, strict=True)
        )
        return {'memory': memory, 'descriptors': files, 'tasks': tasks}


def percentiles(seconds: list[float]) -> Figures:
    """The median and the 99th percentile."""
    ordered = sorted(seconds)
    return {'p50': ordered[len(ordered) // 2], 'p99': ordered[len(ordered) * 99 // 100]}


def plausible(pongs: int, job: Job) -> None:
    """Check the server's count: it depends on the moment by a PING per client.

    :raises RuntimeError: too few or too many.
    """
    expected = job.clients * job.seconds / job.ping_interval
    if not 0.7 < pongs / expected < 1.3:
        raise RuntimeError(f'{pongs} pongs where about {expected:.0f} are due')


def check(found: object, wanted: object, what: str) -> None:
    """A figure is worth nothing if the work was not done.

    :raises RuntimeError: something is missing.
    """
    if found != wanted:
        raise RuntimeError(f'{what}: {found} instead of {wanted}')
