"""The Locust command for the same load test."""

from __future__ import annotations

import math
import re
import shlex
from pathlib import Path

from ... import contrib
from ..options import Connection

#: The locustfile.
LOCUSTFILE = Path(contrib.__file__).parent / 'locust' / 'load.py'
#: Users that Locust starts per second by default.
_SPAWN_RATE = 50.0
#: Seconds for the start of Locust. Its --run-time includes its imports, which take seconds.
_STARTING = 10


def locust_command(
    connection: Connection,
    *,
    clients: int,
    connect_rate: float,
    rate: float,
    message: str,
    size: int,
    binary: bool,
    duration: float,
    patience: float,
    no_echo: bool,
    ca: str | None = None,
    proxy: str | None = None,
) -> str:
    """A command for a shell. The parameters are the options of ``engineio-gevent load``."""
    spawn_rate = connect_rate or _SPAWN_RATE
    # The time of Locust begins before its first user, and not when all users have started.
    run_time = _STARTING + math.ceil(duration + clients / spawn_rate)
    if message.startswith('@'):
        message = f'@{Path(message[1:]).resolve()}'
    words = [
        *_environment(ca, proxy),
        'locust', '-f', str(LOCUSTFILE), '--host', connection.url, '--headless',
        '--users', str(clients), '--spawn-rate', f'{spawn_rate:g}', '--run-time', f'{run_time}s',
        f'--message={message}', '--rate', f'{rate:g}',
    ]  # fmt: skip
    if size:
        words += ['--message-size', str(size)]
    if binary:
        words.append('--binary')
    words += ['--no-echo'] if no_echo else ['--patience', f'{patience:g}']
    if connection.path != 'engine.io':
        words += ['--engineio-path', connection.path]
    if connection.transports is not None:
        words += ['--engineio-transports', ','.join(connection.transports)]
    words += [f'--engineio-header={name}: {value}' for name, value in connection.headers.items()]
    if connection.sources:
        words += ['--engineio-source', ','.join(connection.sources)]
    if connection.timeout != 5:
        words += ['--engineio-timeout', f'{connection.timeout:g}']
    if not connection.verify:
        words.append('--no-verify')
    if connection.cert is not None:
        words += ['--client-cert', str(Path(connection.cert).resolve())]
    if connection.key is not None:
        words += ['--client-key', str(Path(connection.key).resolve())]
    return ' '.join(_quoted(word) for word in words)


def on_lines(command: str) -> str:
    """Break a command before each of its main options, so that each line is short."""
    return re.sub(r' (?=--(host|users|message=|engineio-|no-|client-))', ' \\\n    ', command)


def _environment(ca: str | None, proxy: str | None) -> list[str]:
    """Environment variables for settings that Locust has no option for."""
    words = [] if ca is None else [f'REQUESTS_CA_BUNDLE={Path(ca).resolve()}']
    if proxy:
        words += [f'{name}_proxy={proxy}' for name in ('http', 'https', 'all')]
    elif proxy is not None:
        words.append('no_proxy=*')
    return ['env', *words] if words else []


def _quoted(word: str) -> str:
    """Quote a word for the shell. In ``--option=value`` only the value is quoted."""
    option, equals, value = word.partition('=')
    if equals and option == shlex.quote(option):
        return f'{option}={shlex.quote(value)}'
    return shlex.quote(word)
