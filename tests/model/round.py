"""A round: its steps, its rest, and its end."""

from __future__ import annotations

import contextlib
import threading
import time
import traceback
from collections import Counter
from typing import Any
from urllib.parse import urlencode

import gevent
import gevent.event

import support
from engineio_gevent.other_threads import inboxes

from .actor import Actor
from .calls import Call, CallGreenlet, run_call
from .checks import Found
from .forks import fork
from .owned import Owned
from .script import Script, Step
from .stalls import Stalls

#: Seconds until everything must be at rest when nothing happens any more.
REST = 6.0


class Round:
    """One run of a script.

    :param server: a `support.ServerProcess`. The process of a private one may be ended.
    :param counts: counts the steps and the operations of handlers.
    :param stalls: when this process stood still.
    :param live: whether to print what happens.
    """

    def __init__(
        self, script: Script, server: Any, counts: Counter[str], stalls: Stalls, live: bool = False
    ) -> None:
        self.script = script
        self.server = server
        self.counts = counts
        self.live = live
        self._stalls = stalls
        self._gate = gevent.event.Event()
        #: Whether the server's process runs.
        self.healthy = True
        self.calls: dict[str, Call] = {}
        self.failures: Found = []
        self.log: list[str] = []
        self.began = time.monotonic()
        self.actors = [Actor(self, number) for number in range(script.setup.clients)]
        self.owned: list[Owned] = []
        self.steps = 0
        self._cleaning_up = False

    def trace(self, text: str) -> None:
        line = f'{1000 * (time.monotonic() - self.began):8.1f} ms  {text}'
        self.log.append(line)
        if self.live:
            print(line, flush=True)

    def fail(self, kind: str, text: str) -> None:
        if self._cleaning_up:
            return
        self.trace(f'FAILED {kind}: {text}')
        self.failures.append((kind, text))

    def has_stalled(self, since: float) -> bool:
        """Whether a short heartbeat may be late through no fault of the client."""
        return self.script.setup.flavour == 'brisk' and self._stalls.any_since(since)

    def stalled_seconds(self, since: float) -> float:
        """For how long this process has stood still since then."""
        return self._stalls.seconds_since(since)

    def run(self) -> None:
        """Do all steps, come to rest, end all connections, and look for what is left."""
        try:
            for step in self.script.steps:
                self.trace(f'-- {step}')
                self.counts[step.do] += 1
                self.steps += 1
                getattr(self, f'_do_{step.do}', self._do_call)(step)
                self._pace(step)
                if self.failures:
                    break
            if not self.failures:
                self.rest()
            if not self.failures:
                self._finish()
        finally:
            self._clean_up()

    def _pace(self, step: Step) -> None:
        pace = step.pace
        if pace == 'turn':
            gevent.sleep(0)
        elif pace.endswith('ms'):
            gevent.sleep(float(pace.split()[0]) / 1000)
        elif pace == 'done' and step.name:
            self.calls[step.name].over.wait(0.3)

    def pass_gate(self) -> None:
        """Wait until the round comes to rest."""
        # gevent 26.9 forgets who waits for an event that has been set if another one that waits is
        # killed before it has been told.
        if not self._gate.is_set():
            self._gate.wait(support.patience(30))

    # Steps

    def _do_call(self, step: Step) -> None:
        method = 'connect' if step.do == 'words' else step.do
        call = Call(self.actors[step.client], method, step.name, step.args)
        self.calls[step.name] = call
        if step.args.get('thread'):
            self._call_in_thread(call)
        else:
            self._call_in_greenlet(call)

    @staticmethod
    def _call_in_thread(call: Call) -> None:
        inbox = inboxes.get()

        def run() -> None:
            try:
                run_call(call)
            finally:
                inbox.call(call.over.set)

        call.greenlet = threading.Thread(target=run, daemon=True)
        call.greenlet.start()

    @staticmethod
    def _call_in_greenlet(call: Call) -> None:
        def end(_: object) -> None:
            call.ended = True  # A greenlet that is killed before it has begun runs nothing.
            call.over.set()

        call.greenlet = CallGreenlet(call)
        call.greenlet.link(end)
        call.greenlet.start()

    def _do_kill(self, step: Step) -> None:
        call = self.calls.get(step.args['which'])
        if call is not None and not call.ended and isinstance(call.greenlet, gevent.Greenlet):
            call.kills += 1
            call.greenlet.kill(block=False)

    def _do_kill_handler(self, step: Step) -> None:
        """Kill the greenlet of the handler that began last, if it still runs."""
        actor = self.actors[step.client]
        running = [one.greenlet for one in actor.handled if one.ended is None]
        if not running:
            return
        for call in actor.connecting:
            call.kills += call.greenlet is running[-1]
        running[-1].kill(block=False)

    def _do_plan(self, step: Step) -> None:
        self.actors[step.client].plans[step.args['event']].append(list(step.args['operations']))

    def _do_act(self, step: Step) -> None:
        """The server does something to all connections of a client."""
        actor, args = self.actors[step.client], step.args
        if not self.healthy:
            return
        what = args.get('then', args['what'])
        what = {'close': 'server close'}.get(what, what)
        with actor.disturbing(what) if what != 'send' else contextlib.nullcontext():
            self.control('do', tag=actor.tag, **args)

    def control(self, path: str, **query: Any) -> Any:
        return self.server.control(f'{path}?{urlencode(query)}')

    def _do_server(self, step: Step) -> None:
        """Something happens to the server's process."""
        what = step.args['what']
        with contextlib.ExitStack() as stack:
            for actor in self.actors:
                stack.enter_context(actor.disturbing(what))
            if what == 'suspend' and self.server.alive:
                self.healthy = False
                self.server.suspend()
            elif what in ('kill', 'restart') and self.server.alive:
                self.healthy = False
                self.server.kill()
            if what in ('resume', 'start', 'restart'):
                self._mend_server()

    def _mend_server(self) -> None:
        if self.healthy:
            return
        if self.server.alive:
            self.server.resume()
        else:
            self.server.restart()
        for actor in self.actors:
            actor.disturb('mended', True)
        self.healthy = True

    def _do_owned(self, step: Step) -> None:
        self.owned.append(Owned(self, len(self.owned), step.args))

    def _do_foreign(self, step: Step) -> None:
        """A call of the client that another thread connects."""
        if self.owned:
            self.owned[-1].call(step.args['what'], step.args['thread'])

    def _do_fork(self, step: Step) -> None:
        if found := fork(actor.client for actor in self.actors):
            self.fail('fork', found)

    def _do_rest(self, step: Step) -> None:
        self.rest()

    # Rest

    def rest(self) -> None:
        """Let everything come to its end, and check that all agree."""
        self.trace('-- rest')
        support.measure_slowness()
        self._mend_server()
        self._gate.set()
        found: Found = []

        def quiet() -> bool:
            found[:] = self._busy() or [one for actor in self.actors for one in _disagree(actor)]
            return not found

        support.eventually(quiet, REST, 0.02)
        for kind, text in found:
            self.fail(kind, text)
        while self.owned and not found:
            self.owned.pop().finish()
        self._gate.clear()
        for actor in self.actors:
            actor.plans.clear()

    def _busy(self) -> Found:
        """Calls and handlers that should have ended."""
        found = []
        for call in self.calls.values():
            if not call.ended and not (
                call.do == 'wait' and call.actor.client.state == 'connected'
            ):
                found.append(('hang', f'{call!r} does not end\n{_stack(call.greenlet)}'))
        for actor in self.actors:
            if actor.handlers_run:
                found.append(('hang', f'a handler of {actor.letter} does not end'))
        for owned in self.owned:
            found += owned.busy()
        return found

    # The end

    def _finish(self) -> None:
        """All clients leave. Then nothing is left of them."""
        for number, actor in enumerate(self.actors):
            abort = (self.script.seed + number) % 3 == 0
            self._do_call(Step('disconnect', number, f'end {actor.letter}', {'abort': abort}))
        self.rest()
        for actor in self.actors:
            if not self.failures and actor.client.state != 'disconnected':
                self.fail('state', f'{actor.letter}: {actor.client.state} after disconnect()')

    def _clean_up(self) -> None:
        """Leave nothing for the next round, whatever was found."""
        self._cleaning_up = True
        self._gate.set()
        with contextlib.suppress(Exception):
            self._mend_server()
        if self.failures:
            greenlets = [call.greenlet for call in self.calls.values()]
            gevent.killall(
                [one for one in greenlets if isinstance(one, gevent.Greenlet)], timeout=3
            )
        for owned in self.owned:
            owned.close()
        for actor in self.actors:
            if self.failures:
                with gevent.Timeout(5, False):
                    actor.client.disconnect(abort=True)
            actor.close()
            self.control('do', tag=actor.tag, what='forget')


def _disagree(actor: Actor) -> Found:
    return actor.checks.disagreements()


def _stack(greenlet: Any) -> str:
    frame = getattr(greenlet, 'gr_frame', None)
    return ''.join(traceback.format_stack(frame)[-6:]) if frame else ''
