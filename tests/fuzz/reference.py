"""The protocols once more: short, slow, and written from the documents.

RFC 6455, the polling payload, and the requests of HTTP/1.1 (RFC 9110 and 9112) at their strictest.
"""

from __future__ import annotations

import base64
import re
from typing import NamedTuple

#: Unicode, table 3-7: well-formed UTF-8.
_UTF8 = re.compile(
    rb'(?:[\x00-\x7f]|[\xc2-\xdf][\x80-\xbf]|\xe0[\xa0-\xbf][\x80-\xbf]'
    rb'|[\xe1-\xec\xee\xef][\x80-\xbf]{2}|\xed[\x80-\x9f][\x80-\xbf]'
    rb'|\xf0[\x90-\xbf][\x80-\xbf]{2}|[\xf1-\xf3][\x80-\xbf]{3}|\xf4[\x80-\x8f][\x80-\xbf]{2})*'
)
_BASE64 = re.compile(rb'(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?')

_REQUEST_LINE = re.compile(rb'(GET|POST) (/[!-~]*|http://[!-~]+) HTTP/1\.1')
_FIELD = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+): ?([^\x00-\x08\x0a-\x1f\x7f]*)")
#: Fields that say how long a message is, how it is coded, or what else happens to a connection.
_REFUSED = (
    b'content-encoding',
    b'expect',
    b'http2-settings',
    b'keep-alive',
    b'proxy-connection',
    b'te',
    b'trailer',
    b'transfer-encoding',
)
#: Fields that may stand there twice.
_REPEATED = b'connection', b'sec-websocket-protocol'

Messages = list[tuple[int, 'str | bytes']]


class Fault(Exception):
    """The stream is broken; with the close code that says so."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


def is_utf8(data: bytes) -> bool:
    return _UTF8.fullmatch(data) is not None


def frames(stream: bytes, limit: int) -> tuple[Messages, int | None]:
    """What a client makes of these bytes from a server: messages, and the code of a fault."""
    messages: Messages = []
    try:
        _frames(stream, limit, messages)
    except Fault as fault:
        return messages, fault.code
    return messages, None


def _frames(stream: bytes, limit: int, messages: Messages) -> None:
    begun: tuple[int, bytes] | None = None
    while len(stream) >= 2:
        final, reserved, opcode = stream[0] >> 7, stream[0] >> 4 & 7, stream[0] & 15
        masked, length = stream[1] >> 7, stream[1] & 127
        control = opcode >= 8
        if reserved or masked or opcode not in (0, 1, 2, 8, 9, 10):
            raise Fault(1002)
        if control and (not final or length > 125):
            raise Fault(1002)
        header = {126: 4, 127: 10}.get(length, 2)
        if len(stream) < header:
            return
        if header > 2:
            length = int.from_bytes(stream[2:header], 'big')
            # "the minimal number of bytes", "the most significant bit MUST be 0"
            if length < {4: 126, 10: 65536}[header] or length >= 2**63:
                raise Fault(1002)
        if not control:
            if (opcode == 0) != (begun is not None):
                raise Fault(1002)
            if length + len(begun[1] if begun else b'') > limit:
                raise Fault(1009)
        if len(stream) < header + length:
            return
        payload, stream = stream[header : header + length], stream[header + length :]
        if not control:
            kind, before = begun or (opcode, b'')
            begun = kind, before + payload
            if final:
                kind, whole = begun
                begun = None
                if kind == 1 and not is_utf8(whole):
                    raise Fault(1007)
                messages.append((kind, str(whole, 'utf-8') if kind == 1 else whole))
        elif opcode == 8:
            _check_close(payload)
            messages.append((8, payload))
            return
        else:
            messages.append((opcode, payload))


def _check_close(payload: bytes) -> None:
    if not payload:
        return
    code = payload[0] << 8 | payload[1] if len(payload) > 1 else 0
    if code not in (1000, 1001, 1002, 1003, *range(1007, 1015), *range(3000, 5000)):
        raise Fault(1002)
    if not is_utf8(payload[2:]):
        raise Fault(1007)


def packets(body: bytes) -> tuple[Messages, bool | None]:
    """The packets of a polling body, and whether all of it is one.

    None for the second where the documents leave it open: padding of base64 that is odd.
    """
    found: Messages = []
    if not body:
        return found, True
    parts = body.split(b'\x1e')
    if not is_utf8(body):
        # nothing counts from the packet on in which the first bad byte is
        good = _UTF8.match(body)
        parts = body[: good.end() if good else 0].split(b'\x1e')[:-1]
        found, sure = packets(b'\x1e'.join(parts)) if parts else (found, True)
        return found, None if sure is None else False
    for part in parts:
        if part[:1] == b'b':
            if not _BASE64.fullmatch(part[1:]):
                odd = re.fullmatch(rb'[A-Za-z0-9+/=]*', part[1:]) is not None
                return found, None if odd else False
            found.append((4, base64.standard_b64decode(part[1:])))
        elif part[:1] and part[:1] in b'0123456':
            found.append((part[0] - ord('0'), str(part[1:], 'utf-8')))
        else:
            return found, False
    return found, True


class Request(NamedTuple):
    """A request of HTTP/1.1; the names of its fields are in lower case."""

    method: bytes
    target: bytes
    fields: list[tuple[bytes, bytes]]
    body: bytes

    def values(self, name: bytes) -> list[bytes]:
        return [value for known, value in self.fields if known == name]


def request(data: bytes) -> tuple[Request, bytes] | None:
    """The request with which these bytes begin, and what follows it; None: it is not complete.

    Whatever two servers could read in different ways is a fault.
    """
    head, end, rest = data.partition(b'\r\n\r\n')
    if not end:
        return None
    first, *lines = head.split(b'\r\n')
    line = _REQUEST_LINE.fullmatch(first)
    matched = [_FIELD.fullmatch(one) for one in lines]
    if line is None or None in matched:
        raise Fault(400)
    fields = [(one[1].lower(), one[2]) for one in matched if one]
    found = Request(line[1], line[2], fields, b'')
    names = [name for name, _ in fields]
    for name in names:
        if name in _REFUSED or (names.count(name) > 1 and name not in _REPEATED):
            raise Fault(400)
    listed = b','.join(found.values(b'connection')).lower().split(b',')
    words = {word.strip() for word in listed} - {b'', b'close', b'keep-alive'}
    if names.count(b'host') != 1 or words - {b'upgrade'}:
        raise Fault(400)
    upgrades = found.values(b'upgrade') == [b'websocket'] and b'upgrade' in words
    if not upgrades and (b'upgrade' in names or b'upgrade' in words):
        raise Fault(400)
    length = found.values(b'content-length')
    if found.method == b'GET':
        if length or found.values(b'content-type'):
            raise Fault(400)
        return found, rest
    if not length or not re.fullmatch(rb'[0-9]{1,9}', length[0]):
        raise Fault(411)
    size = int(length[0])
    if len(rest) < size:
        return None
    return found._replace(body=rest[:size]), rest[size:]
