"""What ``connect()`` does: choose a transport, shake hands, call the connect handler, upgrade.

It runs in the greenlet that calls ``connect()``, and ends with that call.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from gevent import getcurrent
from gevent.hub import get_hub

from .exceptions import ConnectionClosed, ConnectionError, EngineIOError, HTTPError
from .lifecycle import FORKED, OPEN, OPENING
from .net.deadlines import Bound, Expired
from .net.watchers import close_watchers
from .options import Options
from .other_threads import is_own_hub
from .per_hub import give_way
from .session import DisconnectedEarly, Session
from .transports.direct import DirectHTTP
from .transports.http import HTTP
from .transports.polling import Polling
from .transports.route import Route
from .transports.websocket import WebSocket
from .upgrade import Probe

#: Seconds that the probe of an upgrade has to itself before polling begins beside it.
PROBE_HEAD_START = 0.25
_TRANSPORTS = ('polling', 'websocket')
# How the TLS alert begins that a TLS server sends to a plain request, in the text of an error.
_TLS_ALERT = "begins '\\x15\\x03"


def choose_transports(wanted: str | Iterable[str] | None) -> list[str]:
    """The transports to use, from the argument of ``connect()``.

    :raises ValueError: it names no transport.
    """
    if wanted is None:
        return list(_TRANSPORTS)
    if not isinstance(wanted, list):  # as most often
        wanted = [wanted] if isinstance(wanted, str) or not isinstance(wanted, Iterable) else wanted
    chosen = [name for name in wanted if name in _TRANSPORTS]
    if not chosen:
        raise ValueError('No valid transports provided')
    return chosen


class _Interrupted(Exception):
    """The connection has ended while ``connect()`` was at work on it."""

    def __str__(self) -> str:
        return 'the connection has ended'


# What a transport, the operating system or wrong options raise. Any other exception comes from the
# caller, such as that of ``gevent.Timeout(2, MyError)``, and is raised as it is.
_FAILURES = (
    EngineIOError,
    Expired,
    _Interrupted,
    OSError,
    RuntimeError,
    ValueError,
    TypeError,
    LookupError,
    AttributeError,
)


class Connecting:
    """One call of ``connect()``.

    :param options: the client's options.
    :param handlers: the client's handlers by event.
    :param route: the way to the server.
    :param own: makes a session the client's own. It raises ``ValueError`` if the client has
                  another one, which another greenlet has connected meanwhile.
    :param disown: lets the client disown a session, if it is still its own.
    """

    __slots__ = (
        '_disown',
        '_greenlet',
        '_handlers',
        '_options',
        '_own',
        '_probe',
        '_route',
        '_session',
        '_timer',
    )

    def __init__(
        self,
        options: Options,
        handlers: Mapping[str, Callable[..., Any]],
        route: Route,
        *,
        own: Callable[[Session], None],
        disown: Callable[[Session], None],
    ) -> None:
        self._options = options
        self._handlers = handlers
        self._route = route
        self._own = own
        self._disown = disown
        self._session: Session | None = None  # the one that is being connected
        self._greenlet: Any = None  # that of connect(), while it may be interrupted
        self._probe: Probe | None = None
        self._timer: Any = None

    def run(self, order: Iterable[str], upgrade: bool) -> tuple[str, str]:
        """Connect.

        :param order: the transports to try for the handshake.
        :param upgrade: whether to upgrade from polling to the websocket, if the server offers it.
        :returns: the transport of the handshake, and the one that is used in the end.
        :raises ConnectionError: every handshake failed, or the connect handler raised.
        :raises ValueError: another greenlet has connected the client meanwhile.
        """
        try:
            session = self._open(order, upgrade)
            first = session.transport_name
            if first == 'polling':
                self._give_head_start(session)
            self._greet(session)
            if upgrade:
                self._upgrade(session)
            session.flush_log()
        except BaseException:  # of the caller's, too: GreenletExit, gevent.Timeout, Ctrl-C
            self._give_up()
            raise
        finally:
            self._stop_timer()
            if self._session is not None:
                self._session.finish_connecting()
        assert first is not None
        assert session.transport_name is not None
        return first, session.transport_name

    # The handshake

    def _open(self, order: Iterable[str], upgrade: bool) -> Session:
        """The handshake, by the first transport that works."""
        failure: Exception | None = None
        for name in order:
            session = Session(self._options, self._handlers, self._route, self._interrupt)
            self._session = session
            owned = False
            try:
                self._own(session)
                owned = True
                self._shake_hands(session, name, upgrade)
            except Exception as exc:
                self._give_up()
                if not owned and failure is not None:
                    break
                if not owned or not isinstance(exc, _FAILURES):
                    raise
                # The first failure is that of the transport that the caller prefers.
                failure = failure or exc
                if isinstance(session.error, DisconnectedEarly):
                    break
            else:
                return session
        assert failure is not None
        give_way()  # nothing has waited if the connection was refused at once
        raise connection_error(failure, self._route.netloc) from failure

    def _shake_hands(self, session: Session, name: str, upgrade: bool) -> None:
        """Open a transport and wait for the server's OPEN packet.

        :param name: ``'polling'`` or ``'websocket'``.
        :raises Exception: whatever went wrong.
        """
        if self._options.verbose:
            session.info('Attempting %s connection to %s', name, session.url(name))
        self._greenlet = getcurrent()
        limit = self._time_limit(name)
        try:
            with Bound(limit):
                self._attach(session, name, upgrade)
                assert session.transport is not None
                session.transport.open()
                session.wait_opened()
        except (Expired, _Interrupted) as exc:
            session.raise_if_failed()
            if session.phase is OPENING:
                given = limit == self._options.request_timeout
                option = 'request_timeout' if given else 'websocket_extra_options'
                raise ConnectionClosed(
                    f'{self._route.netloc}: no {name} handshake within {limit:g} seconds ({option})'
                ) from exc
        finally:
            self._greenlet = None

    def _time_limit(self, name: str) -> float | None:
        """Seconds for the handshake of a transport."""
        seconds = self._options.request_timeout
        extra = self._route.websocket_options
        return seconds if extra is None or name == 'polling' else extra.time_limit(seconds)

    def _attach(self, session: Session, name: str, upgrade: bool) -> None:
        route, options = self._route, self._options
        if name == 'websocket':
            session.attach(WebSocket(session, route, options))
            return
        limit = options.max_message_size
        http: HTTP
        if route.http_session is None:
            http = DirectHTTP(route, limit, upgrade_may_follow=upgrade)
        else:
            from .transports.in_greenlets import InGreenlets
            from .transports.requests_session import SessionHTTP  # it imports requests

            http = InGreenlets(SessionHTTP(route, route.http_session, limit, options.timeouts))
        session.attach(Polling(session, route, options, http))

    def _greet(self, session: Session) -> None:
        """Call the connect handler."""
        try:
            session.greet()
        except Exception as exc:
            self._give_up()
            session.log_error('connect handler error')
            raise ConnectionError(f'Connect handler failed: {_text(exc)}') from exc

    def _give_up(self) -> None:
        """``connect()`` raises: close the connection, unless it has ended."""
        session = self._session
        if session is not None and session.phase is OPEN:
            session.leave_quickly()  # the disconnect handler runs
        elif session is not None:
            failed = True
            try:
                failed = session.fail()
            finally:
                if failed:
                    self._disown(session)

    # The upgrade

    def _give_head_start(self, session: Session) -> None:
        """Polling waits for the connect handler and the upgrade, but not for long."""

        def start_polling() -> None:
            self._stop_timer()
            session.start_transport()

        self._timer = get_hub().loop.timer(PROBE_HEAD_START)
        self._timer.start(start_polling)

    def _stop_timer(self) -> None:
        close_watchers(get_hub().loop, self._timer)
        self._timer = None

    def _upgrade(self, session: Session) -> None:
        """Try to upgrade to a websocket. Polling goes on if that fails."""
        polling = session.transport
        opened = session.open_packet
        if session.phase is not OPEN or opened is None or not isinstance(polling, Polling):
            return
        if 'websocket' not in opened.upgrades:
            return
        self._greenlet = getcurrent()
        self._probe = probe = Probe(self._route, self._options)
        websocket = probe.websocket
        upgraded = False
        failure: Exception | None = None
        try:
            with Bound(self._time_limit('websocket')):
                probe.run(opened.sid, polling)
            if session.phase is OPEN:
                session.switch(websocket, polling, session)
                upgraded = True
        except _FAILURES as exc:
            failure = exc
        finally:
            # Also after a GreenletExit, or a gevent.Timeout of the caller's.
            self._probe = self._greenlet = None
            if upgraded:
                polling.retire()
            else:
                websocket.close()
                if session.phase is OPEN:
                    polling.resume()
        if failure is None or isinstance(failure, (EngineIOError, Expired, _Interrupted)):
            if upgraded:
                session.info('Sending packet %s data %s', 'UPGRADE', '')
                session.info('WebSocket upgrade was successful')
            elif failure is not None:
                session.info('WebSocket upgrade failed: %s', failure)
        else:  # options that websocket-client does not accept, most likely
            session.warning('WebSocket upgrade failed: %r', failure)

    # Interruption

    def _interrupt(self) -> None:
        """The connection has ended, perhaps in the hub: ``connect()`` has no reason to go on."""
        session = self._session
        if session is not None and session.phase is FORKED and self._probe is not None:
            self._probe.websocket.abandon()
        if session is None or not is_own_hub(session.hub):
            return  # after a fork, it belongs to a thread that is not in this process
        if self._greenlet is not None and self._greenlet is not getcurrent():
            get_hub().loop.run_callback(self._throw, self._greenlet, session)

    def _throw(self, greenlet: Any, session: Session) -> None:
        """In the hub: interrupt, unless ``connect()`` has got further meanwhile."""
        if self._greenlet is greenlet and self._session is session:
            greenlet.throw(_Interrupted())


# What connect() raises


def connection_error(cause: Exception, host: str) -> ConnectionError:
    """The exception of ``connect()``, with the server's JSON body if it answered with a status.

    :param host: the server, which the text names once.
    """
    text = _text(cause)
    what = text or type(cause).__name__
    if not isinstance(cause, EngineIOError) and text:
        what = f'{type(cause).__name__}: {what}'
    if not what.startswith(host) and f'//{host}/' not in what:
        what = f'{host}: {what}'
    what += _advice(cause)
    if isinstance(cause, HTTPError):
        return ConnectionError(what, cause.body)
    return ConnectionError(what)


def _text(error: Exception) -> str:
    """The text of an exception, which may be of a class of the application's that has none."""
    try:
        return str(error)
    except Exception:
        return type(error).__name__


def _advice(cause: Exception) -> str:
    """What to try, if the error text alone does not say so."""
    if isinstance(cause, HTTPError):
        return ' (check engineio_path)' if cause.status == 404 else ''
    text = _text(cause)
    if 'not an Engine.IO 4 handshake' in text:
        return ' (check the URL, engineio_path and the version of the server)'
    if _TLS_ALERT in text:
        return ' (the port speaks TLS: use https:// or wss://)'
    if 'WRONG_VERSION_NUMBER' in text.upper().replace(' ', '_'):
        return ' (the port does not speak TLS: use http:// or ws://)'
    return ''
