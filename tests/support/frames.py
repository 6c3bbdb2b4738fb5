"""Websockets by their bytes, from a server's side."""

import base64
import hashlib
import struct

from .http1 import read_exactly, read_request

TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10
"""Opcodes of websocket frames; 0 continues a message."""


def accept_websocket(sock, request=None, headers=()):
    """Answer a websocket handshake, after reading it where it is not given; returns the request."""
    request = request or read_request(sock)
    key = request.headers['sec-websocket-key'] + '258EAFA5-E914-47DA-95CA-C5AB0DC85B11'
    accept = base64.b64encode(hashlib.sha1(key.encode()).digest()).decode()
    lines = [
        'HTTP/1.1 101 Switching Protocols',
        'Upgrade: websocket',
        'Connection: Upgrade',
        f'Sec-WebSocket-Accept: {accept}',
        *(f'{name}: {value}' for name, value in headers),
    ]
    sock.sendall('\r\n'.join([*lines, '', '']).encode('latin-1'))
    return request


def frame(payload=b'', opcode=TEXT, *, fin=True, rsv=0, mask=None, length=None):
    """The bytes of a websocket frame as a server sends it, or as it must not.

    :param payload: text or bytes.
    :param rsv: the three reserved bits, 0 to 7.
    :param mask: four bytes to mask with, which no server does.
    :param length: the length to announce instead of the payload's own.
    """
    payload = payload.encode() if isinstance(payload, str) else bytes(payload)
    length = len(payload) if length is None else length
    masked = 0x80 if mask else 0
    head = bytes([(0x80 if fin else 0) | rsv << 4 | opcode])
    if length < 126:
        head += bytes([masked | length])
    elif length < 0x10000:
        head += struct.pack('!BH', masked | 126, length)
    else:
        head += struct.pack('!BQ', masked | 127, length)
    if mask:
        head += mask
        payload = _masked(payload, mask)
    return head + payload


def send_frame(sock, payload=b'', opcode=TEXT, **kwargs):
    """Send a websocket frame, see `frame`."""
    sock.sendall(frame(payload, opcode, **kwargs))


def close_frame(code=1000, reason=''):
    """The bytes of a close frame."""
    return frame(struct.pack('!H', code) + reason.encode(), CLOSE)


def read_frame(sock):
    """Read one frame of a client: (opcode, payload). It must be whole and masked."""
    first, second = read_exactly(sock, 2)
    assert first & 0xF0 == 0x80, f'a fragment, or a reserved bit: {first:#x}'
    assert second & 0x80, 'a client must mask its frames'
    length = second & 0x7F
    if length == 126:
        (length,) = struct.unpack('!H', read_exactly(sock, 2))
    elif length == 127:
        (length,) = struct.unpack('!Q', read_exactly(sock, 8))
    mask = read_exactly(sock, 4)
    return first & 0x0F, _masked(read_exactly(sock, length), mask)


def _masked(payload, mask):
    repeated = (mask * (len(payload) // 4 + 1))[: len(payload)]
    whole = int.from_bytes(payload, 'big') ^ int.from_bytes(repeated, 'big')
    return whole.to_bytes(len(payload), 'big')
