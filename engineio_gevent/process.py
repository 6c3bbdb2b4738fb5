"""Process-wide duties: disconnect on SIGINT, and forget the connections after a fork."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from types import FrameType
from typing import Protocol

import gevent
from gevent import getcurrent
from gevent.event import Event
from gevent.hub import Hub

from .dispatcher import dispatchers
from .other_threads import is_own_hub

#: Seconds for all clients together to leave on Ctrl-C.
SIGINT_TIMEOUT = 1.0
#: Seconds more for the disconnect handlers of those that were not done by then.
HANDLER_TIMEOUT = 0.25


class Connection(Protocol):
    """A live connection: the part of a session that this module uses."""

    handle_sigint: bool

    @property
    def hub(self) -> Hub:
        """The hub that reads and writes its sockets."""

    @property
    def state(self) -> str:
        """As the API shows it."""

    def disconnect(self, abort: bool = False, reason: str | None = None) -> None:
        """Disconnect; waits."""

    def abandon(self) -> None:
        """In a forked child: forget the parent's sockets without touching them."""


_connections: set[Connection] = set()
_fork_hook_set = False
# While the clients leave on SIGINT.
_leaving: _Leaving | None = None


def add(connection: Connection) -> None:
    """A connection lives: see to it on Ctrl-C and after a fork."""
    global _fork_hook_set
    _connections.add(connection)
    if not _fork_hook_set:
        _fork_hook_set = True
        if hasattr(os, 'register_at_fork'):
            os.register_at_fork(after_in_child=_abandon_all)


def discard(connection: Connection) -> None:
    """Forget a connection that has ended."""
    _connections.discard(connection)


def _abandon_all() -> None:
    """In a forked child."""
    for hub in {connection.hub for connection in _connections}:
        if hub.loop is not None:
            # A loop of libuv shares its epoll descriptor with the parent's until then, and what
            # stops being watched in the child would no longer be watched in the parent.
            hub.loop.reinit()
    while _connections:
        _connections.pop().abandon()


def install_sigint() -> None:
    """Make SIGINT disconnect the clients and then call the previous handler.

    It does nothing outside the main thread, or where SIGINT is ignored or left to
    the operating system.
    """
    current = signal.getsignal(signal.SIGINT)
    if isinstance(current, _OnSigint) or not callable(current):
        return
    try:
        signal.signal(signal.SIGINT, _OnSigint(current))
    except ValueError:  # not the main thread
        return


class _OnSigint:
    """The SIGINT handler of this package.

    :param previous: the handler to call when the clients have disconnected.
    """

    def __init__(self, previous: Callable[[int, FrameType | None], object]) -> None:
        self.previous = previous

    def __call__(self, number: int, frame: FrameType | None) -> None:
        """May run inside the hub, so it never blocks: a greenlet does the work."""
        global _leaving
        leaving = [
            connection
            for connection in list(_connections)
            if connection.handle_sigint and connection.state == 'connected'
        ]
        if _leaving is not None or not leaving:
            # A second Ctrl-C does not wait for the first.
            self.previous(number, frame)
            return
        _leaving = _Leaving()
        _leaving.greenlet = gevent.spawn(_leave, _leaving, leaving, self.previous, number, frame)


class _Leaving:
    """The clients leave on SIGINT, in the hub of the main thread."""

    def __init__(self) -> None:
        #: Set when the previous handler has run.
        self.done = Event()
        self.hub = gevent.get_hub()
        self.greenlet: gevent.Greenlet[..., None] | None = None

    def may_wait(self) -> bool:
        """Whether the current greenlet may wait for the end of the previous handler.

        The previous handler must not wait for itself, nor may what it comes after: the hub and the
        handlers of the clients. A greenlet of another native thread cannot wait for this hub.
        """
        return (
            is_own_hub(self.hub)
            and getcurrent() not in (self.hub, self.greenlet)
            and dispatchers.get().job_owner() is None
        )


def wait_for_sigint() -> None:
    """If the clients are leaving on SIGINT, wait until the previous handler has run.

    Without this, a greenlet that waits for the end of its connection could go on before the
    previous handler raises KeyboardInterrupt in the main greenlet.
    """
    leaving = _leaving  # read once: another native thread may be here
    if leaving is not None and leaving.may_wait():
        leaving.done.wait()


def _leave(
    state: _Leaving,
    leaving: list[Connection],
    previous: Callable[[int, FrameType | None], object],
    number: int,
    frame: FrameType | None,
) -> None:
    global _leaving
    try:
        leaves = [gevent.spawn(connection.disconnect) for connection in leaving]
        gevent.joinall(leaves, timeout=SIGINT_TIMEOUT)
        late = [greenlet for greenlet in leaves if not greenlet.ready()]
        if late:
            gevent.killall(late, block=False)
            # They abort. That waits a moment for their disconnect handlers.
            handlers = [gevent.spawn(connection.disconnect, abort=True) for connection in leaving]
            gevent.joinall(handlers, timeout=HANDLER_TIMEOUT)
        previous(number, frame)
    except BaseException as exc:  # the main greenlet's: KeyboardInterrupt, most often
        gevent.get_hub().handle_system_error(type(exc), exc)
    finally:
        _leaving = None
        state.done.set()
