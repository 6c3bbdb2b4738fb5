"""A TCP socket on which a greenlet waits, to connect and to shake hands.

gevent's own socket does the same with a Python frame around each call, and two
watchers for life. Opening a websocket over this one takes 60 us less. Then
:class:`.Stream` takes it over as it is.
"""

from __future__ import annotations

import _socket
import errno
import os
from types import TracebackType
from typing import Any

from gevent import socket
from gevent.hub import get_hub

from .deadlines import timer_seconds

_READ = 1
_WRITE = 2
# Where the system call that makes a socket can make it non-blocking, that saves another one.
_NON_BLOCKING: int = getattr(_socket, 'SOCK_NONBLOCK', 0)
_UNDER_WAY = frozenset((errno.EINPROGRESS, errno.EALREADY, errno.EWOULDBLOCK))


class PlainSocket(_socket.socket):
    """A socket without TLS, for one greenlet at a time. It never blocks the thread.

    What is not defined here does what it does in the standard library, at once
    or not at all: the descriptor is non-blocking.

    :param family: as for ``socket.socket``, like the others.
    """

    __slots__ = ('_seconds', '_watcher')

    def __init__(self, family: int, kind: int, proto: int, fileno: int | None = None) -> None:
        super().__init__(family, kind | _NON_BLOCKING, proto, fileno)
        if not _NON_BLOCKING or fileno is not None:
            self.setblocking(False)
        self._seconds: float | None = None
        self._watcher: Any = None

    def gettimeout(self) -> float | None:
        """Seconds that each wait may last."""
        return self._seconds

    def settimeout(self, seconds: float | None) -> None:
        """Bound each wait from here on.

        :param seconds: the limit; None: no limit.
        """
        self._seconds = seconds

    def connect(self, address: Any) -> None:
        """Connect; waits."""
        if not self.begin_to_connect(address):
            self._wait(_WRITE)
            self.raise_error()

    def begin_to_connect(self, address: Any) -> bool:
        """Start to connect; does not wait.

        :returns: whether it is connected. If not, it is, or has failed, when it is writable.
        """
        error = self.connect_ex(address)
        if error in _UNDER_WAY:
            # Within one machine the connection is made already. To check takes 1 us, to wait for
            # the event takes 15. SO_ERROR first: outside of Linux, the second call of connect_ex()
            # may not return the error of the first one.
            error = self.getsockopt(_socket.SOL_SOCKET, _socket.SO_ERROR)
            error = error or self.connect_ex(address)
        if error in _UNDER_WAY:
            return False
        if error and error != errno.EISCONN:
            raise OSError(error, os.strerror(error))
        return True

    def raise_error(self) -> None:
        """Raise the error of an attempt to connect, if it has failed."""
        error = self.getsockopt(_socket.SOL_SOCKET, _socket.SO_ERROR)
        if error:
            raise OSError(error, os.strerror(error))

    def recv(self, size: int, flags: int = 0) -> bytes:
        """Up to ``size`` bytes, empty at end of file; waits."""
        while True:
            try:
                return super().recv(size, flags)
            except BlockingIOError:
                self._wait(_READ)

    def sendall(self, data: Any, flags: int = 0) -> None:
        """Send all of ``data``; waits."""
        while True:
            try:
                sent = super().send(data, flags)
            except BlockingIOError:
                self._wait(_WRITE)
                continue
            if sent == len(data):
                return
            data = memoryview(data)[sent:]

    def _wait(self, events: int) -> None:
        """Wait until the socket is ready, or is closed by another greenlet.

        :raises TimeoutError: it took too long.
        """
        self._watcher = get_hub().loop.io(self.fileno(), events)
        try:
            if self._seconds is None:
                socket.wait(self._watcher)
            else:
                expired = TimeoutError(errno.ETIMEDOUT, 'timed out')
                socket.wait(self._watcher, timer_seconds(self._seconds), expired)
        finally:
            self._watcher.close()
            self._watcher = None

    def close(self) -> None:
        """Close at once; whoever waits gets an ``OSError``."""
        self._stop_waiting()
        super().close()

    def detach(self) -> int:
        """Give up the descriptor, which stays open; whoever waits gets an ``OSError``."""
        self._stop_waiting()
        return super().detach()

    def _stop_waiting(self) -> None:
        watcher = self._watcher
        if watcher is None or watcher.callback is None:
            return
        waiter = watcher.callback.__self__
        loop = waiter.hub.loop
        if loop is None:  # the hub has been destroyed, and its watchers with it
            return
        # Now, not by gevent's cancel_wait(), which leaves it to a later callback: the process is
        # aborted by a loop that gets to look at a closed descriptor which it still watches.
        watcher.stop()
        closed = OSError(errno.EBADF, 'closed by another greenlet')
        loop.run_callback(waiter.throw, closed)

    def __enter__(self) -> PlainSocket:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()
