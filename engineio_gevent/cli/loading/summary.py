"""The result of a load test: as text, and as JSON."""

from __future__ import annotations

import bisect
import math
from collections import Counter
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from ..colours import ACCENT, WARNING
from ..screen import one_line, say
from .crowd import Tally
from .run import Outcome

_PERCENTILES = 50.0, 90.0, 99.0, 99.9
_BAR = 36
#: Share of a core above which this process, and not the server, limits the results.
_BUSY = 0.85
#: Share of unanswered messages above which the high percentiles are too optimistic.
_MISSING = 0.001


def report(
    tally: Tally, outcome: Outcome, clients: int, *, echo: bool = True, here: bool = False
) -> dict[str, Any]:
    """All figures. Times are in ms unless the name says otherwise.

    :param clients: the number of clients that should connect.
    :param echo: whether answers were expected.
    :param here: whether the server runs on this machine.
    """
    times = sorted(tally.round_trips)
    cpu = outcome.cpu
    figures = {
        'clients': clients,
        'connected': tally.connected,
        'transports': dict(tally.transports),
        'failed': dict(tally.failures),
        'lost': dict(tally.losses),
        'connect_seconds': round(outcome.connecting, 3),
        'connect_cpu_ms': _per(outcome.connecting_cpu * 1e3, tally.connected),
        'sending_seconds': round(outcome.sending, 3),
        'sent': tally.sent,
        'unsent': outcome.unsent,
        'received': tally.received,
        'answered': len(times),
        'unanswered': outcome.unanswered,
        'unexpected': tally.unexpected,
        'sent_per_second': _per(tally.sent, outcome.sending),
        'round_trip_ms': _distribution(times),
        'histogram': [
            {'below_ms': None if math.isinf(bound) else bound, 'count': count}
            for bound, count in histogram(times)
        ],
        'cpu_seconds': round(cpu, 3),
        'cpu_share': _per(cpu, outcome.sending),
        'cpu_us_per_message': _per(cpu * 1e6, outcome.messages),
        'kib_per_client': None if outcome.kib is None else round(outcome.kib, 1),
        'descriptors_per_client': outcome.descriptors and round(outcome.descriptors, 2),
        'greenlets_per_client': outcome.greenlets and round(outcome.greenlets, 3),
        'early': outcome.early,
        'same_machine': here,
    }
    figures['warnings'] = _warnings(figures, echo)
    return figures


def _per(value: float, count: float) -> float | None:
    return round(value / count, 4) if count else None


def _distribution(times: list[float]) -> dict[str, float] | None:
    if not times:
        return None
    found = {'min': times[0]}
    for percent in _PERCENTILES:
        # the value that this percentage of the round trips does not exceed
        found[f'p{percent:g}'] = times[math.ceil(round(len(times) * percent / 100, 6)) - 1]
    found['max'] = times[-1]
    return {name: round(value * 1e3, 3) for name, value in found.items()}


def histogram(times: list[float]) -> list[tuple[float, int]]:
    """The number of round trips below each of the bounds 1, 2, 5, 10, .. and above the last.

    :param times: sorted, in seconds.
    :returns: bounds in ms with counts, from the first to the last bound that is needed.
    """
    if not times:
        return []
    found: list[tuple[float, int]] = []
    before = 0
    for exponent in range(-2, 7):
        for digit in (1, 2, 5):
            bound = float(f'{digit}e{exponent}')
            below = bisect.bisect_left(times, bound / 1e3)
            if below or found:
                found.append((bound, below - before))
                before = below
            if below == len(times):
                return found
    return [*found, (math.inf, len(times) - before)]


