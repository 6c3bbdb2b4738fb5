"""What a client tells its sessions, and the words that both tell the application."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

State = Literal['disconnected', 'connected', 'disconnecting']


class Reason:
    """Disconnection reasons."""

    #: Client-initiated disconnection.
    CLIENT_DISCONNECT = 'client disconnect'
    #: Server-initiated disconnection.
    SERVER_DISCONNECT = 'server disconnect'
    #: Transport error.
    TRANSPORT_ERROR = 'transport error'


@dataclass(slots=True)
class Options:
    """What a client tells its sessions."""

    logger: logging.Logger
    #: Whether the application asked for a log; errors are logged in any case.
    verbose: bool
    dumps: Callable[..., Any]
    loads: Callable[..., Any]
    parse_json: bool
    request_timeout: float | None
    write_limit: int | None
    max_message_size: int | None
    handle_sigint: bool
