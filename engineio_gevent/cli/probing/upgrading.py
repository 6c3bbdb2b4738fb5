"""The steps over a websocket: its opening, the upgrade to it, the server's PING, the farewell."""

from __future__ import annotations

from time import perf_counter
from typing import Any

from ...exceptions import ConnectionClosed, EngineIOError, HTTPError, ProtocolError
from ...protocol import packet
from ...protocol.handshake import Handshake
from ...transports import dial, redirects
from ...transports.base import describe
from ...transports.opening import open_websocket
from . import answers, secure
from .answers import Answer
from .polling import BUSY, LATE, SILENT, noted
from .reach import Reach
from .report import FAILED, WARNING, Fault, Run, Step, milliseconds
from .wire import Frames, RecordingSocket

_WORD = 'probe'


class WebSocket:
    """A websocket on its way, and then.

    :param reach: the way to the server.
    """

    def __init__(self, reach: Reach) -> None:
        self._reach = reach
        self._sock: Any = None
        self._frames: Frames | None = None

    def _open(self, step: Step, sock: Any, sid: str | None) -> None:
        """Do the websocket handshake over a connected socket."""
        route = self._reach.route
        recording = RecordingSocket(sock)
        self._sock = recording
        place = redirects.home(route, route.target('websocket', sid))
        step.facts.update(status=None, permessage_deflate=False)
        route.websocket_options = {'socket': recording}  # which is then not opened anew
        try:
            _, leftover = dial.within(
                self._reach.timeout, open_websocket, route, sid, self._reach.timeout
            )
            self._frames = Frames(recording, leftover)
        except TimeoutError as exc:
            why = SILENT if sid is None else f'a proxy in between holds it back, or {BUSY}'
            raise Fault(f"{describe(exc)} to the websocket's request: {why}") from exc
        except HTTPError as exc:
            answer = recording.answer()
            if answer is None:
                raise Fault(str(exc)) from exc
            looked_at = Answer(answer, place)
            if sid is None:
                path = route.target('websocket').partition('?')[0]
                raise Fault(answers.refusal(looked_at, path, 'websocket')) from exc
            raise Fault(answers.no_upgrade(looked_at)) from exc
        except (OSError, EngineIOError) as exc:
            raise Fault(*self._lost(exc, first=sid is None)) from exc
        finally:
            route.websocket_options = {}
            answer = recording.answer()
            if answer is not None:
                step.facts.update(Answer(answer, place).facts())

    def _lost(self, error: Exception, first: bool) -> tuple[str, str | None]:
        refused = secure.refused_certificate(error, self._reach.route, first=first)
        if refused:
            return refused
        if isinstance(error, ConnectionClosed):
            return (
                f'{error}: a proxy or firewall in between cuts websockets off, or the server '
                'does not take them'
            ), None
        return describe(error), None

    def _next(self, what: str, timeout: float, late: str | None = None) -> tuple[int, str | bytes]:
        """The next packet.

        :param late: what to say if it does not come in time.
        """
        assert self._frames is not None
        if timeout <= 0:  # messages without end
            raise Fault(late or f'no {what} came')
        try:
            return dial.within(timeout, self._frames.next)
        except TimeoutError as exc:
            raise Fault(
                late
                or f'the websocket opened, but no {what} came within {timeout:g} seconds: '
                'something in between holds its frames back'
            ) from exc
        except (EngineIOError, OSError) as exc:
            raise Fault(
                f'the websocket opened, and was lost before the {what} ({describe(exc)})'
            ) from exc

    # The steps

    def upgrade(self, run: Run, sid: str) -> bool:
        """Take a session over from polling; its failure leaves that.

        :returns: whether it has come to that.
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
                kind, data = self._next('PONG of the probe', self._reach.timeout)
                if (kind, data) != (packet.PONG, _WORD):
                    raise Fault(f'{packet.NAMES[kind]} instead of the PONG of the probe')
                step.facts['probe_ms'] = milliseconds(perf_counter() - begun)
                self._frames.send(str(packet.UPGRADE))
            except (Fault, OSError, EngineIOError) as exc:
                problem = exc.problem if isinstance(exc, Fault) else describe(exc)
                raise Fault(f'{problem}; polling works') from exc
        if step.status in (WARNING, FAILED):
            self.close()
            return False
        return True

    def connect(self, run: Run, sock: Any) -> Handshake:
        """Begin a session by a websocket: its opening, then the OPEN packet."""
        with run.step('websocket') as step:
            self._open(step, sock, None)
        with run.step('handshake') as step:
            step.facts['transport'] = 'websocket'
            kind, data = self._next('OPEN packet', self._reach.timeout)
            if kind != packet.OPEN:
                raise ProtocolError(f'{packet.NAMES[kind]} instead of the OPEN packet')
            found = noted(step, data)
        return found

    def wait_ping(self, run: Run, limit: float) -> None:
        """Wait for the server's PING, and answer it."""
        with run.step('ping') as step:
            step.facts['transport'] = 'websocket'
            begun = perf_counter()
            kind: int = packet.NOOP
            data: str | bytes = ''
            while kind != packet.PING:
                left = limit - (perf_counter() - begun)
                kind, data = self._next('PING of the server', left, LATE.format(limit))
                if kind == packet.CLOSE:
                    raise Fault('the server has ended the session before its first PING')
            assert self._frames is not None
            self._frames.send(f'{packet.PONG}{data if isinstance(data, str) else ""}')

    def leave(self, run: Run) -> None:
        """Say goodbye, and wait for the server to close."""
        with run.step('leave', needed=False) as step:
            step.facts['transport'] = 'websocket'
            assert self._frames is not None
            try:
                dial.within(self._reach.timeout, self._frames.leave)
            except TimeoutError as exc:
                raise Fault(f'the server does not close: {describe(exc)}') from exc

    def close(self) -> None:
        """Close at once; idempotent."""
        if self._sock is not None:
            self._sock.close()
            self._sock = None
