"""One worker's part of the bridge: its client, and the browsers that listen to it."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable
from typing import Any

import gevent
from broker import Broker
from link import Link


class Bridge:
    """What arrives from the upstream goes to the browsers of this worker.

    Made and started in the worker itself, after the fork.

    :param url: the upstream.
    :param log: where it is told what happens.
    :param is_alive: whether the worker is to go on.
    :param streams: how many browsers may listen at a time.
    """

    #: Latency samples that a page begins with.
    SAMPLES = 60
    #: Seconds between two looks whether the worker is to go on: gunicorn has no hook for SIGTERM.
    LOOK = 0.2
    #: Seconds that browsers have to take the last of their streams.
    FAREWELL = 1.0

    def __init__(
        self, url: str, log: logging.Logger, is_alive: Callable[[], bool], streams: int
    ) -> None:
        self.broker = Broker(log, streams)
        self.link = Link(url, f'worker {os.getpid()}', log)
        self.link.on_message = self._on_message
        self.link.on_status = self._on_status
        self.link.on_latency = self._on_latency
        self._is_alive = is_alive

    def start(self, timeout: float) -> None:
        """Connect, and stay so.

        :param timeout: seconds to wait for it, unless the worker is to end; it goes on connecting
                        after that.
        """
        self.link.after = lambda: self.broker.last_id
        self.link.start()
        watching = gevent.spawn(self._watch)
        gevent.wait([self.link.joined, watching], timeout=timeout, count=1)

    def stop(self) -> None:
        """Leave the upstream; returns within a few seconds."""
        self.link.leave()

    def _watch(self) -> None:
        # The worker waits for all requests before it ends, and a stream is one that never does.
        while self._is_alive():
            self.broker.cut_stalled()
            gevent.sleep(self.LOOK)
        self.broker.close()
        gevent.sleep(self.FAREWELL)
        self.broker.cut_stalled(0)

    def _on_message(self, message: dict[str, Any]) -> None:
        data = {'text': message['text'], 'at': message['at']}
        self.broker.publish('message', data, event_id=str(message['id']))

    def _on_status(self, status: dict[str, Any]) -> None:
        self.broker.publish('status', {**status, 'at': time.time()}, retain=1)

    def _on_latency(self, seconds: float | None) -> None:
        milliseconds = None if seconds is None else round(seconds * 1000, 3)
        self.broker.publish('latency', {'ms': milliseconds}, retain=self.SAMPLES)
