"""The handshake of a websocket by websocket-client, with the caller's options.

Only a client with ``websocket_extra_options`` imports this. The connection is opened by this
package, and websocket-client gets it as its option ``socket``. So the handshake is cooperative
without monkey-patching, proxies and addresses are those of polling, and cookies do not go into
websocket-client's jar, which is shared by the whole process.
"""

from __future__ import annotations

from typing import Any

import websocket

from ..exceptions import ConnectionClosed, ProtocolError
from ..protocol.http1 import Response
from .headers import Headers
from .http_reader import read_response
from .opening import MAX_REFUSAL, check_answer
from .redirects import Destination
from .websocket_options import WebSocketOptions, warn

# What an object of a class of the caller's would do after the handshake.
_NEVER_CALLED = frozenset((
    'recv', 'recv_data', 'recv_data_frame', 'recv_frame', 'send', 'send_bytes', 'send_text',
    'send_binary', 'send_frame', 'ping', 'pong', 'close', 'shutdown', 'abort', '_recv', '_send',
))  # fmt: skip


class Handshake:
    """One handshake.

    :param options: the caller's options.
    :param timeout: seconds for each piece of the response; None: no limit.
    """

    def __init__(self, options: WebSocketOptions, timeout: float | None) -> None:
        self._options = options.request()
        self._timeout = timeout
        self._error: Exception | None = None
        self._mask: Any = None

    def ask(self, sock: Any, place: Destination, headers: Headers) -> Response:
        """Send the request and read the response; waits."""
        special = {name.lower(): value for name, value in headers}
        others = [one for one in headers if one[0].lower() not in ('cookie', 'host', 'origin')]
        options: dict[str, Any] = {
            **self._options,
            **{name: special[name] for name in ('cookie', 'host', 'origin') if name in special},
            'header': _for_websocket_client(others),
            'redirect_limit': 0,
        }
        options.setdefault('host', place.netloc)
        url = f'{"wss" if place.secure else "ws"}://{place.netloc}{place.target}'
        reader = _Reader(sock)
        self._error = None
        try:
            made = websocket.create_connection(url, self._timeout, socket=reader, **options)
        except websocket.WebSocketTimeoutException as exc:
            raise TimeoutError(str(exc)) from exc
        except websocket.WebSocketException as exc:
            self._error = exc
        else:
            self._mask = getattr(made, 'get_mask_key', None)
            _warn_of_methods(type(made))
            made.sock = None  # the connection is not its own any more
        if reader.error is not None:
            raise reader.error
        if reader.answer is None:
            raise ConnectionClosed(f'websocket-client did not send a request: {self._error}')
        return reader.answer

    def check(self, answer: Response, place: Destination) -> None:
        """Check the response.

        :raises HTTPError: the server refused.
        :raises ProtocolError: the response is invalid.
        """
        if answer.status == 101 and self._error is None:
            return
        # For an error that says what is wrong.
        check_answer(answer, place, None, self._options.get('subprotocols') or ())
        raise ProtocolError(f'websocket handshake: {self._error}') from self._error

    @property
    def get_mask_key(self) -> Any:
        """The caller's function that makes the keys of frames, or None."""
        return self._mask


class _Reader:
    """The socket that websocket-client gets. It reads the response whole, and gives it by lines.

    The response is then the same as for other clients, cookies included, and is not read byte by
    byte from the system.
    """

    def __init__(self, sock: Any) -> None:
        self._sock = sock
        self._head = b''
        self._closed = False
        self.answer: Response | None = None
        #: Why there is no response.
        self.error: Exception | None = None

    def send(self, data: Any) -> int:
        self._sock.sendall(data)
        return len(data)

    def sendall(self, data: Any) -> None:
        self._sock.sendall(data)

    def recv(self, size: int) -> bytes:
        if self.answer is None:
            try:
                self.answer = read_response(self._sock, MAX_REFUSAL, upgrading=True)
            except TimeoutError:
                raise
            except Exception as exc:
                self.error = exc
                raise OSError(str(exc)) from exc
            self._head = _head_of(self.answer)
        piece, self._head = self._head[:size], self._head[size:]
        return piece

    def gettimeout(self) -> float | None:
        seconds: float | None = self._sock.gettimeout()
        return seconds

    def settimeout(self, seconds: float | None) -> None:
        self._sock.settimeout(seconds)

    def fileno(self) -> int:
        number: int = self._sock.fileno()
        return number

    def shutdown(self, how: int) -> None:
        """Nothing: the connection ends elsewhere."""

    def close(self) -> None:
        """Nothing: the connection ends elsewhere."""


def _head_of(answer: Response) -> bytes:
    """The head of a response for websocket-client: without cookies, and with the body's size."""
    headers = {**answer.headers, 'content-length': str(len(answer.body))}
    headers.pop('set-cookie', None)
    headers.pop('transfer-encoding', None)
    if answer.status == 101:
        del headers['content-length']
    lines = [f'HTTP/1.1 {answer.status} -', *(f'{n}: {v}' for n, v in headers.items())]
    return '\r\n'.join([*lines, '', '']).encode() + answer.body


def _for_websocket_client(headers: Headers) -> dict[str, str] | list[str]:
    """The option ``header``: a dict, in which websocket-client looks for its own headers."""
    if len({name.lower() for name, _ in headers}) == len(headers):
        return dict(headers)
    return [f'{name}: {value}' for name, value in headers]


def _warn_of_methods(kind: type) -> None:
    """Warn of methods of a class of the caller's that are not called."""
    for name in sorted(_NEVER_CALLED):
        if getattr(kind, name, None) is not getattr(websocket.WebSocket, name, None):
            warn(f'{kind.__name__}.{name}() is not called after the handshake')
