"""A small server that speaks the protocol of an Autobahn fuzzing server, with some of its cases.

A case is what the server sends, in pieces, and the frames that it must get for
it: those of the echo, pongs, and the close frame, by its code.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, urlsplit

import gevent

from support import (
    BINARY,
    CLOSE,
    PING,
    PONG,
    TEXT,
    accept_websocket,
    close_frame,
    frame,
    read_frame,
)

CONTINUATION = 0

#: What the server sends, and what it must get: (opcode, payload), a close by its code.
Frames = list[tuple[int, Any]]

GOODBYE = close_frame(1000)
NORMAL = (CLOSE, 1000)
FAULT = [(CLOSE, 1002)]


class Case(NamedTuple):
    name: str
    said: bytes
    wanted: Frames
    #: How many bytes go out at a time; None: all at once.
    piece: int | None = None


def _cases() -> Iterator[Case]:
    yield from _echoes()
    yield from _controls()
    yield from _reserved()
    yield from _fragments()
    yield from _text()
    yield from _closes()


def _echo(name: str, opcode: int, payload: bytes, piece: int | None = None) -> Case:
    return Case(name, frame(payload, opcode) + GOODBYE, [(opcode, payload), NORMAL], piece)


def _echoes() -> Iterator[Case]:
    """Groups 1 and 9: messages of every form of length, whole and in pieces."""
    for group, opcode in ((1, TEXT), (2, BINARY)):
        for number, size in enumerate((0, 125, 126, 127, 128, 65535, 65536), 1):
            yield _echo(f'1.{group}.{number}', opcode, b'*' * size)
        yield _echo(f'1.{group}.8', opcode, b'*' * 65536, 997)
    yield _echo('9.1.3', TEXT, b'*' * (1 << 20))
    yield _echo('9.2.3', BINARY, bytes(range(256)) * (1 << 12))
    yield _echo('9.5.1', TEXT, b'*' * (1 << 16), 64)


def _controls() -> Iterator[Case]:
    """Group 2: pings and pongs."""
    yield Case('2.1', frame(b'', PING) + GOODBYE, [(PONG, b''), NORMAL])
    yield Case('2.2', frame(b'Hello', PING) + GOODBYE, [(PONG, b'Hello'), NORMAL])
    binary = bytes.fromhex('00fffefdfcfb00ff')
    yield Case('2.3', frame(binary, PING) + GOODBYE, [(PONG, binary), NORMAL])
    yield Case('2.4', frame(b'x' * 125, PING) + GOODBYE, [(PONG, b'x' * 125), NORMAL])
    yield Case('2.5', frame(b'x' * 126, PING), FAULT)
    yield Case('2.6', frame(b'x' * 125, PING) + GOODBYE, [(PONG, b'x' * 125), NORMAL], 1)
    yield Case('2.8', frame(b'unasked', PONG) + GOODBYE, [NORMAL])
    many = [b'%d' % number for number in range(10)]
    yield Case(
        '2.10',
        b''.join(frame(one, PING) for one in many) + GOODBYE,
        [*((PONG, one) for one in many), NORMAL],
    )


def _reserved() -> Iterator[Case]:
    """Groups 3 and 4: reserved bits and opcodes, behind a message that comes back."""
    hello = frame(b'Hello')
    for number, bits in enumerate((1, 2, 3, 4, 5, 6, 7), 1):
        yield Case(
            f'3.{number}',
            hello + frame(b'bits', rsv=bits),
            [(TEXT, b'Hello'), *FAULT],
            1 if number % 2 else None,
        )
    for number, opcode in enumerate((3, 4, 5, 6, 7), 1):
        yield Case(f'4.1.{number}', hello + frame(b'', opcode), [(TEXT, b'Hello'), *FAULT])
    for number, opcode in enumerate((11, 12, 13, 14, 15), 1):
        yield Case(f'4.2.{number}', hello + frame(b'', opcode), [(TEXT, b'Hello'), *FAULT], 1)
    yield Case('x.masked', frame(b'Hello', mask=b'mask'), FAULT)


def _fragments() -> Iterator[Case]:
    """Group 5: messages in fragments, and control frames between them."""
    first, last = frame(b'frag1', fin=False), frame(b'frag2', CONTINUATION)
    middle = frame(b'', CONTINUATION, fin=False)
    ping = frame(b'ping', PING)
    whole = [(TEXT, b'frag1frag2'), NORMAL]
    yield Case('5.1', frame(b'frag', PING, fin=False) + frame(b'', CONTINUATION), FAULT)
    yield Case('5.2', frame(b'frag', PONG, fin=False) + frame(b'', CONTINUATION), FAULT)
    yield Case('5.3', first + last + GOODBYE, whole)
    yield Case('5.5', first + last + GOODBYE, whole, 1)
    yield Case('5.6', first + ping + last + GOODBYE, [(PONG, b'ping'), *whole])
    yield Case('5.8', first + ping + last + GOODBYE, [(PONG, b'ping'), *whole], 1)
    yield Case('5.9', last + GOODBYE, FAULT)
    yield Case(
        '5.15',
        first + last + frame(b'', CONTINUATION, fin=False) + frame(b'end'),
        [whole[0], *FAULT],
    )
    yield Case('5.18', first + frame(b'frag2'), FAULT)
    yield Case(
        '5.19',
        first + middle + ping + middle + ping + last + GOODBYE,
        [(PONG, b'ping')] * 2 + whole,
    )
    binary = frame(b'\x00', BINARY, fin=False) + frame(b'\xff', CONTINUATION)
    yield Case('5.x', binary + GOODBYE, [(BINARY, b'\x00\xff'), NORMAL])
    many = b''.join(frame(b'', CONTINUATION, fin=False) for _ in range(1000))
    yield Case('6.1.2', first + many + last + GOODBYE, whole)


def _text() -> Iterator[Case]:
    """Group 6: UTF-8, valid and not, whole and cut within a character."""
    valid = 'Hello-µ@ßöäüàá-UTF-8!! \U00010000\U0010ffff\u20ac'.encode()
    yield _echo('6.2.1', TEXT, valid)
    yield _echo('6.2.3', TEXT, valid, 1)
    for cut in range(1, len(valid), 3):
        said = frame(valid[:cut], fin=False) + frame(valid[cut:], CONTINUATION)
        yield Case(f'6.2.4.{cut}', said + GOODBYE, [(TEXT, valid), NORMAL])
    bad = [
        'cebae1bdb9cf83cebcceb5eda080656469746564',
        'f4908080',
        'f8888080',
        'c080',
        'e08080',
        'edbfbf',
        'ff',
        'fe',
        'ce',
        'ceba f0',
        '80',
        'bf',
        'f0808080',
    ]
    for number, text in enumerate(bad, 1):
        payload = bytes.fromhex(text)
        yield Case(f'6.3.{number}', frame(payload), [(CLOSE, 1007)])
        said = frame(payload[:1], fin=False) + frame(payload[1:], CONTINUATION)
        yield Case(f'6.4.{number}', said, [(CLOSE, 1007)], 1)


def _closes() -> Iterator[Case]:
    """Group 7: the closing handshake."""
    yield Case('7.1.1', frame(b'Hello') + GOODBYE, [(TEXT, b'Hello'), NORMAL])
    yield Case('7.1.3', GOODBYE + frame(b'too late') + frame(b'', PING), [NORMAL])
    yield Case('7.1.5', frame(b'frag', fin=False) + GOODBYE, [NORMAL])
    yield Case('7.3.1', frame(b'', CLOSE), [(CLOSE, None)])
    yield Case('7.3.2', frame(b'a', CLOSE), FAULT)
    yield Case('7.3.4', close_frame(1000, 'Hello World!'), [NORMAL])
    yield Case('7.3.5', close_frame(1000, '*' * 123), [NORMAL])
    yield Case('7.3.6', close_frame(1000, '*' * 124), FAULT)
    yield Case(
        '7.5.1', frame(struct.pack('!H', 1000) + b'\xce\xba\xe1\xed\xa0', CLOSE), [(CLOSE, 1007)]
    )
    for code in (1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 3000, 3999, 4000, 4999):
        yield Case(f'7.7.{code}', close_frame(code), [(CLOSE, code)])
    for code in (0, 999, 1004, 1005, 1006, 1016, 1100, 2000, 2999, 5000, 65535):
        yield Case(f'7.9.{code}', close_frame(code), FAULT)


CASES = list(_cases())


class CaseServer:
    """The handler of a `support.HostileServer` that runs these cases.

    `verdicts` are those so far, `got` what came of the last run, and `reports`
    counts the times that the reports were asked for.
    """

    def __init__(self, cases: list[Case] = CASES) -> None:
        self.cases = cases
        self.verdicts: dict[str, str] = {}
        self.got: Frames = []
        self.reports = 0
        self.agents: set[str] = set()

    def __call__(self, sock: Any) -> None:
        request = accept_websocket(sock)
        parts = urlsplit(request.target)
        query = dict(parse_qsl(parts.query))
        self.agents.add(query.get('agent', ''))
        case = self.cases[int(query['case']) - 1] if 'case' in query else None
        tell: Callable[[], str] | None = {
            '/getCaseCount': lambda: str(len(self.cases)),
            '/getCaseInfo': lambda: json.dumps({'id': case and case.name, 'description': ''}),
            '/getCaseStatus': lambda: json.dumps(
                {'behavior': self.verdicts.get(case.name if case else '', 'FAILED')}
            ),
            '/updateReports': self._report,
        }.get(parts.path)
        if tell is not None:
            answer = tell()
            sock.sendall((frame(answer) if answer else b'') + GOODBYE)
            read_to_end_of_frames(sock)
        else:
            assert parts.path == '/runCase', parts.path
            assert case is not None
            self.verdicts[case.name] = 'FAILED'
            self._run(case, sock)

    def _report(self) -> str:
        self.reports += 1
        return ''

    def _run(self, case: Case, sock: Any) -> None:
        reading = gevent.spawn(read_to_end_of_frames, sock)
        try:
            for piece in _pieces(case):
                sock.sendall(piece)
        except OSError:
            pass  # a client that has seen a fault may go
        try:
            self.got = reading.get(timeout=10)
        finally:
            reading.kill()
        self.verdicts[case.name] = 'OK' if self.got == case.wanted else 'FAILED'


def _pieces(case: Case) -> Iterator[bytes]:
    size = case.piece or len(case.said)
    for at in range(0, len(case.said), size):
        yield case.said[at : at + size]


def read_to_end_of_frames(sock: Any) -> Frames:
    """Read until the client has sent a close frame, or is gone; what came."""
    frames: Frames = []
    try:
        while True:
            opcode, payload = read_frame(sock)
            if opcode == CLOSE:
                frames.append((CLOSE, int.from_bytes(payload[:2], 'big') if payload else None))
                return frames
            frames.append((opcode, payload))
    except OSError:
        return frames
