"""JSON over several lines, for people; nothing in it is changed."""

from __future__ import annotations

import json
import re

from ..protocol.nesting import nests_deeper

#: Characters that are laid out: more takes its time, and nobody reads it.
_MAX_SIZE = 64 * 1024
#: Levels of arrays and objects that are, or a few more; each indents every line within it.
_MAX_DEPTH = 50
_INDENT = '  '

_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|[][{},:]|[^][{},:"\s]+')
_OPENING = {'{', '['}
_CLOSING = {'}', ']'}


def laid_out(text: str) -> str | None:
    """An object or an array, with a line for each of its values; None for anything else.

    Numbers, escapes, order and names given twice stay as they came, which ``json.loads()``
    and ``dumps()`` would not keep.

    :param text: what may be JSON.
    """
    if text[:1] not in _OPENING or len(text) > _MAX_SIZE or nests_deeper(text, _MAX_DEPTH):
        return None
    try:
        json.loads(text)
    except ValueError:
        return None
    pieces: list[str] = []
    depth = 0
    before = ''
    for token in _TOKEN.findall(text):
        if token in _CLOSING:
            depth -= 1
        empty = before in _OPENING and token in _CLOSING
        if not empty and (before in _OPENING or before == ',' or token in _CLOSING):
            pieces.append('\n' + _INDENT * depth)
        if token in _OPENING:
            depth += 1
        pieces.append(': ' if token == ':' else token)
        before = token
    return ''.join(pieces)
