"""Calls of a client's methods, each with what was known when it began."""

from __future__ import annotations

import contextlib
import time
import traceback
from typing import TYPE_CHECKING, Any

import gevent
import gevent.event
from gevent import getcurrent

from engineio_gevent.exceptions import ConnectionError

if TYPE_CHECKING:
    from .actor import Actor, Connection


class TooLate(Exception):
    """What a caller's time limit may raise in place of itself."""


#: What ends a call from outside: a kill, and the time limits of its caller.
INTERRUPTIONS = (gevent.GreenletExit, gevent.Timeout, TooLate)


class Call:
    """One call of a client's method.

    :param name: the name in the script. A call in a handler has a name of its own.
    :param inside: the connection whose handler makes the call.
    """

    def __init__(
        self,
        actor: Actor,
        do: str,
        name: str,
        args: dict[str, Any],
        inside: Connection | None = None,
    ) -> None:
        self.actor = actor
        self.do = do
        self.name = name
        self.args = args
        self.inside = inside
        self.over = gevent.event.Event()
        self.greenlet: Any = None
        self.error: BaseException | None = None
        self.running = False
        self.ended = False
        self.ended_at = 0.0
        #: How often its greenlet was killed, perhaps too late.
        self.kills = 0
        #: Whether one of the INTERRUPTIONS was thrown into the call.
        self.thrown = False
        #: The seconds spent in log handlers that let others run.
        self.logging = 0.0
        #: For connect(): whether disconnect() was called before the connect handler began.
        self.refused = False
        #: For connect(): the connection, from its connect handler on.
        self.connection: Connection | None = None

    def __repr__(self) -> str:
        return f'{self.actor.letter}.{self.do}({self.args}) {self.name}'

    def begin(self) -> None:
        """Note the facts before the call."""
        actor, client = self.actor, self.actor.client
        self.began = time.monotonic()
        self.disturbances = actor.disturbances
        self.server_acts = actor.server_acts
        self.healthy = actor.round.healthy and not actor.acts
        self.state, self.sid = client.state, client.sid
        #: The connection that the client has now.
        self.current = actor.current()
        #: Whether its disconnect handler has begun: the client may connect again.
        self.current_over = self.current is not None and self.current.disconnects > 0
        self.closing = actor.is_closing()
        self.others_connect = bool(actor.connecting)
        self.running = True

    @property
    def is_undisturbed(self) -> bool:
        """Whether neither a server nor a disconnect() can have made connect() fail."""
        return self.healthy and self.disturbances == self.actor.disturbances

    @property
    def must_not_wait(self) -> bool:
        """Whether the call is made in a handler of the connection that is being closed."""
        if self.inside is None or self.inside is not self.current:
            return False
        if self.args['handler'] == 'disconnect':
            return self.do in ('disconnect', 'wait')
        return self.do == 'disconnect' and self.closing


class CallGreenlet(gevent.Greenlet):
    """A greenlet for one call. It records the exceptions that are thrown into the call.

    :param call: the call.
    """

    def __init__(self, call: Call) -> None:
        super().__init__()
        self.call = call
        error = TooLate if 'own_error' in call.args else None
        self.limit = gevent.Timeout(call.args.get('limit'), error)

    def throw(self, *args: Any) -> Any:
        # The client's own waits throw other timeouts.
        if self.call.running and args and args[0] in (self.limit, gevent.GreenletExit, TooLate):
            self.call.thrown = True
        return super().throw(*args)

    def _run(self) -> None:
        # The script's kills and timeouts end here.
        with contextlib.suppress(*INTERRUPTIONS), self.limit:
            run_call(self.call)


def run_call(call: Call) -> None:
    """Make a call and check its outcome. Only what ends a greenlet is raised again."""
    actor, round_ = call.actor, call.actor.round
    call.greenlet = call.greenlet or getcurrent()
    call.begin()
    round_.trace(f'{call!r} begins')
    turned: list[bool] = []
    turn = None
    if call.must_not_wait:
        turn = gevent.get_hub().loop.run_callback(turned.append, True)
    try:
        getattr(actor, call.do)(call)
    except (ConnectionError, ValueError) as exc:
        call.error = exc
    except INTERRUPTIONS as exc:
        call.error = exc
        if call.do == 'connect':
            actor.disturbances += 1
        raise
    except BaseException as exc:  # Anything else is a finding, with its traceback.
        call.error = exc
        round_.fail('raised', f'{call!r} raises {exc!r}:\n{traceback.format_exc()}')
    finally:
        call.running = False
        call.ended, call.ended_at = True, time.monotonic()
        if turn is not None:
            turn.stop()
            if turned:
                round_.fail('bound', f'{call!r} waits in a handler of the closing connection')
        round_.trace(f'{call!r} ends: {call.error!r}')
        actor.checks.call(call)
