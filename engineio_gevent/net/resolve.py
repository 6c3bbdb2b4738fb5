"""Look up host names: once for all who ask at the same time, and with a short cache."""

from __future__ import annotations

import _socket
import errno
import os
from time import monotonic
from typing import Any

from gevent import socket, spawn_raw
from gevent.event import AsyncResult
from gevent.hub import Hub
from gevent.lock import Semaphore

from ..per_hub import PerHub
from .watchers import close_watchers

#: Seconds for which the addresses of a host are remembered. A thousand clients
#: that start together ask once: gevent's look-ups go through a small thread pool.
CACHE_SECONDS = 5.0
#: Hosts that are remembered; beyond it the cache starts anew.
CACHE_SIZE = 256
#: Names that a hub looks up at the same time. gevent's thread pool has 10 threads by default, and
#: a name server that does not answer blocks one of them for as long as the system's resolver waits.
CONCURRENCY = 5
#: Seconds after which a look-up is slow: it does not count among these any more. Names that are not
#: answered must not keep the others waiting.
SLOW = 0.25
#: Slow look-ups at the same time. gevent's pool gets a thread more for each of them, which leaves
#: its own to the rest of the program.
MAX_SLOW = 50

#: What ``getaddrinfo()`` returns for an address: family, type, protocol, name and socket address.
Address = tuple[Any, ...]
_Key = tuple[str, int]  # host and port
# All native threads share the addresses. Each access is a single atomic operation.
_cache: dict[_Key, tuple[float, list[Address]]] = {}


def look_up(host: str, port: int) -> list[Address]:
    """The addresses of a host, as ``getaddrinfo`` lists them for TCP.

    :raises OSError: the host is not known.
    """
    key = (host, port)
    known = _cache.get(key)
    if known is not None and known[0] > monotonic():
        return known[1]
    try:
        # An address in figures needs no look-up: 1.5 us here, 120 us through the pool.
        found: list[Address] = _socket.getaddrinfo(
            host, port, 0, _socket.SOCK_STREAM, 0, _socket.AI_NUMERICHOST
        )
    except UnicodeError as exc:  # of the idna codec: an empty label, or a long one
        raise OSError(errno.EINVAL, 'invalid host name') from exc
    except OSError:
        pass
    else:
        _remember(key, found)
        return found
    return _lookups.get().ask(key)


def _remember(key: _Key, found: list[Address]) -> None:
    if len(_cache) >= CACHE_SIZE:
        _cache.clear()
    _cache[key] = (monotonic() + CACHE_SECONDS, found)


class _LookUp:
    """One look-up, and how many greenlets wait for it."""

    __slots__ = ('askers', 'has_slot', 'is_slow', 'result')

    def __init__(self) -> None:
        # The addresses, the failure, or None if the greenlet was killed.
        self.result: AsyncResult[list[Address] | Exception | None] = AsyncResult()
        self.askers = 0
        # One of the CONCURRENCY, or one of the MAX_SLOW; neither before it begins.
        self.has_slot = self.is_slow = False


class _Lookups:
    """The look-ups of one hub. No greenlet can wait for the result of another hub."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._start()

    def _start(self) -> None:
        self._process = os.getpid()
        self._slots = Semaphore(CONCURRENCY)
        self._slow = 0
        self._under_way: dict[_Key, _LookUp] = {}

    def ask(self, key: _Key) -> list[Address]:
        """Look a name up, or wait for the look-up that another greenlet has started.

        It goes on when the greenlet that started it gives up. One that stopped would leave its
        native thread behind, and the next greenlet would block another one.
        """
        if self._process != os.getpid():
            # The threads of the pool are not in this forked child.
            if self._slow:
                self._hub.threadpool.maxsize -= self._slow
            self._start()
        while True:
            one = self._under_way.get(key)
            if one is None:
                one = self._under_way[key] = _LookUp()
                # Without the context, the locals and the spawning tree of one that asks.
                spawn_raw(self._look_up, key, one, self._under_way)
            one.askers += 1
            try:
                found = one.result.get()
            finally:
                one.askers -= 1
            if isinstance(found, Exception):
                # A new exception for each greenlet, raised where no other is handled: its traceback
                # and its context would lead into the frames of other clients.
                raise type(found)(*found.args)
            if found is not None:
                return found

    def _look_up(self, key: _Key, one: _LookUp, under_way: dict[_Key, _LookUp]) -> None:
        slots = self._slots
        timer = self._hub.loop.timer(SLOW)
        try:
            slots.acquire()
            one.has_slot = True
            if not one.askers:
                return  # all have given up before it has begun
            timer.start(self._on_slow, one, slots)
            found = socket.getaddrinfo(*key, 0, socket.SOCK_STREAM)
            _remember(key, found)
            one.result.set(found)
        except RuntimeError as exc:  # there is no native thread left
            one.result.set(OSError(errno.EAGAIN, str(exc)))
        except Exception as exc:
            one.result.set(exc.with_traceback(None))  # which leads back to the exception
        finally:
            del under_way[key]
            if not one.result.ready():  # a program may kill all greenlets that it finds
                one.result.set(None)
            if one.has_slot:
                slots.release()
            if self._hub.loop is not None:  # as it is in a hub that was destroyed
                close_watchers(self._hub.loop, timer)
                if one.is_slow and slots is self._slots:  # it was not begun before a fork
                    self._slow -= 1
                    self._hub.threadpool.maxsize -= 1

    def _on_slow(self, one: _LookUp, slots: Semaphore) -> None:
        """In the hub: a look-up is slow, so that the next one begins beside it."""
        if self._slow < MAX_SLOW and slots is self._slots:
            one.has_slot, one.is_slow = False, True
            self._slow += 1
            slots.release()
            self._hub.threadpool.maxsize += 1


_lookups = PerHub(_Lookups)
