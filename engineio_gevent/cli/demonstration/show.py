"""The steps of the demo: one client, then many."""

from __future__ import annotations

import platform
import shlex
import time
from contextlib import ExitStack
from statistics import median
from typing import Any

import gevent
from gevent.queue import Empty, Queue

from ... import Client, __version__
from ...exceptions import ConnectionError
from ...net.closing import PEER_TIMEOUT
from ..limits import allow_descriptors
from ..measure import Usage
from . import DemoError
from .child import echo_server
from .crowd import AT_ONCE, IN_FLIGHT, MESSAGE_SIZE, Crowd
from .screen import Screen

#: Round trips of the first client for each kind of message.
ROUND_TRIPS = 50
#: Seconds for a message to come back. After that the server is not an echo server.
ECHO_TIMEOUT = 3.0
#: Seconds for the handshake, as by default.
_TIMEOUT = 5.0

_MESSAGES: dict[str, Any] = {
    'text': 'Grüße aus dem Hub',
    'JSON': {'numbers': [1, 2.5, None], 'nested': {'true': True}},
    'binary': bytes(range(256)),
}
#: What to try after the demo. The server of the demo has ended by then.
_NEXT = """\
engineio-gevent demo --serve                     start an echo server; in another terminal:
engineio-gevent connect http://127.0.0.1:5000    send and receive messages
engineio-gevent probe http://127.0.0.1:5000      diagnose a connection step by step
engineio-gevent load http://127.0.0.1:5000       run a small load test"""
#: The same, with a server that the user has.
_NEXT_URL = """\
engineio-gevent connect {url}    send and receive messages
engineio-gevent probe {url}      diagnose a connection step by step
engineio-gevent load {url}       run a small load test"""


def run(clients: int, url: str | None) -> None:
    """Run the demo.

    :param clients: the number of clients in the second part.
    :param url: the URL of an echo server; None: start one.
    :raises DemoError: the demo failed.
    """
    screen = Screen()
    # The server has two descriptors for each client, and inherits the limit.
    allow_descriptors((1 if url else 2) * (clients + 2 * AT_ONCE) + 100)
    given = url
    with ExitStack() as stack:
        what = 'given by --url'
        if url is None:
            url, what = stack.enter_context(echo_server())
        screen.line(
            'client',
            f'engineio_gevent {__version__} on Python {platform.python_version()}, '
            f'gevent {gevent.__version__}',
        )
        screen.line('server', f'{screen.escape(url)} ({what})')
        _show_one(screen, url)
        _show_many(screen, url, clients)
    screen.heading('Try next')
    screen.text(_NEXT if given is None else _NEXT_URL.format(url=shlex.quote(given)))


def _show_one(screen: Screen, url: str) -> None:
    """The handshake, the upgrade and the echoes of one client."""
    times: list[float] = []
    received: Queue[Any] = Queue()
    with Client(handle_sigint=False) as client:
        # This handler runs inside connect(), between the handshake and the upgrade.
        client.on('connect', lambda: times.append(time.perf_counter()))
        client.on('message', received.put)
        start = time.perf_counter()
        try:
            client.connect(url)
        except ValueError as exc:
            raise DemoError(f'cannot connect to {url}: {exc}') from exc
        except ConnectionError as exc:
            raise DemoError(_why_not_connected(url, exc)) from exc
        end = time.perf_counter()
        screen.heading('One client')
        screen.line(
            'handshake',
            f'[b]{_ms(times[0] - start)}[/b]',
            'From connect() to the open packet: the TCP connection and the first HTTP request.',
        )
        if client.transport() == 'websocket':
            screen.line(
                'upgrade',
                f'[b]{_ms(end - times[0])}[/b]',
                'From polling to websocket: a second TCP connection, its opening and the probe.',
            )
        else:
            screen.line('upgrade', 'none: the connection stays on polling')
        medians = [
            f'{kind} [b]{_ms(_echo(client, received, message, url))}[/b]'
            for kind, message in _MESSAGES.items()
        ]
        screen.line(
            'echo',
            ', '.join(medians),
            f'Median of {ROUND_TRIPS} round trips, including the time of the server.',
        )


