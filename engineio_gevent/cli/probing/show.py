"""The text output of ``probe``: the steps and the verdict."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from rich.console import Console
from rich.status import Status
from rich.table import Table
from rich.text import Text

from .. import colours
from ..screen import one_line, say
from .report import FAILED, OK, SKIPPED, WARNING, Run, Step, times, worst

_STYLES = {OK: colours.GOOD, WARNING: colours.WARNING, FAILED: colours.BAD, SKIPPED: 'dim'}
_NAME, _TIME = 10, 11
#: The column of the facts of a step.
INDENT = _NAME + _TIME + 2


class Screen:
    """Prints the steps as they happen.

    :param console: the output.
    :param only_trouble: whether to leave out the steps without a problem.
    """

    def __init__(self, console: Console, *, only_trouble: bool = False) -> None:
        self._console = console
        self.only_trouble = only_trouble
        self._status: Status | None = None

    def begins(self, step: Step) -> None:
        """On a terminal, show the name of the running step."""
        if self._console.is_terminal:
            status = self._status = self._console.status(f'{step.name} ...', spinner='line')
            status.start()

    def ended(self, step: Step) -> None:
        """Print the step."""
        if self._status is not None:
            self._status.stop()
            self._status = None
        if self.only_trouble and step.status in (OK, SKIPPED):
            return
        lines = [Text(one_line(line)) for line in described(step)]
        if step.problem is not None:
            lines.append(Text(one_line(step.problem), _STYLES[step.status]))
        took = '' if step.seconds is None else duration(step.seconds)
        head = Text.assemble(
            (f'{step.name:<{_NAME}}', _STYLES[step.status]), (f'{took:>{_TIME}}  ', 'dim')
        )
        for number, line in enumerate(lines or [Text()]):
            self._line(head if not number else Text(' ' * INDENT), line)
        self._console.file.flush()

    def _line(self, head: Text, line: Text) -> None:
        """Print a line. On a terminal a long line continues below its text, not below its label."""
        if not self._console.is_terminal:
            self._console.print(Text.assemble(head, line))
            return
        grid = Table.grid()
        grid.add_column(width=INDENT, no_wrap=True)
        grid.add_column()
        grid.add_row(head, line)
        self._console.print(grid, soft_wrap=False)

    def begin_run(self, number: int, count: int) -> None:
        """Print the number of the run."""
        self._console.print(Text(f'\n{number} of {count}', 'dim'))

    def end_run(self, run: Run) -> None:
        """Print a line with the times of the run."""
        took = '  '.join(
            f'{step.name} {duration(step.seconds)}' for step in run.steps if step.seconds
        )
        status = run.verdict.status
        say(self._console, Text.assemble((status, _STYLES[status]), f'  {took}'))

    def summary(self, runs: Sequence[Run]) -> None:
        """Print the times of several runs."""
        table = Table(box=None, pad_edge=False, header_style='dim')
        table.add_column('step')
        for name in 'runs', 'min', 'median', 'max':
            table.add_column(name, justify='right')
        for name, values in times(runs).items():
            three = min(values), statistics.median(values), max(values)
            table.add_row(name, str(len(values)), *map(duration, three))
        self._console.print()
        self._console.print(table)

    def verdict(self, runs: Sequence[Run]) -> None:
        """Print the verdict."""
        found = worst(runs)
        text = found.text
        if found.status == OK:
            text = f'{text}, in {duration(statistics.median(run.seconds for run in runs))}'
        elif len(runs) > 1:
            count = sum(run.verdict.status == found.status for run in runs)
            text = f'{text} ({count} of {len(runs)} runs)'
        word = {OK: 'OK', WARNING: 'Warning', FAILED: 'Failed'}[found.status]
        self._console.print()
        say(
            self._console,
            Text.assemble((word, f'bold {_STYLES[found.status]}'), f': {one_line(text)}'),
        )


def duration(seconds: float) -> str:
    """A time with its unit."""
    return f'{seconds * 1000:,.1f} ms' if seconds < 10 else f'{seconds:,.1f} s'


def described(step: Step) -> Iterator[str]:
    """The facts of a step as lines of text."""
    describe = _DESCRIBE.get(step.name)
    if describe is not None:
        yield from describe(step.facts)


_Facts = dict[str, Any]


def _dns(facts: _Facts) -> Iterator[str]:
    of = ' (the proxy)' if facts['of'] == 'proxy' else ''
    found = facts.get('addresses', [])
    if facts['pinned']:
        yield f'{facts["host"]}{of}: {", ".join(found)}, set by --resolve: no lookup'
    elif found == [facts['host']]:
        yield f'{facts["host"]}{of} is an IP address: no lookup'
    else:
        yield f'{facts["host"]}{of}: {", ".join(found) or "no address"}'


def _tcp(facts: _Facts) -> Iterator[str]:
    for one in facts['refused_by']:
        yield f'{one["address"]} port {facts["port"]}: {one["problem"]}'
    if facts['address'] is not None:
        yield f'connected to {facts["address"]} port {facts["port"]}'


def _unix(facts: _Facts) -> Iterator[str]:
    yield f'UNIX socket {facts["path"]}'


def _proxy(facts: _Facts) -> Iterator[str]:
    if facts['url'] is None:
        if facts['source'] == 'no_proxy':
            yield 'not used for this host (no_proxy)'
        return
    how = {'connect': 'CONNECT', 'forward': 'absolute URLs', 'socks': 'SOCKS'}
    yield f'{facts["url"]}, set by {facts["source"]}, used by {how.get(facts["how"], "nothing")}'


def _tls(facts: _Facts) -> Iterator[str]:
    if facts['version']:
        alpn = f'ALPN {facts["alpn"]}' if facts['alpn'] else 'no ALPN'
        yield f'{facts["version"]}, {facts["cipher"]}, {alpn}'
    shown = facts['certificate']
    if shown:
        yield f'certificate for {", ".join(shown["names"]) or "no host"} ({shown["subject"]})'
        left = shown['days_left']
        text = 'expired' if left < 0 else f'{left:,} days left'
        yield f'issued by {shown["issuer"]}, until {shown["not_after"]} ({text})'
    if facts['authorities'] is None:
        yield 'not verified'
    elif facts['verified']:
        yield f'verified with the CA bundle of {facts["authorities"]}'
    if facts['client_certificate']:
        yield 'client certificate sent'


def _http(facts: _Facts) -> Iterator[str]:
    if facts.get('status') is None:
        return
    where = f', redirected to {facts["redirected_to"]}' if 'redirected_to' in facts else ''
    yield f'HTTP {facts["status"]}{where}'
    usual = ('content-type', 'cache-control') if facts['status'] == 200 else ()
    headers = [f'{name}: {value}' for name, value in facts['headers'].items() if name not in usual]
    if headers:
        yield '; '.join(headers)
    for cookie in facts['cookies']:
        yield f'cookie {"; ".join([cookie["name"], *cookie["attributes"]])}'


def _handshake(facts: _Facts) -> Iterator[str]:
    yield from _http(facts)
    if 'sid' in facts:
        limit = facts['max_payload']
        yield (
            f'sid {facts["sid"]}, pingInterval {facts["ping_interval_ms"]:g} ms, '
            f'pingTimeout {facts["ping_timeout_ms"]:g} ms, '
            f'maxPayload {"none" if limit is None else f"{limit:,} bytes"}'
        )
        upgrades = ', '.join(facts['upgrades']) or 'none'
        coding = ''
        if facts['transport'] == 'polling':
            coding = f'; response compression: {facts["content_encoding"] or "none"}'
            if not facts['cookies']:
                coding += '; no cookies'
        yield f'upgrades offered: {upgrades}{coding}'


def _polling(facts: _Facts) -> Iterator[str]:
    if facts.get('status') is not None:
        yield f'HTTP {facts["status"]}, over a second connection ({facts["connect_ms"]:.1f} ms)'


def _upgrade(facts: _Facts) -> Iterator[str]:
    parts = 'connect', 'opening', 'probe'
    took = [f'{one} {facts[f"{one}_ms"]:.1f} ms' for one in parts if facts[f'{one}_ms'] is not None]
    if took:
        yield ', '.join(took)
    if facts['probe_ms'] is not None:
        yield 'not compressed: this client does not support permessage-deflate'
    if facts.get('status') is not None and facts['status'] != 101:
        yield from _http(facts)


def _websocket(facts: _Facts) -> Iterator[str]:
    yield from _http(facts)


def _transport(facts: _Facts) -> Iterator[str]:
    yield f'over {facts["transport"]}'


_DESCRIBE: dict[str, Callable[[_Facts], Iterator[str]]] = {
    'dns': _dns,
    'tcp': _tcp,
    'unix': _unix,
    'proxy-tls': _tls,
    'proxy': _proxy,
    'tls': _tls,
    'handshake': _handshake,
    'polling': _polling,
    'upgrade': _upgrade,
    'websocket': _websocket,
    'ping': _transport,
    'leave': _transport,
}
