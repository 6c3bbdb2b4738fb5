"""HTTP/1.1 from a client's side: a request to bytes, and a response from a socket.

Only what polling needs: requests with a known body, responses read whole. The
standard library's http.client takes 110 us for a request and its response, 60
of them to parse the header as e-mail; this takes 12.
"""

from __future__ import annotations

import _socket
import contextlib
import itertools
import re
import zlib
from collections.abc import Iterable
from typing import Any

import gevent

from ..exceptions import ConnectionClosed, ProtocolError

#: Bytes of a response's head, above which it is refused.
MAX_HEAD = 1 << 16
#: Header lines of a response, above which it is refused.
MAX_HEADERS = 100
#: Interim responses (RFC 9110, section 15.2) before the one that counts.
MAX_INTERIM = 10
#: Reads in a row before the other greenlets, and their timeouts, get a turn.
_RECEIVES_PER_TURN = 4
#: Chunks in a row before timers, too, get a turn: many small ones take the processor.
_CHUNKS_PER_TURN = 4096

# Linux alone delays its acknowledgements by 40 ms, and lets one ask for them at once.
_QUICKACK: int | None = getattr(_socket, 'TCP_QUICKACK', None)

_STATUS_LINE = re.compile(r'HTTP/1\.(\d) (\d{3})(?: .*)?\Z')  # RFC 9112, section 4
_BEGINS = b'HTTP/'
#: Bytes that are shown of what is none.
_SHOWN = 40
_END_OF_HEAD = re.compile(rb'\n\r?\n')
_CHUNK_SIZE = re.compile(rb'[0-9a-fA-F]{1,16}\Z')  # RFC 9112, section 7.1
_NO_BODY = frozenset((204, 304))  # RFC 9112, section 6.3


def encode_request(
    method: str, target: str, headers: Iterable[tuple[str, str]], body: bytes | None
) -> bytes:
    """The bytes of a request.

    :param method: ``'GET'`` or ``'POST'``.
    :param target: path and query, in ASCII.
    :param headers: names and values, checked already.
    :param body: the body, or None for a request that has none.
    """
    lines = [f'{method} {target} HTTP/1.1']
    lines += [f'{name}: {value}' for name, value in headers]
    if body is None:
        lines.append('\r\n')
        return '\r\n'.join(lines).encode('latin-1')
    lines.append(f'Content-Length: {len(body)}\r\n\r\n')
    return '\r\n'.join(lines).encode('latin-1') + body


