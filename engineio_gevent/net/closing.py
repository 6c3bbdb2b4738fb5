"""The end of a TCP connection after the last words: let the peer close it first.

The side that closes first keeps its port for a minute (TIME_WAIT). Clients that
come and go would run out of ports; a server has one port for all of them. RFC
6455, section 7.1.1, asks for this order.
"""

from __future__ import annotations

import _socket
import contextlib
import os
import struct
import sys
import weakref
from functools import cache
from typing import Any

from gevent.hub import Hub, get_hub

from ..per_hub import PerHub, lives
from .plain import PlainSocket
from .watchers import close_watchers

_READ = 1
_recv: Any = _socket.socket.recv

#: Seconds in which the peer has to close.
PEER_TIMEOUT = 1.0
#: Bytes that the peer may send before it closes; they are dropped.
PEER_LIMIT = 65536

# SO_LINGER: on, for no time. close() resets the connection then.
_RESET = struct.pack('HH' if sys.platform == 'win32' else 'ii', 1, 0)


def reset(sock: Any) -> None:
    """Close a connection whose peer has answered all that was sent: no TIME_WAIT, nothing lost.

    :param sock: a connected socket of any kind.
    """
    with contextlib.suppress(OSError):
        sock.setsockopt(_socket.SOL_SOCKET, _socket.SO_LINGER, _RESET)
    sock.close()


def close_gently(sock: Any, answered: bool = True) -> None:
    """Close a socket once the peer has closed the connection, or after :data:`PEER_TIMEOUT`.

    Returns at once; this thread's hub waits. A program that has nothing else to do ends meanwhile,
    except that ``gevent.wait()`` waits, too, where the loop is libuv. Nothing is sent. With TLS,
    too, the peer has closed when its TCP connection has ended: after the last words, a
    close_notify would protect nothing.

    :param sock: a connected socket of any kind: gevent's or the standard library's, with or
                 without TLS, or a bare ``_socket.socket``. No greenlet may wait for it.
    :param answered: whether the peer has answered all that was sent. Then a peer that does not
                     close (python-engineio on gevent.pywsgi) is sent a reset, which leaves no
                     TIME_WAIT and loses nothing.
    """
    _forget_ended_hubs()
    _set_fork_hook()
    if sock.fileno() == -1:
        return  # closed already
    if type(sock) not in (_socket.socket, PlainSocket):
        # TLS would decrypt what comes, and gevent's sockets have watchers of their own.
        family, kind, proto = sock.family, sock.type, sock.proto
        sock = _socket.socket(family, kind, proto, sock.detach())
        sock.setblocking(False)
    _Closing(sock, answered)


class _Closing:
    """A socket that waits for the end of its peer."""

    __slots__ = ('_answered', '_hub', '_limit', '_loop', '_sock', '_timer', '_watcher')

    def __init__(self, sock: _socket.socket, answered: bool) -> None:
        self._sock = sock
        self._answered = answered
        self._limit = PEER_LIMIT
        self._hub = hub = get_hub()
        _ends.get()
        _closing.setdefault(hub, set()).add(self)
        self._loop = hub.loop
        self._watcher = self._loop.io(sock.fileno(), _READ, ref=False)
        self._timer = self._loop.timer(PEER_TIMEOUT, ref=False)
        self._watcher.start(self._read)
        self._timer.start(self._give_up)

    def _read(self) -> None:
        try:
            data = _recv(self._sock, self._limit)  # a plain socket would wait
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            data = b''
        self._limit -= len(data)
        if not data:
            self._close()
        elif not self._limit:
            self._give_up()

    def _give_up(self) -> None:
        if self._answered:
            with contextlib.suppress(OSError):
                self._sock.setsockopt(_socket.SOL_SOCKET, _socket.SO_LINGER, _RESET)
        self._close()

    def _close(self) -> None:
        others = _closing[self._hub]
        others.discard(self)
        if not others:
            del _closing[self._hub]
        self.abandon()

    def abandon(self) -> None:
        """Close the descriptor of this process now."""
        close_watchers(self._loop, self._watcher, self._timer)
        self._sock.close()


# Only the thread of a hub changes its set.
_closing: dict[Hub, set[_Closing]] = {}


def _prepare_end(hub: Hub) -> object:
    """See to it that this native thread leaves no socket behind when it ends."""
    end = weakref.finalize(lives.get(), _end_thread, hub)
    end.atexit = False
    return end


_ends = PerHub(_prepare_end)


def _end_thread(hub: Hub) -> None:
    # In a forked child Python ends the other threads before it calls the hook, which closes theirs.
    if os.getpid() == _process:
        _abandon(hub)


def _abandon(hub: Hub) -> None:
    """Close now what waits in a hub."""
    for one in _closing.pop(hub, ()):
        one.abandon()


def _forget_ended_hubs() -> None:
    """Close what waits in hubs that were destroyed, though their threads go on."""
    for hub in tuple(_closing):
        if hub.loop is None or hub.dead:
            _abandon(hub)


# The process that has set the fork hook, or whose hook has run.
_process: int | None = None


@cache
def _set_fork_hook() -> None:
    """Once, and not at import: a program that only imports this package gets no hook."""
    global _process
    _process = os.getpid()
    if hasattr(os, 'register_at_fork'):
        os.register_at_fork(after_in_child=_abandon_all)


def _abandon_all() -> None:
    """In a forked child: the connections are the parent's."""
    global _process
    _process = os.getpid()
    while _closing:
        hub, sockets = _closing.popitem()
        if hub.loop is not None:
            # As in process.py: libuv's loop shares its epoll descriptor with the parent's.
            hub.loop.reinit()
        for one in sockets:
            one.abandon()
