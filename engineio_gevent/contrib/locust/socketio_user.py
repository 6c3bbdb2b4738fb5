"""``SocketIOUser``: a Locust user with a Socket.IO client."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import gevent

from ...net.deadlines import timer_seconds
from .keeping import ConnectedUser
from .reports import Reports
from .socketio_client import SocketIOClient


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
    #: Whether to reconnect after the server has disconnected the user.
    reconnect: bool = True

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        options = {
            'request_timeout': self.connect_timeout,
            'handle_sigint': False,  # it is Locust's
            **self.options,
        }
        #: Adds rows to the report: ``self.report('push', 'chat', milliseconds=12.5)``.
        self.report: Reports = Reports(self, self.socketio_path)
        #: The Socket.IO client.
        self.sio: SocketIOClient = SocketIOClient(self.report, **options)
        self.sio.wait_timeout = self.connect_timeout
        #: Waits in ``sio.wait()`` while the client is connected, and reconnects.
        self.sio_greenlet: gevent.Greenlet[..., Any] | None = None
        if not hasattr(self, 'client'):
            self.client: Any = self.sio

    def _attempt(self) -> bool:
        try:
            self.sio.connect(
                self.host, headers=dict(self.headers or {}), auth=self.auth,
                transports=self.transports, namespaces=self.namespaces,
                socketio_path=self.socketio_path, wait_timeout=self.connect_timeout,
            )  # fmt: skip
        except Exception:
            return False  # it is reported
        if not self.sio_greenlet:
            self.sio_greenlet = gevent.spawn(self._stay)
        return True

    def _stay(self) -> None:
        self.sio.wait()
        while self.reconnect and self.sio.sent_away:
            for delay in self._delays():
                gevent.sleep(timer_seconds(delay))
                if self._attempt():
                    break
            self.sio.wait()

    def _leave(self) -> None:
        if self.sio_greenlet is not None:
            self.sio_greenlet.kill(block=False)
        self.sio.shutdown()
