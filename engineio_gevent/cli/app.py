"""The group of all commands, and how a command ends."""

from __future__ import annotations

import difflib
import io
import os
import re
import signal
import socket
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

#: The commands and their summaries. Each command is a function in the module of the same name. The
#: module is imported only to run the command or to show its help.
COMMANDS = {
    'connect': 'Send and receive messages interactively.',
    'probe': 'Diagnose a connection step by step.',
    'load': 'Run a small load test from one process.',
    'demo': 'Measure 1,000 clients in one process.',
}


class _Commands(click.Group):
    """A group that imports commands lazily and suggests a command after a typing error."""

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
            raise click.UsageError(f'no command given. Did you mean "connect {name}"?', context)
        if not name.startswith('-') and name not in COMMANDS:
            alike = difflib.get_close_matches(name, COMMANDS, 1)
            meant = f'. Did you mean {alike[0]!r}?' if alike else ''
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
      0    success
      1    failure, such as no connection
      2    invalid arguments, or an extra is missing
      3    connection lost
      4    connection with a problem (only probe)
      130  Ctrl-C (143: SIGTERM)

    Run "engineio-gevent COMMAND --help" for the options of a command.
    """,
)
@click.version_option(__version__, prog_name=NAME, message='%(prog)s %(version)s')
def command() -> None:
    """Connect to Engine.IO servers, diagnose connections and run load tests."""


def run(argv: Sequence[str] | None = None) -> int:
    """Run a command.

    :param argv: the arguments; None: those of the process.
    :returns: the exit code, one of :class:`.Exit`.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    if isinstance(sys.stdout, io.TextIOWrapper):
        # Texts from a server may not fit the encoding of the terminal. The standard error escapes
        # such characters by default.
        sys.stdout.reconfigure(errors='backslashreplace')
    try:
        with _interruptible():
            # Standalone mode would end the process here, and print "Aborted!" after Ctrl-C.
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
        # The reader of the output has ended. Python must not write to it at exit either.
        _write_no_more()
        return Exit.FAILED
    except OSError as exc:  # most likely from writing the output: a full disk
        complain(exc.strerror or str(exc))
        _write_no_more()
        return Exit.FAILED


def _write_no_more() -> None:
    """Discard output that Python writes at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


@contextmanager
def _interruptible() -> Iterator[None]:
    """Let signals raise :class:`.Interrupted` in the main greenlet, whichever greenlet runs."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        gevent.get_hub().handle_system_error(Interrupted, Interrupted(number))

    with _signals_wake_the_hub():
        # SIGTERM, which timeout(1) sends, disconnects and restores the terminal like Ctrl-C.
        before = {number: signal.signal(number, interrupt) for number in _SIGNALS}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


@contextmanager
def _signals_wake_the_hub() -> Iterator[None]:
    """Run Python's signal handlers at once, even if the hub waits for an event.

    Without this, a signal that arrives just before the hub begins to wait, or in another native
    thread, is handled only after the next event.
    """
    reader, writer = socket.socketpair()
    with reader, writer:
        reader.setblocking(False)
        writer.setblocking(False)
        watcher = gevent.get_hub().loop.io(reader.fileno(), 1, ref=False)
        watcher.start(reader.recv, 4096)
        before = signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
        try:
            yield
        finally:
            signal.set_wakeup_fd(before)
            watcher.close()
