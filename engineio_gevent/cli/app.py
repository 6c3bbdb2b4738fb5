"""All commands in one, and how they end."""

from __future__ import annotations

import difflib
import os
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from types import FrameType

import click
import gevent

from .. import __version__
from .errors import CommandError, Exit, Interrupted
from .screen import complain

NAME = 'engineio-gevent'

#: Each is a function of this name in a module of this name, and imported when it is asked for.
COMMANDS = 'connect', 'probe', 'load', 'demo'


class _Commands(click.Group):
    """The group, which imports no more than it must, and knows what was meant."""

    def list_commands(self, context: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        if name not in COMMANDS:
            return None
        found: click.Command = getattr(import_module(f'.{name}', __package__), name)
        return found

    def resolve_command(
        self, context: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0]
        if '://' in name:
            raise click.UsageError(f'no command; did you mean "connect {name}"?', context)
        if not name.startswith('-') and name not in COMMANDS:
            alike = difflib.get_close_matches(name, COMMANDS, 1)
            meant = f'; did you mean {alike[0]!r}?' if alike else ''
            raise click.UsageError(f'no command {name!r}{meant}', context)
        return super().resolve_command(context, args)


@click.command(
    cls=_Commands,
    context_settings={'help_option_names': ['-h', '--help'], 'max_content_width': 100},
    epilog='Every command has a --help of its own. Exit codes: 0 it did what was asked, 1 it could '
    'not, 2 the arguments make no sense, 3 the connection was lost, 130 Ctrl-C.',
)
@click.version_option(__version__, prog_name=NAME, message='%(prog)s %(version)s')
def command() -> None:
    """An Engine.IO client for gevent programs, at the shell."""


def run(argv: Sequence[str] | None = None) -> int:
    """Run a command.

    :param argv: the arguments; those of the process if None.
    :returns: the exit code, one of :class:`.Exit`.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    try:
        with _interruptible():
            # not standalone: that would end the process, and call Ctrl-C "Aborted!"
            code = command.main(arguments, prog_name=NAME, standalone_mode=False, obj=arguments)
        return code if isinstance(code, int) else Exit.DONE
    except CommandError as exc:
        complain(str(exc))
        return exc.exit_code
    except click.ClickException as exc:
        exc.show()
        return exc.exit_code
    except (Interrupted, KeyboardInterrupt, click.Abort):
        return Exit.INTERRUPTED
    except BrokenPipeError:
        # Whoever read the output has left; nothing more is to be written, at exit neither.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return Exit.FAILED


@contextmanager
def _interruptible() -> Iterator[None]:
    """Let Ctrl-C end the main greenlet, quietly, whichever greenlet it arrives in."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        gevent.get_hub().handle_system_error(Interrupted, Interrupted())

    before = signal.signal(signal.SIGINT, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
