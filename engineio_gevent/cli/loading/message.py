"""What the clients send."""

from __future__ import annotations

#: Where the number of the message goes.
PLACE = '{n}'


class Message:
    """A template for messages, each with its number.

    :param template: the text; ``{n}`` in it stands for the number of the message.
    :param size: bytes that each is filled up to, with dots; 0: as it is.
    :param binary: whether it goes as a binary message.
    """

    def __init__(self, template: str, size: int = 0, binary: bool = False) -> None:
        self._template = template
        self._size = size
        self._binary = binary
        self._number = 0

    def next(self) -> str | bytes:
        """The next message."""
        self._number += 1
        text = self._template.replace(PLACE, str(self._number))
        if self._size:
            text += '.' * (self._size - len(text.encode()))
        return text.encode() if self._binary else text
