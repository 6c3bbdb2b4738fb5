"""The output of ``connect``: text for people, or JSON lines for programs."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from datetime import datetime
from typing import Any

from rich.console import Console
from rich.highlighter import JSONHighlighter
from rich.text import Text

from .colours import ACCENT, BAD, GOOD
from .layout import laid_out
from .screen import printable

#: The number of bytes of a binary message that are shown.
_SHOWN = 512
_ROW = 16

_ARROWS = {'received': '<', 'sent': '>'}
_HIGHLIGHTER = JSONHighlighter()
_COLOURS = {'received': ACCENT, 'sent': GOOD}
#: The width of ``12:34:56.789 < ``, which is before each message.
_INDENT = ' ' * 15


class Printer(ABC):
    """Prints events. Texts from the server may contain any characters."""

    @abstractmethod
    def connected(self, transport: str | None, sid: str | None) -> None:
        """The client is connected."""

    @abstractmethod
    def message(self, direction: str, data: str | bytes) -> None:
        """A message was ``received`` or ``sent``."""

    @abstractmethod
    def packet(self, direction: str, name: str, data: str) -> None:
        """A packet other than a message was ``received`` or ``sent``."""

    @abstractmethod
    def note(self, text: str) -> None:
        """A note for the user."""

    def hint(self, text: str) -> None:  # noqa: B027 - programs need none
        """A hint for a person at a terminal."""

    @abstractmethod
    def ended(self, reason: str, error: Exception | None, unsent: int) -> None:
        """The connection ended, with ``unsent`` messages not sent."""


class ForPeople(Printer):
    """Prints lines with the time. On a terminal, JSON is laid out and coloured.

    :param console: the output.
    """

    def __init__(self, console: Console) -> None:
        self._console = console

    def connected(self, transport: str | None, sid: str | None) -> None:
        self._line('*', 'dim', Text(f'connected by {transport}, sid {printable(str(sid))}'))

    def message(self, direction: str, data: str | bytes) -> None:
        body = _hex_dump(data) if isinstance(data, bytes) else self._text(data)
        self._line(_ARROWS[direction], _COLOURS[direction], body)

    def packet(self, direction: str, name: str, data: str) -> None:
        self._line(_ARROWS[direction], 'dim', Text(f'{name} {printable(data)}'.rstrip(), 'dim'))

    def note(self, text: str) -> None:
        self._line('*', 'dim', Text(printable(text), 'dim'))

    def hint(self, text: str) -> None:
        self.note(text)

    def ended(self, reason: str, error: Exception | None, unsent: int) -> None:
        text = f'disconnected: {reason}' + (f': {error}' if error is not None else '')
        if unsent:
            text += f'; {unsent} not sent'
        self._line('*', BAD if error is not None else 'dim', Text(printable(text)))

    def _line(self, mark: str, style: str, body: Text) -> None:
        now = f'{datetime.now():%H:%M:%S.%f}'[:-3]
        line = Text.assemble((now, 'dim'), (f' {mark} ', style), body)
        self._console.print(line)
        self._console.file.flush()

    def _text(self, data: str) -> Text:
        """The text of a message. On a terminal, JSON is laid out over several lines."""
        lines = laid_out(data) if self._console.is_terminal else None
        # Further lines are indented, so that they cannot look like an event of this command.
        text = printable(data if lines is None else lines).replace('\n', f'\n{_INDENT}')
        return Text(text) if lines is None else _HIGHLIGHTER(text)


class ForPrograms(Printer):
    """Prints a line with a JSON object for each event.

    :param console: the output.
    """

    def __init__(self, console: Console) -> None:
        self._file = console.file

    def connected(self, transport: str | None, sid: str | None) -> None:
        self._write('connect', transport=transport, sid=sid)

    def message(self, direction: str, data: str | bytes) -> None:
        if isinstance(data, bytes):
            self._write('message', direction=direction, type='binary', data=data.hex())
        else:
            self._write('message', direction=direction, type='text', data=data)

    def packet(self, direction: str, name: str, data: str) -> None:
        self._write('packet', direction=direction, type=name, data=data)

    def note(self, text: str) -> None:
        self._write('note', text=text)

    def ended(self, reason: str, error: Exception | None, unsent: int) -> None:
        said = None if error is None else str(error)
        self._write('disconnect', reason=reason, error=said, unsent=unsent)

    def _write(self, event: str, **fields: Any) -> None:
        now = datetime.now().astimezone().isoformat(timespec='microseconds')
        # In ASCII, since the output may be a terminal.
        self._file.write(json.dumps({'time': now, 'event': event, **fields}) + '\n')
        self._file.flush()


def _hex_dump(data: bytes) -> Text:
    """Rows of hex and ASCII, up to a limit. With a larger indent they would exceed 80 columns."""
    text = Text(f'{len(data):,} bytes')
    for start in range(0, min(len(data), _SHOWN), _ROW):
        row = data[start : start + _ROW]
        shown = ''.join(chr(byte) if 0x20 <= byte < 0x7F else '.' for byte in row)
        text.append(f'\n  {start:08x}  ', 'dim')
        text.append(f'{row.hex(" ", 2):<{_ROW * 5 // 2}} ')
        text.append(shown, 'dim')
    if len(data) > _SHOWN:
        text.append(f'\n  ... {len(data) - _SHOWN:,} more', 'dim')
    return text
