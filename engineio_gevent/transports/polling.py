"""HTTP long-polling: a greenlet for GET, and another one for POST while packets are queued."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from time import monotonic
from typing import Any

from gevent import Greenlet, Timeout, getcurrent, joinall, sleep
from gevent.event import Event

from ..exceptions import ConnectionClosed, ProtocolError
from ..net.deadlines import timer_seconds
from ..net.errors import OutOfResources
from ..protocol import packet, payload
from ..protocol.open_packet import OpenPacket
from ..protocol.packet import Encoded, is_pong
from .base import Limits, Sink, undelivered_error
from .http import HTTP
from .route import Route

#: Seconds before the next GET if the last one returned only NOOP packets.
NOOP_PAUSE = 0.05
#: Seconds after the heartbeat's deadline until a GET without an answer is given up.
SILENCE_MARGIN = 5.0
#: Seconds before the next attempt where this machine has no descriptor or port for a request.
RESOURCES_PAUSE = 0.25
#: Seconds after a failed POST in which the server's last messages may arrive.
LAST_WORDS = 1.0


class Polling:
    """The polling transport.

    :param sink: gets the packets, and the error that ends the transport.
    :param route: the way to the server.
    :param limits: the client's ``request_timeout`` and ``max_message_size``.
    :param http: the HTTP client that makes the requests.
    """

    name = 'polling'

    # Mutable: everything from _queue on, touched only in the hub's own thread.
    __slots__ = (
        '_abort_timeout',
        '_changed',
        '_closed',
        '_finishing',
        '_getting',
        '_http',
        '_in_flight',
        '_limits',
        '_max_payload',
        '_never_sent',
        '_paused',
        '_posting',
        '_queue',
        '_route',
        '_sid',
        '_silence',
        '_started',
        'queued',
        'sink',
    )

    def __init__(self, sink: Sink, route: Route, limits: Limits, http: HTTP) -> None:
        self.sink = sink
        self._route = route
        self._limits = limits
        self._http = http
        self._sid: str | None = None
        self._max_payload: int | None = None
        self._silence = 0.0
        # Made when it is needed: an empty one takes 760 bytes.
        self._queue: deque[Encoded] | None = None
        self._in_flight = b''  # the body of a POST that is not answered yet
        self._never_sent = 0
        #: Bytes queued, as they will be posted; after the end: never posted.
        self.queued = 0
        self._getting: Greenlet[..., None] | None = None
        self._posting: Greenlet[..., None] | None = None
        self._started = self._paused = self._finishing = self._closed = False
        self._abort_timeout: float | None = None  # of abort(), from then on
        self._changed: Event | None = None

    def open(self, sid: str | None = None) -> None:
        """GET the OPEN packet. The sink gets all packets of the response before this returns."""
        self._sid = sid
        body = self._http.get(self._target(), self._limits.request_timeout)
        if not body:
            raise ProtocolError('not an Engine.IO 4 handshake: the body is empty')
        try:
            self._deliver(body)
        except ProtocolError as exc:
            # The body may be any page of any server.
            raise ProtocolError(f'not an Engine.IO 4 handshake: {exc}') from exc

    def apply_open_packet(self, open_packet: OpenPacket) -> None:
        """Use what the server announced."""
        self._sid = open_packet.sid
        self._max_payload = open_packet.max_payload
        # The heartbeat ends a silent GET sooner, but not in a process whose sockets are not
        # cooperative.
        self._silence = open_packet.patience + SILENCE_MARGIN

    def start(self) -> None:
        """Begin to poll, and post what is queued."""
        if not self._started and not self._closed:
            self._started = True
            self._getting = Greenlet.spawn(self._poll)
            self._post_queued()

    def _target(self) -> str:
        return self._route.target('polling', self._sid)

    def _ask(self, request: Callable[..., bytes], *arguments: Any) -> bytes | None:
        """Send a request, and try again for as long as the machine has no room for its connection.

        Nothing was sent then, and the server waits for an answer to its PING. The heartbeat
        ends a connection for which that takes too long.

        :returns: the body of the answer; None where polling was paused before it was sent.
        """
        deadline = None
        while True:
            try:
                return request(self._target(), *arguments)
            except OutOfResources:
                deadline = deadline or monotonic() + self._silence
                if monotonic() >= deadline:
                    raise
            sleep(RESOURCES_PAUSE)
            if self._paused:
                return None

    # Receiving

    def _deliver(self, body: bytes) -> bool:
        """Hand over the packets of a body.

        :returns: whether all of them are NOOPs.
        :raises ProtocolError: the body is invalid. Some packets have been handed over then.
        """
        only_noops = True
        for number, part in enumerate(payload.slices(body)):
            if number:
                sleep(0)  # the handlers of the packets before start, and need no more memory
            packets = payload.decode(part)
            self.sink.on_packets(self, packets)
            only_noops = only_noops and all(kind == packet.NOOP for kind, _ in packets)
        return only_noops

    def _poll(self) -> None:
        try:
            while not self._paused and not self._closed and self._abort_timeout is None:
                body = self._ask(self._http.get, self._silence)
                if body is None or self._closed:
                    break
                if not body:
                    # An empty body is no list of packets. A broken server or proxy sends it
                    # for each GET at once, so to try again would never end.
                    raise ProtocolError('the server answered a polling GET with an empty body')
                only_noops = self._deliver(body)
                if not self._paused and only_noops:
                    # python-engineio answers each GET at once with a NOOP while it waits for
                    # the end of a probe. Without a pause these are 1,000 GETs a second.
                    sleep(NOOP_PAUSE)
        except (Exception, Timeout) as exc:  # a Timeout of the code of a session is no Exception
            if isinstance(exc, ProtocolError) and exc.decoded:
                self.sink.on_packets(self, exc.decoded)
            if not self._finishing:  # else an error of the GET does not matter
                self._lose(exc)
        finally:
            self._getting = None
            self._notify()

    # Sending

    def send(self, packet: Encoded) -> int:
        """Queue a packet for the next POST; see :meth:`.Transport.send`."""
        if self._closed:
            return -1
        self.queued += payload.encoded_size(packet)
        if self._queue is None:
            self._queue = deque()
        self._queue.append(packet)
        if self._posting is None:
            self._post_queued()
        return self.queued

    def send_text(self, text: str) -> int:
        """Queue a text message; see :meth:`.Transport.send_text`."""
        return self.send(f'{packet.MESSAGE}{text}')

    def send_first(self, packet: str) -> None:
        """Queue a PONG for the next POST, ahead of the messages that are queued.

        It replaces one that still waits: a server may send PINGs faster than it answers POSTs.
        """
        if not self._closed:
            self.queued += payload.encoded_size(packet)
            if self._queue is None:
                self._queue = deque()
            if self._queue and is_pong(self._queue[0]):
                self.queued -= payload.encoded_size(self._queue.popleft())
            self._queue.appendleft(packet)
            self._post_queued()

    @property
    def unsent(self) -> int:
        """Messages that no answered POST has carried; see :meth:`.Transport.unsent`."""
        if self._closed:
            return self._never_sent
        # A copy, since another native thread may ask.
        waiting = sum(map(packet.is_message, tuple(self._queue or ())))
        return payload.count_messages(self._in_flight) + waiting + self._never_sent

    def _post_queued(self) -> None:
        if self._queue and self._started and not self._paused and self._posting is None:
            self._posting = Greenlet.spawn(self._post)

    def _post(self) -> None:
        try:
            while self._queue and not self._paused and not self._closed:
                count = len(self._queue)
                body = payload.take_body(self._queue, self._max_payload)
                separators = count - len(self._queue) - 1
                self._in_flight = body
                timeout = self._abort_timeout or self._limits.request_timeout
                answer = self._ask(self._http.post, body, timeout)
                self._in_flight = b''
                if answer is None:
                    payload.put_back(self._queue, body)
                    break
                self.queued -= len(body) - separators
                self._notify()
        except (Exception, Timeout) as exc:  # likewise: the messages of the POST may be lost
            if self._getting is not None and not self._closed:
                # A server that closes the connection fails a POST in flight. The answers to the
                # GETs carry its last messages and its CLOSE packet.
                self._getting.join(LAST_WORDS)
            self._lose(exc)
        finally:
            self._posting = None
            self._queue = self._queue or None
            self._notify()

    # Waiting, in greenlets

    def _notify(self) -> None:
        """Something that a greenlet may wait for has changed."""
        if self._changed is not None:
            self._changed.set()

    def _wait(self, timeout: float | None = None) -> None:
        """Wait for the next change."""
        if self._changed is None:
            self._changed = Event()
        self._changed.clear()
        self._changed.wait(timer_seconds(timeout))

    def wait_below(self, limit: int) -> None:
        """Wait until at most ``limit`` bytes are queued, or the transport is closed."""
        while self.queued > limit and not self._closed:
            self._wait()

    def pause(self) -> None:
        """Begin no new request, and wait for those in flight. Not during :meth:`finish`."""
        self._paused = not self._finishing
        while (self._getting is not None or self._posting is not None) and not self._closed:
            self._wait()

    def resume(self) -> None:
        """Go on after :meth:`pause`, or start."""
        self._paused = False
        if self._started and self._getting is None and not self._closed:
            self._getting = Greenlet.spawn(self._poll)
        self._post_queued()
        self.start()

    def take_queued(self) -> list[Encoded]:
        """Hand over what has not been posted, in order."""
        packets = list(self._queue or ())
        self._queue = None
        self.queued = 0
        return packets

    # Ending

    def finish(self, timeout: float, limit: float | None = None) -> None:
        """Post what is queued and a CLOSE packet, wait for that, and close."""
        deadline = monotonic() + timeout
        last = deadline if limit is None else deadline - timeout + limit
        self._finishing = True
        try:
            self.send(str(packet.CLOSE))
            self._started = True  # posts go out, though no GET may have been begun
            self._paused = False
            self._post_queued()
            while self._posting is not None and not self._closed:
                left = deadline - monotonic()
                if left <= 0:
                    break
                queued = self.queued
                self._wait(left)
                if self.queued < queued:  # the server takes it
                    deadline = min(monotonic() + timeout, last)
            if self.queued:
                self._lose(undelivered_error(self.queued))
        finally:
            greenlets = [one for one in (self._getting, self._posting) if one is not None]
            self.close()
            # A request that was in flight gives its descriptor back when its greenlet ends.
            joinall(greenlets, timeout=timer_seconds(deadline - monotonic()))

    def abort(self, timeout: float) -> None:
        """Drop what is queued, post a CLOSE packet, wait for that, and close.

        A POST that is in flight comes first, because a server accepts one at a time.
        """
        if not self._closed:
            self._never_sent = sum(map(packet.is_message, self._queue or ()))
            self._queue = None
            self._abort_timeout = timeout
            self.finish(timeout)

    def _lose(self, error: Exception | Timeout) -> None:
        if not self._closed:
            if isinstance(error, Timeout):
                cause, error = (
                    error,
                    ConnectionClosed(f'http_session raised gevent.Timeout: {error}'),
                )
                error.__cause__ = cause
            self.close()
            # The caller of abort() does not need to know whether it succeeds.
            if self._abort_timeout is None:
                self.sink.on_lost(self, error)

    def close(self, code: int | None = None, reason: str = '') -> None:
        """Close at once, requests in flight too; idempotent."""
        self._close(gently=False)

    def retire(self) -> None:
        """Close after an upgrade: the server has answered all requests, and may close first."""
        self._close(gently=True)

    def _close(self, gently: bool) -> None:
        if self._closed:
            return
        self._never_sent = self.unsent
        self._closed = True
        self._queue = None
        self._in_flight = b''
        current = getcurrent()
        for greenlet in (self._getting, self._posting):
            if greenlet is not None and greenlet is not current:
                greenlet.kill(block=False)
        self._http.close(gently)
        self._notify()

    def abandon(self, wake: bool = True) -> None:
        """Let go of the sockets without a byte to the server; see :meth:`.Transport.abandon`."""
        self._closed = True
        for greenlet in (self._getting, self._posting) if wake else ():
            if greenlet is not None:
                # Before its loop looks at the descriptor that is no more, and aborts.
                greenlet.kill(block=False)
        self._http.abandon()
        if wake:
            self._notify()
