"""A locustfile: what ``engineio-gevent load`` does, by Locust, in as many processes as wanted.

``locust -f`` takes the path of this file, which ``engineio-gevent load`` prints.
"""

from __future__ import annotations

import itertools
from typing import Any

from locust import events, task
from locust.user.wait_time import constant_throughput

from engineio_gevent.contrib.locust import EngineIOUser


@events.init_command_line_parser.add_listener  # type: ignore[untyped-decorator] # Locust's
def _add_arguments(parser: Any) -> None:
    """Options of ours beside Locust's; the master tells its workers."""
    group = parser.add_argument_group('engineio-gevent load')
    group.add_argument('--message', default='message {n}', help='{n} is its number')
    group.add_argument('--message-size', type=int, default=0, help='bytes to fill it up to')
    group.add_argument('--rate', type=float, default=1.0, help='a second and user; 0: no pause')
    group.add_argument('--engineio-path', default='engine.io')
    group.add_argument('--engineio-transports', default='', help='with commas between')


class LoadUser(EngineIOUser):
    """Sends a message, waits for it to come back, and again."""

    _numbers = itertools.count(1)

    def __init__(self, environment: Any) -> None:
        options = environment.parsed_options
        self.engineio_path = options.engineio_path
        if options.engineio_transports:
            self.transports = options.engineio_transports.split(',')
        self.client_options = {'parse_json': False}
        super().__init__(environment)
        self._options = options
        self._pace = constant_throughput(options.rate) if options.rate else None

    def wait_time(self) -> float:
        """Seconds until the next message is due."""
        seconds: float = self._pace(self) if self._pace is not None else 0.0
        return seconds

    @task  # type: ignore[untyped-decorator] # Locust's
    def ask(self) -> None:
        """One round trip."""
        text = self._options.message.replace('{n}', str(next(self._numbers)))
        text += '.' * (self._options.message_size - len(text.encode()))
        self.eio.request(text, match=text, name='message')
