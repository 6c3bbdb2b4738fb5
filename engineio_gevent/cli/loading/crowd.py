"""The clients: they send when told to, and know their own messages when these come back."""

from __future__ import annotations

import time
from array import array
from collections import Counter
from collections.abc import Callable

import gevent
from gevent.pool import Pool

from ... import Client
from ...contrib._template import Template
from ...exceptions import ConnectionError
from ...timers import timer_seconds
from ..options import Connection, cause_of

#: How many clients connect, or disconnect, at the same time.
AT_ONCE = 50
#: Seconds for all of them to leave in order; those that have not by then just go.
_LEAVING = 5.0


class Tally:
    """What all clients together have done so far."""

    __slots__ = (
        'connected',
        'error',
        'failures',
        'losses',
        'received',
        'round_trips',
        'sent',
        'transports',
        'unexpected',
    )

    def __init__(self) -> None:
        self.connected = 0
        #: By which transport.
        self.transports: Counter[str] = Counter()
        #: Why clients could not connect, and how many of them.
        self.failures: Counter[str] = Counter()
        #: The last of these failures.
        self.error: Exception | None = None
        #: Why connections were lost.
        self.losses: Counter[str] = Counter()
        self.sent = 0
        self.received = 0
        #: Messages that are no answer to one of the client's own.
        self.unexpected = 0
        #: The time of each answered message in seconds, from when it was due to be sent.
        self.round_trips: array[float] = array('d')


class Member:
    """One client.

    :param client: it, not connected.
    :param tally: where it counts.
    :param echo: whether the server is to send each message back.
    """

    __slots__ = ('_due', '_echo', '_next', '_tally', 'client')

    def __init__(self, client: Client, tally: Tally, echo: bool) -> None:
        self.client = client
        self._tally = tally
        self._echo = echo
        #: What was sent and has not come back: when each message was due. Messages may be alike.
        self._due: dict[str | bytes, list[float]] = {}
        self._next: Callable[[Member], None] | None = None
        client.on('message', self._on_message)
        client.on('disconnect', self._on_disconnect)

    def send(self, message: str | bytes, due: float) -> bool:
        """Send a message.

        :param due: when it was to be sent, by ``time.perf_counter()``.
        :returns: whether it was sent: there is a connection.
        """
        if self.client.state != 'connected':
            return False
        if self._echo:
            self._due.setdefault(message, []).append(due)
        self._tally.sent += 1
        self.client.send(message)
        return True

    def on_answer(self, function: Callable[[Member], None] | None) -> None:
        """Call a function whenever an answer has come."""
        self._next = function

    @property
    def unanswered(self) -> int:
        """How many messages have not come back."""
        return sum(map(len, self._due.values()))

    def _on_message(self, data: str | bytes) -> None:
        now = time.perf_counter()
        tally = self._tally
        tally.received += 1
        due = self._due.get(data)
        if due is None:
            tally.unexpected += 1
            return
        sent = due.pop(0)
        if not due:
            del self._due[data]
        tally.round_trips.append(now - sent)
        if self._next is not None:
            self._next(self)

    def _on_disconnect(self, reason: str) -> None:
        if reason != self.client.reason.CLIENT_DISCONNECT:
            error = self.client.disconnect_error
            self._tally.losses[reason if error is None else str(error)] += 1


class Crowd:
    """All clients.

    :param connection: how they reach the server.
    :param size: how many there are to be.
    :param echo: whether the server is to send each message back.
    """

    def __init__(self, connection: Connection, size: int, echo: bool) -> None:
        self.tally = Tally()
        self.size = size
        self._connection = connection
        self._echo = echo
        #: Those that are, or were, connected.
        self.members: list[Member] = []

    def connect(self, rate: float, progress: Callable[[int], None]) -> None:
        """Connect all, or find out that none can.

        :param rate: how many begin in a second; 0: as soon as they can. There are never more than
                     :data:`AT_ONCE` under way.
        :param progress: is told, now and then, how many have begun.
        """
        start = time.perf_counter()
        pool = Pool(AT_ONCE)
        try:
            for number in range(self.size):
                if rate:
                    gevent.sleep(timer_seconds(start + number / rate - time.perf_counter()))
                if not self.members and self.tally.failures.total() >= AT_ONCE:
                    break  # nor will the others
                pool.spawn(self._connect_one)  # waits for one of the others
                progress(number)
            pool.join()
        finally:
            pool.kill()
        progress(self.size)

    def _connect_one(self) -> None:
        connection = self._connection
        # write_limit: the schedule waits for no client. What a server does not take is unanswered.
        member = Member(
            connection.client(parse_json=False, write_limit=None), self.tally, self._echo
        )
        client = member.client
        try:
            client.connect(
                connection.url, connection.headers, connection.transports, connection.path
            )
        except (ConnectionError, ValueError) as exc:
            self.tally.failures[cause_of(exc)] += 1
            self.tally.error = exc
        else:
            self.tally.connected += 1
            self.tally.transports[client.transport() or 'lost at once'] += 1
            self.members.append(member)

    @property
    def unanswered(self) -> int:
        """How many messages have not come back."""
        return sum(member.unanswered for member in self.members)

    @property
    def lost(self) -> int:
        """How many connections were lost."""
        return self.tally.losses.total()

    def disconnect(self) -> None:
        """Let all leave, within a bound for them all."""
        pool = Pool(AT_ONCE)
        end = time.monotonic() + _LEAVING
        for member in self.members:
            pool.spawn(member.client.disconnect, abort=time.monotonic() > end)
        pool.join()


def start_closed_loop(crowd: Crowd, messages: Template) -> None:
    """Let each client send its next message as soon as the answer to the last has come."""

    def again(member: Member) -> None:
        member.send(messages.next(), time.perf_counter())

    for member in crowd.members:
        member.on_answer(again)
        again(member)


def stop_closed_loop(crowd: Crowd) -> None:
    """Let no client send any more."""
    for member in crowd.members:
        member.on_answer(None)
