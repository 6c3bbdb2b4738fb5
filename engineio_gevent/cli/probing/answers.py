"""What an HTTP answer that is not the hoped-for one tells: who gave it, and what to look at."""

from __future__ import annotations

import json
import re
import shlex
from dataclasses import dataclass
from typing import Any

from ...exceptions import ProtocolError
from ...protocol.nesting import too_deep
from ...protocol.packet import shorten
from ...transports.http1 import Response
from ...transports.redirects import REDIRECTS, Place, follow
from .wire import MAX_SIZE

#: Headers that tell who has answered.
TELLING = (
    'server', 'via', 'x-powered-by', 'x-served-by', 'x-cache', 'cf-ray', 'alt-svc', 'location',
    'retry-after', 'www-authenticate', 'proxy-authenticate', 'content-type', 'cache-control',
    'access-control-allow-origin', 'strict-transport-security',
)  # fmt: skip

#: What is said of a transport that a session may not begin with.
NOT_FIRST = 'is no transport that the server allows to begin with'

# An OPEN packet in the payload of version 3: its length before it, in digits or in bytes.
_VERSION_3 = re.compile(rb'(?:\d+:|\x00[\x00-\x09]+\xff)0\{')
_UNKNOWN_SESSION = 1
_MESSAGES = {'Session ID unknown': 1, 'Transport unknown': 0, 'Bad handshake method': 2,
             'Bad request': 3, 'Forbidden': 4, 'Unsupported protocol version': 5}  # fmt: skip
# RFC 9110, sections 15.6.3 to 15.6.5.
_UNAVAILABLE = {
    502: 'got no answer that it could use from what is behind it',
    503: 'cannot serve at present: too busy, or down',
    504: 'got no answer in time from what is behind it',
}
#: Of a request's query: what the client adds to the caller's.
_OURS = frozenset(('transport', 'EIO', 'sid', 't'))


@dataclass(frozen=True)
class Answer:
    """An HTTP answer, looked at.

    :param response: the answer.
    :param place: where the request went.
    """

    response: Response
    place: Place

    @property
    def status(self) -> int:
        """Its status code."""
        return self.response.status

    @property
    def body(self) -> bytes:
        """Its body, decompressed; as it came, where that cannot be."""
        try:
            return self.response.content(MAX_SIZE)
        except ProtocolError:
            return self.response.body

    @property
    def json(self) -> Any:
        """What the body stands for, if it is JSON; else None."""
        text = self.body.decode(errors='replace')
        if too_deep(text):
            return None
        try:
            return json.loads(text)
        except (ValueError, RecursionError):
            return None

    @property
    def words(self) -> str:
        """What the server says in the body: its message, or a line of text."""
        told = self.json
        if isinstance(told, dict):
            told = told.get('message')
        if isinstance(told, str):
            return told[:200]
        return '' if self.is_html else self.body[:200].decode(errors='replace').strip()

    @property
    def code(self) -> int | None:
        """Engine.IO's code of the error, in the JSON or known by its message."""
        told = self.json
        if isinstance(told, dict):
            code = told.get('code')
            return code if isinstance(code, int) else None
        words = self.words
        if words.startswith('Invalid session'):
            return _UNKNOWN_SESSION
        return _MESSAGES.get(words)

    @property
    def is_html(self) -> bool:
        """Whether it is a page for people."""
        if 'html' not in self.response.headers.get('content-type', ''):
            return self.body[:200].lstrip().lower().startswith((b'<!doctype', b'<html'))
        return b'<' in self.body

    @property
    def is_version_3(self) -> bool:
        """Whether it is the handshake of protocol 3."""
        return _VERSION_3.match(self.body) is not None

    def facts(self) -> dict[str, Any]:
        """For the report; of cookies no value."""
        headers = self.response.headers
        return {
            'status': self.status,
            'headers': {name: headers[name][:300] for name in TELLING if name in headers},
            'content_encoding': headers.get('content-encoding'),
            'cookies': [_cookie(line) for line in self.response.cookies],
        }

    @property
    def by(self) -> str:
        """Who has answered, as far as the answer tells."""
        headers = self.response.headers
        found = [headers[name][:60] for name in ('server', 'via') if headers.get(name)]
        return f' (by {", ".join(found)})' if found else ''


def _cookie(line: str) -> dict[str, Any]:
    first, *attributes = line.split(';')
    return {
        'name': first.partition('=')[0].strip()[:100],
        'attributes': [one.strip()[:100] for one in attributes],
    }


def refusal(answer: Answer, path: str, transport: str) -> str:
    """Why there is no session, from the answer to the first request.

    :param path: where Engine.IO should be.
    :param transport: the transport that was asked for.
    """
    known = _for_every_request(answer)
    if known:
        return known
    status, code = answer.status, answer.code
    if code == 0 or answer.words == 'Invalid transport':
        return f'HTTP {status}: {transport} {NOT_FIRST}'
    if code == 5 or 'unsupported version' in answer.words:
        return f'HTTP {status}: the server speaks another version of Engine.IO ({answer.words})'
    if transport == 'websocket' and _upgrade_was_lost(answer):
        return _stripped(answer)
    if status == 404:
        return f'HTTP 404{answer.by}: is Engine.IO mounted at {path}? (--path)'
    if status == 200:  # instead of 101
        return no_handshake(answer)
    return _any_other(answer)


