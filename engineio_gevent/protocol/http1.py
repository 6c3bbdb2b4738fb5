"""HTTP/1.1 of a client, without I/O: a request to bytes, and bytes to a response.

It supports what polling and the opening of a websocket need: requests whose body is known,
and responses that are complete before they are used. The standard library's http.client takes
110 us for a request and its response, 60 of them to parse the header as e-mail. This takes 12.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterable

from ..exceptions import ConnectionClosed, ProtocolError

#: Bytes of a response's head, above which it is refused.
MAX_HEAD = 1 << 16
#: Header lines of a response, above which it is refused.
MAX_HEADERS = 100
#: Interim responses (RFC 9110, section 15.2) before the final one.
MAX_INTERIM = 10

_STATUS_LINE = re.compile(r'HTTP/1\.(\d) (\d{3})(?: .*)?(?:\n|\Z)')  # RFC 9112, section 4
_BEGINS = b'HTTP/'
# A line end, or a byte that no text has, such as those of a TLS alert.
_NO_TEXT = re.compile(rb'[\x00-\x08\x0a-\x1f\x7f-\xff]')
#: Bytes of an invalid response that an error shows.
_SHOWN = 40
_END_OF_HEAD = re.compile(rb'\n\r?\n')
# RFC 9112, section 5: a name and its value, which may have spaces around it.
_FIELD = re.compile(r"\n([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([^\n]*)")
# RFC 9112, section 7.1. Some servers pad the size with spaces.
_CHUNK_SIZE = re.compile(rb'[0-9a-fA-F]{1,16}[ \t]*\Z')
_NO_BODY = frozenset((204, 304))  # RFC 9112, section 6.3
_GZIP = b'\x1f\x8b'  # RFC 1952, section 2.3.1
#: Bytes that are decompressed at first. Each next step of the same member is twice as large.
_FIRST_STEP = 512
#: Members of gzip in a body. Each takes 2 us, even if it is empty, and the hub waits meanwhile.
MAX_MEMBERS = 10_000

# What comes next.
_HEAD, _SIZED_BODY, _BODY_TO_END, _CHUNK_LINE, _CHUNK, _TRAILER, _COMPLETE = range(7)


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
    """A response that is fed the bytes of a connection until it is complete.

    The result is independent of how the bytes are cut into pieces, except the text of an error
    that shows bytes that are not HTTP. After an error, the response must not be fed any more.

    Status 101 completes the response, and :attr:`rest` belongs to the new protocol.

    :param max_size: the largest body in bytes, or None for no limit. A larger one of a redirect or
                     a refusal is not read, and :attr:`body` is empty: the status says enough.
    :param websocket: whether a websocket is asked for. Then each final status is a refusal.
    """

    __slots__ = (
        '_at',
        '_body',
        '_buffer',
        '_expected',
        '_interim',
        '_is_1_0',
        '_max_size',
        '_missing',
        '_refused_from',
        '_trailers',
        'body',
        'chunks',
        'cookies',
        'headers',
        'keep_alive',
        'status',
    )

    def __init__(self, max_size: int | None, *, websocket: bool = False) -> None:
        self._max_size = max_size
        self._refused_from = 200 if websocket else 300
        self._buffer = b''
        self._at = 0  # how much of the buffer has been parsed
        self._expected = _HEAD
        self._body = bytearray()
        self._missing = 0  # bytes until the end of a sized body, or of a chunk
        self._interim = 0
        self._is_1_0 = False
        self._trailers = 0
        #: The status code; 0 before the head is complete.
        self.status = 0
        #: The header by lower-case name. Values of one name are joined by commas.
        self.headers: dict[str, str] = {}
        #: The values of ``Set-Cookie``, which cannot be joined.
        self.cookies: list[str] = []
        #: Whether the connection can take another request.
        self.keep_alive = True
        #: The body as it was sent, still compressed if the header says so.
        self.body = b''
        #: The number of chunks so far: many small ones take time.
        self.chunks = 0

    @property
    def rest(self) -> bytes:
        """The bytes that came after the complete response."""
        return self._buffer[self._at :]

    @property
    def ends_with_connection(self) -> bool:
        """Whether the end of the connection is that of the body, which is begun."""
        return self._expected == _BODY_TO_END

    # Bytes in

    def feed(self, data: bytes) -> bool:
        """Take the next bytes of the connection.

        :returns: whether the response is complete.
        :raises ProtocolError: this is no HTTP response, or it is too large (1009).
        """
        # One piece as it came, or the beginning of a line that is cut: never a whole body.
        self._buffer = self._buffer[self._at :] + data
        self._at = 0
        if self._expected == _HEAD and not self._parse_head():
            return False
        if self._expected == _SIZED_BODY:
            if self._take_missing():
                self._finish()
        elif self._expected == _BODY_TO_END:
            self._body += self._buffer[self._at :]
            self._buffer = b''
            self._check_size(len(self._body))
        elif self._expected != _COMPLETE:
            self._parse_chunks()
        return self._expected == _COMPLETE

    def end(self) -> None:
        """The server has closed the connection: the response ends here, if it may.

        :raises NothingCame: before its first byte.
        :raises ConnectionClosed: in the middle of it.
        :raises ProtocolError: what came is no HTTP response.
        """
        if self._expected == _BODY_TO_END:
            self._finish()
        elif not self._buffer and not self.status:
            raise NothingCame('the server closed the connection without a response')
        elif self._expected != _COMPLETE and not self.cut():
            begins = self._buffer[self._at : self._at + len(_BEGINS)]
            if self._expected == _HEAD and not _BEGINS.startswith(begins):
                raise _no_response(self._buffer[self._at :])
            raise ConnectionClosed('the server closed the connection in the middle of a response')

    def cut(self) -> bool:
        """The connection was lost, or was not ended by the server.

        :returns: whether the response is complete all the same: if a redirect or a refusal has
                  lost its body, the status says enough.
        """
        is_enough = self._expected != _HEAD and self.status >= self._refused_from
        if is_enough:
            self._drop_body()
        return is_enough

    def _finish(self) -> None:
        self.body = bytes(self._body)
        self._body = bytearray()
        self._expected = _COMPLETE
        if len(self._buffer) > self._at:
            self.keep_alive = False  # bytes that nobody asked for

    # The head

    def _parse_head(self) -> bool:
        """Parse up to the body; returns whether the head of the final response is complete."""
        while True:
            buffer, start = self._buffer, self._at
            if not buffer.startswith(_BEGINS, start):
                begins = buffer[start : start + _SHOWN]
                if len(begins) == _SHOWN or _NO_TEXT.search(begins):
                    # SSH and others speak first, and then wait: their head would never end.
                    raise _no_response(begins)
            found = _END_OF_HEAD.search(buffer, start)
            # The last two bytes may be the beginning of the empty line.
            end = len(buffer) - 2 if found is None else found.start()
            if end - start > MAX_HEAD:
                raise ProtocolError(f'response header larger than {MAX_HEAD} bytes')
            if found is None:
                return False
            self._at = found.end()
            self._parse_lines(buffer[start:end])
            if self.status >= 200:
                self._expect_body()
                return True
            if self.status == 101:
                self._expected = _COMPLETE
                self.keep_alive = False
                return True
            self._interim += 1
            if self._interim > MAX_INTERIM:
                raise ProtocolError(f'more than {MAX_INTERIM} interim (1xx) responses')

    def _parse_lines(self, head: bytes) -> None:
        text = head.decode('latin-1').replace('\r\n', '\n').removesuffix('\r')
        matched = _STATUS_LINE.match(text)
        if matched is None:
            raise _no_response(head)
        if '\r' in text or '\0' in text:  # RFC 9112, section 2.2; RFC 9110, section 5.5
            raise ProtocolError('response header with a lone CR or a NUL')
        count = text.count('\n')
        if count > MAX_HEADERS:
            raise ProtocolError(f'response with more than {MAX_HEADERS} header lines')
        self.status = int(matched[2])
        headers: dict[str, str] = {}
        self.headers = headers
        fields = _FIELD.findall(text)  # line by line would take a half longer
        if len(fields) != count:
            line = next(one for one in text.split('\n')[1:] if not _FIELD.match(f'\n{one}'))
            raise ProtocolError(f'invalid header line in the response: {line[:40]!r}')
        for name, value in fields:
            name = name.lower()
            value = value.rstrip(' \t')
            if name == 'set-cookie':
                self.cookies.append(value)
            elif name in headers:
                headers[name] += f', {value}'
            else:
                headers[name] = value
        connection = headers.get('connection', '').lower()
        self._is_1_0 = matched[1] == '0'
        if 'close' in connection or (self._is_1_0 and 'keep-alive' not in connection):
            self.keep_alive = False

    # The body: RFC 9112, section 6.3

    def _expect_body(self) -> None:
        coding = self.headers.get('transfer-encoding')
        length = self.headers.get('content-length')
        self._expected = _SIZED_BODY
        if self.status in _NO_BODY:
            return
        if coding is not None:
            if coding.lower() != 'chunked':
                raise ProtocolError(
                    f'response with an unsupported Transfer-Encoding: {coding[:40]!r}'
                )
            self._expected = _CHUNK_LINE
            # Chunks count, and the connection is not used again: a proxy between may have read
            # another body (RFC 9112, sections 6.1 and 6.3).
            if length is not None or self._is_1_0:
                self.keep_alive = False
        elif length is not None:
            self._missing = _parse_length(length)
            self._check_size(self._missing)
        else:
            self._expected = _BODY_TO_END
            self.keep_alive = False

    def _check_size(self, size: int) -> None:
        """End the response if its body, of this size, is over the limit.

        :raises ProtocolError: it is, and not that of a redirect or a refusal.
        """
        if self._max_size is not None and size > self._max_size:
            if self.status < self._refused_from:
                raise _too_large(self._max_size)
            self._drop_body()

    def _drop_body(self) -> None:
        """The response ends without a body, and so does the use of the connection."""
        self._body.clear()
        self._finish()
        self.keep_alive = False

    def _take_missing(self) -> bool:
        """Move bytes from the buffer to the body; returns whether none is missing any more."""
        piece = self._buffer[self._at : self._at + self._missing]
        self._body += piece
        self._at += len(piece)
        self._missing -= len(piece)
        return not self._missing

    def _parse_chunks(self) -> None:
        while self._expected != _COMPLETE:
            if self._expected == _CHUNK and not self._take_missing():
                return
            line = self._next_line()
            if line is None:
                return
            if self._expected == _CHUNK_LINE:
                self._parse_chunk_line(line)
            elif self._expected == _CHUNK:
                if line:
                    raise ProtocolError('response chunk longer than its declared size')
                self._expected = _CHUNK_LINE
            elif line:  # trailers are ignored
                self._trailers += 1
                if self._trailers > MAX_HEADERS:
                    raise ProtocolError(f'response with more than {MAX_HEADERS} trailer lines')
            else:
                self._finish()

    def _parse_chunk_line(self, line: bytes) -> None:
        field = line.partition(b';')[0]  # extensions are ignored
        if not _CHUNK_SIZE.match(field) or b'\r' in line:
            raise ProtocolError(f'invalid chunk size in the response: {field[:40]!r}')
        self._missing = int(field, 16)
        self._expected = _CHUNK if self._missing else _TRAILER
        self._check_size(len(self._body) + self._missing)
        self.chunks += 1

    def _next_line(self) -> bytes | None:
        """The next line without its end, or None if that has not come."""
        end = self._buffer.find(b'\n', self._at)
        if (len(self._buffer) if end < 0 else end) - self._at > MAX_HEAD:
            raise ProtocolError(f'chunk line in the response larger than {MAX_HEAD} bytes')
        if end < 0:
            return None
        line = self._buffer[self._at : end]
        self._at = end + 1
        # A single LF ends lines of the head alone (RFC 9112, section 2.2).
        if not line.endswith(b'\r'):
            raise ProtocolError('chunk line in the response that does not end with CR LF')
        return line[:-1]

    def content(self, max_size: int | None) -> bytes:
        """The body, decompressed.

        :param max_size: bytes of the largest content, or None for no limit.
        :returns: nothing where a redirect or a refusal has no valid one: the status says enough.
        :raises ProtocolError: it is not in the encoding that the header names,
                               or more than that.
        """
        encoding = self.headers.get('content-encoding', '').lower()
        if not self.body or encoding in ('', 'identity'):
            return self.body
        try:
            return _inflate(self.body, encoding, max_size)
        except ProtocolError:
            if self.status < self._refused_from:
                raise
            return b''


def _no_response(begins: bytes) -> ProtocolError:
    first = begins[:_SHOWN].decode('latin-1').partition('\n')[0].rstrip('\r')
    return ProtocolError(f'not an HTTP response: it begins {first!r}')


class NothingCame(ConnectionClosed):
    """The server closed the connection before the first byte of a response."""


def _parse_length(field: str) -> int:
    # The same length several times is one (RFC 9110, section 8.6).
    lengths = {length.strip(' \t') for length in field.split(',')}
    length = lengths.pop()
    if lengths or not (length.isascii() and length.isdigit()) or len(length) > 18:
        raise ProtocolError(f'invalid Content-Length in the response: {field[:40]!r}')
    return int(length)


def _too_large(max_size: int) -> ProtocolError:
    return ProtocolError(f'response larger than {max_size} bytes', 1009)


def _inflate(body: bytes, encoding: str, max_size: int | None) -> bytes:
    """Decompress a body, never to more than the limit: a bomb must not fill the memory."""
    if encoding not in ('gzip', 'x-gzip', 'deflate'):
        raise ProtocolError(f'response with an unsupported Content-Encoding: {encoding[:40]!r}')
    is_gzip = body.startswith(_GZIP)
    # Some servers' "deflate" is without the header of zlib (RFC 1950, section 2.2).
    has_header = is_gzip or (body[0] & 15 == 8 and int.from_bytes(body[:2], 'big') % 31 == 0)
    window = zlib.MAX_WBITS | 16 * is_gzip if has_header else -zlib.MAX_WBITS
    view = memoryview(body)
    parts: list[bytes] = []
    at = size = members = 0
    while at < len(body):  # for each member of gzip (RFC 1952, section 2.2)
        members += 1
        if members > MAX_MEMBERS:
            raise ProtocolError(f'gzip response body with more than {MAX_MEMBERS} members', 1009)
        inflater = zlib.decompressobj(window)
        # Small at first: zlib copies what is left after a member, and there may be many.
        step = _FIRST_STEP
        while not inflater.eof:
            piece = view[at : at + step]
            if not piece:
                raise ProtocolError(f'{encoding} response body is truncated')
            try:
                part = inflater.decompress(piece, 0 if max_size is None else max_size + 1 - size)
            except zlib.error as exc:
                raise ProtocolError(f'response body is not valid {encoding}: {exc}') from exc
            if part:
                parts.append(part)
                size += len(part)
            if max_size is not None and size > max_size:
                raise _too_large(max_size)
            at += len(piece) - len(inflater.unused_data)
            step *= 2
        if at < len(body) and not is_gzip:
            raise ProtocolError(f'{encoding} response body with bytes after its end')
    return b''.join(parts)
