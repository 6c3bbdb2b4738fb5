"""``engineio-gevent connect``: a conversation with a server, by lines."""

from __future__ import annotations

import logging
import math
import time
from typing import Any

import click
import gevent
from gevent.event import Event

from ..exceptions import ConnectionClosed
from ..timers import timer_seconds
from .errors import CommandError, Exit
from .options import ConnectingCommand, Connection, Number, connection_options
from .printer import ForPeople, ForPrograms, Printer
from .prompt import Given, Prompt, Source, source
from .screen import console

#: Seconds to wait for answers after the last message, unless -w says otherwise.
_WAIT = 2.0
#: Seconds that what arrives is still shown when we are leaving. A server may send faster than we
#: print, and what has gathered then would be printed for as long as it sends.
_LEAVING = 1.0


@click.command(
    cls=ConnectingCommand,
    epilog="""
    \b
    Exit codes:
      0    we have left, or the server has closed the connection
      1    no connection
      2    the arguments make no sense
      3    the connection was lost, or closed with something not sent or not taken
      130  Ctrl-C; 143 SIGTERM
    """,
)
@connection_options
@click.option(
    '-x',
    '--execute',
    'messages',
    multiple=True,
    metavar='MESSAGE',
    help='Send this, and nothing of the input; may be given several times.',
)
@click.option(
    '-w',
    '--wait',
    type=Number(),
    default=_WAIT,
    show_default=True,
    metavar='SECONDS',
    help='How long to wait for answers after the last -x, or the end of the input; '
    '-1: until the server closes the connection.',
)
@click.option('--hex', 'as_hex', is_flag=True, help='What is sent is given in hex, and binary.')
@click.option('--json', 'as_json', is_flag=True, help='Print a JSON object for each event.')
@click.option('-v', '--verbose', is_flag=True, help='Show all packets, both ways.')
def connect(
    connection: Connection,
    messages: tuple[str, ...],
    wait: float,
    as_hex: bool,
    as_json: bool,
    verbose: bool,
) -> int:
    """Talk to a server: each line that is typed is sent, and what arrives is printed.

    Text is printed as it is, JSON laid out on a terminal, binary in hex, each with its time. In a
    pipe each line of the input is sent.

    \b
    Examples:
      engineio-gevent connect http://127.0.0.1:5000
      engineio-gevent connect ws://127.0.0.1:5000 -x hello -w 1
      engineio-gevent connect https://example.com -H "Authorization: Bearer 1234"
      tail -f log | engineio-gevent connect http://127.0.0.1:5000 --json
    """
    if as_hex:
        for message in messages:
            _encode(message, as_hex)  # before there is a connection
    keyboard = Given(messages) if messages else source()
    try:
        out = console(keyboard.output, colours=True if isinstance(keyboard, Prompt) else None)
        printer = ForPrograms(out) if as_json else ForPeople(out)
        talk = Conversation(connection, printer, as_hex=as_hex, verbose=verbose)
        return talk.run(keyboard, wait)
    finally:
        keyboard.close()


