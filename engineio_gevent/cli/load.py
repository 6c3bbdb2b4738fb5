"""``engineio-gevent load``."""

from __future__ import annotations

import click

from .options import Connection, connection_options


@click.command()
@connection_options
def load(connection: Connection) -> None:
    """To be written."""
