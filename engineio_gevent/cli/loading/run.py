"""The run: connect, send by the clock or by the answers, wait for the last of them."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import gevent

from ...contrib._template import Template
from ...demo.measure import Usage
from ...timers import timer_seconds
from .crowd import Crowd, start_closed_loop, stop_closed_loop

#: Messages that are sent before other greenlets, and the sockets, have their turn.
_BURST = 50
#: Seconds of the shortest sleep: with none at all, gevent looks at the sockets now and then only.
_TURN = 1e-6
#: Seconds between two looks at how far it is.
_LOOK = 0.1


@dataclass
class Outcome:
    """What a run came to; times in seconds."""

    #: From when the first message was due to the end of the sending.
    sending: float = 0.0
    #: Of this process meanwhile.
    cpu: float = 0.0
    #: Messages sent or received meanwhile.
    messages: int = 0
    #: Messages that were due and never sent: the client was lost, or this process did not keep up.
    unsent: int = 0
    connecting: float = 0.0
    #: Of this process, to connect.
    connecting_cpu: float = 0.0
    #: For each client, when all were connected and idle; None: not known on this system.
    kib: float | None = None
    descriptors: float | None = None
    greenlets: float | None = None
    unanswered: int = 0
    #: Whether Ctrl-C, or the loss or failure of all clients, has ended it early.
    early: bool = False


class Run:
    """One run.

    :param crowd: the clients.
    :param messages: what they send.
    :param rate: messages a second of each client; 0: each as soon as the last is answered.
    :param duration: seconds to send for.
    :param patience: seconds, then, for what is late: messages, and answers.
    :param connect_rate: clients that begin to connect in a second; 0: as fast as they can.
    """

    def __init__(
        self,
        crowd: Crowd,
        messages: Template,
        rate: float,
        duration: float,
        patience: float,
        connect_rate: float = 0.0,
    ) -> None:
        self._crowd = crowd
        self._messages = messages
        self._rate = rate
        self._duration = duration
        self._patience = patience
        self._connect_rate = connect_rate
        self.outcome = Outcome()

    def connect(self, progress: Callable[[int], None]) -> None:
        """Connect the clients, and measure what they take while they are idle."""
        outcome, crowd = self.outcome, self._crowd
        before, cpu = Usage.now(), time.process_time()
        start = time.perf_counter()
        try:
            crowd.connect(self._connect_rate, progress)
            outcome.early = crowd.tally.connected + crowd.tally.failures.total() < crowd.size
        except BaseException:  # Ctrl-C: what there is, is told
            outcome.early = True
            raise
        finally:
            outcome.connecting = time.perf_counter() - start
            outcome.connecting_cpu = time.process_time() - cpu
        gevent.idle()
        after = Usage.now()
        count = len(crowd.members)
        if not count:
            return
        if before.kib is not None and after.kib is not None:
            outcome.kib = max(0.0, after.kib - before.kib) / count
        if before.descriptors is not None and after.descriptors is not None:
            outcome.descriptors = (after.descriptors - before.descriptors) / count
        outcome.greenlets = (after.greenlets - before.greenlets) / count

    def send(self, progress: Callable[[float], None]) -> None:
        """Send for as long as it is to last, then wait for the last answers.

        :param progress: is told, now and then, for how many seconds it has gone on.
        """
        outcome, crowd = self.outcome, self._crowd
        tally = crowd.tally
        start, cpu = time.perf_counter(), time.process_time()
        before = tally.sent + tally.received
        schedule = None
        if self._rate:
            schedule = gevent.spawn(self._send_by_the_clock, start)
        else:
            start_closed_loop(crowd, self._messages)
        try:
            while (passed := time.perf_counter() - start) < self._duration:
                if crowd.lost >= len(crowd.members):
                    outcome.early = True
                    break
                progress(passed)
                gevent.sleep(timer_seconds(min(_LOOK, self._duration - passed)))
            if schedule is not None and not outcome.early:
                # Its last messages may be late. Left out, they would hide that.
                schedule.join(timer_seconds(self._patience))
                if not schedule.ready():
                    total = round(self._duration * self._rate * len(crowd.members))
                    outcome.unsent = max(0, total - tally.sent)
        except BaseException:  # Ctrl-C: what there is, is told
            outcome.early = True
            raise
        finally:
            if schedule is not None:
                schedule.kill()
            stop_closed_loop(crowd)
            outcome.sending = time.perf_counter() - start
            outcome.cpu = time.process_time() - cpu
            outcome.messages = tally.sent + tally.received - before
            outcome.unanswered = crowd.unanswered
        self._wait_for_answers()

    def _wait_for_answers(self) -> None:
        crowd = self._crowd
        end = time.perf_counter() + self._patience
        while crowd.unanswered and crowd.lost < len(crowd.members) and time.perf_counter() < end:
            gevent.sleep(_LOOK / 2)
        self.outcome.unanswered = crowd.unanswered

    def _send_by_the_clock(self, start: float) -> None:
        """In a greenlet: each message has its moment, whether the one before was late or not.

        The time of a round trip counts from that moment. Counted from when the message did leave,
        a server, or a process, that stands still would hide all the messages that waited for it.
        """
        crowd, messages = self._crowd, self._messages
        between = 1 / (self._rate * len(crowd.members))
        total = max(1, round(self._duration / between))
        sent = 0
        while True:
            due = int((time.perf_counter() - start) / between) + 1
            for _ in range(min(due - sent, total - sent, _BURST)):
                member = crowd.members[sent % len(crowd.members)]
                if not member.send(messages.next(), start + sent * between):
                    self.outcome.unsent += 1
                sent += 1
            if sent == total:
                return
            left = start + sent * between - time.perf_counter()
            gevent.sleep(timer_seconds(max(_TURN, left)))
