"""The options that a client passes to its connections, and the states and reasons of the API."""

from __future__ import annotations

import logging
import operator
import sys
from collections.abc import Callable, Mapping
from typing import Any, Literal, NamedTuple

from .own_loggers import CLIENT

#: Default of ``write_limit``, in bytes.
WRITE_LIMIT = 1 << 20
#: Default of ``max_message_size``, in bytes.
MAX_MESSAGE_SIZE = 100 << 20
#: Default of ``max_receive_delay``, in seconds. The timers of a loop are not finer.
MAX_RECEIVE_DELAY = 0.001

State = Literal['disconnected', 'connected', 'disconnecting']


class Reason:
    """The reasons that the disconnect handler receives."""

    #: The client closed the connection.
    CLIENT_DISCONNECT = 'client disconnect'
    #: The server closed the connection with a CLOSE packet.
    SERVER_DISCONNECT = 'server disconnect'
    #: The connection was lost. ``Client.disconnect_error`` has the cause.
    TRANSPORT_ERROR = 'transport error'


class Options(NamedTuple):
    """The options that a client passes to its connections."""

    logger: logging.Logger
    #: Whether the application asked for a log; errors are logged in any case.
    verbose: bool
    dumps: Callable[[Any], str]
    loads: Callable[[str], Any]
    parse_json: bool
    request_timeout: float | None
    #: The two timeouts of which it is the sum, if the caller gave two.
    timeouts: tuple[float, float] | None
    write_limit: int | None
    max_message_size: int | None
    max_receive_delay: float
    handle_sigint: bool


# Those of the last connection.
_last: Options | None = None


def shared(options: Options) -> Options:
    """The same object for clients with the same options, which saves 120 bytes for each."""
    global _last
    last = _last
    if last is None or any(map(operator.is_not, last, options)):
        _last = last = options
    return last


def make_logger(logger: bool | logging.Logger) -> logging.Logger:
    """The logger of a client, from its option ``logger``."""
    if not isinstance(logger, bool):
        if not hasattr(logger, 'error'):
            raise ValueError(f'logger must be True, False or a logger: {logger!r:.100}')
        return logger
    if logger:
        # The application asked for it: only now, and only our own logger.
        if CLIENT.level == logging.NOTSET:
            CLIENT.setLevel(logging.INFO)
        if not CLIENT.hasHandlers():
            CLIENT.addHandler(logging.StreamHandler())
    return CLIENT


def total_timeout(timeout: Any) -> float | None:
    """The seconds of the option ``request_timeout``, which may be a pair, as that of requests is.

    :raises ValueError: it is not valid.
    """
    if _is_number(timeout):
        seconds: float = timeout
        return seconds
    parts = timeout if isinstance(timeout, tuple) else (timeout,)
    if len(parts) not in (1, 2) or not all(one is None or _is_number(one) for one in parts):
        raise ValueError(
            'request_timeout must be a number of seconds, None, or a pair for connecting and '
            f'reading: {timeout!r:.100}'
        )
    return None if None in parts else sum(parts)


def size_limit(name: str, size: Any) -> int | None:
    """An option that limits bytes, as a whole number; None: no limit.

    :raises ValueError: it is not valid.
    """
    if size is not None and not _is_number(size):
        raise ValueError(f'{name} must be a number of bytes, or None: {size!r:.100}')
    # Not all code that counts bytes takes a float such as 1e6, or a number past this one.
    return None if size is None or size >= sys.maxsize else int(size)


def receive_delay(seconds: Any) -> float:
    """The seconds of the option ``max_receive_delay``; 0 if it is less than a timer can take.

    :raises ValueError: it is not valid.
    """
    if not _is_number(seconds) or seconds > 1:
        raise ValueError(
            f'max_receive_delay must be a number of seconds between 0 and 1: {seconds!r:.100}'
        )
    return 0.0 if seconds < MAX_RECEIVE_DELAY else float(seconds)


def keyword_arguments(name: str, given: Any) -> dict[str, Any]:
    """A copy of an option that is a mapping of keyword arguments.

    :raises ValueError: it is not valid.
    """
    if given is not None and not isinstance(given, Mapping):
        raise ValueError(f'{name} must be a dict of keyword arguments: {given!r:.100}')
    return dict(given or {})


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and value >= 0
