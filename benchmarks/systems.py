"""The systems that are compared: how to start a worker of each."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib import metadata, util
from pathlib import Path

#: Where package.json of the JavaScript side lies.
JAVASCRIPT = Path(__file__).with_name('js')


@dataclass(frozen=True)
class System:
    """One client and the program that works with it."""

    name: str
    title: str
    #: A worker's command line, without the job.
    command: tuple[str, ...]
    #: None, or why it cannot run here.
    missing: Callable[[], str | None]
    #: What it is made of, for the results.
    packages: tuple[str, ...] = ()


def _python(module: str) -> tuple[str, ...]:
    return (sys.executable, '-m', f'benchmarks.workers.{module}')


def _needs(*modules: str) -> Callable[[], str | None]:
    def missing() -> str | None:
        absent = [module for module in modules if util.find_spec(module) is None]
        return f'no {", no ".join(absent)}' if absent else None

    return missing


def no_javascript() -> str | None:
    """Why the JavaScript server and client cannot run, or None."""
    if shutil.which('node') is None:
        return 'no node'
    if not (JAVASCRIPT / 'node_modules' / 'engine.io-client').is_dir():
        return 'no benchmarks/js/node_modules: run "npm ci" in benchmarks/js'
    return None


OURS = 'ours'
#: The client whose API this is.
UPSTREAM = 'python-engineio'
#: The bare loop, which is no client: what the kernel and the event loop cost.
FLOOR = 'floor'

SYSTEMS: dict[str, System] = {
    system.name: system
    for system in (
        System(OURS, 'ours', _python('ours'), _needs(), ('gevent', 'websocket-client')),
        System(
            UPSTREAM,
            'python-engineio',
            _python('python_engineio'),
            _needs('engineio', 'socketio'),
            ('python-engineio', 'python-socketio', 'requests'),
        ),
        System(
            'asyncio',
            'AsyncClient',
            _python('async_client'),
            _needs('engineio', 'aiohttp'),
            ('python-engineio', 'aiohttp'),
        ),
        System(
            'javascript',
            'engine.io-client',
            ('node', '--expose-gc', str(JAVASCRIPT / 'worker.js')),
            no_javascript,
        ),
        System(FLOOR, 'bare loop', _python('floor'), _needs(), ('gevent',)),
    )
}


def versions(systems: list[str]) -> dict[str, str]:
    """The versions of what the systems are made of."""
    packages = {package for name in systems for package in SYSTEMS[name].packages}
    return {package: metadata.version(package) for package in sorted(packages)}
