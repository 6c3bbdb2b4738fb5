"""Drive the cases of an Autobahn fuzzing server: `python tests/conformance/autobahn_client.py URL`.

The opening handshake, the stream and the frames are the package's own; what is
between them is an echo, as the suite wants it. The server (`wstest -m
fuzzingserver`) judges and writes the reports; this prints its verdicts by
groups of cases, and ends with status 1 where one is bad. Compression, which
the package does not have, is left out (groups 12 and 13).
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections import Counter
from collections.abc import Callable
from urllib.parse import urlencode, urlsplit

import gevent
from gevent.event import Event

from engineio_gevent.exceptions import ConnectionClosed, EngineIOError, ProtocolError
from engineio_gevent.net.stream import Stream
from engineio_gevent.protocol.frames import (
    BINARY,
    CLOSE,
    PING,
    PONG,
    TEXT,
    FrameDecoder,
    encode_close,
    encode_frame,
)
from engineio_gevent.transports.opening import open_websocket
from engineio_gevent.transports.route import Route

AGENT = 'engineio_gevent'

CASE_TIMEOUT = 60
"""Seconds that a case may take; those with messages of 16 MiB take some."""

ANSWER_TIMEOUT = 10
"""Seconds for a handshake, and for the server to close what it is done with."""

COMPRESSION = ('12.', '13.')

GOOD = frozenset(('OK', 'NON-STRICT', 'INFORMATIONAL'))
"""Verdicts that are no fault; non-strict is what refuses bad UTF-8 later than it might."""


class _PlainRoute(Route):
    """A route to just this URL, without the query of Engine.IO."""

    __slots__ = ('_target',)

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        super().__init__(url, path=parts.path)
        self._target = f'{parts.path or "/"}{"?" if parts.query else ""}{parts.query}'

    def target(self, transport: str, sid: str | None = None, *, stamped: bool = True) -> str:
        return self._target


class Connection:
    """A websocket that gives each message to `on_message(connection, opcode, payload)`.

    It answers pings and close frames, and faults with the close code that the decoder names.
    """

    def __init__(self, url: str, on_message: Callable[[Connection, int, str | bytes], None]):
        self._on_message = on_message
        self._decoder = FrameDecoder(None)
        self._ended = Event()
        self._closing = False
        sock, leftover, _ = open_websocket(_PlainRoute(url), None, ANSWER_TIMEOUT)
        # for a server that does not close the connection after the close frames
        self._patience = gevent.get_hub().loop.timer(ANSWER_TIMEOUT)
        self._stream = Stream(sock, self._on_data, self._on_lost)
        if leftover:
            self._on_data(leftover)
        if not self._stream.closed:
            self._stream.start()

    def send(self, opcode: int, payload: str | bytes) -> None:
        self._stream.write(encode_frame(opcode, payload))

    def wait(self, timeout: float) -> None:
        """Wait until the server has closed the connection, then close this side of it."""
        try:
            if not self._ended.wait(timeout):
                raise ConnectionClosed(f'no end within {timeout} seconds')
        finally:
            self._patience.stop()
            self._patience.close()
            self._stream.close()

    # In the hub

    def _on_data(self, data: bytes) -> None:
        try:
            self._take(self._decoder.feed(data))
        except ProtocolError as fault:
            self._take(fault.decoded)
            self._say_close(encode_close(fault.code, str(fault)))

    def _take(self, messages: list[tuple[int, str | bytes]]) -> None:
        for opcode, payload in messages:
            if opcode in (TEXT, BINARY):
                if not self._closing:
                    self._on_message(self, opcode, payload)
            elif opcode == PING:
                if not self._closing:
                    self.send(PONG, payload)
            elif opcode == CLOSE:
                assert isinstance(payload, bytes)
                self._say_close(payload[:2])

    def _say_close(self, payload: bytes) -> None:
        """It is the server who closes the connection then (RFC 6455, section 7.1.1)."""
        if not self._closing:
            self._closing = True
            self.send(CLOSE, payload)
            self._patience.start(self._ended.set)

    def _on_lost(self, error: Exception | None) -> None:
        self._ended.set()


def echo(connection: Connection, opcode: int, payload: str | bytes) -> None:
    """What a case expects of its client."""
    connection.send(opcode, payload)


class Suite:
    """A fuzzing server.

    :param url: where it is: `ws://127.0.0.1:9001`.
    :param agent: the name under which it reports.
    :param on_message: what is done with the messages of a case.
    """

    def __init__(
        self,
        url: str,
        agent: str = AGENT,
        on_message: Callable[[Connection, int, str | bytes], None] = echo,
    ) -> None:
        self._url = url.rstrip('/')
        self._agent = agent
        self._on_message = on_message

    def _place(self, name: str, case: int | None = None) -> str:
        query = {'agent': self._agent} | ({} if case is None else {'case': str(case)})
        return f'{self._url}/{name}?{urlencode(query)}'

    def _ask(self, name: str, case: int | None = None) -> str:
        """The one message that the server has to say to this."""
        said: list[str | bytes] = []
        connection = Connection(
            self._place(name, case), lambda _connection, _opcode, payload: said.append(payload)
        )
        connection.wait(CASE_TIMEOUT)
        return str(said[0]) if said else ''

    def count(self) -> int:
        return int(self._ask('getCaseCount'))

    def name(self, case: int) -> str:
        """The id of a case: `'1.1.1'`; its number where the server does not tell."""
        return str(json.loads(self._ask('getCaseInfo', case) or '{}').get('id', case))

    def run(self, case: int) -> str:
        """Run a case; returns the server's verdict."""
        try:
            Connection(self._place('runCase', case), self._on_message).wait(CASE_TIMEOUT)
        except EngineIOError as error:
            print(f'case {case}: {error}', file=sys.stderr)
        return str(json.loads(self._ask('getCaseStatus', case))['behavior'])

    def update_reports(self) -> None:
        self._ask('updateReports')


def run_all(suite: Suite) -> dict[str, str]:
    """Run every case but those of compression; the verdicts by the cases' ids."""
    verdicts = {}
    for case in range(1, suite.count() + 1):
        name = suite.name(case)
        if not name.startswith(COMPRESSION):
            verdicts[name] = suite.run(case)
    suite.update_reports()
    return verdicts


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog='autobahn_client.py',
        description='Drive the cases of an Autobahn fuzzing server with an echo.',
    )
    parser.add_argument('url', help='of the server: ws://127.0.0.1:9001')
    parser.add_argument('--agent', default=AGENT, help='the name in its reports (%(default)s)')
    options = parser.parse_args(arguments)
    begun = time.monotonic()
    verdicts = run_all(Suite(options.url, options.agent))
    groups: dict[str, Counter[str]] = {}
    for name, verdict in verdicts.items():
        groups.setdefault(name.partition('.')[0], Counter())[verdict] += 1
    for group, counts in groups.items():
        print(f'{group:>3}: ' + ', '.join(f'{count} {what}' for what, count in counts.items()))
    bad = {name: verdict for name, verdict in verdicts.items() if verdict not in GOOD}
    for name, verdict in bad.items():
        print(f'bad: {name} {verdict}')
    print(f'{len(verdicts)} cases in {time.monotonic() - begun:.1f} s, {len(bad)} of them bad')
    return 1 if bad or not verdicts else 0


if __name__ == '__main__':
    sys.exit(main())
