"""``engineio-gevent probe``: each step of a connection, its time and its facts, and a verdict."""

from __future__ import annotations

import json

import click

from .errors import Exit
from .options import ConnectingCommand, Connection, connection_options

_CODES = {'ok': Exit.DONE, 'warning': Exit.DEGRADED, 'failed': Exit.FAILED}


@click.command(
    cls=ConnectingCommand,
    epilog="""
    \b
    Exit codes:
      0    all is well
      1    there is no connection
      2    the arguments make no sense
      4    it connects, with something to mend
      130  Ctrl-C; 143 SIGTERM
    """,
)
@click.option(
    '--count',
    type=click.IntRange(1, 1000),
    default=1,
    show_default=True,
    metavar='N',
    help='How often; more than once, the least, median and greatest time of each step are shown.',
)
@click.option('--wait-ping', is_flag=True, help='Wait for the first PING of the server, too.')
@click.option('--json', 'as_json', is_flag=True, help='Print the report as one JSON object.')
@connection_options
def probe(connection: Connection, count: int, wait_ping: bool, as_json: bool) -> int:
    """Connect to URL step by step, and tell what happens and what is wrong.

    Names, proxy, TCP, TLS and certificate, the Engine.IO handshake, a request within the session,
    the upgrade to a websocket, the farewell: each is shown with its time as it happens. The end
    is a verdict in one sentence, with the step to look at. --timeout is for each step.
    """  # fmt: skip
    from .probing.report import Run, document
    from .probing.show import Screen
    from .probing.steps import ProbeOptions, run_steps
    from .screen import console

    parameters = click.get_current_context().params
    options = ProbeOptions(connection.transports, connection.timeout, wait_ping, parameters)
    screen = Screen(console())
    runs: list[Run] = []
    for number in range(1, count + 1):
        if not as_json and count > 1:
            screen.begin_run(number, count)
        screen.only_trouble = number > 1
        route = connection.route()
        try:
            runs.append(run_steps(route, options, _Silent() if as_json else screen))
        finally:
            if route.http_session is not None:
                route.http_session.close()
        if not as_json and number > 1:
            screen.end_run(runs[-1])
    report = document(connection.shown, runs)
    if as_json:
        click.echo(json.dumps(report, indent=2))  # ASCII: a terminal may read it, too
    else:
        if count > 1:
            screen.summary(runs)
        screen.verdict(runs)
    return _CODES[report['verdict']['status']]


class _Silent:
    """Who is told of the steps, where all is told in the end."""

    def begins(self, step: object) -> None:
        """Nothing."""

    def ended(self, step: object) -> None:
        """Nothing."""
