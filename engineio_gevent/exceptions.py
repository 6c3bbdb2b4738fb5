"""What can go wrong, as exceptions.

For the sake of the network or the server ``Client.connect()`` raises
:class:`ConnectionError` alone, with the cause chained. The others are causes: of
a failed connect (``__cause__``) or of a connection that ended
(``Client.disconnect_error``). Mistakes of the program are exceptions of Python's
own, such as ``ValueError``.
"""

from __future__ import annotations

from typing import Any


class EngineIOError(Exception):
    """The base of all exceptions that tell of the network or the server."""


class ConnectionError(EngineIOError):
    """``connect()`` failed; the first argument says how.

    The second argument, where there is one, is the JSON body with which the
    server refused, decoded.
    """


class ProtocolError(EngineIOError):
    """The server sent bytes that Engine.IO or RFC 6455 does not allow.

    :param message: what was wrong and where.
    :param code: the websocket close code that tells the server so (RFC 6455,
                 section 7.4.1). The default is 1002, protocol error.
    :param decoded: what was decoded from the same bytes before the fault, so
                    that it is not lost with them.
    """

    def __init__(self, message: str, code: int = 1002, decoded: list[Any] | None = None) -> None:
        super().__init__(message)
        #: The websocket close code for this fault.
        self.code = code
        #: What came whole before the fault, in the form that the failed call returns.
        self.decoded: list[Any] = [] if decoded is None else decoded


class HTTPError(EngineIOError):
    """A request was answered with a status other than 2xx; other than 101, for a websocket.

    :param message: the request and the status, in words.
    :param status: the HTTP status code.
    :param body: the body of the answer, decoded where it is JSON, else None.
    """

    def __init__(self, message: str, status: int, body: Any = None) -> None:
        super().__init__(message)
        #: The HTTP status code.
        self.status = status
        #: The decoded JSON body, or None.
        self.body = body


class ConnectionClosed(EngineIOError):
    """There was no way to the server, or the transport ended without a CLOSE packet.

    Where the operating system, TLS or requests said why, that is the
    ``__cause__``.

    :param message: what happened, in words.
    :param code: the websocket close code (RFC 6455, section 7.4.1): 1005 for a
                 close frame without one, 1006 for none at all.
    :param reason: the text that came with the code, or an empty string.
    """

    def __init__(self, message: str, code: int = 1006, reason: str = '') -> None:
        super().__init__(message)
        #: The websocket close code.
        self.code = code
        #: The server's words.
        self.reason = reason


class HeartbeatTimeout(EngineIOError):
    """No PING came within pingInterval + pingTimeout of the last."""
