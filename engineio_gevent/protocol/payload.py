"""Packets to and from the body of one polling request or response."""

from __future__ import annotations

import base64
import sys
from collections import deque
from collections.abc import Iterator
from itertools import islice

from ..exceptions import ProtocolError
from . import packet as _packet
from .packet import Encoded

#: The most packets in one body sent: python-engineio servers refuse a seventeenth.
MAX_PACKETS = 16

#: What stands between two packets: the ASCII record separator, U+001E.
SEPARATOR = b'\x1e'

#: Bytes of a body that are decoded at a time, up to the next separator. A packet of one byte takes
#: 90 when it is decoded.
SLICE = 1 << 16

_SEPARATOR_TEXT = SEPARATOR.decode()
_BASE64_MARK = 'b'


def encode_packet(packet: Encoded) -> bytes:
    """Return a packet as a polling body carries it.

    :param packet: the packet in its neutral form.

    Raises ``ValueError`` for text that polling cannot carry: with U+001E, which
    would end the packet early, or with a lone surrogate (``UnicodeEncodeError``).
    """
    if isinstance(packet, bytes):
        return b'b' + base64.b64encode(packet)
    _refuse_separator(packet)
    return packet.encode()


def encoded_size(packet: Encoded) -> int:
    """Return how many bytes :func:`encode_packet` makes of a packet.

    :param packet: the packet in its neutral form.

    Raises what :func:`encode_packet` raises for the same packet.
    """
    if isinstance(packet, bytes):
        return 1 + (len(packet) + 2) // 3 * 4
    _refuse_separator(packet)
    return len(packet) if packet.isascii() else len(packet.encode())


def take_body(queue: deque[Encoded], max_payload: int | None) -> bytes:
    """Take the packets that fit into one POST off the left of the queue.

    A packet that is too large on its own goes alone, so that the server decides.

    :param queue: the packets to send, in their neutral form. Nothing is removed
                  from it where an exception is raised.
    :param max_payload: the server's limit for the body in bytes, separators
                        included, or ``None`` for no limit.

    Returns the body, empty if the queue is. Raises what :func:`encode_packet`
    raises.
    """
    limit = sys.maxsize if max_payload is None else max_payload
    parts: list[bytes] = []
    size = -len(SEPARATOR)  # there is one separator less than packets
    for packet in islice(queue, MAX_PACKETS):
        size += len(SEPARATOR) + encoded_size(packet)
        if parts and size > limit:
            break
        parts.append(encode_packet(packet))
    for _ in parts:
        queue.popleft()
    return SEPARATOR.join(parts)


def put_back(queue: deque[Encoded], body: bytes) -> None:
    """Undo :func:`take_body`.

    :param queue: the packets to send, in their neutral form.
    :param body: the body, which nobody has sent.
    """
    for kind, data in reversed(decode(body)):
        queue.appendleft(data if isinstance(data, bytes) else f'{kind}{data}')


def queued_size(body: bytes) -> int:
    """Return the sum of :func:`encoded_size` of the packets in a body of :func:`take_body`'s."""
    return len(body) - body.count(SEPARATOR)


def count_messages(body: bytes) -> int:
    """Return how many of the packets in a body of :func:`take_body`'s are messages."""
    return sum(part.startswith((b'4', b'b')) for part in body.split(SEPARATOR))


def slices(body: bytes) -> Iterator[bytes]:
    """Cut a polling body between packets, so that not all of them are in memory at once.

    :param body: the body as it came.

    Yields parts for :func:`decode`. Most bodies are one.
    """
    start = 0
    while start >= 0:
        part, start = next_slice(body, start)
        yield part


def next_slice(body: bytes, start: int) -> tuple[bytes, int]:
    """Return one of :func:`slices`, and where the next one begins: -1 after the last.

    :param body: the body as it came.
    :param start: where this one begins.
    """
    end = body.find(SEPARATOR, start + SLICE)
    if end < 0 or end + 1 == len(body):  # an empty packet at the end stays a fault
        return body[start:], -1
    return body[start:end], end + 1


def decode(body: bytes) -> list[tuple[int, str | bytes]]:
    """Split a polling body into packets.

    :param body: the body as it came; any number of packets, or empty.

    Returns ``(type, data)`` for each packet. Raises :class:`.ProtocolError`,
    whose ``decoded`` holds the packets before the fault, for text that is not
    UTF-8, for broken base64, and for a packet that is empty or of no known type.
    """
    try:
        text = body.decode()
    except UnicodeDecodeError as error:
        before, _, after = body[: error.start].rpartition(SEPARATOR)
        faulty = after + body[error.start :].partition(SEPARATOR)[0]
        raise ProtocolError(
            f'packet with invalid UTF-8: {_packet.shorten(faulty)}', decoded=decode(before)
        ) from error
    packets: list[tuple[int, str | bytes]] = []
    if not text:
        return packets
    # One pass over the whole body's text: 0.3 us for each packet of 100 bytes.
    for encoded in text.split(_SEPARATOR_TEXT):
        try:
            if encoded.startswith(_BASE64_MARK):
                packets.append((_packet.MESSAGE, base64.b64decode(encoded[1:], validate=True)))
            else:
                packets.append(_packet.decode(encoded))
        except ProtocolError as error:
            error.decoded = packets
            raise
        except ValueError as error:
            raise ProtocolError(
                f'packet with invalid base64: {_packet.shorten(encoded)}', decoded=packets
            ) from error
    return packets


def _refuse_separator(text: str) -> None:
    if _SEPARATOR_TEXT in text:
        raise ValueError(
            'polling cannot send text with U+001E, which separates packets: send bytes instead, or '
            "connect with transports='websocket'"
        )
