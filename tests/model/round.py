"""A round: clients, what they are made to do, and what must hold meanwhile and at rest."""

from __future__ import annotations

import contextlib
import logging
import re
import threading
import time
import traceback
from collections import defaultdict
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlencode

import gevent
import gevent.event
from gevent import getcurrent
from gevent._hub_local import get_hub_if_exists

import engineio_gevent
import support
from engineio_gevent.exceptions import ConnectionError

from .script import Script, Step

TRANSPORTS = support.WAYS

REQUEST_TIMEOUT = 4.0
#: Seconds that a call may take on an idle machine, without the time in handlers.
BOUNDS = {'connect': 2 * REQUEST_TIMEOUT + 2, 'disconnect': 5.0, 'abort': 2.0}
#: Seconds until everything must be at rest when nothing happens any more.
REST = 6.0


class Planned(Exception):
    """What the handlers of a round raise."""


class Call:
    """One call of a client's method.

    :param name: as the script names it; those in handlers have names of their own.
    """

    def __init__(self, actor: Actor, do: str, name: str, args: dict[str, Any]) -> None:
        self.actor = actor
        self.do = do
        self.name = name
        self.args = args
        self.over = gevent.event.Event()
        self.greenlet: Any = None
        self.killed = False
        self.error: BaseException | None = None
        self.ended = False

    def begin(self) -> None:
        """Note what there is before the call."""
        actor = self.actor
        self.began = time.monotonic()
        self.trouble = actor.trouble
        self.healthy = actor.round.healthy and not actor.acts
        self.busy = actor.busy_time()
        self.state = actor.client.state
        self.sid = actor.client.sid
        self.others_connecting = bool(actor.connecting)

    def __repr__(self) -> str:
        return f'{self.actor.letter}.{self.do}({self.args}) {self.name}'


class Connection:
    """What is known of one connection, from the call of its connect handler on."""

    def __init__(self, sid: str, call: Call | None) -> None:
        self.sid = sid
        self.call = call
        self.greeted: bool | None = None  # how the connect handler ended
        self.disconnects = 0
        self.reason: str | None = None
        self.error: Exception | None = None
        self.messages = 0
        self.troubles: set[str] = set()
        self.accepted: list[tuple[str, int]] = []
        self.unclear = False  # whether messages may belong to this connection or to another
        self.clean: list[tuple[str, int]] | None = None  # accepted before a plain disconnect()


class YieldingHandler(logging.Handler):
    """A log handler that lets others run."""

    def emit(self, record: logging.LogRecord) -> None:
        hub = get_hub_if_exists()
        if hub is not None:  # in other native threads there is none, and none shall be made
            hub_itself = getcurrent() is hub
            assert not hub_itself, 'a log handler runs in the hub'
            gevent.sleep(0)


class ErrorHandler(logging.Handler):
    """Takes what the client logs as an error."""

    def __init__(self, actor: Actor) -> None:
        super().__init__(logging.ERROR)
        self.actor = actor

    def emit(self, record: logging.LogRecord) -> None:
        error = record.exc_info[1] if record.exc_info else None
        if not isinstance(error, (Planned, gevent.Timeout, gevent.GreenletExit)):
            self.actor.round.fail('logged', f'{record.getMessage()}: {error!r}')


