"""HTTP and websocket frames over a connected socket, with what came kept to look at."""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Iterable
from typing import Any

from gevent import sleep

from ...exceptions import ConnectionClosed, EngineIOError
from ...protocol import frames, packet
from ...protocol.frames import CLOSE, PING, PONG, TEXT, FrameDecoder, encode_close, encode_frame
from ...transports.http1 import MAX_HEAD, Response, encode_request

#: Bytes of the largest answer or message that is taken.
MAX_SIZE = 1 << 20


def exchange(
    sock: Any, method: str, target: str, headers: Iterable[tuple[str, str]], body: bytes | None
) -> Response:
    """Send a request and read the answer; waits."""
    sock.sendall(encode_request(method, target, headers, body))
    return Response(sock, MAX_SIZE)


class RecordingSocket:
    """A socket that remembers the first of what came: the answer to a websocket's request.

    :param sock: a connected socket.
    """

    def __init__(self, sock: Any) -> None:
        self._sock = sock
        self._received = bytearray()

    def recv(self, size: int) -> bytes:
        """As the socket's."""
        data: bytes = self._sock.recv(size)
        if len(self._received) < MAX_HEAD:
            self._received += data
        return data

    def __getattr__(self, name: str) -> Any:
        return getattr(self._sock, name)

    def answer(self) -> Response | None:
        """The HTTP answer, as far as there was one."""
        with contextlib.suppress(EngineIOError, OSError):
            return Response(Replay(bytes(self._received)), MAX_SIZE, upgrading=True)
        return None


class Replay:
    """What a :class:`.Response` is read from again."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def recv(self, size: int) -> bytes:
        data, self._data = self._data, b''
        return data

    def setsockopt(self, *_options: int) -> None:
        """There is no socket."""


class Frames:
    """Packets over an open websocket, one at a time.

    :param sock: the socket.
    :param leftover: what came after the answer to the handshake.
    """

    def __init__(self, sock: Any, leftover: bytes) -> None:
        self._sock = sock
        self._decoder = FrameDecoder(MAX_SIZE)
        self._leftover = leftover
        self._come: deque[tuple[int, str | bytes]] = deque()

    def send(self, text: str) -> None:
        """Send a packet; waits."""
        self._sock.sendall(encode_frame(TEXT, text))

    def next(self) -> tuple[int, str | bytes]:
        """The next packet; waits.

        :raises ConnectionClosed: the server has closed the websocket.
        :raises ProtocolError: what came is none.
        """
        while True:
            while not self._come:
                # One that never stops must not keep a time-out from being noticed.
                sleep(0)
                data, self._leftover = self._leftover or self._sock.recv(65536), b''
                if not data:
                    raise ConnectionClosed('the server closed the connection')
                self._come.extend(self._decoder.feed(data))
            opcode, message = self._come.popleft()
            if opcode == PING:
                self._sock.sendall(encode_frame(PONG, message))
            elif opcode == CLOSE:
                assert isinstance(message, bytes)
                code, reason = frames.parse_close(message)
                words = f'the server closed the websocket with code {code}'
                raise ConnectionClosed(f'{words}: {reason}' if reason else words, code, reason)
            elif opcode != PONG:
                return packet.decode(message)

    def leave(self) -> None:
        """Say goodbye in order, and wait for the server to close; waits."""
        self.send(str(packet.CLOSE))
        self._sock.sendall(encode_frame(CLOSE, encode_close()))
        with contextlib.suppress(ConnectionClosed, ConnectionError):
            while True:
                self.next()
