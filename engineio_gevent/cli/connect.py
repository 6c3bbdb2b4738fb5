"""``engineio-gevent connect``: send and receive messages interactively."""

from __future__ import annotations

import logging
import math
import time
from typing import Any

import click
import gevent
from gevent.event import Event

from .. import Client
from ..exceptions import ConnectionClosed, ConnectionError
from ..net.deadlines import timer_seconds
from .address_options import address_options
from .errors import CommandError, Exit
from .options import ConnectingCommand, Connection, Number, cause_of, connection_options
from .printer import ForPeople, ForPrograms, Printer
from .prompt import Given, Prompt, Source, source
from .screen import console

#: Seconds to wait for answers after the last message; the default of -w.
_WAIT = 2.0
#: Seconds for which messages are still printed before the command disconnects. If a server sends
#: faster than messages can be printed, the queue of unprinted ones would never end.
_LEAVING = 1.0
_HINT = 'Type a message and press Enter to send it. Ctrl-D disconnects.'


@click.command(
    cls=ConnectingCommand,
    epilog="""
    \b
    Exit codes:
      0    disconnected by this command, or closed normally by the server
      1    no connection, or a message that cannot be sent
      2    invalid arguments
      3    connection lost, or closed before all messages were sent or accepted
      130  Ctrl-C (143: SIGTERM)
    """,
)
@connection_options
@address_options
@click.option(
    '-x',
    '--execute',
    'messages',
    multiple=True,
    metavar='MESSAGE',
    help='Send this message and ignore the input. Repeat the option for more messages.',
)
@click.option(
    '-w',
    '--wait',
    type=Number(),
    default=_WAIT,
    show_default=True,
    metavar='SECONDS',
    help='Wait this long for answers after the last -x or the end of the input. '
    '-1 waits until the server closes the connection.',
)
@click.option('--hex', 'as_hex', is_flag=True, help='Send binary messages, given in hex.')
@click.option('--json', 'as_json', is_flag=True, help='Print each event as a line of JSON.')
@click.option('-v', '--verbose', is_flag=True, help='Show all packets that are sent and received.')
def connect(
    connection: Connection,
    messages: tuple[str, ...],
    wait: float,
    as_hex: bool,
    as_json: bool,
    verbose: bool,
) -> int:
    """Send and receive messages interactively.

    Each line that you type is sent as a message. Received messages are printed with the time:
    JSON is laid out, binary messages are shown in hex. Ctrl-D disconnects. If the input is a pipe,
    each of its lines is sent.

    \b
    Examples:
      engineio-gevent connect http://127.0.0.1:5000
      engineio-gevent connect ws://127.0.0.1:5000 -x hello -w 1
      engineio-gevent connect https://example.com -H "Authorization: Bearer 1234"
      tail -f log | engineio-gevent connect http://127.0.0.1:5000 --json
    """
    if as_hex:
        for message in messages:
            _encode(message, as_hex)  # raises an error before connecting
    keyboard = Given(messages) if messages else source()
    try:
        out = console(keyboard.output, colours=True if isinstance(keyboard, Prompt) else None)
        printer = ForPrograms(out) if as_json else ForPeople(out)
        talk = Conversation(connection, printer, as_hex=as_hex, verbose=verbose)
        return talk.run(keyboard, wait)
    finally:
        keyboard.close()


class Conversation:
    """One connection with its messages.

    :param connection: the settings of the connection.
    :param printer: prints the events.
    :param as_hex: whether the lines are hex, for binary messages.
    :param verbose: whether to print all packets.
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
        #: Whether all lines were sent.
        self._all_given = False
        self._reason = ''
        self._failure: OSError | None = None
        #: Messages are printed until this ``time.monotonic()``. Later ones are only counted.
        self._shown_until = math.inf
        self._not_shown = 0
        # parse_json=False: JSON is shown exactly as received.
        self._client = connection.client(
            parse_json=False, logger=_packet_log(printer) if verbose else False
        )
        self._client.on('message', self._on_message)
        self._client.on('disconnect', self._on_disconnect)

    def run(self, keyboard: Source, wait: float) -> Exit:
        """Connect, send the lines, and disconnect.

        :param keyboard: the source of the lines.
        :param wait: seconds to wait after the last line; negative: until the server disconnects.
        :returns: the exit code.
        :raises CommandError: there is no connection, or a line cannot be sent.
        """
        client = self._client
        reader = gevent.Greenlet(self._send_all, keyboard)
        try:  # Ctrl-C may come at any moment, and the client has to disconnect.
            self._connect(client)
            self._printer.connected(client.transport(), client.sid)
            if keyboard.by_hand:
                self._printer.hint(_HINT)
            reader.start()
            waited: list[Any] = [reader, self._over]
            gevent.wait(waited, count=1)
            if reader.ready():
                failure = reader.get()
                if failure is not None:
                    raise failure
                # A person typed Ctrl-D and does not wait for answers.
                if not keyboard.by_hand:
                    self._over.wait(timer_seconds(None if wait < 0 else wait))
            self._shown_until = time.monotonic() + _LEAVING
        except BaseException:  # Ctrl-C: print no more messages
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

    def _connect(self, client: Client) -> None:
        try:
            self._connection.connect(client)
        except (ConnectionError, ValueError) as exc:
            from .probing.diagnosis import no_connection

            raise no_connection(self._connection, exc, cause_of(exc)) from exc

    def _send_all(self, keyboard: Source) -> BaseException | None:
        """In a greenlet: send all lines.

        :returns: the exception that stopped it, if any. If it were raised here, gevent would print
                  it, and would end the process after Ctrl-C.
        """
        try:
            for line in keyboard.lines():
                if self._client.state != 'connected':
                    return None  # send() would drop the message silently
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
        except OSError as exc:  # most likely the reader of a pipe has ended
            self._failure = exc
            self._over.set()

    def _on_disconnect(self, reason: str) -> None:
        self._reason = reason
        self._over.set()


def _in_order(error: Exception | None, has_sent: bool) -> bool:
    """Whether one of the two sides closed the connection normally.

    :param has_sent: whether this client has sent messages.
    """
    if isinstance(error, ConnectionClosed):
        # The JavaScript server closes normally with 1005. python-engineio also closes with 1000 if
        # it rejects a message, because of its size for example.
        return error.code == 1005 or (error.code == 1000 and not has_sent)
    return error is None


def _encode(line: str, as_hex: bool) -> str | bytes:
    """The message in a line.

    :raises CommandError: the line is not hex.
    """
    if not as_hex:
        return line
    try:
        return bytes.fromhex(line)
    except ValueError as exc:
        raise CommandError(f'{_short(line)} is not valid hex') from exc


def _short(line: str) -> str:
    return repr(line[:100]) + ('...' if line[100:] else '')


def _packet_log(printer: Printer) -> logging.Logger:
    """A logger for a client that prints all packets except messages."""
    logger = logging.Logger('engineio-gevent connect')  # not in the registry of logging
    logger.addHandler(_PacketHandler(printer))
    return logger


class _PacketHandler(logging.Handler):
    """Parses the log of the library, which is the only place that reports all packets."""

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
