"""Explain an unexpected HTTP response: its origin, its cause and what to try."""

from __future__ import annotations

import json
import re
import shlex
from dataclasses import dataclass
from typing import Any

from ...exceptions import ProtocolError
from ...protocol.http1 import Response
from ...protocol.json_depth import too_deep
from ...protocol.packet import shorten
from ...transports.redirects import REDIRECTS, Destination, follow
from .wire import MAX_SIZE

#: Headers that identify the server or proxy that answered.
TELLING = (
    'server', 'via', 'x-powered-by', 'x-served-by', 'x-cache', 'cf-ray', 'alt-svc', 'location',
    'retry-after', 'www-authenticate', 'proxy-authenticate', 'content-type', 'cache-control',
    'access-control-allow-origin', 'strict-transport-security',
)  # fmt: skip

#: Part of the problem if the server does not accept a transport for the first request.
NOT_FIRST = 'the server does not allow a connection to begin with'
#: The end of a problem that a wrong path may cause.
CHECK_PATH = '. Check the path (--path)'
SPEAKS_TLS = 'this port speaks TLS. Try https:// instead of http://'
VERSION_3 = 'the server speaks Engine.IO 3 (Socket.IO 2), and this client supports only protocol 4'

# An OPEN packet in a payload of protocol 3, which has the length before each packet, as digits or
# as bytes.
_VERSION_3 = re.compile(rb'(?:\d+:|\x00[\x00-\x09]+\xff)0\{')
_UNKNOWN_SESSION = 1
_MESSAGES = {'Session ID unknown': 1, 'Transport unknown': 0, 'Bad handshake method': 2,
             'Bad request': 3, 'Forbidden': 4, 'Unsupported protocol version': 5}  # fmt: skip
# RFC 9110, sections 15.6.3 to 15.6.5.
_UNAVAILABLE = {
    502: 'A proxy got an invalid response from the server behind it',
    503: 'The server or a proxy is overloaded or down',
    504: 'A proxy got no response in time from the server behind it',
}
#: The query parameters that the client adds to those of the URL.
_ADDED = frozenset(('transport', 'EIO', 'sid', 't'))
_NOT_FORWARDED = 'A proxy may not forward the Upgrade header'


@dataclass(frozen=True)
class Answer:
    """An HTTP response and what it says.

    :param response: the response.
    :param place: the server and path of the request.
    :param redirected: whether a redirect led there.
    """

    response: Response
    place: Destination
    redirected: bool = False

    @property
    def status(self) -> int:
        """The status code."""
        return self.response.status

    @property
    def body(self) -> bytes:
        """The body, decompressed if that is possible."""
        try:
            return self.response.content(MAX_SIZE)
        except ProtocolError:
            return self.response.body

    @property
    def json(self) -> Any:
        """The decoded body, or None if it is not JSON."""
        text = self.body.decode(errors='replace')
        if too_deep(text):
            return None
        try:
            return json.loads(text)
        except (ValueError, RecursionError):
            return None

    @property
    def words(self) -> str:
        """The text in the body: the message of the JSON, or plain text."""
        decoded = self.json
        if isinstance(decoded, dict):
            decoded = decoded.get('message')
        if isinstance(decoded, str):
            return decoded[:200]
        return '' if self.is_html else self.body[:200].decode(errors='replace').strip()

    @property
    def code(self) -> int | None:
        """Engine.IO's error code, from the JSON or derived from the message."""
        decoded = self.json
        if isinstance(decoded, dict):
            code = decoded.get('code')
            return code if isinstance(code, int) else None
        words = self.words
        if words.startswith('Invalid session'):
            return _UNKNOWN_SESSION
        return _MESSAGES.get(words)

    @property
    def is_html(self) -> bool:
        """Whether the body is an HTML page."""
        if 'html' not in self.response.headers.get('content-type', ''):
            return self.body[:200].lstrip().lower().startswith((b'<!doctype', b'<html'))
        return b'<' in self.body

    @property
    def is_version_3(self) -> bool:
        """Whether the body is a handshake of Engine.IO protocol 3."""
        return _VERSION_3.match(self.body) is not None

    def facts(self) -> dict[str, Any]:
        """The facts for the report, without the values of cookies."""
        headers = self.response.headers
        found = {
            'status': self.status,
            'headers': {name: headers[name][:300] for name in TELLING if name in headers},
            'content_encoding': headers.get('content-encoding'),
            'cookies': [_cookie(line) for line in self.response.cookies],
        }
        if self.redirected:
            found['redirected_to'] = self.place.target.partition('?')[0][:300]
        return found

    @property
    def origin(self) -> str:
        """The server or proxy that answered, if the headers name it."""
        headers = self.response.headers
        found = [headers[name][:60] for name in ('server', 'via') if headers.get(name)]
        return f' (from {", ".join(found)})' if found else ''


