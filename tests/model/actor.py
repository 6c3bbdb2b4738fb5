"""A client, its handlers, and a record of its connections."""

from __future__ import annotations

import contextlib
import logging
import time
from collections import defaultdict
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import gevent
import requests
from gevent import getcurrent
from gevent._hub_local import get_hub_if_exists

import engineio_gevent
import support
from engineio_gevent.lifecycle import REFUSING
from engineio_gevent.session import ABORT_TIMEOUT

from .calls import INTERRUPTIONS, Call, CallGreenlet, TooLate, run_call
from .checks import Checks
from .http_sessions import close, make_session
from .script import EVENTS

if TYPE_CHECKING:
    from .round import Round

TRANSPORTS = {**support.WAYS, 'either': ['websocket', 'polling']}
REQUEST_TIMEOUT = 4.0

#: Where the name of an operation of a handler differs from that of its call.
_CALLS = {'abort': 'disconnect'}


class Planned(Exception):
    """The exception that handlers of a round raise."""


class Connection:
    """The facts about one connection, from its connect handler on."""

    def __init__(self, sid: str, call: Call | None) -> None:
        self.sid = sid
        self.call = call
        self.began = time.monotonic()
        #: None while the connect handler runs; whether it succeeded.
        self.greeted: bool | None = None
        #: When the connect handler ended.
        self.greeted_at = 0.0
        #: Whether the connect handler may fail by itself, before its greenlet is killed.
        self.fails_itself = False
        #: Whether the connection was closing when its connect handler failed.
        self.ended_first = False
        self.disconnects = 0
        #: Whether the disconnect handler has run.
        self.finished = False
        self.reason: str | None = None
        self.error: Exception | None = None
        self.messages = 0
        self.troubles: set[str] = set()
        self.accepted: list[tuple[str, int]] = []
        #: Whether messages may belong to this connection or to another.
        self.unclear = False
        #: The messages that were accepted before a plain disconnect().
        self.clean: list[tuple[str, int]] | None = None
        #: Whether the disconnect() that closed it may have been interrupted. There may be another
        #: one: that of another native thread begins long before it has an effect.
        self.cut_short = False

    @property
    def interrupted(self) -> bool:
        """Whether connect() was killed, or its time was over."""
        error = None if self.call is None else self.call.error
        return isinstance(error, INTERRUPTIONS)


class Handling:
    """One run of a handler."""

    def __init__(self) -> None:
        self.greenlet = getcurrent()
        self.began = time.monotonic()
        self.ended: float | None = None


class YieldingHandler(logging.Handler):
    """A log handler that lets other greenlets run."""

    def __init__(self, actor: Actor) -> None:
        super().__init__()
        self.actor = actor

    def emit(self, record: logging.LogRecord) -> None:
        hub = get_hub_if_exists()
        if hub is None:
            return  # another native thread, which needs no hub
        if getcurrent() is hub:
            self.actor.round.fail('hub', f'a log handler runs in the hub: {record.getMessage()}')
            return
        current, began = getcurrent(), time.monotonic()
        call = current.call if isinstance(current, CallGreenlet) else None
        try:
            gevent.sleep(0)
        except TooLate:  # Handlers of the standard library swallow an Exception, too.
            if call is not None:
                call.thrown = False
        finally:
            if call is not None:
                call.logging += time.monotonic() - began


class ErrorHandler(logging.Handler):
    """Reports the errors that the client logs."""

    def __init__(self, actor: Actor) -> None:
        super().__init__(logging.ERROR)
        self.actor = actor

    def emit(self, record: logging.LogRecord) -> None:
        error = record.exc_info[1] if record.exc_info else None
        if not isinstance(error, (Planned, *INTERRUPTIONS)):
            self.actor.round.fail('logged', f'{record.getMessage()}: {error!r}')


