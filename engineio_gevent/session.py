"""One connection, from its beginning to its single end.

Everything that belongs to a connection belongs to its session and ends with it, so a late callback
of an old connection cannot change a new one. :mod:`.connecting` opens it. :mod:`.lifecycle` holds
its phase.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import gevent
from gevent import getcurrent
from gevent._hub_local import get_hub_if_exists

from . import other_threads, process
from .exceptions import ConnectionClosed
from .handler_calls import HandlerCalls
from .incoming import Incoming
from .lifecycle import (
    CLOSED,
    CLOSED_EARLY,
    ENDING,
    FAILED,
    FORKED,
    GREETING,
    LEAVING,
    LOST,
    LOST_EARLY,
    OPEN,
    OPENING,
    REFUSING,
    Event,
)
from .net.deadlines import timer_seconds
from .net.wakeup import WakeUp
from .options import Options, Reason, State
from .outgoing import THREAD_ENDED, interrupts_sending
from .transports.base import Transport
from .transports.caller_session import HTTPSession
from .transports.cookies import Cookies
from .transports.route import Route

#: Seconds that ``disconnect()`` waits for a server that accepts none of the queued data, or does
#: not answer the CLOSE packet.
CLOSE_TIMEOUT = 3.0
#: Seconds that ``disconnect()`` takes at most, however slowly the server accepts the queued data.
FAREWELL_LIMIT = 30.0
#: Seconds that ``disconnect(abort=True)`` waits for the server to answer a CLOSE packet over
#: polling, and then for the disconnect handler. A failed ``connect()`` waits for the server, too.
ABORT_TIMEOUT = 0.25


class DisconnectedEarly(ConnectionClosed):
    """``disconnect()`` was called while another greenlet was connecting."""

    def __init__(self) -> None:
        super().__init__('disconnect() was called while connecting')


class Session(Incoming):
    """One connection to a server.

    :param options: the client's options.
    :param handlers: the client's handlers by event. They are looked up when an event happens.
    :param route: the way to the server.
    :param on_end: called, perhaps in the hub, when ``connect()`` has no reason to go on. It is
                   forgotten at :meth:`finish_connecting`.
    """

    # Mutable, except _route. Changed in the hub's own thread only.
    __slots__ = (
        '_closed',
        '_leaving_greenlet',
        '_on_end',
        '_orphan_ended',
        '_reason',
        '_route',
        'error',
        'handle_sigint',
    )

    def __init__(
        self,
        options: Options,
        handlers: Mapping[str, Callable[..., Any]],
        route: Route,
        on_end: Callable[[], None] | None = None,
    ) -> None:
        super().__init__(options, HandlerCalls(options, handlers), route.netloc)
        self._route = route
        self._on_end = on_end
        self._closed: WakeUp | None = None
        self._leaving_greenlet: Any = None  # the one that called disconnect(), while it closes
        self._reason: str = Reason.TRANSPORT_ERROR  # for the disconnect handler
        self._orphan_ended = False  # whether another thread has ended it in place of its own
        self.handle_sigint = options.handle_sigint
        #: What ended the connection, if neither side closed it.
        self.error: Exception | None = None

    # Facts

    @property
    def state(self) -> State:
        """See :attr:`.Client.state`."""
        return self.phase.state

    @property
    def http(self) -> Cookies | HTTPSession | None:
        """See :attr:`.Client.http`."""
        own = self._route.cookies if self.handshake_transport == 'polling' else None
        return self._route.http_session or own

    @property
    def sid(self) -> str | None:
        """The session id, until the disconnect handler has run."""
        if self.open_packet is None or self.phase in (CLOSED, FORKED):
            return None
        return self.open_packet.sid

    @property
    def base_url(self) -> str:
        """The URL, for the transport of the handshake, without a timestamp."""
        return self.url(self.handshake_transport or 'websocket')

    def url(self, transport: str) -> str:
        """The URL of this connection for a transport, without a timestamp."""
        sid = None if self.open_packet is None or transport != 'polling' else self.open_packet.sid
        return self._route.url(transport, sid, stamped=False)

    # Opening, in the greenlet that calls connect()

    def attach(self, transport: Transport) -> None:
        """Use a transport, which is not open yet."""
        process.add(self)
        super().attach(transport)

    def wait_opened(self) -> None:
        """Wait for the OPEN packet, or the end of the handshake. No other greenlet runs after it.

        :raises Exception: what ended the handshake.
        """
        if self.phase is OPENING:
            self._wait_for_open_packet()
        self.raise_if_failed()

    def raise_if_failed(self) -> None:
        """Check that ``connect()`` may go on.

        :raises Exception: what ended the handshake.
        """
        if self.phase in (FAILED, FORKED):
            assert self.error is not None
            raise self.error

    def greet(self) -> None:
        """Call the connect handler, and then handle the messages that were held back.

        :raises BaseException: what the handler raised.
        """
        self.move(Event.GREET)
        if not self.phase.alive:
            # Lost or closed meanwhile. The other handlers start after the connect handler.
            self._call_disconnect_handler(at_once=False)
        self._calls.connect()
        if self.move(Event.GREETED):
            self._calls.release()

    def fail(self) -> bool:
        """``connect()`` raises: close the connection without calling a handler.

        :returns: False if the connection has been lost or closed on its own, and its disconnect
                  handler runs, or has run.
        """
        if not self.move(Event.FAIL):
            return False
        try:
            if self.phase is REFUSING and self.open_packet and self.transport:
                self.transport.finish(ABORT_TIMEOUT)
        finally:
            if self.phase is REFUSING:
                self.move(Event.FAREWELL_DONE)
            self._release()
            self._finish_closed()
        return True

    def start_transport(self) -> None:
        """Carry packets until the end."""
        if self.phase.alive and self.transport is not None:
            self.transport.start()

    def finish_connecting(self) -> None:
        """``connect()`` is done."""
        self._on_end = None
        self.start_transport()

    # The end

    def on_lost(self, transport: Transport, error: Exception) -> None:
        """The transport failed, or the server closed it."""
        if transport is not self.transport:
            return
        if self.phase is LEAVING:
            self.error = error  # the reason for the disconnect handler stays the application's
        else:
            self._end(Event.LOSS, Reason.TRANSPORT_ERROR, error)

    def _end(self, event: Event, reason: str, error: Exception | None) -> None:
        """The one end of a connection. It never waits, so the hub may call it.

        :param reason: for the disconnect handler.
        :param error: the cause, if neither side closed the connection.
        """
        if not self.move(event):
            return
        self.error = self.error or error
        self._reason = reason
        phase = self.phase
        if phase is FAILED:  # connect() does the rest
            self._wake_connect()
            return
        try:
            self._release()
        finally:
            if phase is not LOST_EARLY and phase is not CLOSED_EARLY:
                self._call_disconnect_handler()

    def _call_disconnect_handler(self, at_once: bool = True) -> None:
        """Run the disconnect handler, after the messages that were held back.

        :param at_once: see :meth:`.HandlerCalls.disconnect`.
        """
        self._calls.release()
        self._calls.disconnect(self._reason, self._handle, self._finish, at_once)
        if self.error is not None:
            self.info('Connection to %s ended: %s', self._route.netloc, self.error)

    def _release(self) -> None:
        """Give back everything that the loop or the operating system holds for the connection."""
        process.discard(self)
        try:
            if self._heartbeat is not None:
                self._heartbeat.stop()
            if self.transport is not None:
                self.transport.close()
        finally:
            if self._on_end is not None:
                self._on_end()

    def _handle(self) -> None:
        """The disconnect handler begins: the client may connect again."""
        self.move(Event.HANDLE)

    def _finish(self) -> None:
        """The disconnect handler has run: the connection is over."""
        self.move(Event.HANDLED)
        self._finish_closed()

    def _finish_closed(self) -> None:
        self._detach()
        self._on_end = None
        if self._closed is not None:
            self._closed.set()

    def disconnect(self, abort: bool = False, reason: str | None = None) -> None:
        """Close the connection; see :meth:`.Client.disconnect`."""
        if self.phase in (CLOSED, FORKED):
            return
        if getcurrent() is get_hub_if_exists() or interrupts_sending():
            # A signal handler, most likely. It must not wait: a greenlet does it.
            gevent.spawn(self.disconnect, abort, reason)
            return
        if not other_threads.is_own_hub(self._hub):
            self._disconnect_from_other_thread(abort, reason)
            return
        self._finish_interrupted_end()
        if self.phase in (GREETING, OPEN):
            self._leave(reason or Reason.CLIENT_DISCONNECT, CLOSE_TIMEOUT, FAREWELL_LIMIT, abort)
            self.wait(ABORT_TIMEOUT if abort else None)
            self.flush_log()
            return
        moved = self.move(Event.DISCONNECT)
        if self.phase in (FAILED, REFUSING):  # connect() does the rest, and tries nothing else
            self.error = DisconnectedEarly()
            self._wake_connect()
            if moved and self._on_end is not None:
                self._on_end()
        elif abort and self.phase is LEAVING and self.transport is not None:
            self.transport.close(1000)  # another greenlet sends what is queued: that ends now
        if not self._calls.in_handler():
            # Another greenlet closes the connection already, or the server has.
            self.wait(ABORT_TIMEOUT if abort else CLOSE_TIMEOUT)

    def _leave(
        self, reason: str, timeout: float, limit: float | None = None, abort: bool = False
    ) -> None:
        """Send what is queued, or drop it, and a CLOSE packet; then close.

        :param timeout: see :meth:`.Transport.finish`.
        :param limit: likewise.
        """
        assert self.transport is not None
        self.take_from_other_threads()
        self._reason = reason
        self._leaving_greenlet = getcurrent()
        try:
            self.move(Event.DISCONNECT)
            if self._on_end is not None:
                self._on_end()  # an upgrade must not take the queue away from the farewell
            if abort:
                self.transport.abort(ABORT_TIMEOUT)
            else:
                self.transport.finish(timeout, limit)
            self.info('Sending packet %s data %s', 'CLOSE', '')
        finally:
            self._end_farewell()

    def leave_quickly(self) -> None:
        """``connect()`` was interrupted after the connect handler: close within ABORT_TIMEOUT."""
        self._leave(Reason.CLIENT_DISCONNECT, ABORT_TIMEOUT)

    def _end_farewell(self) -> None:
        if self.phase is LEAVING:
            self._calls.drop_held()
            self._end(Event.FAREWELL_DONE, self._reason, None)
        self._leaving_greenlet = None

    def _finish_interrupted_end(self) -> None:
        """Ctrl-C may have interrupted the end of the connection anywhere: do the rest of it."""
        if self.phase is LEAVING and self._leaving_greenlet is getcurrent():
            self._end_farewell()
        elif self.phase in (LOST, ENDING) and not self._calls.ending:
            try:
                self._release()
            finally:
                self._call_disconnect_handler()

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until the disconnect handler has run. In that handler it returns at once.

        :param timeout: in seconds. None, the default, waits for as long as it takes.
        :returns: whether the disconnect handler has run.
        """
        if self.phase in (CLOSED, FORKED) or self._calls.in_disconnect_handler():
            return self.phase is CLOSED
        if not other_threads.is_own_hub(self._hub):
            other_threads.call_in_hub(self._inbox, timeout, self.wait, timeout)
            if self._is_orphaned():
                raise RuntimeError(THREAD_ENDED)
        else:
            if self._closed is None:
                self._closed = WakeUp()
            self._closed.wait(timer_seconds(timeout))
        return self.phase is CLOSED

    # Other native threads, and forks

    def _disconnect_from_other_thread(self, abort: bool, reason: str | None) -> None:
        """Let a greenlet of the connection's own thread do it. That thread may be busy for long."""
        if not self._is_orphaned():
            limit = ABORT_TIMEOUT if abort else CLOSE_TIMEOUT
            other_threads.call_in_hub(self._inbox, limit, self.disconnect, abort, reason)
        if self._is_orphaned() and self._end_orphan(reason):
            self._calls.disconnect_here(self._reason, self._finish)

    def _end_orphan(self, reason: str | None) -> bool:
        """Do what the thread that has ended would have done, but send nothing. It never waits.

        :returns: whether the caller has to call the disconnect handler.
        """
        with other_threads.one_at_a_time():
            if self._orphan_ended:
                return False
            self._orphan_ended = True
            self._closed = None  # who waits for it is a greenlet of the thread that has ended
            was = self.phase
            self.move(Event.THREAD_ENDED)
            process.discard(self)
            if self.transport is not None:
                self.transport.abandon(wake=False)
            if not was.over and was not in (LOST, ENDING):
                self.error = ConnectionClosed(THREAD_ENDED)
                self._reason = reason or Reason.CLIENT_DISCONNECT
            if self.phase is CLOSED:
                self._finish_closed()
                return False
            return self.move(Event.HANDLE)

    def abandon(self) -> None:
        """In a forked child: the connection belongs to the parent process. Send nothing."""
        self.move(Event.FORK)
        self._calls.abandon()
        self.error = self.error or ConnectionClosed('the process forked while connecting')
        if self._heartbeat is not None:
            self._heartbeat.stop()
        if self.transport is not None:
            # The greenlets of other threads do not exist here.
            self.transport.abandon(wake=other_threads.is_own_hub(self._hub))
        if self._on_end is not None:
            self._on_end()
        self._wake_connect()
        self._finish_closed()