class Actor:
    """A client, its handlers and what happened to it."""

    def __init__(self, round_: Round, number: int) -> None:
        self.round = round_
        self.letter = 'abc'[number]
        self.tag = f'{round_.script.seed}{self.letter}{id(round_):x}'
        setup = round_.script.setup
        self.logger = logging.Logger(self.tag, logging.INFO)
        self.logger.addHandler(ErrorHandler(self))
        if setup.loggers:
            self.logger.addHandler(YieldingHandler())
        self.client = engineio_gevent.Client(
            logger=self.logger,
            request_timeout=REQUEST_TIMEOUT,
            handle_sigint=False,
            write_limit=setup.write_limit,
        )
        if not setup.loggers:
            self.client._verbose = False
        self.client.on('connect', self.on_connect)
        self.client.on('message', self.on_message)
        self.client.on('disconnect', self.on_disconnect)
        self.plans: dict[str, list[list[str]]] = defaultdict(list)
        self.connections: dict[str, Connection] = {}
        self.connecting: list[Call] = []
        self.trouble = 0
        self.acts: list[str] = []  # what the server is about to do
        self.last_connect: Call | None = None
        self._busy = 0
        self._busy_time = 0.0
        self._busy_since = 0.0
        self._names = 0

    # What is known

    def busy_time(self) -> float:
        """Seconds in which handlers ran."""
        now = time.monotonic()
        return self._busy_time + (now - self._busy_since if self._busy else 0)

    @contextlib.contextmanager
    def handling(self) -> Iterator[None]:
        if not self._busy:
            self._busy_since = time.monotonic()
        self._busy += 1
        try:
            yield
        finally:
            self._busy -= 1
            if not self._busy:
                self._busy_time += time.monotonic() - self._busy_since

    @property
    def handlers_run(self) -> bool:
        return self._busy > 0

    def disturb(self, what: str) -> None:
        """Something happens to the connections of this client."""
        self.trouble += 1
        for one in self.connections.values():
            if not one.disconnects:
                one.troubles.add(what)

    @contextlib.contextmanager
    def disturbing(self, what: str) -> Iterator[None]:
        """The server does something to this client's connections meanwhile."""
        self.disturb(what)
        self.acts.append(what)
        try:
            yield
        finally:
            self.acts.remove(what)
            self.disturb(what)

    # Handlers

    def on_connect(self) -> None:
        sid = self.client.sid or '?'
        mine = [call for call in self.connecting if call.greenlet is getcurrent()]
        call = mine[-1] if mine else None
        self.round.trace(f'{self.letter}: connect handler of {sid[:5]}')
        if sid in self.connections or sid == '?':
            self.round.fail('handlers', f'the connect handler runs twice, or without a sid: {sid}')
            return
        waiting = [
            one for one in self.connections.values() if not one.disconnects and one.greeted is True
        ]
        if waiting:
            self.round.fail(
                'handlers', 'the connect handler runs before the disconnect handler of the last'
            )
        one = self.connections[sid] = Connection(sid, call)
        if call is None:
            self.round.fail('handlers', 'the connect handler runs outside of connect()')
        else:
            if call.trouble != self.trouble or not call.healthy:
                one.troubles.add('earlier')
            if 'close' in call.args:
                one.troubles.add('server close')
        if self.round.script.setup.flavour == 'brisk':
            one.troubles.add('brisk')
        one.troubles.update(self.acts)
        done = False
        try:
            with self.handling():
                self.run_plan('connect', one)
            done = True
        finally:
            one.greeted = done

    def on_message(self, data: Any) -> None:
        kind, number, sid = str(data).split()[:3]
        one = self.connections.get(sid)
        if one is None:
            self.round.fail('order', 'a message comes before the connect handler')
            return
        if one.disconnects:
            self.round.fail('order', 'a message comes after the disconnect handler has begun')
        if (kind, number) != ('s', str(one.messages)):
            self.round.fail('order', f'message {number} comes instead of {one.messages}')
        one.messages += 1
        with self.handling():
            self.run_plan('message', one)

    def on_disconnect(self, reason: str) -> None:
        sid = self.client.sid
        self.round.trace(
            f'{self.letter}: disconnect handler of {(sid or "?")[:5]}: {reason}, '
            f'{self.client.disconnect_error!r}'
        )
        one = self.connections.get(sid or '')
        if one is None or one.disconnects:
            # a connect() of another greenlet has begun meanwhile
            left = [one for one in self.connections.values() if not one.disconnects]
            if not left:
                self.round.fail('handlers', 'the disconnect handler runs without a connection')
                return
            one = left[0]
        one.disconnects += 1
        one.reason = reason
        one.error = self.client.disconnect_error
        with self.handling():
            self.run_plan('disconnect', one)

    def run_plan(self, event: str, connection: Connection) -> None:
        if not self.plans[event]:
            return
        operations = self.plans[event].pop(0)
        for operation in operations:
            self.round.trace(f'{self.letter}: {event} handler: {operation}')
            self.round.counts[f'{event} handler: {operation.split()[0]}'] += 1
            if operation == 'wait' and self.client.sid != connection.sid:
                continue  # another connection would be waited for
            self._operate(event, *operation.split())

    def _operate(self, event: str, what: str, argument: str = '') -> None:
        round_ = self.round
        if what == 'gate' and argument:
            with gevent.Timeout(float(argument) / 1000):
                round_.gate.wait(support.patience(30))
        elif what == 'gate':
            round_.gate.wait(support.patience(30))
        elif what == 'turn':
            gevent.sleep(0)
        elif what == 'sleep':
            gevent.sleep(float(argument) / 1000)
        elif what == 'raise':
            raise Planned
        elif what == 'exit':
            raise gevent.GreenletExit
        else:
            self._names += 1
            args: dict[str, Any] = {'handler': event}
            if what == 'abort':
                what, args['abort'] = 'disconnect', True
            elif what == 'connect':
                args['way'] = argument
            elif what == 'send':
                args.update(kind='text', count=3, size=0)
            call = Call(self, what, f'{self.letter}{self._names}', args)
            # a GreenletExit or a Timeout goes on to whoever is meant
            run_call(call)

    # Calls

    def connect(self, call: Call) -> None:
        query = {'tag': self.tag}
        query.update({key: str(call.args[key]) for key in ('greet', 'close') if key in call.args})
        self.connecting.append(call)
        try:
            self.client.connect(
                f'{self.round.server.url}/?{urlencode(query)}',
                transports=TRANSPORTS[call.args['way']],
            )
        finally:
            self.connecting.remove(call)

    def send(self, call: Call) -> None:
        kind, padding = call.args['kind'], 'x' * call.args['size']
        for number in range(call.args['count']):
            data: Any = f'{call.name} {number} {padding}'
            if kind == 'binary':
                data = data.encode()
            elif kind == 'json':
                data = [call.name, number, padding]
            before = (self.client.sid, self.client.state)
            one = self.connections.get(before[0] or '')
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
        one = self.connections.get(self.client.sid or '')
        clean = (
            list(one.accepted)
            if one and not abort and one.greeted and self.client.state == 'connected'
            else None
        )
        self.disturb('abort' if abort else 'disconnect')
        self.client.disconnect(abort=abort, reason=call.args.get('reason'))
        if one is not None and one.clean is None:
            one.clean = clean

    def wait(self, call: Call) -> None:
        one = self.connections.get(self.client.sid or '')
        self.client.wait()
        if one and one.greeted and not one.disconnects and call.args.get('handler') is None:
            self.round.fail('wait', 'wait() returns before the disconnect handler has run')


