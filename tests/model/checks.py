"""The invariants: what each call, each handler and each connection must fulfil."""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING, Any

import support
from engineio_gevent.exceptions import ConnectionError
from engineio_gevent.session import ABORT_TIMEOUT

from .calls import INTERRUPTIONS, TooLate

if TYPE_CHECKING:
    from .actor import Actor, Connection
    from .calls import Call

#: Seconds that a call may take on an idle machine, without the time in handlers.
BOUNDS = {'connect': 10.0, 'disconnect': 5.0, 'abort': 2.0}
#: Seconds in which disconnect() waits at least for a disconnect handler that has begun.
_HANDLER_WAIT = 2.9

Found = list[tuple[str, str]]


class Checks:
    """The checks of one client."""

    def __init__(self, actor: Actor) -> None:
        self._actor = actor

    def _fail(self, kind: str, text: str) -> None:
        self._actor.round.fail(kind, f'{self._actor.letter}: {text}')

    # When a handler begins

    def connect_handler(self, sid: str, call: Call | None) -> None:
        """A connect handler begins."""
        actor = self._actor
        if sid in actor.connections or sid == '?':
            self._fail('handlers', f'the connect handler runs twice, or without a sid: {sid}')
        before = [one for one in _all(actor) if one.greeted is not False]
        if actor.has('disconnect') and not all(one.disconnects for one in before):
            self._fail('handlers', 'a connect handler runs before the last disconnect handler')
        if call is None:
            self._fail('handlers', 'the connect handler runs outside of connect()')
        elif call.refused:
            self._fail('handlers', 'a connect handler runs after disconnect() was called')
        if actor.client.state != 'connected' and not actor.is_closing():
            self._fail('state', f'{actor.client.state} in the connect handler')

    def message(self, one: Connection | None, data: str) -> bool:
        """A message handler begins. Returns whether its connection is known."""
        if one is None:
            self._fail('order', 'a message comes before the connect handler')
            return False
        kind, number = data.split()[:2]
        if one.disconnects:
            self._fail('order', 'a message comes after the disconnect handler has begun')
        if one.greeted is None and not self._actor.is_closing():
            self._fail('order', 'a message comes while the connect handler runs')
        if one.greeted is False and not one.ended_first:
            self._fail('order', 'a message comes although the connect handler failed')
        if (kind, number) != ('s', str(one.messages)):
            self._fail('order', f'message {number} comes instead of {one.messages}')
        return True

    def disconnect_handler(self, one: Connection) -> None:
        """A disconnect handler begins: its reason must have a cause."""
        state, troubles = self._actor.client.state, one.troubles
        left = troubles & {'disconnect', 'abort'} or one.interrupted
        if one.reason == 'transport error':
            right = one.error is not None and (left or state == 'connected')
        elif one.reason == 'server disconnect':
            brisk = self._actor.round.script.setup.flavour == 'brisk'
            right = state == 'disconnecting' and (brisk or bool(troubles - {'disconnect', 'abort'}))
        else:
            right = state == 'disconnecting' and bool(left or self._is_being_interrupted(one))
        if not right:
            self._fail('state', f'{one.sid[:5]}: {one.reason}, {state}, {one.error!r}, {troubles}')

    @staticmethod
    def _is_being_interrupted(one: Connection) -> bool:
        return one.call is not None and bool(one.call.kills or one.call.thrown)

    # When a call has ended

    def call(self, call: Call) -> None:
        """The time that a call took, and whether it may have ended as it did."""
        stalled = self._actor.round.stalled_seconds(call.began)
        spent = self._actor.waiting_time(call) - call.logging - stalled
        kind = 'abort' if call.args.get('abort') else call.do
        tries = 1 + (call.do == 'connect' and self._actor.round.script.setup.try_all)
        if spent > support.patience(tries * BOUNDS.get(kind, 1e9)):
            self._fail('bound', f'{call!r} takes {spent:.1f} s')
        if call.thrown and not (isinstance(call.error, INTERRUPTIONS) or _is_too_late(call)):
            self._fail('swallowed', f'{call!r} was killed and ends with {call.error!r}')
        if call.do == 'connect':
            self._connect(call)
        elif call.error is None and call.current is not None and not call.must_not_wait:
            self._waited(call, call.current)

    def _connect(self, call: Call) -> None:
        actor, one, error = self._actor, call.connection, call.error
        # The client may connect again as soon as the disconnect handler has begun.
        over = call.current_over
        if call.sid is not None and not over:
            if not isinstance(error, ValueError):
                self._fail('connect', f'{call!r} of a connected client ends with {error!r}')
            return
        if isinstance(error, ValueError):
            if (over or call.state == 'disconnected') and not call.others_connect:
                self._fail('connect', f'{call!r} raises {error!r}')
        elif error is None:
            # Without a connect handler, nothing may be known of a connection that ended at once.
            known = one is not None or actor.has('connect')
            if call.refused or (known and not (one and one.greeted)):
                self._fail('connect', f'{call!r} returns although it failed')
        elif isinstance(error, ConnectionError):
            self._connect_failed(call, one, str(error))
        elif one is not None and one.greeted and not self._has_left(one):
            self._fail('connect', f'{call!r} was killed and leaves its connection open')

    def _connect_failed(self, call: Call, one: Connection | None, text: str) -> None:
        if one is not None:
            if one.greeted:
                self._fail('connect', f'{call!r} raises {text!r} after its connect handler')
        elif call.is_undisturbed and not self._actor.round.has_stalled(call.began):
            self._fail('last words' if 'close' in call.args else 'connect', f'{call!r}: {text}')
        elif (
            call.refused
            and call.healthy
            and call.server_acts == self._actor.server_acts
            and 'close' not in call.args
            and 'disconnect() was called' not in text
        ):
            self._fail('connect', f'{call!r} raises {text!r} after disconnect()')

    def _has_left(self, one: Connection) -> bool:
        actor = self._actor
        return bool(one.disconnects) or actor.client.sid != one.sid or actor.is_closing()

    def _waited(self, call: Call, one: Connection) -> None:
        """wait() and disconnect() return after the disconnect handler."""
        finished = one.finished if self._actor.has('disconnect') else self._actor.current() != one
        if finished or (one.greeted is False and not one.ended_first):
            return
        if call.inside is one or call.args.get('abort'):
            return
        spent = time.monotonic() - call.began
        if call.do == 'wait' or (call.do == 'disconnect' and spent < _HANDLER_WAIT):
            self._fail('wait', f'{call!r} returns before the connection is over')

    # At rest

    def disagreements(self) -> Found:
        """Compare the client with its server and its records."""
        actor = self._actor
        return [(kind, f'{actor.letter}: {text}') for kind, text in self._disagreements()]

    def _disagreements(self) -> Found:
        actor, client = self._actor, self._actor.client
        actor.current()
        state, sid = client.state, client.sid
        if state not in ('connected', 'disconnected'):
            return [('state', f'at rest it is {state}')]
        if (state == 'connected') != (sid is not None):
            return [('state', f'{state}, sid {sid}')]
        records = {one['sid']: one for one in actor.round.control('tagged', tag=actor.tag)}
        if (client.state, client.sid) != (state, sid):
            return [('state', 'it changes')]
        found: Found = []
        for one in records.values():
            # Connections lie idle in an HTTP session, which is never closed.
            idle = one['transport'] == 'polling' and actor.round.script.setup.session
            if one['open'] and one['tcp'] and one['sid'] != sid and not idle:
                found.append(('orphan', f'the server has {one["sid"]}, the client {sid} ({state})'))
        if sid is not None:
            record = records.get(sid, {})
            if not record.get('open'):
                found.append(('state', f'connected as {sid}, which the server does not have'))
            elif record['silent']:
                found.append(('heartbeat', f'connected as {sid}, but its server is silent'))
            if sid not in actor.connections:
                found.append(('handlers', f'connected as {sid} without a connect handler'))
        for connection in _all(actor):
            found += self._connection(connection, records.get(connection.sid), sid)
        return found

    def _connection(
        self, one: Connection, record: dict[str, Any] | None, current: str | None
    ) -> Found:
        ended = one.sid != current
        found = self._handlers(one, ended)
        if ended and one.greeted and not one.interrupted and not self._may_end(one):
            found.append(('lost', f'ends without trouble: {one.reason}, {one.error!r}'))
        if record is not None:  # The process of its server has not ended.
            received = [_parse(text) for text in record['received']]
            found += self._sent(one, record, received, ended)
            found += self._last_words(one, record, ended)
        return [(kind, f'{one.sid[:5]}: {text}') for kind, text in found]

    def _may_end(self, one: Connection) -> bool:
        return bool(one.troubles) or self._actor.round.has_stalled(one.began)

    def _handlers(self, one: Connection, ended: bool) -> Found:
        has_one = self._actor.has('disconnect')
        wanted = int(has_one and ended and bool(one.greeted or one.ended_first))
        if one.disconnects == wanted:
            return []
        times = f'{one.disconnects} times instead of {wanted}'
        return [('handlers', f'the disconnect handler has run {times}')]

    def _sent(
        self,
        one: Connection,
        record: dict[str, Any],
        received: list[tuple[str, int]],
        ended: bool,
    ) -> Found:
        """What the client has sent, and that it has left."""
        client = self._actor.client
        found = [('delivery', text) for text in _check_order(received)]
        accepted = set(one.accepted)
        if not one.unclear:
            for sender in {sender for sender, _ in one.accepted}:
                mine = [number for who, number in one.accepted if who == sender]
                got = [n for who, n in received if who == sender and (who, n) in accepted]
                if got != mine[: len(got)]:
                    found.append(('delivery', f'{sender} sent {mine}, received {got}'))
        others = one.troubles - {'disconnect'}
        if ended and not others and self._actor.round.has_stalled(one.began):
            return found
        if not others and not ended and not one.unclear and accepted - set(received):
            missing = sorted(accepted - set(received))
            found.append(('delivery', f'at rest the server lacks {missing[:5]}'))
        # An interrupted connect() leaves within a short time, whether the server answers or not.
        cut_short = one.interrupted or one.cut_short
        if one.clean is not None and ended and not others and not cut_short:
            if missing := sorted(set(one.clean) - set(received)):
                found.append(
                    ('delivery', f'disconnect() has returned, the server lacks {missing[:5]}')
                )
            if record['open']:
                found.append(('state', 'open at the server after disconnect()'))
        if one.greeted is False and not one.troubles and record['open'] and _could_leave(one):
            found.append(('state', 'open at the server after the connect handler failed'))
        is_last = ended and one.call is self._actor.connects[-1] and client.state == 'disconnected'
        sure = is_last and one.greeted and not one.unclear and client.transport() == 'websocket'
        if sure and len(received) + client.unsent > len(one.accepted):
            sent, got = len(one.accepted), len(received)
            found.append(('unsent', f'{sent} sent, {got} received, {client.unsent} unsent'))
        return found

    def _last_words(self, one: Connection, record: dict[str, Any], ended: bool) -> Found:
        """What the server has sent."""
        if not self._actor.has('message'):
            return []
        if one.troubles - {'server close'} or not one.greeted:
            return []
        # A polling client of python-engineio loses the last messages before a close.
        way = one.call.args['way'] if one.call else ''
        certain = self._actor.round.script.setup.kind == 'js' or way == 'websocket'
        if ended and (not certain or one.interrupted):
            return []
        if ended and self._actor.round.has_stalled(one.began):
            return []
        if one.messages == record['sent']:
            return []
        text = f'{record["sent"]} sent by the server, {one.messages} received'
        return [('last words' if ended else 'delivery', text)]


def _is_too_late(call: Call) -> bool:
    """Whether connect() failed because a time limit passed in its connect handler.

    An exception of the application's own class looks like one that the handler raises.
    """
    one = call.connection
    failed = isinstance(call.error, ConnectionError) and one is not None and one.greeted is False
    return failed and isinstance(call.error.__cause__, TooLate)


def _could_leave(one: Connection) -> bool:
    """Whether connect(), which failed, had the time to tell the server."""
    call = one.call
    if call is None or call.thrown or call.kills + one.fails_itself > 1:
        return False
    return call.ended_at - one.greeted_at < ABORT_TIMEOUT


def _all(actor: Actor) -> list[Connection]:
    return list(actor.connections.values())


def _parse(text: str) -> tuple[str, int]:
    found = re.match(r'\W*(\w+)\W+(\d+)', text)
    assert found, text
    return found[1], int(found[2])


def _check_order(received: list[tuple[str, int]]) -> list[str]:
    """The numbers of each sender have no gap and no repetition."""
    found: list[str] = []
    last: dict[str, int] = {}
    for sender, number in received:
        if sender in last and number != last[sender] + 1:
            found.append(f'{sender} {number} follows {sender} {last[sender]}')
        last[sender] = number
    return found
