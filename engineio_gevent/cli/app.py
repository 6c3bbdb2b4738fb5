"""All commands in one, and how they end."""

from __future__ import annotations

import difflib
import io
import os
import re
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from types import FrameType

import click
import gevent
from click.shell_completion import CompletionItem

from .. import __version__
from .errors import SCHEME, CommandError, Exit, Interrupted
from .screen import complain

NAME = 'engineio-gevent'
_SIGNALS = signal.SIGINT, signal.SIGTERM

#: Each is a function of this name in a module of this name, and imported when it is asked for: not
#: for the list of them all, and what stands in it.
COMMANDS = {
    'connect': 'Talk to a server, line by line.',
    'probe': 'Tell where a connection fails, or what takes its time.',
    'load': 'Put some load on a server, and tell how it does.',
    'demo': 'Show what the client does, with a thousand of them in one process.',
}


class _Commands(click.Group):
    """The group, which imports no more than it must, and knows what was meant."""

    def list_commands(self, context: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        if name not in COMMANDS:
            return None
        found: click.Command = getattr(import_module(f'.{name}', __package__), name)
        return found

    def format_commands(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section('Commands'):
            formatter.write_dl(list(COMMANDS.items()))

    def shell_complete(self, context: click.Context, incomplete: str) -> list[CompletionItem]:
        commands = [
            CompletionItem(name, help=what)
            for name, what in COMMANDS.items()
            if name.startswith(incomplete)
        ]
        return [*commands, *click.Command.shell_complete(self, context, incomplete)]

    def resolve_command(
        self, context: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0]
        if re.match(SCHEME, name):
            raise click.UsageError(f'no command; did you mean "connect {name}"?', context)
        if not name.startswith('-') and name not in COMMANDS:
            alike = difflib.get_close_matches(name, COMMANDS, 1)
            meant = f'; did you mean {alike[0]!r}?' if alike else ''
            raise click.UsageError(f'no command {name!r}{meant}', context)
        return super().resolve_command(context, args)


@click.command(
    cls=_Commands,
    context_settings={'help_option_names': ['-h', '--help'], 'max_content_width': 100},
    epilog="""
    \b
    Examples:
      engineio-gevent demo --serve
      engineio-gevent connect http://127.0.0.1:5000
      engineio-gevent probe https://example.com

    \b
    Exit codes:
      0    it did what was asked
      1    it could not
      2    the arguments make no sense, or an extra is missing
      3    the connection was lost
      4    it connects, with something to mend (probe)
      130  Ctrl-C; 143 SIGTERM

    Every command has a --help of its own.
    """,
)
@click.version_option(__version__, prog_name=NAME, message='%(prog)s %(version)s')
def command() -> None:
    """Talk to Engine.IO servers, look into them, and put load on them."""


def run(argv: Sequence[str] | None = None) -> int:
    """Run a command.

    :param argv: the arguments; those of the process if None.
    :returns: the exit code, one of :class:`.Exit`.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    if isinstance(sys.stdout, io.TextIOWrapper):
        # What a server sends need not be in the terminal's encoding; as standard error does it.
        sys.stdout.reconfigure(errors='backslashreplace')
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
    except Interrupted as exc:
        return exc.exit_code
    except (KeyboardInterrupt, click.Abort):
        return Exit.INTERRUPTED
    except BrokenPipeError:
        # Whoever read the output has left; nothing more is to be written, at exit neither.
        _write_no_more()
        return Exit.FAILED
    except OSError as exc:  # of what is written to, most likely: a full disk
        complain(exc.strerror or str(exc))
        _write_no_more()
        return Exit.FAILED


def _write_no_more() -> None:
    """Have what is still to be written, at exit, go nowhere."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


@contextmanager
def _interruptible() -> Iterator[None]:
    """Let signals end the main greenlet, quietly, whichever greenlet they arrive in."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        gevent.get_hub().handle_system_error(Interrupted, Interrupted(number))

    # SIGTERM is what timeout(1) sends: the server is to hear that we leave, and a terminal to be
    # as it was.
    before = {number: signal.signal(number, interrupt) for number in _SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
