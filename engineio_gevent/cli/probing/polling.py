"""The steps over polling: the handshake, a round trip, the server's PING, the farewell."""

from __future__ import annotations

import base64
import contextlib
from collections.abc import Callable
from time import perf_counter
from typing import Any

from gevent import sleep

from ...exceptions import EngineIOError, ProtocolError
from ...protocol import handshake, packet, payload
from ...protocol.handshake import Handshake
from ...transports import dial, redirects
from ...transports.base import describe
from ...transports.cookies import joined
from ...transports.direct import polling_headers
from ...transports.http import CONTENT_TYPE
from ...transports.http1 import NothingCame
from ...transports.polling import NOOP_PAUSE
from ...transports.tunnel import Proxy
from . import answers, secure
from .answers import Answer
from .reach import FORWARD, Reach
from .report import Fault, Run, Step
from .wire import MAX_SIZE, exchange

#: What is said of a PING that does not come.
LATE = 'no PING of the server came within {:g} seconds (pingInterval + pingTimeout)'

#: Why there may be no answer to a first request, and to one within a session.
SILENT = 'the server is busy (--timeout waits longer), or it is not HTTP that is spoken there'
BUSY = 'the server, or a proxy before it, is busy (--timeout waits longer)'

# How what is not HTTP begins in the message about it: a record of TLS, an alert.
_TLS_RECORD = "begins '\\x15\\x03"


