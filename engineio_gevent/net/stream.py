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

from gevent.hub import get_hub

from .closing import close_gently, reset
from .deadlines import timer_seconds
from .errors import as_os_error
from .outbox import GATHER_SIZE, Entry, Outbox, Pieces
from .plain import PlainSocket
from .room import Room
from .tls_socket import announces_each_record, sender
from .watchers import close_watchers

_READ = 1
_WRITE = 2

#: Bytes asked of the socket at a time, while there are many and while there are few.
READ_SIZE = 65536
SMALL_READ_SIZE = 4096
#: Reads in one callback before the other sockets of the loop get their turn.
_READS_PER_TURN = 8
# If the second read of a wake-up of a TLS socket brings nothing, the next 15 wake-ups have none.
_SKIPPED_REREADS = 15

# More wake-ups than this, within this many seconds, are a flood. A wake-up costs as much as ten
# messages of 100 bytes. So the reader pauses, and then reads what has gathered.
FLOOD_READS = 16
_FLOOD_SECONDS = 0.0016
# Wake-ups from one pause of a flood to the next.
_READS_BETWEEN_PAUSES = 8
# Seconds after a write in which there is no pause: the peer may answer.
QUIET_SECONDS = 0.01
# Seconds that a timer may be late: libev's epoll waits for whole milliseconds.
_TIMER_DELAY = 0.0005

_recv: Any = _socket.socket.recv
_NOT_NOW = (BlockingIOError, InterruptedError, ssl.SSLWantReadError)
# What ends a stream. PyPy's ssl (7.3.19 with OpenSSL 3.5) has a RuntimeError for some of the
# system's errors, and every ssl a ValueError for a TLS that has ended.
_FAILURES = (OSError, RuntimeError, ValueError)


