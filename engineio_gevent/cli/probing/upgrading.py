"""The steps over a websocket: its opening, the upgrade, the server's PING, the disconnect."""

from __future__ import annotations

from collections.abc import Callable
from time import perf_counter
from typing import Any

from ...exceptions import ConnectionClosed, EngineIOError, HTTPError, ProtocolError
from ...net.deadlines import within
from ...net.errors import error_text
from ...protocol import packet
from ...protocol.http1 import Response
from ...protocol.open_packet import OpenPacket
from ...transports import redirects
from ...transports.opening import open_websocket
from . import answers, secure
from .answers import Answer
from .polling import (
    BUSY,
    LATE,
    SILENT,
    no_response,
    other_protocol,
    record_open_packet,
    record_responses,
)
from .reach import Reach
from .report import FAILED, WARNING, Fault, Run, Step, milliseconds
from .wire import Frames, LateRefusal

_WORD = 'probe'


class WebSocket:
    """A websocket, while it opens and when it is open.

    :param reach: opens connections to the server.
    """

    def __init__(self, reach: Reach) -> None:
        self._reach = reach
        self._sock: Any = None
        self._frames: Frames | None = None
        self._place = redirects.home(reach.route, '/')

    def _open(self, step: Step, sock: Any, sid: str | None) -> None:
        """Do the websocket handshake over a connected socket."""
        route = self._reach.route
        self._sock = sock
        place = self._place = redirects.home(route, route.target('websocket', sid))
        step.facts.update(status=None, permessage_deflate=False)
        responses: list[Response] = []
        try:
            opened = within(
                self._reach.timeout,
                open_websocket,
                route,
                sid,
                self._reach.timeout,
                responses.append,
                sock,
            )
            self._frames = Frames(opened.sock, opened.rest)
            self._sock = opened.sock
        except TimeoutError as exc:
            text = f'{no_response(self._reach)} to the websocket request'
            causes = SILENT if sid is None else f'A proxy may hold the request back. {BUSY}'
            raise Fault(f'{text}. {causes}', summary=text) from exc
        except HTTPError as exc:
            answer = record_responses(step, place, responses)
            if sid is None:
                path = route.target('websocket').partition('?')[0]
                raise Fault(answers.refusal(answer, path, 'websocket')) from exc
            raise Fault(answers.no_upgrade(answer)) from exc
        except (OSError, EngineIOError) as exc:
            raise self._lost(exc, first=sid is None) from exc
        finally:
            if responses:
                record_responses(step, place, responses)

    def _lost(self, error: Exception, first: bool) -> Fault:
        refused = secure.refused_certificate(error, self._reach.route, first=first)
        if refused:
            return Fault(*refused)
        text = error_text(error)
        other = other_protocol(error, self._reach.route)
        if other is not None:
            return Fault(other)
        if isinstance(error, ConnectionClosed):
            return Fault(
                f'{text}. A proxy or firewall may block websockets, or the server may not accept '
                'them',
                summary=text,
            )
        return Fault(text)

    def _next(self, what: str, timeout: float, late: str | None = None) -> tuple[int, str | bytes]:
        """The next packet.

        :param late: the problem if it does not come in time.
        """
        assert self._frames is not None
        if timeout <= 0:  # only other packets came
            raise Fault(late or f'no {what}')
        try:
            return within(timeout, self._frames.next)
        except TimeoutError as exc:
            raise Fault(
                late
                or f'the websocket opened, but no {what} came within '
                f'{self._reach.stated_timeout:g} seconds. A proxy may hold frames back'
            ) from exc
        except LateRefusal as exc:
            raise Fault(answers.late_refusal(Answer(exc.response, self._place))) from exc
        except (EngineIOError, OSError) as exc:
            raise Fault(
                f'the websocket opened, but was lost before the {what} ({error_text(exc)})'
            ) from exc

    # The steps

    def upgrade(self, run: Run, sid: str) -> bool:
        """Upgrade from polling to a websocket. After a failure the client stays on polling.

        :returns: whether the upgrade succeeded.
        """
        with run.step('upgrade', needed=False) as step:
            step.facts.update(connect_ms=None, opening_ms=None, probe_ms=None)
            try:
                sock, seconds = self._reach.again('websocket')
                step.facts['connect_ms'] = milliseconds(seconds)
                begun = perf_counter()
                self._open(step, sock, sid)
                step.facts['opening_ms'] = milliseconds(perf_counter() - begun)
                begun = perf_counter()
                assert self._frames is not None
                self._frames.send(f'{packet.PING}{_WORD}')
                kind, data = self._next('PONG for the probe', self._reach.timeout)
                if (kind, data) != (packet.PONG, _WORD):
                    raise Fault(f'a {packet.NAMES[kind]} packet instead of the PONG for the probe')
                step.facts['probe_ms'] = milliseconds(perf_counter() - begun)
                self._frames.send(str(packet.UPGRADE))
            except (Fault, OSError, EngineIOError) as exc:
                problem = exc.problem if isinstance(exc, Fault) else error_text(exc)
                raise Fault(f'{problem}. Polling works') from exc
        if step.status in (WARNING, FAILED):
            self.close()
            return False
        return True

    def connect(
        self,
        run: Run,
        sock: Any,
        look_elsewhere: Callable[[Step, Fault], str] | None = None,
        speaks_version_3: Callable[[], bool] | None = None,
    ) -> OpenPacket:
        """Connect by websocket: open it, then receive the OPEN packet.

        :param look_elsewhere: is called if the websocket does not open; returns the problem.
        :param speaks_version_3: is called if the OPEN packet may be one of Engine.IO 3. A server
                                 of Engine.IO 3 would close the connection after some seconds.
        """
        with run.step('websocket') as step:
            begun = perf_counter()
            try:
                self._open(step, sock, None)
            except Fault as exc:
                if look_elsewhere is None or exc.step is not None:
                    raise
                step.seconds = perf_counter() - begun
                raise Fault(look_elsewhere(step, exc)) from exc
        with run.step('handshake') as step:
            step.facts['transport'] = 'websocket'
            kind, data = self._next('OPEN packet', self._reach.timeout)
            if kind != packet.OPEN:
                raise ProtocolError(f'a {packet.NAMES[kind]} packet instead of the OPEN packet')
            found = record_open_packet(step, data)
            # Over a websocket both versions have the same OPEN packet, except for maxPayload, which
            # version 3 and early servers of version 4 do not send.
            if found.max_payload is None and speaks_version_3 is not None and speaks_version_3():
                raise Fault(answers.VERSION_3)
        return found

    def wait_ping(self, run: Run, limit: float) -> None:
        """Wait until the server sends a PING, and answer it."""
        with run.step('ping') as step:
            step.facts['transport'] = 'websocket'
            begun = perf_counter()
            kind: int = packet.NOOP
            data: str | bytes = ''
            while kind != packet.PING:
                left = limit - (perf_counter() - begun)
                kind, data = self._next('PING from the server', left, LATE.format(limit))
                if kind == packet.CLOSE:
                    raise Fault('the server closed the connection before its first PING')
            assert self._frames is not None
            self._frames.send(f'{packet.PONG}{data if isinstance(data, str) else ""}')

    def leave(self, run: Run) -> None:
        """Send a CLOSE packet, and wait until the server closes the connection."""
        with run.step('leave', needed=False) as step:
            step.facts['transport'] = 'websocket'
            assert self._frames is not None
            try:
                within(self._reach.timeout, self._frames.leave)
            except TimeoutError as exc:
                raise Fault(
                    f'the server did not close within {self._reach.timeout:g} seconds'
                ) from exc

    def close(self) -> None:
        """Close the websocket at once; idempotent."""
        if self._sock is not None:
            self._sock.close()
            self._sock = None
