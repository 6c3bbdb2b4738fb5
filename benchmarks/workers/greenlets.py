"""The verbs with greenlets, for all clients with the API of python-engineio.

Handlers and waiting are the same for all. Only the client differs.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from time import monotonic, perf_counter
from typing import Any

import gevent
from gevent.event import AsyncResult, Event
from greenlet import greenlet

from ..job import Job
from .meter import Figures, Growth, check, count, cpu, percentiles, plausible, read_job, report
from .settings import REST, SETTLE, TRANSPORTS, WARM_UP, WARM_WORK


class Worker:
    """Runs one job with one kind of client.

    :param make: creates a client.
    :param job: the work.
    """

    def __init__(self, make: Callable[[], Any], job: Job) -> None:
        #: The context of the measured part.
        self.profiled: AbstractContextManager[object] = nullcontext()
        self._make = make
        self._job = job
        self._connected = self._disconnected = 0

    def run(self) -> Figures:
        """Run the job.

        :returns: its figures.
        """
        verb: Callable[[], Figures] = getattr(self, self._job.verb)
        return verb()

    # Clients

    def _open(self, number: int) -> list[Any]:
        """Connect clients, one after the other."""
        wanted = 'polling' if self._job.transport == 'polling' else 'websocket'
        before = self._connected
        clients = []
        for index in range(number):
            client = self._make()
            client.on('connect', self._on_connect)
            client.on('disconnect', self._on_disconnect)
            client.connect(self._job.url(index), transports=TRANSPORTS[self._job.transport])
            check(client.transport(), wanted, 'transport')
            clients.append(client)
        check(self._connected - before, number, 'connect handlers')
        return clients

    def _on_connect(self) -> None:
        self._connected += 1

    def _on_disconnect(self, *_reason: str) -> None:
        self._disconnected += 1

    def _close(self, clients: list[Any]) -> None:
        before = self._disconnected
        for client in clients:
            client.disconnect()
        gevent.sleep(REST)
        check(self._disconnected - before, len(clients), 'disconnect handlers')

    def _warm(self, part: Callable[[], object]) -> None:
        """Do part of the work again and again before it is measured."""
        end = monotonic() + WARM_WORK
        part()
        while monotonic() < end:
            part()

    # Verbs

    def connect(self) -> Figures:
        """Connect clients one after the other, then disconnect them."""
        number = self._job.clients
        self._warm(lambda: self._close(self._open(WARM_UP)))
        with self.profiled:
            start = cpu()
            clients = self._open(number)
            gevent.sleep(REST)
            connected = cpu()
            self._close(clients)
            left = cpu()
        return {'connect': (connected - start) / number, 'disconnect': (left - connected) / number}

    def crowd(self) -> Figures:
        """Connect many clients, measure their memory while they are idle, and let them echo."""
        number = self._job.clients
        first = self._open(WARM_UP)
        self._echo(first, 1)
        gevent.sleep(SETTLE)
        growth = Growth(lambda: count(greenlet))
        start = cpu()
        clients = self._open(number)
        connecting = cpu() - start
        gevent.sleep(SETTLE)
        figures = growth.per_client(number)
        figures['connect'] = connecting / number
        self._warm(lambda: self._echo(clients, 1))
        figures['echo'] = self._echo(clients, self._job.messages)
        return figures

    def echo(self) -> Figures:
        """Each client sends its next message when the previous echo has arrived."""
        rounds = self._job.messages
        clients = self._open(self._job.clients)
        self._warm(lambda: self._echo(clients, max(1, rounds // 5)))
        with self.profiled:
            return {'echo': self._echo(clients, rounds)}

    def _echo(self, clients: list[Any], rounds: int) -> float:
        """CPU seconds per round trip."""
        payload = self._job.payload()
        done = Event()
        received = 0

        def answer(client: Any) -> Callable[[Any], None]:
            left = rounds

            def on_message(data: Any) -> None:
                nonlocal left, received
                check(data, payload, 'echo')
                received += 1
                left -= 1
                if left:
                    client.send(payload)
                elif received == total:
                    done.set()

            return on_message

        total = rounds * len(clients)
        for client in clients:
            client.on('message', answer(client))
        start = cpu()
        for client in clients:
            client.send(payload)
        done.wait()
        return (cpu() - start) / total

    def latency(self) -> Figures:
        """Time from a send to the handler of its echo, one by one or at a steady rate."""
        clients = self._open(self._job.clients)
        self._warm(lambda: self._timed(clients, len(clients)))
        return percentiles(self._timed(clients, self._job.messages))

    def _timed(self, clients: list[Any], messages: int) -> list[float]:
        payload = self._job.payload()
        rate = self._job.rate
        taken: list[float] = []
        done = Event()

        def answer(times: deque[float]) -> Callable[[Any], None]:
            def on_message(_data: Any) -> None:
                taken.append(perf_counter() - times.popleft())
                if len(taken) == messages:
                    done.set()
                elif not rate:
                    send(len(taken))

            return on_message

        def send(index: int) -> None:
            client, times = queue[index % len(queue)]
            times.append(perf_counter())
            client.send(payload)

        queue = [(client, deque[float]()) for client in clients]
        for client, times in queue:
            client.on('message', answer(times))
        start = perf_counter()
        for index in range(messages if rate else 1):
            if rate and (pause := start + index / rate - perf_counter()) > 0:
                gevent.sleep(pause)
            send(index)
        done.wait()
        return taken

    def receive(self) -> Figures:
        """Receive messages that the server sends as fast as it can."""
        (client,) = self._open(1)
        self._warm(lambda: self._flood(client, self._job.messages // 10))
        with self.profiled:
            return {'receive': self._flood(client, self._job.messages)}

    def _flood(self, client: Any, messages: int) -> float:
        job = self._job
        done = Event()
        left = messages

        def on_message(data: str) -> None:
            nonlocal left
            if job.sleep:
                gevent.sleep(job.sleep)
            check(len(data), job.size, 'size')
            left -= 1
            if not left:
                done.set()

        client.on('message', on_message)
        start = cpu()
        client.send(f'!flood {messages} {job.size} {job.batch}')
        done.wait()
        return (cpu() - start) / messages

    def send(self) -> Figures:
        """Send messages as fast as possible. The server counts them."""
        (client,) = self._open(1)
        self._warm(lambda: self._pour(client, self._job.messages // 10))
        with self.profiled:
            return {'send': self._pour(client, self._job.messages)}

    def _pour(self, client: Any, messages: int) -> float:
        payload = self._job.payload()
        answer = self._answer(client)
        client.send(f'!expect {messages}')
        start = cpu()
        for _ in range(messages):
            client.send(payload)
        check(answer.get(), '!done', 'answer')
        return (cpu() - start) / messages

    def heartbeat(self) -> Figures:
        """Answer the server's PINGs with idle clients. The server counts the PONGs."""
        clients = self._open(self._job.clients)
        gevent.sleep(self._job.ping_interval)
        before = self._pongs(clients[0])
        start = cpu()
        gevent.sleep(self._job.seconds)
        spent = cpu() - start
        pongs = self._pongs(clients[0]) - before
        plausible(pongs, self._job)
        return {'heartbeat': spent / pongs}

    def _pongs(self, client: Any) -> int:
        answer = self._answer(client)
        client.send('!pongs')
        return int(str(answer.get()))

    def _answer(self, client: Any) -> AsyncResult[Any]:
        """The next message of a client."""
        answer: AsyncResult[Any] = AsyncResult()
        client.on('message', answer.set)
        return answer


def main(make: Callable[[], Any]) -> None:
    """Run the job of the command line and print its figures."""
    job = read_job()
    if job.profile is None:
        report(Worker(make, job).run())
    else:
        _profile(Worker(make, job), job.profile)


def _profile(worker: Worker, path: str) -> None:
    from .. import sampler

    worker.profiled = samples = sampler.Sampler()
    worker.run()
    sampler.save(samples.stacks, path)
    print(sampler.report(samples))
