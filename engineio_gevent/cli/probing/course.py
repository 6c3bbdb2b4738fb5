"""The order of the steps: what the client does, one after the other, and what is tried then."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from ...protocol.handshake import Handshake
from ...transports.route import Route
from . import answers
from .polling import Session
from .reach import Reach
from .report import Run, Step, Stop, Watcher
from .upgrading import WebSocket

#: Where it is looked for, where it is not where it should be.
_PLACES = 'engine.io', 'socket.io'


@dataclass(frozen=True)
class ProbeOptions:
    """What is to be done."""

    #: The client's; None: polling, then the upgrade.
    transports: Sequence[str] | None
    #: Seconds for each step.
    timeout: float
    #: Whether to wait for the first PING of the server.
    wait_ping: bool
    #: The options of the command, by name, for who decided what.
    parameters: dict[str, Any]


def run_steps(route: Route, options: ProbeOptions, watcher: Watcher) -> Run:
    """Connect and leave, step by step.

    :param route: the way to the server; new for each run, for its cookies.
    :param watcher: who is told of the steps as they happen.
    """
    run = Run(watcher)
    reach = Reach(route, options.timeout, options.parameters)
    transports = options.transports or ('polling', 'websocket')
    with contextlib.suppress(Stop):
        if transports[0] == 'websocket':
            _by_websocket(run, reach, options)
        else:
            _by_polling(run, reach, options, 'websocket' in transports)
    return run


def _by_polling(run: Run, reach: Reach, options: ProbeOptions, may_upgrade: bool) -> None:
    session, websocket = Session(reach), WebSocket(reach)
    with contextlib.ExitStack() as open_ones:
        open_ones.callback(websocket.close)
        sock = reach.open(run, 'polling')
        open_ones.callback(sock.close)
        found = session.handshake(run, sock, partial(_otherwise, reach, session))
        try:
            poster = session.round_trip(run)
            open_ones.callback(poster.close)
            offered = 'websocket' in found.upgrades
            if may_upgrade and offered and websocket.upgrade(run, found.sid):
                run.outcome = 'connected by polling, and upgraded to a websocket'
                _over_websocket(run, websocket, found, options)
                return
            run.outcome = 'connected by polling'
            if not offered:
                run.outcome += '; the server offers no upgrade to a websocket'
            if options.wait_ping:
                session.wait_ping(run, sock, poster, _patience(found))
        except Stop:
            session.give_up()
            raise
        session.leave(run, poster)


def _by_websocket(run: Run, reach: Reach, options: ProbeOptions) -> None:
    websocket = WebSocket(reach)
    try:
        sock = reach.open(run, 'websocket')
        try:
            found = websocket.connect(run, sock)
        except BaseException:  # Ctrl-C, too, leaves no socket open
            sock.close()
            raise
        run.outcome = 'connected by a websocket'
        _over_websocket(run, websocket, found, options)
    finally:
        websocket.close()


def _over_websocket(
    run: Run, websocket: WebSocket, found: Handshake, options: ProbeOptions
) -> None:
    if options.wait_ping:
        websocket.wait_ping(run, _patience(found))
    websocket.leave(run)


def _patience(found: Handshake) -> float:
    """Seconds within which the client must have a PING."""
    return found.ping_interval + found.ping_timeout


def _otherwise(reach: Reach, session: Session, step: Step, problem: str) -> str:
    """Look whether it works another way, where the handshake has failed; what to say then."""
    status = step.facts.get('status')
    if status is None:
        return problem
    if answers.NOT_FIRST in problem and _websocket_works(reach):
        step.facts['works_by'] = 'websocket'
        return f'{problem}; a websocket works at once: --transports websocket'
    if status in (200, 404):
        here = reach.route.target('polling').partition('?')[0]
        for name in _PLACES:
            if here != f'/{name}/' and session.is_at(f'/{name}/'):
                step.facts['found_at'] = f'/{name}/'
                return f'{problem.removesuffix(" (--path)")} It is at /{name}/: --path {name}'
    return problem


def _websocket_works(reach: Reach) -> bool:
    websocket = WebSocket(reach)
    silent = Run(_Nobody())
    try:
        sock, _ = reach.again('websocket')
        with contextlib.closing(sock):
            websocket.connect(silent, sock)
            websocket.leave(silent)
        return True
    except (Stop, OSError):
        return False


class _Nobody:
    """A watcher who does not look."""

    def begins(self, step: Step) -> None:
        """Nothing."""

    def ended(self, step: Step) -> None:
        """Nothing."""
