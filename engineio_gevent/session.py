"""One connection, from its handshake to its single close.

Everything that belongs to a connection lives here and dies with it, so a late
callback of an old connection cannot touch a new one.
"""

from __future__ import annotations

import contextvars
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import gevent
from gevent import getcurrent
from gevent._hub_local import get_hub_if_exists
from gevent.event import Event
from gevent.hub import Hub, get_hub

from . import other_threads, process
from .connecting import Connecting, DisconnectedEarly
from .disconnect_handler import call_disconnect
from .dispatcher import get_dispatcher
from .exceptions import ConnectionClosed, HeartbeatTimeout, ProtocolError
from .heartbeat import Heartbeat
from .net.deadlines import timer_seconds
from .options import Options, Reason, State
from .protocol import open_packet, packet, payload
from .protocol.open_packet import OpenPacket
from .protocol.packet import MESSAGE, Encoded
from .transports.base import Packet, Transport
from .transports.http import HTTP, HTTPSession
from .transports.polling import Polling
from .transports.route import Route
from .transports.websocket import WebSocket

#: Seconds of a farewell in which the server takes nothing of what is queued, or does not
#: answer the CLOSE packet after it.
CLOSE_TIMEOUT = 3.0
#: Seconds for a farewell in all, however slowly the server takes what is queued.
FAREWELL_LIMIT = 30.0
#: Seconds for the handler of ``disconnect`` to run where the caller asked for ``abort``.
ABORT_TIMEOUT = 0.25

_THREAD_ENDED = 'the thread that called connect() has ended, or its gevent hub was destroyed'

# How far a session has come; it only ever goes up.
_OPENING = 0  # connect() waits for the handshake
_GREETING = 1  # the connect handler runs; packets wait for it
_OPEN = 2
_CLOSING = 3  # disconnect() says goodbye
_ENDING = 4  # the transport is closed; the disconnect handler is to run
_CLOSED = 5


