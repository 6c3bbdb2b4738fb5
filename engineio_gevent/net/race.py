"""Connect to the first of several addresses that answers (RFC 8305, "Happy Eyeballs")."""

from __future__ import annotations

import _socket
import contextlib
import errno
import itertools
import os
import sys
from collections.abc import Callable, Iterable, Sequence
from time import monotonic
from typing import Any

from gevent import socket
from gevent.event import Event
from gevent.hub import get_hub

from .deadlines import timer_seconds
from .plain import PlainSocket
from .resolve import Address
from .watchers import close_watchers

#: Seconds that an address has to itself before the next one is tried beside it. RFC 8305,
#: section 5, recommends it.
ATTEMPT_DELAY = 0.25

#: Set on every connection, before the caller's own: small frames must not wait.
DEFAULT_OPTIONS = (
    (socket.SOL_TCP, socket.TCP_NODELAY, 1),
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
)

#: Arguments of ``setsockopt()``, one tuple for each option.
SocketOptions = Iterable[tuple[Any, ...]]


def is_socket_option(value: Any) -> bool:
    """Whether a caller's value has the form of the arguments of ``setsockopt()``."""
    if not isinstance(value, tuple) or len(value) not in (3, 4):
        return False
    level, name, data, *length = value
    if length:  # the length of a buffer that is not given
        return data is None and all(isinstance(one, int) for one in (level, name, *length))
    valid = isinstance(data, (int, bytes, bytearray, memoryview))
    return valid and isinstance(level, int) and isinstance(name, int)


def set_options(sock: Any, options: SocketOptions) -> None:
    """Set the options of a socket.

    :raises OSError: the system refuses one; the text names it.
    """
    for option in options:
        try:
            sock.setsockopt(*option)
        except OSError as exc:
            raise OSError(exc.errno, f'sockopt {option}: {exc.strerror}') from None


# Linux can choose the port when it knows the destination: one source address then has as many
# ports for each destination as it otherwise has for all. Python 3.12 has a name for the option.
_BIND_ADDRESS_NO_PORT = getattr(
    socket, 'IP_BIND_ADDRESS_NO_PORT', 24 if sys.platform == 'linux' else None
)
_WRITE = 2


def source_address(source: str) -> Address:
    """The address to bind a socket to.

    :raises OSError: it is not an IP address.
    """
    found: Address = _socket.getaddrinfo(
        source, 0, 0, _socket.SOCK_STREAM, 0, _socket.AI_NUMERICHOST
    )[0]
    return found


def in_order(addresses: Sequence[Address], best: Any) -> list[Address]:
    """The addresses in the order in which to try them: families in turn (RFC 8305, section 4)."""
    family = addresses[0][0]
    same = [one for one in addresses if one[0] == family]
    other = [one for one in addresses if one[0] != family]
    pairs = itertools.zip_longest(same, other)
    ordered = [one for pair in pairs for one in pair if one is not None]
    ordered.sort(key=lambda one: one[4] != best)
    return ordered


def new_socket(address: Address, options: SocketOptions, source: Address | None) -> PlainSocket:
    """A socket for an address, not connected."""
    family, kind, proto = address[:3]
    sock = PlainSocket(family, kind, proto)
    try:
        set_options(sock, (*DEFAULT_OPTIONS, *options))
        if source is not None:
            if _BIND_ADDRESS_NO_PORT is not None:
                with contextlib.suppress(OSError):  # a system that looks like Linux
                    sock.setsockopt(socket.IPPROTO_IP, _BIND_ADDRESS_NO_PORT, 1)
            try:
                sock.bind(source[4])
            except OSError as exc:
                why = exc.strerror
                if exc.errno == errno.EADDRNOTAVAIL:
                    why = 'this machine does not have this address'
                raise OSError(exc.errno, f'source address {source[4][0]}: {why}') from None
    except BaseException:  # an option that the caller made up raises TypeError
        sock.close()
        raise
    return sock


