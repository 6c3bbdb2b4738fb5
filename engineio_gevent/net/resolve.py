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

#: Seconds for which the addresses of a host are remembered. A thousand clients
#: that start together ask once: gevent's look-ups go through a small thread pool.
CACHE_SECONDS = 5.0
#: Hosts that are remembered; beyond it the cache starts anew.
CACHE_SIZE = 256
#: Names that a hub looks up at the same time. gevent's thread pool has 10 threads by default, and
#: a name server that does not answer blocks one of them for as long as the system's resolver waits.
CONCURRENCY = 5
#: Look-ups beyond these, for which nobody waits any more. Each gets a native thread of its own:
#: names that are not answered must not delay other names, nor fill gevent's pool.
ABANDONED = 50

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
        return _lookups.get().ask(key)
    _remember(key, found)
    return found


def _remember(key: _Key, found: list[Address]) -> None:
    if len(_cache) >= CACHE_SIZE:
        _cache.clear()
    _cache[key] = (monotonic() + CACHE_SECONDS, found)


class _LookUp:
    """One look-up, and how many greenlets wait for it."""

    __slots__ = ('abandoned', 'askers', 'has_slot', 'result')

    def __init__(self) -> None:
        self.result: AsyncResult[list[Address]] = AsyncResult()
        self.askers = 0
        # One of the CONCURRENCY, or one of the ABANDONED; neither before it begins.
        self.has_slot = self.abandoned = False


class _Lookups:
    """The look-ups of one hub. No greenlet can wait for the result of another hub."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._start()

    def _start(self) -> None:
        self._process = os.getpid()
        self._slots = Semaphore(CONCURRENCY)
        self._abandoned = 0
        self._under_way: dict[_Key, _LookUp] = {}

    def ask(self, key: _Key) -> list[Address]:
        """Look a name up, or wait for the look-up that another greenlet has started.

        It goes on when the greenlet that started it gives up. One that stopped would leave its
        native thread behind, and the next greenlet would block another one.
        """
        if self._process != os.getpid():
            self._start()  # the threads of the pool are not in this forked child
        while True:
            one = self._under_way.get(key)
            if one is None:
                one = self._under_way[key] = _LookUp()
                # Without the context, the locals and the spawning tree of one that asks.
                spawn_raw(self._look_up, key, one, self._under_way)
            one.askers += 1
            try:
                return one.result.get() or []
            except _Stopped:
                continue
            except OSError as exc:
                # A copy: each greenlet adds its own traceback.
                raise type(exc)(*exc.args) from None
            finally:
                one.askers -= 1
                if not one.askers:
                    self._abandon(one)

    def _abandon(self, one: _LookUp) -> None:
        """Nobody waits for a look-up: the next one may begin beside it."""
        if one.has_slot and self._abandoned < ABANDONED:
            one.has_slot, one.abandoned = False, True
            self._abandoned += 1
            self._slots.release()
            self._hub.threadpool.maxsize += 1

    def _look_up(self, key: _Key, one: _LookUp, under_way: dict[_Key, _LookUp]) -> None:
        slots = self._slots
        try:
            slots.acquire()
            one.has_slot = True
            if not one.askers:
                return  # all have given up before it has begun
            found = socket.getaddrinfo(*key, 0, socket.SOCK_STREAM)
            _remember(key, found)
            one.result.set(found)
        except RuntimeError as exc:  # there is no native thread left
            one.result.set_exception(OSError(errno.EAGAIN, str(exc)))
        except Exception as exc:
            one.result.set_exception(exc)
        finally:
            del under_way[key]
            if not one.result.ready():  # a program may kill all greenlets that it finds
                one.result.set_exception(_Stopped())
            if one.has_slot:
                one.has_slot = False
                slots.release()
            elif one.abandoned and slots is self._slots and self._hub.loop is not None:
                # Not after a fork, nor in a hub that was destroyed.
                self._abandoned -= 1
                self._hub.threadpool.maxsize -= 1


class _Stopped(Exception):
    """The greenlet of a look-up was killed."""


_lookups = PerHub(_Lookups)
