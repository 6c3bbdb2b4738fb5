"""The header ``Retry-After`` of a refused connection (RFC 9110, section 10.2.3)."""

from __future__ import annotations

import random
from datetime import datetime, timedelta, timezone
from email.utils import parsedate_to_datetime

from ...exceptions import HTTPError

#: Maximum seconds that a user waits because a server asks for it.
MAX_RETRY_AFTER = 300.0
#: Part of the delay by which it is longer at most, so that not all users return at once.
_JITTER = 0.25


def requested_delay(error: BaseException | None) -> float:
    """Seconds to wait before the next attempt, with jitter; 0 if the server has not said so.

    :param error: the exception of the failed attempt.
    """
    while error is not None and not isinstance(error, HTTPError):
        error = error.__cause__
    if error is None:
        return 0.0
    seconds = min(_seconds(error.headers), MAX_RETRY_AFTER)
    return seconds * random.uniform(1, 1 + _JITTER)


def _seconds(headers: dict[str, str]) -> float:
    value = headers.get('retry-after', '').strip()
    if value.isascii() and value.isdigit():
        return float(value)
    try:
        then = _date(value)
        # The clock of the server may differ from that of this machine.
        now = _date(headers['date']) if 'date' in headers else datetime.now(timezone.utc)
    except (TypeError, ValueError):
        return 0.0
    return max((then - now) / timedelta(seconds=1), 0.0)


def _date(value: str) -> datetime:
    found = parsedate_to_datetime(value)
    return found.replace(tzinfo=timezone.utc) if found.tzinfo is None else found
