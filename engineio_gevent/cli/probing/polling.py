"""The steps over polling: the handshake, a POST, the server's PING, the disconnect."""

from __future__ import annotations

import base64
import contextlib
from collections.abc import Callable
from time import perf_counter
from typing import Any

from gevent import sleep

from ...exceptions import EngineIOError, ProtocolError
from ...net.deadlines import within
from ...net.errors import error_text
from ...net.tunnel import Proxy
from ...protocol import open_packet, packet, payload
from ...protocol.http1 import NothingCame
from ...protocol.open_packet import OpenPacket
from ...transports import redirects
from ...transports.cookies import joined
from ...transports.direct import polling_headers
from ...transports.http import CONTENT_TYPE
from ...transports.polling import NOOP_PAUSE
from . import answers, secure
from .answers import Answer
from .reach import FORWARD, LOOK, Reach
from .report import Fault, Run, Step
from .wire import MAX_SIZE, exchange

#: The problem if no PING comes.
LATE = 'no PING from the server within {:g} seconds (pingInterval + pingTimeout)'

#: Possible causes for no response to the first request, and to a later one.
SILENT = 'The server may be busy (try a longer --timeout), or the port may not speak HTTP'
BUSY = 'The server or a proxy may be busy (try a longer --timeout)'

# In the error about a response that is not HTTP: the first bytes of a TLS alert.
_TLS_RECORD = "begins '\\x15\\x03"


