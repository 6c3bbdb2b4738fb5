"""Explain why ``connect`` or ``load`` has no connection, with the steps of ``probe``."""

from __future__ import annotations

import shlex

import click
from click.core import ParameterSource

from ...net.deadlines import Expired
from ..errors import CommandError
from ..options import Connection, ConnectionOption
from .reach import ProbeOptions
from .report import FAILED, IGNORE
from .steps import run_steps

#: Seconds to wait for each step, if the first attempt has already waited in vain.
_WAIT = 2.0


def no_connection(connection: Connection, error: Exception | None, cause: str) -> CommandError:
    """The error that ends a command without a connection.

    It connects once more, with the steps of ``probe``.

    :param connection: the settings of the failed attempt.
    :param error: why the attempt failed, if that is known.
    :param cause: the same in words. They are used if the second attempt succeeds.
    """
    problem = (_problem(connection, error) or cause).removesuffix('.')
    end = '' if problem.endswith('?') else '.'
    command = f'engineio-gevent probe {shlex.quote(connection.shown)}'
    options = ' with the same options' if _has_options(connection) else ''
    return CommandError(
        f'cannot connect to {connection.shown}: {problem}{end} '
        f'Run "{command}"{options} for a diagnosis.'
    )


def _has_options(connection: Connection) -> bool:
    """Whether ``probe`` needs more arguments than the URL for the same connection."""
    context = click.get_current_context(silent=True)
    return connection.url != connection.shown or (
        context is not None
        and any(
            isinstance(parameter, ConnectionOption)
            and context.get_parameter_source(str(parameter.name)) is ParameterSource.COMMANDLINE
            for parameter in context.command.params
        )
    )


def _problem(connection: Connection, error: Exception | None) -> str | None:
    """The problem that ``probe`` finds, if it finds one."""
    context = click.get_current_context(silent=True)
    timeout = connection.timeout
    options = ProbeOptions(
        connection,
        min(timeout, _WAIT) if _timed_out(error) else timeout,
        wait_ping=False,
        parameters={} if context is None else context.params,
        only_handshake=True,
    )
    route = connection.route()
    try:
        run = run_steps(route, options, IGNORE)
    finally:
        if route.http_session is not None:
            route.http_session.close()
    failed = next((step for step in run.steps if step.status == FAILED), None)
    return None if failed is None else failed.problem


def _timed_out(error: BaseException | None) -> bool:
    while error is not None:
        if isinstance(error, (TimeoutError, Expired)):
            return True
        error = error.__cause__
    return False
