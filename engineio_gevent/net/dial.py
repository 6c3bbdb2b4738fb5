"""Open a TCP connection cooperatively, with one short cache of looked-up addresses."""

from __future__ import annotations

import _socket
import errno
from collections.abc import Iterable
from time import monotonic
from typing import Any

from gevent import socket
from gevent.event import AsyncResult

from ..per_hub import PerHub
from .plain import PlainSocket

#: Seconds for which the addresses of a host are remembered. A thousand clients
#: that start together ask once: gevent's look-ups go through a small thread pool.
CACHE_SECONDS = 5.0
#: Hosts that are remembered; beyond it the cache starts anew.
_CACHE_SIZE = 256

#: Set on every connection, before the caller's own: small frames must not wait.
DEFAULT_OPTIONS = (
    (socket.SOL_TCP, socket.TCP_NODELAY, 1),
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
)

_Address = tuple[Any, ...]
_Key = tuple[str, int]  # host and port
# All native threads share what was found. Each access is a single atomic operation.
_cache: dict[_Key, tuple[float, list[_Address]]] = {}


def _no_pending(hub: object) -> dict[_Key, AsyncResult[list[_Address]]]:
    return {}


# The look-ups that greenlets of a hub wait for. No greenlet can wait for another hub's result.
_pending = PerHub(_no_pending)


def look_up(host: str, port: int) -> list[_Address]:
    """The addresses of a host, as ``getaddrinfo`` lists them for TCP.

    :raises OSError: the host is not known.
    """
    key = (host, port)
    known = _cache.get(key)
    if known is not None and known[0] > monotonic():
        return known[1]
    try:
        # An address in figures needs no look-up: 1.5 us here, 120 us through the pool.
        found: list[_Address] = _socket.getaddrinfo(
            host, port, 0, _socket.SOCK_STREAM, 0, _socket.AI_NUMERICHOST
        )
    except UnicodeError as exc:  # of the idna codec: an empty label, or a long one
        raise OSError(errno.EINVAL, 'invalid host name') from exc
    except OSError:
        found = _look_up_once(key)
    if len(_cache) >= _CACHE_SIZE:
        _cache.clear()
    _cache[key] = (monotonic() + CACHE_SECONDS, found)
    return found


def _look_up_once(key: _Key) -> list[_Address]:
    """Ask the resolver, or wait for another greenlet of this hub that is asking."""
    pending = _pending.get()
    while (asked := pending.get(key)) is not None:
        try:
            return asked.get() or []
        except _Abandoned:
            pass  # by now somebody else asks, or we do
    answer: AsyncResult[list[_Address]] = AsyncResult()
    pending[key] = answer
    try:
        found = socket.getaddrinfo(*key, 0, socket.SOCK_STREAM)
        answer.set(found)
        return found
    except OSError as exc:
        answer.set_exception(exc)
        raise
    except BaseException:  # one that is killed while it asks must not leave the others waiting
        answer.set_exception(_Abandoned())
        raise
    finally:
        del pending[key]


class _Abandoned(Exception):
    """Who asked the resolver was killed before the answer came."""


def open_socket(
    host: str, port: int, options: Iterable[tuple[Any, ...]] = (), timeout: float | None = None
) -> PlainSocket:
    """Connect to the first address of a host that answers.

    :param host: a name or an address.
    :param port: the TCP port.
    :param options: ``setsockopt`` arguments, applied before connecting.
    :param timeout: in seconds, over all addresses; each gets an equal share of
                    what is left, so that one that swallows packets does not
                    hide the next.
    :raises OSError: no address answered; the last error. ``TimeoutError`` in time.
    """
    addresses = look_up(host, port)
    deadline = None if timeout is None else monotonic() + timeout
    error: OSError = OSError('the host name has no address')
    for index, (family, kind, proto, _, address) in enumerate(addresses):
        sock = PlainSocket(family, kind, proto)
        try:
            for option in (*DEFAULT_OPTIONS, *options):
                sock.setsockopt(*option)
            if deadline is not None:
                share = (deadline - monotonic()) / (len(addresses) - index)
                sock.settimeout(max(share, 0.001))
            sock.connect(address)
            sock.settimeout(None)
            return sock
        except OSError as exc:
            sock.close()
            error = exc
        except BaseException:  # a time-out or a kill, too, leaves no socket open
            sock.close()
            raise
    raise error
