"""The clients of a load test. Each matches answers with the messages that it sent."""

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
from ...net.deadlines import timer_seconds
from ..options import Connection, cause_of

#: The number of clients that connect or disconnect at the same time.
AT_ONCE = 50
#: Seconds for all clients to disconnect normally. After that the others abort.
_LEAVING = 5.0


class Tally:
    """Counts for all clients together."""

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
        #: The number of clients by transport.
        self.transports: Counter[str] = Counter()
        #: The number of clients that could not connect, by cause.
        self.failures: Counter[str] = Counter()
        #: The last of these failures.
        self.error: Exception | None = None
        #: The number of lost connections, by cause.
        self.losses: Counter[str] = Counter()
        self.sent = 0
        self.received = 0
        #: Messages that are not an answer to a message of the client.
        self.unexpected = 0
        #: For each answered message, the seconds from the time at which it was due.
        self.round_trips: array[float] = array('d')


class Member:
    """One client.

    :param client: the client, not connected.
    :param tally: the counts.
    :param echo: whether the server sends each message back.
    """

    __slots__ = ('_due', '_echo', '_next', '_tally', 'client')

    def __init__(self, client: Client, tally: Tally, echo: bool) -> None:
        self.client = client
        self._tally = tally
        self._echo = echo
        #: For each unanswered message, the times at which it was due. Messages may be equal.
        self._due: dict[str | bytes, list[float]] = {}
        self._next: Callable[[Member], None] | None = None
        client.on('message', self._on_message)
        client.on('disconnect', self._on_disconnect)

    def send(self, message: str | bytes, due: float) -> bool:
        """Send a message.

        :param due: when the message was due, by ``time.perf_counter()``.
        :returns: whether the client was connected and sent it.
        """
        if self.client.state != 'connected':
            return False
        if self._echo:
            self._due.setdefault(message, []).append(due)
        self._tally.sent += 1
        self.client.send(message)
        return True

    def on_answer(self, function: Callable[[Member], None] | None) -> None:
        """Call a function after each answer."""
        self._next = function

    @property
    def unanswered(self) -> int:
        """The number of unanswered messages."""
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

    :param connection: the connection settings.
    :param size: the number of clients.
    :param echo: whether the server sends each message back.
    """

    def __init__(self, connection: Connection, size: int, echo: bool) -> None:
        self.tally = Tally()
        self.size = size
        self._connection = connection
        self._echo = echo
        #: The clients that are or were connected.
        self.members: list[Member] = []

    def connect(self, rate: float, progress: Callable[[int], None]) -> None:
        """Connect all clients, or stop if the first ones all fail.

        :param rate: clients to connect per second; 0: as fast as possible. At most :data:`AT_ONCE`
                     connect at the same time.
        :param progress: is called with the number of clients that have begun.
        """
        start = time.perf_counter()
        pool = Pool(AT_ONCE)
        try:
            for number in range(self.size):
                if rate:
                    gevent.sleep(timer_seconds(start + number / rate - time.perf_counter()))
                if not self.members and self.tally.failures.total() >= AT_ONCE:
                    break  # the others would fail, too
                pool.spawn(self._connect_one)  # waits until fewer than AT_ONCE are connecting
                progress(number)
            pool.join()
        finally:
            pool.kill()
        progress(self.size)

    def _connect_one(self) -> None:
        connection = self._connection
        # write_limit=None: send() never waits, so that the schedule is kept.
        member = Member(
            connection.client(parse_json=False, write_limit=None), self.tally, self._echo
        )
        client = member.client
        try:
            connection.connect(client)
        except (ConnectionError, ValueError) as exc:
            self.tally.failures[cause_of(exc)] += 1
            self.tally.error = exc
        else:
            self.tally.connected += 1
            self.tally.transports[client.transport() or 'lost at once'] += 1
            self.members.append(member)

    @property
    def unanswered(self) -> int:
        """The number of unanswered messages."""
        return sum(member.unanswered for member in self.members)

    @property
    def lost(self) -> int:
        """The number of lost connections."""
        return self.tally.losses.total()

    def disconnect(self) -> None:
        """Disconnect all clients within a common time limit."""
        pool = Pool(AT_ONCE)
        end = time.monotonic() + _LEAVING
        aborting = []
        for member in self.members:
            if time.monotonic() > end:
                # Not in the pool: over polling, each waits a moment for the server.
                aborting.append(gevent.spawn(member.client.disconnect, abort=True))
            else:
                pool.spawn(member.client.disconnect)
        pool.join()
        gevent.joinall(aborting)


def start_closed_loop(crowd: Crowd, messages: Template) -> None:
    """Let each client send its next message as soon as its last one was answered."""

    def again(member: Member) -> None:
        member.send(messages.next(), time.perf_counter())

    for member in crowd.members:
        member.on_answer(again)
        again(member)


def stop_closed_loop(crowd: Crowd) -> None:
    """Stop all clients from sending."""
    for member in crowd.members:
        member.on_answer(None)
