"""The demo itself: one client, then a crowd."""

from __future__ import annotations

import platform
import time
from contextlib import ExitStack
from statistics import median
from typing import Any

import gevent
from gevent.queue import Empty, Queue

from .. import Client, __version__
from ..exceptions import ConnectionError
from . import DemoError
from .child import echo_server
from .crowd import AT_ONCE, IN_FLIGHT, Crowd
from .limits import allow_descriptors
from .measure import Usage
from .screen import Screen

#: Round trips of each kind of message by the first client.
ROUND_TRIPS = 50
#: Seconds for a message to come back, before the server counts as none that echoes.
ECHO_TIMEOUT = 3.0

_MESSAGES: dict[str, Any] = {
    'text': 'Grüße aus dem Hub',
    'JSON': {'numbers': [1, 2.5, None], 'nested': {'true': True}},
    'binary': bytes(range(256)),
}


def run(clients: int, url: str | None) -> None:
    """Show everything.

    :param clients: how many there are in the second half.
    :param url: a server that echoes; without it one is started.
    :raises DemoError: it cannot be shown.
    """
    screen = Screen()
    # The server has two descriptors for each client, and inherits the limit.
    allow_descriptors((1 if url else 2) * (clients + 2 * AT_ONCE) + 100)
    with ExitStack() as stack:
        what = 'given'
        if url is None:
            url, what = stack.enter_context(echo_server())
        screen.line(
            'client',
            f'engineio_gevent {__version__} on Python {platform.python_version()}, '
            f'gevent {gevent.__version__}',
        )
        screen.line('server', f'[b]{screen.escape(url)}[/b] ({what})')
        _show_one(screen, url)
        _show_many(screen, url, clients)


def _show_one(screen: Screen, url: str) -> None:
    """The handshake, the upgrade and the echo of one client."""
    times: list[float] = []
    received: Queue[Any] = Queue()
    with Client(handle_sigint=False) as client:
        # This handler runs inside connect(), between the handshake and the upgrade.
        client.on('connect', lambda: times.append(time.perf_counter()))
        client.on('message', received.put)
        start = time.perf_counter()
        try:
            client.connect(url)
        except (ConnectionError, ValueError) as exc:
            raise DemoError(f'cannot connect to {url}: {exc.args[0]}') from exc
        end = time.perf_counter()
        screen.line(
            'handshake',
            f'[b]{_ms(times[0] - start)}[/b], sid {screen.escape(str(client.sid))}, a ping every '
            f'{client.ping_interval:g} s, {client.ping_timeout:g} s for it to come',
        )
        if client.transport() == 'websocket':
            screen.line('upgrade', f'[b]{_ms(end - times[0])}[/b], polling to websocket')
        else:
            screen.line('upgrade', 'none: the connection stays on polling')
        medians = [
            f'{kind} [b]{_ms(_echo(client, received, message, url))}[/b]'
            for kind, message in _MESSAGES.items()
        ]
        screen.line('echo', f'{", ".join(medians)} (median of {ROUND_TRIPS} round trips)')


def _echo(client: Client, received: Queue[Any], message: Any, url: str) -> float:
    """Send a message, again and again; returns the median of the round trips."""
    times = []
    for _ in range(ROUND_TRIPS):
        start = time.perf_counter()
        client.send(message)
        try:
            while received.get(timeout=ECHO_TIMEOUT) != message:
                pass
        except Empty:
            raise DemoError(
                f'{url} has not sent a message back within {ECHO_TIMEOUT:g} seconds: '
                'the demo needs a server that echoes'
            ) from None
        times.append(time.perf_counter() - start)
    return median(times)


def _show_many(screen: Screen, url: str, clients: int) -> None:
    """Clients that connect, are idle, echo and leave."""
    crowd = Crowd(url, clients)
    before = Usage.now()
    with screen.progress('connecting', clients) as progress:
        seconds = crowd.connect(progress)
    screen.line(
        'connected',
        f'[b]{_count(clients, "client")}[/b] in {seconds:.1f} s: [b]{clients / seconds:,.0f} '
        f'connects/s[/b], {min(AT_ONCE, clients)} at a time',
    )
    gevent.idle()
    screen.line('idle', _per_client(before, Usage.now(), clients))

    echoes = crowd.echo(max(3, min(20, 10_000 // clients)))
    count = len(echoes.round_trips)
    screen.line(
        'echoed',
        f'[b]{count:,} messages[/b] in {echoes.duration:.1f} s: '
        f'[b]{count / echoes.duration:,.0f} round trips/s[/b], {min(IN_FLIGHT, clients)} at a '
        f'time, p50 {_ms(echoes.percentile(50))}, p99 {_ms(echoes.percentile(99))}',
    )
    screen.line('', f'[b]{echoes.cpu / count * 1e6:.0f} us of CPU[/b] in this process for each')

    seconds = crowd.disconnect()
    after = Usage.now()
    left = f'[b]{_count(clients, "client")}[/b] in {seconds:.1f} s'
    if before.descriptors is not None and after.descriptors is not None:
        still_open = _count(after.descriptors, 'descriptor')
        left += f'; [b]{still_open}[/b] open, {before.descriptors} before it all'
    screen.line('disconnected', left)


def _per_client(before: Usage, after: Usage, clients: int) -> str:
    parts = []
    if before.kib is not None and after.kib is not None:
        # memory that has become free meanwhile can be more than a few clients take
        kib = max(0.0, after.kib - before.kib)
        parts.append(f'[b]{kib / clients:.1f} KiB[/b]')
    if before.descriptors is not None and after.descriptors is not None:
        descriptors = (after.descriptors - before.descriptors) / clients
        parts.append(f'[b]{_count(descriptors, "descriptor")}[/b]')
    greenlets = (after.greenlets - before.greenlets) / clients
    parts.append(f'[b]{_count(greenlets, "greenlet")}[/b]')
    return f'{", ".join(parts)} per client ({after.greenlets} greenlets in all)'


def _count(value: float, noun: str) -> str:
    """How many, with a decimal where it is not a whole number."""
    number = f'{round(value, 1) + 0:,.1f}'.removesuffix('.0')  # + 0 makes 0 of -0
    return f'{number} {noun}' if number == '1' else f'{number} {noun}s'


def _ms(seconds: float) -> str:
    return f'{seconds * 1000:.2f} ms'
