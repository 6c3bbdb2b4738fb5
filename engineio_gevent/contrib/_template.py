"""Numbered messages of a load test, for the command ``load`` and its locustfile."""

from __future__ import annotations

from pathlib import Path

#: Placeholder for the number of the message.
PLACE = '{n}'


class Template:
    """Creates numbered messages.

    :param text: the text of the messages. ``{n}`` is replaced by the number of the message. If it
                 begins with ``@``, the rest is the path of a file with the text.
    :param size: minimum size in bytes; shorter messages are padded with dots.
    :param binary: whether to create binary messages.
    :raises OSError: the file cannot be read.
    :raises UnicodeDecodeError: the messages are text and the file is not UTF-8.
    """

    def __init__(self, text: str, size: int = 0, binary: bool = False) -> None:
        if text.startswith('@'):
            content = Path(text[1:]).read_bytes()
        else:
            # A shell's argument may be any bytes.
            content = text.encode(errors='surrogateescape')
        self._parts: list[str] | list[bytes]
        self._size = size
        if binary:
            self._parts = content.split(PLACE.encode())
        else:
            self._parts = content.decode().split(PLACE)
        self._number = 0

    def has(self, text: str) -> bool:
        """Whether text messages contain this text."""
        return any(isinstance(part, str) and text in part for part in self._parts)

    def next(self) -> str | bytes:
        """Create the next message."""
        self._number += 1
        number = str(self._number)
        message: str | bytes
        if isinstance(self._parts[0], bytes):
            message = number.encode().join(self._parts)
            return message.ljust(self._size, b'.')
        message = number.join(self._parts)
        if self._size:
            message += '.' * (self._size - len(message.encode()))
        return message
