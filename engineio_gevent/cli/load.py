"""``engineio-gevent load``: a small load test from one process."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import click

from ..contrib._template import Template
from .address_options import source_option
from .colours import ACCENT
from .errors import Exit, Interrupted
from .limits import allow_descriptors
from .loading.crowd import AT_ONCE, Crowd
from .loading.locust import locust_command, on_lines
from .loading.machine import is_here
from .loading.run import Run
from .loading.summary import report, show
from .options import ConnectingCommand, Connection, Number, connection_options
from .screen import console

#: Seconds between two updates of the progress bar.
_REFRESH = 0.1
#: How often the progress is printed if the output is not a terminal.
_STEPS = 4
_LOCUST = """
For more load, run the same test with Locust (pip install 'engineio-gevent[locust]'):

{command}

Its --run-time includes the start of Locust. Add --processes -1 to use all cores."""


@click.command(
    cls=ConnectingCommand,
    epilog="""
    \b
    Exit codes:
      0    all clients stayed connected, and all messages were sent and answered
      1    some clients or messages failed, or no client could connect
      2    invalid arguments, or an extra is missing
      130  Ctrl-C, with a summary of the test so far (143: SIGTERM)
    """,
)
@connection_options
@click.option(
    '--clients',
    type=click.IntRange(min=1),
    default=100,
    show_default=True,
    metavar='N',
    help='Number of clients.',
)
@click.option(
    '--rate',
    type=Number(min=0),
    default=1.0,
    show_default=True,
    metavar='R',
    help='Messages per second of each client. 0 sends the next message after each answer.',
)
@click.option(
    '--connect-rate',
    type=Number(min=0),
    default=0.0,
    metavar='R',
    help=f'Clients to connect per second.  [default: {AT_ONCE} at a time]',
)
@click.option(
    '--message',
    'template',
    default='message {n}',
    show_default=True,
    metavar='TEXT',
    help='Text to send, or @FILE. {n} becomes the number of the message.',
)
@click.option(
    '--size',
    type=click.IntRange(min=0),
    default=0,
    metavar='BYTES',
    help='Fill each message with dots up to this size.',
)
@click.option('--binary', is_flag=True, help='Send binary messages.')
@click.option(
    '--duration',
    type=Number(min=0, min_open=True),
    default=10.0,
    show_default=True,
    metavar='SECONDS',
    help='How long to send messages.',
)
@click.option(
    '--patience',
    type=Number(min=0),
    default=3.0,
    show_default=True,
    metavar='SECONDS',
    help='How long to wait for late messages and answers after that.',
)
@source_option
@click.option('--no-echo', is_flag=True, help='Do not expect answers.')
@click.option('--json', 'as_json', is_flag=True, help='Print the result as a JSON object.')
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
    """Run a small load test from one process.

    The server has to send each message back (echo), as "engineio-gevent demo --serve" does. A
    round trip is measured from the time at which its message was due, so that a pause of the
    server shows in all messages of that time. The summary ends with a Locust command for the same
    test with more processes.

    \b
    Example:
      engineio-gevent load http://127.0.0.1:5000 --clients 500 --rate 2 --duration 20
    """
    if no_echo and not rate:
        raise click.UsageError('--rate 0 needs answers, so it excludes --no-echo')
    messages = _messages(template, size, binary, connection)
    # A polling client may have a GET and a POST at the same time.
    each = 2 if connection.transports == ['polling'] else 1
    allow_descriptors(each * clients + 2 * AT_ONCE + 100)
    out = console(sys.stderr if as_json else None)
    crowd = Crowd(connection, clients, not no_echo)
    run = Run(crowd, messages, rate, duration, patience, connect_rate)
    interrupted = None
    try:
        try:
            with _progress(out, 'connecting', clients) as update:
                run.connect(lambda count: update(count, ''))
            if crowd.members:
                with _progress(out, 'sending', duration) as update:
                    run.send(lambda seconds: update(seconds, _so_far(crowd)))
            elif not as_json:
                (cause, _), *_ = crowd.tally.failures.most_common(1)
                from .probing.diagnosis import no_connection

                raise no_connection(connection, crowd.tally.error, cause)
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
            out.print(_LOCUST.format(command=on_lines(figures['locust'])))
    finally:
        crowd.disconnect()
    if interrupted is not None:
        return interrupted.exit_code
    bad = [figures[name] for name in ('failed', 'lost', 'unanswered', 'unsent')]
    return Exit.FAILED if any(bad) or not crowd.members else Exit.DONE


def _messages(text: str, size: int, binary: bool, connection: Connection) -> Template:
    """The messages of ``--message``."""
    try:
        messages = Template(text, size, binary)
    except OSError as exc:
        raise click.BadParameter(
            f'cannot read {text[1:]}: {exc.strerror}', param_hint='--message'
        ) from exc
    except ValueError as exc:
        raise click.BadParameter(
            'the text is not UTF-8. Pass --binary to send any bytes', param_hint='--message'
        ) from exc
    if not binary and connection.transports != ['websocket'] and messages.has('\x1e'):
        raise click.BadParameter(
            'polling cannot send U+001E, which separates packets. Pass --transports websocket or '
            '--binary',
            param_hint='--message',
        )
    return messages


def _so_far(crowd: Crowd) -> str:
    tally = crowd.tally
    text = f'{tally.sent:,} sent, {len(tally.round_trips):,} answered'
    return f'{text}, {crowd.lost:,} lost' if crowd.lost else text


@contextmanager
def _progress(out: Any, label: str, total: float) -> Iterator[Callable[[float, str], None]]:
    """Show a progress bar on a terminal, else a few lines. Yields a function that updates it."""
    if not out.is_terminal:
        yield _progress_lines(out, label, total)
        return
    from rich.progress import BarColumn, Progress, TextColumn

    # An automatic refresh would need a thread.
    with Progress(
        TextColumn(f'[{ACCENT}]{label:<12}'),
        BarColumn(bar_width=36, complete_style=ACCENT, finished_style=ACCENT),
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


def _progress_lines(out: Any, label: str, total: float) -> Callable[[float, str], None]:
    printed = 0

    def update(done: float, more: str) -> None:
        nonlocal printed
        if int(done * _STEPS / total) > printed:
            printed = int(done * _STEPS / total)
            digits = ',.1f' if isinstance(total, float) else ','
            so_far = f'{label} {done:{digits}} of {total:{digits}}'
            out.print(f'{so_far}: {more}' if more else so_far)

    return update