class Session:
    """A session over polling, a request at a time.

    :param reach: the way to the server.
    """

    def __init__(self, reach: Reach) -> None:
        self._reach = reach
        self._sid: str | None = None

    def ask(
        self,
        sock: Any,
        method: str = 'GET',
        body: bytes | None = None,
        path: str | None = None,
        timeout: float | None = None,
    ) -> Answer:
        """One request, as the client would make it; waits.

        :param path: instead of the client's.
        :param timeout: seconds, instead of those for each step.
        :raises Fault: what came in place of an answer.
        """  # fmt: skip
        route = self._reach.route
        target = route.target('polling', self._sid)
        if path is not None:
            target = path + '?' + target.partition('?')[2]
        place = redirects.home(route, target)
        if self._reach.how('polling') == FORWARD:
            target = route.http_origin + target  # RFC 9112, section 3.2.2
        headers = self._headers(body is not None)
        try:
            response = dial.within(
                timeout or self._reach.timeout, exchange, sock, method, target, headers, body
            )
        except (OSError, EngineIOError) as exc:
            raise Fault(*self._lost(exc)) from exc
        route.cookies.store(route.http_origin + target, response.cookies)
        return Answer(response, place)

    def _headers(self, has_body: bool) -> list[tuple[str, str]]:
        route = self._reach.route
        headers = {name.lower(): (name, value) for name, value in polling_headers(route).items()}
        # what a requests.Session adds: authorization by netrc
        for name, value in route.websocket_handshake()['header'].items():
            headers.setdefault(name.lower(), (name, value))
        proxy = self._reach.proxy('polling')
        if proxy is not None and self._reach.how('polling') == FORWARD and proxy.user is not None:
            headers['proxy-authorization'] = 'Proxy-Authorization', _proxy_credentials(proxy)
        cookies = joined(route.polling_cookies())
        if cookies:
            headers['cookie'] = 'Cookie', cookies
        if has_body:
            headers['content-type'] = 'Content-Type', CONTENT_TYPE
        return list(headers.values())

    def _lost(self, error: Exception) -> tuple[str, str | None]:
        first = self._sid is None
        refused = secure.refused_certificate(error, self._reach.route, first=first)
        if refused:
            return refused
        plain = not self._reach.route.secure
        if isinstance(error, TimeoutError):
            return f'{describe(error)}: {SILENT if first else BUSY}', None
        if isinstance(error, ProtocolError) and plain and _TLS_RECORD in str(error):
            return 'TLS answers here: https:// instead of http://', None
        if isinstance(error, NothingCame) and plain:
            return f'{error}: no HTTP there, or https:// is wanted', None
        return describe(error), None

    # The steps

    def handshake(self, run: Run, sock: Any, otherwise: Callable[[Step, str], str]) -> Handshake:
        """Ask for a session.

        :param otherwise: told of what is wrong; returns what to say of it.
        """
        with run.step('handshake') as step:
            begun = perf_counter()
            step.facts['transport'] = 'polling'
            try:
                answer = self.ask(sock)
                step.facts.update(answer.facts())
                found = _opened(step, answer, self._reach.route.target('polling'))
            except Fault as exc:
                step.seconds = perf_counter() - begun
                raise Fault(otherwise(step, exc.problem), exc.step) from exc
            self._sid = found.sid
        return found

    def round_trip(self, run: Run) -> Any:
        """Post a PONG that nobody asked for, over a connection of its own, as the client posts.

        It is nothing to a server but a sign of life; a NOOP, python-engineio refuses.

        :returns: the connection.
        """
        sock = None
        try:
            with run.step('polling') as step:
                sock, seconds = self._reach.again('polling')
                step.facts['connect_ms'] = round(seconds * 1000, 3)
                begun = perf_counter()
                answer = self.ask(sock, 'POST', str(packet.PONG).encode())
                step.seconds = perf_counter() - begun
                step.facts.update(answer.facts())
                if not 200 <= answer.status < 300:
                    raise Fault(answers.later_refusal(answer))
        except BaseException:  # Ctrl-C, too, leaves no socket open
            if sock is not None:
                sock.close()
            raise
        return sock

    def wait_ping(self, run: Run, sock: Any, poster: Any, limit: float) -> None:
        """Poll until the server's PING comes, and answer it."""
        with run.step('ping') as step:
            step.facts['transport'] = 'polling'
            begun = perf_counter()
            while True:
                left = limit - (perf_counter() - begun)
                if left <= 0:
                    raise Fault(LATE.format(limit))
                try:
                    answer = self.ask(sock, timeout=left)
                except Fault as exc:
                    if isinstance(exc.__cause__, TimeoutError):
                        raise Fault(LATE.format(limit)) from exc
                    raise
                if not 200 <= answer.status < 300:
                    raise Fault(answers.later_refusal(answer))
                kinds = [kind for kind, _ in payload.decode(answer.body)]
                if packet.PING in kinds:
                    break
                if not kinds or packet.CLOSE in kinds:
                    raise Fault('the server has ended the session before its first PING')
                sleep(NOOP_PAUSE)
            step.seconds = perf_counter() - begun
            self.ask(poster, 'POST', str(packet.PONG).encode())

    def leave(self, run: Run, poster: Any) -> None:
        """Post a CLOSE."""
        with run.step('leave', needed=False) as step:
            step.facts['transport'] = 'polling'
            answer = self.ask(poster, 'POST', str(packet.CLOSE).encode())
            if not 200 <= answer.status < 300:
                raise Fault(answers.later_refusal(answer))

    def give_up(self) -> None:
        """Leave a session in which something has failed, if that can be; nobody is told."""
        if self._sid is None:
            return
        with contextlib.suppress(Fault, OSError, EngineIOError):
            sock, _ = self._reach.again('polling')
            with contextlib.closing(sock):
                self.ask(sock, 'POST', str(packet.CLOSE).encode())
        self._sid = None

    def is_at(self, path: str) -> bool:
        """Whether there is Engine.IO at this path instead; leaves it at once."""
        with contextlib.suppress(Fault, OSError, EngineIOError):
            sock, _ = self._reach.again('polling')
            with contextlib.closing(sock):
                answer = self.ask(sock, path=path)
                packets = payload.decode(answer.body) if answer.status == 200 else []
                if not packets or packets[0][0] != packet.OPEN:
                    return False
                self._sid = handshake.parse(packets[0][1]).sid
            with contextlib.suppress(Fault, OSError, EngineIOError):
                again, _ = self._reach.again('polling')
                with contextlib.closing(again):
                    self.ask(again, 'POST', str(packet.CLOSE).encode(), path)
            return True
        return False


def _opened(step: Step, answer: Answer, target: str) -> Handshake:
    """The session that an answer opens, noted.

    :raises Fault: it opens none.
    """
    if answer.status != 200:
        raise Fault(answers.refusal(answer, target.partition('?')[0], 'polling'))
    try:
        packets = payload.decode(answer.response.content(MAX_SIZE))
    except (EngineIOError, ValueError):
        packets = []
    if not packets or packets[0][0] != packet.OPEN:
        raise Fault(answers.no_handshake(answer))
    return noted(step, packets[0][1])


def noted(step: Step, data: str | bytes) -> Handshake:
    """The data of an OPEN packet, noted.

    :raises ProtocolError: it is wrong.
    """
    found = handshake.parse(data)
    step.facts.update(
        sid=found.sid,
        ping_interval_ms=round(found.ping_interval * 1000, 3),
        ping_timeout_ms=round(found.ping_timeout * 1000, 3),
        max_payload=found.max_payload,
        upgrades=list(found.upgrades),
    )
    return found


def _proxy_credentials(proxy: Proxy) -> str:
    """The value of a ``Proxy-Authorization``."""
    token = base64.b64encode(f'{proxy.user}:{proxy.password}'.encode()).decode()
    return f'Basic {token}'
