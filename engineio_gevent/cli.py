"""The command line: ``engineio-gevent``."""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import FrameType

import gevent

from . import __version__
from .demo import DemoError

#: What a shell reports of a command that Ctrl-C ended.
INTERRUPTED = 128 + signal.SIGINT


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command.

    :param argv: the arguments; those of the process if None.
    :returns: the exit code.
    """
    parser = _parser()
    arguments = parser.parse_args(argv)
    try:
        with _interruptible():
            arguments.run(arguments)
    except DemoError as exc:
        print(f'{parser.prog}: {exc}', file=sys.stderr)
        return exc.exit_code
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        # Whoever read the output has left; nothing more is to be written, at exit neither.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog='engineio-gevent', description='An Engine.IO client for gevent programs.'
    )
    parser.add_argument('--version', action='version', version=f'%(prog)s {__version__}')
    commands = parser.add_subparsers(title='commands', metavar='COMMAND', required=True)
    _add_demo(commands)
    return parser


def _add_demo(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    demo = commands.add_parser(
        'demo',
        help='show what the client does, and a thousand of them in one process',
        description=(
            'Connect to a server, upgrade, and echo; then hold many clients in this one '
            'process, echo with all of them, and leave. The server is one of python-engineio, '
            'started on this machine for as long as the demo runs, unless --url names another.'
        ),
        epilog="It needs the demo extra: pip install 'engineio-gevent[demo]'",
    )
    demo.add_argument(
        '--clients',
        type=_positive,
        default=1000,
        metavar='N',
        help='how many clients connect (default: %(default)s)',
    )
    where = demo.add_mutually_exclusive_group()
    where.add_argument('--url', help='run against this server, which has to echo every message')
    where.add_argument(
        '--serve',
        action='store_true',
        help='run only the server, for the examples, until Ctrl-C',
    )
    demo.add_argument(
        '--port',
        type=_port,
        help='where to --serve on 127.0.0.1; 0 for any free port (default: 5000)',
    )
    demo.set_defaults(run=_demo, parser=demo)


def _demo(arguments: argparse.Namespace) -> None:
    if arguments.serve:
        from .demo import server

        server.serve(5000 if arguments.port is None else arguments.port)
    elif arguments.port is not None:
        arguments.parser.error('--port goes with --serve')
    else:
        from .demo import show

        show.run(arguments.clients, arguments.url)


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f'{number} is not a positive number')
    return number


def _port(text: str) -> int:
    number = int(text)
    if not 0 <= number <= 65535:
        raise argparse.ArgumentTypeError(f'{number} is not a port')
    return number


@contextmanager
def _interruptible() -> Iterator[None]:
    """Let Ctrl-C end the main greenlet, quietly, whichever greenlet it arrives in."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        gevent.get_hub().handle_system_error(KeyboardInterrupt, KeyboardInterrupt())

    before = signal.signal(signal.SIGINT, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
