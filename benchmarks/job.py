"""The job of a worker, passed as JSON in its first argument."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass
class Job:
    """One run of one system: the work, its counts, and the servers.

    A worker prints one line of JSON with its figures by name: seconds per
    operation, bytes, or counts.
    """

    #: connect, crowd, echo, latency, receive, send or heartbeat; see the README.
    verb: str
    #: ``engineio`` or ``socketio``.
    protocol: str = 'engineio'
    #: ``websocket``, ``polling``, or ``upgrade`` (polling, then websocket).
    transport: str = 'websocket'
    tls: bool = False
    clients: int = 1
    #: Round trips of each client, or messages of a flood.
    messages: int = 0
    #: Size of a message in bytes.
    size: int = 64
    #: ``text``, ``binary`` or ``json``.
    kind: str = 'text'
    #: Number of messages that the server sends in one turn of its event loop.
    batch: int = 1
    #: Time that each handler sleeps, in seconds.
    sleep: float = 0.0
    #: Messages per second of all clients together. 0 sends each message after the last echo.
    rate: float = 0.0
    #: Duration of the heartbeat measure, in seconds.
    seconds: float = 0.0
    #: Whether engineio_gevent does without its extension in C, even if it is built.
    pure: bool = False
    #: Whether engineio_gevent has the option ``json=orjson``.
    orjson: bool = False
    #: Whether engineio_gevent has the option ``max_receive_delay=0``.
    at_once: bool = False
    #: Interval of the server's PINGs, in seconds.
    ping_interval: float = 25.0
    #: The servers. Clients are spread over them in turn.
    urls: list[str] = field(default_factory=list)
    #: Path without suffix for a profile of the measured part.
    profile: str | None = None

    def url(self, number: int) -> str:
        """The server of a client, by the client's number."""
        return self.urls[number % len(self.urls)]

    def payload(self) -> Any:
        """The message of this kind and size."""
        if self.kind == 'binary':
            return b'x' * self.size
        if self.kind == 'json':
            return {'id': 7, 'type': 'position', 'x': 12.5, 'y': -3, 'tags': ['a', 'b']}
        return 'x' * self.size

    def to_json(self) -> str:
        """The JSON for a worker's command line."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Job:
        """Read the JSON made by :meth:`to_json`."""
        return cls(**json.loads(text))
