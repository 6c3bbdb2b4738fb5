"""What connect() has under way for a session: the handshake, and the upgrade after it.

It runs in the greenlet that calls connect(), and ends with that call.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gevent import getcurrent
from gevent.event import Event
from gevent.hub import get_hub

from .exceptions import ConnectionClosed, EngineIOError
from .net.deadlines import Expired, bounded
from .options import Options
from .transports.base import Transport
from .transports.direct import DirectHTTP
from .transports.http import HTTP, SessionHTTP
from .transports.polling import Polling
from .transports.route import Route
from .transports.websocket import WebSocket
from .upgrade import Probe

if TYPE_CHECKING:
    from .session import Session

#: Seconds that the probe of an upgrade has to itself before polling begins beside it.
PROBE_HEAD_START = 0.25


class DisconnectedEarly(ConnectionClosed):
    """``disconnect()`` was called while another greenlet was connecting."""

    def __init__(self) -> None:
        super().__init__('disconnect() was called while connecting')


class Connecting:
    """The part of a session that is not needed once it is connected.

    :param session: whose.
    :param route: the way to the server.
    :param options: the client's.
    """

    __slots__ = (
        '_answered',
        '_greenlet',
        '_options',
        '_probe',
        '_route',
        '_session',
        '_timer',
        '_upgrade_may_follow',
    )

    def __init__(self, session: Session, route: Route, options: Options) -> None:
        self._session = session
        self._route = route
        self._options = options
        self._answered = Event()
        self._greenlet: Any = None  # that of connect(), while it may be interrupted
        self._probe: Probe | None = None
        self._timer: Any = None
        self._upgrade_may_follow = False

    # In the greenlet that calls connect()

    def shake_hands(self, name: str, upgrade_may_follow: bool = False) -> None:
        """Open a transport and wait for the server's OPEN packet.

        :param name: ``'polling'`` or ``'websocket'``.
        :param upgrade_may_follow: see :class:`.DirectHTTP`.
        :raises Exception: whatever went wrong.
        """
        session = self._session
        self._greenlet = getcurrent()
        self._upgrade_may_follow = upgrade_may_follow
        try:
            with bounded(self._options.request_timeout):
                session.transport = transport = self._make(name)
                transport.open()
                self._answered.wait()
            if session.error is not None:
                raise session.error
        except Expired as exc:
            seconds = self._options.request_timeout
            raise ConnectionClosed(
                f'{self._route.netloc}: no {name} handshake within {seconds:g} seconds '
                '(request_timeout)'
            ) from exc
        finally:
            self._greenlet = None

    def _make(self, name: str) -> Transport:
        session, route, options = self._session, self._route, self._options
        if name == 'websocket':
            return WebSocket(session, route, options)
        limit = options.max_message_size
        http: HTTP
        if route.http_session is None:
            http = DirectHTTP(route, limit, upgrade_may_follow=self._upgrade_may_follow)
        else:
            http = SessionHTTP(route, route.http_session, limit)
        session.made_http = http
        return Polling(session, route, options, http)

    def upgrade(self) -> bool:
        """See :meth:`.Session.upgrade`."""
        session = self._session
        polling = session.transport
        if not session.is_open or not isinstance(polling, Polling) or session.open_packet is None:
            return False
        self._greenlet = getcurrent()
        self._probe = probe = Probe(self._route, self._options)
        websocket = probe.websocket
        try:
            with bounded(self._options.request_timeout):
                probe.run(session.open_packet.sid, polling)
        except Exception as exc:
            if isinstance(exc, (EngineIOError, Expired)):
                session.info('WebSocket upgrade failed: %s', exc)
            else:  # options that websocket-client does not take, most likely
                self._options.logger.warning('WebSocket upgrade failed: %r', exc)
            return False
        else:
            if not session.is_open:
                return False
            self._probe = None
            session.switch(websocket, polling)
            session.info('Sending packet %s data %s', 'UPGRADE', '')
            session.info('WebSocket upgrade was successful')
            return True
        finally:
            # Of the two, what does not carry the connection is closed; a GreenletExit
            # or a Timeout of the caller's may come through here as well.
            self._probe = self._greenlet = None
            if session.transport is websocket:
                polling.retire()
            else:
                websocket.close()
                if session.is_open:
                    polling.resume()
            self.stop_timer()

    # From elsewhere: the hub, or another greenlet

    def answered(self) -> None:
        """The handshake has come, or never will."""
        self._answered.set()

    def give_head_start(self) -> None:
        """In the hub: after the handshake polling waits for the upgrade, though not for long."""
        self._timer = get_hub().loop.timer(PROBE_HEAD_START)
        self._timer.start(self._on_timer)

    def _on_timer(self) -> None:
        self.stop_timer()
        self._session.start_polling()

    def stop_timer(self) -> None:
        """No head start is to be given any more."""
        if self._timer is not None:
            self._timer.stop()
            self._timer.close()
            self._timer = None

    def interrupt(self) -> None:
        """Whoever is in connect() need not go on."""
        if self._greenlet is not None and self._greenlet is not getcurrent():
            get_hub().loop.run_callback(self._throw, self._greenlet)

    def _throw(self, greenlet: Any) -> None:
        """In the hub: unless connect() has got further meanwhile."""
        if self._greenlet is greenlet and self._session.is_pointless:
            greenlet.throw(DisconnectedEarly())

    def abandon(self) -> None:
        """In a forked child: the sockets are the parent's."""
        if self._probe is not None:
            self._probe.websocket.abandon()
        self.interrupt()
