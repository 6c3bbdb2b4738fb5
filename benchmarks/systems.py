"""The systems that are compared, and the command that starts a worker for each."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib import metadata, util
from pathlib import Path

#: The folder with the JavaScript server and worker.
JAVASCRIPT = Path(__file__).with_name('js')


@dataclass(frozen=True)
class System:
    """One client, and the worker program that drives it."""

    name: str
    title: str
    #: A worker's command line, without the job.
    command: tuple[str, ...]
    #: Returns None, or the reason why it cannot run on this machine.
    missing: Callable[[], str | None]
    #: The packages whose versions are recorded with the results.
    packages: tuple[str, ...] = ()


def _python(module: str) -> tuple[str, ...]:
    return (sys.executable, '-m', f'benchmarks.workers.{module}')


def _needs(*modules: str) -> Callable[[], str | None]:
    def missing() -> str | None:
        absent = [module for module in modules if util.find_spec(module) is None]
        return f'{", ".join(absent)} not installed' if absent else None

    return missing


def no_javascript() -> str | None:
    """The reason why the JavaScript server and client cannot run, or None."""
    if shutil.which('node') is None:
        return 'Node.js is not installed'
    if not (JAVASCRIPT / 'node_modules' / 'engine.io-client').is_dir():
        return 'its packages are not installed: run "npm ci" in benchmarks/js'
    return None


OURS = 'ours'
#: The client whose API this package follows.
UPSTREAM = 'python-engineio'
#: A bare event loop on raw sockets, without a client: the cost of the kernel and of gevent.
FLOOR = 'floor'

SYSTEMS: dict[str, System] = {
    system.name: system
    for system in (
        System(
            OURS,
            'engineio_gevent',
            _python('ours'),
            _needs('orjson'),
            ('gevent', 'websocket-client', 'orjson'),
        ),
        System(
            UPSTREAM,
            'python-engineio, gevent',
            _python('python_engineio'),
            _needs('engineio', 'socketio'),
            ('python-engineio', 'python-socketio', 'requests'),
        ),
        System(
            'asyncio',
            'python-engineio, asyncio',
            _python('async_client'),
            _needs('engineio', 'aiohttp'),
            ('python-engineio', 'aiohttp'),
        ),
        System(
            'javascript',
            'engine.io-client, Node',
            ('node', '--expose-gc', str(JAVASCRIPT / 'worker.js')),
            no_javascript,
        ),
        System(FLOOR, 'bare loop', _python('floor'), _needs(), ('gevent',)),
    )
}


def title(name: str, family: str = '') -> str:
    """The name of a system in a table or plot.

    :param family: the measures that it is for; python-engineio is in a client of its own for
                   Socket.IO.
    """
    if (name, family) == (UPSTREAM, 'socket.io'):
        return 'python-socketio, gevent'
    return SYSTEMS[name].title


def versions(systems: list[str]) -> dict[str, str]:
    """The versions of the packages that these systems use."""
    packages = {package for name in systems for package in SYSTEMS[name].packages}
    return {package: metadata.version(package) for package in sorted(packages)}
