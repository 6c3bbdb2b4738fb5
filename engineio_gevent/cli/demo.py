"""``engineio-gevent demo``: what the client does, and a thousand of them in one process."""

from __future__ import annotations

import click


@click.command(
    epilog="""
    It needs the demo extra: pip install 'engineio-gevent[demo]'.

    \b
    Examples:
      engineio-gevent demo --clients 100
      engineio-gevent demo --serve --port 5000

    \b
    Exit codes:
      0    all was shown
      1    it could not be
      2    the arguments make no sense, or the extra is missing
      130  Ctrl-C; 143 SIGTERM
    """,
)
@click.option(
    '--clients',
    type=click.IntRange(min=1),
    default=1000,
    show_default=True,
    metavar='N',
    help='How many clients connect.',
)
@click.option(
    '--url', metavar='URL', help='Run against this server, which has to echo every message.'
)
@click.option('--serve', is_flag=True, help='Run only the server, for the examples, until Ctrl-C.')
@click.option(
    '--port',
    type=click.IntRange(0, 65535),
    metavar='PORT',
    help='Where to --serve on 127.0.0.1; 0 for any free port.  [default: 5000]',
)
def demo(clients: int, url: str | None, serve: bool, port: int | None) -> None:
    """Show what the client does, and a thousand of them in one process.

    Connect to a server, upgrade, and echo; then hold many clients in this one process, echo with
    all of them, and leave. The server is one of python-engineio, started on this machine for as
    long as the demo runs, unless --url names another.
    """
    if serve and url:
        raise click.UsageError('--url and --serve exclude each other')
    if port is not None and not serve:
        raise click.UsageError('--port goes with --serve')
    if serve:
        from ..demo import server

        server.serve(5000 if port is None else port)
    else:
        from ..demo import show

        show.run(clients, url)
