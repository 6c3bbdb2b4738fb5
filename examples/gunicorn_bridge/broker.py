"""Server-sent events: one stream for each browser, with bounded memory.

All streams share one queue of events, and each has a position in it. A stream that is too far
behind skips events. A stream whose browser reads nothing is closed.

https://html.spec.whatwg.org/multipage/server-sent-events.html
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import random
import socket
import time
from collections import deque
from itertools import islice
from typing import Any, Protocol

from gevent.event import Event


class HasDescriptor(Protocol):
    """A socket of any kind."""

    def fileno(self) -> int:
        """Its file descriptor."""


class TooMany(Exception):
    """The maximum number of streams is open."""


class Broker:
    """Distributes events to the streams, and keeps some of them for new streams.

    :param log: the logger.
    :param streams: maximum number of streams.
    """

    #: Messages kept for browsers that reconnect.
    BACKLOG = 200
    #: Events that a stream may be behind before it skips some.
    LAG = 1000
    #: Seconds that a browser may take to read the last write.
    STALL = 20.0

    def __init__(self, log: logging.Logger, streams: int) -> None:
        self._log = log
        self._limit = streams
        self._streams: set[Stream] = set()
        self._backlog: deque[tuple[str, bytes]] = deque(maxlen=self.BACKLOG)
        self._retained: dict[str, deque[bytes]] = {}
        self._row: deque[bytes] = deque(maxlen=self.LAG)
        self._news = Event()
        #: Number of published events.
        self.count = 0
        #: Whether the streams must end.
        self.closed = False

    @property
    def last_id(self) -> str | None:
        """The id of the last message, or None."""
        return self._backlog[-1][0] if self._backlog else None

    @property
    def streams(self) -> int:
        """Number of open streams."""
        return len(self._streams)

    def publish(
        self, kind: str, data: dict[str, Any], event_id: str | None = None, retain: int = 0
    ) -> None:
        """Add an event to all streams, without waiting.

        :param kind: the name of the event.
        :param data: the data, sent as JSON.
        :param event_id: the id. Events with an id are kept for browsers that reconnect.
        :param retain: number of the latest events of this kind that a new stream receives.
        """
        chunk = encode(kind, data, event_id)
        if event_id is not None:
            self._backlog.append((event_id, chunk))
        if retain:
            self._retained.setdefault(kind, deque(maxlen=retain)).append(chunk)
        self._row.append(chunk)
        self.count += 1
        self._wake()

    def subscribe(self, last_id: str | None, sock: HasDescriptor | None) -> Stream:
        """Create a stream.

        :param last_id: id of the last message that the browser received, or None.
        :param sock: the socket of the browser, used to close a stalled stream.
        :raises TooMany: the maximum number of streams is open.
        """
        if len(self._streams) >= self._limit:
            raise TooMany
        beginning = [
            # Random, so that browsers do not reconnect all at once after a reload.
            f'retry: {random.randint(300, 1200)}\n\n'.encode(),
            *self.beginning(),
            *self._missed(last_id),
        ]
        # If the broker is closed, the stream ends after these events. The browser then reconnects
        # to another worker.
        stream = Stream(self, beginning, sock)
        self._streams.add(stream)
        return stream

    def beginning(self) -> list[bytes]:
        """The current state, for a stream that is new or has skipped events."""
        hello = encode('hello', {'worker': os.getpid(), 'now': time.time()})
        return [hello, *(chunk for chunks in self._retained.values() for chunk in chunks)]

    def since(self, place: int) -> tuple[int, list[bytes]]:
        """Return the kept events from a position on, and the position of the first."""
        first = max(place, self.count - len(self._row))
        return first, list(islice(self._row, first - self.count + len(self._row), None))

    def wait(self, timeout: float) -> bool:
        """Wait for the next event or the end; returns False after the timeout."""
        return self.closed or self._news.wait(timeout)

    def forget(self, stream: Stream) -> None:
        """Remove a stream that has ended."""
        self._streams.discard(stream)

    def close(self) -> None:
        """End all streams, including future ones."""
        self.closed = True
        self._wake()

    def cut_stalled(self, seconds: float = STALL) -> None:
        """Close streams whose browser has not read the last write for this long."""
        before = time.monotonic() - seconds
        for stream in list(self._streams):
            if stream.written_at is not None and stream.written_at < before:
                self._log.info('Closing a stream: its browser reads nothing')
                stream.cut()

    def _wake(self) -> None:
        news, self._news = self._news, Event()
        news.set()

    def _missed(self, last_id: str | None) -> list[bytes]:
        """Return the kept messages after this one, or all of them if it is unknown."""
        ids = [event_id for event_id, _ in self._backlog]
        start = ids.index(last_id) + 1 if last_id in ids else 0
        return [chunk for _, chunk in islice(self._backlog, start, None)]


class Stream:
    """The body of one response: an iterable for WSGI, which closes it.

    :param broker: the broker.
    :param beginning: the events to send first.
    :param sock: the socket of the browser.
    """

    #: Seconds without an event after which a comment is sent.
    HEARTBEAT = 15.0
    #: Maximum bytes of one write.
    WRITE = 64 << 10
    #: Size of the send buffer in bytes. The default of the operating system is megabytes.
    SEND_BUFFER = 64 << 10

    def __init__(self, broker: Broker, beginning: list[bytes], sock: HasDescriptor | None) -> None:
        self._broker = broker
        self._waiting = deque(beginning)
        self._place = broker.count
        self._sock = sock
        #: Start time of the current write, or None.
        self.written_at: float | None = None
        if sock is not None:
            with _same(sock) as same:
                same.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, self.SEND_BUFFER)

    def __iter__(self) -> Stream:
        return self

    def __next__(self) -> bytes:
        self.written_at = None
        chunk = self._next()
        self.written_at = time.monotonic()
        return chunk

    def _next(self) -> bytes:
        if not self._waiting and self._place == self._broker.count:
            if self._broker.closed:
                raise StopIteration
            if not self._broker.wait(self.HEARTBEAT):
                return b': heartbeat\n\n'
        if not self._waiting:
            first, events = self._broker.since(self._place)
            if first > self._place:
                self._waiting.extend(self._broker.beginning())
            self._place = first + len(events)
            self._waiting.extend(events)
        chunks = []
        size = 0
        while self._waiting and size < self.WRITE:
            chunks.append(self._waiting.popleft())
            size += len(chunks[-1])
        return b''.join(chunks) or b': end\n\n'

    def cut(self) -> None:
        """Close the stream while a write to it is blocked."""
        if self._sock is not None:
            # The write fails with EPIPE, which gunicorn treats as a closed browser.
            with contextlib.suppress(OSError), _same(self._sock) as same:
                same.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """The response has ended, for any reason."""
        self._broker.forget(self)


def _same(sock: HasDescriptor) -> socket.socket:
    """A duplicate of the plain socket, so that a TLS socket in use is not touched."""
    return socket.socket(fileno=os.dup(sock.fileno()))


def encode(kind: str, data: dict[str, Any], event_id: str | None = None) -> bytes:
    """Encode an event."""
    # The JSON text is ASCII without line breaks, so a message cannot end the event early. The id
    # comes from the upstream and must be checked.
    if event_id is not None and not event_id.isprintable():
        raise ValueError(f'event id {event_id!r} contains unprintable characters')
    head = '' if event_id is None else f'id: {event_id}\n'
    return f'{head}event: {kind}\ndata: {json.dumps(data)}\n\n'.encode()
