"""The payload of a close frame (RFC 6455, section 5.5.1)."""

from __future__ import annotations

from ..exceptions import ProtocolError
from .utf8 import where_invalid

__all__ = ['INVALID_TEXT', 'encode_close', 'parse_close']

# Section 7.4.1.
_NORMAL_CLOSURE = 1000
_NO_STATUS = 1005
#: The close code for text that is not UTF-8.
INVALID_TEXT = 1007

# What a control frame holds, without the code.
_MAX_REASON = 125 - 2


def parse_close(payload: bytes) -> tuple[int, str]:
    """Return the code and the reason of a close frame.

    :param payload: its payload; an empty one reads as ``(1005, '')``, no code
                    received (section 7.1.5).

    Raises :class:`ProtocolError` for a payload that section 5.5.1 does not allow.
    """
    if not payload:
        return _NO_STATUS, ''
    if len(payload) == 1:
        raise ProtocolError('close frame with an incomplete code')
    code = int.from_bytes(payload[:2], 'big')
    if not _may_be_sent(code):
        raise ProtocolError(f'close frame with invalid code {code}')
    try:
        return code, payload[2:].decode()
    except UnicodeDecodeError as error:
        raise ProtocolError(f'close reason with {where_invalid(error)}', INVALID_TEXT) from error


def encode_close(code: int = _NORMAL_CLOSURE, reason: str = '') -> bytes:
    """Return the payload of a close frame.

    :param code: the close code; 1005 makes an empty payload, as
                 :func:`parse_close` reads it.
    :param reason: why, for the server's log; cut to 123 bytes of UTF-8 between
                   two characters, since a control frame holds 125 (section 5.5).

    Raises ``ValueError`` for a code that must not be sent (section 7.4).
    """
    if code == _NO_STATUS:
        return b''
    if not _may_be_sent(code):
        raise ValueError(f'invalid close code {code}')
    text = reason.encode(errors='replace')[:_MAX_REASON].decode(errors='ignore')
    return code.to_bytes(2, 'big') + text.encode()


def _may_be_sent(code: int) -> bool:
    """Section 7.4: 1004-1006 and 1015 are reserved, others below 3000 undefined."""
    return 1000 <= code <= 1003 or 1007 <= code <= 1014 or 3000 <= code <= 4999
