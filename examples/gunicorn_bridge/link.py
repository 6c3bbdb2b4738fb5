"""The worker's Engine.IO client: it stays connected, sends requests, and receives messages.

All messages are JSON objects:

* ``{"type": "hello", "name": ..., "after": id or null}`` is the client's first message. The
  upstream sends the messages that it has kept after that id, then ``{"type": "welcome"}``.
* ``{"type": "message", "id": "EPOCH-NUMBER", "text": ..., "at": seconds}`` is sent by the upstream
  to all clients that have sent hello.
* ``{"type": "post", "ref": ..., "key": ..., "text": ...}`` is sent by the client. The answer has
  the same ``ref`` and is ``{"type": "posted", "id": ...}`` or
  ``{"type": "refused", "error": ...}``. A repeated key is answered, but the message is not sent
  again.
* ``{"type": "ping", "ref": ...}`` is sent by the client. The answer is ``{"type": "pong"}`` with
  the same ``ref``.
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
    """There is no connection; nothing was sent."""


class Unconfirmed(Exception):
    """The request was sent and not answered; it may have arrived."""


class Link:
    """A connection to the upstream that reconnects.

    :param url: URL of the upstream.
    :param name: name of this client at the upstream.
    :param log: the logger.
    """

    #: Seconds before the first attempt to reconnect; doubles up to `LONGEST_DELAY`, minus up to 50%
    #: jitter.
    FIRST_DELAY = 0.5
    #: Maximum seconds between two attempts.
    LONGEST_DELAY = 15.0
    #: Seconds after which a connection is stable: the delays are reset.
    STEADY = 5.0
    #: Timeout of the answer to hello, in seconds.
    JOIN_TIMEOUT = 5.0
    #: Seconds between two measurements of the round-trip time.
    PROBE_INTERVAL = 1.0
    #: Timeout of a measurement, in seconds.
    PROBE_TIMEOUT = 5.0
    #: Maximum bytes of a message, or of a polling response, which may contain the history.
    MESSAGE_SIZE = 2 << 20

    def __init__(self, url: str, name: str, log: logging.Logger) -> None:
        self._url = url
        self._name = name
        self._log = log
        self._client = engineio_gevent.Client(max_message_size=self.MESSAGE_SIZE)
        self._client.on('message', self._on_message)
        self._client.on('disconnect', self._on_disconnect)
        self._asked: dict[str, AsyncResult[dict[str, Any]]] = {}
        self._settled = Event()
        self._joined_at: float | None = None
        self._leaving = Event()
        self._greenlets: list[gevent.Greenlet[[], None]] = []
        #: Set after welcome, until the connection ends.
        self.joined = Event()
        self.status: dict[str, Any] = {'state': 'connecting'}
        self.after: Callable[[], str | None] = lambda: None
        self.on_message: Callable[[dict[str, Any]], None] = lambda message: None
        self.on_status: Callable[[dict[str, Any]], None] = lambda status: None
        self.on_latency: Callable[[float | None], None] = lambda seconds: None

    def start(self) -> None:
        """Connect in the background, and reconnect whenever the connection is lost."""
        self._greenlets = [gevent.spawn(self._stay_connected), gevent.spawn(self._measure)]

    def leave(self) -> None:
        """Disconnect from the upstream; within 3 seconds if it does not answer."""
        self._leaving.set()
        self._client.disconnect()
        gevent.joinall(self._greenlets, timeout=1)

    def ask(self, kind: str, timeout: float, **fields: object) -> dict[str, Any]:
        """Send a request and return the answer.

        :param kind: type of the request.
        :param timeout: seconds to wait for the answer.
        :raises Away: there is no connection.
        :raises Unconfirmed: there was no answer.
        """
        if not self.joined.is_set():
            raise Away('the upstream is not connected')
        reference = secrets.token_hex(8)
        answer = self._asked[reference] = AsyncResult()
        try:
            with gevent.Timeout(timeout, Unconfirmed('the upstream did not answer')):
                self._client.send({'type': kind, 'ref': reference, **fields})
                message = answer.get()
                assert message is not None
                return message
        finally:
            self._asked.pop(reference, None)

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
            # The delay is random, so that workers do not reconnect all at once.
            delay = random.uniform(longest / 2, longest)
            self._log.warning('Upstream not connected: %s; retrying in %.1f s', why, delay)
            self._tell('waiting', failures=failures, why=why, delay=delay)
            self._leaving.wait(delay)
            longest = min(2 * longest, self.LONGEST_DELAY)

    def _connect_once(self) -> str:
        """Connect, and wait until the connection ends; returns the reason."""
        self._settled.clear()
        self._joined_at = None
        try:
            self._client.connect(self._url)
        except (NoConnection, ValueError) as exc:  # ValueError: the URL is invalid
            return str(exc.args[0])
        self._client.send({'type': 'hello', 'name': self._name, 'after': self.after()})
        if not self._settled.wait(self.JOIN_TIMEOUT):
            self._client.disconnect(abort=True)
            return 'no answer to hello'
        self._client.wait()
        error = self._client.disconnect_error
        return 'the upstream disconnected' if error is None else str(error)

    def _tell(self, state: str, **fields: object) -> None:
        self.status = {'state': state, **fields}
        self.on_status(self.status)

    def _on_message(self, message: object) -> None:
        # This handler never waits, so messages are handled in order.
        if not isinstance(message, dict):
            return
        match message.get('type'):
            case 'message':
                self.on_message(message)
            case 'welcome':
                self._joined_at = time.monotonic()
                self.joined.set()
                self._settled.set()
                self._log.info('Joined the upstream, transport %s', self._client.transport())
                self._tell('connected', transport=self._client.transport())
            case 'pong' | 'posted' | 'refused':
                # Not get(): the connection may end before the greenlet that asked goes on.
                asked = self._asked.pop(str(message.get('ref')), None)
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
