"""``engineio-gevent load``: a quick look at what a server does under load, from one process."""

from __future__ import annotations

import json
import shlex
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import click

from ..contrib._template import Template
from ..demo.limits import allow_descriptors
from .errors import Exit, Interrupted
from .loading.crowd import AT_ONCE, Crowd
from .loading.locust import LOCUSTFILE, locust_command
from .loading.machine import is_here
from .loading.run import Run
from .loading.summary import report, show
from .options import ConnectingCommand, Connection, Number, connection_options
from .screen import console

#: Seconds between two pictures of the progress.
_REFRESH = 0.1
#: How many times a progress without a terminal is told.
_STEPS = 4
_SAME = """
The same by Locust:
{command}

For more, add --processes -1 (all cores), or --master --expect-workers N, with N times
locust -f {file} --worker --master-host HOST"""


@click.command(
    cls=ConnectingCommand,
    epilog="""
    \b
    Exit codes:
      0    all clients connected and stayed, and all messages were answered
      1    some did not, or were not; or no client could connect
      2    the arguments make no sense, or an extra is missing
      130  Ctrl-C, with the summary of what there was; 143 SIGTERM
    """,
)
@connection_options
@click.option(
    '--clients',
    type=click.IntRange(min=1),
    default=100,
    show_default=True,
    metavar='N',
    help='How many clients connect.',
)
@click.option(
    '--rate',
    type=Number(min=0),
    default=1.0,
    show_default=True,
    metavar='R',
    help='Messages a second of each client; 0: the next as soon as the last is answered.',
)
@click.option(
    '--connect-rate',
    type=Number(min=0),
    default=0.0,
    metavar='R',
    help=f'Clients that begin to connect in a second.  [default: {AT_ONCE} at a time]',
)
@click.option(
    '--message',
    'template',
    default='message {n}',
    show_default=True,
    metavar='TEXT',
    help='What is sent, or @FILE; {n} in it is the number of the message.',
)
@click.option(
    '--size',
    type=click.IntRange(min=0),
    default=0,
    metavar='BYTES',
    help='Fill each message up to so many bytes.',
)
@click.option('--binary', is_flag=True, help='Send binary messages.')
@click.option(
    '--duration',
    type=Number(min=0, min_open=True),
    default=10.0,
    show_default=True,
    metavar='SECONDS',
    help='How long to send.',
)
@click.option(
    '--patience',
    type=Number(min=0),
    default=3.0,
    show_default=True,
    metavar='SECONDS',
    help='How long to wait, after that, for what is late.',
)
@click.option('--no-echo', is_flag=True, help='The server does not send messages back.')
@click.option('--json', 'as_json', is_flag=True, help='Print one JSON object.')
def load(
    connection: Connection,
    clients: int,
    rate: float,
    connect_rate: float,
    template: str,
    size: int,
    binary: bool,
    duration: float,
    patience: float,
    no_echo: bool,
    as_json: bool,
) -> int:
    """Put some load on a server that sends each message back, from this one process.

    The time of a round trip counts from when its message was due, so that a server that stands
    still for a second shows it in every message of that second. For more than one process can do,
    the summary has the Locust command that does the same.

    \b
    Example:
      engineio-gevent load http://127.0.0.1:5000 --clients 500 --rate 2 --duration 20
    """
    if no_echo and not rate:
        raise click.UsageError('--rate 0 waits for answers, and --no-echo says that none come')
    messages = _messages(template, size, binary, connection)
    # By polling a client has a GET and a POST under way.
    each = 2 if connection.transports == ['polling'] else 1
    allow_descriptors(each * clients + 2 * AT_ONCE + 100)
    out = console(sys.stderr if as_json else None)
    crowd = Crowd(connection, clients, not no_echo)
    run = Run(crowd, messages, rate, duration, patience, connect_rate)
    interrupted = None
    try:
        try:
            with _progress(out, 'connecting', clients) as told:
                run.connect(lambda count: told(count, ''))
            if crowd.members:
                with _progress(out, 'sending', duration) as told:
                    run.send(lambda seconds: told(seconds, _so_far(crowd)))
            elif not as_json:
                (cause, _), *_ = crowd.tally.failures.most_common(1)
                raise connection.failure(crowd.tally.error, cause)
        except Interrupted as exc:
            interrupted = exc
        figures = report(
            crowd.tally, run.outcome, clients, echo=not no_echo, here=is_here(connection.url)
        )
        options = click.get_current_context().params
        figures['locust'] = locust_command(
            connection, clients=clients, connect_rate=connect_rate, rate=rate, message=template,
            size=size, binary=binary, duration=duration, patience=patience, no_echo=no_echo,
            ca=options['ca'], proxy=options['proxy'],
        )  # fmt: skip
        if as_json:
            print(json.dumps(figures), flush=True)
        else:
            show(out, figures, not no_echo)
            out.print(_SAME.format(command=figures['locust'], file=shlex.quote(str(LOCUSTFILE))))
    finally:
        crowd.disconnect()
    if interrupted is not None:
        return interrupted.exit_code
    bad = [figures[name] for name in ('failed', 'lost', 'unanswered', 'unsent')]
    return Exit.FAILED if any(bad) or not crowd.members else Exit.DONE


def _messages(text: str, size: int, binary: bool, connection: Connection) -> Template:
    """What the ``--message`` says."""
    try:
        messages = Template(text, size, binary)
    except OSError as exc:
        raise click.BadParameter(
            f'cannot read {text[1:]}: {exc.strerror}', param_hint='--message'
        ) from exc
    except ValueError as exc:
        raise click.BadParameter(
            'it is not UTF-8; --binary sends what it is', param_hint='--message'
        ) from exc
    if not binary and connection.transports != ['websocket'] and messages.has('\x1e'):
        raise click.BadParameter(
            'U+001E, which separates packets, cannot be sent by polling: --transports websocket, '
            'or --binary',
            param_hint='--message',
        )
    return messages


def _so_far(crowd: Crowd) -> str:
    tally = crowd.tally
    text = f'{tally.sent:,} sent, {len(tally.round_trips):,} answered'
    return f'{text}, {crowd.lost:,} lost' if crowd.lost else text


@contextmanager
def _progress(out: Any, label: str, total: float) -> Iterator[Callable[[float, str], None]]:
    """A bar on a terminal, a few lines elsewhere; calls what it is given with how far it is."""
    if not out.is_terminal:
        yield _told(out, label, total)
        return
    from rich.progress import BarColumn, Progress, TextColumn

    # No automatic refresh: that would be a thread.
    with Progress(
        TextColumn(f'[cyan]{label:<12}'), BarColumn(bar_width=36),
        TextColumn('{task.percentage:>3.0f}%  {task.fields[more]}'),
        console=out, auto_refresh=False, transient=True,
    ) as bar:  # fmt: skip
        task = bar.add_task('', total=total, more='')
        shown = 0.0

        def show_it(done: float, more: str) -> None:
            nonlocal shown
            if time.monotonic() - shown > _REFRESH:
                shown = time.monotonic()
                bar.update(task, completed=done, more=more, refresh=True)

        yield show_it


def _told(out: Any, label: str, total: float) -> Callable[[float, str], None]:
    told = 0

    def tell(done: float, more: str) -> None:
        nonlocal told
        if int(done * _STEPS / total) > told:
            told = int(done * _STEPS / total)
            digits = ',.1f' if isinstance(total, float) else ','
            so_far = f'{label} {done:{digits}} of {total:{digits}}'
            out.print(f'{so_far}: {more}' if more else so_far)

    return tell
