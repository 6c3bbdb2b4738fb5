"""The options that a client passes to its connections, and the states and reasons of the API."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any, Literal, NamedTuple

from .own_loggers import CLIENT

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
    dumps: Callable[..., Any]
    loads: Callable[..., Any]
    parse_json: bool
    request_timeout: float | None
    #: The two timeouts of which it is the sum, if the caller gave two.
    timeouts: tuple[float, float] | None
    write_limit: int | None
    max_message_size: int | None
    handle_sigint: bool


def make_logger(logger: bool | logging.Logger) -> logging.Logger:
    """The logger of a client, from its option ``logger``."""
    if not isinstance(logger, bool):
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
    parts = timeout if isinstance(timeout, tuple) else (timeout,)
    if len(parts) not in (1, 2) or not all(
        one is None or (isinstance(one, (int, float)) and one >= 0) for one in parts
    ):
        raise ValueError(
            'request_timeout must be a number of seconds, None, or a pair for connecting and '
            f'reading: {timeout!r}'
        )
    return None if None in parts else sum(parts)
