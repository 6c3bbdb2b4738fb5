"""``engineio-gevent demo``: measure one client, then many in one process."""

from __future__ import annotations

import click

from .options import other_path
from .screen import one_line


@click.command(
    epilog="""
    The demo needs an extra: pip install 'engineio-gevent[demo]'.

    \b
    Examples:
      engineio-gevent demo --clients 100
      engineio-gevent demo --serve --port 5000

    \b
    Exit codes:
      0    success
      1    failure, such as no connection or no echo
      2    invalid arguments, or the extra is missing
      130  Ctrl-C (143: SIGTERM)
    """,
)
@click.option(
    '--clients',
    type=click.IntRange(min=1),
    default=1000,
    show_default=True,
    metavar='N',
    help='Number of clients in the second part.',
)
@click.option('--url', metavar='URL', help='Use this server, which has to send each message back.')
@click.option('--serve', is_flag=True, help='Only run an echo server, until Ctrl-C.')
@click.option(
    '--port',
    type=click.IntRange(0, 65535),
    metavar='PORT',
    help='Port of --serve on 127.0.0.1. 0 chooses a free port.  [default: 5000]',
)
def demo(clients: int, url: str | None, serve: bool, port: int | None) -> None:
    """Measure one client, then 1,000 clients in one process.

    The demo starts a python-engineio server on this machine. One client connects, upgrades and
    sends messages that the server sends back. Then many clients do the same in one process. Each
    figure is printed with what it includes.
    """
    if serve and url:
        raise click.UsageError('--url and --serve cannot be used together')
    if url is not None and (path := other_path(url, 'engine.io')):
        raise click.UsageError(
            f'the URL has the path /{one_line(path)}. Remove it: the demo uses /engine.io/'
        )
    if port is not None and not serve:
        raise click.UsageError('--port requires --serve')
    if serve:
        from .demonstration import server

        server.serve(5000 if port is None else port)
    else:
        from .demonstration import show

        show.run(clients, url)
