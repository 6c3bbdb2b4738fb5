"""The machine, versions and command of a run."""

from __future__ import annotations

import json
import os
import platform
import resource
import shlex
import subprocess
from datetime import datetime, timezone
from pathlib import Path

import engineio_gevent

from .systems import JAVASCRIPT, versions


def about(systems: list[str], options: list[str]) -> dict[str, str]:
    """Describe a run, so that its numbers can be compared with those of another.

    :param systems: the names of the systems.
    :param options: the command-line options that select what is measured.
    """
    return {
        'date': datetime.now(timezone.utc).strftime('%Y-%m-%d'),
        'command': shlex.join(['python', '-m', 'benchmarks', *options]),
        'processor': f'{_processor()}, {os.cpu_count()} cores',
        'system': f'{platform.system()} {_release()}',
        'python': f'{platform.python_implementation()} {platform.python_version()}',
        'node': _output('node', '--version'),
        'engineio_gevent': engineio_gevent.__version__,
        **_javascript_versions(),
        **versions(systems),
    }


def file_limit() -> float:
    """The number of files that a process may open."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    return float('inf') if hard == resource.RLIM_INFINITY else hard


def _release() -> str:
    return platform.release().partition('-')[0]


def _processor() -> str:
    try:
        lines = Path('/proc/cpuinfo').read_text(encoding='utf-8').splitlines()
    except OSError:
        return platform.machine()
    names = [line.partition(':')[2].strip() for line in lines if line.startswith('model name')]
    return names[0] if names else platform.machine()


def _output(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()


def _javascript_versions() -> dict[str, str]:
    found = {}
    for package in ('engine.io', 'engine.io-client', 'socket.io', 'ws'):
        described = JAVASCRIPT / 'node_modules' / package / 'package.json'
        found[package] = json.loads(described.read_text(encoding='utf-8'))['version']
    return found