def no_handshake(answer: Answer) -> str:
    """What is wrong with a body that should have an OPEN packet."""
    if answer.is_version_3:
        return 'a server of Engine.IO 3 (Socket.IO 2) answers: this client speaks Engine.IO 4'
    if answer.is_html:
        return f'an HTML page answers here{answer.by}, not Engine.IO: is the path right? (--path)'
    if not answer.body:
        return f'HTTP {answer.status} with an empty body{answer.by}: no Engine.IO here'
    return f'no Engine.IO here{answer.by}: the body begins {shorten(answer.body)}'


def later_refusal(answer: Answer) -> str:
    """Why a polling request within a session fails."""
    known = _session_unknown(answer) or _for_every_request(answer)
    return known or _any_other(answer)


def no_upgrade(answer: Answer) -> str:
    """Why there is no websocket, from the answer to its request within a session."""
    known = _session_unknown(answer) or _for_every_request(answer)
    if known:
        return known
    if _upgrade_was_lost(answer) or answer.words == 'Invalid transport':
        return _stripped(answer)
    if answer.status == 200:
        return (
            f'HTTP 200 instead of 101{answer.by}: the request went on as an ordinary one; a proxy '
            'in between does not forward Upgrade'
        )
    if answer.status in (400, 404, 405, 501):
        return (
            f'HTTP {answer.status}{answer.by}{_said(answer)}: a proxy in between does not forward '
            'Upgrade, or sends websockets elsewhere'
        )
    return _any_other(answer)


def _session_unknown(answer: Answer) -> str:
    if answer.code != _UNKNOWN_SESSION:
        return ''
    return (
        f'HTTP {answer.status}, session id unknown: this request reached another server than the '
        'first did; with several, or several workers, the load balancer must keep a client on '
        'one (sticky sessions)'
    )


def _for_every_request(answer: Answer) -> str:
    status, headers = answer.status, answer.response.headers
    if status in REDIRECTS and headers.get('location'):
        return f'HTTP {status}{_redirect(answer.place, headers["location"])}'
    if 'origin' in answer.words.lower() and status in (400, 403):
        return (
            f'HTTP {status}: the server refuses the Origin ({answer.words}): look at its CORS '
            'settings, and at X-Forwarded-Proto and Host behind a proxy that ends TLS'
        )
    if status == 401:
        scheme = headers.get('www-authenticate', '').partition(' ')[0]
        kind = f' of the kind {scheme[:40]}' if scheme else ''
        return (
            f'HTTP 401{answer.by}: it wants credentials{kind}{_said(answer)} '
            "(-H 'Authorization: ...', or user and password in the URL)"
        )
    if status == 407:
        return 'HTTP 407: the proxy wants credentials (http://user:password@host:port)'
    if status == 403:
        return f'HTTP 403{answer.by}: forbidden{_said(answer)}'
    if status == 429:
        return f'HTTP 429{answer.by}: too many requests{_said(answer)}'
    if status == 400 and 'HTTPS port' in answer.body.decode(errors='replace'):
        return 'TLS answers here: https:// instead of http://'
    if status in _UNAVAILABLE:
        return (
            f'HTTP {status}{answer.by}{_said(answer)}: the server, or a proxy before it, '
            f'{_UNAVAILABLE[status]}'
        )
    return ''


def _redirect(here: Place, location: str) -> str:
    """Where a redirect leads, and what to give to the command instead."""
    try:
        there = follow(here, location)
    except ProtocolError as exc:
        return f': {exc}'
    (url, path), (_, path_here) = _given(there), _given(here)
    whole = f'{url.partition("/?")[0]}{path}'
    rule = 'polling follows redirects, the websocket does not'
    if (url, path) == _given(here):
        return f' redirects to the same place, {whole}: {rule}'
    if path == path_here:
        return f' redirects to {whole}: give {shlex.quote(url)} ({rule})'
    given = f'{shlex.quote(url)} --path {shlex.quote(path.strip("/") or "/")}'
    return f' redirects to {whole}: if Engine.IO is there, give {given} ({rule})'


def _given(place: Place) -> tuple[str, str]:
    """The URL and the path that lead the client to a place."""
    path, _, query = place.target.partition('?')
    own = '&'.join(one for one in query.split('&') if one.partition('=')[0] not in {*_OURS, ''})
    url = f'{"https" if place.secure else "http"}://{place.netloc}'
    path = path.strip('/')
    return (f'{url}/?{own}' if own else url)[:300], (f'/{path}/' if path else '/')[:300]


def _upgrade_was_lost(answer: Answer) -> bool:
    """Whether the server says that the request which reached it was no websocket's."""
    return answer.status == 426 or answer.code == 3 or 'websocket upgrade' in answer.words.lower()


def _stripped(answer: Answer) -> str:
    return (
        f'HTTP {answer.status}{answer.by}{_said(answer)}: the request reached the server without '
        'its Upgrade header; a proxy in between does not forward that'
    )


def _any_other(answer: Answer) -> str:
    page = ', an HTML page' if answer.is_html else ''
    return f'HTTP {answer.status}{answer.by}{page}{_said(answer)}'


def _said(answer: Answer) -> str:
    return f': {answer.words}' if answer.words else ''
