"""The Engine.IO client of a Locust user. It reports to Locust, and can wait for answers."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar, overload

import gevent

from ...client import Client
from ...disconnect_handler import call_disconnect
from ...net.deadlines import timer_seconds
from ...options import total_timeout
from ...protocol.packet import encode_message, parse_text
from .awaited import Awaited, Check, Incoming, Match, verify
from .failures import Failure, TimedOut
from .presence import Presence
from .reports import Reports
from .stopwatch import Stopwatch

_Handler = TypeVar('_Handler', bound=Callable[..., Any])

#: Default timeout of a call, in seconds.
DEFAULT_TIMEOUT = 10.0


class EngineIOClient(Client):
    """An Engine.IO client that reports to Locust.

    A failed call is reported, lasts at least 0.1 seconds, and returns None. Only :meth:`connect`
    raises, and calls with a mistake in the scenario, such as data that cannot be sent. When the
    user has left, a call ends a greenlet that the scenario has spawned.

    :param reports: reports to Locust.
    :param name_of: a function that returns the name for the row ``recv`` of a message.
    :param presence: lets calls wait for the connection.
    :param options: options of :class:`engineio_gevent.Client`.
    """

    def __init__(
        self,
        reports: Reports,
        name_of: Callable[[Any], str],
        presence: Presence,
        **options: Any,
    ) -> None:
        # JSON is parsed here, where the length of its text is still known.
        self._parses = options.pop('parse_json', True)
        super().__init__(**options, parse_json=False)
        self._report = reports
        self._name_of = name_of
        self._application: dict[str, Callable[..., Any]] = {}
        self._incoming = Incoming(functools.partial(reports.guard, self._count))
        self._handshake = Stopwatch()
        self._handshake_ended: float | None = None
        self._greeted_by: str | None = None  # the transport whose handshake it was
        #: Whether messages can be sent.
        self.usable: bool = False
        self._presence = presence
        #: Called after an unexpected disconnect.
        self.on_lost: Callable[[], None] = _nothing
        super().on('connect', self._on_connect)
        super().on('message', self._on_message)
        super().on('disconnect', self._on_disconnect)

    # Handlers: those of the application run after our own

    @overload
    def on(self, event: str) -> Callable[[_Handler], _Handler]: ...

    @overload
    def on(self, event: str, handler: _Handler) -> None: ...

    def on(self, event: str, handler: Any = None) -> Any:
        """Register the handler of an event, like :meth:`engineio_gevent.Client.on`.

        The handler of ``'message'`` receives all messages, including those that a call waits for.
        """
        if event not in self.event_names:
            raise ValueError(f'Invalid event {event!r}: not one of {", ".join(self.event_names)}')

        def register(handler: _Handler) -> _Handler:
            self._application[event] = handler
            return handler

        if handler is None:
            return register
        register(handler)
        return None

    def _on_connect(self) -> None:
        ended = time.perf_counter()
        self._greeted_by = self.current_transport
        self.usable = True
        self._presence.change()
        if 'connect' in self._application:
            self._report.guard(self._application['connect'])
        self._handshake_ended = ended

    def _on_message(self, data: str | bytes) -> None:
        arrived = time.perf_counter()
        message: Any = data
        if isinstance(data, bytes):
            length = len(data)
        else:
            length = _size(data)
            if self._parses:
                message = parse_text(data, self._loads)
        self._incoming.take(message, length, arrived)
        if 'message' in self._application:
            self._report.guard(self._application['message'], message)

    def _count(self, message: Any, length: int, name: str | None = None) -> None:
        self._report(
            'recv', self._name_of(message) if name is None else name,
            length=length, response=message,
        )  # fmt: skip

    def _on_disconnect(self, reason: str) -> None:
        self.usable = False
        self._presence.change(returning=False)
        self._incoming.lose(reason)
        error = self.disconnect_error or Failure(reason)
        unexpected = reason in (self.reason.SERVER_DISCONNECT, self.reason.TRANSPORT_ERROR)
        if unexpected:
            self.on_lost()
        # Listeners may wait, and raise: the state has changed before.
        try:
            if unexpected:
                self._report('disconnect', reason, error=error)
        finally:
            if 'disconnect' in self._application:
                self._report.guard(call_disconnect, self._application['disconnect'], reason)

    # The connection

    def connect(
        self,
        url: str,
        headers: Mapping[str, str] | None = None,
        transports: str | Iterable[str] | None = None,
        engineio_path: str = 'engine.io',
    ) -> None:
        """Connect, like :meth:`engineio_gevent.Client.connect`.

        Reports ``connect`` and ``upgrade``.

        :raises ConnectionError: the connection failed.
        """
        self._handshake, self._handshake_ended = Stopwatch(), None
        self._greeted_by = None
        try:
            super().connect(url, headers, transports, engineio_path)
        except BaseException as exc:  # a time-out of the scenario's is a failed connect, too
            if self._handshake_ended is not None:
                self._report_connect()  # the upgrade was cut short
            else:
                self.usable = False
                if isinstance(exc, (Exception, gevent.Timeout)):
                    self._report_connect(exc)
            raise
        self._report_connect()
        self._report_upgrade()

    def _report_connect(self, error: BaseException | None = None) -> None:
        self._report.connect(
            self._greeted_by or (self.transports or ['polling'])[0], self._handshake,
            error, until=self._handshake_ended, timeout=total_timeout(self.request_timeout),
        )  # fmt: skip

    def _report_upgrade(self) -> None:
        if not (
            self.transports
            and self.transports[0] == 'polling'
            and 'websocket' in self.transports
            and 'websocket' in (self.upgrades or ())
        ):
            return
        failed = self.current_transport != 'websocket'
        if failed and self.state != 'connected':
            return  # the end of the connection is reported
        took = self._handshake.milliseconds()
        until = self._handshake.milliseconds(self._handshake_ended)
        self._report(
            'upgrade', 'websocket', milliseconds=took - until,
            started=self._handshake.started + until / 1000,
            error=Failure('still on polling') if failed else None,
        )  # fmt: skip

    # Calls

    def send(self, data: Any, name: str = 'message') -> None:
        """Send a message. Reports ``send``, without a response time.

        :param data: a message for :meth:`engineio_gevent.Client.send`.
        :param name: the name of the row in the report.
        :raises TypeError: the data has a type that cannot be sent.
        :raises ValueError: the text cannot be sent.
        """
        watch = Stopwatch()
        try:
            encoded = encode_message(data, self._dumps)
            timeout = total_timeout(self.request_timeout)
            self._wait_until_usable(timeout, watch)
            length = self._transmit(encoded, timeout, watch)
        except Exception as exc:
            self._report.failed('send', name, exc, watch)
            if not isinstance(exc, Failure):
                raise  # the scenario is wrong, not the server
        else:
            self._report('send', name, length=length)

    def request(
        self,
        data: Any,
        match: Match = None,
        timeout: float | None = DEFAULT_TIMEOUT,
        name: str = 'message',
        check: Check = None,
    ) -> Any:
        """Send a message and wait for the answer. Reports ``request``, with the round-trip time.

        :param data: a message for :meth:`engineio_gevent.Client.send`.
        :param match: recognises the answer: a function of a message, or a value to compare with.
                      None, the default, accepts the next message not claimed by another call.
        :param timeout: seconds; None waits without a limit. The default is 10.
        :param name: the name of the row in the report.
        :param check: a function of the answer. The request fails if it raises, or returns something
                      false other than None.
        :returns: the answer, or None after a failure.
        :raises TypeError: the data has a type that cannot be sent.
        :raises ValueError: the text cannot be sent.
        """
        watch = Stopwatch()
        awaited = Awaited(match)
        try:
            encoded = encode_message(data, self._dumps)
            self._wait_until_usable(timeout, watch)
            self._incoming.add(awaited)
            self._transmit(encoded, timeout, watch)
            awaited.wait(timeout, watch)
            verify(check, awaited.message)
        except (Exception, gevent.Timeout) as exc:
            self._report.failed('request', name, exc, watch, awaited)
            if not isinstance(exc, Failure):
                raise
            return None
        finally:
            self._incoming.forget(awaited)
        self._report(
            'request', name, milliseconds=watch.milliseconds(awaited.at), started=watch.started,
            length=awaited.length, response=awaited.message,
        )  # fmt: skip
        return awaited.message

    def expect(
        self,
        match: Match = None,
        timeout: float | None = DEFAULT_TIMEOUT,
        name: str = 'message',
    ) -> Any:
        """Wait for a message that the server sends on its own.

        Reports ``recv``, without a response time. The call sees messages received after it began,
        and messages received in the same batch as the previous call's answer.

        :param match: recognises the message, like that of :meth:`request`.
        :param timeout: seconds until it fails; None waits without a limit. The default is 10.
        :param name: the name of the row in the report.
        :returns: the message, or None after a failure.
        """
        watch = Stopwatch()
        awaited = Awaited(match)
        try:
            self._incoming.expect(awaited)
            if not awaited.at:
                self._wait_until_usable(timeout, watch)
                awaited.wait(timeout, watch)
        except (Exception, gevent.Timeout) as exc:
            self._report.failed('recv', name, exc, watch)
            if not isinstance(exc, Failure):
                raise
            return None
        finally:
            self._incoming.forget(awaited)
        self._count(awaited.message, awaited.length, name)
        return awaited.message

    def _wait_until_usable(self, timeout: float | None, watch: Stopwatch) -> None:
        if not self.usable:
            self._presence.wait(lambda: self.usable, timeout, watch)

    def _transmit(self, encoded: str | bytes, timeout: float | None, watch: Stopwatch) -> int:
        """Send; returns the length in bytes. It may wait at the write limit."""
        late = None if timeout is None else TimedOut(f'not sent within {timeout:g} seconds')
        with gevent.Timeout(timer_seconds(watch.left(timeout)), late):
            if isinstance(encoded, bytes):
                super().send(encoded)
                return len(encoded)
            text = encoded[1:]  # without the packet's type
            super().send(text)
            return _size(text)


def _size(text: str) -> int:
    """Its bytes in UTF-8."""
    return len(text) if text.isascii() else len(text.encode('utf-8', 'replace'))


def _nothing() -> None:
    pass
