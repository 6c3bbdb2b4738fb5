"""``EngineIOUser``: a Locust user with an Engine.IO client."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from .client import EngineIOClient
from .keeping import ConnectedUser


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

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        #: The Engine.IO client.
        self.eio: EngineIOClient = EngineIOClient(
            self.report,
            self.message_name,
            self._presence,
            **self._complete(self.client_options),
        )
        self.eio.on_lost = self._come_back
        if not hasattr(self, 'client'):
            self.client: Any = self.eio

    def message_name(self, message: Any) -> str:
        """Return the name for the row ``recv`` of a message that no call waits for.

        Override it to tell messages apart.

        :param message: the message, as a handler would receive it.
        """
        return 'message'

    def _path(self) -> str:
        return self.engineio_path

    def _attempt(self) -> None:
        self.eio.connect(self.host or '', self.headers, self.transports, self.engineio_path)

    def _is_settled(self) -> bool:
        return self.eio.usable

    def _disconnect(self) -> None:
        self.eio.disconnect()
