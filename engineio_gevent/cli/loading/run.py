"""The run: connect, send by the clock or by the answers, wait for the last of them."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import gevent

from ...demo.measure import Usage
from .crowd import Crowd, start_closed_loop, stop_closed_loop
from .message import Message

#: Messages that are sent before other greenlets, and the sockets, have their turn.
_BURST = 50
#: Seconds between two looks at how far it is.
_LOOK = 0.1


@dataclass
class Outcome:
    """What a run came to; times in seconds."""

    #: From the first message to the end of the sending.
    sending: float = 0.0
    #: Of this process meanwhile.
    cpu: float = 0.0
    connecting: float = 0.0
    #: Of this process, to connect.
    connecting_cpu: float = 0.0
    #: For each client, when all were connected and idle; None: not known on this system.
    kib: float | None = None
    descriptors: float | None = None
    greenlets: float = 0.0
    unanswered: int = 0
    #: Whether Ctrl-C, or the loss of all clients, has ended it early.
    early: bool = False


class Run:
    """One run.

    :param crowd: the clients.
    :param message: what they send.
    :param rate: messages a second of each client; 0: each as soon as the last is answered.
    :param duration: seconds to send for.
    :param patience: seconds for the last answers.
    """

    def __init__(
        self, crowd: Crowd, message: Message, rate: float, duration: float, patience: float
    ) -> None:
        self._crowd = crowd
        self._message = message
        self._rate = rate
        self._duration = duration
        self._patience = patience
        self.outcome = Outcome()

    def connect(self, progress: Callable[[int], None]) -> None:
        """Connect the clients, and measure what they take while they are idle."""
        outcome, crowd = self.outcome, self._crowd
        before, cpu = Usage.now(), time.process_time()
        outcome.connecting = crowd.connect(progress)
        outcome.connecting_cpu = time.process_time() - cpu
        gevent.idle()
        after = Usage.now()
        count = max(len(crowd.members), 1)
        if before.kib is not None and after.kib is not None:
            outcome.kib = (after.kib - before.kib) / count
        if before.descriptors is not None and after.descriptors is not None:
            outcome.descriptors = (after.descriptors - before.descriptors) / count
        outcome.greenlets = (after.greenlets - before.greenlets) / count

    def send(self, progress: Callable[[float], None]) -> None:
        """Send for as long as it is to last, then wait for the last answers.

        :param progress: is told, now and then, for how many seconds it has gone on.
        """
        outcome, crowd = self.outcome, self._crowd
        start, cpu = time.perf_counter(), time.process_time()
        schedule = None
        if self._rate:
            schedule = gevent.spawn(self._send_by_the_clock, start)
        else:
            start_closed_loop(crowd, self._message)
        try:
            while (passed := time.perf_counter() - start) < self._duration:
                if sum(crowd.tally.losses.values()) >= len(crowd.members):
                    outcome.early = True
                    break
                progress(passed)
                gevent.sleep(min(_LOOK, self._duration - passed))
        except BaseException:  # Ctrl-C: what there is, is told
            outcome.early = True
            raise
        finally:
            if schedule is not None:
                schedule.kill()
            stop_closed_loop(crowd)
            outcome.sending = time.perf_counter() - start
            outcome.cpu = time.process_time() - cpu
            outcome.unanswered = crowd.unanswered
        self._wait_for_answers()

    def _wait_for_answers(self) -> None:
        end = time.perf_counter() + self._patience
        lost = self._crowd.tally.losses
        while self._crowd.unanswered and time.perf_counter() < end:
            if sum(lost.values()) >= len(self._crowd.members):
                break
            gevent.sleep(_LOOK / 2)
        self.outcome.unanswered = self._crowd.unanswered

    def _send_by_the_clock(self, start: float) -> None:
        """In a greenlet: each message has its moment, whether the one before was late or not.

        The time of a round trip counts from that moment. Counted from when the message did leave,
        a server, or a process, that stands still would hide all the messages that waited for it.
        """
        crowd, message = self._crowd, self._message
        between = 1 / (self._rate * len(crowd.members))
        total = max(1, round(self._duration / between))
        sent = 0
        while sent < total:
            due = int((time.perf_counter() - start) / between) + 1
            for _ in range(min(due - sent, total - sent, _BURST)):
                member = crowd.members[sent % len(crowd.members)]
                member.send(message.next(), start + sent * between)
                sent += 1
            gevent.sleep(max(0.0, start + sent * between - time.perf_counter()))
