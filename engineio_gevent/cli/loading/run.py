"""The run of a load test: connect, send, wait for the last answers."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import gevent

from ...contrib._template import Template
from ...net.deadlines import timer_seconds
from ..measure import Usage
from .crowd import Crowd, start_closed_loop, stop_closed_loop

#: Messages to send before other greenlets and the sockets get a turn.
_BURST = 50
#: Seconds of the shortest sleep. With sleep(0) gevent would only rarely check the sockets.
_TURN = 1e-6
#: Seconds between two updates of the progress.
_LOOK = 0.1


@dataclass
class Outcome:
    """The result of a run; times in seconds."""

    #: From the due time of the first message to the end of sending.
    sending: float = 0.0
    #: CPU time of this process meanwhile.
    cpu: float = 0.0
    #: Messages sent or received meanwhile.
    messages: int = 0
    #: Messages that were due and never sent, because the client was lost or this process too slow.
    unsent: int = 0
    connecting: float = 0.0
    #: CPU time of this process to connect.
    connecting_cpu: float = 0.0
    #: Per client, when all are connected and idle; None if the system does not report it.
    kib: float | None = None
    descriptors: float | None = None
    greenlets: float | None = None
    unanswered: int = 0
    #: Whether Ctrl-C, or the loss or failure of all clients, ended the run early.
    early: bool = False


class Run:
    """One run.

    :param crowd: the clients.
    :param messages: the messages to send.
    :param rate: messages per second of each client; 0: each after the answer to the last.
    :param duration: seconds to send for.
    :param patience: seconds to wait for late messages and answers after that.
    :param connect_rate: clients to connect per second; 0: as fast as possible.
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
        """Connect the clients, and measure the memory and descriptors that they use while idle."""
        outcome, crowd = self.outcome, self._crowd
        before, cpu = Usage.now(), time.process_time()
        start = time.perf_counter()
        try:
            crowd.connect(self._connect_rate, progress)
            outcome.early = crowd.tally.connected + crowd.tally.failures.total() < crowd.size
        except BaseException:  # Ctrl-C: the results so far are reported
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
        """Send for the duration, then wait for the last answers.

        :param progress: is called with the seconds that have passed.
        """
        outcome, crowd = self.outcome, self._crowd
        tally = crowd.tally
        start, cpu = time.perf_counter(), time.process_time()
        before = tally.sent + tally.received
        schedule = None
        if self._rate:
            schedule = gevent.spawn(self._send_on_schedule, start)
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
                # Late messages are still sent: to leave them out would improve the result.
                schedule.join(timer_seconds(self._patience))
                if not schedule.ready():
                    total = round(self._duration * self._rate * len(crowd.members))
                    outcome.unsent = max(0, total - tally.sent)
        except BaseException:  # Ctrl-C: the results so far are reported
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

    def _send_on_schedule(self, start: float) -> None:
        """In a greenlet: send each message when it is due, even if the last one was late.

        Round trips are measured from the due time. Measured from the time of sending, a pause of
        the server or of this process would not show in the messages that it delayed.
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