def _cookie(line: str) -> dict[str, Any]:
    first, *attributes = line.split(';')
    return {
        'name': first.partition('=')[0].strip()[:100],
        'attributes': [one.strip()[:100] for one in attributes],
    }


def refusal(answer: Answer, path: str, transport: str) -> str:
    """Why the first request opened no connection.

    :param path: the given path of Engine.IO.
    :param transport: the transport of the request.
    """
    known = _for_every_request(answer)
    if known:
        return known
    status, code = answer.status, answer.code
    if code == 0 or answer.words == 'Invalid transport':
        return f'HTTP {status}: {NOT_FIRST} {transport}'
    if code == 5 or 'unsupported version' in answer.words:
        return (
            f'HTTP {status}: the server does not speak the Engine.IO protocol 4, and this client '
            f'supports only protocol 4. Perhaps it is an Engine.IO 3 (Socket.IO 2) server '
            f'({answer.words})'
        )
    if transport == 'websocket' and _upgrade_was_lost(answer):
        return _stripped(answer)
    if status == 404:
        return f'HTTP 404{answer.origin}: no Engine.IO at {path}{CHECK_PATH}'
    if status == 200:  # instead of 101
        return no_handshake(answer)
    return _any_other(answer)


def no_handshake(answer: Answer) -> str:
    """Why a body contains no OPEN packet."""
    if answer.is_version_3:
        return VERSION_3
    if answer.is_html:
        return f'HTTP {answer.status}{answer.origin}: an HTML page, not Engine.IO{CHECK_PATH}'
    if not answer.body:
        return f'HTTP {answer.status}{answer.origin}: an empty body, not Engine.IO{CHECK_PATH}'
    return (
        f'HTTP {answer.status}{answer.origin}: not Engine.IO, the body begins '
        f'{shorten(answer.body)}{CHECK_PATH}'
    )


def later_refusal(answer: Answer) -> str:
    """Why a polling request after the handshake failed."""
    known = _session_unknown(answer) or _for_every_request(answer)
    return known or _any_other(answer)


def no_upgrade(answer: Answer) -> str:
    """Why the websocket request of an upgrade failed."""
    known = _session_unknown(answer) or _for_every_request(answer)
    if known:
        return known
    if _upgrade_was_lost(answer) or answer.words == 'Invalid transport':
        return _stripped(answer)
    if answer.status == 200:
        return f'HTTP 200 instead of 101{answer.origin}. {_NOT_FORWARDED}'
    if answer.status in (400, 404, 405, 501):
        return (
            f'HTTP {answer.status}{answer.origin}{_said(answer)}. {_NOT_FORWARDED}, or sends '
            'websockets to another server'
        )
    return _any_other(answer)


def late_refusal(answer: Answer) -> str:
    """Why the server refused a websocket that it had opened."""
    known = _session_unknown(answer) or _for_every_request(answer) or _any_other(answer)
    return f'{known}. The server sent this after it had opened the websocket (HTTP 101)'


def _session_unknown(answer: Answer) -> str:
    if answer.code != _UNKNOWN_SESSION:
        return ''
    return (
        f'HTTP {answer.status}: unknown sid. This request reached another server or worker than '
        'the handshake. Configure sticky sessions in the load balancer'
    )


