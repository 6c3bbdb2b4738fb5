"""The HTTP under polling: what it must do, and which responses are errors."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Mapping
from typing import Protocol

from gevent import Greenlet, Timeout

from ..exceptions import HTTPError
from ..printable import shortened
from ..protocol.json_depth import too_deep
from .redirects import REDIRECTS, shown
from .route import Route

#: The type of every posted body: version 4 of the protocol is all text.
CONTENT_TYPE = 'text/plain;charset=UTF-8'
#: Characters of a server's message that the error of a refusal shows.
MAX_MESSAGE = 500


#: The body of a 2xx answer, or why there is none: an ``HTTPError`` for another status, another
#: ``EngineIOError`` for no connection or a broken answer. The code of a caller's session may raise
#: anything, also a ``gevent.Timeout``.
Answer = bytes | Exception | Timeout
OnAnswer = Callable[[Answer], None]


class HTTP(Protocol):
    """What polling needs of HTTP: a GET and a POST, which may be in flight together."""

    def get_and_wait(self, target: str, timeout: float | None) -> bytes:
        """GET; waits.

        :param target: path and query.
        :param timeout: seconds for the whole answer, or, through a ``requests.Session``,
                        between two pieces of it; None: no bound.
        :returns: the body of a 2xx answer.
        :raises Exception: see :data:`Answer`.
        """

    def get(self, target: str, timeout: float | None, on_answer: OnAnswer) -> None:
        """Begin a GET; does not wait.

        :param on_answer: called once with the answer, in the hub or another greenlet, not before
                          this returns, and not after :meth:`close` or :meth:`abandon`.
        """

    def post(self, target: str, body: bytes, timeout: float | None, on_answer: OnAnswer) -> None:
        """Begin a POST, as :meth:`get`."""

    def close(self, gently: bool = False) -> list[Greenlet[..., None]]:
        """Close the connections that are ours. Requests that are in flight get no answer.

        :param gently: let the server close those first over which all is answered.
        :returns: the greenlets that end in a moment, and close a connection then.
        """

    def abandon(self, wake: bool = True) -> None:
        """Let go of the descriptors without a byte to the server.

        :param wake: see :meth:`.Transport.abandon`.
        """


def body_of_success(
    method: str,
    route: Route,
    target: str,
    status: int,
    headers: Mapping[str, str],
    body: bytes,
    by: str = '',
) -> bytes:
    """The body of an answer that reports success.

    :param by: names the proxy, if there is one: a status may be the proxy's.
    :raises HTTPError: it does not; with the body, where that is JSON.
    """
    if 200 <= status < 300:
        return body
    path = target.partition('?')[0]
    raise status_error(f'{method} {route.http_origin}{path}{by}', status, headers, body)


def status_error(
    what: str, status: int, headers: Mapping[str, str], body: bytes | None
) -> HTTPError:
    """The exception for an answer with an unexpected status.

    :param what: the request.
    """
    decoded: object = None
    if body:
        with contextlib.suppress(ValueError, RecursionError):
            text = body.decode(json.detect_encoding(body))
            decoded = None if too_deep(text) else json.loads(text)
    detail = ''
    if isinstance(decoded, dict) and isinstance(decoded.get('message'), str):
        detail = f': {shortened(decoded["message"], MAX_MESSAGE)}'
    headers = {name.lower(): value for name, value in headers.items()}
    location = headers.get('location')
    if status in REDIRECTS and location:
        detail += f', which redirects to {shown(location)}'
    return HTTPError(
        f'Unexpected status code {status} in server response to {what}{detail}',
        status,
        decoded,
        headers,
    )
