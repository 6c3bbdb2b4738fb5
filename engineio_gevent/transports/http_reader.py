"""Reads an HTTP response from a socket, in a greenlet that waits.

:func:`acknowledge`, :func:`end_with_error` and :func:`good_until` are also for responses that the
hub reads.
"""

from __future__ import annotations

import _socket
import contextlib
import itertools
import re
import ssl
from time import monotonic
from typing import Any

import gevent

from ..exceptions import ConnectionClosed
from ..protocol.http1 import NothingCame, Response

#: Bytes asked of the socket at a time.
READ_SIZE = 65536
#: Reads in a row before the other greenlets, and their timeouts, get a turn.
_READS_PER_TURN = 4
#: Chunks in a row before timers, too, get a turn: many small ones take the processor.
CHUNKS_PER_TURN = 4096
#: Seconds before the end of a kept connection's time in which it is not used any more.
KEEP_ALIVE_MARGIN = 1.0

_KEEP_ALIVE = re.compile(r'timeout=(\d{1,6})')

# Linux alone delays its acknowledgements by 40 ms, and lets one ask for them at once.
_QUICKACK: int | None = getattr(_socket, 'TCP_QUICKACK', None)

_NOT_CLOSED = 'TLS was not closed (no close_notify)'


def read_response(sock: Any, max_size: int | None, *, websocket: bool = False) -> Response:
    """Read from a socket until a response is complete; waits.

    :param sock: a connected socket.
    :param max_size: see :class:`.Response`.
    :param websocket: likewise.
    :raises OSError: the socket failed.
    :raises ConnectionClosed: the server closed the connection in the middle of the response.
    :raises NothingCame: the server closed it before the first byte.
    :raises ProtocolError: this is no HTTP response, or it is too large (1009).
    """
    response = Response(max_size, websocket=websocket)
    chunks = 0
    for earlier_reads in itertools.count():
        if earlier_reads:
            acknowledge(sock)
        try:
            data = _recv_to_end(sock) if response.ends_with_connection else sock.recv(READ_SIZE)
        except (ConnectionError, ssl.SSLEOFError) as exc:
            _cut(response, exc, bool(earlier_reads))
            break
        if not data:
            response.end()
            break
        if response.feed(data):
            break
        if response.chunks - chunks >= CHUNKS_PER_TURN:
            chunks = response.chunks
            # gevent looks at its timers once in fifty times that sleep(0) is called.
            gevent.sleep(0.001)
        elif earlier_reads % _READS_PER_TURN == _READS_PER_TURN - 1:
            # From a socket that always has something, gevent reads without a switch.
            gevent.sleep(0)
    return response


def acknowledge(sock: Any) -> None:
    """Acknowledge at once what has arrived of a response that is not complete.

    A server that writes head and body one by one, without TCP_NODELAY (gevent's pywsgi), sends the
    body when the head is acknowledged: 1 ms so, else 44.

    :param sock: a socket, or something else with ``setsockopt()``.
    """
    if _QUICKACK is not None:
        with contextlib.suppress(OSError):  # the caller's socket may be no TCP
            sock.setsockopt(_socket.IPPROTO_TCP, _QUICKACK, 1)


def good_until(response: Response) -> float | None:
    """When the server will close the connection, as far as it says (``Keep-Alive: timeout=5``)."""
    told = _KEEP_ALIVE.search(response.headers.get('keep-alive', ''))
    return None if told is None else monotonic() + int(told[1]) - KEEP_ALIVE_MARGIN


def end_with_error(response: Response, error: Exception | None, began: bool) -> None:
    """The connection has ended before a response was complete.

    :param response: it is complete afterwards.
    :param error: what ended the connection; None: the server closed it. A TLS socket has to report
                  an end of TCP without the closure alert as ``ssl.SSLEOFError``.
    :param began: whether any byte of the response has come.
    :raises Exception: the response is not complete; see :func:`read_response`.
    """
    if isinstance(error, ssl.SSLEOFError):
        if not response.ends_with_connection:  # its head says where it ends
            error = None
        else:
            error.strerror = _NOT_CLOSED
    elif isinstance(error, ssl.SSLZeroReturnError):  # the closure alert, as PyPy reports it
        error = None
    if error is None:
        response.end()
    elif isinstance(error, (ConnectionError, ssl.SSLEOFError)):
        _cut(response, error, began)
    else:
        raise error


def _cut(response: Response, error: OSError, began: bool) -> None:
    """The connection was lost in the middle of a response, which may be complete all the same."""
    if not began:
        raise NothingCame(f'connection lost: {error.strerror}') from error
    if not response.cut():
        raise ConnectionClosed(
            f'connection lost in the middle of a response: {error.strerror}'
        ) from error


def _recv_to_end(sock: Any) -> bytes:
    """Read from a body that ends with the connection; waits.

    :raises ssl.SSLEOFError: TCP ended without the closure alert of TLS. The body may have been cut
                             by anybody (RFC 9112, section 9.8).
    """
    suppresses: bool | None = getattr(sock, 'suppress_ragged_eofs', None)
    if suppresses is None:  # without TLS
        data: bytes = sock.recv(READ_SIZE)
        return data
    sock.suppress_ragged_eofs = False
    try:
        data = sock.recv(READ_SIZE)
    except ssl.SSLZeroReturnError:  # the closure alert, as PyPy reports it
        return b''
    except ssl.SSLEOFError as exc:
        exc.strerror = _NOT_CLOSED
        raise
    finally:
        sock.suppress_ragged_eofs = suppresses
    return data
