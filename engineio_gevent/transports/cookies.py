"""Cookies of one connection, by the policy of the standard library's jar."""

from __future__ import annotations

import re
from collections.abc import Iterable
from email.message import Message
from http.cookiejar import Cookie, CookieJar
from http.cookiejar import (  # type: ignore[attr-defined]  # not in the stubs
    parse_ns_headers as _parse_ns_headers,
)
from urllib.request import Request

#: Cookies that a jar takes from servers. RFC 6265, section 6.1, asks for 50 of a host.
MAX_COOKIES = 200
#: Characters of the longest ``Set-Cookie`` that is taken; the RFC asks for 4096 bytes.
MAX_COOKIE = 4096

# A lone CR would end the line of our own header, to a lenient server.
_UNFIT = re.compile('[\x00-\x08\x0a-\x1f\x7f]')


# A number that no float holds makes the jar warn of itself, with a traceback.
# An age that is no number is ignored (RFC 6265, section 5.2.2); the jar fails over some.
_ODD_AGE = re.compile(
    r';\s*max-age(?=[\s=;]|$)(?!\s*=\s*"?-?\d{1,18}"?\s*(?:;|$))[^;]*', re.IGNORECASE
)


def _is_fit(line: str) -> bool:
    if len(line) > MAX_COOKIE or _UNFIT.search(line):
        return False
    try:
        _parse_ns_headers([line])
    except Exception:  # the jar fails over some dates, and warns of itself with a traceback
        return False
    return True


class _Answer:
    """What a jar asks of a response."""

    def __init__(self, lines: Iterable[str]) -> None:
        self._message = Message()
        for line in lines:
            self._message['Set-Cookie'] = line

    def info(self) -> Message:
        return self._message


class Jar(CookieJar):
    """A jar that a server cannot fill without end."""

    def set_cookie(self, cookie: Cookie) -> None:
        place = cookie.domain, cookie.path, cookie.name
        if len(self) < MAX_COOKIES or any(
            place == (one.domain, one.path, one.name) for one in self
        ):
            super().set_cookie(cookie)


class Cookies:
    """The cookies that servers set, and those that go into the next request.

    :param jar: a jar to use, or None to make one when the first cookie comes
                (most servers set none, and a jar takes 2 KiB).
    """

    __slots__ = ('jar',)

    def __init__(self, jar: CookieJar | None = None) -> None:
        self.jar = jar

    def store(self, url: str, lines: Iterable[str]) -> None:
        """Keep the cookies of a response, as far as the policy allows.

        :param url: the ``http`` or ``https`` URL of the request.
        :param lines: the values of its ``Set-Cookie`` headers.
        """
        lines = [_ODD_AGE.sub('', line) for line in lines]
        lines = [line for line in lines if _is_fit(line)]
        if not lines:
            return
        if self.jar is None:
            self.jar = Jar()
        self.jar.extract_cookies(_Answer(lines), Request(url))  # type: ignore[arg-type]  # it reads headers alone

    def header(self, url: str) -> str:
        """The ``Cookie`` header for a request to this URL, or an empty string."""
        if not self.jar:
            return ''
        request = Request(url)
        self.jar.add_cookie_header(request)
        return request.get_header('Cookie', '') or ''


def joined(*headers: str) -> str:
    """Several ``Cookie`` headers as one."""
    return '; '.join(header for header in headers if header)
