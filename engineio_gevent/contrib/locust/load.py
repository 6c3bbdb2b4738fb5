"""A locustfile for the load of ``engineio-gevent load``, in any number of processes.

``engineio-gevent load`` prints the command with the path of this file.
"""

from __future__ import annotations

import functools
from typing import Any

from locust import events, task
from locust.user.wait_time import constant_throughput

from engineio_gevent.contrib._template import Template
from engineio_gevent.contrib.locust import EngineIOUser


@events.init_command_line_parser.add_listener  # type: ignore[untyped-decorator] # Locust's
def _add_arguments(parser: Any) -> None:
    """Options of ours beside Locust's; the master tells its workers."""
    group = parser.add_argument_group('engineio-gevent load')
    add = group.add_argument
    add(
        '--message',
        default='message {n}',
        help='the message; {n}: its number; @FILE: read it from a file',
    )
    add('--message-size', type=int, default=0, help='pad messages to this many bytes')
    add('--binary', action='store_true', help='send binary messages')
    add('--no-echo', action='store_true', help='do not wait for the message to come back')
    add('--rate', type=float, default=1.0, help='messages a second for each user; 0: no pause')
    add('--patience', type=float, default=5.0, help='timeout of an answer, in seconds')
    add('--engineio-path', default='engine.io', help='path of Engine.IO on the server')
    add('--engineio-transports', default='', help='polling, websocket, or both with a comma')
    add('--engineio-timeout', type=float, default=5.0, help='timeout of a handshake, in seconds')
    add('--engineio-source', default='', help='addresses to connect from, with commas')
    add('--no-verify', action='store_true', help="do not verify the server's certificate")
    add('--client-cert', default='', help='client certificate (PEM file)')
    add('--client-key', default='', help='key of the certificate, if in another file')
    # Not for the web interface to show: it may be a secret.
    parser.add_argument(
        '--engineio-header', action='append', default=[], help='NAME:VALUE',
        include_in_web_ui=False,
    )  # fmt: skip


@functools.cache
def _template(text: str, size: int, binary: bool) -> Template:
    """One for all users of this process: they share the numbers."""
    return Template(text, size, binary)


class LoadUser(EngineIOUser):
    """Repeatedly sends a message and waits until it comes back."""

    def __init__(self, environment: Any) -> None:
        options = environment.parsed_options
        self.engineio_path = options.engineio_path
        if options.engineio_transports:
            self.transports = options.engineio_transports.split(',')
        if options.engineio_header:
            pairs = (header.partition(':') for header in options.engineio_header)
            self.headers = {name.strip(): value.strip() for name, _, value in pairs}
        if options.engineio_source:
            self.source_addresses = options.engineio_source.split(',')
        self.connect_timeout = options.engineio_timeout
        self.client_options = {'parse_json': False, 'ssl_verify': not options.no_verify}
        certificate, key = options.client_cert, options.client_key
        if certificate:
            self.client_options['ssl_cert'] = (certificate, key) if key else certificate
        super().__init__(environment)
        self._options = options
        self._messages = _template(options.message, options.message_size, options.binary)
        self._pace = constant_throughput(options.rate) if options.rate else None

    def wait_time(self) -> float:
        """Seconds until the next message."""
        seconds: float = self._pace(self) if self._pace is not None else 0.0
        return seconds

    @task
    def ask(self) -> None:
        """One round trip."""
        message = self._messages.next()
        if self._options.no_echo:
            self.eio.send(message)
        else:
            self.eio.request(message, match=message, timeout=self._options.patience)
