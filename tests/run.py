"""`make test` and `make test-all`: choose the tox environments, run them, sum up.

Standard library only: it runs before anything is installed.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
LOGS = ROOT / 'build' / 'test-logs'

#: name of the tox environment: command of the interpreter, oldest first
PYTHONS = {
    **{f'py3{minor}': f'python3.{minor}' for minor in range(10, 15)},
    'pypy311': 'pypy3.11',
}

SYSTEM_FOLDERS = [Path('/usr/local/bin'), Path('/usr/bin')]

#: Environments that run on one Python.
ONCE = ['pure', 'lint', 'types', 'docs']
#: Suites that `make test` runs on one Python, and `make test-all` on each.
SUITES = ['adversity', 'contrib']
#: Suites that `make test-all` runs on each Python, and `make test` does not run.
ALL_SUITES = ['peers']
#: Environments that `make test-all` runs on one Python, and `make test` does not run.
ALL_ONCE = [
    'benchmarks',
    'lowest',
    'lowest_contrib',
    'libuv',
    'libev_cffi',
    'ares',
    'dnspython',
    'block',
    'socketio_upstream',
    'sanitizers',
    'mutants_tests',
    'mutants',
]
#: Environment variables of `make test-all`, where the caller has not set them.
THOROUGH = {
    'ENGINEIO_GEVENT_FUZZ_INPUTS': '100000',
    'ENGINEIO_GEVENT_MODEL_SECONDS': '60',
    'ENGINEIO_GEVENT_SOAK_CLIENTS': '500',
    'ENGINEIO_GEVENT_SOAK_SECONDS': '60',
}


def main() -> int:
    options = _options()
    pythons = find_pythons()
    print_pythons(pythons)
    environments = options.environments or plan(list(pythons), options.all)
    folders = [str(path.parent) for path in pythons.values()]
    environ = {
        **(THOROUGH if options.all else {}),
        **os.environ,
        'PATH': os.pathsep.join(dict.fromkeys([*folders, *os.environ['PATH'].split(os.pathsep)])),
        # Most tests wait for a server or a timeout most of the time.
        'TEST_WORKERS': os.environ.get('TEST_WORKERS') or str(3 * (os.cpu_count() or 1)),
        # uv uses the Pythons of this machine and downloads none.
        'UV_PYTHON_DOWNLOADS': 'never',
    }
    run = Run(environments)
    run.follow(
        [sys.executable, '-m', 'tox', 'run', '--colored', 'no', '-e', ','.join(environments)],
        environ,
    )
    run.summary()
    return 0 if run.passed() else 1


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--all', action='store_true', help='every suite on every Python')
    parser.add_argument(
        '-e',
        dest='environments',
        type=lambda text: text.split(','),
        metavar='NAME,..',
        help='the tox environments to run, instead of those chosen',
    )
    return parser.parse_args()


# -- Pythons ------------------------------------------------------------------------------------


def find_pythons() -> dict[str, Path]:
    """The interpreters of this machine by the names of their tox environments."""
    found = {}
    for name, command in PYTHONS.items():
        for folder in _folders():
            if path := _interpreter(folder / command):
                found[name] = path
                break
    return found


def _folders() -> Iterator[Path]:
    """Where interpreters are: on the PATH, from pyenv, from uv, from the system."""
    yield from map(Path, os.environ['PATH'].split(os.pathsep))
    home = Path.home()
    pyenv = Path(os.environ.get('PYENV_ROOT') or home / '.pyenv')
    uv = Path(os.environ.get('UV_PYTHON_INSTALL_DIR') or home / '.local/share/uv/python')
    for parent in (pyenv / 'versions', uv):
        yield from sorted(parent.glob('*/bin'))
    yield from SYSTEM_FOLDERS


def _interpreter(command: Path) -> Path | None:
    """The interpreter that a command runs; pyenv has commands that fail, or run another path."""
    if not os.access(command, os.X_OK):
        return None
    done = subprocess.run(
        [command, '-c', 'import sys, venv; print(sys.executable)'],
        capture_output=True,
        text=True,
        check=False,
    )
    return Path(done.stdout.strip()) if done.returncode == 0 else None


def print_pythons(pythons: dict[str, Path]) -> None:
    """Which interpreters are used, and which are missing."""
    for name, command in PYTHONS.items():
        print(f'{command:11} {pythons.get(name, "not found: its tests do not run")}')


def plan(pythons: list[str], everything: bool) -> list[str]:
    """The environments to run.

    :param pythons: the names of those found, oldest first.
    :param everything: run every suite on every Python.
    """
    cpython = [name for name in pythons if not name.startswith('pypy')]
    whole = pythons if everything else cpython[-1:]
    tests = [name if name in whole else f'{name}-part' for name in pythons]
    suites = (
        SUITES
        if not everything
        else [f'{name}-{suite}' for name in cpython for suite in [*SUITES, *ALL_SUITES]]
    )
    return [*tests, *suites, *ONCE, *(ALL_ONCE if everything else [])]


# -- The run ------------------------------------------------------------------------------------


class Part:
    """One environment: how far it is, and what its tests came to."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.state = 'not run'
        self.doing = '...'
        self.seconds = 0.0
        #: {'passed': 12, 'failed': 0, ..}
        self.counts: Counter[str] = Counter()
        #: {reason: how many tests}
        self.skipped: Counter[str] = Counter()
        self.lines: list[str] = []
        self.log = LOGS / f'{name}.log'
        self._began = time.monotonic()

    def begin(self) -> None:
        self._began = time.monotonic()

    def end(self, state: str) -> None:
        self.state, self.seconds = state, time.monotonic() - self._began

    def take(self, line: str) -> None:
        """A line of what runs in it."""
        self.lines.append(line)
        with self.log.open('a', encoding='utf-8') as log:
            print(line, file=log)
        if found := re.search(r'\[ *(\d+)%\]$', line):
            self.doing = f'{found[1]}%'
        elif found := re.fullmatch(r'SKIPPED \[(\d+)\] .*?: (.*)', line):
            self.skipped[found[2]] += int(found[1])
        elif found := re.fullmatch(r'=+ (.*) in [\d.]+s.*', line):
            for number, what in re.findall(r'(\d+) (\w+)', found[1]):
                self.counts[what.removesuffix('s') if what == 'errors' else what] += int(number)

    def failures(self) -> list[str]:
        """What it printed from pytest's report on; without one, the last lines."""
        starts = [
            number
            for number, line in enumerate(self.lines)
            if re.fullmatch(r'=+ (FAILURES|ERRORS) =+', line)
        ]
        return self.lines[min(starts, default=-80) :]

    def __str__(self) -> str:
        counts = ', '.join(
            f'{number} {what}' for what, number in self.counts.items() if what != 'deselected'
        )
        return f'{self.name:16} {self.state:8} {self.seconds:5.0f} s   {counts}'


