"""``engineio-gevent probe``: the steps of a connection with times and facts, and a verdict."""

from __future__ import annotations

import json

import click

from .address_options import address_options
from .errors import Exit
from .options import ConnectingCommand, Connection, connection_options

_CODES = {'ok': Exit.DONE, 'warning': Exit.DEGRADED, 'failed': Exit.FAILED}


@click.command(
    cls=ConnectingCommand,
    epilog="""
    \b
    Exit codes:
      0    the connection works
      1    no connection
      2    invalid arguments
      4    the connection works, with a problem
      130  Ctrl-C (143: SIGTERM)
    """,
)
@click.option(
    '--count',
    type=click.IntRange(1, 1000),
    default=1,
    show_default=True,
    metavar='N',
    help='Number of runs. For several runs the minimum, median and maximum times are shown.',
)
@click.option('--wait-ping', is_flag=True, help='Also wait for the first PING from the server.')
@click.option('--json', 'as_json', is_flag=True, help='Print the report as a JSON object.')
@connection_options
@address_options
def probe(connection: Connection, count: int, wait_ping: bool, as_json: bool) -> int:
    """Diagnose a connection step by step.

    It connects as the client does and shows each step with its time: host name, proxy, TCP, TLS
    and certificate, handshake, a POST, the upgrade to a websocket, disconnect. The last line is a
    verdict, which names the step with a problem and what to try. No message is sent.

    \b
    Examples:
      engineio-gevent probe http://127.0.0.1:5000
      engineio-gevent probe https://example.com --path socket.io --count 10
    """
    from .probing.reach import ProbeOptions
    from .probing.report import IGNORE, Run, document
    from .probing.show import Screen
    from .probing.steps import run_steps
    from .screen import console

    parameters = click.get_current_context().params
    options = ProbeOptions(connection, connection.timeout, wait_ping, parameters)
    screen = Screen(console())
    runs: list[Run] = []
    for number in range(1, count + 1):
        if not as_json and count > 1:
            screen.begin_run(number, count)
        screen.only_trouble = number > 1
        route = connection.route()
        try:
            runs.append(run_steps(route, options, IGNORE if as_json else screen))
        finally:
            if route.http_session is not None:
                route.http_session.close()
        if not as_json and number > 1:
            screen.end_run(runs[-1])
    report = document(connection.shown, runs)
    if as_json:
        click.echo(json.dumps(report, indent=2))  # in ASCII, since the output may be a terminal
    else:
        if count > 1:
            screen.summary(runs)
        screen.verdict(runs)
    return _CODES[report['verdict']['status']]
