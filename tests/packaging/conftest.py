"""What ``python -m build`` has put into ``dist/``, and empty environments to install it into."""

import os
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
DIST = Path(os.environ.get('ENGINEIO_GEVENT_DIST', ROOT / 'dist'))
TIMEOUT = 170


def one(pattern):
    """The one file in ``dist/`` of this pattern; without any, tests of it are skipped."""
    found = list(DIST.glob(pattern))
    if not found:
        pytest.skip(f'no {pattern} in {DIST}: make dist')
    assert len(found) == 1, found
    return found[0]


@pytest.fixture(scope='session')
def wheel():
    """The path of the wheel without the extension in C."""
    return one('*-none-any.whl')


@pytest.fixture(scope='session')
def compiled_wheel():
    """The path of the wheel with the extension in C."""
    return one('*-abi3-*.whl')


@pytest.fixture(scope='session')
def sdist():
    """The path of the sdist."""
    return one('*.tar.gz')


@pytest.fixture
def unpacked(sdist, tmp_path):
    """The folder that the sdist unpacks to."""
    with tarfile.open(sdist) as archive:
        if hasattr(tarfile, 'data_filter'):
            archive.extraction_filter = tarfile.data_filter
        archive.extractall(tmp_path)
    return tmp_path / sdist.name.removesuffix('.tar.gz')


class Environment:
    """A virtual environment with a package, what that requires, and nothing else, not even pip.

    :param folder: where to make it; its programs also run there.
    :param requirements: what to install: a path, with extras; other packages.
    """

    def __init__(self, folder, *requirements):
        self.folder = folder
        self.bin = folder / 'env' / 'bin'
        self.python = self.bin / 'python'
        # What is set for this process must not help, or hinder, in there.
        self.variables = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(('PYTHON', 'ENGINEIO_GEVENT_')) and name != 'VIRTUAL_ENV'
        }
        self.variables['PATH'] = f'{self.bin}{os.pathsep}{os.environ["PATH"]}'
        make, self._install = self._commands()
        self.run(*make)
        self.install(*requirements)

    def _commands(self):
        uv = shutil.which('uv')
        if uv:
            return (
                (uv, '--no-config', 'venv', '--python', sys.executable, self.folder / 'env'),
                (uv, 'pip', 'install', '--python', self.python),
            )
        return (
            (sys.executable, '-m', 'venv', '--without-pip', self.folder / 'env'),
            (
                sys.executable,
                '-m',
                'pip',
                '--disable-pip-version-check',
                '--python',
                self.python,
                'install',
            ),
        )

    def install(self, *requirements):
        """Install more, or the same again."""
        self.run(*self._install, *requirements)

    def run(self, *command, code=0, cwd=None, env=(), **options):
        """Run a program to its end, which must be with this exit code; returns what it printed."""
        done = subprocess.run(
            [str(part) for part in command],
            cwd=cwd or self.folder,
            text=True,
            timeout=TIMEOUT,
            env={**self.variables, **dict(env)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            check=False,
            **options,
        )
        assert done.returncode == code, f'{command} ended with {done.returncode}:\n{done.stdout}'
        return done.stdout

    def run_python(self, source, *arguments, **options):
        """Run a program in Python; a warning is an error."""
        return self.run(self.python, '-W', 'error', '-c', source, *arguments, **options)

    def packages(self):
        """The names of the packages that are installed."""
        return set(
            self.run_python(
                'from importlib import metadata\n'
                'for found in metadata.distributions(): print(found.name.lower())'
            ).split()
        )


@pytest.fixture
def environment(tmp_path):
    """`environment(requirement, ...)` makes an `Environment`."""
    return lambda *requirements: Environment(tmp_path, *requirements)