class Response:
    """A response, read whole from a socket.

    :param sock: a connected socket.
    :param max_size: bytes of the largest body taken, or None for no limit.
    :param upgrading: whether the request asked for another protocol: status 101
                      ends the response then, and :attr:`rest` is that protocol's.
    :raises OSError: the socket failed.
    :raises ConnectionClosed: the server closed it within the response.
    :raises NothingCame: it closed it before the first byte.
    :raises ProtocolError: this is no HTTP response, or it is too large (1009).
    """

    __slots__ = (
        '_at',
        '_buffer',
        '_received',
        '_sock',
        'body',
        'cookies',
        'headers',
        'keep_alive',
        'status',
    )

    def __init__(self, sock: Any, max_size: int | None, *, upgrading: bool = False) -> None:
        self._sock = sock
        self._buffer = b''
        self._at = 0  # how far it is read
        self._received = 0
        #: The status code.
        self.status = 0
        #: The header by lower-case name; values of the same name joined by commas.
        self.headers: dict[str, str] = {}
        #: The values of ``Set-Cookie``, which cannot be joined.
        self.cookies: list[str] = []
        #: Whether the connection can take another request.
        self.keep_alive = True
        #: The body as it came, still compressed where the header says so.
        self.body = b''
        for _ in range(MAX_INTERIM + 1):
            self._read_head()
            if self.status == 101:
                if upgrading:
                    return
                raise ProtocolError('unexpected status 101: the request did not ask for an upgrade')
            if self.status >= 200:
                break
        else:
            raise ProtocolError(f'more than {MAX_INTERIM} interim (1xx) responses')
        self.body = self._read_body(max_size)
        if len(self._buffer) > self._at:
            self.keep_alive = False  # bytes that nobody asked for

    @property
    def rest(self) -> bytes:
        """What has come after the response."""
        return self._buffer[self._at :]

    # The head

    def _read_head(self) -> None:
        seen = 0
        while True:
            end = _END_OF_HEAD.search(self._buffer, self._at + seen)
            if end is not None:
                break
            seen = max(0, len(self._buffer) - self._at - 2)
            begins = self._buffer[self._at : self._at + _SHOWN]
            alien = not begins.startswith(_BEGINS[: len(begins)])
            if alien and (len(begins) == _SHOWN or b'\n' in begins):
                # SSH and others speak first, and then wait for us: their head would never end.
                raise _no_response(begins.decode('latin-1'))
            if seen > MAX_HEAD:
                raise ProtocolError(f'response header larger than {MAX_HEAD} bytes')
            try:
                self._fill()
            except ConnectionClosed:
                if alien:
                    raise _no_response(begins.decode('latin-1')) from None
                raise
        head = self._buffer[self._at : end.start()].decode('latin-1')
        self._at = end.end()
        first, *lines = head.split('\n')
        matched = _STATUS_LINE.match(first.rstrip('\r'))
        if matched is None:
            raise _no_response(first)
        if len(lines) > MAX_HEADERS:
            raise ProtocolError(f'response with more than {MAX_HEADERS} header lines')
        self.status = int(matched[2])
        headers: dict[str, str] = {}
        self.headers = headers
        for line in lines:
            name, colon, value = line.partition(':')
            if not colon or not name or name[-1] in ' \t' or name[0] in ' \t':
                raise ProtocolError(f'invalid header line in the response: {line[:40]!r}')
            name = name.lower()
            value = value.strip()
            if name == 'set-cookie':
                self.cookies.append(value)
            elif name in headers:
                headers[name] += f', {value}'
            else:
                headers[name] = value
        connection = headers.get('connection', '').lower()
        if 'close' in connection or (matched[1] == '0' and 'keep-alive' not in connection):
            self.keep_alive = False

    # The body: RFC 9112, section 6.3

    def _read_body(self, max_size: int | None) -> bytes:
        coding = self.headers.get('transfer-encoding')
        if self.status in _NO_BODY:
            return b''
        if coding is not None:
            if coding.lower() != 'chunked':
                raise ProtocolError(
                    f'response with an unsupported Transfer-Encoding: {coding[:40]!r}'
                )
            return self._read_chunks(max_size)
        length = self.headers.get('content-length')
        if length is not None:
            return self._read_exactly(_parse_length(length, max_size))
        return self._read_to_end(max_size)

    def _read_exactly(self, size: int) -> bytes:
        end = self._at + size
        if len(self._buffer) < end:
            # In one piece as it comes: a list of pieces of two bytes takes 40 times the memory.
            came = bytearray(self._buffer[self._at :])
            while len(came) < size:
                came += self._receive()
            # What is read is let go, or chunks that are cut in the middle would pile up.
            self._buffer = bytes(came[size:])
            self._at = 0
            del came[size:]
            return bytes(came)
        body = self._buffer[self._at : end]
        self._at = end
        return body

    def _read_to_end(self, max_size: int | None) -> bytes:
        self.keep_alive = False
        body = bytearray(self._buffer[self._at :])
        self._buffer = b''
        self._at = 0
        while True:
            _check_size(len(body), max_size)
            part = self._receive(at_end=True)
            if not part:
                return bytes(body)
            body += part

    def _read_chunks(self, max_size: int | None) -> bytes:
        body = bytearray()
        for number in itertools.count(1):
            if not number % _CHUNKS_PER_TURN:
                # gevent looks at its timers once in fifty times that sleep(0) is called.
                gevent.sleep(0.001)
            field = self._read_line().partition(b';')[0].strip()  # extensions are ignored
            if not _CHUNK_SIZE.match(field):
                raise ProtocolError(f'invalid chunk size in the response: {field[:40]!r}')
            size = int(field, 16)
            _check_size(len(body) + size, max_size)
            if not size:
                break
            body += self._read_exactly(size)
            if self._read_line():
                raise ProtocolError('response chunk longer than its declared size')
        for _ in range(MAX_HEADERS):  # trailers are ignored
            if not self._read_line():
                return bytes(body)
        raise ProtocolError(f'response with more than {MAX_HEADERS} trailer lines')

    def _read_line(self) -> bytes:
        while True:
            end = self._buffer.find(b'\n', self._at)
            if end >= 0:
                line = self._buffer[self._at : end]
                self._at = end + 1
                return line.rstrip(b'\r')
            if len(self._buffer) - self._at > MAX_HEAD:
                raise ProtocolError(f'chunk line in the response larger than {MAX_HEAD} bytes')
            self._fill()

    # Bytes

    def _fill(self) -> None:
        self._buffer = self._buffer[self._at :] + self._receive()
        self._at = 0

    def _receive(self, at_end: bool = False) -> bytes:
        """The next bytes.

        :param at_end: whether the response may end here; then empty at the end.
        """
        self._received += 1
        if not self._received % _RECEIVES_PER_TURN:
            # From a socket that always has something, gevent reads without a switch.
            gevent.sleep(0)
        nothing_yet = not self._buffer and not self.status
        if not nothing_yet and _QUICKACK is not None:
            # A server that writes head and body one by one, without TCP_NODELAY (gevent's
            # pywsgi), sends the body when the head is acknowledged: 1 ms so, else 44.
            with contextlib.suppress(OSError):  # the caller's socket may be no TCP
                self._sock.setsockopt(_socket.IPPROTO_TCP, _QUICKACK, 1)
        try:
            data: bytes = self._sock.recv(65536)
        except ConnectionError as exc:
            if nothing_yet:
                raise NothingCame(f'connection lost: {exc.strerror}') from exc
            raise ConnectionClosed(
                f'connection lost in the middle of a response: {exc.strerror}'
            ) from exc
        if not data and not at_end:
            if nothing_yet:
                raise NothingCame('the server closed the connection without a response')
            raise ConnectionClosed('the server closed the connection in the middle of a response')
        return data

    def content(self, max_size: int | None) -> bytes:
        """The body, decompressed.

        :param max_size: bytes of the largest content, or None for no limit.
        :raises ProtocolError: it is not in the encoding that the header names,
                               or more than that.
        """
        encoding = self.headers.get('content-encoding', '').lower()
        if not self.body or encoding in ('', 'identity'):
            return self.body
        return _inflate(self.body, encoding, max_size)


