"""The exceptions of this package.

Network and server failures during ``Client.connect()`` raise only
:class:`ConnectionError`. The other exceptions are causes. One is the
``__cause__`` of a failed connect, or the ``Client.disconnect_error`` of a
connection that has ended. Programming mistakes raise Python's own exceptions,
such as ``ValueError``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .printable import shortened

#: Characters of the longest text of an exception.
MAX_TEXT = 1000


class EngineIOError(Exception):
    """Base class of all exceptions for network and server failures.

    The text, which is the first argument, may have parts that the server sent. It
    has escapes in place of control characters, and not more than 1,000 characters.
    """

    def __init__(self, *args: Any) -> None:
        if args and isinstance(args[0], str):
            args = (shortened(args[0], MAX_TEXT), *args[1:])
        super().__init__(*args)

    def __str__(self) -> str:
        # Not the other arguments, too: the body of a refusal can be large.
        return str(self.args[0]) if self.args else ''


class ConnectionError(EngineIOError):
    """``connect()`` failed. The first argument names the server and the cause.

    If the server answered with an unexpected HTTP status, the second argument is
    the response body, decoded, if it is JSON. Otherwise it is None.
    """


class ProtocolError(EngineIOError):
    """The server sent data that Engine.IO, HTTP or RFC 6455 does not allow.

    :param message: what was wrong, and where.
    :param code: the websocket close code sent to the server (RFC 6455, section
                 7.4.1). The default is 1002, protocol error.
    :param decoded: what was decoded before the fault, from the same bytes.
    """

    def __init__(self, message: str, code: int = 1002, decoded: list[Any] | None = None) -> None:
        super().__init__(message)
        #: The websocket close code for this fault.
        self.code = code
        #: What was decoded before the fault, in the form that the failed call returns.
        self.decoded: list[Any] = [] if decoded is None else decoded


class HTTPError(EngineIOError):
    """The server answered with an unexpected HTTP status.

    Polling expects a 2xx status. The websocket handshake expects status 101.

    :param message: the request and the status, as text.
    :param status: the HTTP status code.
    :param body: the response body, decoded, if it is JSON. Otherwise None.
    :param headers: the response headers.
    """

    def __init__(
        self, message: str, status: int, body: Any = None, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(message)
        #: The HTTP status code.
        self.status = status
        #: The decoded JSON body, or None.
        self.body = body
        #: The response headers, such as ``retry-after``, ``location`` and ``server``. All names are
        #: in lower case.
        self.headers: dict[str, str] = {
            name.lower(): value for name, value in (headers or {}).items()
        }


class ConnectionClosed(EngineIOError):
    """The server could not be reached, or the connection ended without a CLOSE packet.

    If the operating system, TLS or requests reported the cause, that exception is
    the ``__cause__``.

    :param message: what happened, as text.
    :param code: the websocket close code (RFC 6455, section 7.4.1). It is 1005 for
                 a close frame without a code, and 1006 if there was no close frame.
    :param reason: the text that came with the code, or an empty string.
    """

    def __init__(self, message: str, code: int = 1006, reason: str = '') -> None:
        super().__init__(message)
        #: The websocket close code.
        self.code = code
        #: The reason that the server sent with the code.
        self.reason = reason


class HeartbeatTimeout(EngineIOError):
    """No PING packet arrived within pingInterval + pingTimeout after the previous one."""
