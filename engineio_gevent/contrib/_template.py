"""The messages of a load test: a template, with a number in it; for the command and for Locust."""

from __future__ import annotations

from pathlib import Path

#: Where the number of the message goes.
PLACE = '{n}'


class Template:
    """Makes messages, each with its number.

    :param text: what they are; ``{n}`` in it stands for the number of the message, and ``@FILE``
                 for what the file contains.
    :param size: bytes that each is filled up to, with dots; 0: as it is.
    :param binary: whether they go as binary messages.
    :raises OSError: the file cannot be read.
    :raises UnicodeDecodeError: it is no UTF-8, and the messages are text.
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
        """Whether this occurs in messages that are text."""
        return any(isinstance(part, str) and text in part for part in self._parts)

    def next(self) -> str | bytes:
        """The next message."""
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