class Session:
    """An Engine.IO connection over polling, one request at a time.

    :param reach: opens connections to the server.
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
        """Send a request as the client does, and read the response; waits.

        :param path: a path instead of the client's.
        :param timeout: seconds instead of the timeout of a step.
        :raises Fault: there was no valid response.
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
            response = within(
                timeout or self._reach.timeout, exchange, sock, method, target, headers, body
            )
        except (OSError, EngineIOError) as exc:
            raise self._lost(exc) from exc
        route.cookies.store(route.http_origin + target, response.cookies)
        return Answer(response, place)

    def _headers(self, has_body: bool) -> list[tuple[str, str]]:
        route = self._reach.route
        headers = {name.lower(): (name, value) for name, value in polling_headers(route).items()}
        proxy = self._reach.proxy('polling')
        if proxy is not None and self._reach.how('polling') == FORWARD:
            headers.update(proxy.authorization())
        cookies = joined(route.polling_cookies())
        if cookies:
            headers['cookie'] = 'Cookie', cookies
        if has_body:
            headers['content-type'] = 'Content-Type', CONTENT_TYPE
        return list(headers.values())

    def _lost(self, error: Exception) -> Fault:
        first = self._sid is None
        refused = secure.refused_certificate(error, self._reach.route, first=first)
        if refused:
            return Fault(*refused)
        plain = not self._reach.route.secure
        if isinstance(error, TimeoutError):
            text = no_response(self._reach)
            return Fault(f'{text}. {SILENT if first else BUSY}', summary=text)
        if isinstance(error, ProtocolError) and plain and _TLS_RECORD in str(error):
            return Fault(answers.SPEAKS_TLS)
        if isinstance(error, NothingCame) and plain:
            return Fault(f'{error}. The port may not speak HTTP', summary=str(error))
        return Fault(error_text(error))

    # The steps

    def handshake(
        self, run: Run, sock: Any, look_elsewhere: Callable[[Step, Fault], str]
    ) -> OpenPacket:
        """Open an Engine.IO connection.

        :param look_elsewhere: is called after a failure; returns the problem.
        """
        with run.step('handshake') as step:
            begun = perf_counter()
            step.facts['transport'] = 'polling'
            try:
                answer = self.ask(sock)
                step.facts.update(answer.facts())
                found = _open_packet(step, answer, self._reach.route.target('polling'))
            except Fault as exc:
                step.seconds = perf_counter() - begun
                raise Fault(look_elsewhere(step, exc), exc.step) from exc
            self._sid = found.sid
        return found

    def round_trip(self, run: Run) -> Any:
        """Post a PONG over a second connection, as the client posts packets.

        Servers accept an unsolicited PONG and take no other action. python-engineio rejects a NOOP.

        :returns: the second connection.
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
        except BaseException:  # Ctrl-C must not leave a socket open either
            if sock is not None:
                sock.close()
            raise
        return sock

    def wait_ping(self, run: Run, sock: Any, poster: Any, limit: float) -> None:
        """Poll until the server sends a PING, and answer it."""
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
                    raise Fault('the server closed the connection before its first PING')
                sleep(NOOP_PAUSE)
            step.seconds = perf_counter() - begun
            self.ask(poster, 'POST', str(packet.PONG).encode())

    def leave(self, run: Run, poster: Any) -> None:
        """Post a CLOSE packet."""
        with run.step('leave', needed=False) as step:
            step.facts['transport'] = 'polling'
            answer = self.ask(poster, 'POST', str(packet.CLOSE).encode())
            if not 200 <= answer.status < 300:
                raise Fault(answers.later_refusal(answer))

    def give_up(self) -> None:
        """Try to close the Engine.IO connection after a failure; ignores errors."""
        if self._sid is None:
            return
        with contextlib.suppress(Fault, OSError, EngineIOError):
            sock, _ = self._reach.again('polling')
            with contextlib.closing(sock):
                self.ask(sock, 'POST', str(packet.CLOSE).encode())
        self._sid = None

    def is_at(self, path: str) -> bool:
        """Whether there is Engine.IO at another path; closes that connection at once."""
        with contextlib.suppress(Fault, OSError, EngineIOError):
            sock, _ = self._reach.again('polling')
            with contextlib.closing(sock):
                answer = self.ask(sock, path=path, timeout=min(self._reach.timeout, LOOK))
                packets = payload.decode(answer.body) if answer.status == 200 else []
                if not packets or packets[0][0] != packet.OPEN:
                    return False
                self._sid = open_packet.parse(packets[0][1]).sid
            with contextlib.suppress(Fault, OSError, EngineIOError):
                again, _ = self._reach.again('polling')
                with contextlib.closing(again):
                    self.ask(again, 'POST', str(packet.CLOSE).encode(), path)
            return True
        return False

    def speaks_version_3(self) -> bool:
        """Whether the server answers a polling request in Engine.IO protocol 3.

        A connection of protocol 4 is closed at once. One of protocol 3 is left to time out.
        """
        with contextlib.suppress(Fault, OSError, EngineIOError):
            sock, _ = self._reach.again('polling')
            with contextlib.closing(sock):
                answer = self.ask(sock, timeout=min(self._reach.timeout, LOOK))
            if answer.is_version_3:
                return True
            if answer.status == 200:
                self._sid = open_packet.parse(payload.decode(answer.body)[0][1]).sid
                self.give_up()
        return False


def _open_packet(step: Step, answer: Answer, target: str) -> OpenPacket:
    """The OPEN packet in a response, recorded as facts.

    :raises Fault: there is none.
    """
    if answer.status != 200:
        raise Fault(answers.refusal(answer, target.partition('?')[0], 'polling'))
    try:
        packets = payload.decode(answer.response.content(MAX_SIZE))
    except (EngineIOError, ValueError):
        packets = []
    if not packets or packets[0][0] != packet.OPEN:
        raise Fault(answers.no_handshake(answer))
    return record_open_packet(step, packets[0][1])


def record_open_packet(step: Step, data: str | bytes) -> OpenPacket:
    """The fields of an OPEN packet, recorded as facts.

    :raises ProtocolError: they are invalid.
    """
    found = open_packet.parse(data)
    step.facts.update(
        sid=found.sid,
        ping_interval_ms=round(found.ping_interval * 1000, 3),
        ping_timeout_ms=round(found.ping_timeout * 1000, 3),
        max_payload=found.max_payload,
        upgrades=list(found.upgrades),
    )
    return found


def no_response(reach: Reach) -> str:
    """The problem after a timeout."""
    return f'no response within {reach.stated_timeout:g} seconds'


def _proxy_credentials(proxy: Proxy) -> str:
    """The value of the ``Proxy-Authorization`` header."""
    token = base64.b64encode(f'{proxy.user}:{proxy.password}'.encode()).decode()
    return f'Basic {token}'
