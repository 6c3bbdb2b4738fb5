"""A connected socket that the hub drives: read when readable, written when writable.

Nothing here blocks but the two methods that say so, and no application code
runs here.
"""

from __future__ import annotations

import _socket
import ssl
from collections.abc import Callable
from time import monotonic
from typing import Any

from gevent.event import Event
from gevent.hub import get_hub

from .closing import close_gently, reset
from .deadlines import timer_seconds
from .errors import error_text
from .outbox import GATHER_SIZE, Entry, Outbox, Pieces
from .plain import PlainSocket
from .tls_socket import sender
from .watchers import close_watchers

_READ = 1
_WRITE = 2

#: Bytes asked of the socket at a time, while there are many and while there are few.
READ_SIZE = 65536
SMALL_READ_SIZE = 4096
#: Reads in one callback before the other sockets of the loop get their turn.
_READS_PER_TURN = 8

_recv: Any = _socket.socket.recv
_NOT_NOW = (BlockingIOError, InterruptedError, ssl.SSLWantReadError)
# What ends a stream. PyPy's ssl (7.3.19 with OpenSSL 3.5) has a RuntimeError for some of the
# system's errors, and every ssl a ValueError for a TLS that has ended.
_FAILURES = (OSError, RuntimeError, ValueError)


class Stream:
    """A connected socket, plain or TLS, driven by the hub of the greenlet that makes it.

    :param sock: a connected socket: gevent's or the standard library's, plain
                 or TLS with its handshake done. The stream owns it from here.
    :param on_data: called in the hub with each piece of bytes received.
    :param on_lost: called in the hub, once, when the connection ends: with
                    None at end of file, else with the exception. After
                    :meth:`close` it is called only for a failed write that
                    came before.
    """

    # Mutable, and touched only in the hub's own thread: _outbox, _turn, _flushing, _writer, _room,
    # closed.
    __slots__ = (
        '_answered',
        '_flushing',
        '_loop',
        '_on_data',
        '_on_lost',
        '_outbox',
        '_read_size',
        '_reader',
        '_recv',
        '_room',
        '_room_limit',
        '_send',
        '_send_wants_read',
        '_sock',
        '_tls',
        '_turn',
        '_writer',
        'closed',
    )

    def __init__(
        self,
        sock: Any,
        on_data: Callable[[bytes], None],
        on_lost: Callable[[Exception | None], None],
    ) -> None:
        self._loop = get_hub().loop
        self._on_data = on_data
        self._on_lost = on_lost
        self._tls = hasattr(sock, 'do_handshake')
        if self._tls:
            sock.settimeout(0)
        elif not isinstance(sock, PlainSocket):
            # gevent's socket holds two watchers of its own and a Python frame per
            # call; the bare descriptor is what costs least to keep and to use.
            sock = PlainSocket(sock.family, sock.type, sock.proto, sock.detach())
        self._sock = sock
        # A plain socket would wait.
        self._recv: Callable[[int], bytes] = sock.recv if self._tls else _recv.__get__(sock)
        self._send: Callable[[Any], int] = sender(self._sock)
        self._reader: Any = None
        self._writer: Any = None
        self._outbox = Outbox()
        self._turn = -1.0
        self._read_size = SMALL_READ_SIZE
        self._answered = False
        self._flushing = False
        self._send_wants_read = False
        self._room: Event | None = None
        self._room_limit = 0
        #: True from the moment the connection is lost or closed.
        self.closed = False

    def start(self) -> None:
        """Begin to read."""
        self._reader = self._loop.io(self._sock.fileno(), _READ)
        self._reader.start(self._read)
        if self._tls:
            # TLS may have decrypted bytes already that no descriptor will announce.
            self._loop.run_callback(self._read)

    # Reading

    def _read(self) -> None:
        if self._send_wants_read and not self.closed:
            self._send_wants_read = False
            self._flush()
        for _ in range(_READS_PER_TURN):
            if self.closed:
                return
            size = self._read_size
            try:
                data = self._recv(size)
            except _NOT_NOW:
                return
            except ssl.SSLWantWriteError:
                self._watch_writable()
                return
            except _FAILURES as exc:
                self._lose(_as_os_error(exc))
                return
            if not data:
                self._lose(None)
                return
            # A small buffer saves 0.4 us of allocating, where messages are small.
            self._read_size = SMALL_READ_SIZE if len(data) < SMALL_READ_SIZE else READ_SIZE
            self._deliver(data)
            if len(data) < size and not self._tls:
                return
        if self._tls:
            # A record that has been read from the socket is not announced again.
            self._loop.run_callback(self._read)

    def _deliver(self, data: bytes) -> None:
        try:
            self._on_data(data)
        except Exception as exc:
            # No traceback out of the hub: a fault above ends this connection alone.
            self._lose(exc)

    def _lose(self, error: Exception | None) -> None:
        if not self.closed:
            if error is None and self._tls and self._answered:
                self.reset()  # the end of TLS comes before that of TCP
            else:
                self.close()
            self._on_lost(error)

    # Writing

    @property
    def queued(self) -> int:
        """Bytes written but not yet taken by the operating system; after the end: never taken."""
        return self._outbox.size

    def write(self, data: bytes) -> int:
        """Send ``data`` as soon as the socket takes it.

        :returns: the bytes queued now; -1: the stream is closed, and ``data`` dropped.

        The first write of a loop turn goes to the socket at once; what follows
        in the same turn is gathered into one system call (a flood of
        100-byte frames costs 0.4 us each so, against 5 us).
        """
        if self.closed:
            return -1
        outbox = self._outbox
        if not outbox.size:
            # The loop's clock stands still within a turn.
            now = self._loop.now()
            if now != self._turn:
                self._turn = now
                sent = self._try_send(data)
                if sent == len(data):
                    return 0
                outbox.put(data)
                outbox.next_chunk()
                outbox.sent(sent)
                if not self.closed:
                    self._watch_writable()
                return outbox.size
        queued = outbox.put(data)
        if queued < GATHER_SIZE and self._flushing:
            return queued
        if self._writer is None:
            if queued >= GATHER_SIZE:
                self._flush()
                return outbox.size
            self._flushing = True
            self._loop.run_callback(self._flush_turn)
        return queued

    def write_first(self, kind: int, data: bytes) -> int:
        """:meth:`write`, ahead of what waits for the socket and is not begun yet.

        :param kind: what an earlier one that still waits has to have, to be
                     replaced: a peer that asks and asks but does not read must
                     not fill the memory with answers.
        """
        if self._writer is None:  # as in a closed stream
            return self.write(data)
        return self._outbox.put_first(kind, data)

    def write_large(self, data: Pieces) -> int:
        """Send piece by piece, as the socket takes it; returns what :meth:`write` does."""
        if self.closed:
            return -1
        self._outbox.put(data)
        if self._writer is None:
            self._flush()
        return self._outbox.size

    def _try_send(self, data: Any) -> int:
        try:
            return self._send(data)
        except ssl.SSLWantReadError:
            self._send_wants_read = True
            return 0
        except (*_NOT_NOW, ssl.SSLWantWriteError):
            return 0
        except _FAILURES as exc:
            self.fail(_as_os_error(exc))
            return 0

    def _flush_turn(self) -> None:
        self._flushing = False
        if self._writer is None and not self.closed:
            self._flush()

    def flush(self) -> None:
        """Send at once what is gathered, as far as the socket takes it."""
        if self._outbox.size and not self.closed:
            self._flush()

    def unsent(self) -> list[Entry]:
        """What has been written and not been taken whole; after the end: what never was."""
        return self._outbox.unsent()

    def _flush(self) -> None:
        """Send until all is sent or the socket takes no more."""
        outbox = self._outbox
        while outbox.size:
            chunk = outbox.next_chunk()
            sent = self._try_send(chunk)
            outbox.sent(sent)
            if sent < len(chunk):
                if self.closed:
                    return
                self._watch_writable()
                break
        if self._writer is not None and (not outbox.size or self._send_wants_read):
            self._writer.close()
            self._writer = None
        if self._room is not None and outbox.size <= self._room_limit:
            self._room.set()

    def _watch_writable(self) -> None:
        if self._writer is None and not self._send_wants_read:
            self._writer = self._loop.io(self._sock.fileno(), _WRITE)
            self._writer.start(self._writable)

    def _writable(self) -> None:
        self._flush()
        if self._tls:
            # A read may have been what wanted to write.
            self._read()

    # Waiting, in greenlets

    def wait_below(self, limit: int, timeout: float | None = None) -> bool:
        """Wait until at most ``limit`` bytes are queued or the stream is closed.

        :param limit: in bytes.
        :param timeout: in seconds; None, the default, waits as long as it takes.
        :returns: whether at most ``limit`` bytes are queued.
        """
        deadline = None if timeout is None else monotonic() + timeout
        while self._outbox.size > limit and not self.closed:
            room = self._room
            if room is None:
                room = self._room = Event()
                self._room_limit = limit
            elif room.is_set():
                room.clear()
                self._room_limit = limit
            else:
                # Several greenlets wait for one event. It is set at the highest of their
                # limits, and each checks its own limit when it wakes.
                self._room_limit = max(self._room_limit, limit)
            left = None if deadline is None else deadline - monotonic()
            if not room.wait(timer_seconds(left)):
                break
        return self._outbox.size <= limit

    def drain(self, timeout: float | None = None) -> bool:
        """Wait until everything written has left.

        :param timeout: in seconds; None, the default, waits as long as it takes.
        :returns: whether it all left.
        """
        return self.wait_below(0, timeout)

    # Ending

    def fail(self, error: Exception) -> None:
        """Close the socket now, and have the hub report the error to ``on_lost``."""
        if not self.closed:
            # The caller may be anywhere in application code, so ``on_lost`` is not called here.
            self.close()
            self._loop.run_callback(self._on_lost, error)

    def close(self) -> None:
        """Close the socket now. :meth:`unsent` keeps what is queued; idempotent."""
        if not self.closed:
            self._end()
            self._sock.close()

    def close_gently(self) -> None:
        """:meth:`close`, but let the peer close TCP first."""
        if not self.closed:
            self._end()
            close_gently(self._sock, answered=False)

    def expect_end(self) -> None:
        """The peer has answered all that was sent, and closes the connection now."""
        self._answered = True

    def reset(self) -> None:
        """:meth:`close` after the peer has answered all: it should have closed TCP by now."""
        if not self.closed:
            self._end()
            reset(self._sock)

    def _end(self) -> None:
        self.closed = True
        self._stop_watching()
        if self._room is not None:
            self._room.set()

    def abandon(self, wake: bool = True) -> None:
        """Give up the descriptor of this process only: nothing is sent, nothing shut down.

        :param wake: whether to wake the greenlets that wait for room.
        """
        if not self.closed:
            self.closed = True
            self._stop_watching()
            _socket.close(self._sock.detach())
            if wake and self._room is not None:
                self._room.set()

    def _stop_watching(self) -> None:
        close_watchers(self._loop, self._reader, self._writer)
        self._reader = self._writer = None


def _as_os_error(error: Exception) -> OSError:
    """An exception of a socket, converted to OSError."""
    if isinstance(error, OSError):
        return error
    converted = OSError(error_text(error))
    converted.__cause__ = error
    return converted
