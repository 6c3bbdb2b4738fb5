"""python-socketio's ``Client`` and ``SimpleClient`` on this package's transport.

They are subclasses of python-socketio's classes, which the extra ``socketio``
installs, and have all of their documented behaviour. The transport runs on
gevent's hub. The program needs no monkey-patching, and an idle client on a
websocket needs no greenlet.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any

import engineio
import gevent
import gevent.event
import socketio

from .. import client, exceptions, process
from ..per_hub import give_way
from ..printable import printable
from ..protocol.json_functions import adapt
from ..session import Session

__all__ = ['Client', 'SimpleClient']

_DISCONNECT = socketio.packet.DISCONNECT


class ConnectionError(
    exceptions.ConnectionError,
    engineio.exceptions.ConnectionError,  # type: ignore[misc]  # python-engineio has no types
):
    """The transport could not connect. python-socketio raises its own exception from it."""


class EngineIOClient(client.Client):
    """The transport of a :class:`Client`, its attribute ``eio``.

    It accepts the options of :class:`engineio_gevent.Client`.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        # Socket.IO's packets are no JSON, though some look like it.
        super().__init__(*args, **{'parse_json': False, **kwargs})
        self._connected_by: object = None  # the greenlet that made the connection, or makes it

    def _own(self, session: Session) -> None:
        super()._own(session)
        self._connected_by = gevent.getcurrent()

    def was_connected_here(self) -> bool:
        """Whether the current greenlet made the connection, and not another one meanwhile."""
        return self._connected_by is gevent.getcurrent()

    def connect(
        self,
        url: str,
        headers: Mapping[str, str] | None = None,
        transports: str | Iterable[str] | None = None,
        engineio_path: str = 'engine.io',
    ) -> None:
        """Connect, like :meth:`engineio_gevent.Client.connect`.

        :raises ConnectionError: the connection failed. The exception is also an
                                 ``engineio.exceptions.ConnectionError``.
        """
        try:
            super().connect(url, headers, transports, engineio_path)
        except exceptions.ConnectionError as exc:
            raise ConnectionError(*exc.args) from exc.__cause__

    def send_together(self, *messages: Any) -> None:
        """Send messages as one uninterrupted sequence.

        Like :meth:`send`, it waits at the write limit, but only after the last message. Killing the
        waiting greenlet therefore cannot split the sequence.
        """
        if self._session is not None:
            self._session.send_together(messages, wait=True)

    def post(self, *messages: Any) -> None:
        """Send messages without waiting at the write limit."""
        if self._session is not None:
            self._session.send_together(messages, wait=False)


class _Log:
    """A logger for the lines of python-socketio.

    It does not raise, because python-socketio logs in the midst of changes of state. The names of
    events and namespaces, which the server has sent, have escapes in place of control characters.

    :param logger: the application's, whose filters and handlers may raise.
    """

    _METHODS = frozenset({'debug', 'info', 'warning', 'error', 'exception', 'critical', 'log'})

    def __init__(self, logger: Any) -> None:
        self._logger = logger

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._logger, name)
        return partial(self._call, found) if name in self._METHODS else found

    def __eq__(self, other: object) -> bool:
        return bool(self._logger == other)

    def __hash__(self) -> int:
        return hash(self._logger)

    @staticmethod
    def _call(method: Callable[..., None], *args: Any, **kwargs: Any) -> None:
        shown = [printable(one) if isinstance(one, str) else one for one in args]
        with contextlib.suppress(Exception):
            method(*shown, **{'stacklevel': 2, **kwargs})


