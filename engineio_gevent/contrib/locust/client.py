"""The Engine.IO client of a Locust user. It reports to Locust, and can wait for answers."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar, overload

import gevent
from gevent.event import Event
from gevent.hub import get_hub

from ...client import Client
from ...disconnect_handler import call_disconnect
from ...net.deadlines import timer_seconds
from ...protocol.packet import encode_message, parse_text
from .awaited import Awaited, Match
from .failures import Failure
from .reports import Reports, Stopwatch

_Handler = TypeVar('_Handler', bound=Callable[..., Any])

#: Default timeout of a call, in seconds.
DEFAULT_TIMEOUT = 10.0


class EngineIOClient(Client):
    """An Engine.IO client that reports to Locust.

    A failed call is reported and returns None. Only :meth:`connect` raises, and calls with a
    mistake in the scenario, such as data that cannot be sent.

    :param reports: reports to Locust.
    :param name_of: a function that returns the name for the row ``recv`` of a message.
    :param options: options of :class:`engineio_gevent.Client`.
    """

    def __init__(self, reports: Reports, name_of: Callable[[Any], str], **options: Any) -> None:
        # JSON is parsed here, where the length of its text is still known.
        self._parses = options.pop('parse_json', True)
        super().__init__(**options, parse_json=False)
        self._report = reports
        self._name_of = name_of
        self._application: dict[str, Callable[..., Any]] = {}
        self._awaited: list[Awaited] = []
        self._held: deque[tuple[Any, int]] | None = None
        self._handshake = Stopwatch()
        self._handshake_ended: float | None = None
        self._greeted_by: str | None = None  # the transport whose handshake it was
        self._usable = Event()
        #: Called after an unexpected disconnect.
        self.on_lost: Callable[[], None] = _nothing
        #: Whether the user is reconnecting. Calls wait for the connection, within their timeout.
        self.reconnecting = False
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
        self._usable.set()
        if 'connect' in self._application:
            self._application['connect']()
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
        self._take(message, length, arrived)
        if 'message' in self._application:
            self._application['message'](message)

    def _take(self, message: Any, length: int, arrived: float) -> None:
        for awaited in self._awaited:
            if awaited.takes(message):
                self._awaited.remove(awaited)
                awaited.arrive(message, length, arrived)
                self._hold()
                return
        if self._held is not None:
            self._held.append((message, length))
        else:
            self._count(message, length)

    def _hold(self) -> None:
        """Keep what comes before the greenlet that was waiting has run, and may wait for more."""
        if self._held is None:
            self._held = deque()
        # After the callback of the event, which runs that greenlet until it waits again.
        get_hub().loop.run_callback(self._release)

    def _release(self) -> None:
        held, self._held = self._held, None
        for message, length in held or ():
            self._count(message, length)

    def _count(self, message: Any, length: int, name: str | None = None) -> None:
        self._report(
            'recv', self._name_of(message) if name is None else name,
            length=length, response=message,
        )  # fmt: skip

    def _on_disconnect(self, reason: str) -> None:
        self._usable.clear()
        wished = reason not in (self.reason.SERVER_DISCONNECT, self.reason.TRANSPORT_ERROR)
        waiting, self._awaited = self._awaited, []
        for awaited in waiting:
            awaited.fail(Failure(f'disconnected while waiting: {reason}'))
        if not wished:
            self._report('disconnect', reason, error=self.disconnect_error or Failure(reason))
            self.on_lost()
        if 'disconnect' in self._application:
            call_disconnect(self._application['disconnect'], reason)

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
                self._usable.clear()
                if isinstance(exc, (Exception, gevent.Timeout)):
                    self._report_connect(exc)
            raise
        self._report_connect()
        self._report_upgrade()

    def _report_connect(self, error: BaseException | None = None) -> None:
        self._report(
            'connect', self._greeted_by or (self.transports or ['polling'])[0], error=error,
            milliseconds=self._handshake.milliseconds(self._handshake_ended),
            started=self._handshake.started,
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

    @property
    def usable(self) -> bool:
        """Whether messages can be sent."""
        return self._usable.is_set()

    # Calls

    def send(self, data: Any, name: str = 'message') -> None:
        """Send a message. Reports ``send``, without a response time.

        :param data: a message for :meth:`engineio_gevent.Client.send`.
        :param name: the name of the row in the report.
        :raises TypeError: the data has a type that cannot be sent.
        :raises ValueError: the text cannot be sent.
        """
        length = 0
        try:
            length = self._transmit(data, self.request_timeout)
        except Exception as exc:
            self._report('send', name, error=exc)
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
    ) -> Any:
        """Send a message and wait for the answer. Reports ``request``, with the round-trip time.

        :param data: a message for :meth:`engineio_gevent.Client.send`.
        :param match: recognises the answer: a function of a message, or a value to compare with.
                      None, the default, accepts the next message not claimed by another call.
        :param timeout: seconds; None waits without a limit. The default is 10.
        :param name: the name of the row in the report.
        :returns: the answer, or None after a failure.
        :raises TypeError: the data has a type that cannot be sent.
        :raises ValueError: the text cannot be sent.
        """
        watch = Stopwatch()
        awaited = Awaited(match)
        self._awaited.append(awaited)
        try:
            self._transmit(data, timeout)
            awaited.wait(timeout, watch)
        except (Exception, gevent.Timeout) as exc:
            self._report(
                'request', name, milliseconds=watch.milliseconds(), started=watch.started,
                error=exc,
            )  # fmt: skip
            if not isinstance(exc, Failure):
                raise
            return None
        finally:
            self._forget(awaited)
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
        awaited = Awaited(match)
        for index, (message, length) in enumerate(self._held or ()):
            if self._held is not None and awaited.takes(message):
                del self._held[index]
                self._count(message, length, name)
                return message
        watch = Stopwatch()
        self._awaited.append(awaited)
        try:
            self._wait_until_usable(timeout)
            awaited.wait(timeout, watch)
        except (Exception, gevent.Timeout) as exc:
            self._report('recv', name, error=exc, started=watch.started)
            if not isinstance(exc, Failure):
                raise
            return None
        finally:
            self._forget(awaited)
        self._count(awaited.message, awaited.length, name)
        return awaited.message

    def _transmit(self, data: Any, timeout: float | None) -> int:
        """Send; returns the length in bytes."""
        encoded = encode_message(data, self._dumps)
        late = None if timeout is None else Failure(f'not sent within {timeout:g} seconds')
        # The wait for a connection, and the wait at the write limit.
        with gevent.Timeout(timer_seconds(timeout), late):
            self._wait_until_usable(timeout)
            if isinstance(encoded, bytes):
                super().send(encoded)
                return len(encoded)
            text = encoded[1:]  # without the packet's type
            super().send(text)
            return _size(text)

    def _wait_until_usable(self, timeout: float | None) -> None:
        if not self.usable and not (
            self.reconnecting and self._usable.wait(timer_seconds(timeout))
        ):
            raise Failure('not connected')

    def _forget(self, awaited: Awaited) -> None:
        if awaited in self._awaited:
            self._awaited.remove(awaited)


def _size(text: str) -> int:
    """Its bytes in UTF-8."""
    return len(text) if text.isascii() else len(text.encode('utf-8', 'replace'))


def _nothing() -> None:
    pass
