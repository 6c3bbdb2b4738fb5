"""What is queued for a socket, in order, and cut into chunks for its system calls.

No socket, no event loop, no clock.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import Protocol

#: Small entries are joined up to about this many bytes for one system call.
GATHER_SIZE = 65536


class Pieces(Protocol):
    """An entry that is made piece by piece while it is sent."""

    def __len__(self) -> int:
        """The bytes that have not been taken."""

    def take(self) -> bytes:
        """Make the next piece; it is not empty."""


#: What is queued; it is not empty.
Entry = bytes | Pieces


class Outbox:
    """The queue of one socket.

    Whoever sends asks for the :meth:`next_chunk`, and tells how much of it was
    :meth:`sent`. A chunk that has been asked for has begun: it is sent before all
    else, even if the socket has taken none of it yet. TLS requires that.
    """

    __slots__ = ('_large', '_partial', '_partial_of', '_priority', '_queue', 'size')

    def __init__(self) -> None:
        # These stand in the order of sending.
        # What is left of the chunk that has begun, and the entries that it was joined from.
        self._partial: bytes | memoryview | None = None
        self._partial_of: Iterable[bytes] = ()
        # The entry whose pieces are being sent, and which _partial_of does not name.
        self._large: Pieces | None = None
        # By kind. Most connections never need it.
        self._priority: dict[int, bytes] | None = None
        # Made when it is needed: an empty one takes 760 bytes.
        self._queue: deque[Entry] | None = None
        #: Bytes that have not been sent.
        self.size = 0

    def put(self, entry: Entry) -> int:
        """Queue an entry; returns the new size."""
        if self._queue is None:
            self._queue = deque()
        self._queue.append(entry)
        self.size = size = self.size + len(entry)
        return size

    def put_first(self, kind: int, entry: bytes) -> int:
        """Queue an entry ahead of all that has not begun; returns the new size.

        :param kind: an entry of the same kind that has not begun is replaced, so that their
                     number is limited.
        """
        if self._priority is None:
            self._priority = {}
        replaced = self._priority.pop(kind, b'')
        self._priority[kind] = entry
        self.size += len(entry) - len(replaced)
        return self.size

    def next_chunk(self) -> bytes | memoryview:
        """The bytes to send next; the outbox must not be empty."""
        chunk = self._partial
        if chunk is None:
            chunk = self._partial = self._begin_chunk()
        return chunk

    def sent(self, count: int) -> None:
        """The first bytes of the next chunk have been sent.

        :param count: how many; may be 0.
        """
        chunk = self._partial
        assert chunk is not None
        self.size -= count
        if count < len(chunk):
            self._partial = memoryview(chunk)[count:]
            return
        self._partial, self._partial_of = None, ()
        if self._large is not None and not len(self._large):
            self._large = None

    def unsent(self) -> list[Entry]:
        """The entries of which at least one byte has not been sent, in the order of sending.

        Another native thread may ask.
        """
        begun: list[Entry] = [] if self._large is None else [self._large]
        left = len(self._partial or b'')
        for entry in reversed(tuple(self._partial_of)):
            if left > 0:
                begun.append(entry)
                left -= len(entry)
        return [*reversed(begun), *(self._priority or {}).values(), *tuple(self._queue or ())]

    def _begin_chunk(self) -> bytes:
        if self._large is not None:
            return self._large.take()
        if self._priority:
            parts = list(self._priority.values())
            self._priority = None
            return self._join(parts)
        queue = self._queue
        assert queue is not None
        first = queue.popleft()
        if not isinstance(first, bytes):
            self._large = first
            return first.take()
        parts = [first]
        size = len(first)
        while size < GATHER_SIZE and queue:
            entry = queue[0]
            if not isinstance(entry, bytes):
                break
            parts.append(entry)
            size += len(entry)
            queue.popleft()
        return self._join(parts)

    def _join(self, parts: list[bytes]) -> bytes:
        self._partial_of = parts
        return b''.join(parts)  # one part is not copied
