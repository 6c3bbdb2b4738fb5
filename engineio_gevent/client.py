"""The public API: a client, its options and its handlers."""

from __future__ import annotations

import json as _json
import logging
from collections.abc import Callable, Iterable, Mapping
from types import ModuleType, TracebackType
from typing import Any, ClassVar, TypeVar, overload

import gevent
import gevent.event
import gevent.queue

from . import process
from .connecting import DisconnectedEarly
from .exceptions import ConnectionError, EngineIOError, HTTPError
from .options import Options, Reason, State
from .session import Session
from .timers import timer_seconds
from .transports.http import HTTP, HTTPSession
from .transports.route import Route

_TRANSPORTS = ('polling', 'websocket')
# How the TLS alert begins that a TLS server sends to a plain request, in the text of an error.
_TLS_ALERT = "begins '\\x15\\x03"

_Handler = TypeVar('_Handler', bound=Callable[..., Any])

#: Bytes that may wait to be sent before ``send()`` waits too.
DEFAULT_WRITE_LIMIT = 1 << 20
#: Bytes of the largest message or polling body taken from a server.
DEFAULT_MAX_MESSAGE_SIZE = 100 << 20


class Client:
    """An Engine.IO client.

    It has the API of python-engineio's ``Client``, on greenlets: every method
    that waits lets the other greenlets run. Creating one opens nothing.

    The options are attributes of the same names, but for ``json`` and
    ``http_session``; a change counts from the next :meth:`connect` on.

    :param logger: ``True`` to log to the logger ``engineio_gevent.client`` at
                   level INFO, a logger to use instead, or ``False``, the
                   default, to log errors alone.
    :param json: a module with ``dumps`` and ``loads`` compatible with the
                 standard library's ``json``, which is the default. It is this
                 client's alone.
    :param request_timeout: seconds for the whole handshake of a connection, for
                            the upgrade after it, and for each POST; ``None``
                            for no bound. The default is 5.
    :param http_session: a ``requests.Session`` to poll with, or a callable that
                         makes one at each connect. Its cookies, auth, proxies,
                         certificates and headers apply to the websocket too.
                         It is never closed by this client. The default,
                         ``None``, polls over connections of the client's own.
    :param ssl_verify: whether to verify the server's certificate and host name.
                       The default is ``True``.
    :param handle_sigint: whether Ctrl-C disconnects this client before it does
                          what it did before. The default is ``True``. It takes
                          effect at a connect in the main thread.
    :param websocket_extra_options: keyword arguments for
                                    ``websocket.create_connection()``, which go
                                    before the client's own.
    :param timestamp_requests: whether the URL of each request carries the time,
                               against caches. The default is ``True``.
    :param try_all_transports: whether to try the next of the transports when the
                               handshake of the first fails. The default is ``False``.
    :param remember_upgrade: whether to begin with the websocket where the last
                             connection of this client was upgraded to it. The
                             default is ``False``.
    :param parse_json: whether the text of a message is tried as JSON, as
                       python-engineio does. ``False`` hands all text over as it
                       is. The default is ``True``.
    :param write_limit: bytes queued above which ``send()`` waits for the server
                        to take some; ``None``: it never waits. The default is 1 MiB.
    :param max_message_size: bytes of the largest message, or polling body, that
                             is taken from the server; ``None``: no limit. The
                             default is 100 MiB.
    """

    reason = Reason
    #: The events that can have a handler.
    event_names: ClassVar[list[str]] = ['connect', 'disconnect', 'message']

    def __init__(
        self,
        logger: bool | logging.Logger = False,
        json: ModuleType | Any = None,
        request_timeout: float | None = 5,
        http_session: HTTPSession | Callable[[], HTTPSession] | None = None,
        ssl_verify: bool = True,
        handle_sigint: bool = True,
        websocket_extra_options: Mapping[str, Any] | None = None,
        timestamp_requests: bool = True,
        *,
        try_all_transports: bool = False,
        remember_upgrade: bool = False,
        parse_json: bool = True,
        write_limit: int | None = DEFAULT_WRITE_LIMIT,
        max_message_size: int | None = DEFAULT_MAX_MESSAGE_SIZE,
    ) -> None:
        json = _json if json is None else json
        #: The logger in use.
        self.logger: logging.Logger = _make_logger(logger)
        #: The handlers by event.
        self.handlers: dict[str, Callable[..., Any]] = {}
        #: The transports of the last ``connect()``, in the order of preference.
        self.transports: list[str] | None = None
        self.ssl_verify = ssl_verify
        self.handle_sigint = handle_sigint
        self.request_timeout = request_timeout
        self.timestamp_requests = timestamp_requests
        self.websocket_extra_options: dict[str, Any] = dict(websocket_extra_options or {})
        self.try_all_transports = try_all_transports
        self.remember_upgrade = remember_upgrade
        self.parse_json = parse_json
        self.write_limit = write_limit
        self.max_message_size = max_message_size
        self._http_session = http_session
        self._verbose = logger is not False
        self._dumps: Callable[..., Any] = json.dumps
        self._loads: Callable[..., Any] = json.loads
        self._upgraded_before = False
        self._session: Session | None = None

    # What callers read

    @property
    def state(self) -> State:
        """``'disconnected'``, ``'connected'`` or ``'disconnecting'``.

        While the disconnect handler runs it still reads ``'connected'`` if the
        transport failed, and ``'disconnecting'`` if one of the two sides wished
        the end.
        """
        return 'disconnected' if self._session is None else self._session.state

    @property
    def sid(self) -> str | None:
        """The session id that the server gave, or None while not connected."""
        return None if self._session is None else self._session.sid

    @property
    def upgrades(self) -> list[str] | None:
        """The transports that the server offered to upgrade to, or None before a connect."""
        handshake = None if self._session is None else self._session.handshake
        return None if handshake is None else list(handshake.upgrades)

    @property
    def ping_interval(self) -> float | None:
        """Seconds between the server's PINGs, or None before a connect."""
        handshake = None if self._session is None else self._session.handshake
        return None if handshake is None else handshake.ping_interval

    @property
    def ping_timeout(self) -> float | None:
        """Seconds past the interval before the other side counts as dead; None before a connect."""
        handshake = None if self._session is None else self._session.handshake
        return None if handshake is None else handshake.ping_timeout

    @property
    def current_transport(self) -> str | None:
        """``'polling'`` or ``'websocket'``, or None before a connect."""
        return None if self._session is None else self._session.transport_name

    @property
    def base_url(self) -> str | None:
        """The URL of the connection by the transport of its handshake, or None before a connect."""
        return None if self._session is None else self._session.base_url

    @property
    def http(self) -> HTTP | HTTPSession | None:
        """What does the HTTP requests: the caller's session, or an object with ``cookies``."""
        if self._session is not None:
            return self._session.http
        return self._http_session if isinstance(self._http_session, HTTPSession) else None

    @property
    def disconnect_error(self) -> Exception | None:
        """The exception that ended the last connection; None if one of the two sides wished it."""
        return None if self._session is None else self._session.error

    @property
    def unsent(self) -> int:
        """How many messages :meth:`send` took that have not left; after the end: never did.

        It goes to 0 as the server takes them, and :meth:`disconnect` waits for
        that. What remains when the connection has ended was not delivered; it
        is there to read in the disconnect handler, and until the next
        :meth:`connect`.

        By a websocket a message has left when the operating system has taken
        all of it: the last ones may still be lost with the connection. Where
        that is by TLS, the first 64 KiB of what counts here may have left, too. By
        polling it has left when the server has answered the POST that carried
        it: a message of a POST without an answer counts here, though the server
        may have got it. To know what was processed, have the server say so.

        Reading it takes 0.3 us for each message that has not left.
        """
        return 0 if self._session is None else self._session.unsent

    def transport(self) -> str | None:
        """The name of the transport in use.

        :returns: ``'polling'`` or ``'websocket'``; None before a connect.
        """
        return self.current_transport

    def is_asyncio_based(self) -> bool:
        """Whether this client runs on asyncio: it does not."""
        return False

    # Handlers

    @overload
    def on(self, event: str) -> Callable[[_Handler], _Handler]: ...

    @overload
    def on(self, event: str, handler: _Handler) -> None: ...

    def on(self, event: str, handler: Any = None) -> Any:
        """Register the handler of an event, in place of the one before.

        Handlers run in greenlets of their own, in a copy of the context
        variables of the call to :meth:`connect`. They start in the order in
        which messages arrive; one that waits delays no other. What one raises
        is logged.

        :param event: ``'connect'``: no argument; it runs inside
                      :meth:`connect`, and what it raises makes that fail.
                      ``'message'``: the data. ``'disconnect'``: the reason, one
                      of :attr:`reason`; a handler without arguments will do.
        :param handler: the function; without it the method is a decorator.
        :raises ValueError: there is no such event.

        Example::

            @eio.on('message')
            def message(data):
                eio.send('response')
        """
        if event not in self.event_names:
            raise ValueError(f'Invalid event {event!r}: use one of {", ".join(self.event_names)}')

        def register(handler: _Handler) -> _Handler:
            self.handlers[event] = handler
            return handler

        if handler is None:
            return register
        register(handler)
        return None

    # The connection

    def connect(
        self,
        url: str,
        headers: Mapping[str, str] | None = None,
        transports: str | Iterable[str] | None = None,
        engineio_path: str = 'engine.io',
    ) -> None:
        """Connect to a server, and upgrade to a websocket where both sides can.

        It returns when messages can flow, by the websocket if there is one.

        :param url: ``http``, ``https``, ``ws`` or ``wss``, the host, and any
                    query string, which goes with each request.
        :param headers: headers for each request and for the websocket.
        :param transports: ``'polling'``, ``'websocket'`` or a list of them, the
                           one to begin with first. The default begins with
                           polling and upgrades.
        :param engineio_path: where Engine.IO is mounted on the server.
        :raises ValueError: this client is connected already, no transport is
                            left, or an argument is not valid.
        :raises ConnectionError: no connection. The first argument says what
                                 happened, the second is the server's JSON body
                                 where it sent one; the cause is chained.
        :raises RuntimeError: this process is a fork of the one that connected.

        Example::

            eio = engineio_gevent.Client()
            eio.connect('http://localhost:5000')
        """
        self._refuse_connected()
        self.transports = _choose_transports(transports)
        route = Route(
            url,
            headers,
            engineio_path,
            verify=self.ssl_verify,
            http_session=self._http_session,
            websocket_options=self.websocket_extra_options,
            timestamp=self.timestamp_requests,
        )
        self._refuse_connected()  # a callable http_session may have let another greenlet in
        if self.handle_sigint:
            process.install_sigint()
        session = self._open(route)
        try:
            session.greet()
        except Exception as exc:
            self.logger.exception('connect handler error')
            self._session = None
            raise ConnectionError(f'Connect handler failed: {exc}') from exc
        except BaseException:  # a GreenletExit or a gevent.Timeout of the caller's
            self._session = None
            raise
        self._complete(session)

    def _open(self, route: Route) -> Session:
        """The handshake, by the first transport or by the first that works."""
        assert self.transports is not None
        options = Options(
            logger=self.logger,
            verbose=self._verbose,
            dumps=self._dumps,
            loads=self._loads,
            parse_json=self.parse_json,
            request_timeout=self.request_timeout,
            write_limit=self.write_limit,
            max_message_size=self.max_message_size,
            handle_sigint=self.handle_sigint,
        )
        order = list(self.transports)
        remembered = self.remember_upgrade and self._upgraded_before and 'websocket' in order
        if remembered:
            order.sort(key='websocket'.__ne__)
        self._upgraded_before = False
        failure: Exception | None = None
        for name in order if self.try_all_transports else order[:1]:
            self._session = session = Session(options, self.handlers, route)
            if self._verbose:
                self.logger.info('Attempting %s connection to %s', name, session.url(name))
            try:
                session.open(name)
            except Exception as exc:
                # Of several failures the first is the one of the transport that was asked for.
                failure = failure or exc
                self._session = None
                if isinstance(exc, DisconnectedEarly):
                    break
            except BaseException:  # as above
                self._session = None
                raise
            else:
                self._upgraded_before = remembered and name == 'websocket'
                return session
        assert failure is not None
        raise _connection_error(failure, route.netloc) from failure

    def _complete(self, session: Session) -> None:
        """Upgrade where that can be, and set the connection to work."""
        assert self.transports is not None
        assert session.handshake is not None
        try:
            if (
                session.transport_name == 'polling'
                and 'websocket' in self.transports
                and 'websocket' in session.handshake.upgrades
            ):
                self._upgraded_before = session.upgrade()
            session.settle()
        except BaseException:  # the same: nothing stays connected that nobody asked for
            session.close(Reason.CLIENT_DISCONNECT, None)
            raise

    def wait(self) -> None:
        """Wait until the connection has ended and the disconnect handler has run.

        Returns at once while not connected, and in the disconnect handler itself.
        Legal from every native thread.

        :raises RuntimeError: the thread of :meth:`connect` has ended and has left
                              the connection behind.
        """
        if self._session is not None:
            self._refuse_fork(self._session)
            self._session.wait()
            process.wait_for_sigint()

    def send(self, data: Any) -> None:
        """Send a message; it is dropped silently while not connected, as upstream does.

        Waits, cooperatively, while more than ``write_limit`` bytes are queued.
        Legal from every greenlet, handler and native thread; the order of each
        sender is kept. Another native thread than that of :meth:`connect` never
        waits: it hands over, whatever is queued.

        :param data: ``str``; ``bytes``, ``bytearray`` or ``memoryview``, sent as
                     binary; ``list`` or ``dict``, sent as JSON; or ``int``,
                     ``float``, ``bool`` or ``None``, sent as text.
        :raises TypeError: data of another type.
        :raises ValueError: text that cannot be sent: with a lone surrogate, or
                            with U+001E over polling, which has no form for it.
        :raises RuntimeError: this process is a fork of the one that connected, or
                              the thread of :meth:`connect` has ended.
        """
        session = self._session
        if session is None:
            return
        if session.state != 'connected':
            self._refuse_fork(session)
            return
        session.send(data)

    def disconnect(self, abort: bool = False, reason: str | None = None) -> None:
        """Leave the server, once everything sent before has gone out.

        It is legal from every greenlet, handler, native thread and signal handler,
        any number of times. Against a server that takes nothing, or does not
        answer, it returns after 3 seconds; against one that takes what is queued
        slowly, after 30. What remained then is counted by :attr:`unsent`.

        :param abort: whether to drop what is still queued and leave at once.
        :param reason: for the disconnect handler, in place of ``'client disconnect'``.
        """
        if self._session is not None and not self._session.forked:
            self._session.disconnect(abort, reason)

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.disconnect()

    def _refuse_connected(self) -> None:
        if self._session is not None:
            self._refuse_fork(self._session)
            if not self._session.over:
                raise ValueError('Client is not in a disconnected state')

    @staticmethod
    def _refuse_fork(session: Session) -> None:
        if session.forked:
            raise RuntimeError(
                'this client was connected before the process forked, and the connection '
                'belongs to the parent process: create a new Client in the child process'
            )

    # Tools for applications that do not want to know what they run on

    def start_background_task(
        self, target: Callable[..., Any], *args: Any, **kwargs: Any
    ) -> gevent.Greenlet[..., Any]:
        """Run a function in a greenlet.

        :param target: the function; the other arguments are for it.
        :returns: the greenlet, which has ``join()``.
        """
        return gevent.spawn(target, *args, **kwargs)

    def sleep(self, seconds: float = 0) -> None:
        """Sleep for some seconds while other greenlets run."""
        gevent.sleep(timer_seconds(seconds))

    def create_queue(self, *args: Any, **kwargs: Any) -> gevent.queue.Queue[Any]:
        """A new ``gevent.queue.Queue``."""
        return gevent.queue.Queue(*args, **kwargs)

    def get_queue_empty_exception(self) -> type[Exception]:
        """The exception of an empty queue, ``gevent.queue.Empty``."""
        return gevent.queue.Empty

    def create_event(self, *args: Any, **kwargs: Any) -> gevent.event.Event:
        """A new ``gevent.event.Event``."""
        return gevent.event.Event(*args, **kwargs)


