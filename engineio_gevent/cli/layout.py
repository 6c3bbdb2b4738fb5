"""Lay JSON out over several lines without any other change."""

from __future__ import annotations

import json
import re

from ..protocol.json_depth import nests_deeper

#: Longer texts are not laid out: that would take long, and nobody would read them.
_MAX_SIZE = 64 * 1024
#: Texts with more levels of arrays and objects are not laid out, give or take a few levels.
_MAX_DEPTH = 50
_INDENT = '  '

_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|[][{},:]|[^][{},:"\s]+')
_OPENING = {'{', '['}
_CLOSING = {'}', ']'}


def laid_out(text: str) -> str | None:
    """Put each value of a JSON object or array on its own line.

    Numbers, escapes, the order and duplicate names are kept, unlike by ``json.loads()`` and
    ``json.dumps()``.

    :param text: a text that may be JSON.
    :returns: the lines; None if the text is not a JSON object or array.
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
