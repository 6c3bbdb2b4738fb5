"""Texts of failures. Equal failures have equal texts, so that Locust groups them."""

from __future__ import annotations

import re

import gevent

from ...printable import printable

#: Maximum length of a failure's text. It may contain a page sent by the server.
MAX_TEXT = 200

# What differs between two failures of one kind, and what stands for it. The order matters: the
# time of day looks like a port.
_VARIABLE = [
    (re.compile(pattern), substitute)
    for pattern, substitute in (
        (r'([?&]t=)[^&\s\'"]*', r'\1<time>'),
        (r'(\bsid=)[^&\s\'"]*', r'\1<id>'),
        (r'\b\d{4}-\d\d-\d\d([T ]\d\d:\d\d(:\d\d([.,]\d+)?)?(Z|[+-]\d\d:?\d\d)?)?', '<time>'),
        (r'\b\d\d:\d\d:\d\d([.,]\d+)?', '<time>'),
        (r'\b1\d{9}(\d{3})?(\.\d+)?\b', '<time>'),  # seconds or milliseconds since 1970
        (r'\b0x[0-9a-fA-F]+', '<address>'),
        (r'\bport([ =:]+)\d{1,5}\b', r'port\1<port>'),
        (r"(\('[^']*', )\d{1,5}\b", r'\1<port>'),  # the address of a socket
        (r'(?<=[\w.\]]):\d{1,5}\b', ''),
        # Session ids and the like: long words of letters and digits.
        (r'(?<![\w-])(?=[\w-]*\d)(?=[\w-]*[A-Za-z])[\w-]{16,}(?![\w-])', '<id>'),
    )
]


class Failure(Exception):
    """A failed request. Its text contains no timestamps, session ids or ports.

    ``__cause__`` is the original exception, if there is one.
    """

    #: Whether the time until this failure is reported as a response time. A lost connection fails
    #: at once, so its time would improve the averages.
    timed: bool = False

    def __repr__(self) -> str:
        # It is by this that Locust groups failures, and this that it shows.
        return str(self)


class TimedOut(Failure):
    """The timeout has elapsed."""

    timed = True


class CheckFailed(Failure):
    """An answer came, and ``check`` did not accept it."""

    timed = True


def describe(error: BaseException) -> Failure:
    """Convert an exception to a failure."""
    if isinstance(error, Failure):
        return error
    name = type(error).__name__
    try:
        text = f'{name}: {error}' if str(error) else name
    except Exception:  # a class of the scenario's, whose __str__() fails
        text = name
    failure = Failure(scrub(text))
    failure.timed = isinstance(error, gevent.Timeout)
    failure.__cause__ = error
    return failure


def shown(error: BaseException) -> str:
    """An exception within the text of a failure."""
    try:
        return scrub(repr(error))
    except Exception:  # a class of the scenario's, whose __repr__() fails
        return type(error).__name__


def scrub(text: str) -> str:
    """Remove the parts that differ between equal failures."""
    text = printable(text[: 10 * MAX_TEXT])
    for pattern, substitute in _VARIABLE:
        text = pattern.sub(substitute, text)
    return text if len(text) <= MAX_TEXT else text[:MAX_TEXT] + '...'
