"""The handshake of a websocket by websocket-client, with the caller's options.

Only a client with ``websocket_extra_options`` imports this. The connection is opened by this
package, and websocket-client gets it as its option ``socket``. So the handshake is cooperative
without monkey-patching, proxies and addresses are those of polling, and cookies do not go into
websocket-client's jar, which is shared by the whole process.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import websocket
import websocket._handshake

from ..exceptions import ConnectionClosed, ProtocolError
from ..net.caller_socket import cooperative
from ..net.errors import error_text
from ..net.hosts import host_header
from ..net.stream import Stream
from ..protocol.frames import LargeFrame, with_new_keys
from ..protocol.http1 import Response
from .handshake import MAX_REFUSAL, check_answer
from .headers import Headers
from .http_reader import read_response
from .redirects import Destination
from .websocket_options import warn

# What an object of a class of the caller's would do after the handshake.
_NEVER_CALLED = frozenset((
    'recv', 'recv_data', 'recv_data_frame', 'recv_frame', 'send', 'send_bytes', 'send_text',
    'send_binary', 'send_close', 'send_frame', 'ping', 'pong', 'close', 'shutdown', 'abort',
    '_recv', '_send',
))  # fmt: skip

# Its own headers that the option ``header`` replaces, if the name is written like this.
_REPLACEABLE = {name.lower(): name for name in ('Sec-WebSocket-Key', 'Sec-WebSocket-Version')}

#: Makes the masking key of a frame: it is called with 4, and returns so many bytes.
GetMaskKey = Callable[[int], bytes | str]


class Handshake:
    """One handshake.

    :param arguments: the caller's options, but for those of each request.
    :param timeout: seconds for each piece of the response; None: no limit.
    """

    def __init__(self, arguments: dict[str, Any], timeout: float | None) -> None:
        self._arguments = arguments
        self._timeout = timeout
        # What websocket-client says of the response.
        self._error: Exception | None = None
        #: The caller's function that makes the keys of frames, or None.
        self.get_mask_key: GetMaskKey | None = None

    def ask(self, sock: Any, place: Destination, headers: Headers) -> Response:
        """Send the request and read the response; waits."""
        special = {name.lower(): value for name, value in headers}
        cookies = [value for name, value in headers if name.lower() == 'cookie']
        others = [one for one in headers if one[0].lower() not in ('cookie', 'host', 'origin')]
        options = {
            **self._arguments,
            'cookie': '; '.join(cookies),
            'header': _for_websocket_client(others),
            'host': special.get('host') or host_header(place.netloc),
            'origin': special.get('origin'),
            'redirect_limit': 0,
        }
        url = f'{"wss" if place.secure else "ws"}://{host_header(place.netloc)}{place.target}'
        reader = _Reader(cooperative(sock), _foreign_cookies(url))
        self._error = None  # The response before a redirect may have had one.
        made = None
        try:
            made = websocket.create_connection(url, self._timeout, socket=reader, **options)
        except websocket.WebSocketTimeoutException as exc:
            raise TimeoutError(str(exc)) from exc
        except (websocket.WebSocketException, OSError) as exc:
            if reader.error is not None:
                raise reader.error from None
            if isinstance(exc, OSError):
                raise
            self._error = exc
        if reader.answer is None:
            raise ConnectionClosed(
                f'websocket-client did not use the connection: {self._error or type(made).__name__}'
            )
        if made is not None:
            self.get_mask_key = getattr(made, 'get_mask_key', None)
            _warn_of_methods(type(made))
        return reader.answer

    def check(self, answer: Response, place: Destination) -> None:
        """Check the response.

        :raises HTTPError: the server refused.
        :raises ProtocolError: the response is invalid.
        """
        if answer.status == 101 and self._error is None:
            return
        # For an error that says what is wrong.
        check_answer(answer, place, None, self._arguments.get('subprotocols') or ())
        accept = answer.headers.get('sec-websocket-accept')
        raise ProtocolError(
            f'websocket handshake: {self._error}, such as Sec-WebSocket-Accept: {accept}'
        ) from self._error


class _Reader:
    """The socket that websocket-client gets. It reads the response whole, and gives it by lines.

    The response is then the same as for other clients, cookies included, and is not read byte by
    byte from the system.

    :param sock: the connected socket.
    :param foreign: the cookies that websocket-client adds to the request, and that are left out.
    """

    def __init__(self, sock: Any, foreign: str) -> None:
        self._sock = sock
        self._foreign = foreign.encode()
        self.answer: Response | None = None
        #: Why there is no response.
        self.error: Exception | None = None

    def send(self, data: bytes) -> int:
        self.sendall(data)
        return len(data)

    def sendall(self, data: bytes) -> None:
        if self._foreign:
            line = b'\r\nCookie: ' + self._foreign
            data = data.replace(line + b'\r\n', b'\r\n').replace(line + b'; ', b'\r\nCookie: ')
        # websocket-client sends UTF-8. Without it, this package sends Latin-1. What a class of the
        # caller's sends by itself may be neither.
        with contextlib.suppress(UnicodeError):
            data = data.decode().encode('latin-1')
        self._sock.sendall(data)

    def recv(self, size: int) -> bytes:
        if self.answer is None:
            try:
                self.answer = read_response(self._sock, MAX_REFUSAL, websocket=True)
            except TimeoutError:
                raise
            except Exception as exc:
                self.error = exc
                raise OSError(str(exc)) from exc
            self._head: bytes = _head_of(self.answer)
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


class KeyedStream:
    """A stream whose frames have masking keys from the caller's function.

    If the function fails, the connection is lost.

    :param stream: the stream.
    :param get_mask_key: the function. It must not wait: frames are also written in the hub.
    """

    def __init__(self, stream: Stream, get_mask_key: GetMaskKey) -> None:
        self._stream = stream
        self._get_mask_key = get_mask_key

    def write(self, data: bytes) -> int:
        keyed = self._keyed(lambda: with_new_keys(data, self._new_key))
        return -1 if keyed is None else self._stream.write(keyed)

    def write_first(self, kind: int, data: bytes) -> int:
        keyed = self._keyed(lambda: with_new_keys(data, self._new_key))
        return -1 if keyed is None else self._stream.write_first(kind, keyed)

    def write_large(self, frame: LargeFrame) -> int:
        key = self._keyed(self._new_key)
        if key is None:
            return -1
        frame.change_key(key)
        return self._stream.write_large(frame)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def _keyed(self, make: Callable[[], bytes]) -> bytes | None:
        """What a function makes with new keys; None: the stream is closed, perhaps only now."""
        if self._stream.closed:
            return None
        try:
            return make()
        except Exception as exc:
            name = type(exc).__name__
            error = ConnectionClosed(
                f'websocket_extra_options: get_mask_key failed: {name}: {error_text(exc)}'
            )
            error.__cause__ = exc
            self._stream.fail(error)
            return None

    def _new_key(self) -> bytes:
        key = self._get_mask_key(4)
        if isinstance(key, str):
            key = key.encode('latin-1')
        if not isinstance(key, (bytes, bytearray)) or len(key) != 4:
            raise ValueError('it must return 4 bytes')
        return bytes(key)


def _foreign_cookies(url: str) -> str:
    """The cookies that websocket-client has for a host, from connections of others."""
    return str(websocket._handshake.CookieJar.get(urlsplit(url).hostname or ''))


def _head_of(answer: Response) -> bytes:
    """A response for websocket-client: without its cookies, and with the size of its body."""
    headers = {**answer.headers, 'content-length': str(len(answer.body))}
    lines = [f'HTTP/1.1 {answer.status} -', *(f'{n}: {v}' for n, v in headers.items())]
    return '\r\n'.join([*lines, '', '']).encode() + answer.body


def _for_websocket_client(headers: Headers) -> dict[str, str] | list[str]:
    """The option ``header``: a dict, in which websocket-client looks for its own headers."""
    if len({name.lower() for name, _ in headers}) == len(headers):
        return {_REPLACEABLE.get(name.lower(), name): value for name, value in headers}
    # In a list it does not look, and would send its own, too.
    return [f'{name}: {value}' for name, value in headers if name.lower() not in _REPLACEABLE]


def _warn_of_methods(kind: type) -> None:
    """Warn of methods of a class of the caller's that are not called."""
    for name in sorted(_NEVER_CALLED):
        if getattr(kind, name, None) is not getattr(websocket.WebSocket, name, None):
            warn(f'{kind.__name__}.{name}() is not called after the handshake')
