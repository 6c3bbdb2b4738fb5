"""``SocketIOUser``: a Locust user with a Socket.IO client."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import gevent

from ...timers import timer_seconds
from .keeping import ConnectedUser
from .reports import Reports
from .socketio_client import SocketIOClient


class SocketIOUser(ConnectedUser):
    """A user that speaks Socket.IO, by python-socketio on this package's transport.

    It connects when it starts, as often as needed. When the connection is lost, python-socketio
    reconnects, as its options say; when the server sends the user away, the user does. Reported
    to Locust are ``connect`` and ``call``, with their milliseconds, and ``emit``, ``send``,
    ``recv`` and ``disconnect``, which are counted.

    It has the attributes of :class:`.keeping.ConnectedUser`, too.
    """

    abstract = True

    #: Options of :class:`engineio_gevent.contrib.socketio.Client`.
    options: Mapping[str, Any] = {}
    #: Headers for each request and for the websocket.
    headers: Mapping[str, str] | None = None
    #: Sent to the server when connecting.
    auth: Any = None
    #: ``'polling'``, ``'websocket'`` or a list of them; None: polling, then the upgrade.
    transports: str | Sequence[str] | None = None
    #: The namespaces to connect to; None: those that handlers are registered for, or ``'/'``.
    namespaces: str | Sequence[str] | None = None
    #: Where Socket.IO is mounted on the server.
    socketio_path: str = 'socket.io'
    #: Whether to connect again when the server has sent the user away.
    reconnect: bool = True

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        options = {
            'request_timeout': self.connect_timeout,
            'handle_sigint': False,  # it is Locust's
            **self.options,
        }
        #: To tell Locust of something else: ``self.report('push', 'chat', milliseconds=12.5)``.
        self.report: Reports = Reports(self, self.socketio_path)
        #: The client.
        self.sio: SocketIOClient = SocketIOClient(self.report, **options)
        self.sio.wait_timeout = self.connect_timeout
        #: In ``sio.wait()`` while there is a connection; it begins the next one.
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
