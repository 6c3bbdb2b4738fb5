"""``SocketIOUser``: a Locust user with a Socket.IO client."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from .keeping import ConnectedUser
from .socketio_client import SocketIOClient
from .socketio_events import row_name


class SocketIOUser(ConnectedUser):
    """A Locust user with a Socket.IO client: python-socketio's on this package's transport.

    It connects when it starts, and retries until it is connected. When the connection is lost,
    python-socketio reconnects, according to its options. When the server disconnects the user,
    the user reconnects by itself. It reports ``connect`` and ``call`` with response times, and
    ``emit``, ``send``, ``recv`` and ``disconnect`` without.

    It also has the attributes of :class:`.keeping.ConnectedUser`.
    """

    abstract = True

    #: Options of :class:`engineio_gevent.contrib.socketio.Client`.
    options: Mapping[str, Any] = {}
    #: Headers of each HTTP request and of the websocket.
    headers: Mapping[str, str] | None = None
    #: Data sent to each namespace when connecting, such as a token.
    auth: Any = None
    #: ``'polling'``, ``'websocket'`` or a list of them; None: polling, then an upgrade.
    transports: str | Sequence[str] | None = None
    #: Namespaces to connect to; None: those that have handlers, or ``'/'``.
    namespaces: str | Sequence[str] | None = None
    #: Path of Socket.IO on the server.
    socketio_path: str = 'socket.io'
    #: Whether to reconnect after the server has disconnected the user. After a lost connection,
    #: python-socketio reconnects, according to its options.
    reconnect: bool = True

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        #: The Socket.IO client.
        self.sio: SocketIOClient = SocketIOClient(
            self.report, self.message_name, self._presence, **self._complete(self.options)
        )
        self.sio.wait_timeout = self.connect_timeout
        self.sio.on_sent_away = self._come_back
        if not hasattr(self, 'client'):
            self.client: Any = self.sio

    def message_name(self, event: str, namespace: str, *args: Any) -> str:
        """Return the name for the row ``recv`` of an event.

        The default is the event, after the namespace if that is not ``'/'``. Override it if events
        have names with ids, or to tell events apart by their data.

        :param event: the name of the event.
        :param namespace: the namespace.
        :param args: the arguments of the event, as a handler would receive them.
        """
        return row_name(event, namespace)

    def _path(self) -> str:
        return self.socketio_path

    def _attempt(self) -> None:
        self.sio._wait_until_ended()
        self.sio.connect(
            self.host, headers=dict(self.headers or {}), auth=self.auth,
            transports=self.transports, namespaces=self.namespaces,
            socketio_path=self.socketio_path, wait_timeout=self.connect_timeout,
        )  # fmt: skip

    def _is_settled(self) -> bool:
        return self.sio.connected or bool(self.sio._reconnect_task)

    def _disconnect(self) -> None:
        self.sio._report_kicks()
        self.sio.shutdown()
