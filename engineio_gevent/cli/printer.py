"""How ``connect`` shows what happens: for people, or as lines of JSON for programs."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from datetime import datetime
from typing import Any

from rich.console import Console
from rich.highlighter import JSONHighlighter
from rich.text import Text

from .layout import laid_out
from .screen import printable

#: Bytes of a binary message that are shown.
_SHOWN = 512
_ROW = 16

_ARROWS = {'received': '<', 'sent': '>'}
_HIGHLIGHTER = JSONHighlighter()
_COLOURS = {'received': 'cyan', 'sent': 'green'}


class Printer(ABC):
    """Tells of events; texts of the server may hold anything."""

    @abstractmethod
    def connected(self, transport: str | None, sid: str | None) -> None:
        """The connection is there."""

    @abstractmethod
    def message(self, direction: str, data: str | bytes) -> None:
        """A message was ``received`` or ``sent``."""

    @abstractmethod
    def packet(self, direction: str, name: str, data: str) -> None:
        """A packet that is no message was ``received`` or ``sent``."""

    @abstractmethod
    def note(self, text: str) -> None:
        """Something worth knowing happened."""

    @abstractmethod
    def ended(self, reason: str, error: Exception | None, unsent: int) -> None:
        """The connection is over; ``unsent`` messages never left."""


class ForPeople(Printer):
    """Lines with the time; JSON is laid out, and coloured, on a terminal.

    :param console: where to.
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

    def ended(self, reason: str, error: Exception | None, unsent: int) -> None:
        told = f'disconnected: {reason}' + (f': {error}' if error is not None else '')
        if unsent:
            told += f'; {unsent} not sent'
        self._line('*', 'red' if error is not None else 'dim', Text(printable(told)))

    def _line(self, mark: str, style: str, body: Text) -> None:
        now = f'{datetime.now():%H:%M:%S.%f}'[:-3]
        line = Text.assemble((now, 'dim'), (f' {mark} ', style), body)
        self._console.print(line)
        self._console.file.flush()

    def _text(self, data: str) -> Text:
        """Text as it is; an object or an array over several lines, on a terminal."""
        if self._console.is_terminal:
            lines = laid_out(data)
            if lines is not None:
                return _HIGHLIGHTER(printable(lines))
        # No further line can pass for one of ours.
        return Text(printable(data).replace('\n', '\n  '))


class ForPrograms(Printer):
    """One JSON object in a line for each event.

    :param console: where to.
    """

    def __init__(self, console: Console) -> None:
        self._file = console.file

    def connected(self, transport: str | None, sid: str | None) -> None:
        self._tell('connect', transport=transport, sid=sid)

    def message(self, direction: str, data: str | bytes) -> None:
        if isinstance(data, bytes):
            self._tell('message', direction=direction, type='binary', data=data.hex())
        else:
            self._tell('message', direction=direction, type='text', data=data)

    def packet(self, direction: str, name: str, data: str) -> None:
        self._tell('packet', direction=direction, type=name, data=data)

    def note(self, text: str) -> None:
        self._tell('note', text=text)

    def ended(self, reason: str, error: Exception | None, unsent: int) -> None:
        said = None if error is None else str(error)
        self._tell('disconnect', reason=reason, error=said, unsent=unsent)

    def _tell(self, event: str, **fields: Any) -> None:
        now = datetime.now().astimezone().isoformat(timespec='microseconds')
        # ASCII: a terminal may read it, too
        self._file.write(json.dumps({'time': now, 'event': event, **fields}) + '\n')
        self._file.flush()


def _hex_dump(data: bytes) -> Text:
    """Rows of hex with the characters beside them; the first of many."""
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
