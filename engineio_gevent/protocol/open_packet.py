"""The OPEN packet: what the server says of the connection, checked."""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass
from functools import lru_cache
from reprlib import Repr
from typing import Any

from ..exceptions import ProtocolError
from .json_depth import too_deep
from .json_functions import decode
from .packet import shorten

# A sid goes into the query of every URL: no control characters, and no lone
# surrogates, which no URL can carry.
_UNFIT_FOR_SID = re.compile('[\x00-\x1f\x7f-\x9f\ud800-\udfff]')

#: Characters of the longest sid, which is in the head of each request. Usual ones have about 20.
MAX_SID = 4096

_USUAL_UPGRADES = ('websocket',)

_short = Repr()
_short.maxstring = _short.maxother = _short.maxlong = 40


@dataclass(frozen=True, slots=True)
class OpenPacket:
    """What the server announced when it opened the connection."""

    #: The id of the session.
    sid: str
    #: The transports that the server offers to upgrade to.
    upgrades: tuple[str, ...]
    #: Seconds between two PINGs of the server.
    ping_interval: float
    #: Seconds after which a PING that is due counts as missing.
    ping_timeout: float
    #: The most bytes in the body of a POST, or ``None`` for no limit.
    max_payload: int | None

    @property
    def patience(self) -> float:
        """Seconds from one PING to the latest moment for the next one."""
        return self.ping_interval + self.ping_timeout


def parse(data: str | bytes) -> OpenPacket:
    """Read the data of an OPEN packet.

    :param data: a JSON object; fields that are not known are ignored.

    Raises :class:`.ProtocolError` naming the field that is missing or wrong,
    and what came in its place.
    """
    text = data if isinstance(data, str) else data.decode(errors='replace')
    if too_deep(text):
        raise ProtocolError(f'OPEN packet nests JSON too deeply: {shorten(data)}')
    try:
        fields = decode(data) if isinstance(data, str) else json.loads(data)
    except (ValueError, RecursionError) as error:
        raise ProtocolError(f'OPEN packet is not valid JSON: {shorten(data)}') from error
    if not isinstance(fields, dict):
        raise ProtocolError(f'OPEN packet is not a JSON object: {shorten(data)}')
    sid, upgrades = _sid(fields), _upgrades(fields)
    ping_interval = _seconds(fields, 'pingInterval', zero_allowed=False)
    ping_timeout = _seconds(fields, 'pingTimeout', zero_allowed=True)
    return OpenPacket(
        sid, upgrades, *_same_numbers(ping_interval, ping_timeout, _max_payload(fields))
    )


@lru_cache(maxsize=64)
def _same_numbers(
    ping_interval: float, ping_timeout: float, max_payload: int | None
) -> tuple[float, float, int | None]:
    """The same objects for all connections of a server: 80 bytes less for each."""
    return ping_interval, ping_timeout, max_payload


def _sid(fields: dict[str, Any]) -> str:
    value = fields.get('sid')
    if not isinstance(value, str) or not value or _UNFIT_FOR_SID.search(value):
        raise _fault(fields, 'sid', 'a non-empty string without control characters')
    if len(value) > MAX_SID:
        raise _fault(fields, 'sid', f'at most {MAX_SID} characters long')
    return value


def _upgrades(fields: dict[str, Any]) -> tuple[str, ...]:
    value = fields.get('upgrades')
    if not isinstance(value, list) or not all(isinstance(name, str) for name in value):
        raise _fault(fields, 'upgrades', 'a list of strings')
    # The same object for all connections: 100 bytes less for each.
    return _USUAL_UPGRADES if value == [*_USUAL_UPGRADES] else tuple(value)


def _seconds(fields: dict[str, Any], field: str, *, zero_allowed: bool) -> float:
    expected = f'a number of milliseconds {"of at least" if zero_allowed else "above"} 0'
    value = fields.get(field)
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise _fault(fields, field, expected)
    try:
        seconds = value / 1000
    except OverflowError:  # an integer that no float can hold
        seconds = math.inf
    # Python's JSON knows NaN and Infinity.
    if not math.isfinite(seconds) or seconds < 0 or (seconds == 0 and not zero_allowed):
        raise _fault(fields, field, expected)
    return seconds


def _max_payload(fields: dict[str, Any]) -> int | None:
    value = fields.get('maxPayload')
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise _fault(fields, 'maxPayload', 'an integer in bytes, or 0 for no limit')
    return value or None


def _fault(fields: dict[str, Any], field: str, expected: str) -> ProtocolError:
    found = f'got {_short.repr(fields[field]):.200}' if field in fields else 'it is missing'
    return ProtocolError(f'OPEN packet: {field!r} must be {expected}; {found}')
