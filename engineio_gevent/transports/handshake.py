"""The handshake of a websocket (RFC 6455, section 4.1): the request and its answer."""

from __future__ import annotations

import binascii
import hashlib
import os
from collections.abc import Sequence
from typing import Any

from ..exceptions import EngineIOError, ProtocolError
from ..net.hosts import host_header
from ..protocol.http1 import Response, encode_request
from .headers import HANDSHAKE, Headers
from .http import status_error
from .http_reader import read_response
from .redirects import Destination
from .route import Route

#: Bytes of the body of a refusal that are read.
MAX_REFUSAL = 1 << 20

_HTTP = b'HTTP/'
_GUID = b'258EAFA5-E914-47DA-95CA-C5AB0DC85B11'  # section 1.3


class Handshake:
    """The handshake as most clients do it (section 4.1)."""

    get_mask_key = None

    def __init__(self, route: Route) -> None:
        self._origin = host_header(route.http_origin)
        self._key = ''
        self._offered: list[str] = []

    def ask(self, sock: Any, place: Destination, headers: Headers) -> Response:
        """Send the request and read the response; waits."""
        # A new one for each connection (section 4.1), after a redirect too.
        self._key = binascii.b2a_base64(os.urandom(16), newline=False).decode()
        lines = [
            ('Upgrade', 'websocket'),
            ('Sec-WebSocket-Key', self._key),
            ('Sec-WebSocket-Version', '13'),
            ('Connection', 'Upgrade'),
        ]
        names = {name.lower() for name, _ in headers}
        if 'origin' not in names:
            lines.insert(1, ('Origin', self._origin))
        if 'host' not in names:
            lines.insert(1, ('Host', host_header(place.netloc)))
        own = [one for one in headers if one[0].lower() not in HANDSHAKE]
        self._offered = listed_subprotocols(own) if own else []
        sock.sendall(encode_request('GET', place.target, lines + own, None))
        return read_response(sock, MAX_REFUSAL, websocket=True)

    def check(self, answer: Response, place: Destination) -> None:
        """Check the response; raises as :func:`check_answer`."""
        check_answer(answer, place, self._key, self._offered)


def check_answer(
    answer: Response, place: Destination, key: str | None, offered: Sequence[str]
) -> None:
    """Section 4.1: what the client must see in the answer.

    :param key: the key that was sent; None: not to be checked.
    :param offered: the subprotocols that were offered.
    :raises HTTPError: the server refused.
    :raises ProtocolError: this is no answer to our request.
    """
    if answer.status != 101:
        url = place.url.partition('?')[0]
        what = f'the websocket handshake with {url}'
        raise status_error(what, answer.status, answer.headers, answer.content(MAX_REFUSAL))
    headers = answer.headers
    if headers.get('upgrade', '').lower() != 'websocket':
        raise _fault('Upgrade', headers.get('upgrade'))
    if 'upgrade' not in headers.get('connection', '').lower():
        raise _fault('Connection', headers.get('connection'))
    accept = headers.get('sec-websocket-accept')
    if key is not None:
        digest = hashlib.sha1(key.encode() + _GUID, usedforsecurity=False).digest()
        if accept != binascii.b2a_base64(digest, newline=False).decode():
            raise _fault('Sec-WebSocket-Accept', accept)
    if headers.get('sec-websocket-extensions'):  # none was offered
        raise _fault('Sec-WebSocket-Extensions', headers['sec-websocket-extensions'])
    chosen = headers.get('sec-websocket-protocol')
    fit = [one.lower() for one in offered]
    # RFC 6455 forbids a server to choose a subprotocol that was not offered. websocket-client also
    # requires a server to choose one of those that were offered.
    if (chosen or offered) and (chosen or '').lower() not in fit:
        raise _fault('Sec-WebSocket-Protocol', chosen)


def listed_subprotocols(headers: Headers) -> list[str]:
    """The subprotocols that the caller offered by a header of his own."""
    lines = (value for name, value in headers if name.lower() == 'sec-websocket-protocol')
    return [one.strip() for line in lines for one in line.split(',')]


class LateRefusal:
    """The refusal that a server sends as an HTTP response after its status 101, as engine.io does.

    It takes the place of the decoder of frames.

    :param fault: what that decoder has said.
    :param server: its name for the error.
    """

    #: How it begins. No frame begins so.
    BEGINS = _HTTP[:2]
    #: It keeps nothing for another decoder.
    unread = b''
    #: No messages come, of any size.
    idle = False
    max_size = 0

    def __init__(self, fault: ProtocolError, server: str) -> None:
        #: What is wrong with these bytes as frames.
        self.fault = fault
        self._server = server
        self._response = Response(MAX_REFUSAL, websocket=True)
        self._begins = b''

    def feed(self, data: bytes) -> list[tuple[int, str | bytes]]:
        """Take the next bytes.

        :returns: no messages, as long as the response is not complete.
        :raises HTTPError: it is.
        :raises ProtocolError: this is no HTTP response.
        """
        self._begins = (self._begins + data)[: len(_HTTP)]
        if not _HTTP.startswith(self._begins):
            raise self.fault
        try:
            complete = self._response.feed(data)
        except ProtocolError as exc:
            raise self.fault from exc
        if complete:
            raise self.error()
        return []

    def error(self) -> EngineIOError:
        """The server's reason, by what has come so far."""
        response = self._response
        try:
            response.end()
            content = response.content(MAX_REFUSAL)
        except EngineIOError as exc:
            if not response.status:
                return exc
            content = b''
        what = f'the websocket handshake with {self._server}, after status 101'
        return status_error(what, response.status, response.headers, content)


def _fault(name: str, value: str | None) -> ProtocolError:
    if value is None:
        return ProtocolError(f'websocket handshake response without the header {name}')
    return ProtocolError(
        f'websocket handshake response with an invalid header {name}: {value[:100]!r}'
    )
