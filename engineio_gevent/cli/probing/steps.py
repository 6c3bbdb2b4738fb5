"""The steps of a probe in order: what the client does, and what is tried after a failure."""

from __future__ import annotations

import contextlib
from functools import partial

from ...exceptions import ConnectionClosed, EngineIOError
from ...protocol.open_packet import OpenPacket
from ...transports.route import Route
from . import answers
from .polling import Session
from .reach import ProbeOptions, Reach
from .report import IGNORE, Fault, Run, Step, Stop, Watcher
from .upgrading import WebSocket

#: Usual paths, which are tried if there is no Engine.IO at the given one.
_PATHS = 'engine.io', 'socket.io'


def run_steps(route: Route, options: ProbeOptions, watcher: Watcher) -> Run:
    """Connect and disconnect, step by step.

    :param route: the route to the server. It keeps cookies, so each run needs a new one.
    :param watcher: is notified of the steps.
    """
    run = Run(watcher)
    reach = Reach(route, options)
    transports = options.connection.transports or ('polling', 'websocket')
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
        found = session.handshake(run, sock, partial(_look_elsewhere, reach, 'polling'))
        if options.only_handshake:
            session.give_up()
            return
        try:
            poster = session.round_trip(run)
            open_ones.callback(poster.close)
            offered = 'websocket' in found.upgrades
            if may_upgrade and offered and websocket.upgrade(run, found.sid):
                run.outcome = 'connected by polling, then upgraded to websocket'
                _over_websocket(run, websocket, found, options)
                return
            run.outcome = 'connected by polling'
            if not offered:
                run.outcome += ' (the server offers no websocket upgrade)'
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
            found = websocket.connect(
                run,
                sock,
                partial(_look_elsewhere, reach, 'websocket'),
                Session(reach).speaks_version_3,
            )
        except BaseException:  # Ctrl-C must not leave a socket open either
            sock.close()
            raise
        run.outcome = 'connected by websocket'
        _over_websocket(run, websocket, found, options)
    finally:
        websocket.close()


def _over_websocket(
    run: Run, websocket: WebSocket, found: OpenPacket, options: ProbeOptions
) -> None:
    if options.wait_ping:
        websocket.wait_ping(run, _patience(found))
    websocket.leave(run)


def _patience(found: OpenPacket) -> float:
    """Seconds within which the client has to receive a PING."""
    return found.ping_interval + found.ping_timeout


def _look_elsewhere(reach: Reach, transport: str, step: Step, fault: Fault) -> str:
    """After a failed handshake, try other ways to connect.

    :returns: the problem, with the way that works, if there is one.
    """
    problem = fault.problem
    status = step.facts.get('status')
    if transport == 'polling' and answers.NOT_FIRST in problem and _websocket_works(reach):
        step.facts['works_by'] = 'websocket'
        return f'{problem}, but a websocket works: use --transports websocket'
    silent = status is None and isinstance(fault.__cause__, (OSError, ConnectionClosed))
    if silent and reach.speaks_tls(transport):
        return answers.SPEAKS_TLS
    if silent or status in (200, 404):
        path = _other_path(reach)
        if path is not None:
            step.facts['found_at'] = f'/{path}/'
            first = fault.summary.removesuffix(answers.CHECK_PATH)
            return f'{first}. Engine.IO is at /{path}/: use --path {path}'
    return problem


def _other_path(reach: Reach) -> str | None:
    """The usual path at which there is Engine.IO, other than the given one."""
    given = reach.route.target('polling').partition('?')[0]
    session = Session(reach)
    for path in _PATHS:
        if given != f'/{path}/' and session.is_at(f'/{path}/'):
            return path
    return None


def _websocket_works(reach: Reach) -> bool:
    websocket = WebSocket(reach)
    silent = Run(IGNORE)
    try:
        sock, _ = reach.again('websocket')
        with contextlib.closing(sock):
            websocket.connect(silent, sock)
            websocket.leave(silent)
        return True
    except (Stop, OSError, EngineIOError):
        return False
