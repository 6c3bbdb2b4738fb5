"""Many clients in one process."""

from __future__ import annotations

import time
from array import array
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import gevent
from gevent.event import Event
from gevent.pool import Pool

from ... import Client
from ...exceptions import ConnectionError
from . import DemoError

#: The number of clients that connect or disconnect at the same time.
AT_ONCE = 50
#: The number of clients that wait for an echo at the same time.
IN_FLIGHT = 20
#: Seconds without an echo after which the demo gives up.
PATIENCE = 10.0
#: Bytes of each message.
MESSAGE_SIZE = 64


@dataclass(frozen=True, slots=True)
class Echoes:
    """The times of echoes in seconds. The round trips are sorted, the fastest first."""

    round_trips: array[float]
    duration: float
    cpu: float

    def percentile(self, percent: int) -> float:
        """The time that this percentage of the round trips did not exceed."""
        return self.round_trips[(len(self.round_trips) - 1) * percent // 100]


class Member:
    """A client that sends messages, each after the echo of the last one."""

    __slots__ = ('_crowd', '_left', '_sent', '_text', 'client')

    def __init__(self, crowd: Crowd) -> None:
        self._crowd = crowd
        self._left = 0
        self._sent = 0.0
        self._text = ''
        self.client = Client(handle_sigint=False)
        self.client.on('message', self._on_message)
        self.client.on('disconnect', self._on_disconnect)

    def echo(self, messages: int) -> None:
        """Start to send this many messages; returns at once."""
        self._left = messages
        self._send()

    def _send(self) -> None:
        self._text = f'message {self._left}'.ljust(MESSAGE_SIZE, '.')
        self._sent = time.perf_counter()
        self.client.send(self._text)

    def _on_message(self, data: object) -> None:
        if not self._left or data != self._text:
            return
        self._crowd.round_trips.append(time.perf_counter() - self._sent)
        self._left -= 1
        if self._left:
            self._send()
        else:
            self._crowd.has_echoed()

    def _on_disconnect(self, reason: str) -> None:
        if reason != self.client.reason.CLIENT_DISCONNECT:
            cause = self.client.disconnect_error
            self._crowd.lost(reason if cause is None else cause)


class Crowd:
    """Clients that connect, echo and disconnect together.

    :param url: the URL of the server.
    :param size: the number of clients.
    """

    def __init__(self, url: str, size: int) -> None:
        self._url = url
        self._size = size
        self._members: list[Member] = []
        self._pool = Pool(AT_ONCE)
        self._failure: str | None = None
        self._turns: Iterator[tuple[Member, int]] = iter(())
        self._echoing = 0
        self._all_echoed = Event()
        #: The time of each round trip in seconds.
        self.round_trips: array[float] = array('d')

    def connect(self, progress: Callable[[int], None]) -> float:
        """Connect all clients.

        :param progress: is called with the number of connected clients.
        :returns: the seconds that it took.
        :raises DemoError: a client could not connect.
        """
        start = time.perf_counter()
        for _ in range(self._size):
            self._pool.spawn(self._connect_one)  # waits until fewer than AT_ONCE are connecting
            self._check()
            progress(len(self._members))
        self._pool.join()
        self._check()
        progress(len(self._members))
        return time.perf_counter() - start

    def _connect_one(self) -> None:
        member = Member(self)
        try:
            member.client.connect(self._url)
        except ConnectionError as exc:
            connected = f'{len(self._members):,} of {self._size:,} clients'
            self._fail(f'cannot connect to {self._url} after {connected}: {exc.args[0]}')
        else:
            self._members.append(member)

    def echo(self, messages: int) -> Echoes:
        """Let each client send messages and wait for their echoes, some clients at a time.

        :param messages: the number of messages of each client.
        :raises DemoError: an echo is missing.
        """
        self._turns = ((member, messages) for member in self._members)
        start, cpu = time.perf_counter(), time.process_time()
        self._echoing = min(IN_FLIGHT, self._size)
        for _ in range(self._echoing):
            member, messages = next(self._turns)
            member.echo(messages)
        before = 0
        while not self._all_echoed.wait(PATIENCE):
            if before == len(self.round_trips):
                self._fail(f'{self._url} sent no echo for {PATIENCE:g} seconds')
                break
            before = len(self.round_trips)
        self._check()
        cpu, duration = time.process_time() - cpu, time.perf_counter() - start
        return Echoes(array('d', sorted(self.round_trips)), duration, cpu)

    def has_echoed(self) -> None:
        """A client has all its echoes: start the next client."""
        turn = next(self._turns, None)
        if turn is not None:
            member, messages = turn
            member.echo(messages)
            return
        self._echoing -= 1
        if not self._echoing:
            self._all_echoed.set()

    def disconnect(self) -> float:
        """Disconnect all clients.

        :returns: the seconds that it took.
        """
        start = time.perf_counter()
        for member in self._members:
            self._pool.spawn(member.client.disconnect)
        self._pool.join()
        self._check()
        self._members.clear()
        return time.perf_counter() - start

    def lost(self, cause: object) -> None:
        """A client was disconnected, but not by :meth:`disconnect`."""
        self._fail(f'the connection of a client to {self._url} was lost: {cause}')

    def _fail(self, failure: str) -> None:
        """Record a failure. :class:`.DemoError` reports the first one."""
        self._failure = self._failure or failure
        self._all_echoed.set()

    def _check(self) -> None:
        if self._failure is not None:
            gevent.killall(list(self._pool))
            raise DemoError(self._failure)
