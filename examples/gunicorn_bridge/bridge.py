"""One worker's part of the bridge: its client and the streams of its browsers."""

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
    """Forwards messages from the upstream to the browsers of this worker.

    Create and start it in the worker, after the fork.

    :param url: URL of the upstream.
    :param log: the logger.
    :param is_alive: returns False when the worker must stop.
    :param streams: maximum number of streams.
    """

    #: Latency samples that a new page receives.
    SAMPLES = 60
    #: Seconds between two checks of `is_alive`, because gunicorn has no hook for SIGTERM.
    LOOK = 0.2
    #: Seconds that browsers have to read the end of their streams.
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
        """Connect, and reconnect whenever the connection is lost.

        :param timeout: seconds to wait for the first connection. It continues to connect after
                        that.
        """
        self.link.after = lambda: self.broker.last_id
        self.link.start()
        watching = gevent.spawn(self._watch)
        gevent.wait([self.link.joined, watching], timeout=timeout, count=1)

    def stop(self) -> None:
        """Disconnect from the upstream; returns within a few seconds."""
        self.link.leave()

    def _watch(self) -> None:
        # The worker waits for all requests before it stops, and a stream never ends by itself.
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
