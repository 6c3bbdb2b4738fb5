"""HTTP requests and websocket frames over a connected socket."""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Iterable
from typing import Any

from gevent import sleep

from ...exceptions import ConnectionClosed, EngineIOError, ProtocolError
from ...protocol import frames, packet
from ...protocol.frames import CLOSE, PING, PONG, TEXT, FrameDecoder, encode_close, encode_frame
from ...protocol.http1 import Response, encode_request
from ...transports import handshake
from ...transports.http_reader import read_response

#: The largest response or message that is accepted, in bytes.
MAX_SIZE = 1 << 20


def exchange(
    sock: Any, method: str, target: str, headers: Iterable[tuple[str, str]], body: bytes | None
) -> Response:
    """Send a request and read the response; waits."""
    sock.sendall(encode_request(method, target, headers, body))
    return read_response(sock, MAX_SIZE)


class LateRefusal(EngineIOError):
    """The server sent an HTTP response over the open websocket, as engine.io does.

    :param response: the response.
    """

    def __init__(self, response: Response) -> None:
        super().__init__(f'HTTP {response.status} after the websocket opened')
        self.response = response


class Frames:
    """Packets over an open websocket, one at a time.

    :param sock: the socket.
    :param leftover: bytes that came after the HTTP response.
    """

    def __init__(self, sock: Any, leftover: bytes) -> None:
        self._sock = sock
        self._decoder = FrameDecoder(MAX_SIZE)
        self._leftover = leftover
        self._packets: deque[tuple[int, str | bytes]] = deque()

    def send(self, text: str) -> None:
        """Send a packet; waits."""
        self._sock.sendall(encode_frame(TEXT, text))

    def next(self) -> tuple[int, str | bytes]:
        """The next packet; waits.

        :raises ConnectionClosed: the server closed the websocket.
        :raises ProtocolError: the bytes are not an Engine.IO packet.
        :raises LateRefusal: they are an HTTP response.
        """
        while True:
            while not self._packets:
                # A server that never stops sending must not prevent the timeout.
                sleep(0)
                data, self._leftover = self._leftover or self._sock.recv(65536), b''
                if not data:
                    raise ConnectionClosed('the server closed the connection')
                try:
                    self._packets.extend(self._decoder.feed(data))
                except ProtocolError:
                    self._read_refusal()
                    raise
            opcode, message = self._packets.popleft()
            if opcode == PING:
                self._sock.sendall(encode_frame(PONG, message))
            elif opcode == CLOSE:
                assert isinstance(message, bytes)
                code, reason = frames.parse_close(message)
                words = f'the server closed the websocket with code {code}'
                raise ConnectionClosed(f'{words}: {reason}' if reason else words, code, reason)
            elif opcode != PONG:
                return packet.decode(message)

    def _read_refusal(self) -> None:
        """Read the HTTP response that the server sends in the place of frames, if it does; waits.

        :raises LateRefusal: it does.
        """
        data = self._decoder.unread
        if not data.startswith(handshake.LateRefusal.BEGINS):
            return
        response = Response(MAX_SIZE)
        with contextlib.suppress(EngineIOError, OSError):
            while not response.feed(data):
                data = self._sock.recv(65536)
                if not data:
                    response.end()
                    break
        if response.status:
            raise LateRefusal(response)

    def leave(self) -> None:
        """Send a CLOSE packet and a close frame, and wait until the server closes."""
        self.send(str(packet.CLOSE))
        self._sock.sendall(encode_frame(CLOSE, encode_close()))
        with contextlib.suppress(ConnectionClosed, ConnectionError):
            while True:
                self.next()
