"""What the commands print with: colours on a terminal alone, and nothing that a server made up."""

from __future__ import annotations

import re
import sys
from typing import TextIO

from rich.console import Console
from rich.text import Text

# C0 and C1 but the line end; what turns the direction of writing; line ends of Unicode's; and
# halves of a character, which cannot be written.
_CONTROL = re.compile(
    r'[\x00-\x09\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]'
)


class _Console(Console):
    def on_broken_pipe(self) -> None:
        """Leave it to the command, instead of ending the process."""
        raise BrokenPipeError


def console(file: TextIO | None = None, *, colours: bool | None = None) -> Console:
    """A console that prints text as it is.

    :param file: where to; the standard output if None.
    :param colours: whether there are any; None: on a terminal, without ``NO_COLOR``.
    """
    return _Console(
        file=file,
        force_terminal=colours,
        highlight=False,
        markup=False,
        emoji=False,
        soft_wrap=True,
    )


def say(out: Console, text: Text) -> None:
    """Print a sentence: on a terminal, no word of it is cut in two."""
    out.print(text, soft_wrap=not out.is_terminal)


def complain(text: str) -> None:
    """Tell what went wrong, on the standard error."""
    print(f'engineio-gevent: {one_line(text)}', file=sys.stderr, flush=True)


def printable(text: str) -> str:
    """Text of a server's that a terminal takes for nothing else: control characters as escapes.

    Line ends stay; a tab becomes spaces.
    """
    return _CONTROL.sub(_escaped, text)


def one_line(text: str) -> str:
    """As :func:`printable`, with the line ends as escapes, too."""
    return printable(text).replace('\n', '\\n')


def _escaped(found: re.Match[str]) -> str:
    return '    ' if found[0] == '\t' else repr(found[0])[1:-1]
