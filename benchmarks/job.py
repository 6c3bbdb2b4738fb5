"""What the runner tells a worker, as JSON in its first argument."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass
class Job:
    """One run of one system: what to do, how often, and against which servers.

    A worker answers with one line of JSON, its figures by name: seconds of CPU
    per operation, bytes, or plain numbers.
    """

    #: connect, crowd, echo, latency, receive, send or heartbeat; see the README.
    verb: str
    #: ``engineio``, or ``socketio`` on it.
    protocol: str = 'engineio'
    #: ``websocket``, ``polling`` or ``upgrade``, from the one to the other.
    transport: str = 'websocket'
    tls: bool = False
    clients: int = 1
    #: What each client does: round trips, or messages of a flood.
    messages: int = 0
    #: Bytes of a message.
    size: int = 64
    #: ``text``, ``binary`` or ``json``.
    kind: str = 'text'
    #: Messages that the server sends in one turn of its event loop.
    batch: int = 1
    #: Seconds that a handler sleeps.
    sleep: float = 0.0
    #: Messages per second, all clients together; 0: each after the last was answered.
    rate: float = 0.0
    #: Seconds to measure heartbeats for.
    seconds: float = 0.0
    #: Whether this client may use what its extra ``speedups`` installs.
    speedups: bool = False
    #: Seconds between the server's PINGs.
    ping_interval: float = 25.0
    #: A client takes the one of its number, again from the first after the last.
    urls: list[str] = field(default_factory=list)
    #: Where to write a profile of the part that is measured: a path without a suffix.
    profile: str | None = None

    def url(self, number: int) -> str:
        """The server of a client."""
        return self.urls[number % len(self.urls)]

    def payload(self) -> Any:
        """The message of this kind and size."""
        if self.kind == 'binary':
            return b'x' * self.size
        if self.kind == 'json':
            return {'id': 7, 'type': 'position', 'x': 12.5, 'y': -3, 'tags': ['a', 'b']}
        return 'x' * self.size

    def to_json(self) -> str:
        """For a worker's command line."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Job:
        """What :meth:`to_json` made."""
        return cls(**json.loads(text))
