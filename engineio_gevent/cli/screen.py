"""Output of the commands: colours only on a terminal, control characters as escapes."""

from __future__ import annotations

import re
import sys
from typing import TextIO

from rich.console import Console
from rich.text import Text
from rich.theme import Theme

from ..printable import CONTROL
from .colours import JSON_STYLES

_KEPT = {'\n': '\n', '\t': '    '}


class _Console(Console):
    def on_broken_pipe(self) -> None:
        """Raise an exception instead of ending the process."""
        raise BrokenPipeError


def console(file: TextIO | None = None, *, colours: bool | None = None) -> Console:
    """A console that does not interpret or wrap text.

    :param file: the output; None: the standard output.
    :param colours: whether to use colours; None: on a terminal, unless ``NO_COLOR`` is set.
    """
    return _Console(
        file=file,
        force_terminal=colours,
        highlight=False,
        markup=False,
        emoji=False,
        soft_wrap=True,
        theme=Theme(JSON_STYLES),
    )


def say(out: Console, text: Text) -> None:
    """Print a text. On a terminal it is wrapped between words."""
    out.print(text, soft_wrap=not out.is_terminal)


def complain(text: str) -> None:
    """Print an error on the standard error."""
    print(f'engineio-gevent: {one_line(text)}', file=sys.stderr, flush=True)


def printable(text: str) -> str:
    """Text from a server, with control characters as escapes, so that a terminal only shows it.

    Newlines stay. A tab becomes spaces.
    """
    return CONTROL.sub(_escaped, text)


def one_line(text: str) -> str:
    """As :func:`printable`, with newlines as escapes, too."""
    return printable(text).replace('\n', '\\n')


def _escaped(found: re.Match[str]) -> str:
    return _KEPT.get(found[0]) or repr(found[0])[1:-1]