def show(console: Console, figures: dict[str, Any], echo: bool) -> None:
    """Print the result as text.

    :param echo: whether answers were expected.
    """
    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column(style=ACCENT, no_wrap=True, min_width=11)
    table.add_column()

    def row(label: str, text: str) -> None:
        table.add_row(label, Text(text))

    row('connected', _connected(figures))
    if figures['transports']:
        row(
            'transport',
            ', '.join(
                f'{name} {count:,}' for name, count in Counter(figures['transports']).most_common()
            ),
        )
    for label in ('failed', 'lost'):
        for cause, count in Counter(figures[label]).most_common(5):
            row(label, f'{count:,}: {one_line(cause)}')
    if figures['sent']:
        row(
            'sent',
            f'{figures["sent"]:,} messages in {figures["sending_seconds"]:.1f} s: '
            f'{figures["sent_per_second"]:,.0f} per second'
            + (f'; {figures["unsent"]:,} unsent' if figures['unsent'] else ''),
        )
        row('received', _received(figures, echo))
    if figures['round_trip_ms']:
        times = [f'{name} {_ms(value)}' for name, value in figures['round_trip_ms'].items()]
        # on two lines, to fit a narrow terminal
        row('round trips', ', '.join(times[:3]) + ',\n' + ', '.join(times[3:]))
    if figures['cpu_us_per_message'] is not None:
        row(
            'CPU',
            f'{figures["cpu_us_per_message"]:.1f} µs per message sent or received, '
            f'{figures["cpu_share"]:.0%} of a core, by the clients only',
        )
    if each := _each(figures):
        row('per client', each)
    console.print(table)
    if figures['histogram']:
        console.print()
        console.print(_chart(figures['histogram']))
    for warning in figures['warnings']:
        say(console, Text(f'! {warning}', WARNING))


def _connected(figures: dict[str, Any]) -> str:
    text = f'{figures["connected"]:,} of {figures["clients"]:,} clients'
    seconds = figures['connect_seconds']
    if figures['connected'] and seconds:
        text += f' in {seconds:.1f} s: {figures["connected"] / seconds:,.0f} per second'
    return text


def _received(figures: dict[str, Any], echo: bool) -> str:
    if not echo:
        return f'{figures["received"]:,} messages'
    text = f'{figures["answered"]:,} answers'
    if figures['unanswered']:
        text += f', {figures["unanswered"]:,} unanswered'
    if figures['unexpected']:
        text += f', and {figures["unexpected"]:,} other messages'
    return text


def _each(figures: dict[str, Any]) -> str:
    parts = []
    if figures['kib_per_client'] is not None:
        parts.append(f'{figures["kib_per_client"]:.1f} KiB of process memory')
    if figures['descriptors_per_client'] is not None:
        count = f'{figures["descriptors_per_client"]:.2g}'
        parts.append(f'{count} descriptor{"" if count == "1" else "s"}')
    if figures['greenlets_per_client'] is not None:
        parts.append(f'{abs(figures["greenlets_per_client"]):.2g} greenlets')
    if figures['connect_cpu_ms'] is not None:
        parts.append(f'{figures["connect_cpu_ms"]:.2f} ms of CPU time to connect')
    return ', '.join(parts)


def _chart(rows: list[dict[str, Any]]) -> Table:
    chart = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    chart.add_column(justify='right', no_wrap=True)
    chart.add_column(justify='right', no_wrap=True)
    chart.add_column(no_wrap=True)
    most = max(row['count'] for row in rows)
    for row in rows:
        bound = 'above' if row['below_ms'] is None else f'< {_ms(row["below_ms"])}'
        chart.add_row(bound, f'{row["count"]:,}', Text(_bar(row['count'] / most), ACCENT))
    return chart


def _bar(share: float) -> str:
    eighths = math.ceil(share * _BAR * 8)
    return '█' * (eighths // 8) + ' ▏▎▍▌▋▊▉'[eighths % 8].strip()


def _ms(value: float) -> str:
    if value >= 1000:
        return f'{value / 1000:g} s' if value % 1000 == 0 else f'{value / 1000:.2f} s'
    return f'{value:.3g} ms'


def _warnings(figures: dict[str, Any], echo: bool) -> list[str]:
    """Warnings about figures that may be misleading."""
    found = []
    if (figures['cpu_share'] or 0) > _BUSY:
        found.append(
            f'This process used {figures["cpu_share"]:.0%} of a core, so it may limit the results '
            'more than the server. Reduce --rate or --clients, or use Locust with more processes.'
        )
    if figures['unsent']:
        found.append(
            f'{figures["unsent"]:,} messages were due but not sent, because their clients were '
            'lost or this process was too slow.'
        )
    if echo and figures['sent'] and not figures['answered'] and not figures['lost']:
        found.append('The server does not send messages back. Pass --no-echo if that is intended.')
    elif echo and figures['unanswered'] > figures['sent'] * _MISSING:
        found.append(
            f'{figures["unanswered"]:,} unanswered messages are not included in the round trips, '
            'which are too optimistic.'
        )
    if figures['same_machine']:
        found.append('The server runs on this machine and competes with the clients for CPU time.')
    return found