def _choose_transports(wanted: str | Iterable[str] | None) -> list[str]:
    if wanted is None:
        return list(_TRANSPORTS)
    wanted = [wanted] if isinstance(wanted, str) else wanted
    chosen = [name for name in wanted if name in _TRANSPORTS]
    if not chosen:
        raise ValueError('No valid transports provided')
    return chosen


def _connection_error(cause: Exception, host: str) -> ConnectionError:
    """The one exception of ``connect()``, with the server's JSON body where it sent one.

    :param host: of the server; named in the text, once.
    """
    what = str(cause) or type(cause).__name__
    if not isinstance(cause, EngineIOError):
        what = f'{type(cause).__name__}: {what}'
    if host not in what:
        what = f'{host}: {what}'
    what += _advice(cause)
    if isinstance(cause, HTTPError) and cause.body is not None:
        return ConnectionError(what, cause.body)
    return ConnectionError(what)


def _advice(cause: Exception) -> str:
    """What to try, for the mistakes that a text of the server or of OpenSSL does not name."""
    if isinstance(cause, HTTPError):
        return ' (check engineio_path)' if cause.status == 404 else ''
    text = str(cause)
    if 'not an Engine.IO 4 handshake' in text:
        return ' (check the URL, engineio_path and the version of the server)'
    if _TLS_ALERT in text:
        return ' (the port speaks TLS: use https:// or wss://)'
    if 'WRONG_VERSION_NUMBER' in text.upper().replace(' ', '_'):
        return ' (the port does not speak TLS: use http:// or ws://)'
    return ''


def _make_logger(logger: bool | logging.Logger) -> logging.Logger:
    if not isinstance(logger, bool):
        return logger
    own = logging.getLogger('engineio_gevent.client')
    if logger:
        # The application asked for it: only now, and only our own logger.
        if own.level == logging.NOTSET:
            own.setLevel(logging.INFO)
        if not own.hasHandlers():
            own.addHandler(logging.StreamHandler())
    return own
