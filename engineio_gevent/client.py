"""The public API: the client, its options and its handlers."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterable, Mapping
from types import ModuleType, TracebackType
from typing import Any, ClassVar, TypeVar, overload
from urllib.parse import urlsplit

from . import options, process
from .connecting import Connecting, choose_transports, connection_error
from .net.by_caller import Dial
from .net.dial import make_dialer
from .net.race import SocketOptions
from .options import Options, Reason, State
from .per_hub import give_way
from .protocol.json_functions import json_functions
from .session import Session
from .tools import Tools
from .transports.caller_session import HTTPSession, known_session
from .transports.cookies import Cookies
from .transports.route import FilePath, Route

_Handler = TypeVar('_Handler', bound=Callable[..., Any])


class Client(Tools):
    """An Engine.IO client for gevent.

    It has the API of python-engineio's ``Client``. A method that waits lets
    other greenlets run. Creating a client opens no connection.

    Each option is also an attribute of the same name, except ``json`` and
    ``http_session``. A change to an attribute takes effect at the next
    :meth:`connect`.

    :param logger: ``True`` logs to the logger ``engineio_gevent.client`` at
                   level INFO. A logger object logs to that logger. ``False``,
                   the default, logs only errors.
    :param json: the JSON package of this client, such as ``orjson`` or
                 ``msgspec.json``: a module or object with ``dumps`` and ``loads``,
                 or with ``encode`` and ``decode``. Default: the standard library's.
    :param request_timeout: timeout in seconds for the whole handshake, for the
                            upgrade that follows it, and for each POST. ``None``
                            means no timeout. With an ``http_session`` it can be
                            requests' pair for connecting and reading; the sum
                            applies to the handshake. The default is 5.
    :param http_session: a ``requests.Session`` for polling, or a callable that
                         returns one at each connect. Its cookies, auth, proxies,
                         certificates and headers also apply to the websocket.
                         The client never closes it. With the default, ``None``,
                         the client polls over its own connections.
    :param ssl_verify: whether to verify the server's certificate and host name,
                       or the path of a CA bundle to verify it with. The default
                       is ``True``.
    :param handle_sigint: whether Ctrl-C disconnects this client before it raises
                          ``KeyboardInterrupt``. It has no effect outside the
                          main thread, or if SIGINT has another handler than
                          Python's default. The default is ``True``.
    :param websocket_extra_options: keyword arguments for
                                    ``websocket.create_connection()``. They
                                    override the client's own settings.
    :param timestamp_requests: whether to add the current time to the URL of each
                               request, so that caches do not answer it. The
                               default is ``True``.
    :param try_all_transports: whether to try the next transport if the handshake
                               of the first one fails. The default is ``False``.
    :param remember_upgrade: whether to begin with the websocket if this client's
                             last connection was upgraded to it. The default is
                             ``False``.
    :param parse_json: whether to decode received text that is valid JSON, as
                       python-engineio does. Text that begins with a digit stays
                       text. ``False`` passes all text to the handler unchanged.
                       The default is ``True``.
    :param write_limit: number of queued bytes above which ``send()`` waits for
                        the server (back pressure). ``None`` means that ``send()``
                        never waits. The default is 1 MiB.
    :param max_message_size: largest message or polling body, in bytes, that the
                             client accepts from the server. ``None`` means no
                             limit. The default is 100 MiB.
    :param ssl_cert: a client certificate: the path of a PEM file that has its key, too, or the
                     paths of the certificate and the key. The default is ``None``.
    :param dial: a function that is called with a host and a port for each TCP
                 connection, and returns a connected socket. The default, ``None``,
                 connects to the host. See :mod:`engineio_gevent.addresses`.
    :param source_addresses: the IP address of this machine to connect from, or a list that the
                             connections of all clients with equal lists use in turn. The
                             default, ``None``, lets the operating system choose.
    :param max_receive_delay: seconds for which received messages may be collected, while many
                              arrive and none is sent. It saves CPU time. 0 switches this off.
                              The default is 0.001.
    :param sockopt: ``setsockopt()`` arguments for each TCP connection, as a list
                    of tuples. The default is none.
    """

    reason = Reason
    #: The events for which a handler can be registered.
    event_names: ClassVar[list[str]] = ['connect', 'disconnect', 'message']

    def __init__(
        self,
        logger: bool | logging.Logger = False,
        json: ModuleType | Any = None,
        request_timeout: float | tuple[float, float] | None = 5,
        http_session: HTTPSession | Callable[[], HTTPSession] | None = None,
        ssl_verify: bool | FilePath = True,
        handle_sigint: bool = True,
        websocket_extra_options: Mapping[str, Any] | None = None,
        timestamp_requests: bool = True,
        *,
        try_all_transports: bool = False,
        remember_upgrade: bool = False,
        parse_json: bool = True,
        write_limit: int | None = options.WRITE_LIMIT,
        max_message_size: int | None = options.MAX_MESSAGE_SIZE,
        ssl_cert: FilePath | tuple[FilePath, FilePath] | None = None,
        dial: Dial | None = None,
        source_addresses: str | Collection[str] | None = None,
        sockopt: SocketOptions = (),
        max_receive_delay: float = options.MAX_RECEIVE_DELAY,
    ) -> None:
        #: The logger that this client uses.
        self.logger: logging.Logger = options.make_logger(logger)
        #: The registered handlers, by event name.
        self.handlers: dict[str, Callable[..., Any]] = {}
        #: The transports of the last ``connect()``, in order of preference.
        self.transports: list[str] | None = None
        self.ssl_verify = ssl_verify
        self.handle_sigint = handle_sigint
        self.request_timeout = request_timeout
        self.timestamp_requests = timestamp_requests
        self.websocket_extra_options: dict[str, Any] = options.keyword_arguments(
            'websocket_extra_options', websocket_extra_options
        )
        self.try_all_transports = try_all_transports
        self.remember_upgrade = remember_upgrade
        self.parse_json = parse_json
        self.write_limit = write_limit
        self.max_message_size = max_message_size
        self.ssl_cert = ssl_cert
        self.dial = dial
        self.source_addresses = source_addresses
        self.sockopt = sockopt
        self.max_receive_delay = max_receive_delay
        self._http_session = http_session
        self._verbose = logger is not False
        self._dumps, self._loads = json_functions(json)
        self._upgraded_before = False
        self._session: Session | None = None

    # What callers read

    @property
    def state(self) -> State:
        """``'disconnected'``, ``'connected'`` or ``'disconnecting'``.

        In the disconnect handler, it is ``'connected'`` if the transport failed and
        :meth:`disconnect` was not called. Otherwise it is ``'disconnecting'``.
        """
        return 'disconnected' if self._session is None else self._session.state

    @property
    def sid(self) -> str | None:
        """The id that the server assigned to the connection. None while not connected."""
        return None if self._session is None else self._session.sid

    @property
    def upgrades(self) -> list[str] | None:
        """The transports to which the server offered to upgrade. None before a connect."""
        found = None if self._session is None else self._session.open_packet
        return None if found is None else list(found.upgrades)

    @property
    def ping_interval(self) -> float | None:
        """Interval between the server's PING packets, in seconds. None before a connect."""
        found = None if self._session is None else self._session.open_packet
        return None if found is None else found.ping_interval

    @property
    def ping_timeout(self) -> float | None:
        """How late the next PING packet may be, in seconds. None before a connect."""
        found = None if self._session is None else self._session.open_packet
        return None if found is None else found.ping_timeout

    @property
    def current_transport(self) -> str | None:
        """The transport in use: ``'polling'`` or ``'websocket'``. None before a connect."""
        return None if self._session is None else self._session.transport_name

    @property
    def base_url(self) -> str | None:
        """The URL of the connection, for the transport of the handshake. None before a connect."""
        return None if self._session is None else self._session.base_url

    @property
    def http(self) -> Cookies | HTTPSession | None:
        """Your ``http_session``, or after a handshake by polling an object with ``cookies``."""
        if self._session is not None:
            return self._session.http
        return known_session(self._http_session)

    @property
    def disconnect_error(self) -> Exception | None:
        """The exception that ended the last connection.

        None after a clean close by the client or the server.
        """
        return None if self._session is None else self._session.error

    @property
    def unsent(self) -> int:
        """The number of messages that :meth:`send` accepted and that are not yet sent.

        It falls to 0 as the server accepts data, and :meth:`disconnect` waits for
        that. After the end of a connection it is the number of messages that were
        never sent. Read it in the disconnect handler, or at any time until the
        next :meth:`connect`.

        Over a websocket, a message counts as sent when the operating system has accepted all of it.
        The last messages can still be lost with the connection. With TLS, up to 64 KiB of the
        counted messages may already have been sent.

        Over polling, a message counts as sent when the server has answered the POST that carried
        it. If the answer is lost, it counts as unsent, although the server may have received it.

        To know that a message was processed, let the server confirm it. Reading
        this attribute takes 0.3 us for each unsent message.
        """
        return 0 if self._session is None else self._session.unsent

    def transport(self) -> str | None:
        """Return :attr:`current_transport`."""
        return self.current_transport

    def is_asyncio_based(self) -> bool:
        """Return False: this client does not use asyncio."""
        return False

    # Handlers

    @overload
    def on(self, event: str) -> Callable[[_Handler], _Handler]: ...

    @overload
    def on(self, event: str, handler: _Handler) -> None: ...

    def on(self, event: str, handler: Any = None) -> Any:
        """Register the handler of an event. It replaces the previous handler.

        The message and disconnect handlers each run in a greenlet of their own,
        with a copy of the context variables of the :meth:`connect` call. Message
        handlers start in the order in which messages arrive. A handler that
        waits does not delay the others. An exception that it raises is logged.

        The connect handler runs inside :meth:`connect`, which fails if it raises.
        Messages are held back until it returns or the connection ends.

        :param event: ``'connect'``, ``'message'`` or ``'disconnect'``. The
                      connect handler takes no argument. The message handler
                      takes the data. The disconnect handler takes the reason,
                      one of :attr:`reason`, or no argument.
        :param handler: the function. Without it, this method is a decorator.
        :raises ValueError: the event does not exist.

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
        """Connect to a server, and upgrade to a websocket if both sides support it.

        It returns when messages can be sent and received, or when the connection has already ended.
        It can be called again in the disconnect handler, but not in two native threads at once.

        :param url: the server: a scheme (``http``, ``https``, ``ws`` or ``wss``)
                    and a host. A query string is added to each request. It must
                    not have another path than ``engineio_path``.
        :param headers: headers for each polling request and for the websocket
                        handshake, without ``Content-Length`` and the like.
        :param transports: ``'polling'``, ``'websocket'`` or a list of them, in
                           order of preference. The default begins with polling
                           and upgrades to the websocket.
        :param engineio_path: the path at which the server serves Engine.IO.
        :raises ValueError: this client is not disconnected, another greenlet is
                            connecting it, or an argument is not valid.
        :raises ConnectionError: the connection or the connect handler failed. The
                                 first argument names the server and the cause.
                                 A JSON body of the server is the second one. The
                                 original exception is the ``__cause__``.
        :raises RuntimeError: this process was forked after the client connected.

        Example::

            eio = engineio_gevent.Client()
            eio.connect('http://localhost:5000')
        """
        self._refuse_connected()
        order = self.transports = choose_transports(transports)
        try:
            route = Route(
                url,
                headers,
                engineio_path,
                verify=self.ssl_verify,
                cert=self.ssl_cert,
                dialer=make_dialer(self.dial, self.source_addresses, self.sockopt),
                http_session=self._http_session,
                websocket_options=self.websocket_extra_options,
                timestamp=self.timestamp_requests,
            )
        except OSError as exc:  # no descriptor for netrc, or for an import
            raise connection_error(exc, urlsplit(url).netloc.rpartition('@')[2]) from exc
        chosen = Options(
            logger=self.logger,
            verbose=self._verbose,
            dumps=self._dumps,
            loads=self._loads,
            parse_json=self.parse_json,
            request_timeout=options.total_timeout(self.request_timeout),
            timeouts=self.request_timeout if isinstance(self.request_timeout, tuple) else None,
            write_limit=options.size_limit('write_limit', self.write_limit),
            max_message_size=options.size_limit('max_message_size', self.max_message_size),
            max_receive_delay=options.receive_delay(self.max_receive_delay),
            handle_sigint=self.handle_sigint,
        )
        if self.handle_sigint:
            process.install_sigint()
        websocket_first = self.remember_upgrade and self._upgraded_before and 'websocket' in order
        if websocket_first:
            order = sorted(order, key='websocket'.__ne__)
        self._upgraded_before = False
        chosen = options.shared(chosen)
        connecting = Connecting(chosen, self.handlers, route, own=self._own, disown=self._disown)
        first, last = connecting.run(
            order if self.try_all_transports else order[:1], 'websocket' in order
        )
        self._upgraded_before = last == 'websocket' and (websocket_first or first != last)

    def _own(self, session: Session) -> None:
        """Make a session this client's own. No other greenlet runs between the check and that."""
        self._refuse_connected()
        self._session = session

    def _disown(self, session: Session) -> None:
        """Forget a session that failed to connect, if it is still this client's own."""
        if self._session is session:
            self._session = None

    def wait(self) -> None:
        """Wait until the connection has ended and the disconnect handler has finished.

        It returns at once while not connected, and in the disconnect handler. It
        can be called in any native thread.

        :raises RuntimeError: this process was forked after the client connected,
                              or the thread that called :meth:`connect` has ended.
        """
        if (session := self._session) is not None:
            session.refuse_fork()
            session.wait()
            process.wait_for_sigint()
        if session is None or session.state == 'disconnected':  # not in the disconnect handler
            give_way()

    def send(self, data: Any) -> None:
        """Send a message.

        While not connected, the message is dropped silently, as in
        python-engineio. While more than ``write_limit`` bytes are queued, the
        call waits and other greenlets run.

        It can be called in any greenlet, handler and native thread. The messages
        of each sender keep their order. In another native thread than the one
        that called :meth:`connect`, it never waits.

        :param data: ``str`` is sent as text. ``bytes``, ``bytearray`` and
                     ``memoryview`` are sent as a binary message. ``list`` and
                     ``dict`` are sent as JSON. ``int``, ``float`` and ``bool``
                     are sent as their ``str()``. ``None`` is sent as an empty
                     message.
        :raises TypeError: data of any other type.
        :raises ValueError: text that cannot be sent. It has a lone surrogate, or
                            it has U+001E and the transport is polling.
        :raises RuntimeError: this process was forked after the client connected,
                              or the thread that called :meth:`connect` has ended.
        """
        if (session := self._session) is not None:
            session.send(data)
        else:
            give_way()

    def disconnect(self, abort: bool = False, reason: str | None = None) -> None:
        """Send the queued messages, then close the connection.

        It can be called in any greenlet, handler, native thread and signal handler, any number of
        times. If the server accepts no data or does not answer, it waits for 3 seconds. If the
        server accepts data slowly, it waits for at most 30 seconds. Then it waits for the
        disconnect handler. If the connection is ending already, it waits for at most 3 seconds, and
        not at all in a handler of this connection. :attr:`unsent` counts the messages not sent.

        In another native thread than that of :meth:`connect`, it waits for at most 3 seconds, or
        0.25 with ``abort``, and may return before the disconnect handler has run.

        :param abort: whether to drop the queued messages and close at once. Over
                      polling, it waits up to 0.25 seconds for the server's answer.
        :param reason: the reason for the disconnect handler. The default is
                       ``'client disconnect'``.
        """
        if self._session is not None:
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
            self._session.refuse_fork()
            self._session.refuse_connect()
