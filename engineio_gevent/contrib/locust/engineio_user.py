"""``EngineIOUser``: a Locust user with an Engine.IO client."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import gevent

from ...net.deadlines import timer_seconds
from .client import EngineIOClient
from .keeping import ConnectedUser
from .reports import Reports


class EngineIOUser(ConnectedUser):
    """A Locust user with an Engine.IO client.

    It connects when it starts, reconnects when the connection is lost, and disconnects when it
    stops. It retries until it is connected. It reports ``connect``, ``upgrade`` and ``request``
    with response times, and ``send``, ``recv`` and ``disconnect`` without.

    It also has the attributes of :class:`.keeping.ConnectedUser`.

    It can be combined with Locust's users. In ``class Visitor(HttpUser, EngineIOUser)``,
    ``client`` is the HTTP client and ``eio`` the Engine.IO client.
    """

    abstract = True

    #: ``'polling'``, ``'websocket'`` or a list of them; None: polling, then an upgrade.
    transports: str | Iterable[str] | None = None
    #: Path of Engine.IO on the server.
    engineio_path: str = 'engine.io'
    #: Headers of each HTTP request and of the websocket.
    headers: Mapping[str, str] | None = None
    #: Options of :class:`engineio_gevent.Client`.
    client_options: Mapping[str, Any] = {}
    #: Whether to reconnect after the connection is lost.
    reconnect: bool = True

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        options = {
            'request_timeout': self.connect_timeout,
            'handle_sigint': False,  # it is Locust's
            **self.client_options,
        }
        #: Adds rows to the report: ``self.report('push', 'chat', milliseconds=12.5)``.
        self.report: Reports = Reports(self, self.engineio_path)
        #: The Engine.IO client.
        self.eio: EngineIOClient = EngineIOClient(self.report, self.message_name, **options)
        self.eio.on_lost = self._on_lost
        self._stays = True
        self._connecting: gevent.Greenlet[..., Any] | None = None
        if not hasattr(self, 'client'):
            self.client: Any = self.eio

    def message_name(self, message: Any) -> str:
        """Return the name for the row ``recv`` of a message that no call waits for.

        Override it to tell messages apart.

        :param message: the message, as a handler would receive it.
        """
        return 'message'

    def _attempt(self) -> bool:
        try:
            self.eio.connect(self.host or '', self.headers, self.transports, self.engineio_path)
        except Exception:
            return False  # it is reported
        return True

    def _on_lost(self) -> None:
        if self._stays and self.reconnect and self._connecting is None:
            self.eio.reconnecting = True
            self._connecting = gevent.spawn(self._connect_again)

    def _connect_again(self) -> None:
        try:
            for delay in self._delays():
                gevent.sleep(timer_seconds(delay))
                if self._attempt() and self.eio.usable:  # it may be lost already
                    return
        finally:
            self._connecting = None
            self.eio.reconnecting = False

    def _leave(self) -> None:
        self._stays = False
        if self._connecting is not None:
            self._connecting.kill()
            self.eio.reconnecting = False  # the greenlet may not have begun
        self.eio.disconnect()