class Actor:
    """A client of a round.

    :param number: its number in the script.
    """

    def __init__(self, round_: Round, number: int) -> None:
        self.round = round_
        self.letter = 'abc'[number]
        self.tag = f'{round_.script.seed}{self.letter}{id(round_):x}'
        self.checks = Checks(self)
        setup = round_.script.setup
        logger = logging.Logger(self.tag, logging.INFO)
        logger.addHandler(ErrorHandler(self))
        if setup.loggers:
            logger.addHandler(YieldingHandler(self))
        #: What the client polls with. It never closes them.
        self._sessions: list[requests.Session] = []
        sessions: dict[str, Any] = {'': None, 'function': self._make_session}
        if setup.session == 'session':
            sessions['session'] = self._make_session()
        self.client = engineio_gevent.Client(
            logger=logger if setup.loggers else False,
            request_timeout=support.patience(REQUEST_TIMEOUT),
            handle_sigint=False,
            write_limit=setup.write_limit,
            http_session=sessions[setup.session],
            try_all_transports=setup.try_all,
            remember_upgrade=setup.remember,
        )
        self.client.logger = logger  # errors are logged to it in any case
        for event in EVENTS:
            if self.has(event):
                self.client.on(event, getattr(self, f'on_{event}'))
        self.plans: dict[str, list[list[str]]] = defaultdict(list)
        self.connections: dict[str, Connection] = {}
        self.connecting: list[Call] = []
        #: All calls of connect(), in the order in which they began.
        self.connects: list[Call] = []
        self.handled: list[Handling] = []
        #: How often something has happened that may end a connection, or a connect().
        self.disturbances = 0
        #: How often a server has done something to it.
        self.server_acts = 0
        #: What the server, or another native thread, is doing now.
        self.acts: list[str] = []
        self._names = 0

    def close(self) -> None:
        """The round is over."""
        for session in self._sessions:
            close(session)

    def _make_session(self) -> requests.Session:
        self._sessions.append(make_session())
        return self._sessions[-1]

    # Facts

    def has(self, event: str) -> bool:
        """Whether the client has a handler for an event."""
        return event not in self.round.script.setup.missing

    def current(self) -> Connection | None:
        """The record of the client's connection.

        The connect handler makes it. Without one, it is made when it is first asked for.
        """
        sid = self.client.sid
        if sid is None or sid in self.connections or self.has('connect'):
            return self.connections.get(sid or '')
        calls = [call for call in self.connects if not isinstance(call.error, ValueError)]
        session = self.client._session
        if self.client.state == 'disconnected' or session.phase is REFUSING or not calls:
            return None  # the handshake is not done, or connect() fails
        one = self._new_connection(sid, calls[-1])
        one.greeted, one.greeted_at = True, time.monotonic()
        one.began = calls[-1].began
        return one

    def _new_connection(self, sid: str, call: Call | None) -> Connection:
        one = self.connections.setdefault(sid, Connection(sid, call))
        if call is not None:
            call.connection = one
            if not call.is_undisturbed:
                one.troubles.add('earlier')
            if 'close' in call.args:
                one.troubles.add('server close')
        one.troubles.update(self.acts)
        return one

    def is_closing(self) -> bool:
        """Whether the client's connection was lost, or one side has begun to close it."""
        client = self.client
        return client.state == 'disconnecting' or client.disconnect_error is not None

    @property
    def handlers_run(self) -> bool:
        return any(one.ended is None for one in self.handled)

    def waiting_time(self, call: Call) -> float:
        """The seconds of a call in which no handler ran, except for the one that makes the call."""
        now = time.monotonic()
        waited, since = 0.0, call.began
        for one in self.handled:  # in the order of their beginnings
            if one.greenlet is call.greenlet and one.began <= call.began:
                continue
            waited += max(0.0, one.began - since)
            since = max(since, now if one.ended is None else one.ended)
        return waited + max(0.0, now - since)

    def disturb(self, what: str, by_server: bool = False) -> None:
        """Something happens that may end the connections of this client."""
        current = self.current()
        self.disturbances += 1
        self.server_acts += by_server
        for one in self.connections.values():
            if not one.disconnects and (one is current or self.has('disconnect')):
                one.troubles.add(what)

    @contextlib.contextmanager
    def disturbing(self, what: str, by_server: bool = True) -> Iterator[None]:
        """Something is done to this client's connections meanwhile."""
        self.disturb(what, by_server)
        self.acts.append(what)
        try:
            yield
        finally:
            self.acts.remove(what)
            self.disturb(what, by_server)

    # Handlers

    @contextlib.contextmanager
    def handling(self) -> Iterator[None]:
        if getcurrent() is gevent.get_hub():
            self.round.fail('hub', 'a handler runs in the hub')
        one = Handling()
        self.handled.append(one)
        try:
            yield
        finally:
            one.ended = time.monotonic()

    def on_connect(self) -> None:
        sid = self.client.sid or '?'
        mine = [call for call in self.connecting if call.greenlet is getcurrent()]
        call = mine[-1] if mine else None
        self.round.trace(f'{self.letter}: connect handler of {sid[:5]}')
        self.checks.connect_handler(sid, call)
        one = self._new_connection(sid, call)
        done = False
        try:
            with self.handling():
                self._run_plan('connect', one)
            done = True
        finally:
            one.greeted, one.greeted_at = done, time.monotonic()
            one.ended_first = one.disconnects > 0 or self.client.sid != sid or self.is_closing()

    def on_message(self, data: Any) -> None:
        sid = str(data).split()[2]
        current = self.current()
        one = self.connections.get(sid, current if self.client.sid == sid else None)
        if self.checks.message(one, str(data)):
            assert one is not None
            one.messages += 1
            with self.handling():
                self._run_plan('message', one)

    def on_disconnect(self, reason: str) -> None:
        client, sid = self.client, self.client.sid
        self.round.trace(
            f'{self.letter}: disconnect handler of {(sid or "?")[:5]}: {reason}, '
            f'{client.disconnect_error!r}'
        )
        one = self.current()
        if one is None or one.disconnects:
            self.round.fail('handlers', f'a disconnect handler runs with the sid {sid}')
            return
        one.disconnects += 1
        one.reason = reason
        one.error = client.disconnect_error
        self.checks.disconnect_handler(one)
        try:
            with self.handling():
                self._run_plan('disconnect', one)
        finally:
            one.finished = True

    def _run_plan(self, event: str, connection: Connection) -> None:
        if not self.plans[event]:
            return
        for operation in self.plans[event].pop(0):
            self.round.trace(f'{self.letter}: {event} handler: {operation}')
            self.round.counts[f'{event} handler: {operation.split()[0]}'] += 1
            if operation == 'wait' and self.client.sid != connection.sid:
                continue  # It would wait for another connection.
            self._operate(event, connection, *operation.split())

    def _operate(self, event: str, connection: Connection, what: str, argument: str = '') -> None:
        if what == 'gate' and argument:
            connection.fails_itself = True
            with gevent.Timeout(float(argument) / 1000):
                self.round.pass_gate()
        elif what == 'gate':
            self.round.pass_gate()
        elif what == 'turn':
            gevent.sleep(0)
        elif what == 'sleep':
            gevent.sleep(float(argument) / 1000)
        elif what in ('raise', 'exit'):
            connection.fails_itself = True
            raise Planned if what == 'raise' else gevent.GreenletExit
        else:
            self._names += 1
            args: dict[str, Any] = {'handler': event}
            if what == 'abort':
                args['abort'] = True
            elif what == 'connect':
                args['way'] = argument
            elif what == 'send':
                args.update(kind='text', count=3, size=0)
            name = f'{self.letter}{self._names}'
            run_call(Call(self, _CALLS.get(what, what), name, args, connection))

    # Calls

    def connect(self, call: Call) -> None:
        query = {'tag': self.tag}
        query.update({key: str(call.args[key]) for key in ('greet', 'close') if key in call.args})
        self.connects.append(call)
        self.connecting.append(call)
        try:
            self.client.connect(
                f'{self.round.server.url}/?{urlencode(query)}',
                transports=TRANSPORTS[call.args['way']],
            )
        finally:
            self.current()
            self.connecting.remove(call)

    def send(self, call: Call) -> None:
        kind, padding = call.args['kind'], 'x' * call.args['size']
        for number in range(call.args['count']):
            data: Any = f'{call.name} {number} {padding}'
            if kind == 'binary':
                data = data.encode()
            elif kind == 'json':
                data = [call.name, number, padding]
            one = self.current()
            before = (self.client.sid, self.client.state)
            if one is not None and one.sid != before[0]:
                one = None  # another native thread: the connection ends just now
            if before[1] == 'disconnected':
                self.client.send(data)
                continue
            returned = False
            try:
                self.client.send(data)
                returned = True
            finally:
                if one is not None:
                    if before[1] != 'connected':
                        one.unclear = True
                    elif returned and self.client.sid in (before[0], None):
                        one.accepted.append((call.name, number))
                    else:
                        one.unclear = True

    def disconnect(self, call: Call) -> None:
        abort = call.args.get('abort', False)
        one = call.current
        clean = (
            list(one.accepted)
            if one and not abort and one.greeted and call.state == 'connected'
            else None
        )
        what, reason = 'abort' if abort else 'disconnect', call.args.get('reason')
        if call.args.get('thread'):  # The connection's own thread does it at some time meanwhile.
            with self.disturbing(what, by_server=False):
                self.client.disconnect(abort=abort, reason=reason)
            if time.monotonic() - call.began >= ABORT_TIMEOUT:
                self.acts.append(what)  # The call has not waited for that thread any longer.
        else:
            self.current()
            for other in self.connecting:
                other.refused |= other.connection is None
            self.disturb(what)
            try:
                self.client.disconnect(abort=abort, reason=reason)
            except INTERRUPTIONS:
                if one is not None and call.state == 'connected':
                    one.cut_short = True
                raise
        if one is not None and one.clean is None:
            one.clean = clean

    def wait(self, call: Call) -> None:
        self.client.wait()