class Stream:
    """A connected socket, plain or TLS, driven by the hub of the greenlet that makes it.

    :param sock: a connected socket: gevent's or the standard library's, plain
                 or TLS with its handshake done. The stream owns it from here.
    :param on_data: called in the hub with each piece of bytes received. If it returns True,
                    other connections and timers get a turn before the next piece.
    :param on_lost: called in the hub, once, when the connection ends: with
                    None at end of file, else with the exception. After
                    :meth:`close` it is called only for a failed write that
                    came before.
    :param max_delay: how many seconds bytes may wait to be read together with
                      others, while many come and none are written; 0: none.
    """

    # Mutable, and touched only in the hub's own thread: _outbox, _turn, _flushing, _writer, _room,
    # _pause, closed.
    __slots__ = (
        '_answered',
        '_flushing',
        '_loop',
        '_max_delay',
        '_on_data',
        '_on_lost',
        '_outbox',
        '_pause',
        '_read_size',
        '_reader',
        '_reads',
        '_reads_since',
        '_recv',
        '_room',
        '_send',
        '_send_wants_read',
        '_skips',
        '_sock',
        '_tls',
        '_turn',
        '_writer',
        'closed',
    )

    def __init__(
        self,
        sock: Any,
        on_data: Callable[[bytes], object],
        on_lost: Callable[[Exception | None], None],
        max_delay: float = 0,
    ) -> None:
        self._loop = get_hub().loop
        self._on_data = on_data
        self._on_lost = on_lost
        self._max_delay = max_delay
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
        # Wake-ups until a TLS socket is read again; None: it is read again each time.
        self._skips = 0 if self._tls and announces_each_record(sock) else None
        # Wake-ups since a moment of the loop's clock, and the timer that ends a pause.
        self._reads = 0
        self._reads_since = 0.0
        self._pause: Any = None
        self._answered = False
        self._flushing = False
        self._send_wants_read = False
        self._room: Room | None = None
        #: True from the moment the connection is lost or closed.
        self.closed = False

    def start(self) -> None:
        """Begin to read."""
        self._reader = self._loop.io(self._sock.fileno(), _READ)
        self._reader.start(self._read)
        if self._tls:
            # TLS may have decrypted bytes already that no descriptor will announce.
            self._loop.run_callback(self._read)

    def fileno(self) -> int:
        """The descriptor."""
        number: int = self._sock.fileno()
        return number

    def setsockopt(self, level: int, option: int, value: int) -> None:
        """Set an option of the socket."""
        self._sock.setsockopt(level, option, value)

    # Reading

    def _read(self) -> None:
        if self._send_wants_read and not self.closed:
            self._send_wants_read = False
            self._flush()
        for reads in range(_READS_PER_TURN):
            if self.closed:
                return
            size = self._read_size
            try:
                data = self._recv(size)
            except _NOT_NOW:
                if reads == 1 and self._skips is not None:
                    self._skips = _SKIPPED_REREADS
                break
            except ssl.SSLWantWriteError:
                self._watch_writable()
                return
            except _FAILURES as exc:
                self._lose(as_os_error(exc))
                return
            if not data:
                self._lose(None)
                return
            # A small buffer saves 0.4 us of allocating, where messages are small.
            self._read_size = SMALL_READ_SIZE if len(data) < SMALL_READ_SIZE else READ_SIZE
            try:
                enough = self._on_data(data)
            except Exception as exc:
                # No traceback out of the hub: a fault above ends this connection alone.
                self._lose(exc)
                return
            if enough is True:
                if self._tls:
                    self._loop.run_callback(self._read)
                return
            if len(data) < size:
                if not self._tls:
                    break
                # The loop announces what a TLS socket has not decrypted. To read it again takes
                # 2.8 us if there is nothing, but less than a turn of the loop if there is.
                if self._skips:
                    self._skips -= 1
                    break
        else:
            if self._tls:
                # A record that has been read from the socket is not announced again.
                self._loop.run_callback(self._read)
            return
        if self._max_delay and size < READ_SIZE:  # reads are small
            now = self._loop.now()
            if now - self._reads_since > _FLOOD_SECONDS:
                self._reads_since = now
                self._reads = 1
            else:
                self._reads += 1
                if self._reads > FLOOD_READS:
                    self._pause_reading(now)

    def _pause_reading(self, now: float) -> None:
        """Let bytes gather, unless the peer may wait for something that was written."""
        if self.closed or self._pause or self._outbox.size or now - self._turn < QUIET_SECONDS:
            return
        self._reader.stop()
        loop = self._loop
        self._pause = loop.timer(timer_seconds(self._max_delay - _TIMER_DELAY, loop))
        self._pause.start(self._resume_reading)

    def _resume_reading(self) -> None:
        self._pause.close()
        self._pause = None
        self._reads = FLOOD_READS - _READS_BETWEEN_PAUSES
        self._reads_since = self._loop.now()
        self._read_size = READ_SIZE
        if self._skips:
            self._skips = 0  # there will be more than one record
        self._reader.start(self._read)

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
                if self._pause is not None:
                    self._resume_reading()  # for the answer
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
        if self._pause is not None:
            self._resume_reading()
        self._turn = self._loop.now()
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
            self.fail(as_os_error(exc))
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
        if self._room is not None:
            self._room.offer(outbox.size)

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
            if self._room is None:
                self._room = Room()
            if not self._room.wait_below(limit, deadline):
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

    def close_gently(self, answered: bool = False) -> None:
        """:meth:`close`, but let the peer close TCP first.

        :param answered: see :func:`.close_gently`.
        """
        if not self.closed:
            self._end()
            close_gently(self._sock, answered)

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
            self._room.end()

    def abandon(self, wake: bool = True) -> None:
        """Give up the descriptor of this process only: nothing is sent, nothing shut down.

        :param wake: whether to wake the greenlets that wait for room.
        """
        if not self.closed:
            self.closed = True
            self._stop_watching()
            _socket.close(self._sock.detach())
            if wake and self._room is not None:
                self._room.end()

    def _stop_watching(self) -> None:
        close_watchers(self._loop, self._reader, self._writer, self._pause)
        self._reader = self._writer = self._pause = None
