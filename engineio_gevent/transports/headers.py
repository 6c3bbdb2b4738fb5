"""Headers of a caller, checked before they are sent."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+\Z")  # RFC 9110, section 5.6.2
_VALUE = re.compile(r'[^\x00-\x08\x0a-\x1f\x7f]*\Z')  # RFC 9110, section 5.5

Headers = list[tuple[str, str]]

#: Those of a websocket's handshake that the caller's headers, which may be meant for polling, do
#: not decide.
HANDSHAKE = frozenset(('connection', 'sec-websocket-key', 'sec-websocket-version', 'upgrade'))


def checked_headers(headers: Iterable[tuple[Any, Any]]) -> Headers:
    """A copy of a caller's headers that is safe to send. A value of None stands for no header.

    :raises ValueError: a name or a value has characters that a header cannot
                        have (RFC 9110, section 5), a line end above all.
    """
    checked = []
    for name, value in headers:
        name = name.decode('latin-1') if isinstance(name, bytes) else name
        value = value.decode('latin-1') if isinstance(value, bytes) else value
        if value is None:
            continue
        if not isinstance(name, str) or not NAME.match(name):
            # The rest may be the value, and secret.
            shown = re.split('[ \t:]', name)[0][:40] if isinstance(name, str) else type(name)
            raise ValueError(f'invalid header name: {shown!r}')
        if not isinstance(value, str) or not _VALUE.match(value) or not _is_latin_1(value):
            raise ValueError(
                f'invalid value for header {name}: use Latin-1 text without control characters'
            )
        checked.append((name, value.strip()))
    return checked


def _is_latin_1(value: str) -> bool:
    return value.isascii() or max(value) <= '\xff'
