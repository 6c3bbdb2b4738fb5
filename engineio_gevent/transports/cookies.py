"""Cookies of one connection.

By the policy of the standard library's jar, a cookie of ``10.0.0.1`` may go to ``11.0.0.1``, one of
``intra1`` to ``intra2``, and one of ``a.co.uk`` to ``b.co.uk``. Only the list of public suffixes
tells which names belong together, and this package does not have it. So a cookie goes to the host
that set it, and with ``Domain`` to the subdomains of that host.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from email.message import Message
from http.cookiejar import Cookie, CookieJar, DefaultCookiePolicy
from http.cookiejar import (  # type: ignore[attr-defined]  # not in the stubs
    parse_ns_headers as _parse_ns_headers,
)
from typing import Any
from urllib.parse import urlsplit
from urllib.request import Request

#: Cookies that a jar takes from servers. RFC 6265, section 6.1, asks for 50 of a host.
MAX_COOKIES = 200
#: Characters of the longest ``Set-Cookie`` that is taken; the RFC asks for 4096 bytes.
MAX_COOKIE = 4096
#: Characters of all cookies of a domain. Most servers refuse a ``Cookie`` header of 64 KiB.
MAX_SIZE = 1 << 16

# The attribute of a cookie for the host that set it.
_HOST = 'host'
# A lone CR would end the line of our own header, to a lenient server.
_UNFIT = re.compile('[\x00-\x08\x0a-\x1f\x7f]')


# A number that no float holds makes the jar warn of itself, with a traceback.
# An age that is no number is ignored (RFC 6265, section 5.2.2); the jar fails over some.
_ODD_AGE = re.compile(
    r';\s*max-age(?=[\s=;]|$)(?!\s*=\s*"?-?\d{1,18}"?\s*(?:;|$))[^;]*', re.IGNORECASE
)


_DOMAIN = re.compile(r';\s*domain\s*(?:=([^;]*))?(?=;|$)', re.IGNORECASE)
# An address, also in the short forms that the system's resolver takes.
_ADDRESS = re.compile(r':|(?:^|\.)(?:\d+|0x[\da-f]*)\.?\Z')


def _of_host(line: str, host: str, narrow: bool) -> str:
    """A ``Set-Cookie`` as the jar shall see it; empty if it is for other hosts.

    :param host: the host that set the cookie.
    :param narrow: whether a domain that has other subdomains, too, is not taken over.
    """
    domains = _DOMAIN.findall(line)
    if not domains:
        return line
    line = _DOMAIN.sub('', line)
    domain = domains[-1].strip().removeprefix('.').lower()  # RFC 6265, section 5.2.3
    if not domain:
        return line
    is_name = '.' in host and not _ADDRESS.search(host)
    if domain != host and not (is_name and '.' in domain and host.endswith(f'.{domain}')):
        return ''
    if not is_name:
        return line
    return f'{line}; Domain={host if narrow else domain}'


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


class _Policy(DefaultCookiePolicy):
    """A cookie goes to the host that set it, and with ``Domain`` to the subdomains of that host."""

    def return_ok_domain(self, cookie: Cookie, request: Request) -> bool:
        own = cookie.get_nonstandard_attr(_HOST)
        if own is None:  # the caller's
            return super().return_ok_domain(cookie, request)
        # For the base class, intra and intra.local are one host.
        host = urlsplit(request.full_url).hostname or ''
        return host == own or (cookie.domain_specified and host.endswith(f'.{own}'))


class Jar(CookieJar):
    """The jar of a connection."""

    def __init__(self) -> None:
        super().__init__(_Policy())


def _has_room(jar: CookieJar, cookie: Cookie) -> bool:
    """Whether a jar takes a cookie: a server does not fill it without end."""
    others = [one for one in jar if _place(one) != _place(cookie)]
    size = sum(_size(one) for one in (*others, cookie) if one.domain == cookie.domain)
    is_new = len(others) == len(jar)
    return size <= MAX_SIZE and not (is_new and len(jar) >= MAX_COOKIES)


def _place(cookie: Cookie) -> tuple[str, str, str]:
    return cookie.domain, cookie.path, cookie.name


def _size(cookie: Cookie) -> int:
    return len(cookie.name) + len(cookie.value or '')


class Cookies:
    """The cookies that servers set, and those that go into the next request.

    :param jar: the caller's jar, whose policy applies, or None to make one when the first cookie
                comes (most servers set none, and a jar takes 2 KiB).
    """

    __slots__ = ('jar',)

    def __init__(self, jar: CookieJar | None = None) -> None:
        self.jar: CookieJar | None = jar

    @property
    def cookies(self) -> CookieJar:
        """The jar. The application reads it as ``client.http.cookies``."""
        if self.jar is None:
            self.jar = Jar()
        return self.jar

    def store(self, url: str, lines: Iterable[str]) -> None:
        """Keep the cookies of a response, as far as the policy allows.

        :param url: the ``http`` or ``https`` URL of the request.
        :param lines: the values of its ``Set-Cookie`` headers.
        """
        lines = [_ODD_AGE.sub('', line) for line in lines]
        host = urlsplit(url).hostname or ''
        narrow = self.jar is None or isinstance(self.jar, Jar)
        lines = [_of_host(line, host, narrow) for line in lines if _is_fit(line)]
        if not any(lines):
            return
        if self.jar is None:
            self.jar = Jar()
        request = Request(url)
        answer: Any = _Answer(filter(None, lines))
        for cookie in self.jar.make_cookies(answer, request):
            if narrow:
                cookie.set_nonstandard_attr(_HOST, host)
            if _has_room(self.jar, cookie):
                self.jar.set_cookie_if_ok(cookie, request)

    def header(self, url: str) -> str:
        """The ``Cookie`` header for a request to this URL, or an empty string.

        A cookie with a control character is left out: requests takes those of a server.
        """
        header = self.unchecked_header(url)
        if _UNFIT.search(header):
            header = joined(*(one for one in header.split('; ') if not _UNFIT.search(one)))
        return header

    def unchecked_header(self, url: str) -> str:
        """As :meth:`header`, with all cookies of the jar for this URL."""
        if not self.jar:
            return ''
        request = Request(url)
        self.jar.add_cookie_header(request)
        return request.get_header('Cookie', '') or ''


def joined(*headers: str) -> str:
    """Several ``Cookie`` headers as one."""
    return '; '.join(header for header in headers if header)
