"""python-socketio's ``Client`` and ``SimpleClient`` on this package's transport.

They are python-socketio's own classes, with all they document; the extra
``socketio`` installs it. What is different is below them: connections are
greenlets' and the hub's, so that no part of the program has to be
monkey-patched, and an idle client has no greenlet.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import engineio
import gevent
import gevent.event
import gevent.lock
import socketio

from .. import client, exceptions

__all__ = ['Client', 'ConnectionError', 'EngineIOClient', 'SimpleClient']

#: Seconds that the farewell of ``disconnect()`` may wait behind what is queued already.
FAREWELL_TIMEOUT = 3.0


class ConnectionError(exceptions.ConnectionError, engineio.exceptions.ConnectionError):  # type: ignore[misc]
    """``connect()`` of the transport failed; python-socketio makes its own exception of it."""


class EngineIOClient(client.Client):
    """The transport of a :class:`Client`, its attribute ``eio``.

    It takes the options of :class:`engineio_gevent.Client`.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        # Socket.IO's packets are no JSON, though some look like it.
        super().__init__(*args, **{'parse_json': False, **kwargs})

    def connect(
        self,
        url: str,
        headers: Mapping[str, str] | None = None,
        transports: str | Iterable[str] | None = None,
        engineio_path: str = 'engine.io',
    ) -> None:
        """As :meth:`engineio_gevent.Client.connect` does.

        :raises ConnectionError: no connection; python-engineio's exception, too.
        """
        try:
            super().connect(url, headers, transports, engineio_path)
        except exceptions.ConnectionError as exc:
            raise ConnectionError(*exc.args) from exc.__cause__


class Client(socketio.Client):  # type: ignore[misc]
    """``socketio.Client`` on greenlets.

    It takes the options of ``socketio.Client`` and, for the transport, those of
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

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        # Held while a packet and its attachments are handed over.
        self._sending = gevent.lock.BoundedSemaphore()
        super().__init__(*args, **kwargs)

    def _engineio_client_class(self) -> type[EngineIOClient]:
        return EngineIOClient


class SimpleClient(socketio.SimpleClient):  # type: ignore[misc]
    """``socketio.SimpleClient`` on greenlets; the arguments are for its :class:`Client`."""

    client_class = Client

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # Upstream's are threading's, which would block the whole thread where nothing is patched.
        self.connected_event = gevent.event.Event()
        self.input_event = gevent.event.Event()
