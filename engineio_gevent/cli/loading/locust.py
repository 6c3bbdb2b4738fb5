"""The Locust command that puts the same load on a server."""

from __future__ import annotations

import math
import shlex
from pathlib import Path

from ... import contrib
from ..options import Connection

#: The locustfile.
LOCUSTFILE = Path(contrib.__file__).parent / 'locust' / 'load.py'
#: Users that Locust starts in a second, unless something else is asked for.
_SPAWN_RATE = 50.0


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
    """A line for a shell; the options are those of ``engineio-gevent load``."""
    spawn_rate = connect_rate or _SPAWN_RATE
    # Locust's time begins with the first user, and not when all are there.
    run_time = math.ceil(duration + clients / spawn_rate)
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
    if connection.timeout != 5:
        words += ['--engineio-timeout', f'{connection.timeout:g}']
    if not connection.verify:
        words.append('--no-verify')
    if connection.cert is not None:
        words += ['--client-cert', str(Path(connection.cert).resolve())]
    if connection.key is not None:
        words += ['--client-key', str(Path(connection.key).resolve())]
    return ' '.join(_quoted(word) for word in words)


def _environment(ca: str | None, proxy: str | None) -> list[str]:
    """What stands before the command: both are for the environment alone to say."""
    words = [] if ca is None else [f'REQUESTS_CA_BUNDLE={Path(ca).resolve()}']
    if proxy:
        words += [f'{name}_proxy={proxy}' for name in ('http', 'https', 'all')]
    elif proxy is not None:
        words.append('no_proxy=*')
    return ['env', *words] if words else []


def _quoted(word: str) -> str:
    """Quote a word for the shell: of an option with its value the value alone."""
    option, equals, value = word.partition('=')
    if equals and option == shlex.quote(option):
        return f'{option}={shlex.quote(value)}'
    return shlex.quote(word)