class Conversation:
    """One connection, what is sent by it and what arrives.

    :param connection: to where.
    :param printer: tells of it.
    :param as_hex: whether the lines are hex, for binary messages.
    :param verbose: whether to tell of all packets.
    """

    def __init__(
        self, connection: Connection, printer: Printer, *, as_hex: bool, verbose: bool
    ) -> None:
        self._connection = connection
        self._printer = printer
        self._as_hex = as_hex
        self._verbose = verbose
        self._over = Event()
        self._has_sent = False
        #: Whether there are no more lines.
        self._all_given = False
        self._reason = ''
        self._failure: OSError | None = None
        #: Until when, by ``time.monotonic()``, messages are shown, and how many came later.
        self._shown_until = math.inf
        self._not_shown = 0
        # parse_json: what is shown is what came, number by number and space by space
        self._client = connection.client(
            parse_json=False, logger=_packet_log(printer) if verbose else False
        )
        self._client.on('message', self._on_message)
        self._client.on('disconnect', self._on_disconnect)

    def run(self, keyboard: Source, wait: float) -> Exit:
        """Connect, send the lines, and leave, or be left.

        :param keyboard: where the lines come from.
        :param wait: seconds to stay after the last line; negative: until the server leaves.
        :returns: the exit code.
        :raises CommandError: no connection, or something that cannot be sent.
        """
        client = self._client
        reader = gevent.Greenlet(self._send_all, keyboard)
        try:  # from here on: Ctrl-C comes at any moment, and the server is to hear of it
            self._connection.connect(client)
            self._printer.connected(client.transport(), client.sid)
            reader.start()
            waited: list[Any] = [reader, self._over]
            gevent.wait(waited, count=1)
            if reader.ready():
                failure = reader.get()
                if failure is not None:
                    raise failure
                # by hand: Ctrl-D
                if not keyboard.by_hand:
                    self._over.wait(timer_seconds(None if wait < 0 else wait))
            self._shown_until = time.monotonic() + _LEAVING
        except BaseException:  # Ctrl-C: no more of it
            self._shown_until = -math.inf
            raise
        finally:
            reader.kill()
            client.disconnect()
        self._over.wait()
        if self._failure is not None:
            raise self._failure
        keyboard.quit()
        if self._not_shown:
            self._printer.note(f'{self._not_shown:,} messages came too late to be shown')
        error, unsent = client.disconnect_error, client.unsent
        self._printer.ended(self._reason, error, unsent)
        cut_off = unsent or not (self._all_given or keyboard.by_hand)
        in_order = _in_order(error, self._has_sent)
        return Exit.DONE if in_order and not cut_off else Exit.LOST

    def _send_all(self, keyboard: Source) -> BaseException | None:
        """In a greenlet: send line after line; returns why not all.

        It raises nothing: gevent would tell of it, too, and take Ctrl-C for the process's.
        """
        try:
            for line in keyboard.lines():
                if self._client.state != 'connected':
                    return None  # it would be dropped silently
                try:
                    message = _encode(line, self._as_hex)
                    self._has_sent = True
                    self._client.send(message)
                except (ValueError, CommandError) as exc:
                    if not keyboard.by_hand:
                        if isinstance(exc, CommandError):
                            raise
                        raise CommandError(f'cannot send {_short(line)}: {exc}') from exc
                    self._printer.note(f'not sent: {exc}')
                else:
                    if self._verbose:
                        self._printer.message('sent', message)
            self._all_given = True
        except gevent.GreenletExit:
            raise
        except BaseException as exc:  # Interrupted as well
            return exc
        return None

    def _on_message(self, data: str | bytes) -> None:
        if time.monotonic() > self._shown_until:
            self._not_shown += 1
            return
        try:
            self._printer.message('received', data)
        except OSError as exc:  # who read it has left, most likely: that ends the command
            self._failure = exc
            self._over.set()

    def _on_disconnect(self, reason: str) -> None:
        self._reason = reason
        self._over.set()


def _in_order(error: Exception | None, has_sent: bool) -> bool:
    """Whether a connection ended as one of the two sides wished it.

    :param has_sent: whether there were messages of ours.
    """
    if isinstance(error, ConnectionClosed):
        # The JavaScript server's goodbye is 1005 alone. 1000 is python-engineio's answer to a
        # message that it does not take: too large, say.
        return error.code == 1005 or (error.code == 1000 and not has_sent)
    return error is None


def _encode(line: str, as_hex: bool) -> str | bytes:
    """What a line stands for.

    :raises CommandError: it is not hex.
    """
    if not as_hex:
        return line
    try:
        return bytes.fromhex(line)
    except ValueError as exc:
        raise CommandError(f'{_short(line)} is not hex') from exc


def _short(line: str) -> str:
    return repr(line[:100]) + ('...' if line[100:] else '')


def _packet_log(printer: Printer) -> logging.Logger:
    """A logger for a client, which tells of packets that are no messages."""
    logger = logging.Logger('engineio-gevent connect')  # ours alone: not in logging's registry
    logger.addHandler(_PacketHandler(printer))
    return logger


class _PacketHandler(logging.Handler):
    """Takes the library's log apart again: it has no other place that sees all packets."""

    def __init__(self, printer: Printer) -> None:
        super().__init__()
        self._printer = printer

    def emit(self, record: logging.LogRecord) -> None:
        arguments: Any = record.args
        for direction in ('Received', 'Sending'):
            if record.msg == f'{direction} packet %s data %s':
                name, data = arguments
                if name != 'MESSAGE':
                    what = 'received' if direction == 'Received' else 'sent'
                    self._printer.packet(what, name, str(data))
                return
        self._printer.note(record.getMessage())