def run_call(call: Call) -> None:
    """Make a call; what it raises is checked and kept, except what ends a greenlet."""
    actor, round_ = call.actor, call.actor.round
    call.greenlet = call.greenlet or getcurrent()
    call.begin()
    round_.trace(f'{call!r} begins')
    if call.do == 'connect':
        actor.last_connect = call
    try:
        getattr(actor, call.do)(call)
    except (ConnectionError, ValueError) as exc:
        call.error = exc
    except (gevent.GreenletExit, gevent.Timeout) as exc:
        call.error = exc
        if call.do == 'connect':
            actor.trouble += 1
        raise
    except BaseException as exc:  # whatever it is, it is a finding, with its traceback
        call.error = exc
        round_.fail('raised', f'{call!r} raises {exc!r}:\n{traceback.format_exc()}')
    finally:
        call.ended = True
        round_.trace(f'{call!r} ends: {call.error!r}')
        round_.check_call(call)


class Round:
    """One run of a script.

    :param server: a `support.ServerProcess`; of a private one the process may end.
    """

    def __init__(self, script: Script, server: Any, counts: Any, live: bool = False) -> None:
        self.script = script
        self.server = server
        self.counts = counts
        self.live = live
        self.gate = gevent.event.Event()
        self.healthy = True
        self.calls: dict[str, Call] = {}
        self.failures: list[tuple[str, str]] = []
        self.log: list[str] = []
        self.began = time.monotonic()
        self.actors = [Actor(self, number) for number in range(script.setup.clients)]
        self.pending_sends = 0
        self.steps = 0

    def trace(self, text: str) -> None:
        line = f'{1000 * (time.monotonic() - self.began):8.1f} ms  {text}'
        self.log.append(line)
        if self.live:
            print(line, flush=True)

    def fail(self, kind: str, text: str) -> None:
        self.trace(f'FAILED {kind}: {text}')
        self.failures.append((kind, text))

    # Steps

    def run(self) -> None:
        """Do all steps, come to rest, end all connections, and look for what is left."""
        try:
            for step in self.script.steps:
                self.trace(f'-- {step}')
                self.counts[step.do] += 1
                self.steps += 1
                getattr(self, f'do_{step.do}', self.do_call)(step)
                self._pace(step)
                if self.failures:
                    break
            if not self.failures:
                self.rest()
            if not self.failures:
                self.finish()
        finally:
            self.clean_up()

    def _pace(self, step: Step) -> None:
        pace = step.pace
        if pace == 'turn':
            gevent.sleep(0)
        elif pace.endswith('ms'):
            gevent.sleep(float(pace.split()[0]) / 1000)
        elif pace == 'done' and step.name:
            self.calls[step.name].over.wait(0.3)

    def do_call(self, step: Step) -> None:
        method = 'connect' if step.do == 'words' else step.do
        call = Call(self.actors[step.client], method, step.name, step.args)
        self.calls[step.name] = call
        if step.args.get('thread'):
            hub = gevent.get_hub()

            def in_thread() -> None:
                try:
                    run_call(call)
                finally:
                    hub.loop.run_callback_threadsafe(call.over.set)

            call.greenlet = threading.Thread(target=in_thread, daemon=True)
            call.greenlet.start()
            return

        def in_greenlet() -> None:
            try:
                limit = step.args.get('limit')
                # What a kill or a Timeout of the script raises ends here.
                with contextlib.suppress(gevent.GreenletExit, gevent.Timeout):
                    if limit is None:
                        run_call(call)
                    else:
                        with gevent.Timeout(limit):
                            run_call(call)
            finally:
                call.ended = True

        def end(_: object) -> None:
            call.ended = True  # one that is killed before it has begun runs nothing
            call.over.set()

        call.greenlet = gevent.Greenlet(in_greenlet)
        call.greenlet.link(end)
        call.greenlet.start()

    def do_kill(self, step: Step) -> None:
        call = self.calls.get(step.args['which'])
        if call is not None and not call.ended and isinstance(call.greenlet, gevent.Greenlet):
            call.killed = True
            call.greenlet.kill(block=False)

    def do_plan(self, step: Step) -> None:
        self.actors[step.client].plans[step.args['event']].append(list(step.args['operations']))

    def do_act(self, step: Step) -> None:
        actor, args = self.actors[step.client], step.args
        if not self.healthy:
            return
        what = {'close': 'server close'}.get(args['what'], args['what'])
        with actor.disturbing(what) if what != 'send' else contextlib.nullcontext():
            self.control('do', tag=actor.tag, **args)

    def control(self, path: str, **query: Any) -> Any:
        return self.server.control(f'{path}?{urlencode(query)}')

    def do_server(self, step: Step) -> None:
        what = step.args['what']
        self._disturb_all(what)
        if what == 'suspend' and self.server.alive:
            self.healthy = False
            self.server.suspend()
        elif what in ('kill', 'restart') and self.server.alive:
            self.healthy = False
            self.server.kill()
        if what in ('resume', 'start', 'restart'):
            self._mend_server()
        self._disturb_all(what)

    def _mend_server(self) -> None:
        if self.healthy:
            return
        if self.server.alive:
            self.server.resume()
        else:
            self.server.restart()
        self._disturb_all('mended')
        self.healthy = True

    def _disturb_all(self, what: str) -> None:
        for actor in self.actors:
            actor.disturb(what)

    def do_rest(self, step: Step | None = None) -> None:
        self.rest()

    # Checks

    def check_call(self, call: Call) -> None:
        """Its time, and whether it may have ended as it did."""
        actor = call.actor
        spent = time.monotonic() - call.began - (actor.busy_time() - call.busy)
        kind = 'abort' if call.args.get('abort') else call.do
        if 'handler' not in call.args and spent > support.patience(BOUNDS.get(kind, 1e9)):
            self.fail('bound', f'{call!r} takes {spent:.1f} s')
        if call.do != 'connect':
            return
        mine = [one for one in actor.connections.values() if one.call is call]
        if call.error is None:
            if not mine or not mine[-1].greeted:
                self.fail('connect', 'connect() returns although its connect handler failed')
        elif isinstance(call.error, ValueError):
            if call.state == 'disconnected' and not call.others_connecting:
                self.fail('connect', f'{call!r} raises {call.error!r}')
        elif (
            isinstance(call.error, ConnectionError)
            and call.trouble == actor.trouble
            and call.healthy
            and self.script.setup.flavour != 'brisk'
            and not any(one.greeted is False for one in mine)
        ):
            kind = 'last words' if 'close' in call.args else 'connect'
            self.fail(kind, f'{call!r} raises {call.error!r} without trouble')

    def rest(self) -> None:
        """Let everything come to its end, and look whether all agree."""
        self.trace('-- rest')
        self._mend_server()
        self.gate.set()
        found: list[tuple[str, str]] = []

        def quiet() -> bool:
            found[:] = self._busy_calls() or self._disagreements()
            return not found

        support.eventually(quiet, REST, 0.02)
        for kind, text in found:
            self.fail(kind, text)
        self.gate.clear()
        for actor in self.actors:
            actor.plans.clear()

    def _busy_calls(self) -> list[tuple[str, str]]:
        """Calls that should have ended."""
        found = []
        for call in self.calls.values():
            if not call.ended and not (
                call.do == 'wait' and call.actor.client.state == 'connected'
            ):
                found.append(('hang', f'{call!r} does not end\n{_stack(call.greenlet)}'))
        for actor in self.actors:
            if actor.handlers_run:
                found.append(('hang', f'a handler of {actor.letter} does not end'))
        return found

    def _disagreements(self) -> list[tuple[str, str]]:
        found = []
        for actor in self.actors:
            found += [(kind, f'{actor.letter}: {text}') for kind, text in self._disagree(actor)]
        return found

    def _disagree(self, actor: Actor) -> list[tuple[str, str]]:
        client = actor.client
        state, sid = client.state, client.sid
        if state not in ('connected', 'disconnected'):
            return [('state', f'at rest it is {state}')]
        if (state == 'connected') != (sid is not None):
            return [('state', f'{state}, sid {sid}')]
        records = {one['sid']: one for one in self.control('tagged', tag=actor.tag)}
        if (client.state, client.sid) != (state, sid):
            return [('state', 'it changes')]
        found: list[tuple[str, str]] = []
        for one in records.values():
            if one['open'] and one['tcp'] and one['sid'] != sid:
                found.append(('orphan', f'the server has {one["sid"]}, the client {sid} ({state})'))
        if sid is not None and not records.get(sid, {}).get('open'):
            found.append(('state', f'connected as {sid}, which the server does not have'))
        if sid is not None and sid not in actor.connections:
            found.append(('handlers', f'connected as {sid} without a connect handler'))
        for connection in actor.connections.values():
            found += self._check_connection(actor, connection, records.get(connection.sid), sid)
        return found

    def _check_connection(
        self, actor: Actor, one: Connection, record: dict[str, Any] | None, current: str | None
    ) -> list[tuple[str, str]]:
        found: list[tuple[str, str]] = []
        client = actor.client
        ended = one.sid != current
        name = one.sid[:5]
        if not ended:
            wanted = {0}
        elif one.greeted:
            wanted = {1}
        else:
            wanted = {0, 1} if one.troubles else {0}
        if one.disconnects not in wanted:
            found.append(
                ('handlers', f'{name}: the disconnect handler has run {one.disconnects} times')
            )
        ended_call = one.call is not None and isinstance(
            one.call.error, (gevent.GreenletExit, gevent.Timeout)
        )
        if ended and not one.troubles and one.greeted and not ended_call:
            found.append(('lost', f'{name} ends without trouble: {one.reason}, {one.error!r}'))
        if record is None:  # the process of its server has ended
            return found
        received = [_parse(text) for text in record['received']]
        found += [('delivery', f'{name}: {text}') for text in _check_order(received)]
        if not one.unclear:
            clear = set(one.accepted)
            for sender in {sender for sender, _ in one.accepted}:
                mine = [number for who, number in one.accepted if who == sender]
                got = [
                    number for who, number in received if who == sender and (who, number) in clear
                ]
                if got != mine[: len(got)]:
                    found.append(('delivery', f'{name}: {sender} sent {mine}, received {got}'))
        others = one.troubles - {'disconnect'}
        if not others and not ended and not one.unclear and set(one.accepted) - set(received):
            missing = sorted(set(one.accepted) - set(received))
            found.append(('delivery', f'{name}: at rest the server lacks {missing[:5]}'))
        if one.clean is not None and ended and not others:
            if missing := sorted(set(one.clean) - set(received)):
                found.append(
                    (
                        'delivery',
                        f'{name}: disconnect() has returned, the server lacks {missing[:5]}',
                    )
                )
            if record['open']:
                found.append(('state', f'{name}: open at the server after disconnect()'))
        is_last = ended and one.call is actor.last_connect and client.state == 'disconnected'
        sure = is_last and one.greeted and not one.unclear and client.transport() == 'websocket'
        if sure and len(received) + client.unsent > len(one.accepted):
            sent, got = len(one.accepted), len(received)
            text = f'{name}: {sent} sent, {got} received, {client.unsent} unsent'
            found.append(('unsent', text))
        # A polling client of python-engineio loses what is sent just before a close.
        way = one.call.args['way'] if one.call else ''
        certain = self.script.setup.kind == 'js' or way == 'websocket'
        known = not one.troubles - {'server close'} and one.greeted
        certain = known and (not ended or (certain and not ended_call))
        if certain and one.messages != record['sent']:
            kind = 'last words' if ended else 'delivery'
            text = f'{name}: {record["sent"]} sent by the server, {one.messages} received'
            found.append((kind, text))
        return found

    def finish(self) -> None:
        """All clients leave; then nothing is left of them."""
        for number, actor in enumerate(self.actors):
            abort = (self.script.seed + number) % 3 == 0
            self.do_call(Step('disconnect', number, f'end {actor.letter}', {'abort': abort}))
        self.rest()
        for actor in self.actors:
            if not self.failures and actor.client.state != 'disconnected':
                self.fail('state', f'{actor.letter}: {actor.client.state} after disconnect()')

    def clean_up(self) -> None:
        """Whatever was found, leave nothing for the next round."""
        self.gate.set()
        with contextlib.suppress(Exception):
            self._mend_server()
        if self.failures:
            greenlets = [
                call.greenlet
                for call in self.calls.values()
                if isinstance(call.greenlet, gevent.Greenlet)
            ]
            gevent.killall(greenlets, timeout=3)
        for actor in self.actors:
            if self.failures:
                with gevent.Timeout(5, False):
                    actor.client.disconnect(abort=True)
            self.control('do', tag=actor.tag, what='forget')


def _parse(text: str) -> tuple[str, int]:
    found = re.match(r'\W*(\w+)\W+(\d+)', text)
    assert found, text
    return found[1], int(found[2])


def _check_order(received: list[tuple[str, int]]) -> list[str]:
    """The numbers of each sender have no gap, no repetition."""
    found, last = [], {}
    for sender, number in received:
        if sender in last and number != last[sender] + 1:
            found.append(f'{sender} {number} follows {sender} {last[sender]}')
        last[sender] = number
    return found


def _stack(greenlet: Any) -> str:
    frame = getattr(greenlet, 'gr_frame', None)
    return ''.join(traceback.format_stack(frame)[-6:]) if frame else ''
