"""Runs a test file against mutants, each in a process of its own, in copies of the checkout."""

from __future__ import annotations

import contextlib
import gc
import importlib
import os
import resource
import shutil
import signal
import sys
import time
import traceback
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import hypothesis
import pytest

from .mutations import Mutant

ROOT = Path(__file__).parents[2]
PACKAGE = 'engineio_gevent'
MEMORY = 2 << 30


class Outcome(NamedTuple):
    killed: bool
    timed_out: bool
    seconds: float
    cpu_seconds: float


class _Process(NamedTuple):
    mutant: Mutant | None
    copy: Path
    deadline: float
    started: float


class Runner:
    """
    :param module: the module to mutate, as a path within the package.
    :param tests: the test files, as paths within the checkout.
    :param directory: where the copies of the checkout go.
    :param jobs: how many processes at a time.
    """

    def __init__(self, module: str, tests: list[str], directory: Path, jobs: int) -> None:
        self._module = module
        self._tests = tests
        self._copies = [directory / str(number) for number in range(jobs)]
        for copy in self._copies:
            ignore = shutil.ignore_patterns('__pycache__', 'node_modules', '*.so')
            for part in (PACKAGE, 'tests'):
                shutil.copytree(ROOT / part, copy / part, ignore=ignore)
            shutil.copy(ROOT / 'tox.ini', copy)
        self._running: dict[int, _Process] = {}
        # Of a run without a mutant.
        self._normal = Outcome(False, False, 60, 60)

    def measure(self) -> str | None:
        """Run the tests without a mutant; return what they say if they fail."""
        for _ in range(2):  # the first one compiles
            for copy in self._copies:
                self._start(None, copy)
                _, outcome = self._wait()
                if outcome.killed:
                    return (copy / 'output').read_text()
        self._normal = outcome
        # What the tests import from elsewhere, a process that is forked has already.
        for name in (self._copies[0] / 'modules').read_text().split():
            importlib.import_module(name)
        gc.freeze()
        return None

    def run(self, mutants: Iterable[Mutant]) -> Iterator[tuple[Mutant, Outcome]]:
        """Test each mutant; yields it with its outcome, in the order in which they end."""
        free = list(self._copies)
        try:
            for mutant in mutants:
                if not free:
                    process, outcome = self._wait()
                    free.append(process.copy)
                    yield process.mutant, outcome
                self._start(mutant, free.pop())
            while self._running:
                process, outcome = self._wait()
                yield process.mutant, outcome
        finally:
            for pid in self._running:
                os.killpg(pid, signal.SIGKILL)

    def _start(self, mutant: Mutant | None, copy: Path) -> None:
        path = copy / PACKAGE / self._module
        if mutant is not None:
            path.write_text(mutant.source)
        # Compiled code is known by size and second alone.
        for compiled in path.parent.glob(f'__pycache__/{path.stem}.*'):
            compiled.unlink()
        # A loop without end runs out of processor time; other processes do not count, as they do
        # for the deadline, which is for a test that waits.
        now = time.monotonic()
        deadline = now + 30 + 10 * self._normal.seconds
        pid = os.fork()
        if pid == 0:
            try:
                signal.signal(signal.SIGTERM, signal.SIG_DFL)
                os.setpgid(0, 0)
                self._test(copy)
            except BaseException:
                traceback.print_exc()
                sys.stderr.flush()
            finally:
                os._exit(70)
        with contextlib.suppress(PermissionError, ProcessLookupError):
            os.setpgid(pid, pid)  # whoever comes first
        self._running[pid] = _Process(mutant, copy, deadline, now)

    def _wait(self) -> tuple[_Process, Outcome]:
        """Wait until one process has ended."""
        late = set()
        while True:
            pid, status, usage = os.wait4(-1, os.WNOHANG)
            if pid:
                break
            for one, process in self._running.items():
                if time.monotonic() > process.deadline:
                    late.add(one)
                    os.killpg(one, signal.SIGKILL)
            time.sleep(0.01)
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(pid, signal.SIGKILL)  # what its tests have left behind
        process = self._running.pop(pid)
        ended_by = os.WTERMSIG(status) if os.WIFSIGNALED(status) else None
        return process, Outcome(
            status != 0,
            pid in late or ended_by == signal.SIGXCPU,
            time.monotonic() - process.started,
            usage.ru_utime + usage.ru_stime,
        )

    def _test(self, copy: Path) -> None:
        """In the forked process: run the tests, and end with pytest's status."""
        output = os.open(copy / 'output', os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(output, 1)
        os.dup2(output, 2)
        seconds = int(4 + 2 * self._normal.cpu_seconds)
        resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + 5))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        with contextlib.suppress(OSError, ValueError):  # not everywhere
            resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
        os.chdir(copy)
        # The copy comes before the checkout, in the processes of tests, too.
        sys.path[:] = [str(copy), *(path for path in sys.path if path not in ('', str(ROOT)))]
        os.environ['PYTHONPATH'] = str(copy)
        sys.dont_write_bytecode = False  # in the copy it saves time, and is in nobody's way
        for name in [name for name in sys.modules if name.split('.')[0] == 'tests']:
            del sys.modules[name]
        status = pytest.main(
            [
                '-x',
                '-q',
                '--tb=short',
                '-p',
                'no:cacheprovider',
                '-W',
                'ignore::pytest.PytestAssertRewriteWarning',  # of what was imported above
                *self._tests,
            ],
            [_Quick()],
        )
        module = sys.modules.get(f'{PACKAGE}.{self._module[:-3].replace("/", ".")}')
        if module is not None and not Path(module.__file__).is_relative_to(copy):
            print(f'{module.__file__} was tested instead of the copy')
            status = 70
        specs = [(name, getattr(module, '__spec__', None)) for name, module in sys.modules.items()]
        (copy / 'modules').write_text(
            '\n'.join(
                name
                for name, spec in specs
                if spec is not None
                and spec.name == name
                and spec.origin is not None
                and not spec.origin.startswith(str(copy))
            )
        )
        sys.stdout.flush()
        os._exit(status)


class _Quick:
    """The same examples in every run; the first that fails is enough, and tables come first."""

    @pytest.hookimpl(trylast=True)
    def pytest_configure(self):
        hypothesis.settings.register_profile(
            'mutants',
            parent=hypothesis.settings(),
            derandomize=True,
            database=None,
            phases=[hypothesis.Phase.explicit, hypothesis.Phase.generate],
        )
        hypothesis.settings.load_profile('mutants')

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items):
        items.sort(key=lambda item: item.get_closest_marker('hypothesis') is not None)