def _for_every_request(answer: Answer) -> str:
    status, headers = answer.status, answer.response.headers
    if status in REDIRECTS and headers.get('location'):
        return f'HTTP {status}{_redirect(answer.place, headers["location"])}'
    if 'origin' in answer.words.lower() and status in (400, 403):
        return (
            f'HTTP {status}: the server rejects the Origin header ({answer.words}). Check its CORS '
            'settings, and X-Forwarded-Proto and Host if a proxy terminates TLS'
        )
    if status == 401:
        scheme = headers.get('www-authenticate', '').partition(' ')[0]
        kind = f' ({scheme[:40]})' if scheme else ''
        return (
            f'HTTP 401{answer.origin}: credentials required{kind}{_said(answer)}. Pass '
            "-H 'Authorization: ...', or a user and password in the URL"
        )
    if status == 407:
        return (
            'HTTP 407: the proxy requires credentials. Pass --proxy http://USER:PASSWORD@HOST:PORT'
        )
    if status == 403:
        return f'HTTP 403{answer.origin}: forbidden{_said(answer)}'
    if status == 429:
        return f'HTTP 429{answer.origin}: too many requests{_said(answer)}{_retry_after(answer)}'
    if status == 400 and 'HTTPS port' in answer.body.decode(errors='replace'):
        return SPEAKS_TLS
    if status in _UNAVAILABLE:
        reason = f'{_said(answer)}. {_UNAVAILABLE[status]}'
        return f'HTTP {status}{answer.origin}{reason}{_retry_after(answer)}'
    return ''


def _redirect(here: Destination, location: str) -> str:
    """The target of a redirect, and the arguments that lead there."""
    try:
        there = follow(here, location)
    except ProtocolError as exc:
        return f': {exc}'
    (url, path), (_, path_here) = _given(there), _given(here)
    whole = f'{url.partition("/?")[0]}{path}'
    rule = 'polling follows redirects, a websocket only 307 and 308 to the same server'
    if (url, path) == _given(here):
        return f' redirects to the same URL, {whole} ({rule})'
    if path == path_here:
        return f' redirects to {whole}. Use {shlex.quote(url)} ({rule})'
    given = f'{shlex.quote(url)} --path {shlex.quote(path.strip("/") or "/")}'
    return f' redirects to {whole}. If Engine.IO is there, use {given} ({rule})'


def _retry_after(answer: Answer) -> str:
    """When the server allows the next request (RFC 9110, section 10.2.3)."""
    value = answer.response.headers.get('retry-after', '')[:60]
    if value.isascii() and value.isdigit():
        value = f'{int(value):,} seconds'
    return f'. Retry-After: {value}' if value else ''


def _given(place: Destination) -> tuple[str, str]:
    """The URL and the path to give to the client for a target."""
    path, _, query = place.target.partition('?')
    own = '&'.join(one for one in query.split('&') if one.partition('=')[0] not in {*_ADDED, ''})
    url = f'{"https" if place.secure else "http"}://{place.netloc}'
    path = path.strip('/')
    return (f'{url}/?{own}' if own else url)[:300], (f'/{path}/' if path else '/')[:300]


def _upgrade_was_lost(answer: Answer) -> bool:
    """Whether the server reports that the request arrived without its Upgrade header."""
    return answer.status == 426 or answer.code == 3 or 'websocket upgrade' in answer.words.lower()


def _stripped(answer: Answer) -> str:
    return (
        f'HTTP {answer.status}{answer.origin}{_said(answer)}. The request reached the server '
        'without its Upgrade header: a proxy does not forward it'
    )


def _any_other(answer: Answer) -> str:
    page = ': an HTML page' if answer.is_html else ''
    return f'HTTP {answer.status}{answer.origin}{page}{_said(answer)}'


def _said(answer: Answer) -> str:
    return f': {answer.words}' if answer.words else ''
