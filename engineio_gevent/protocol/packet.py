"""One packet of Engine.IO 4, to and from the form that every transport understands.

That form is neutral: ``str`` for a text packet, its type digit first, and
``bytes`` for a binary message, which has no type. A websocket sends it as it
is; :mod:`.payload` turns it into a part of a polling body.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..exceptions import ProtocolError
from . import json_functions
from .json_depth import too_deep

OPEN, CLOSE, PING, PONG, MESSAGE, UPGRADE, NOOP = range(7)

#: The name of each packet type, for logs: ``NAMES[MESSAGE] == 'MESSAGE'``.
NAMES = ('OPEN', 'CLOSE', 'PING', 'PONG', 'MESSAGE', 'UPGRADE', 'NOOP')

#: A packet in its neutral form.
Encoded = str | bytes

_TYPES = {str(number): number for number in range(len(NAMES))}
_MESSAGE_DIGIT = str(MESSAGE)
_PONG_DIGIT = str(PONG)

# How JSON can begin, by its first character: white space (RFC 8259, section 2),
# a container, a string, a minus sign, or one of the words that ``json`` knows.
# Digits are missing on purpose: text that starts with one stays text.
_BEGINNINGS = {beginning[0]: beginning for beginning in (
    ' ', '\t', '\n', '\r', '{', '[', '"', '-', 'true', 'false', 'null', 'NaN', 'Infinity',
)}  # fmt: skip


def encode_message(data: object, dumps: Callable[[Any], str]) -> Encoded:
    """Encode application data as a MESSAGE packet.

    :param data: ``str``; ``bytes``, ``bytearray`` or ``memoryview`` (copied, as
                 they can change later); ``dict`` or ``list``, sent as JSON;
                 ``int``, ``float`` or ``bool``, sent as ``str()`` of it; or
                 ``None``, sent as an empty message.
    :param dumps: the function of :class:`.JSONFunctions`.

    Raises ``TypeError`` for data of any other type, and whatever ``dumps``
    raises.
    """
    if isinstance(data, str):
        return str.__add__(_MESSAGE_DIGIT, data)  # for + markupsafe's Markup makes another Markup
    if isinstance(data, bytes):
        return data
    if isinstance(data, (bytearray, memoryview)):
        return bytes(data)
    if isinstance(data, (dict, list)):
        return _MESSAGE_DIGIT + dumps(data)
    if data is None:
        return _MESSAGE_DIGIT
    if isinstance(data, (int, float)):
        return _MESSAGE_DIGIT + str(data)
    raise TypeError(
        f'cannot send data of type {type(data).__name__}: use str, bytes, bytearray, memoryview, '
        'dict, list, int, float, bool or None'
    )


def decode(encoded: Encoded) -> tuple[int, str | bytes]:
    """Split a packet into its type and its data.

    :param encoded: the packet in its neutral form.

    Raises :class:`.ProtocolError` for text that is empty or starts with no
    packet type.
    """
    if isinstance(encoded, bytes):
        return MESSAGE, encoded
    packet_type = _TYPES.get(encoded[:1])
    if packet_type is None:
        raise ProtocolError(
            f'packet without a valid type: {shorten(encoded)}' if encoded else 'empty packet'
        )
    return packet_type, encoded[1:]


def is_message(encoded: Encoded) -> bool:
    """Return whether a packet carries a message.

    :param encoded: the packet in its neutral form.
    """
    return isinstance(encoded, bytes) or encoded.startswith(_MESSAGE_DIGIT)


def is_pong(encoded: Encoded) -> bool:
    """Return whether a packet is a PONG.

    :param encoded: the packet in its neutral form.
    """
    return isinstance(encoded, str) and encoded.startswith(_PONG_DIGIT)


def parse_text(text: str, loads: Callable[[str], Any]) -> object:
    """Return what the text of a received message stands for.

    That is what ``loads`` makes of it. Text that starts with a digit stays
    text, since the sender of a string of digits does not expect a number, and
    so does text that is not JSON.

    :param text: the data of a text MESSAGE packet.
    :param loads: the function of :class:`.JSONFunctions`; what it refuses with
                  ``ValueError`` or ``RecursionError`` is taken as text.
    """
    if loads is json_functions.decode:  # the standard library's
        # Plain words cost 0.1 us so; finding out by an exception costs 2 us.
        beginning = _BEGINNINGS.get(text[:1])
        if beginning is None or not text.startswith(beginning):
            return text
    elif not text or text[0].isnumeric():
        return text
    if too_deep(text):
        return text
    try:
        return loads(text)
    except (ValueError, RecursionError):
        return text


def shorten(value: str | bytes) -> str:
    """Return a repr of what a server sent, short enough for an error message.

    :param value: text or bytes of any length.
    """
    return f'{value[:40]!r}...' if len(value) > 40 else repr(value)
