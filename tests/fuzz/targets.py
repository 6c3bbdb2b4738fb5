"""What is fuzzed, and what has to hold for every input.

A target is called with an input and a source of chance, and returns in a few
words what came of it. Whatever it raises is a finding.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import math
import re
import socket
import struct
import zlib
from collections.abc import Callable
from random import Random
from typing import Any, NamedTuple
from urllib.parse import quote

from gevent.event import AsyncResult

from engineio_gevent.exceptions import ConnectionClosed, EngineIOError, ProtocolError
from engineio_gevent.protocol import open_packet, packet, payload
from engineio_gevent.protocol.frames import MESSAGE, FrameDecoder, parse_close
from engineio_gevent.protocol.http1 import MAX_HEADERS, Response
from engineio_gevent.transports.cookies import Cookies
from engineio_gevent.transports.direct import DirectHTTP
from engineio_gevent.transports.opening import open_websocket
from engineio_gevent.transports.route import Route

from . import compare, reference
from .mutation import cut

#: The largest message, and body, that the targets take.
LIMIT = 1000

_DIGITS = re.compile(r'\d+')


class Target(NamedTuple):
    """Something that takes bytes from a server."""

    name: str
    check: Callable[[bytes, Random], object]
    #: Inputs to begin with.
    seeds: list[bytes]
    #: Pieces that mean something.
    tokens: list[bytes]
    #: Makes an input by the rules.
    grown: Callable[[Random], bytes]


class Socket:
    """A socket from which these pieces come, one a call; then the end of the file."""

    def __init__(self, pieces: list[bytes]) -> None:
        self._pieces = pieces[::-1]
        self.reads = 0

    def recv(self, size: int) -> bytes:
        self.reads += 1
        if not self._pieces:
            return b''
        piece = self._pieces.pop()
        if len(piece) > size:
            self._pieces.append(piece[size:])
        return piece[:size]

    def setsockopt(self, level: int, option: int, value: int) -> None:
        pass


def _kind(error: BaseException) -> str:
    """An error without what differs from input to input."""
    return type(error).__name__ + _DIGITS.sub('#', str(error))[:44]


# -- Frames ----------------------------------------------------------------------------------------


def _decoded(
    pieces: list[bytes], split: Any = None, take_digit: bool = False
) -> tuple[reference.Messages, int | None]:
    decoder = FrameDecoder(LIMIT, take_digit)
    messages: reference.Messages = []
    for number, piece in enumerate(pieces):
        try:
            if split is not None and decoder.idle:
                found, end = split(piece, LIMIT)
                messages += [(1, f'4{one}') if isinstance(one, str) else (2, one) for one in found]
                piece = piece[end:]
            messages += [
                (1, f'4{data!s}') if opcode == MESSAGE else (opcode, data)
                for opcode, data in decoder.feed(piece)
            ]
        except ProtocolError as fault:
            messages += fault.decoded
            for later in pieces[number + 1 :]:
                assert decoder.feed(later) == [], 'it read on after a fault'
            return messages, fault.code
    return messages, None


def check_frames(data: bytes, random: Random) -> object:
    whole = _decoded([data])
    assert whole == _decoded(cut(random, data)), 'a cut makes a difference'
    assert whole == reference.frames(data, LIMIT), reference.frames(data, LIMIT)
    for split in compare.both('split_messages'):
        assert whole == _decoded([data], split), 'another result by split_messages()'
        assert whole == _decoded(cut(random, data), split, take_digit=True), 'after a cut'
    messages, code = whole
    for opcode, message in messages:
        if opcode == 8:
            assert isinstance(message, bytes)
            parse_close(message)
    return code, tuple(opcode for opcode, _ in messages[:5])


def check_compiled(data: bytes, random: Random) -> object:
    """The extension in C does what the Python does; without it, only the Python is checked."""
    limit = random.choice((LIMIT, len(data), 0, -1, 1 << 62, 1 << 70))
    found = compare.outcome('split_messages', data, limit)
    at = int(random.random() * (len(data) + 1))
    payload: Any = data[at:]
    kind = random.choice(('bytes', 'text', 'utf-8', 'ascii', 'bytearray', 'view'))
    if kind == 'text':
        payload = payload.decode('utf-8', 'surrogateescape')
    elif kind == 'utf-8':
        payload = payload.decode('utf-8', 'replace')
    elif kind == 'ascii':
        payload = payload.decode('ascii', 'ignore')
    elif kind == 'bytearray':
        payload = bytearray(payload)
    elif kind == 'view':
        payload = memoryview(payload)[:: random.choice((1, 2, -1))]
    opcode = random.choice((1, 2, 8, 9, 10, int(random.random() * 20)))
    frame = compare.outcome('encode_frame', opcode, payload)
    masked = None
    if kind not in ('bytearray', 'view'):
        start, stop = (int(random.random() * 2 * len(data)) - at for _ in range(2))
        key = random.randbytes(4 if random.random() < 0.9 else at % 7)
        masked = compare.outcome('mask', payload, key, start, stop)
    return kind, opcode, len(found[0]), found[1] == len(data), type(frame), type(masked)


def grow_frames(random: Random) -> bytes:
    data = bytearray()
    for _ in range(1 + int(random.random() * 5)):
        first = random.choice((1, 2, 0, 0x81, 0x82, 0x80, 0x80, 0x89, 0x8A, 0x88, 0x83, 0xC1))
        size = random.choice((0, 1, 2, 7, 125, 126, 127, 300, LIMIT, LIMIT + 1))
        if size > 127 and random.random() < 0.7:
            size = int(random.random() * 30)
        data.append(first)
        if size < 126:
            data.append(size)
        elif random.random() < 0.9:
            data += struct.pack('!BH', 126, size)
        else:
            data += struct.pack('!BQ', 127, size)
        if first == 0x88 and size > 1:
            data += struct.pack('!H', random.choice((1000, 1001, 1005, 1011, 3000, 4999, 999)))
            size -= 2
        data += (
            random.randbytes(size)
            if random.random() < 0.4
            else b'\xc3\xa9' * (size // 2) + (b'x' * (size % 2))
        )
    return bytes(data)


FRAMES = Target(
    'frames',
    check_frames,
    [
        b'\x81\x05Hello',
        b'\x01\x03Hel\x80\x02lo',
        b'\x01\x03Hel\x89\x01p\x80\x02lo',
        b'\x88\x00',
        b'\x88\x02\x03\xe8',
        b'\x82\x7e\x01\x00' + bytes(256),
        b'\x81\x02\xc3\xa9',
        b'\x88\x05\x03\xe8bye',
        b'\x82\x7f\0\0\0\0\0\1\0\0' + bytes(100),
    ],
    [
        b'\x80\x00',
        b'\x00\x00',
        b'\x81\x7e',
        b'\x82\x7f',
        b'\x89\x7d',
        b'\xff' * 8,
        b'\x7e\x00\x7d',
        b'\x88\x02\x03\xed',
        b'\xed\xa0\x80',
        b'\xf4\x90\x80\x80',
        b'\x01\x01\xe2',
        b'\x80\x02\x82\xac',
        struct.pack('!BQ', 127, 1 << 63),
        struct.pack('!BQ', 127, (1 << 63) - 1),
    ],
    grow_frames,
)

COMPILED = FRAMES._replace(name='compiled', check=check_compiled)


# -- Polling bodies --------------------------------------------------------------------------------


def check_payload(data: bytes, random: Random) -> object:
    fault = None
    try:
        packets = payload.decode(data)
    except ProtocolError as error:
        packets, fault = error.decoded, error
    wanted, good = reference.packets(data)
    if good is None:
        assert packets[: len(wanted)] == wanted
    else:
        assert (packets, fault is None) == (wanted, good), (wanted, good)
    for packet_type, content in packets[:20]:
        assert 0 <= packet_type <= 6
        if isinstance(content, str):
            payload.encode_packet(f'{packet_type}{content}')
            packet.parse_text(content, json.loads)
    return fault and _kind(fault), tuple(type_ for type_, _ in packets[:4])


def grow_payload(random: Random) -> bytes:
    parts = []
    for _ in range(1 + int(random.random() * 6)):
        kind = int(random.random() * 6)
        if kind == 0:
            parts.append(b'b' + base64.b64encode(random.randbytes(int(random.random() * 20))))
        elif kind == 1:
            parts.append(b'4' + grow_json(random))
        else:
            parts.append(
                b'%d' % int(random.random() * 8)
                + random.choice(
                    (b'', b'probe', b'hello', 'caf\xe9 \u20ac \U0001f600'.encode(), b'{"a":[1]}')
                )
            )
    return b'\x1e'.join(parts)


PAYLOAD = Target(
    'payload',
    check_payload,
    [
        b'4hello',
        b'4hello\x1e2\x1eb3q2+7w==',
        b'0{"sid":"a"}',
        b'4',
        b'b',
        b'bAA==',
        b'4[1,{"a":2}]',
        '4\u20ac\x1e4\U0001f600'.encode(),
        b'',
    ],
    [
        b'\x1e',
        b'b',
        b'=',
        b'==',
        b'AAAA',
        b'4',
        b'7',
        b'\xff',
        b'\xed\xa0\x80',
        b'"',
        b'[',
        b'{',
        b'\xe2\x82',
        b'4[',
        b'NaN',
    ],
    grow_payload,
)


# -- JSON: the handshake, and the text of messages -------------------------------------------------


_SCALARS = (
    b'0',
    b'-1',
    b'25000',
    b'1e5',
    b'1e999',
    b'1e-999',
    b'NaN',
    b'Infinity',
    b'-Infinity',
    b'true',
    b'false',
    b'null',
    b'""',
    b'"abc"',
    b'"\\ud800"',
    b'"\\u0000"',
    b'"a\\nb"',
    b'1' * 400,
    b'0.0001',
    b'"websocket"',
    b'2e400',
    b'-0.0',
    b'1' * 5000,
)


def grow_json(random: Random, depth: int = 0) -> bytes:
    kind = random.random()
    if kind < 0.6 or depth > 4:
        return random.choice(_SCALARS)
    items = [grow_json(random, depth + 1) for _ in range(int(random.random() * 4))]
    if kind < 0.8:
        return b'[' + b','.join(items) + b']'
    return b'{' + b','.join(b'"k%d":%s' % pair for pair in enumerate(items)) + b'}'


_USUAL = {
    b'sid': b'"abc"',
    b'upgrades': b'["websocket"]',
    b'pingInterval': b'25000',
    b'pingTimeout': b'20000',
    b'maxPayload': b'1000000',
}


def grow_handshake(random: Random) -> bytes:
    fields = dict(_USUAL)
    for name in _USUAL:
        chance = random.random()
        if chance < 0.05:
            del fields[name]
        elif chance < 0.2:
            fields[name] = grow_json(random)
    return b'{' + b','.join(b'"%s":%s' % field for field in fields.items()) + b'}'


def check_handshake(data: bytes, random: Random) -> object:
    text = data.decode('utf-8', 'surrogateescape' if random.random() < 0.1 else 'replace')
    try:
        found = open_packet.parse(text)
    except ProtocolError as error:
        if len(str(error)) > 500:  # it may show 40 characters as escapes of 10
            raise AssertionError('a long message') from error
        return _kind(error)
    fields = json.loads(text)
    assert found.sid == fields['sid']
    assert quote(found.sid, safe='')
    assert list(found.upgrades) == fields['upgrades']
    assert math.isfinite(found.ping_interval + found.ping_timeout)
    assert found.ping_interval > 0
    assert found.ping_timeout >= 0
    assert found.max_payload is None or (type(found.max_payload) is int and found.max_payload > 0)
    return 'good'


HANDSHAKE = Target(
    'handshake',
    check_handshake,
    [
        b'{' + b','.join(b'"%s":%s' % field for field in _USUAL.items()) + b'}',
        b'{}',
        b'[]',
        b'null',
        b'{"sid":"a","upgrades":[],"pingInterval":1,"pingTimeout":0}',
    ],
    [
        b'"sid":',
        b'"pingInterval":',
        b'"pingTimeout":',
        b'"maxPayload":',
        b'"upgrades":',
        b'{',
        b'}',
        b'[',
        b']',
        b',',
        b':',
        b'"',
        b'\\',
        b'\\u0000',
        b'\\ud800',
        *_SCALARS,
    ],
    grow_handshake,
)


def check_text(data: bytes, random: Random) -> object:
    """Nothing is refused here: what is no JSON stays as it is."""
    text = data.decode('utf-8', 'replace')
    found = packet.parse_text(text, json.loads)
    try:
        wanted = text if text[:1].isnumeric() else json.loads(text)
    except (ValueError, RecursionError):
        wanted = text
    assert repr(found) == repr(wanted), wanted  # NaN is not itself
    return type(found).__name__, found is text, text[:1]


TEXT = Target(
    'text',
    check_text,
    [b'hello', b'{"a":[1,2,{"b":null}]}', b'[]', b'"text"', b'-1', b'true', b' [1]', b'123', b''],
    [
        b'[',
        b'{"a":',
        b'"',
        b'\\',
        b'[' * 300,
        b'{"a":' * 300,
        b']',
        b'}',
        b',',
        b'NaN',
        b'-',
        b'\xc2\xb2',
        b'\xd9\xa1',
        b'Infinity',
        *_SCALARS,
    ],
    grow_json,
)


# -- Responses -------------------------------------------------------------------------------------


def _response(pieces: list[bytes]) -> tuple[Any, ...]:
    """What a client gets of a polling response: (status, body, cookies, packets), or an error."""
    response = Response(LIMIT)
    try:
        if not any(map(response.feed, pieces)):  # up to the one that completes it
            response.end()
        assert len(response.body) <= LIMIT
        assert len(response.headers) + len(response.cookies) <= MAX_HEADERS
        if response.status not in (101, 204, 304):  # the others may have a body
            assert response.headers.get('transfer-encoding', 'chunked').lower() == 'chunked'
        content = response.content(LIMIT)
        assert len(content) <= LIMIT
        packets = payload.decode(content)
    except ProtocolError as error:
        # What is no HTTP is refused at the first byte that shows it, of what has come by then.
        text = str(error).partition(': it begins ')[0]
        return 'fault', error.code, text, error.decoded
    except ConnectionClosed as error:
        return type(error).__name__, str(error)
    return response.status, response.headers, content, response.cookies, packets


# The head of the final response, after interim ones.
_FINAL = re.compile(rb'(?:\A|\n\r?\n)HTTP/1\.(\d) [2-9]')


def _check_cut(data: bytes, random: Random) -> None:
    """A response that says how long it is is an error wherever the connection cuts it."""
    response = Response(LIMIT)
    if response.feed(data) and {'content-length', 'transfer-encoding'} & response.headers.keys():
        part = Response(LIMIT)
        end = int(random.random() * (len(data) - len(response.rest)))
        try:
            part.feed(data[:end])
            part.end()
        except EngineIOError:
            return
        # A body above the limit is not read, if the status says enough.
        assert part.status >= 300, f'whole, though cut at {end}'
        assert not part.body, f'whole, though cut at {end}'


def _check_final(data: bytes) -> None:
    """What zlib and RFC 9112 say of a good response."""
    response = Response(LIMIT)
    if not response.feed(data):
        response.end()
    found = _FINAL.search(data)
    if response.status in (101, 204, 304) or found is None:
        return
    both = 'content-length' in response.headers or found[1] == b'0'
    if 'transfer-encoding' in response.headers and both:  # section 6.1
        assert not response.keep_alive, 'others may read another body'
    coding = response.headers.get('content-encoding', '').lower()
    if response.status < 300 and coding == 'gzip' and response.body.startswith(b'\x1f\x8b'):
        content, rest = b'', response.body
        while rest:
            member = zlib.decompressobj(zlib.MAX_WBITS | 16)
            content += member.decompress(rest)
            assert member.eof, 'a member that is cut'
            rest = member.unused_data
        assert response.content(LIMIT) == content


def check_response(data: bytes, random: Random) -> object:
    whole = _response([data])
    assert whole == _response(cut(random, data)), 'a cut makes a difference'
    if isinstance(whole[0], int):
        _check_cut(data, random)
        _check_final(data)
        return whole[0], tuple(whole[1]), len(whole[4])
    return whole[0], _DIGITS.sub('#', str(whole[-1 if whole[0] != 'fault' else 2]))[:24]


def _compressed(random: Random, body: bytes) -> tuple[bytes, bytes]:
    how = int(random.random() * 5)
    if how < 2:
        parts = [body] if how else cut(random, body)
        members = b''.join(gzip.compress(part, 1, mtime=0) for part in parts)
        junk = random.choice((b'', b'', b'', b'\0', b'junk', b'\x1f\x8b'))
        return b'gzip', members + junk
    raw = zlib.compressobj(1, zlib.DEFLATED, -zlib.MAX_WBITS)
    if how == 2:
        return b'deflate', raw.compress(body) + raw.flush()
    return b'deflate', zlib.compress(body, 1)


def grow_response(random: Random) -> bytes:
    status = random.choice(
        (
            b'200 OK',
            b'200',
            b'204 No Content',
            b'400 Bad Request',
            b'302 Found',
            b'502 x',
            b'100 Continue',
            b'101 Switching',
            b'999 \xff',
            b'304 x',
        )
    )
    lines = [random.choice((b'HTTP/1.1 ', b'HTTP/1.1 ', b'HTTP/1.0 ', b'HTTP/2 ')) + status]
    body = grow_payload(random) if random.random() < 0.9 else b'4' + b'x' * LIMIT * 3
    if random.random() < 0.3:
        encoding, body = _compressed(random, body)
        lines.append(b'Content-Encoding: ' + encoding)
    framing = random.random()
    if framing < 0.5:
        lines.append(b'Content-Length: %d' % len(body))
    elif framing < 0.8:
        lines.append(b'Transfer-Encoding: chunked')
        body = b''.join(
            b'%x%s\r\n%s\r\n' % (len(piece), random.choice((b'', b';a=b')), piece)
            for piece in cut(random, body)
            if piece
        )
        body += b'0\r\n' + random.choice((b'', b'X: trailer\r\n')) + b'\r\n'
    for _ in range(int(random.random() * 4)):
        lines.append(
            random.choice(
                (
                    b'Set-Cookie: io=abc; Path=/',
                    b'Connection: close',
                    b'Keep-Alive: timeout=5',
                    b'Content-Length: 5',
                    b'Content-Type: text/plain',
                    b'Location: /',
                    b'X:\xff',
                    b'X: a b',
                    b'Transfer-Encoding: identity',
                    b'Transfer-Encoding: chunked',
                    b'Connection: keep-alive',
                    b'X: a\rb',
                    b'Content-Encoding: br',
                    b' folded',
                )
            )
        )
    end = random.choice((b'\r\n', b'\r\n', b'\r\n', b'\n'))
    return end.join([*lines, b'', b'']) + body


RESPONSE = Target(
    'response',
    check_response,
    [
        b'HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n4hello',
        b'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n'
        b'3\r\n4he\r\n3;x=y\r\nllo\r\n0\r\n\r\n',
        b'HTTP/1.1 200 OK\r\n\r\n4hello\x1e2',
        b'HTTP/1.0 400 Bad\nContent-Length: 2\n\n{}',
        b'HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n',
        b'HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 26\r\n\r\n'
        + gzip.compress(b'4hello', mtime=0),
        b'HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\n'
        + gzip.compress(b'4hello', mtime=0) * 2,
        b'HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nTransfer-Encoding: chunked\r\n'
        b'Content-Length: 6\r\n\r\n6\r\n4hello\r\n0\r\n\r\n',
    ],
    [
        b'\r\n',
        b'\n',
        b'\r',
        b': ',
        b':',
        b'HTTP/1.1 ',
        b'Content-Length: ',
        b'Transfer-Encoding: ',
        b'chunked',
        b'gzip',
        b'Content-Encoding: ',
        b'0\r\n\r\n',
        b'ffffffffffffffff',
        b'-1',
        b'+5',
        b'0x5',
        b'1_0',
        b', ',
        b'5, 5',
        b'\x00',
        b' ',
        b'\t',
        b'\r\n\r\n',
        b'99999999999999999999',
        b'Set-Cookie: ',
        b'\xb2',
        b';',
        b'101',
        b'\x85',
        b'\x0b',
    ],
    grow_response,
)


class _Server(Socket):
    """Answers an opening handshake; `ACCEPT` in the answer becomes what the request asks for."""

    def __init__(self, answer: bytes, random: Random) -> None:
        super().__init__([])
        self.answer = answer
        self.closed = False
        self._random = random

    def sendall(self, request: bytes) -> None:
        key = request.partition(b'Sec-WebSocket-Key: ')[2].partition(b'\r\n')[0]
        digest = hashlib.sha1(key + b'258EAFA5-E914-47DA-95CA-C5AB0DC85B11').digest()
        self.answer = self.answer.replace(b'ACCEPT', base64.b64encode(digest))
        self._pieces = cut(self._random, self.answer)[::-1]

    def send(self, request: bytes) -> int:
        self.sendall(bytes(request))
        return len(request)

    def gettimeout(self) -> float | None:
        return None

    def settimeout(self, seconds: float | None) -> None:
        pass

    def setblocking(self, flag: bool) -> None:
        pass

    def close(self) -> None:
        self.closed = True


# By this package's own handshake, and by websocket-client's.
_routes = [
    Route('ws://127.0.0.1:9', websocket_options=options, timestamp=False)
    for options in ({}, {'header': {'A': 'b'}})
]


def check_opening(data: bytes, random: Random) -> object:
    server = _Server(data, random)
    route = _routes[int(random.random() * 2)]
    try:
        sock, leftover, _ = open_websocket(route, None, None, sock=server)
    except EngineIOError as error:
        assert server.closed, 'the socket is left open'
        return _kind(error)
    assert sock is server
    assert not server.closed
    tail = leftover + b''.join(server._pieces[::-1])
    assert server.answer.endswith(tail)
    head = server.answer[: len(server.answer) - len(tail)]
    assert b' 101' in head
    # websocket-client strips all that Python takes for a space.
    spaces = rb'[ \t]' if route is _routes[0] else rb'[\s\x1c-\x1f\x85\xa0]'
    accepted = rb'sec-websocket-accept:' + spaces + rb'*[a-zA-Z0-9+/]{27}='
    assert re.search(accepted, head, re.IGNORECASE)
    return 'open', bool(leftover)


def grow_opening(random: Random) -> bytes:
    if random.random() < 0.2:
        return grow_response(random)
    lines = [
        b'Upgrade: websocket',
        b'Connection: Upgrade',
        b'Sec-WebSocket-Accept: ACCEPT',
        b'Sec-WebSocket-Extensions: permessage-deflate',
        b'Sec-WebSocket-Protocol: chat',
        b'Set-Cookie: a=b',
        b'Content-Length: 5',
        b'Server: x',
        b'Connection: keep-alive',
    ]
    chosen = lines[:3] + [line for line in lines[3:] if random.random() < 0.1]
    if random.random() < 0.3:
        del chosen[int(random.random() * len(chosen))]
    status = b'101 Switching Protocols' if random.random() < 0.9 else b'200 OK'
    head = b'\r\n'.join([b'HTTP/1.1 ' + status, *chosen, b'', b''])
    return head + (grow_frames(random) if random.random() < 0.5 else b'')


OPENING = Target(
    'opening',
    check_opening,
    [
        b'HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n'
        b'Sec-WebSocket-Accept: ACCEPT\r\n\r\n',
        b'HTTP/1.1 401 Unauthorized\r\nContent-Length: 13\r\n\r\n{"message":1}',
    ],
    [
        b'\r\n',
        b'\n',
        b'\r',
        b': ',
        b'ACCEPT',
        b'101',
        b'Upgrade: ',
        b'websocket',
        b'\r\n\r\n',
        b'Sec-WebSocket-Extensions: x',
        b'Sec-WebSocket-Protocol: x',
        b'\x00',
        b', ',
        b'upgrade',
    ],
    grow_opening,
)


# -- Cookies ---------------------------------------------------------------------------------------

_TARGET = '/engine.io/?transport=polling&EIO=4'
_CONTROL = re.compile(r'[\x00-\x08\x0a-\x1f\x7f]')
#: Hosts of which no cookie goes to another, unless that is a subdomain.
_HOSTS = (
    'example.com',
    'api.example.com',
    'ws.example.com',
    'a.co.uk',
    'b.co.uk',
    'intra1',
    'intra1.local',
    'intra2',
    '10.0.0.1',
    '11.0.0.1',
    '[::1]',
    '[2001:db8::1]',
    'other.test',
)


def check_cookies(data: bytes, random: Random) -> object:
    """As from a header: no line feed, and no space around it."""
    line = data.decode('latin-1').replace('\n', '').strip()
    cookies = Cookies()
    host = random.choice(_HOSTS)
    cookies.store(f'http://{host}{_TARGET}', [line, 'good=1; Path=/'])
    sent = cookies.header(f'http://{host}{_TARGET}')
    assert not _CONTROL.search(sent), f'a control character goes into a header: {sent!r}'
    sent.encode('latin-1')
    assert 'good=1' in sent or 'good' in line
    for other in _HOSTS:
        theirs = cookies.header(f'http://{other}{_TARGET}')
        if other == host or not theirs:
            continue
        assert other.endswith(f'.{host}'), f'a cookie of {host} goes to {other}'
        assert 'good=1' not in theirs or 'good' in line
        assert not re.search('[0-9]$', host), 'an address has no subdomains'
    return tuple(
        (
            cookie.domain_specified,
            cookie.path,
            cookie.secure,
            cookie.expires is None,
            cookie.value is None,
            len(cookie.name) > 9,
        )
        for cookie in cookies.jar
    )


def grow_cookies(random: Random) -> bytes:
    parts = [random.choice((b'a=1', b'b="x y"', b'=1', b'c', b'\xff=\xfe', b'd=' + b'x' * 50))]
    for _ in range(int(random.random() * 5)):
        parts.append(
            random.choice(
                (
                    b'Path=/',
                    b'Path=/other',
                    b'Domain=example.com',
                    b'Domain=.com',
                    b'Domain=.example.com',
                    b'Domain=api.example.com',
                    b'Domain=co.uk',
                    b'Domain=a.co.uk',
                    b'Domain=.0.0.1',
                    b'Domain=10.0.0.1',
                    b'Domain=.local',
                    b'Domain=intra1',
                    b'Domain=::1',
                    b'Domain=other.test',
                    b'Expires=Thu, 01 Jan 2970 00:00:00 GMT',
                    b'Expires=x',
                    b'Max-Age=10',
                    b'Max-Age=-1',
                    b'Secure',
                    b'HttpOnly',
                    b'SameSite=Lax',
                    b'Version=1',
                    b'Port="80"',
                    b'Max-Age=9' * 9,
                    b'Max-Age=' + b'9' * 400,
                    b'Expires=Thu, 99 Jan 99999999 99:99:99 GMT',
                    b'Version=x',
                )
            )
        )
    return b'; '.join(parts)


COOKIES = Target(
    'cookies',
    check_cookies,
    [
        b'io=abc; Path=/; HttpOnly; SameSite=Lax',
        b'a="b c"; Version=1',
        b'a=1; Max-Age=0',
        b'a=1; Expires=Wed, 09 Jun 2999 10:18:14 GMT',
    ],
    [
        b';',
        b'=',
        b'"',
        b'\\',
        b',',
        b'\r',
        b'\x00',
        b'\x85',
        b'\x0b',
        b'Path=',
        b'Domain=',
        b'Max-Age=',
        b'Expires=',
        b'Version=1',
        b'Port=',
        b'$',
        b'\xe9',
        b'example.com',
        b'co.uk',
        b'.local',
        b'.0.0.1',
        b'domain =',
        b'host=',
        b'99999999',
    ],
    grow_cookies,
)


# -- Requests: the headers of the caller -----------------------------------------------------------


class _Recording(_Server):
    """Keeps what is sent to it."""

    def __init__(self, answer: bytes, random: Random) -> None:
        super().__init__(answer, random)
        self.sent = b''

    def sendall(self, request: bytes) -> None:
        self.sent += request
        self._pieces = [self.answer]

    def fileno(self) -> int:
        return -1  # closed by the peer, as far as anybody asks


class _Pair:
    """A server at the other end of a real socket, which the loop can watch."""

    def __init__(self, answer: bytes) -> None:
        self.client, self._end = socket.socketpair()
        self._end.sendall(answer)
        self._sent: bytes | None = None

    @property
    def sent(self) -> bytes:
        """What has been sent to it. It closes the connection with the first look at that."""
        if self._sent is None:
            self._end.setblocking(False)
            self._sent = self._end.recv(1 << 20)
            self._end.close()
        return self._sent


class _Dialer:
    """Connects to servers that answer with these responses, one each.

    :param real: whether the loop has to watch the sockets.
    """

    def __init__(self, random: Random, *answers: bytes, real: bool) -> None:
        self._random = random
        self._answers = list(answers)
        self._real = real
        self.made: list[_Recording | _Pair] = []

    def open(self, host: str, port: int, *_limits: object) -> Any:
        answer = self._answers.pop(0)
        if self._real:
            pair = _Pair(answer)
            self.made.append(pair)
            return pair.client
        self.made.append(_Recording(answer, self._random))
        return self.made[-1]


def _post(route: Route, body: bytes) -> None:
    answer: AsyncResult[Any] = AsyncResult()
    DirectHTTP(route, LIMIT).post(route.target('polling'), body, None, answer.set)
    found = answer.get()
    if isinstance(found, BaseException):
        raise found


_ANSWER = b'HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok'
_AWAY = (
    b'HTTP/1.1 307 -\r\nLocation: http://b.test/x\r\nConnection: close\r\nContent-Length: 0\r\n\r\n'
)


def _given(data: bytes, random: Random) -> dict[Any, Any]:
    """Lines as the headers of a caller, of the types that are allowed."""
    headers: dict[Any, Any] = {}
    for line in data.split(b'\x1e'):
        parts: list[Any] = [*line.split(b'\x1f', 1), b''][:2]
        if random.random() < 0.7:
            parts = [part.decode('latin-1') for part in parts]
        headers[parts[0]] = parts[1]
    return headers


def check_request(data: bytes, random: Random) -> object:
    headers = _given(data, random)
    answers = (_AWAY, _ANSWER) if random.random() < 0.3 else (_ANSWER,)
    way = random.choice(('get', 'post', 'websocket', 'websocket-client', 'option'))
    dialer: Any = _Dialer(random, *answers, real=way in ('get', 'post'))
    options: dict[str, Any] | None = None
    if way in ('websocket-client', 'option'):
        options = {'redirect_limit': 3}
        if way == 'option':
            options['header'], headers = headers, {}
    body = b'4' + random.randbytes(int(random.random() * 50))
    try:
        route = Route('ws://a.test', headers, dialer=dialer, websocket_options=options)
    except ValueError as error:
        return 'refused', str(error).partition(':')[0][-20:]
    try:
        if way == 'get':
            DirectHTTP(route, LIMIT).get_and_wait(route.target('polling'), None)
        elif way == 'post':
            _post(route, body)
        else:
            open_websocket(route, None, None)
            raise AssertionError('no handshake')
    except EngineIOError:
        if way in ('get', 'post'):
            raise
    names: tuple[bytes, ...] = ()
    for number, server in enumerate(dialer.made):
        found = reference.request(server.sent)
        assert found is not None, 'a part of a request'
        request, rest = found
        assert rest == b'', 'more than a request'
        assert request.body == (body if way == 'post' else b'')
        assert request.method == (b'POST' if way == 'post' else b'GET')
        if number:
            assert request.values(b'host') == [b'b.test']
            assert not request.values(b'authorization')
            assert not request.values(b'cookie')
        names = tuple(sorted({name for name, _ in request.fields}))
    return way, names


_NAMES = (
    b'Host',
    b'host',
    b'Content-Length',
    b'content-length',
    b'Content-Type',
    b'Transfer-Encoding',
    b'transfer-ENCODING',
    b'Content-Encoding',
    b'TE',
    b'Trailer',
    b'Expect',
    b'Upgrade',
    b'HTTP2-Settings',
    b'Connection',
    b'Keep-Alive',
    b'Proxy-Connection',
    b'Proxy-Authorization',
    b'Authorization',
    b'authorization',
    b'Cookie',
    b'cookie',
    b'Origin',
    b'User-Agent',
    b'Accept-Encoding',
    b'Sec-WebSocket-Protocol',
    b'X-Own',
    b'X-OWN',
)
_VALUES = (
    b'0',
    b'3',
    b'chunked',
    b'gzip, chunked',
    b'close',
    b'keep-alive, Upgrade, X-Own',
    b'h2c',
    b'100-continue',
    b'a.test',
    b'a=1; b=2',
    b'',
    b' x ',
    b'\xe9',
    b'trailers',
)


def grow_request(random: Random) -> bytes:
    return b'\x1e'.join(
        random.choice(_NAMES) + b'\x1f' + random.choice(_VALUES)
        for _ in range(1 + int(random.random() * 6))
    )


REQUEST = Target(
    'request',
    check_request,
    [
        b'Authorization\x1fBearer x\x1eX-Own\x1fy',
        b'Content-Length\x1f3\x1eTransfer-Encoding\x1fchunked',
        b'Cookie\x1fa=1\x1ecookie\x1fb=2',
        b'Connection\x1fclose',
        b'Host\x1fa.test\x1ehost\x1fb.test',
    ],
    [
        b'\x1e',
        b'\x1f',
        b'\r\n',
        b'\n',
        b'\r',
        b'\0',
        b':',
        b' ',
        b'\t',
        b'\x0b',
        b'\x85',
        b',',
        *_NAMES,
        b'chunked',
    ],
    grow_request,
)


TARGETS = [FRAMES, COMPILED, PAYLOAD, HANDSHAKE, TEXT, RESPONSE, OPENING, COOKIES, REQUEST]