def explained(error: OSError, source: Address | None) -> OSError:
    """The error of an attempt to connect. If ports are used up, it says what to do."""
    if error.errno != errno.EADDRNOTAVAIL:
        return error
    if source is None:  # also a machine without IPv6 that connects to an IPv6 address
        text = f'{error.strerror}. If this machine has no free port, use source_addresses'
    else:
        text = f'source address {source[4][0]}: no free port. Add source_addresses'
    return OSError(error.errno, text)


def connect_first(
    addresses: Sequence[Address],
    options: SocketOptions = (),
    timeout: float | None = None,
    source: Address | None = None,
    on_failure: Callable[[Address, OSError], None] | None = None,
) -> tuple[PlainSocket, Address]:
    """Connect to the first of several addresses that answers (RFC 8305, section 5).

    :param addresses: in the order in which to try them.
    :param timeout: in seconds, over all of them.
    :param source: the address to bind to, from :func:`source_address`.
    :param on_failure: is called with an address that failed, and its error.
    :returns: the socket, and the address.
    :raises OSError: no address answered; the last error. ``TimeoutError`` in time.
    """
    return _Race(addresses, options, source, on_failure).run(timeout)


class _Race:
    """Attempts to connect, side by side, of which the first that succeeds is kept."""

    def __init__(
        self,
        addresses: Sequence[Address],
        options: SocketOptions,
        source: Address | None,
        on_failure: Callable[[Address, OSError], None] | None,
    ) -> None:
        self._waiting = list(reversed(addresses))
        self._options = tuple(options)
        self._source = source
        self._on_failure = on_failure
        self._loop = get_hub().loop
        # By its socket, the address of each attempt that is under way, and its watcher.
        self._running: dict[PlainSocket, tuple[Address, Any]] = {}
        # Those that have succeeded or failed, as the hub saw them.
        self._ended: list[PlainSocket] = []
        self._changed = Event()
        self._error: OSError = OSError('the host name has no address')
        # When the next one may begin beside those that are under way.
        self._next_at = 0.0

    def run(self, timeout: float | None) -> tuple[PlainSocket, Address]:
        deadline = None if timeout is None else monotonic() + timeout
        try:
            while self._waiting or self._running:
                now = monotonic()
                if self._waiting and (not self._running or now >= self._next_at):
                    self._next_at = now + ATTEMPT_DELAY
                    address = self._waiting.pop()
                    try:
                        sock = self._attempt(address)
                    except OSError as exc:
                        self._fail(address, exc)
                    else:
                        if sock is not None:
                            return sock, address
                    continue
                times = [self._next_at] if self._waiting else []
                if deadline is not None:
                    times.append(deadline)
                left = min(times) - now if times else None
                self._changed.wait(timer_seconds(left))
                self._changed.clear()
                while self._ended:
                    sock = self._ended.pop(0)
                    address, watcher = self._running.pop(sock)
                    watcher.close()
                    try:
                        sock.raise_error()
                    except OSError as exc:
                        sock.close()
                        self._fail(address, exc)
                    else:
                        return sock, address
                if deadline is not None and monotonic() >= deadline:
                    raise TimeoutError(errno.ETIMEDOUT, os.strerror(errno.ETIMEDOUT))
            raise self._error
        finally:
            for sock, (_, watcher) in self._running.items():
                close_watchers(self._loop, watcher)
                sock.close()

    def _attempt(self, address: Address) -> PlainSocket | None:
        """Begin to connect to an address; returns the socket if it is connected at once.

        :raises OSError: it has failed already.
        """
        sock = new_socket(address, self._options, self._source)
        try:
            if sock.begin_to_connect(address[4]):
                return sock
        except OSError as exc:
            sock.close()
            raise explained(exc, self._source) from None
        watcher = self._loop.io(sock.fileno(), _WRITE)
        self._running[sock] = address, watcher
        watcher.start(self._on_ready, sock, watcher)
        return None

    def _on_ready(self, sock: PlainSocket, watcher: Any) -> None:
        """In the hub: an attempt has ended."""
        watcher.stop()
        self._ended.append(sock)
        self._changed.set()

    def _fail(self, address: Address, error: OSError) -> None:
        self._error = error
        self._next_at = monotonic()
        if self._on_failure is not None:
            self._on_failure(address, error)
