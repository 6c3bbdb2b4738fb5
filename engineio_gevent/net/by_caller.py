"""Connections that a function of the caller's opens, the option ``dial`` of the client."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gevent.ssl
from gevent import Greenlet, GreenletExit, Timeout, socket, spawn

from ..exceptions import ConnectionClosed
from .plain import PlainSocket
from .race import DEFAULT_OPTIONS, SocketOptions, set_options

#: A function that is called with a host and a port, and returns a connected socket.
Dial = Callable[[str, int], Any]

_Result = tuple[Any, Exception | Timeout | None]  # what the function returned, or its exception


def open_by_caller(dial: Dial, host: str, port: int, options: SocketOptions = ()) -> Any:
    """Call the caller's function; waits.

    :param options: ``setsockopt`` arguments for the socket.
    :returns: a :class:`.PlainSocket`, or gevent's TLS socket if the function returned one.
    :raises ConnectionClosed: the function failed, or did not return a connected socket.
    :raises OSError: the function raised it, or an option is refused.
    """
    sock = call('dial', dial, host, port)
    if not hasattr(sock, 'detach') or not hasattr(sock, 'getpeername'):
        raise ConnectionClosed(f'dial must return a connected socket, not {sock!r:.100}')
    try:
        return _ready(sock, options)
    except BaseException:  # an option that the caller made up raises TypeError
        sock.close()
        raise


def call(name: str, function: Callable[..., Any], *arguments: Any) -> Any:
    """Call a function of the caller's that returns a socket; waits.

    It runs in a greenlet of its own. A function that tries again after each exception would
    otherwise try again after a time-out of the client, too.

    :param name: that of the option, for errors.
    :raises ConnectionClosed: the function failed.
    :raises OSError: the function raised it.
    """
    dialling: Greenlet[..., Any] = spawn(_call, function, *arguments)
    try:
        result = dialling.get()
    except BaseException:  # a time-out or a kill, too, leaves no socket open
        dialling.link(_close_late)
        dialling.kill(block=False)
        raise
    if isinstance(result, GreenletExit):
        raise ConnectionClosed(f'the greenlet of {name} was killed')
    sock, error = result
    if isinstance(error, OSError):
        raise error
    if error is not None:
        raise ConnectionClosed(f'{name} raised {type(error).__name__}: {error}') from error
    return sock


def _call(function: Callable[..., Any], *arguments: Any) -> _Result:
    try:
        return function(*arguments), None
    except (Exception, Timeout) as exc:  # a Timeout of the function's own is no Exception
        return None, exc


def _close_late(dialling: Greenlet[..., Any]) -> None:
    """Close a socket that nobody waits for any more."""
    result = dialling.value
    if isinstance(result, tuple) and hasattr(result[0], 'close'):
        result[0].close()


def _ready(sock: Any, options: SocketOptions) -> Any:
    """The socket as this package needs it.

    :raises ConnectionClosed: it is not a connected socket that can be used.
    """
    if sock.fileno() == -1:
        raise ConnectionClosed('dial returned a closed socket')
    tls = hasattr(sock, 'do_handshake')
    if tls and not isinstance(sock, gevent.ssl.SSLSocket):
        raise ConnectionClosed(
            'dial returned a TLS socket that would block the thread: use gevent.ssl.SSLContext'
        )
    try:
        sock.getpeername()
    except OSError as exc:
        raise ConnectionClosed('dial returned a socket that is not connected') from exc
    if sock.family in (socket.AF_INET, socket.AF_INET6):
        options = (*DEFAULT_OPTIONS, *options)
    set_options(sock, options)
    if tls:
        sock.settimeout(None)
        return sock  # with TLS already, which a descriptor alone would lose
    return PlainSocket(sock.family, sock.type, sock.proto, sock.detach())
