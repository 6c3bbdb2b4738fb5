"""All measures of the benchmarks, with a target for the ratio to each other system."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from .job import Job

#: Factor from a worker's number (seconds, bytes or a count) to the unit that is shown.
UNITS = {'µs': 1e6, 'ms': 1e3, 'KiB': 1 / 1024, '': 1.0}

# The event loop's, Python's or Node's, and those of the ten clients that connect first.
_OTHER_FILES = 100

#: The systems that also run the Socket.IO measures.
SOCKETIO = ('ours', 'python-engineio')


@dataclass(frozen=True)
class Figure:
    """One number of a measure. Lower is better."""

    #: The name in a worker's output.
    key: str
    title: str
    unit: str
    #: By system: the highest accepted ratio of engineio_gevent's number to that system's.
    targets: dict[str, float] = field(default_factory=dict)
    #: The highest accepted number of engineio_gevent, in the unit; None: any.
    limit: float | None = None
    #: Whether ``--guard`` checks this figure.
    guarded: bool = True


@dataclass(frozen=True)
class Measure:
    """One job that each system runs in turn, and the figures it yields."""

    name: str
    family: str
    job: Job
    figures: tuple[Figure, ...]
    #: The fields of the job that a quick run changes.
    hurry: dict[str, Any] = field(default_factory=dict)
    #: Maximum number of rounds, for measures that take long.
    rounds: int = 99
    #: Seconds of the same work for the server before the first round.
    warm_up: float = 3.0
    #: The systems that are measured; None: all that support the protocol.
    only: tuple[str, ...] | None = None

    def runs_on(self, system: str) -> bool:
        """Whether this system is measured."""
        if self.only is not None:
            return system in self.only
        return self.job.protocol == 'engineio' or system in SOCKETIO

    def fits(self, file_limit: float) -> bool:
        """Whether a process may open a file for each client, and some others."""
        return self.job.clients + _OTHER_FILES <= file_limit

    def hurried(self) -> Measure:
        """The same measure with the smaller counts of a quick run."""
        return replace(self, job=replace(self.job, **self.hurry), warm_up=0.0)


def _targets(
    python_engineio: float,
    asyncio: float | None = None,
    javascript: float | None = None,
    floor: float | None = None,
) -> dict[str, float]:
    named = {
        'python-engineio': python_engineio,
        'asyncio': asyncio,
        'javascript': javascript,
        'floor': floor,
    }
    return {name: value for name, value in named.items() if value is not None}


def _connect(name: str, title: str, targets: dict[str, float], **job: Any) -> Measure:
    leaving = _targets(0.4, 0.4, 0.65) if name == 'connect-ws' else {}
    # The JavaScript client waits up to 0.1 s in each upgrade, until the server ends its poll.
    hurried = {'connect-wss': 20, 'connect-upgrade': 40}.get(name, 100)
    return Measure(
        name,
        'connect',
        Job('connect', clients=200, **job),
        (
            Figure('connect', f'connect, {title}', 'ms', targets),
            Figure('disconnect', f'disconnect, {title}', 'ms', leaving, guarded=False),
        ),
        {'clients': hurried},
    )


def _echo(
    name: str, title: str, targets: dict[str, float], messages: int, hurried: int, **job: Any
) -> Measure:
    hurry = {'clients': 30, 'messages': hurried * 3} if job.get('tls') else {'messages': hurried}
    return Measure(
        name,
        'echo',
        Job('echo', clients=100, messages=messages, **job),
        (Figure('echo', f'message and echo, {title}', 'µs', targets),),
        hurry,
    )


def _big(
    name: str, title: str, targets: dict[str, float], messages: int, hurried: int, **job: Any
) -> Measure:
    return Measure(
        name,
        'big messages',
        Job('echo', size=1 << 20, messages=messages, **job),
        (Figure('echo', f'echo of 1 MiB, {title}', 'ms', targets),),
        {'messages': hurried},
    )


def _flood(
    name: str, title: str, verb: str, targets: dict[str, float], messages: int, **job: Any
) -> Measure:
    return Measure(
        name,
        'flood',
        Job(verb, messages=messages, size=100, **job),
        (Figure(verb, title, 'µs', targets),),
        {'messages': messages // 6},
    )


def _idle(name: str, title: str, limit: float, targets: dict[str, float], **job: Any) -> Measure:
    return Measure(
        name,
        'memory',
        Job('crowd', clients=1000, messages=1, **job),
        (
            Figure('memory', f'memory, {title}', 'KiB', targets, limit),
            Figure('descriptors', f'file descriptors, {title}', '', guarded=False),
            Figure('tasks', f'greenlets or tasks, {title}', '', limit=0, guarded=False),
        ),
        {'clients': 50 if job.get('tls') else 300},
        rounds=3,
    )


def _crowd(clients: int, messages: int, targets: dict[str, float]) -> Measure:
    name = f'{clients:,} clients'
    return Measure(
        f'crowd-{clients}',
        'scale',
        Job('crowd', clients=clients, messages=messages),
        (
            Figure('memory', f'memory, {name}', 'KiB', targets),
            Figure('connect', f'connect, {name}', 'ms', guarded=False),
            Figure('echo', f'message and echo, {name}', 'µs', guarded=False),
            Figure('descriptors', f'file descriptors, {name}', '', guarded=False),
            Figure('tasks', f'greenlets or tasks, {name}', '', guarded=False),
        ),
        {'messages': 3},
        rounds=3 if clients < 10_000 else 2,
        only=None if clients <= 10_000 else ('ours', 'floor'),
    )


_LATENCY = _targets(0.5, 0.6, 1.0, 1.3)


def _latency(name: str, title: str, **job: Any) -> Measure:
    return Measure(
        name,
        'latency',
        Job('latency', **job),
        tuple(
            Figure(key, f'latency {key}, {title}', 'µs', _LATENCY, guarded=False)
            for key in ('p50', 'p99')
        ),
        {'messages': 1000},
    )


def _socketio_echo() -> Measure:
    return Measure(
        'socketio-echo',
        'socket.io',
        Job('echo', protocol='socketio', clients=100, messages=50),
        (Figure('echo', 'Socket.IO: message and echo', 'µs', _targets(0.2)),),
        {'messages': 10},
    )


def _socketio_crowd() -> Measure:
    return Measure(
        'socketio-crowd',
        'socket.io',
        Job('crowd', protocol='socketio', clients=1000, messages=10),
        (
            Figure('memory', 'Socket.IO: memory', 'KiB', _targets(0.2)),
            Figure('connect', 'Socket.IO: connect', 'ms', _targets(0.55)),
            Figure('descriptors', 'Socket.IO: file descriptors', '', guarded=False),
            Figure('tasks', 'Socket.IO: greenlets', '', guarded=False),
        ),
        {'clients': 300, 'messages': 1},
        rounds=3,
    )


_FLOOD = _targets(0.03, 0.1, 0.5, 1.0)
_BATCHES = _targets(0.03, 0.1, 0.6, 1.0)
_SLEEPING = _targets(0.1, 0.2, 1.2, 0.5)
#: Rows for those who install the package without its extension in C.
_PURE = 'in pure Python'

_ALL = (
    _echo('echo-ws', 'websocket', _targets(0.06, 0.12, 0.8, 1.15), 100, 20),
    _echo('echo-ws-pure', f'websocket, {_PURE}', {}, 100, 20, pure=True),
    _echo('echo-json', 'JSON dict', _targets(0.08, 0.15, 0.85, 1.05), 100, 20, kind='json'),
    _echo(
        'echo-orjson',
        'JSON dict, orjson',
        _targets(0.08, 0.15, 0.6, 1.05),
        100,
        20,
        kind='json',
        orjson=True,
    ),
    _echo('echo-wss', 'wss', _targets(0.09, 0.2, 0.75, 1.15), 100, 20, tls=True),
    _echo('echo-polling', 'polling', _targets(0.05, 0.2, 0.14, 3), 15, 3, transport='polling'),
    _flood('receive', 'receive, sent one by one', 'receive', _FLOOD, 60_000),
    _flood('receive-at-once', 'receive, max_receive_delay=0', 'receive', {}, 60_000, at_once=True),
    _flood('receive-batch', 'receive, sent 100 at a time', 'receive', _BATCHES, 60_000, batch=100),
    _flood(
        'receive-sleep', 'receive, handlers sleep 20 ms', 'receive', _SLEEPING, 30_000, sleep=0.02
    ),
    _flood('send', 'send', 'send', _targets(0.06, 0.13, 0.2, 1.1), 100_000),
    _flood('send-pure', f'send, {_PURE}', 'send', {}, 100_000, pure=True),
    _big('big-binary', 'binary', _targets(0.2, 0.8, 0.3, 1.2), 40, 10, kind='binary'),
    _big('big-text', 'text', _targets(0.008, 0.6, 0.2, 1.2), 20, 3),
    _big('big-binary-pure', f'binary, {_PURE}', {}, 40, 10, kind='binary', pure=True),
    _big('big-text-pure', f'text, {_PURE}', {}, 20, 3, pure=True),
    _connect('connect-ws', 'websocket', _targets(0.3, 0.35, 0.35, 2.2)),
    _connect('connect-polling', 'polling', _targets(0.15, 0.35, 0.22, 2), transport='polling'),
    _connect(
        'connect-upgrade',
        'polling and upgrade',
        _targets(0.25, 0.45, 0.16, 2),
        transport='upgrade',
    ),
    _connect('connect-wss', 'wss', _targets(0.055, 0.65, 0.48, 1.15), tls=True),
    Measure(
        'heartbeat',
        'heartbeat',
        Job('heartbeat', clients=1000, seconds=4, ping_interval=1),
        (Figure('heartbeat', 'answer to a PING', 'µs', _targets(0.15, 0.15, 0.3, 1.4)),),
        {'clients': 300, 'seconds': 2},
    ),
    _latency('latency-1', '1 client', messages=10_000),
    _latency('latency-1000', '1,000 clients', clients=1000, messages=4000, rate=1000),
    _idle(
        'idle-upgrade',
        'upgraded to websocket',
        3.0,
        _targets(0.1, 0.14, 0.1, 1.9),
        transport='upgrade',
    ),
    _idle('idle-polling', 'polling', 6.0, _targets(0.15, 0.3, 0.2), transport='polling'),
    _idle('idle-wss', 'wss', 30.0, _targets(0.05, 0.1, 0.4, 1.0), tls=True),
    _crowd(100, 100, {}),
    _crowd(1000, 20, _targets(0.14, 0.14, 0.25)),
    _crowd(10_000, 5, {}),
    _crowd(18_000, 5, {}),
    _socketio_echo(),
    _socketio_crowd(),
)

MEASURES: dict[str, Measure] = {measure.name: measure for measure in _ALL}

#: The measures of a quick run.
QUICK = (
    'echo-ws',
    'echo-polling',
    'receive',
    'send',
    'big-text',
    'connect-ws',
    'connect-upgrade',
    'connect-wss',
    'crowd-100',
)