def _why_not_connected(url: str, error: ConnectionError) -> str:
    """What ``connect`` would report."""
    from ..options import Connection, cause_of
    from ..probing.diagnosis import no_connection

    connection = Connection(url, {}, None, 'engine.io', True, None, None, _TIMEOUT)
    return str(no_connection(connection, error, cause_of(error)))


def _echo(client: Client, received: Queue[Any], message: Any, url: str) -> float:
    """Send a message several times; returns the median of the round trips in seconds."""
    times = []
    for _ in range(ROUND_TRIPS):
        start = time.perf_counter()
        client.send(message)
        try:
            while received.get(timeout=ECHO_TIMEOUT) != message:
                pass
        except Empty:
            raise DemoError(
                f'{url} did not send a message back within {ECHO_TIMEOUT:g} seconds. '
                'The demo needs an echo server'
            ) from None
        times.append(time.perf_counter() - start)
    return median(times)


def _show_many(screen: Screen, url: str, clients: int) -> None:
    """Many clients that connect, are idle, echo and disconnect."""
    screen.heading(f'{_count(clients, "client")} in this process')
    crowd = Crowd(url, clients)
    before = Usage.now()
    with screen.progress('connecting', clients) as progress:
        seconds = crowd.connect(progress)
    screen.line(
        'connected',
        f'[b]{_count(clients, "client")}[/b] in {seconds:.1f} s: '
        f'[b]{clients / seconds:,.0f} per second[/b]',
        f'With the handshake, and the upgrade if there is one, {min(AT_ONCE, clients)} at a time.',
    )
    # By then the polling connections of upgraded clients have been closed.
    gevent.sleep(PEER_TIMEOUT)
    screen.line(
        'idle',
        *_per_client(before, Usage.now(), clients),
    )

    echoes = crowd.echo(max(3, min(20, 10_000 // clients)))
    count = len(echoes.round_trips)
    screen.line(
        'echoed',
        f'[b]{count:,} messages[/b] in {echoes.duration:.1f} s: '
        f'[b]{count / echoes.duration:,.0f} round trips per second[/b], '
        f'p50 {_ms(echoes.percentile(50))}, p99 {_ms(echoes.percentile(99))}',
        f'{MESSAGE_SIZE}-byte texts, {min(IN_FLIGHT, clients)} at a time, including the time of '
        'the server.',
    )
    screen.line(
        'CPU',
        f'[b]{echoes.cpu / count * 1e6:.0f} µs[/b] per round trip',
        'Only this process: to send a message and to receive its echo. Without the server.',
    )

    seconds = crowd.disconnect()
    after = Usage.now()
    descriptors = ''
    if before.descriptors is not None and after.descriptors is not None:
        descriptors = (
            f'{_count(after.descriptors, "descriptor")} open in this process, '
            f'{before.descriptors} before the clients connected.'
        )
    screen.line(
        'disconnected', f'[b]{_count(clients, "client")}[/b] in {seconds:.1f} s', descriptors
    )


def _per_client(before: Usage, after: Usage, clients: int) -> tuple[str, str]:
    """The usage of a client, and what it includes."""
    parts = []
    includes = ''
    if before.kib is not None and after.kib is not None:
        # Memory that was freed meanwhile may exceed the memory of a few clients.
        kib = max(0.0, after.kib - before.kib)
        parts.append(f'[b]{kib / clients:.1f} KiB[/b]')
        includes = 'Growth of the memory of this process, with the handlers of the demo; '
    if before.descriptors is not None and after.descriptors is not None:
        descriptors = (after.descriptors - before.descriptors) / clients
        parts.append(f'[b]{_count(descriptors, "descriptor")}[/b]')
    greenlets = (after.greenlets - before.greenlets) / clients
    parts.append(f'[b]{_count(greenlets, "greenlet")}[/b]')
    includes += f'{_count(after.greenlets, "greenlet")} in total.'
    return f'{", ".join(parts)} per client', includes


def _count(value: float, noun: str) -> str:
    """A number and its noun. The number has a decimal if it is not whole."""
    number = f'{round(value, 1) + 0:,.1f}'.removesuffix('.0')  # + 0 turns -0 into 0
    return f'{number} {noun}' if number == '1' else f'{number} {noun}s'


def _ms(seconds: float) -> str:
    return f'{seconds * 1000:.2f} ms'
