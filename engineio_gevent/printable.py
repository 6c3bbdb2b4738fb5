"""Text from servers, for errors and logs: no character of it changes the lines or the terminal."""

from __future__ import annotations

import re

#: Control characters (C0 and C1), characters that change the text direction, Unicode line
#: separators, and lone surrogates, which cannot be encoded.
CONTROL = re.compile(
    r'[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]'
)


def printable(text: str) -> str:
    """Text with control characters as escapes, such as ``\\n``."""
    if text.isprintable():
        return text  # ten times as fast
    return CONTROL.sub(lambda found: repr(found[0])[1:-1], text)


def shortened(text: str, limit: int) -> str:
    """Text as by :func:`printable`, and not longer than this many characters and ``...``."""
    text = printable(text[: limit + 1])
    return text if len(text) <= limit else f'{text[:limit]}...'