def _no_response(text: str) -> ProtocolError:
    first = text[:_SHOWN].partition('\n')[0].rstrip('\r')
    return ProtocolError(f'not an HTTP response: it begins {first!r}')


class NothingCame(ConnectionClosed):
    """The server closed the connection before the first byte of a response."""


def _parse_length(field: str, max_size: int | None) -> int:
    # The same length several times is one (RFC 9110, section 8.6).
    lengths = {length.strip() for length in field.split(',')}
    length = lengths.pop()
    if lengths or not (length.isascii() and length.isdigit()) or len(length) > 18:
        raise ProtocolError(f'invalid Content-Length in the response: {field[:40]!r}')
    _check_size(int(length), max_size)
    return int(length)


def _check_size(size: int, max_size: int | None) -> None:
    if max_size is not None and size > max_size:
        raise ProtocolError(f'response larger than {max_size} bytes', 1009)


def _inflate(body: bytes, encoding: str, max_size: int | None) -> bytes:
    """Decompress a body, never to more than the limit: a bomb must not fill the memory."""
    if encoding not in ('gzip', 'x-gzip', 'deflate'):
        raise ProtocolError(f'response with an unsupported Content-Encoding: {encoding[:40]!r}')
    room = 0 if max_size is None else max_size + 1  # 0: no bound
    try:
        # 32: zlib's header or gzip's, whichever is there. Some servers' "deflate" has none.
        inflater = zlib.decompressobj(zlib.MAX_WBITS | 32)
        try:
            content = inflater.decompress(body, room)
        except zlib.error:
            inflater = zlib.decompressobj(-zlib.MAX_WBITS)
            content = inflater.decompress(body, room)
    except zlib.error as exc:
        raise ProtocolError(f'response body is not valid {encoding}: {exc}') from exc
    _check_size(len(content), max_size)
    if not inflater.eof:
        raise ProtocolError(f'{encoding} response body is truncated')
    return content
