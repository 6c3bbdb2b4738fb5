"""HTTP long-polling: which request is made when.

Nothing here waits but the methods that say so. An answer is handled where it arrives, in the hub.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from functools import partial
from time import monotonic
from typing import Any

from gevent import Greenlet, Timeout, joinall, sleep
from gevent.event import Event
from gevent.hub import get_hub

from ..exceptions import ConnectionClosed, ProtocolError
from ..net.deadlines import timer_seconds
from ..net.errors import OutOfResources
from ..net.watchers import close_watchers
from ..protocol import packet, payload
from ..protocol.open_packet import OpenPacket
from ..protocol.packet import Encoded, is_pong
from .base import Limits, Sink, undelivered_error
from .http import HTTP, Answer
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
        '_ending',
        '_finishing',
        '_getting',
        '_http',
        '_in_flight',
        '_limits',
        '_max_payload',
        '_never_sent',
        '_paused',
        '_post_error',
        '_posting',
        '_queue',
        '_route',
        '_sid',
        '_silence',
        '_started',
        '_timers',
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
        # Whether a GET is in flight or about to be made; whether a POST is.
        self._getting = self._posting = False
        self._post_error: Exception | Timeout | None = None  # while the last words may arrive
        self._timers: set[Any] | None = None  # of pauses
        self._ending: list[Greenlet[..., None]] = []  # what still closes a connection
        self._started = self._paused = self._finishing = self._closed = False
        self._abort_timeout: float | None = None  # of abort(), from then on
        self._changed: Event | None = None

    def open(self, sid: str | None = None) -> None:
        """GET the OPEN packet. The sink gets all packets of the response before this returns."""
        self._sid = sid
        body = self._http.get_and_wait(self._target(), self._limits.request_timeout)
        if not body:
            raise ProtocolError('not an Engine.IO 4 handshake: the body is empty')
        try:
            for number, part in enumerate(payload.slices(body)):
                if number:
                    # Handlers, sockets and timers get a turn: more than sleep(0) would give.
                    sleep(0.001)
                self.sink.on_packets(self, payload.decode(part))
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
            self._begin_polling()
            self._post_queued()

    def _target(self) -> str:
        return self._route.target('polling', self._sid)

    def _after(self, seconds: float, function: Callable[..., None], *arguments: Any) -> None:
        """Call a function later, in the hub, unless the transport is closed before."""

        def call() -> None:
            assert self._timers is not None
            self._timers.discard(timer)
            close_watchers(timer.loop, timer)
            function(*arguments)

        timer: Any = get_hub().loop.timer(timer_seconds(seconds))
        self._timers = self._timers or set()
        self._timers.add(timer)
        timer.start(call)

    def _retry_deadline(self, answer: Answer, deadline: float | None) -> float | None:
        """Until when to try again, if the machine has no room for the connection of a request.

        Nothing was sent then, and the server waits for an answer to its PING. The heartbeat
        ends a connection for which that takes too long.

        :param deadline: that of earlier attempts, or None.
        :returns: None: do not try again.
        """
        if not isinstance(answer, OutOfResources):
            return None
        now = monotonic()
        deadline = deadline or now + self._silence
        return deadline if now < deadline else None

    # Receiving

    def _begin_polling(self) -> None:
        self._getting = True
        get_hub().loop.run_callback(self._poll)  # unless it is closed at once

    def _poll(self, deadline: float | None = None) -> None:
        """Begin the next GET, unless there is to be none.

        :param deadline: for attempts that find no room for a connection; None: the first attempt.
        """
        if self._paused or self._closed or self._abort_timeout is not None:
            self._end_polling()
            return
        on_answer = partial(self._on_get, deadline=deadline) if deadline else self._on_get
        self._http.get(self._target(), self._silence, on_answer)

    def _on_get(self, answer: Answer, deadline: float | None = None) -> None:
        if self._closed:
            return
        deadline = self._retry_deadline(answer, deadline)
        if deadline is not None:
            self._after(RESOURCES_PAUSE, self._poll, deadline)
        elif not isinstance(answer, bytes):
            self._end_polling(answer)
        elif not answer:
            # An empty body is no list of packets. A broken server or proxy sends it
            # for each GET at once, so to try again would never end.
            self._end_polling(ProtocolError('the server answered a polling GET with an empty body'))
        else:
            self._deliver(answer)

    def _deliver(self, body: bytes, start: int = 0, only_noops: bool = True) -> None:
        """Hand over the packets of a body, from a position on, and begin the next GET.

        :param only_noops: whether all packets before that position were NOOPs.
        """
        if self._closed:
            return
        try:
            part, start = payload.next_slice(body, start)
            packets = payload.decode(part)
            self.sink.on_packets(self, packets)
        except Exception as exc:
            if isinstance(exc, ProtocolError) and exc.decoded:
                self.sink.on_packets(self, exc.decoded)
            self._end_polling(exc)
            return
        only_noops = only_noops and all(kind == packet.NOOP for kind, _ in packets)
        if start > 0:
            # Handlers, sockets and timers get a turn. The loop makes many callbacks in one.
            self._after(0, self._deliver, body, start, only_noops)
        elif only_noops and not self._paused:
            # python-engineio answers each GET at once with a NOOP while it waits for
            # the end of a probe. Without a pause these are 1,000 GETs a second.
            self._after(NOOP_PAUSE, self._poll)
        else:
            self._poll()

    def _end_polling(self, error: Exception | Timeout | None = None) -> None:
        """No GET follows."""
        self._getting = False
        if error is not None and not self._finishing:  # else an error of the GET does not matter
            self._lose(error)
        elif self._post_error is not None:
            self._lose(self._post_error)
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
        if not self._posting:
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
        if self._queue and self._started and not self._paused and not self._posting:
            self._posting = True
            # What else is sent in this turn of the loop goes together.
            get_hub().loop.run_callback(self._post)

    def _post(self) -> None:
        """Begin the next POST, unless there is to be none."""
        if self._closed:
            return
        if not self._queue or self._paused:
            self._end_posting()
            return
        try:
            self._in_flight = payload.take_body(self._queue, self._max_payload)
        except Exception as exc:
            self._lose(exc)
            return
        self._send_body()

    def _send_body(self, deadline: float | None = None) -> None:
        """POST what is in flight.

        :param deadline: as for :meth:`_poll`.
        """
        if deadline and self._paused:
            self._queue = self._queue or deque()
            payload.put_back(self._queue, self._in_flight)
            self._in_flight = b''
            self._end_posting()
            return
        timeout = self._abort_timeout or self._limits.request_timeout
        on_answer = partial(self._on_post, deadline=deadline) if deadline else self._on_post
        self._http.post(self._target(), self._in_flight, timeout, on_answer)

    def _on_post(self, answer: Answer, deadline: float | None = None) -> None:
        if self._closed:
            return
        deadline = self._retry_deadline(answer, deadline)
        if deadline is not None:
            self._after(RESOURCES_PAUSE, self._send_body, deadline)
        elif isinstance(answer, bytes):
            self.queued -= payload.queued_size(self._in_flight)
            self._in_flight = b''
            self._notify()
            self._post()
        elif self._getting:
            # A server that closes the connection fails a POST in flight. The answers to the
            # GETs carry its last messages and its CLOSE packet.
            self._post_error = answer
            self._after(LAST_WORDS, self._lose, answer)
        else:
            self._lose(answer)

    def _end_posting(self) -> None:
        """No POST follows."""
        self._posting = False
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
        while (self._getting or self._posting) and not self._closed:
            self._wait()

    def resume(self) -> None:
        """Go on after :meth:`pause`, or start."""
        self._paused = False
        if self._started and not self._getting and not self._closed:
            self._begin_polling()
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
            while self._posting and not self._closed:
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
            self.close()
            if self._ending:
                joinall(self._ending, timeout=timer_seconds(deadline - monotonic()))

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
                lost = ConnectionClosed(f'http_session raised gevent.Timeout: {error}')
                lost.__cause__ = error
                error = lost
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
        self._stop_timers()
        self._ending = self._http.close(gently)
        self._notify()

    def _stop_timers(self) -> None:
        for timer in self._timers or ():
            close_watchers(timer.loop, timer)
        self._timers = None

    def abandon(self, wake: bool = True) -> None:
        """Let go of the sockets without a byte to the server; see :meth:`.Transport.abandon`."""
        self._closed = True
        self._stop_timers()
        self._http.abandon(wake)
        if wake:
            self._notify()
