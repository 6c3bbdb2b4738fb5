"""The Socket.IO client of a Locust user. It reports to Locust, and can wait for events."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable
from typing import Any

import gevent
from socketio.exceptions import BadNamespaceError, ConnectionError, SocketIOError

from ...net.deadlines import timer_seconds
from ...options import total_timeout
from ..socketio import Client
from .awaited import Awaited, Check, Incoming, Match, verify
from .client import DEFAULT_TIMEOUT
from .counting import CountingClient
from .failures import Failure, TimedOut
from .presence import Presence
from .reports import Reports
from .retry_after import requested_delay
from .socketio_events import (
    Arrived,
    awaited_event,
    is_acknowledgement,
    row_name,
    value,
    value_of,
)
from .stopwatch import Stopwatch

#: Events that are python-socketio's own, not the server's messages.
_OWN = frozenset({'connect', 'connect_error', 'disconnect', '__disconnect_final'})

#: Seconds in which a server that disconnects a client from all namespaces does so.
_KICK_SECONDS = 1.0


class SocketIOClient(Client):
    """A ``socketio.Client`` that reports to Locust.

    A failed call is reported, lasts at least 0.1 seconds, and returns None. Only :meth:`connect`
    raises, and calls with a mistake in the scenario, such as data that is not JSON. When the user
    has left, a call ends a greenlet that the scenario has spawned.

    :param reports: reports to Locust.
    :param name_of: a function that returns the name for the row ``recv`` of an event. It takes the
                    event, the namespace and the arguments of the event.
    :param presence: lets calls wait for the connection.
    :param options: options of :class:`engineio_gevent.contrib.socketio.Client`.
    """

    eio: CountingClient

    def __init__(
        self,
        reports: Reports,
        name_of: Callable[..., str],
        presence: Presence,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self._report = reports
        self._name_of = name_of
        #: Timeout of the namespaces when python-socketio reconnects, in seconds.
        self.wait_timeout: float = 1.0
        #: Called when the server has disconnected the user. python-socketio does not reconnect.
        self.on_sent_away: Callable[[], None] = _nothing
        self._presence = presence
        self._online = False
        self._was_lost = False  # and python-socketio is to reconnect
        self._joined_at = 0.0  # when the last namespace was connected
        self._disconnect_greenlet: Any = None  # that of a disconnect handler
        self._incoming = Incoming(functools.partial(reports.guard, self._count))
        # Of the message that is being handled.
        self._length = 0
        self._arrived_at = 0.0
        # Namespaces from which the server has disconnected the user, until that is reported.
        self._kicked_from: list[str] = []

    def _engineio_client_class(self) -> type[CountingClient]:
        return CountingClient

    # The connection

    def connect(self, *args: Any, **kwargs: Any) -> None:
        """Connect, like ``socketio.Client.connect``.

        Reports ``connect``; the time includes the upgrade. Attempts to reconnect are reported, too.
        """
        watch = Stopwatch()
        reconnects = gevent.getcurrent() is self._reconnect_task
        if reconnects:  # upstream passes none
            kwargs['wait_timeout'] = self.wait_timeout
        self._was_lost = False
        try:
            super().connect(*args, **kwargs)
        except (Exception, gevent.Timeout) as exc:
            self._report_connect(watch, exc)
            if reconnects:  # upstream waits as well, but not for as long as the server asks for
                self._reconnect_abort.wait(timer_seconds(requested_delay(exc)))
            raise
        # Not with the connect handlers, which upstream waits for.
        self._report_connect(watch, until=max(self._joined_at, self.eio.connected_at))
        if reconnects and self._was_lost:
            # A listener of that report has waited. This greenlet has to go on.
            raise ConnectionError('the connection was lost at once')

    def _report_connect(
        self, watch: Stopwatch, error: BaseException | None = None, until: float | None = None
    ) -> None:
        transport = (self.eio.transports or ['polling'])[0]
        self._report.connect(transport, watch, error, self.wait_timeout, until)

    def _handle_reconnect(self) -> None:
        try:
            super()._handle_reconnect()
        finally:
            if not self.connected:
                self._presence.change(returning=False)

    def _handle_eio_connect(self) -> None:
        self._online = True
        super()._handle_eio_connect()

    def _handle_connect(self, namespace: str | None, data: Any) -> None:
        self._joined_at = self._arrived_at
        super()._handle_connect(namespace, data)

    def _handle_eio_disconnect(self, reason: str) -> None:
        was_online, self._online = self._online, False
        unexpected = self.connected and was_online and reason != self.reason.CLIENT_DISCONNECT
        error = self.eio.disconnect_error or Failure(reason)
        self._incoming.lose(reason)
        if self.connected and was_online:  # else the server has disconnected the user before
            self._was_lost = self.reconnection and self.eio.state == 'connected'
            self._presence.change(returning=self._was_lost)
        if unexpected:
            self._kicked_from.clear()
            if reason == self.reason.SERVER_DISCONNECT:
                self.on_sent_away()
        # Listeners may wait, and raise: the state has changed before.
        try:
            if unexpected:
                self._report('disconnect', reason, error=error)
        finally:
            super()._handle_eio_disconnect(reason)

    def _handle_disconnect(self, namespace: str | None) -> None:
        namespace = namespace or '/'
        reason = self.reason.SERVER_DISCONNECT
        was_last = False
        if self.connected and namespace in self.namespaces:
            was_last = len(self.namespaces) == 1
            self._incoming.lose(reason, None if was_last else namespace)
            if was_last:
                self._online = False
                self._presence.change(returning=False)
                self._kicked_from.clear()
                self.on_sent_away()
            else:
                if not self._kicked_from:
                    gevent.spawn_later(timer_seconds(_KICK_SECONDS), self._report_kicks)
                self._kicked_from.append(namespace)
                self._presence.change(returning=True)  # perhaps from the others, too
        try:
            if was_last:
                self._report('disconnect', reason, error=Failure(reason))
        finally:
            super()._handle_disconnect(namespace)

    def _wait_until_ended(self) -> None:
        """If the connection is ending, wait until the handlers of that have run."""
        if not self._online:
            self.eio.wait()

    def _report_kicks(self) -> None:
        """Report the namespaces from which the server has disconnected the user.

        It is done a moment later. A server that closes the connection disconnects the user from
        each of them, and that is a single disconnect.
        """
        namespaces, self._kicked_from = self._kicked_from, []
        self._presence.change()
        reason = self.reason.SERVER_DISCONNECT
        for namespace in namespaces:
            self._report('disconnect', row_name(reason, namespace), error=Failure(reason))

    # What comes

    def _handle_eio_message(self, data: str | bytes) -> None:
        size = len(data if isinstance(data, bytes) else data.encode('utf-8', 'replace'))
        # A binary event comes in several pieces.
        self._length = size + (self._length if self._binary_packet else 0)
        self._arrived_at = time.perf_counter()
        super()._handle_eio_message(data)

    def _trigger_event(self, event: str, namespace: str, *args: Any) -> Any:
        if event == 'connect':
            self._presence.change()
        elif event == 'disconnect':
            self._disconnect_greenlet = gevent.getcurrent()
        elif event not in _OWN:
            arrived = Arrived(namespace, event, args)
            self._incoming.take(arrived, self._length, self._arrived_at)
        try:
            return self._report.guard(super()._trigger_event, event, namespace, *args)
        finally:
            if event == 'disconnect':
                self._disconnect_greenlet = None

    def _count(self, arrived: Arrived, length: int, name: str | None = None) -> None:
        namespace, event, args = arrived
        self._report(
            'recv', self._name_of(event, namespace, *args) if name is None else name,
            length=length, response=args,
        )  # fmt: skip

    # Calls

    def emit(
        self,
        event: str,
        data: Any = None,
        namespace: str | None = None,
        callback: Callable[..., Any] | None = None,
        name: str | None = None,
    ) -> None:
        """Emit an event, like ``socketio.Client.emit``.

        Reports ``emit``, without a response time. While the user reconnects, it waits for the
        connection, for at most ``request_timeout`` seconds.

        :param name: the name of the row in the report. The default is the event, after the
                     namespace if that is not ``'/'``.
        """
        self._emit('emit', name or row_name(event, namespace), event, data, namespace, callback)

    def send(
        self,
        data: Any,
        namespace: str | None = None,
        callback: Callable[..., Any] | None = None,
        name: str = 'message',
    ) -> None:
        """Send a ``message`` event, like ``socketio.Client.send``.

        Reports ``send``, without a response time.

        :param name: the name of the row in the report.
        """
        self._emit('send', name, 'message', data, namespace, callback)

    def _emit(
        self,
        request_type: str,
        name: str,
        event: str,
        data: Any,
        namespace: str | None,
        callback: Callable[..., Any] | None,
    ) -> None:
        watch = Stopwatch()
        guarded = callback and functools.partial(self._report.guard, callback)
        try:
            timeout = total_timeout(self.eio.request_timeout)
            length = self._transmit(event, data, namespace, guarded, timeout, watch)
        except Exception as exc:
            self._report.failed(request_type, name, exc, watch)
            if not isinstance(exc, (Failure, SocketIOError)):
                raise  # the scenario is wrong, not the server
        else:
            self._report(request_type, name, length=length)

    def call(
        self,
        event: str,
        data: Any = None,
        namespace: str | None = None,
        timeout: float | None = DEFAULT_TIMEOUT,
        name: str | None = None,
        check: Check = None,
    ) -> Any:
        """Emit an event and wait for the acknowledgement, like ``socketio.Client.call``.

        Reports ``call``, with the round-trip time. It is not reported as ``emit``.

        :param timeout: seconds; None waits without a limit. The default is 10.
        :param name: the name of the row in the report. The default is the event, after the
                     namespace if that is not ``'/'``.
        :param check: a function of the answer. The call fails if it raises, or returns something
                      false other than None.
        :returns: the data of the acknowledgement, or None after a failure.
        """
        awaited = Awaited(is_acknowledgement, 'acknowledgement', namespace or '/')

        def acknowledged(*args: Any) -> None:
            self._incoming.forget(awaited)
            awaited.arrive(value(args), self._length, self._arrived_at)
            self._incoming.hold()

        return self._ask(
            'call', name, event, data, namespace, timeout, check, awaited, acknowledged
        )

    def request(
        self,
        event: str,
        data: Any = None,
        *,
        answer: str,
        match: Match = None,
        namespace: str | None = None,
        timeout: float | None = DEFAULT_TIMEOUT,
        name: str | None = None,
        check: Check = None,
    ) -> Any:
        """Emit an event and wait for the event with which the server answers.

        Reports ``request``, with the round-trip time. The answer is not reported as ``recv``.

        :param answer: the name of the event that is the answer.
        :param match: recognises the answer: a function of its data, or a value to compare with.
                      None, the default, accepts the next event with that name not claimed by
                      another call.
        :param timeout: seconds; None waits without a limit. The default is 10.
        :param name: the name of the row in the report. The default is the event, after the
                     namespace if that is not ``'/'``.
        :param check: a function of the answer. The request fails if it raises, or returns something
                      false other than None.
        :returns: the data of the answer, several arguments as a tuple, or None after a failure.
        """
        awaited = awaited_event(answer, match, namespace)
        return self._ask('request', name, event, data, namespace, timeout, check, awaited, None)

    def _ask(
        self,
        request_type: str,
        name: str | None,
        event: str,
        data: Any,
        namespace: str | None,
        timeout: float | None,
        check: Check,
        awaited: Awaited,
        callback: Callable[..., None] | None,
    ) -> Any:
        watch = Stopwatch()
        name = name or row_name(event, namespace)
        try:
            self._transmit(event, data, namespace, callback, timeout, watch, awaited)
            awaited.wait(timeout, watch)
            answer = value_of(awaited.message)
            verify(check, answer)
        except (Exception, gevent.Timeout) as exc:
            self._report.failed(request_type, name, exc, watch, awaited)
            if not isinstance(exc, (Failure, SocketIOError)):
                raise
            return None
        finally:
            self._incoming.forget(awaited)
        self._report(
            request_type, name, milliseconds=watch.milliseconds(awaited.at), started=watch.started,
            length=awaited.length, response=answer,
        )  # fmt: skip
        return answer

    def expect(
        self,
        event: str,
        match: Match = None,
        timeout: float | None = DEFAULT_TIMEOUT,
        namespace: str | None = None,
        name: str | None = None,
    ) -> Any:
        """Wait for an event that the server emits on its own.

        Reports ``recv``, without a response time. The call sees events received after it began,
        and events received in the same batch as the previous call's answer.

        :param event: the name of the event.
        :param match: recognises the event, like that of :meth:`request`.
        :param timeout: seconds until it fails; None waits without a limit. The default is 10.
        :param name: the name of the row in the report; the default is that of other ``recv`` rows.
        :returns: the data of the event, several arguments as a tuple, or None after a failure.
        """
        watch = Stopwatch()
        awaited = awaited_event(event, match, namespace)
        try:
            self._incoming.expect(awaited)
            if not awaited.at:
                self._wait_until_connected(namespace or '/', timeout, watch)
                awaited.wait(timeout, watch)
        except (Exception, gevent.Timeout) as exc:
            self._report.failed('recv', name or row_name(event, namespace), exc, watch)
            if not isinstance(exc, (Failure, SocketIOError)):
                raise
            return None
        finally:
            self._incoming.forget(awaited)
        self._count(awaited.message, awaited.length, name)
        return value_of(awaited.message)

    def _transmit(
        self,
        event: str,
        data: Any,
        namespace: str | None,
        callback: Callable[..., Any] | None,
        timeout: float | None,
        watch: Stopwatch,
        awaited: Awaited | None = None,
    ) -> int:
        """Emit; returns the length in bytes. It may wait for the connection, and to be sent."""
        self._wait_until_connected(namespace or '/', timeout, watch)
        if awaited is not None:
            self._incoming.add(awaited)
        me = gevent.getcurrent()
        self.eio.sent[me] = 0
        late = None if timeout is None else TimedOut(f'not sent within {timeout:g} seconds')
        try:
            with gevent.Timeout(watch.left(timeout), late):
                super().emit(event, data, namespace, callback)
            return self.eio.sent[me]
        finally:
            del self.eio.sent[me]

    def _wait_until_connected(
        self, namespace: str, timeout: float | None, watch: Stopwatch
    ) -> None:
        if not self._is_connected(namespace):
            if gevent.getcurrent() is self._disconnect_greenlet:
                raise Failure('not connected')  # python-socketio reconnects after the handler
            self._presence.wait(lambda: self._is_connected(namespace), timeout, watch)

    def _is_connected(self, namespace: str) -> bool:
        if not self._online:
            return False
        if namespace in self.namespaces:
            return True
        handles_it = gevent.getcurrent() is self._disconnect_greenlet
        if self.connected and (handles_it or namespace not in self._kicked_from):  # to all others
            raise BadNamespaceError(f'{namespace} is not a connected namespace.')
        return False


def _nothing() -> None:
    pass
