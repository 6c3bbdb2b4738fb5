"""The Socket.IO client of a Locust user. It reports to Locust."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import gevent
from socketio.exceptions import SocketIOError

from ..socketio import Client, EngineIOClient
from .failures import Failure
from .reports import Reports, Stopwatch

#: Events that are python-socketio's own, not the server's messages.
_OWN = frozenset({'connect', 'connect_error', 'disconnect', '__disconnect_final'})


class SocketIOClient(Client):
    """A ``socketio.Client`` that reports to Locust.

    A failed call is reported and returns None. Only :meth:`connect` raises, and calls with a
    mistake in the scenario, such as data that is not JSON.

    :param reports: reports to Locust.
    :param options: options of :class:`engineio_gevent.contrib.socketio.Client`.
    """

    eio: _CountingClient

    def __init__(self, reports: Reports, **options: Any) -> None:
        super().__init__(**options)
        self._report = reports
        #: Timeout of the namespaces when python-socketio reconnects, in seconds.
        self.wait_timeout: float = 1.0
        #: Whether the server ended the last connection.
        self.sent_away: bool = False
        self._incoming = 0  # bytes of the message that is being taken
        # The greenlets in send() and in call(), which upstream does by emit(); of a call,
        # when its answer came, and the bytes of that.
        self._senders: set[Any] = set()
        self._callers: dict[Any, tuple[float, int] | None] = {}

    def _engineio_client_class(self) -> type[EngineIOClient]:
        return _CountingClient

    # The connection

    def connect(self, *args: Any, **kwargs: Any) -> None:
        """Connect, like ``socketio.Client.connect``.

        Reports ``connect``; the time includes the upgrade. Attempts to reconnect are reported, too.
        """
        watch = Stopwatch()
        self.sent_away = False
        if gevent.getcurrent() is self._reconnect_task:  # upstream passes none
            kwargs['wait_timeout'] = self.wait_timeout
        try:
            super().connect(*args, **kwargs)
        except (Exception, gevent.Timeout) as exc:
            self._report_connect(watch, exc)
            raise
        self._report_connect(watch)

    def _report_connect(self, watch: Stopwatch, error: BaseException | None = None) -> None:
        self._report(
            'connect', (self.eio.transports or ['polling'])[0],
            milliseconds=watch.milliseconds(), started=watch.started, error=error,
        )  # fmt: skip

    # What comes

    def _handle_eio_message(self, data: str | bytes) -> None:
        size = len(data if isinstance(data, bytes) else data.encode('utf-8', 'replace'))
        # A binary event comes in several pieces.
        self._incoming = size + (self._incoming if self._binary_packet else 0)
        super()._handle_eio_message(data)

    def _trigger_event(self, event: str, namespace: str, *args: Any) -> Any:
        if event not in _OWN:
            self._report('recv', str(event), length=self._incoming, response=args)
        elif event == 'disconnect' and args[:1] != (self.reason.CLIENT_DISCONNECT,):
            self.sent_away = args[:1] == (self.reason.SERVER_DISCONNECT,)
            reason = str(args[0]) if args else 'disconnect'
            self._report('disconnect', reason, error=self.eio.disconnect_error or Failure(reason))
        return super()._trigger_event(event, namespace, *args)

    # What goes

    def emit(
        self,
        event: str,
        data: Any = None,
        namespace: str | None = None,
        callback: Callable[..., Any] | None = None,
    ) -> None:
        """Emit an event, like ``socketio.Client.emit``.

        Reports ``emit`` under the event's name, without a response time.
        """
        me = gevent.getcurrent()
        if me in self._senders:
            super().emit(event, data, namespace, callback)
        elif me in self._callers and callback is not None:
            answered = callback

            def note(*args: Any) -> None:
                if me in self._callers:  # it may have given up
                    self._callers[me] = (time.perf_counter(), self._incoming)
                answered(*args)

            super().emit(event, data, namespace, note)
        else:
            self._counted('emit', str(event), super().emit, event, data, namespace, callback)

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
        me = gevent.getcurrent()
        self._senders.add(me)
        try:
            self._counted('send', name, super().send, data, namespace, callback)
        finally:
            self._senders.discard(me)

    def _counted(
        self, request_type: str, name: str, function: Callable[..., Any], *args: Any
    ) -> None:
        me = gevent.getcurrent()
        self.eio.sent[me] = 0
        try:
            function(*args)
        except Exception as exc:
            self._report(request_type, name, error=exc)
            if not isinstance(exc, SocketIOError):
                raise
        else:
            self._report(request_type, name, length=self.eio.sent[me])
        finally:
            del self.eio.sent[me]

    def call(
        self,
        event: str,
        data: Any = None,
        namespace: str | None = None,
        timeout: float | None = 60,
    ) -> Any:
        """Emit an event and wait for the acknowledgement, like ``socketio.Client.call``.

        Reports ``call``, with the round-trip time. It is not reported as ``emit``.

        :returns: the data of the acknowledgement, or None after a failure.
        """
        me = gevent.getcurrent()
        self._callers[me] = None
        watch = Stopwatch()
        try:
            answer = super().call(event, data, namespace, timeout)
            at, length = self._callers[me] or (time.perf_counter(), 0)
        except (Exception, gevent.Timeout) as exc:
            self._report(
                'call', str(event), milliseconds=watch.milliseconds(), started=watch.started,
                error=exc,
            )  # fmt: skip
            if not isinstance(exc, SocketIOError):
                raise
            return None
        finally:
            self._callers.pop(me, None)
        self._report(
            'call', str(event), milliseconds=watch.milliseconds(at), started=watch.started,
            length=length, response=answer,
        )  # fmt: skip
        return answer


class _CountingClient(EngineIOClient):
    """The transport; it knows how many bytes of messages it was given to send."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.sent: dict[Any, int] = {}  # by greenlet: others send while one waits

    def send(self, data: Any) -> None:
        me = gevent.getcurrent()
        if me in self.sent:
            self.sent[me] += len(data.encode('utf-8', 'replace') if isinstance(data, str) else data)
        super().send(data)
