"""The worker's one Engine.IO client, which is kept connected, asks, and listens.

What goes over the connection, each a JSON object:

* ``{"type": "hello", "name": ..., "after": id or null}`` from here, first. The upstream sends the
  messages after that one, as far as it has them, and then ``{"type": "welcome"}``.
* ``{"type": "message", "id": "EPOCH-NUMBER", "text": ..., "at": seconds}`` to all who said hello.
* ``{"type": "post", "ref": ..., "key": ..., "text": ...}`` from here; the answer has the same
  ``ref``, and is ``{"type": "posted", "id": ...}`` or ``{"type": "refused", "error": ...}``. A key
  that was there already is that post once more: it is answered, and not said again.
* ``{"type": "ping", "ref": ...}`` from here; the answer is ``{"type": "pong"}`` with that ``ref``.
"""

from __future__ import annotations

import logging
import random
import secrets
import time
from collections.abc import Callable
from typing import Any

import gevent
from gevent.event import AsyncResult, Event

import engineio_gevent
from engineio_gevent.exceptions import ConnectionError as NoConnection


class Away(Exception):
    """There is no connection: nothing was sent."""


class Unconfirmed(Exception):
    """It was sent, and no answer has come: it may have arrived, or not."""


class Link:
    """A connection to the upstream that comes back.

    :param url: the upstream.
    :param name: what this end is called there.
    :param log: where it is told what happens.
    """

    #: Seconds before the first attempt after a loss; each further one waits twice as long, less a
    #: part by chance.
    FIRST_DELAY = 0.5
    #: Seconds that the longest wait takes.
    LONGEST_DELAY = 15.0
    #: Seconds after which a connection counts as good: the waits begin anew when it is lost.
    STEADY = 5.0
    #: Seconds that the upstream has to answer the hello.
    JOIN_TIMEOUT = 5.0
    #: Seconds between two measurements of the round trip.
    PROBE_INTERVAL = 1.0
    #: Seconds after which a round trip counts as none.
    PROBE_TIMEOUT = 5.0
    #: Bytes of the largest message; by polling, of all that comes at once, as the history does.
    MESSAGE_SIZE = 2 << 20

    def __init__(self, url: str, name: str, log: logging.Logger) -> None:
        self._url = url
        self._name = name
        self._log = log
        # On SIGINT gunicorn ends the worker, and worker_exit leaves: nobody else needs to look.
        self._client = engineio_gevent.Client(
            handle_sigint=False, max_message_size=self.MESSAGE_SIZE
        )
        self._client.on('message', self._on_message)
        self._client.on('disconnect', self._on_disconnect)
        self._asked: dict[str, AsyncResult[dict[str, Any]]] = {}
        self._settled = Event()
        self._joined_at: float | None = None
        self._leaving = Event()
        self._greenlets: list[gevent.Greenlet[[], None]] = []
        #: Set while the upstream has said welcome.
        self.joined = Event()
        self.status: dict[str, Any] = {'state': 'connecting'}
        self.after: Callable[[], str | None] = lambda: None
        self.on_message: Callable[[dict[str, Any]], None] = lambda message: None
        self.on_status: Callable[[dict[str, Any]], None] = lambda status: None
        self.on_latency: Callable[[float | None], None] = lambda seconds: None

    def start(self) -> None:
        """Connect in the background, and again whenever the connection is lost."""
        self._greenlets = [gevent.spawn(self._stay_connected), gevent.spawn(self._measure)]

    def leave(self) -> None:
        """Leave the upstream in order; within 3 seconds if it does not answer."""
        self._leaving.set()
        self._client.disconnect()
        gevent.joinall(self._greenlets, timeout=1)

    def ask(self, kind: str, timeout: float, **fields: object) -> dict[str, Any]:
        """Send something that is answered.

        :param kind: its type.
        :param timeout: seconds to wait for the answer.
        :raises Away: there is no connection.
        :raises Unconfirmed: no answer came.
        """
        if not self.joined.is_set():
            raise Away('the upstream is away')
        reference = secrets.token_hex(8)
        answer = self._asked[reference] = AsyncResult()
        try:
            with gevent.Timeout(timeout, Unconfirmed('the upstream does not answer')):
                self._client.send({'type': kind, 'ref': reference, **fields})
                message = answer.get()
                assert message is not None
                return message
        finally:
            del self._asked[reference]

    # The connection

    def _stay_connected(self) -> None:
        failures = 0
        longest = self.FIRST_DELAY
        while not self._leaving.is_set():
            self._tell('connecting', failures=failures)
            why = self._connect_once()
            if self._leaving.is_set():
                return
            if self._joined_at is not None and time.monotonic() - self._joined_at > self.STEADY:
                failures = 0
                longest = self.FIRST_DELAY
            failures += 1
            # Each worker waits for another time, so that they do not all come at once.
            delay = random.uniform(longest / 2, longest)
            self._log.warning('No upstream: %s; again in %.1f s', why, delay)
            self._tell('waiting', failures=failures, why=why, delay=delay)
            self._leaving.wait(delay)
            longest = min(2 * longest, self.LONGEST_DELAY)

    def _connect_once(self) -> str:
        """Connect, and stay until the end; returns why it came."""
        self._settled.clear()
        self._joined_at = None
        try:
            self._client.connect(self._url)
        except (NoConnection, ValueError) as exc:  # ValueError: the URL is none
            return str(exc.args[0])
        self._client.send({'type': 'hello', 'name': self._name, 'after': self.after()})
        if not self._settled.wait(self.JOIN_TIMEOUT):
            self._client.disconnect(abort=True)
            return 'it does not answer'
        self._client.wait()
        error = self._client.disconnect_error
        return 'it has closed the connection' if error is None else str(error)

    def _tell(self, state: str, **fields: object) -> None:
        self.status = {'state': state, **fields}
        self.on_status(self.status)

    def _on_message(self, message: object) -> None:
        # It does not wait anywhere, so messages are handled in their order.
        if not isinstance(message, dict):
            return
        match message.get('type'):
            case 'message':
                self.on_message(message)
            case 'welcome':
                self._joined_at = time.monotonic()
                self.joined.set()
                self._settled.set()
                self._log.info('Joined the upstream by %s', self._client.transport())
                self._tell('connected', transport=self._client.transport())
            case 'pong' | 'posted' | 'refused':
                asked = self._asked.get(str(message.get('ref')))
                if asked is not None:
                    asked.set(message)

    def _on_disconnect(self, reason: str) -> None:
        self.joined.clear()
        self._settled.set()
        for asked in list(self._asked.values()):
            asked.set_exception(Unconfirmed('the connection was lost before the answer'))

    def _measure(self) -> None:
        while not self._leaving.wait(self.PROBE_INTERVAL):
            began = time.perf_counter()
            try:
                self.ask('ping', self.PROBE_TIMEOUT)
            except (Away, Unconfirmed):
                self.on_latency(None)
            else:
                self.on_latency(time.perf_counter() - began)
