"""The steps over polling: the handshake, a POST, the server's PING, the disconnect."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Sequence
from time import perf_counter
from typing import Any

from gevent import sleep

from ...exceptions import EngineIOError, ProtocolError
from ...net.deadlines import within
from ...net.errors import error_text
from ...protocol import open_packet, packet, payload
from ...protocol.http1 import NothingCame, Response
from ...protocol.open_packet import OpenPacket
from ...transports import redirects
from ...transports.cookies import joined
from ...transports.direct import polling_headers
from ...transports.http import CONTENT_TYPE
from ...transports.polling import NOOP_PAUSE
from ...transports.route import Route
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

# In the error about a response that is not HTTP: the first bytes of a TLS alert, and those of the
# SETTINGS frame with which a server of HTTP/2 begins (RFC 9113, sections 3.4, 4.1 and 6.5).
_TLS_RECORD = "begins '\\x15\\x03"
_HTTP_2 = re.compile(r"begins '\\x00\\x00(\\x..|\\.|.)\\x04\\x00\\x00\\x00\\x00\\x00")


class Session:
    """An Engine.IO connection over polling, one request at a time.

    :param reach: opens connections to the server.
    """

    def __init__(self, reach: Reach) -> None:
        self._reach = reach
        self._sid: str | None = None
        #: The connections that take no further request.
        self._spent: list[Any] = []

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
        home = place = redirects.home(route, target)
        with contextlib.ExitStack() as others:
            for _ in range(redirects.MAX_REDIRECTS + 1):
                if sock in self._spent:
                    sock = others.enter_context(contextlib.closing(self._reach.again('polling')[0]))
                response = self._ask_once(sock, method, body, place, timeout)
                if not self._is_kept(response):
                    self._spent.append(sock)
                answer = Answer(response, place, redirected=place is not home)
                there = _followed(answer)
                if there is None:
                    return answer
                place = there
        raise Fault(f'more than {redirects.MAX_REDIRECTS} redirects, the last to {place.url}')

    def _ask_once(
        self,
        sock: Any,
        method: str,
        body: bytes | None,
        place: redirects.Destination,
        timeout: float | None,
    ) -> Response:
        route = self._reach.route
        # RFC 9112, section 3.2.2
        target = place.url if self._reach.how('polling') == FORWARD else place.target
        headers = self._headers(body is not None)
        try:
            response = within(
                timeout or self._reach.timeout, exchange, sock, method, target, headers, body
            )
        except (OSError, EngineIOError) as exc:
            raise self._lost(exc) from exc
        route.cookies.store(place.url, response.cookies)
        return response

    def _is_kept(self, response: Response) -> bool:
        """Whether the connection of a response is used for another request, as the client does."""
        says_so = 'keep-alive' in response.headers.get('connection', '').lower()
        return response.keep_alive and (says_so or self._reach.how('polling') != FORWARD)

    def _headers(self, has_body: bool) -> list[tuple[str, str]]:
        route = self._reach.route
        headers = {name.lower(): (name, value) for name, value in polling_headers(route).items()}
        proxy = self._reach.proxy('polling')
        if proxy is not None and self._reach.how('polling') == FORWARD:
            own = proxy.authorization().items()
            headers.update((name.lower(), (name, value)) for name, value in own)
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
        other = other_protocol(error, self._reach.route)
        if other is not None:
            return Fault(other)
        if isinstance(error, TimeoutError):
            text = no_response(self._reach)
            return Fault(f'{text}. {SILENT if first else BUSY}', summary=text)
        if isinstance(error, NothingCame) and not self._reach.route.secure:
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


def _followed(answer: Answer) -> redirects.Destination | None:
    """Where the client sends the request again, by polling and for a websocket."""
    return redirects.next_destination(
        answer.place, 'websocket', answer.status, answer.response.headers, anywhere=False
    )


def record_responses(
    step: Step, place: redirects.Destination, responses: Sequence[Response]
) -> Answer:
    """Record a response as facts, and the redirects that led to it.

    :param place: the server and path of the first request.
    :returns: the last one.
    """
    answer = Answer(responses[0], place)
    for response in responses[1:]:
        answer = Answer(response, _followed(answer) or place, redirected=True)
    step.facts.update(answer.facts())
    return answer


def other_protocol(error: Exception, route: Route) -> str | None:
    """What a server without TLS speaks, if it is another protocol than HTTP/1.1."""
    if not isinstance(error, ProtocolError) or route.secure:
        return None
    if _TLS_RECORD in str(error):
        return answers.SPEAKS_TLS
    if _HTTP_2.search(str(error)):
        return 'this port speaks only HTTP/2, and this client speaks HTTP/1.1'
    return None


def no_response(reach: Reach) -> str:
    """The problem after a timeout."""
    return f'no response within {reach.stated_timeout:g} seconds'
