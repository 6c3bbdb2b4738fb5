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
HANDSHAKE = frozenset((
    'connection', 'sec-websocket-extensions', 'sec-websocket-key', 'sec-websocket-version',
    'upgrade',
))  # fmt: skip

# Headers that belong to one message or one connection: they say where a body ends and what it is
# (RFC 9112, section 6; RFC 9110, section 8), or are for the next server only (RFC 9110, section
# 7.6.1). A program that forwards the headers of its own request has those of another message. With
# them, a server would read other requests than were sent.
_OF_ONE_MESSAGE = frozenset((
    'content-encoding', 'content-length', 'content-type', 'expect', 'http2-settings', 'keep-alive',
    'proxy-connection', 'te', 'trailer', 'transfer-encoding', 'upgrade',
))  # fmt: skip
# What a caller may say by Connection: other words name headers that proxies remove.
_CONNECTION = frozenset(('close', 'keep-alive'))


def checked_headers(headers: Iterable[tuple[Any, Any]]) -> Headers:
    """A copy of a caller's headers that is safe to send. A value of None stands for no header.

    :raises ValueError: a name or a value has characters that a header cannot
                        have (RFC 9110, section 5), a line end above all.
    """
    checked = []
    for name, value in headers:
        name, value = text(name), text(value)
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


def text(part: Any) -> Any:
    """A name or a value that may be bytes."""
    return part.decode('latin-1') if isinstance(part, bytes) else part


def without_framing(headers: Iterable[tuple[str, str]]) -> Headers:
    """Headers without those that belong to one message or one connection."""
    kept = []
    for name, value in headers:
        known = name.lower()
        if known == 'connection':
            words = [word.strip() for word in value.split(',')]
            value = ', '.join(word for word in words if word.lower() in _CONNECTION)
            if not value:
                continue
        if known not in _OF_ONE_MESSAGE:
            kept.append((name, value))
    return kept


def one_of_each(headers: Iterable[tuple[str, str]]) -> Headers:
    """Headers with one of each name, which has no case: the last, and all cookies in one."""
    found: dict[str, tuple[str, str]] = {}
    for name, value in headers:
        known = name.lower()
        if known == 'cookie' and known in found:
            value = f'{found[known][1]}; {value}'
        found[known] = name, value
    return list(found.values())


def _is_latin_1(value: str) -> bool:
    return value.isascii() or max(value) <= '\xff'
