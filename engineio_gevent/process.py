"""Process-wide duties: disconnect on SIGINT, and forget the connections after a fork."""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # typeshed leaves it out
import os
import signal
import sys
from collections.abc import Callable
from contextlib import ExitStack, suppress
from functools import cache
from types import FrameType
from typing import TYPE_CHECKING, Any, Protocol

import gevent
from gevent import getcurrent
from gevent.event import Event
from gevent.hub import Hub
from gevent.monkey import get_original

from .dispatcher import dispatchers
from .other_threads import is_own_hub

if TYPE_CHECKING:
    import ctypes

_allocate_lock: Any = get_original('_thread', 'allocate_lock')
_get_ident: Any = get_original('_thread', 'get_ident')
_start_new_thread: Any = get_original('_thread', 'start_new_thread')

#: Seconds for all clients together to leave on Ctrl-C, and for the main thread to let them begin.
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
#: Functions that SIGINT calls first. They must not wait.
at_sigint: list[Callable[[], object]] = []


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
    with ExitStack() as all_of_them:  # one that raises does not keep the others
        while _connections:
            all_of_them.callback(_connections.pop().abandon)


def install_sigint() -> None:
    """Make SIGINT disconnect the clients and then raise KeyboardInterrupt in the main greenlet.

    It does nothing outside the main thread, and where SIGINT has another handler than Python's
    default: that of the application, of a framework, of an event loop, or of uWSGI.
    """
    if _signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        return
    with suppress(ValueError):  # not the main thread
        if _python_handles(signal.SIGINT):
            signal.signal(signal.SIGINT, _on_sigint)


def _python_handles(number: int) -> bool:
    """Whether the operating system's handler of a signal is the one that calls Python's handlers.

    ``signal.getsignal()`` does not know handlers that were installed in C, such as those of
    ``gevent.signal_handler()`` and uWSGI.

    :returns: False if it cannot be found out.
    :raises ValueError: not in the main thread.
    """
    if sys.platform == 'win32':
        return True  # no sigaction(), and nothing known that installs other handlers
    python = _python_disposition()
    return python is not None and _disposition(number) == python


@cache
def _python_disposition() -> bytes | None:
    """The disposition of all signals that Python handles, or None if it cannot be found out."""
    with suppress(ImportError, OSError, AttributeError):  # no ctypes, or a static build
        for number in (signal.SIGURG, signal.SIGWINCH):  # by default the system ignores these
            if signal.getsignal(number) == signal.SIG_DFL and not any(_disposition(number)):
                signal.signal(number, lambda number, frame: None)
                try:
                    return _disposition(number)
                finally:
                    signal.signal(number, signal.SIG_DFL)
    return None


def _disposition(number: int) -> bytes:
    """How the operating system handles a signal, in a form that can only be compared."""
    import ctypes  # many programs do without it

    action = ctypes.create_string_buffer(512)
    _libc().sigaction(number, None, action)
    # The handler is the first or the second member of the structure. The C library leaves garbage
    # in some of the members that follow.
    return action.raw[: 2 * ctypes.sizeof(ctypes.c_void_p)]


@cache
def _libc() -> ctypes.CDLL:
    import ctypes

    return ctypes.CDLL(None)


def _on_sigint(number: int, frame: FrameType | None) -> None:
    """It may run inside the hub, so it never waits: a greenlet does the work."""
    global _leaving
    for call in at_sigint:
        call()
    leaving = [
        connection
        for connection in list(_connections)
        if connection.handle_sigint and connection.state == 'connected'
    ]
    if _leaving is not None:
        _leaving.interrupted = True  # a second Ctrl-C does not wait for the first
    elif leaving:
        _leaving = _Leaving(leaving)
        return
    signal.default_int_handler(number, frame)


class _Leaving:
    """The clients leave on SIGINT, in the hub of the main thread.

    :param connections: those that leave.
    """

    def __init__(self, connections: list[Connection]) -> None:
        #: Set when KeyboardInterrupt has been raised.
        self.done = Event()
        self.hub = gevent.get_hub()
        #: Whether another SIGINT has raised KeyboardInterrupt meanwhile.
        self.interrupted = False
        self._begun = _allocate_lock()
        self._begun.acquire()
        gevent.spawn(self._run, connections)
        if sys.platform != 'win32':
            _start_new_thread(self._watch, (_get_ident(),))

    def may_wait(self) -> bool:
        """Whether the current greenlet may wait for KeyboardInterrupt in the main greenlet.

        What the leaving clients wait for must not wait for them: the hub and their handlers. A
        greenlet of another native thread cannot wait for this hub.
        """
        return (
            is_own_hub(self.hub)
            and getcurrent() is not self.hub
            and dispatchers.get().job_owner() is None
        )

    def _watch(self, main: int) -> None:
        """In a native thread: interrupt a main thread that blocks, and so lets no greenlet run.

        :param main: the identifier of the main thread.
        """
        if not self._begun.acquire(timeout=SIGINT_TIMEOUT):
            signal.pthread_kill(main, signal.SIGINT)

    def _run(self, connections: list[Connection]) -> None:
        global _leaving
        self._begun.release()
        try:
            leaves = [gevent.spawn(connection.disconnect) for connection in connections]
            gevent.joinall(leaves, timeout=SIGINT_TIMEOUT)
            late = [greenlet for greenlet in leaves if not greenlet.ready()]
            if late:
                gevent.killall(late, block=False)
                # They abort. That waits a moment for their disconnect handlers.
                handlers = [gevent.spawn(one.disconnect, abort=True) for one in connections]
                gevent.joinall(handlers, timeout=HANDLER_TIMEOUT)
            if not self.interrupted:
                raise KeyboardInterrupt
        except BaseException as exc:  # the main greenlet's: KeyboardInterrupt, most often
            self.hub.handle_system_error(type(exc), exc)
        finally:
            _leaving = None
            self.done.set()


def wait_for_sigint() -> None:
    """If the clients are leaving on SIGINT, wait until KeyboardInterrupt has been raised.

    Without this, a greenlet that waits for the end of its connection could go on before the main
    greenlet is interrupted.
    """
    leaving = _leaving  # read once: another native thread may be here
    if leaving is not None and leaving.may_wait():
        leaving.done.wait()
