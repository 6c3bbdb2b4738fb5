"""The clients: they send when told to, and know their own messages when these come back."""

from __future__ import annotations

import time
from array import array
from collections import Counter, deque
from collections.abc import Callable

from gevent.pool import Pool

from ... import Client
from ...exceptions import ConnectionError
from ..options import Connection
from .message import Message

#: How many clients connect, or disconnect, at the same time.
AT_ONCE = 50


class Tally:
    """What all clients together have done so far."""

    __slots__ = ('connected', 'failures', 'losses', 'received', 'round_trips', 'sent', 'unexpected')

    def __init__(self) -> None:
        self.connected = 0
        #: Why clients could not connect, and how many of them.
        self.failures: Counter[str] = Counter()
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
        #: What was sent and has not come back: the message, and when it was due.
        self._due: deque[tuple[str | bytes, float]] = deque()
        self._next: Callable[[Member], None] | None = None
        client.on('message', self._on_message)
        client.on('disconnect', self._on_disconnect)

    def send(self, message: str | bytes, due: float) -> None:
        """Send a message.

        :param due: when it was to be sent, by ``time.perf_counter()``.
        """
        if self.client.state != 'connected':
            return
        if self._echo:
            self._due.append((message, due))
        self._tally.sent += 1
        self.client.send(message)

    def on_answer(self, function: Callable[[Member], None] | None) -> None:
        """Call a function whenever an answer has come."""
        self._next = function

    @property
    def unanswered(self) -> int:
        """How many messages have not come back."""
        return len(self._due)

    def _on_message(self, data: str | bytes) -> None:
        now = time.perf_counter()
        tally = self._tally
        tally.received += 1
        due = self._due
        if due and due[0][0] == data:
            _, sent = due.popleft()
        else:
            for index, (message, sent) in enumerate(due):  # noqa: B007 - used below
                if message == data:
                    del due[index]
                    break
            else:
                tally.unexpected += 1
                return
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

    def connect(self, progress: Callable[[int], None]) -> float:
        """Connect all.

        :param progress: is told, now and then, how many have tried.
        :returns: the seconds that it took.
        """
        start = time.perf_counter()
        pool = Pool(AT_ONCE)
        for number in range(self.size):
            pool.spawn(self._connect_one)  # waits for one of the others
            progress(number)
        pool.join()
        progress(self.size)
        return time.perf_counter() - start

    def _connect_one(self) -> None:
        connection = self._connection
        # write_limit: the schedule waits for no client. What a server does not take is unanswered.
        member = Member(
            connection.client(parse_json=False, write_limit=None), self.tally, self._echo
        )
        try:
            member.client.connect(
                connection.url, connection.headers, connection.transports, connection.path
            )
        except (ConnectionError, ValueError) as exc:
            self.tally.failures[str(exc.args[0])] += 1
        else:
            self.tally.connected += 1
            self.members.append(member)

    @property
    def unanswered(self) -> int:
        """How many messages have not come back."""
        return sum(member.unanswered for member in self.members)

    def disconnect(self) -> None:
        """Let all leave."""
        pool = Pool(AT_ONCE)
        for member in self.members:
            pool.spawn(member.client.disconnect)
        pool.join()


def start_closed_loop(crowd: Crowd, message: Message) -> None:
    """Let each client send its next message as soon as the answer to the last has come."""

    def again(member: Member) -> None:
        member.send(message.next(), time.perf_counter())

    for member in crowd.members:
        member.on_answer(again)
        again(member)


def stop_closed_loop(crowd: Crowd) -> None:
    """Let no client send any more."""
    for member in crowd.members:
        member.on_answer(None)
