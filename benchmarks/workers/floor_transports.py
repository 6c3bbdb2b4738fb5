"""The transports of the bare loop. They do not check the responses of the server."""

from __future__ import annotations

import struct
from collections.abc import Callable
from urllib.parse import urlsplit

import gevent
from gevent.hub import get_hub

from .floor_wire import Wire

Packet = str | bytes

#: A mask of zeros leaves all bytes unchanged, so the bare loop has no cost of masking.
_KEY = b'\0\0\0\0'


def _frame(data: Packet) -> bytes:
    opcode, body = (0x81, data.encode()) if isinstance(data, str) else (0x82, data)
    size = len(body)
    if size < 126:
        head = bytes((opcode, 0x80 | size))
    elif size < 65536:
        head = struct.pack('>BBH', opcode, 0xFE, size)
    else:
        head = struct.pack('>BBQ', opcode, 0xFF, size)
    return head + _KEY + body


class WebSocket:
    """A websocket connection."""

    __slots__ = ('_missing', '_on_packet', '_pieces', 'wire')

    def __init__(self, url: str, query: str, on_packet: Callable[[Packet], None]) -> None:
        self.wire = Wire(url)
        self._on_packet = on_packet
        self._pieces: list[bytes] = []
        self._missing = 0
        head = (
            f'GET /engine.io/?{query}EIO=4&transport=websocket HTTP/1.1\r\n'
            f'Host: {urlsplit(url).netloc}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n'
            'Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n'
        )
        _, rest = self.wire.ask(head.encode())
        self._feed(rest)

    def pump(self) -> None:
        """Wait for data, before :meth:`start`."""
        self._feed(self.wire.receive())

    def start(self) -> None:
        """Receive all further packets in the hub."""
        self.wire.start(self._feed)

    def _feed(self, data: bytes) -> None:
        if self._pieces:
            self._pieces.append(data)
            self._missing -= len(data)
            if self._missing > 0:
                return
            data = b''.join(self._pieces)
            self._pieces.clear()
        start, end, missing = 0, len(data), 1
        while end - start >= 2:
            size, body = data[start + 1], start + 2
            if size == 126:
                body = start + 4
                size = int.from_bytes(data[start + 2 : body], 'big')
            elif size == 127:
                body = start + 10
                size = int.from_bytes(data[start + 2 : body], 'big')
            after = body + size
            if after > end:
                missing = after - end
                break
            opcode = data[start] & 15
            start = after
            if opcode == 1:
                self._on_packet(data[body:after].decode())
            elif opcode == 2:
                self._on_packet(data[body:after])
        if start < end:
            self._pieces.append(data[start:])
            self._missing = missing

    def send(self, packet: Packet) -> None:
        """Send a packet as a frame."""
        self.wire.write(_frame(packet))

    def close(self) -> None:
        """Send a close frame, and close."""
        self.wire.write(b'\x88\x80\0\0\0\0')
        self.wire.close()


class Polling:
    """Polling: GET over one connection, POST over another."""

    __slots__ = (
        '_answer',
        '_get',
        '_getter',
        '_on_packet',
        '_out',
        '_post',
        '_poster',
        '_posting',
        '_url',
    )

    def __init__(self, url: str, on_packet: Callable[[Packet], None]) -> None:
        self._on_packet = on_packet
        self._url = url
        self._get = b''
        self._post = ''
        self._out: list[str] = []
        self._answer = bytearray()
        self._posting = False
        self._poster: Wire | None = None
        self._getter = Wire(url)
        _, body = self._getter.ask(self._request('GET', '').encode() + b'\r\n')
        on_packet(body.decode())

    def _request(self, method: str, sid: str) -> str:
        return (
            f'{method} /engine.io/?EIO=4&transport=polling{sid} HTTP/1.1\r\n'
            f'Host: {urlsplit(self._url).netloc}\r\n'
        )

    def start(self, sid: str) -> None:
        """Begin to poll."""
        self._get = self._request('GET', f'&sid={sid}').encode() + b'\r\n'
        self._post = self._request('POST', f'&sid={sid}')
        self._getter.start(self._feed)
        self._getter.write(self._get)

    def _feed(self, data: bytes) -> None:
        answer = self._answer
        answer += data
        head = answer.find(b'\r\n\r\n')
        if head < 0:
            return
        length = answer.find(b'Content-Length: ') + 16
        size = int(answer[length : answer.find(b'\r', length)])
        if len(answer) < head + 4 + size:
            return
        body = answer[head + 4 :].decode()
        answer.clear()
        self._getter.write(self._get)
        for packet in body.split('\x1e'):
            self._on_packet(packet)

    def send(self, packet: Packet) -> None:
        """Send a packet. Packets that are sent during a POST go with the next one."""
        assert isinstance(packet, str)
        self._out.append(packet)
        if not self._posting:
            self._posting = True
            get_hub().loop.run_callback(self._flush)

    def _flush(self) -> None:
        if self._poster is None:
            gevent.spawn(self._connect)
        elif self._out:
            body = '\x1e'.join(self._out).encode()
            self._out.clear()
            self._poster.write(f'{self._post}Content-Length: {len(body)}\r\n\r\n'.encode() + body)
        else:
            self._posting = False

    def _connect(self) -> None:
        self._poster = Wire(self._url)
        self._poster.start(self._posted)
        self._flush()

    def _posted(self, _answer: bytes) -> None:
        self._flush()

    def close(self) -> None:
        """Close both connections without a close packet."""
        self._getter.close()
        if self._poster is not None:
            self._poster.close()
