"""Server-sent events: one stream for each browser, none of which can hold up or fill the worker.

Events wait once for all streams; a stream is a place in that row. One that falls too far behind
goes on with what is there, and one that takes nothing at all is cut off.

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
    """A socket, of whatever kind."""

    def fileno(self) -> int:
        """Its descriptor."""


class TooMany(Exception):
    """As many browsers listen as may."""


class Broker:
    """Takes events, keeps some for who comes later, and lets the streams have them.

    :param log: where it is told what happens.
    :param streams: how many there may be at a time.
    """

    #: Messages kept for browsers that come back.
    BACKLOG = 200
    #: Events by which a stream may be behind before it misses some.
    LAG = 1000
    #: Seconds that a browser may take for what was written last.
    STALL = 20.0

    def __init__(self, log: logging.Logger, streams: int) -> None:
        self._log = log
        self._limit = streams
        self._streams: set[Stream] = set()
        self._backlog: deque[tuple[str, bytes]] = deque(maxlen=self.BACKLOG)
        self._retained: dict[str, deque[bytes]] = {}
        self._row: deque[bytes] = deque(maxlen=self.LAG)
        self._news = Event()
        #: How many events there have been.
        self.count = 0
        #: Whether the streams are to end.
        self.closed = False

    @property
    def last_id(self) -> str | None:
        """The id of the last message, or None."""
        return self._backlog[-1][0] if self._backlog else None

    @property
    def streams(self) -> int:
        """How many browsers listen."""
        return len(self._streams)

    def publish(
        self, kind: str, data: dict[str, Any], event_id: str | None = None, retain: int = 0
    ) -> None:
        """Hand an event to all streams; never waits.

        :param kind: the name of the event.
        :param data: sent as JSON.
        :param event_id: by which a browser says where it was; the event is in the backlog then.
        :param retain: how many of this kind a new stream begins with.
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
        """A new stream.

        :param last_id: of the last message that the browser has; None: it has none.
        :param sock: the browser's socket, to cut it off by.
        :raises TooMany: there are too many.
        """
        if len(self._streams) >= self._limit:
            raise TooMany
        beginning = [
            # Not all at once, when they come back after a reload.
            f'retry: {random.randint(300, 1200)}\n\n'.encode(),
            *self.beginning(),
            *self._missed(last_id),
        ]
        # Where the broker is closed it ends after that: the browser comes again, and finds the
        # next worker.
        stream = Stream(self, beginning, sock)
        self._streams.add(stream)
        return stream

    def beginning(self) -> list[bytes]:
        """How things are, for a stream that does not know: it is new, or has missed events."""
        hello = encode('hello', {'worker': os.getpid(), 'now': time.time()})
        return [hello, *(chunk for chunks in self._retained.values() for chunk in chunks)]

    def since(self, place: int) -> tuple[int, list[bytes]]:
        """The events from a place on that are still there: the place of the first, and these."""
        first = max(place, self.count - len(self._row))
        return first, list(islice(self._row, first - self.count + len(self._row), None))

    def wait(self, timeout: float) -> bool:
        """Wait for the next event, or the end; whether it came."""
        return self.closed or self._news.wait(timeout)

    def forget(self, stream: Stream) -> None:
        """This one has ended."""
        self._streams.discard(stream)

    def close(self) -> None:
        """Let all streams end, and each that is still to come."""
        self.closed = True
        self._wake()

    def cut_stalled(self, seconds: float = STALL) -> None:
        """Cut off browsers that do not take what was written so long ago."""
        before = time.monotonic() - seconds
        for stream in list(self._streams):
            if stream.written_at is not None and stream.written_at < before:
                self._log.info('A browser that takes nothing is cut off')
                stream.cut()

    def _wake(self) -> None:
        news, self._news = self._news, Event()
        news.set()

    def _missed(self, last_id: str | None) -> list[bytes]:
        """What the backlog has after a message; all of it where that one is not known."""
        ids = [event_id for event_id, _ in self._backlog]
        start = ids.index(last_id) + 1 if last_id in ids else 0
        return [chunk for _, chunk in islice(self._backlog, start, None)]


class Stream:
    """The body of one response: an iterable for WSGI, which closes it.

    :param broker: whose it is.
    :param beginning: what is sent first.
    :param sock: the browser's socket.
    """

    #: Seconds of silence after which a comment shows that the stream lives.
    HEARTBEAT = 15.0
    #: Bytes written at a time.
    WRITE = 64 << 10
    #: Bytes that the operating system queues besides: by itself it would take megabytes.
    SEND_BUFFER = 64 << 10

    def __init__(self, broker: Broker, beginning: list[bytes], sock: HasDescriptor | None) -> None:
        self._broker = broker
        self._waiting = deque(beginning)
        self._place = broker.count
        self._sock = sock
        #: When the write began that is under way, or None.
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
        """End it though the browser takes nothing, and a write to it waits."""
        if self._sock is not None:
            # gunicorn takes the EPIPE of that write for what it is: a browser that is gone.
            with contextlib.suppress(OSError), _same(self._sock) as same:
                same.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """The response has ended, in whatever way."""
        self._broker.forget(self)


def _same(sock: HasDescriptor) -> socket.socket:
    """The socket below: one that speaks TLS is not to be disturbed while another uses it."""
    return socket.socket(fileno=os.dup(sock.fileno()))


def encode(kind: str, data: dict[str, Any], event_id: str | None = None) -> bytes:
    """An event as it goes over the wire."""
    # JSON has no line breaks of its own, and no other bytes than ASCII: nothing in a message
    # can look like the end of the event. Nor may an id, which the upstream has chosen.
    if event_id is not None and not event_id.isprintable():
        raise ValueError(f'an id that cannot be sent: {event_id!r}')
    head = '' if event_id is None else f'id: {event_id}\n'
    return f'{head}event: {kind}\ndata: {json.dumps(data)}\n\n'.encode()