class Client(socketio.Client):  # type: ignore[misc]  # python-socketio has no types
    """``socketio.Client`` on this package's transport.

    It accepts the options of ``socketio.Client`` and those of
    :class:`engineio_gevent.Client`.

    Example::

        sio = Client()

        @sio.event
        def message(data):
            sio.emit('answer', data)

        sio.connect('http://localhost:5000')
        sio.wait()
    """

    eio: EngineIOClient
    connected: bool
    namespaces: dict[str, str]
    reconnection: bool
    #: Whether all namespaces of the last connect() have been connected.
    _was_connected = False

    def __init__(self, *args: Any, handle_sigint: bool = True, **kwargs: Any) -> None:
        if kwargs.get('json') is not None:
            kwargs['json'] = adapt(kwargs['json'])
        # python-socketio would take SIGINT now, from whatever handles it.
        super().__init__(*args, handle_sigint=False, **kwargs)
        self.handle_sigint = self.eio.handle_sigint = handle_sigint
        if isinstance(self.logger, (logging.Logger, logging.LoggerAdapter)):
            self.logger: Any = _Log(self.logger)

    def _engineio_client_class(self) -> type[EngineIOClient]:
        return EngineIOClient

    def connect(self, *args: Any, **kwargs: Any) -> None:
        """Connect, like ``socketio.Client.connect``.

        If it raises, no attempt to connect continues in the background. If the server ends the
        connection just after all namespaces are connected, it returns: the handlers of ``connect``
        and ``disconnect`` are called.
        """
        before = self._reconnect_task
        session = self.eio._session
        self._was_connected = False
        try:
            super().connect(*args, **kwargs)
        except BaseException as exc:  # a kill or any time limit of the caller's leaves nothing open
            own = self.eio._session is not session and self.eio.was_connected_here()
            failed = isinstance(exc, socketio.exceptions.ConnectionError)
            if failed and own and self._was_connected and before is not gevent.getcurrent():
                return
            if self._reconnect_task is not before:
                self._stop_reconnecting()
            if own:
                self.eio.disconnect(abort=True)  # nobody else knows of this connection
            raise

    def emit(
        self,
        event: str,
        data: Any = None,
        namespace: str | None = None,
        callback: Callable[..., Any] | None = None,
    ) -> None:
        """Emit an event, like ``socketio.Client.emit``."""
        try:
            super().emit(event, data, namespace, callback)
        except socketio.exceptions.BadNamespaceError:
            give_way()
            raise

    def shutdown(self) -> None:
        """Disconnect, or stop reconnecting. It may be called in any handler."""
        if not self.connected:
            self._stop_reconnecting()
        if self.connected:
            self.disconnect()
        elif self.eio.state == 'connected':  # another greenlet is in connect()
            self.eio.disconnect()

    def _stop_reconnecting(self) -> None:
        task = self._reconnect_task
        if not task:  # there is none, or it has ended
            return
        if task is gevent.getcurrent():
            self._reconnect_abort.set()
            return
        if gevent.getcurrent() is gevent.get_hub():  # a signal handler, where nothing may wait
            gevent.spawn(self._stop_reconnecting)
            return
        gevent.sleep(0)  # it may have to begin, by which it forgets who wants it to end
        self._reconnect_abort.set()
        self.eio.disconnect()
        task.join()
        self._reconnect_abort.clear()  # a connect(retry=True) waits for the same event

    def _send_packet(self, pkt: socketio.packet.Packet) -> None:
        encoded = pkt.encode()
        if isinstance(encoded, list):  # the server takes nothing between a packet and its binaries
            self.eio.send_together(*encoded)
        elif pkt.packet_type == _DISCONNECT:  # disconnect() is bounded, whatever waits before it
            self.eio.post(encoded)
        else:
            self.eio.send(encoded)

    def _handle_connect(self, namespace: str | None, data: Any) -> None:
        # Upstream does it when the greenlet in connect() goes on. What ends the connection before
        # that would be overlooked: no disconnect event, and a client that seems to be connected.
        if {*self.namespaces, namespace or '/'}.issuperset(self.connection_namespaces):
            self.connected = self._was_connected = True
        try:
            super()._handle_connect(namespace, data)
        except Exception:  # a handler's: without this, connect() waits until its timeout
            self._connect_event.set()
            raise

    def _handle_disconnect(self, namespace: str | None) -> None:
        # Not upstream's. Its state changes after the handler, which may wait: the handler is called
        # again if the connection ends meanwhile, and the next connection is closed.
        if not self.connected:
            return
        namespace = namespace or '/'
        session = self.eio._session
        self.namespaces = {name: sid for name, sid in self.namespaces.items() if name != namespace}
        was_last = not self.namespaces
        try:
            self._trigger_event('disconnect', namespace, self.reason.SERVER_DISCONNECT)
            self._trigger_event('__disconnect_final', namespace)
        finally:
            if was_last and self.eio._session is session:
                self.connected = False
                self.eio.disconnect()
            self._end_waiting(session)

    def _handle_eio_disconnect(self, reason: str) -> None:
        session = self.eio._session
        reconnection = self.reconnection
        if self.connected and not self.namespaces:
            # The server has disconnected the client, and the handler of that still runs.
            self.reconnection = False
        try:
            super()._handle_eio_disconnect(reason)
        except BaseException:  # of the handler: gevent.Timeout and kills, too
            # Upstream would stay "connected", and not reconnect.
            self.namespaces, self.connected = {}, False
            super()._handle_eio_disconnect(reason)
            raise  # The transport logs it, like the exceptions of the other handlers.
        finally:
            self.reconnection = reconnection
            self._end_waiting(session)

    def _end_waiting(self, session: Session | None) -> None:
        """Let connect() end, if it waits for namespaces of a connection that has ended."""
        if session is not None and not self.namespaces and self.eio._session is session:
            self.failed_namespaces[:] = self.connection_namespaces
            self._connect_event.set()


def _end_reconnecting() -> None:
    """SIGINT: as in python-socketio, no client reconnects any more."""
    for one in socketio.base_client.reconnecting_clients:
        if isinstance(one, Client) and one.handle_sigint:
            one._reconnect_abort.set()


process.at_sigint.append(_end_reconnecting)


class SimpleClient(socketio.SimpleClient):  # type: ignore[misc]  # the same
    """``socketio.SimpleClient`` on this package's transport.

    It accepts the arguments of :class:`Client`.
    """

    client_class = Client
    client: Client | None
    connected: bool

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # Upstream's are threading's, which would block the whole thread where nothing is patched.
        self.input_event: gevent.event.Event = gevent.event.Event()
        self.connected_event: gevent.event.Event = _ConnectedEvent(self)

    def disconnect(self) -> None:
        """Disconnect, or stop reconnecting."""
        client = self.client
        super().disconnect()
        if client is not None:
            client.shutdown()


class _ConnectedEvent(gevent.event.Event):
    """Set at a connect and at the final disconnect, of which ``receive()`` should hear, too."""

    def __init__(self, client: SimpleClient) -> None:
        super().__init__()
        self._client = client

    def set(self) -> None:
        super().set()
        self._client.input_event.set()

    def wait(self, timeout: Any = None) -> Any:
        if self.is_set() and not self._client.connected:
            give_way()  # the method that waits for a connection is about to raise
        return super().wait(timeout)