class Run:
    """One run of tox, followed by what it prints."""

    def __init__(self, names: Iterable[str]) -> None:
        self.parts = {name: Part(name) for name in names}
        self._began = time.monotonic()
        self._live = sys.stdout.isatty()
        shutil.rmtree(LOGS, ignore_errors=True)
        LOGS.mkdir(parents=True)

    def follow(self, command: list[str], environ: dict[str, str]) -> None:
        """Run tox to its end; Ctrl-C ends it, and the summary tells of what was done."""
        part = Part('tox')  # what it prints before the first environment
        with subprocess.Popen(
            command,
            cwd=ROOT,
            env=environ,
            text=True,
            errors='replace',
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        ) as tox:
            assert tox.stdout is not None
            try:
                for line in map(str.rstrip, tox.stdout):
                    part = self.take(part, line)
            except KeyboardInterrupt:
                part.end('stopped')
        if tox.returncode and not any(one.state == 'FAIL' for one in self.parts.values()):
            part.end('FAIL')
            self._report(part)

    def take(self, part: Part, line: str) -> Part:
        # Of the last environment, only the closing report says how it ended.
        found = re.match(r'(?:  )?([\w-]+): (?:(OK|FAIL|SKIP)\b|(install|commands))', line)
        named = self.parts.get(found[1]) if found else None
        if named and named is not part and named.state == 'not run':
            part = named
            part.begin()
            self._show(part, end='\n')
        part.take(line)
        if named and found and found[2] and named.state == 'not run':
            named.end(found[2])
            self._report(named)
        elif self._live and part.state == 'not run':
            self._show(part, end='')
        return part

    def _show(self, part: Part, end: str) -> None:
        number = sum(one.state != 'not run' for one in self.parts.values()) + 1
        passed = time.monotonic() - self._began
        start = '\r\033[K' if self._live else ''
        end = '' if self._live else end
        print(
            f'{start}[{number}/{len(self.parts)}] {passed:4.0f} s  {part.name}  {part.doing}',
            end=end,
            flush=True,
        )

    def _report(self, part: Part) -> None:
        """The end of a part; of one that failed, what it printed."""
        if self._live:
            print('\r\033[K', end='')
        if part.state == 'FAIL':
            print('\n'.join(part.failures()))
        print(part, '' if part.state == 'OK' else f'  {part.log.relative_to(ROOT)}', flush=True)

    def passed(self) -> bool:
        return all(part.state == 'OK' for part in self.parts.values())

    def summary(self) -> None:
        print('\nSummary:')
        total: Counter[str] = Counter()
        skipped: Counter[str] = Counter()
        for part in self.parts.values():
            print(f'  {part}')
            total.update(part.counts)
            skipped.update(part.skipped)
        if skipped:
            print('\nSkipped, and why:')
            for reason, number in sorted(skipped.items()):
                print(f'  {number:4} x {reason}')
        failed = total['failed'] + total['error'] or int(not self.passed())
        minutes, seconds = divmod(round(time.monotonic() - self._began), 60)
        print(f'\n{minutes} min {seconds} s')
        # A line of this form is what tools read.
        print(f'{total["passed"]} passed, {failed} failed, {total["skipped"]} skipped')


if __name__ == '__main__':
    sys.exit(main())
