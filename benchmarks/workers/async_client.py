"""The worker of python-engineio's ``AsyncClient``: the verbs of ``greenlets.py`` on asyncio."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from time import monotonic, perf_counter
from typing import Any

import engineio

from ..job import Job
from .meter import Figures, Growth, check, cpu, percentiles, plausible, read_job, report
from .settings import REST, SETTLE, TRANSPORTS, WARM_UP, WARM_WORK


class Worker:
    """Runs one job with one kind of client.

    :param job: the work.
    """

    def __init__(self, job: Job) -> None:
        self._job = job
        self._connected = self._disconnected = 0

    async def run(self) -> Figures:
        """Run the job.

        :returns: its figures.
        """
        verb: Callable[[], Awaitable[Figures]] = getattr(self, self._job.verb)
        return await verb()

    # Clients

    async def _open(self, number: int) -> list[Any]:
        wanted = 'polling' if self._job.transport == 'polling' else 'websocket'
        before = self._connected
        clients = []
        for index in range(number):
            client = engineio.AsyncClient()
            client.on('connect', self._on_connect)
            client.on('disconnect', self._on_disconnect)
            await client.connect(self._job.url(index), transports=TRANSPORTS[self._job.transport])
            check(client.transport(), wanted, 'transport')
            clients.append(client)
        check(self._connected - before, number, 'connect handlers')
        return clients

    async def _on_connect(self) -> None:
        self._connected += 1

    async def _on_disconnect(self, _reason: str) -> None:
        self._disconnected += 1

    async def _close(self, clients: list[Any]) -> None:
        before = self._disconnected
        for client in clients:
            await client.disconnect()
        await asyncio.sleep(REST)
        check(self._disconnected - before, len(clients), 'disconnect handlers')

    async def _warm(self, part: Callable[[], Awaitable[object]]) -> None:
        """Do part of the work again and again before it is measured."""
        end = monotonic() + WARM_WORK
        await part()
        while monotonic() < end:
            await part()

    # Verbs

    async def connect(self) -> Figures:
        """Connect clients one after the other, then disconnect them."""
        number = self._job.clients
        await self._warm(self._come_and_go)
        start = cpu()
        clients = await self._open(number)
        await asyncio.sleep(REST)
        connected = cpu()
        await self._close(clients)
        left = cpu()
        return {'connect': (connected - start) / number, 'disconnect': (left - connected) / number}

    async def _come_and_go(self) -> None:
        await self._close(await self._open(WARM_UP))

    async def crowd(self) -> Figures:
        """Connect many clients, measure their memory while they are idle, and let them echo."""
        number = self._job.clients
        first = await self._open(WARM_UP)
        await self._echo(first, 1)
        await asyncio.sleep(SETTLE)
        growth = Growth(lambda: len(asyncio.all_tasks()))
        start = cpu()
        clients = await self._open(number)
        connecting = cpu() - start
        await asyncio.sleep(SETTLE)
        figures = growth.per_client(number)
        figures['connect'] = connecting / number
        await self._warm(lambda: self._echo(clients, 1))
        figures['echo'] = await self._echo(clients, self._job.messages)
        return figures

    async def echo(self) -> Figures:
        """Each client sends its next message when the previous echo has arrived."""
        rounds = self._job.messages
        clients = await self._open(self._job.clients)
        await self._warm(lambda: self._echo(clients, max(1, rounds // 5)))
        return {'echo': await self._echo(clients, rounds)}

    async def _echo(self, clients: list[Any], rounds: int) -> float:
        payload = self._job.payload()
        done = asyncio.Event()
        total = rounds * len(clients)
        received = 0

        def answer(client: Any) -> Callable[[Any], Awaitable[None]]:
            left = rounds

            async def on_message(data: Any) -> None:
                nonlocal left, received
                check(data, payload, 'echo')
                received += 1
                left -= 1
                if left:
                    await client.send(payload)
                elif received == total:
                    done.set()

            return on_message

        for client in clients:
            client.on('message', answer(client))
        start = cpu()
        for client in clients:
            await client.send(payload)
        await done.wait()
        return (cpu() - start) / total

    async def latency(self) -> Figures:
        """Time from a send to the handler of its echo, one by one or at a steady rate."""
        clients = await self._open(self._job.clients)
        await self._warm(lambda: self._timed(clients, len(clients)))
        return percentiles(await self._timed(clients, self._job.messages))

    async def _timed(self, clients: list[Any], messages: int) -> list[float]:
        payload = self._job.payload()
        rate = self._job.rate
        taken: list[float] = []
        done = asyncio.Event()

        def answer(times: deque[float]) -> Callable[[Any], Awaitable[None]]:
            async def on_message(_data: Any) -> None:
                taken.append(perf_counter() - times.popleft())
                if len(taken) == messages:
                    done.set()
                elif not rate:
                    await send(len(taken))

            return on_message

        async def send(index: int) -> None:
            client, times = queue[index % len(queue)]
            times.append(perf_counter())
            await client.send(payload)

        queue = [(client, deque[float]()) for client in clients]
        for client, times in queue:
            client.on('message', answer(times))
        start = perf_counter()
        for index in range(messages if rate else 1):
            if rate and (pause := start + index / rate - perf_counter()) > 0:
                await asyncio.sleep(pause)
            await send(index)
        await done.wait()
        return taken

    async def receive(self) -> Figures:
        """Receive messages that the server sends as fast as it can."""
        (client,) = await self._open(1)
        await self._warm(lambda: self._flood(client, self._job.messages // 10))
        return {'receive': await self._flood(client, self._job.messages)}

    async def _flood(self, client: Any, messages: int) -> float:
        job = self._job
        done = asyncio.Event()
        left = messages

        async def on_message(data: str) -> None:
            nonlocal left
            if job.sleep:
                await asyncio.sleep(job.sleep)
            check(len(data), job.size, 'size')
            left -= 1
            if not left:
                done.set()

        client.on('message', on_message)
        start = cpu()
        await client.send(f'!flood {messages} {job.size} {job.batch}')
        await done.wait()
        return (cpu() - start) / messages

    async def send(self) -> Figures:
        """Send messages as fast as possible. The server counts them."""
        (client,) = await self._open(1)
        await self._warm(lambda: self._pour(client, self._job.messages // 10))
        return {'send': await self._pour(client, self._job.messages)}

    async def _pour(self, client: Any, messages: int) -> float:
        payload = self._job.payload()
        answer = self._answer(client)
        await client.send(f'!expect {messages}')
        start = cpu()
        for _ in range(messages):
            await client.send(payload)
        check(await answer, '!done', 'answer')
        return (cpu() - start) / messages

    async def heartbeat(self) -> Figures:
        """Answer the server's PINGs with idle clients. The server counts the PONGs."""
        clients = await self._open(self._job.clients)
        await asyncio.sleep(self._job.ping_interval)
        before = await self._pongs(clients[0])
        start = cpu()
        await asyncio.sleep(self._job.seconds)
        spent = cpu() - start
        pongs = await self._pongs(clients[0]) - before
        plausible(pongs, self._job)
        return {'heartbeat': spent / pongs}

    async def _pongs(self, client: Any) -> int:
        answer = self._answer(client)
        await client.send('!pongs')
        return int(await answer)

    def _answer(self, client: Any) -> asyncio.Future[Any]:
        """The next message of a client."""
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

        async def on_message(data: Any) -> None:
            future.set_result(data)

        client.on('message', on_message)
        return future


async def main() -> None:
    """Run the job of the command line and print its figures."""
    job = read_job()
    report(await Worker(job).run())


if __name__ == '__main__':
    asyncio.run(main())