class Session:
    """One connection to a server.

    :param options: the client's.
    :param handlers: the client's handlers by event, read when an event happens.
    :param route: the way to the server.
    """

    # Mutable, and touched only in the hub's own thread: all but options, handlers, route.
    __slots__ = (
        '_closed',
        '_connecting',
        '_context',
        '_dispatcher',
        '_dropped',
        '_early',
        '_finisher',
        '_handlers',
        '_heartbeat',
        '_hub',
        '_options',
        '_phase',
        '_route',
        'error',
        'forked',
        'handle_sigint',
        'made_http',
        'open_packet',
        'state',
        'transport',
        'transport_name',
    )

    def __init__(
        self, options: Options, handlers: Mapping[str, Callable[..., Any]], route: Route
    ) -> None:
        self._options = options
        self._handlers = handlers
        self._route = route
        self._hub = get_hub()
        self._dispatcher = get_dispatcher()
        self._context = contextvars.copy_context()
        self._phase = _OPENING
        self._connecting: Connecting | None = None
        self._finisher: Any = None  # the greenlet in the disconnect handler
        self._early: list[Any] | None = []
        self._heartbeat: Heartbeat | None = None
        self._closed: Event | None = None
        self._dropped = 0  # messages that the transport did not take, for it had ended
        self.handle_sigint = options.handle_sigint
        #: What carries the packets, until the disconnect handler has run.
        self.transport: Transport | None = None
        #: What does polling's requests, if the connection began with them.
        self.made_http: HTTP | None = None
        #: What the server said of the connection, once it has.
        self.open_packet: OpenPacket | None = None
        #: As the API shows it.
        self.state: State = 'disconnected'
        #: ``'polling'`` or ``'websocket'``.
        self.transport_name: str | None = None
        #: What ended the connection, if that was not one of the two sides' wish.
        self.error: Exception | None = None
        #: True in a forked child, where the connection stays the parent's.
        self.forked = False

    # Facts

    @property
    def hub(self) -> Hub:
        """Whose loop drives it: that of the thread that made it."""
        return self._hub

    @property
    def is_open(self) -> bool:
        """Whether packets may flow, and nobody has begun to leave."""
        return self._phase == _OPEN

    @property
    def is_pointless(self) -> bool:
        """Whether connect() need not go on, if it is told to leave off."""
        return self._phase == _OPENING or self.over

    @property
    def over(self) -> bool:
        """Whether the transport is closed, though the disconnect handler may still run."""
        return self._phase >= _ENDING

    @property
    def http(self) -> HTTP | HTTPSession | None:
        """What does the HTTP requests: the caller's session, or our own connections."""
        return self._route.http_session or self.made_http

    @property
    def sid(self) -> str | None:
        """The session id, until the disconnect handler has run."""
        if self.open_packet is None or self._phase == _CLOSED:
            return None
        return self.open_packet.sid

    @property
    def base_url(self) -> str:
        """The URL by the transport of the handshake, without a timestamp."""
        if self.made_http is None:  # it was a websocket
            return self._route.url('websocket', stamped=False)
        return self.url('polling')

    @property
    def unsent(self) -> int:
        """Messages that have not left; see :attr:`.Client.unsent`."""
        return self._dropped + (0 if self.transport is None else self.transport.unsent)

    def url(self, transport: str) -> str:
        """The URL of this connection by one of the transports, without a timestamp."""
        sid = self.open_packet.sid if self.open_packet is not None else None
        return self._route.url(transport, sid, stamped=False)

    # Opening, in the greenlet that calls connect()

    def open(self, transport: str, upgrade_may_follow: bool = False) -> None:
        """Shake hands with the server.

        :param transport: ``'polling'`` or ``'websocket'``.
        :param upgrade_may_follow: see :class:`.DirectHTTP`.
        :raises Exception: whatever went wrong; nothing is left open then.
        """
        process.add(self)
        self.transport_name = transport
        self._connecting = connecting = Connecting(self, self._route, self._options)
        try:
            connecting.shake_hands(transport, upgrade_may_follow)
        except BaseException:  # a time-out or the end of the caller's greenlet, too
            self._let_go()
            self._end()
            raise
        self._phase = _GREETING

    def greet(self) -> None:
        """Run the connect handler, and let the messages go that came meanwhile.

        :raises Exception: what the handler raised; nothing is left open then.
        """
        self.state = 'connected'
        handler = self._handlers.get('connect')
        if handler is not None:
            try:
                handler()
            except BaseException:  # as in open()
                self._refuse()
                raise
        if self._phase == _GREETING:
            self._phase = _OPEN
        early, self._early = self._early, None
        if self._phase < _CLOSING:
            for data in early or ():
                self._dispatcher.submit(self._context, self._deliver, data)

    def _refuse(self) -> None:
        """The application does not want this connection: leave, without its handlers."""
        if self._phase >= _CLOSING:
            return
        self._phase = _CLOSING
        self.state = 'disconnecting'
        try:
            if self.transport is not None:
                self.transport.finish(ABORT_TIMEOUT)
        finally:
            self._let_go()
            self._end()

    def upgrade(self) -> bool:
        """Try to go on over a websocket; whatever happens, the connection works after it.

        :returns: whether the websocket carries the connection now.
        """
        return self._connecting is not None and self._connecting.upgrade()

    def switch(self, websocket: WebSocket, polling: Polling) -> None:
        """Go on over the websocket of a successful probe; nothing here lets others run."""
        websocket.sink = self
        self.transport = websocket
        self.transport_name = 'websocket'
        websocket.send(str(packet.UPGRADE))
        for waiting in polling.take_queued():
            if websocket.send(waiting) < 0 and packet.is_message(waiting):
                self._dropped += 1

    def settle(self) -> None:
        """There is no more to try: carry packets by the transport there is."""
        if self._connecting is not None:
            self._connecting.stop_timer()
            self._connecting = None
        if self._phase == _OPEN and self.transport is not None:
            self.transport.start()

    def start_polling(self) -> None:
        """In the hub: the probe, or the connect handler, takes its time."""
        if self.transport is not None and self._phase < _CLOSING:
            self.transport.start()

    def info(self, message: str, *arguments: object) -> None:
        """Log, if the application asked for it; from a worker, since a log handler may wait."""
        if self._options.verbose:
            if getcurrent() is self._hub:
                self._dispatcher.submit(self._context, self._log, (message, *arguments))
            else:
                self._log((message, *arguments))

    def _log(self, record: tuple[Any, ...]) -> None:
        self._options.logger.info(*record)

    # Packets from the server: in the hub, or in a greenlet of the transport's

    def on_packets(self, transport: Transport, packets: Iterable[Packet]) -> None:
        """Take packets from the transport."""
        if self._options.verbose:
            packets = list(packets)
            for packet_type, data in packets:
                self.info('Received packet %s data %s', packet.NAMES[packet_type], _loggable(data))
        for packet_type, data in packets:
            if packet_type == MESSAGE and self._phase == _OPEN:
                self._dispatcher.submit(self._context, self._deliver, data)
            else:
                self._on_packet(transport, packet_type, data)

    def _on_packet(self, transport: Transport, packet_type: int, data: Any) -> None:
        """A packet that is no message of an open connection."""
        if self.open_packet is None:
            self._on_open(transport, packet_type, data)
        elif self._phase >= _CLOSING:
            pass  # the application has left already
        elif packet_type == packet.PING:
            if self._heartbeat is not None:
                self._heartbeat.beat()
            # A server that waits for it must not wait for all the messages queued before.
            assert self.transport is not None
            self.transport.send_first(f'{packet.PONG}{data}')
            self.info('Sending packet %s data %s', 'PONG', data)
        elif packet_type == MESSAGE:
            if self._early is not None:
                self._early.append(data)
        elif packet_type == packet.CLOSE:
            if self._phase == _OPENING:
                self.on_lost(
                    transport,
                    ConnectionClosed('the server closed the connection during the handshake'),
                )
            else:
                self.state = 'disconnecting'
                self.close(Reason.SERVER_DISCONNECT, None)
        elif packet_type != packet.NOOP:
            self.info('Received unexpected packet of type %s', packet.NAMES[packet_type])

    def _on_open(self, transport: Transport, packet_type: int, data: Any) -> None:
        if transport is not self.transport:
            return
        if packet_type != packet.OPEN:
            self.on_lost(
                transport,
                ProtocolError(f'expected an OPEN packet, got {packet.NAMES[packet_type]}'),
            )
            return
        try:
            self.open_packet = found = open_packet.parse(data)
        except ProtocolError as exc:
            self.on_lost(transport, exc)
            return
        patience = found.ping_interval + found.ping_timeout
        self._heartbeat = Heartbeat(patience, self._on_silence)
        if isinstance(transport, Polling):
            transport.settle(found.sid, found.max_payload, patience + 5)
            if self._connecting is not None:
                self._connecting.give_head_start()
        self._answered()

    def _answered(self) -> None:
        if self._connecting is not None:
            self._connecting.answered()

    def _on_silence(self) -> None:
        """In the hub: the server's time is over."""
        found = self.open_packet
        assert found is not None
        seconds = found.ping_interval + found.ping_timeout
        self.close(
            Reason.TRANSPORT_ERROR,
            HeartbeatTimeout(
                f'{self._route.netloc}: no PING from the server for {seconds:g} seconds'
            ),
        )

    def _deliver(self, data: Any) -> None:
        """In a worker: give a message to the handler."""
        handler = self._handlers.get('message')
        if handler is None:
            return
        options = self._options
        try:
            if options.parse_json and isinstance(data, str):
                data = packet.parse_text(data, options.loads)
            handler(data)
        except Exception:
            options.logger.exception('message handler error')

    # Packets to the server

    def send(self, data: Any) -> None:
        """Send a message; waits where more than ``write_limit`` bytes are queued.

        :raises TypeError: data of a type that cannot be sent.
        :raises ValueError: data that cannot be encoded.
        """
        encoded = packet.encode_message(data, self._options.dumps)
        if self._options.verbose:
            self._options.logger.info('Sending packet %s data %s', 'MESSAGE', _loggable(data))
        if get_hub_if_exists() is not self._hub:  # as other_threads.is_own_hub(), without the call
            self._send_from_outside(encoded)
            return
        transport = self.transport
        if transport is None:
            return
        queued = transport.send(encoded)
        if not queued:
            return  # 40 ns less for most messages
        limit = self._options.write_limit
        if queued < 0:
            self._drop()
        elif limit is not None and queued > limit and getcurrent() is not self._hub:
            self._wait_for_room(limit)

    def _drop(self) -> None:
        """The transport has ended, which the application is yet to learn."""
        self._dropped += 1
        if getcurrent() is not self._hub:
            # Who sends for as long as `state` is 'connected' would be all that ever runs.
            gevent.sleep(0)

    def _wait_for_room(self, limit: int) -> None:
        transport = self.transport
        while transport is not None:
            transport.wait_below(limit // 2)
            if transport is self.transport:
                return
            transport = self.transport  # upgraded meanwhile

    def _send_from_outside(self, encoded: Encoded) -> None:
        """In another native thread: the transport is its hub's own; the loop keeps the order."""
        if self.transport_name == 'polling':
            payload.encoded_size(encoded)  # what cannot be sent is refused here
        elif isinstance(encoded, str):
            encoded.encode()
        if self._orphaned():
            raise RuntimeError(_THREAD_ENDED)
        self._hub.loop.run_callback_threadsafe(self._send, encoded)

    def _send(self, encoded: Encoded) -> None:
        """In the hub: send a message of another native thread's."""
        transport = self.transport
        if transport is None or self._phase >= _CLOSING or transport.send(encoded) < 0:
            self._dropped += 1

    # Ending

    def on_lost(self, transport: Transport, error: Exception) -> None:
        """The transport ended."""
        if transport is not self.transport:
            return
        if self._phase == _OPENING:
            self.error = self.error or error
            self._answered()
        elif self._phase == _CLOSING:
            self.error = error  # the farewell failed; the reason stays the application's
        else:
            self.close(Reason.TRANSPORT_ERROR, error)

    def close(self, reason: str, error: Exception | None) -> None:
        """The one exit of a connection; idempotent, and legal in the hub.

        :param reason: for the disconnect handler, which runs once, in a greenlet.
        :param error: the cause, if it was not one of the two sides' wish.
        """
        if self._phase >= _ENDING:
            return
        was = self._phase
        self._phase = _ENDING
        self.error = self.error or error
        self._let_go()
        early, self._early = self._early, None
        if was != _CLOSING:  # the messages that wait for the connect handler are not lost
            for data in early or ():
                self._dispatcher.submit(self._context, self._deliver, data)
        if error is not None:
            self.info('Connection to %s ended: %s', self._route.netloc, error)
        if 'disconnect' in self._handlers:
            self._dispatcher.submit(self._context, self._finish, reason)
        else:
            self._finish(reason)

    def _let_go(self) -> None:
        """Give back everything that the loop or the operating system holds for us."""
        if self._heartbeat is not None:
            self._heartbeat.stop()
            self._heartbeat = None
        if self._connecting is not None:
            self._connecting.stop_timer()
            self._connecting.interrupt()
        if self.transport is not None:
            self.transport.close()
        process.discard(self)

    def _finish(self, reason: str) -> None:
        """In a worker: run the disconnect handler; then the connection is over."""
        self._finisher = getcurrent()
        try:
            handler = self._handlers.get('disconnect')
            if handler is not None:
                call_disconnect(handler, reason)
        except Exception:
            self._options.logger.exception('disconnect handler error')
        finally:
            self._dropped = self.unsent
            self._finisher = self.transport = None
            self._end()

    def _end(self) -> None:
        """Everything has been done, the disconnect handler too."""
        self._phase = _CLOSED
        self._connecting = None
        self.state = 'disconnected'
        if self._closed is not None:
            self._closed.set()

    def disconnect(self, abort: bool = False, reason: str | None = None) -> None:
        """Leave the server; see :meth:`.Client.disconnect`."""
        if not other_threads.is_own_hub(self._hub):
            self._disconnect_from_outside(abort, reason)
            return
        if getcurrent() is self._hub:
            # A signal handler, most likely. Nothing may wait in the hub: a greenlet does it.
            gevent.spawn(self.disconnect, abort, reason)
            return
        if self._phase == _OPENING:
            # Another greenlet is in connect(), which raises.
            self.error = DisconnectedEarly()
            if self._connecting is not None:
                self._connecting.interrupt()
            return
        if self._phase >= _CLOSING:
            # Somebody else is at it, or it is over. The disconnect handler may ask, too.
            self.wait(ABORT_TIMEOUT if abort else CLOSE_TIMEOUT)
            return
        self._phase = _CLOSING
        self.state = 'disconnecting'
        if self._heartbeat is not None:
            self._heartbeat.stop()  # the farewell has a bound of its own
        transport = self.transport
        try:
            self.info('Sending packet %s data %s', 'CLOSE', '')
            if transport is not None and abort:
                transport.send(str(packet.CLOSE))
                transport.close(1000)
            elif transport is not None:
                transport.finish(CLOSE_TIMEOUT, FAREWELL_LIMIT)
        finally:
            self.close(reason or Reason.CLIENT_DISCONNECT, None)
        self.wait(ABORT_TIMEOUT if abort else None)

    def _disconnect_from_outside(self, abort: bool, reason: str | None) -> None:
        """In another native thread: let a greenlet of the connection's own thread do it."""
        if self._phase == _CLOSED:
            return
        if self._orphaned():
            self._bury(reason)
            return
        bound = ABORT_TIMEOUT if abort else CLOSE_TIMEOUT
        # That thread may be busy for long.
        other_threads.call_in_hub(self._hub, bound, self.disconnect, abort, reason)

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until the disconnect handler has run; called in that handler, return at once.

        :param timeout: in seconds; None: no bound.
        :returns: whether it has.
        """
        if self._phase != _CLOSED and getcurrent() is not self._finisher:
            if self._orphaned():
                raise RuntimeError(_THREAD_ENDED)
            if not other_threads.is_own_hub(self._hub):
                other_threads.call_in_hub(self._hub, timeout, self.wait, timeout)
                if self._orphaned():
                    raise RuntimeError(_THREAD_ENDED)
                return self._phase == _CLOSED
            if self._closed is None:
                self._closed = Event()
            self._closed.wait(timer_seconds(timeout))
        return self._phase == _CLOSED

    def _orphaned(self) -> bool:
        """Whether the thread of this connection has ended, or its hub, and it still lives."""
        return self._phase != _CLOSED and other_threads.has_ended(self._hub)

    def _bury(self, reason: str | None) -> None:
        """End without a farewell: the hub that could say it is gone."""
        was, self._phase = self._phase, _ENDING
        if was >= _ENDING:
            return
        process.discard(self)
        self.error = ConnectionClosed(_THREAD_ENDED)
        if self.transport is not None:
            self.transport.abandon()
        self._finish(reason or Reason.CLIENT_DISCONNECT)

    def abandon(self) -> None:
        """In a forked child: the connection is the parent's; forget it."""
        self.forked = True
        self.error = self.error or ConnectionClosed('the process forked while connecting')
        connecting = self._connecting
        self._end()
        if self.transport is not None:
            self.transport.abandon()
        if connecting is not None:
            connecting.abandon()


def _loggable(data: Any) -> Any:
    return '<binary>' if isinstance(data, (bytes, bytearray, memoryview)) else data
