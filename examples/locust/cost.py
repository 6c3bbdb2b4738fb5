"""Print the memory and the CPU time that a user costs. Users connect, idle, and ask every 10 s.

    engineio-gevent demo --serve
    locust -f examples/locust/cost.py --host http://127.0.0.1:5000 \
        --headless --users 1000 --spawn-rate 50 --run-time 60s --only-summary

It measures its own process, so do not use --processes.
"""

from __future__ import annotations

import os
from typing import Any

import psutil
from locust import constant, events, task

from engineio_gevent.contrib.locust import EngineIOUser

process = psutil.Process(os.getpid())
before: dict[str, float] = {}


class Member(EngineIOUser):
    wait_time = constant(10)

    @task
    def ask(self) -> None:
        self.eio.request('hello', 'hello', name='ask')


def cpu() -> float:
    times = process.cpu_times()
    return times.user + times.system


@events.test_start.add_listener
def on_start(environment: Any, **kwargs: Any) -> None:
    before.update(memory=process.memory_info().rss, cpu=cpu())


@events.spawning_complete.add_listener
def on_complete(user_count: int, **kwargs: Any) -> None:
    used, spent = process.memory_info().rss - before['memory'], cpu() - before['cpu']
    print(
        f'{user_count} users: {used / 1024 / user_count:.0f} KiB each, '
        f'{1000 * spent / user_count:.2f} ms of CPU each to start'
    )
    before.update(cpu=cpu(), asked=asked())


@events.test_stopping.add_listener
def on_stopping(environment: Any, **kwargs: Any) -> None:
    count = asked() - before['asked']
    print(
        f'{count:.0f} round trips: {1000 * (cpu() - before["cpu"]) / max(1, count):.2f} ms '
        'of CPU each, including heartbeats and Locust itself'
    )


answers = {'count': 0}


@events.request.add_listener
def on_request(request_type: str, **kwargs: Any) -> None:
    answers['count'] += request_type == 'request'


def asked() -> int:
    return answers['count']
