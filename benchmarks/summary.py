"""The summary of a run, for the beginning of the page. All figures come from the results."""

from __future__ import annotations

from . import table
from .comparison import Comparison, compare, multiple, peers
from .results import Results, Row
from .systems import OURS, title

#: How sentences name the other clients.
NAMES = {
    'python-engineio': 'python-engineio on gevent',
    'asyncio': 'python-engineio on asyncio',
    'javascript': 'the JavaScript client',
}
#: The figures of the summary, and the resource that each is of.
HEADLINES = {
    'echo-ws.echo': 'message and echo, websocket (CPU)',
    'connect-upgrade.connect': 'connect, polling and upgrade (CPU)',
    'connect-wss.connect': 'connect, wss (CPU)',
    'heartbeat.heartbeat': 'answer to a PING (CPU)',
    'idle-upgrade.memory': 'idle client on websocket (memory)',
}
#: The largest differences to each client that are named.
EXAMPLES = 4
#: Figures whose rounds differ more than this are no examples.
STEADY = 0.25


def paragraphs(results: Results) -> list[str]:
    """The main results, for a reader with one minute."""
    rows = {row.name: row for row in results.rows() if OURS in row.numbers}
    comparisons = {peer: compare(results, peer) for peer in peers(results)}
    shown = [rows[name] for name in HEADLINES if name in rows]
    parts = [_lead(rows, comparisons)]
    if shown:
        parts += [
            'In parentheses is the multiple of what engineio_gevent needs. **Bold** is the lowest, '
            'or not clearly higher. `±` is half the range of the rounds, shown from '
            f'{table.WIDE:.0%} on.',
            table.as_markdown(_headlines(shown, [OURS, *comparisons])),
        ]
    sentences = [_sentence(peer, found) for peer, found in comparisons.items()]
    return [part for part in (*parts, '\n'.join(filter(None, sentences))) if part]


def _headlines(rows: list[Row], systems: list[str]) -> list[list[str]]:
    heads, *lines = table.with_lowest_bold(rows, systems, 'figure')
    return [
        heads,
        *([HEADLINES[row.name], *line[1:]] for row, line in zip(rows, lines, strict=True)),
    ]


def _lead(rows: dict[str, Row], comparisons: dict[str, Comparison]) -> str:
    """The results against each other client in a sentence or two."""
    times = {
        name: f'{multiple(1 / ratio)[:-1]} times less'
        for name in HEADLINES
        if name in rows and (ratio := rows[name].ratio('python-engineio')) and ratio < 1
    }
    text = ''
    if 'echo-ws.echo' in times:
        text = (
            f'engineio_gevent needs {times["echo-ws.echo"]} CPU than python-engineio on gevent for '
            'a message and its echo'
        )
        if 'connect-wss.connect' in times:
            text += f', {times["connect-wss.connect"]} to connect by `wss`'
        if 'idle-upgrade.memory' in times:
            text += f', and {times["idle-upgrade.memory"]} memory for an idle client'
        text += '. '
    found = comparisons.get('javascript')
    if found and found.total:
        text += (
            f'It is ahead of the JavaScript client in {len(found.lower)} of {found.total} figures, '
            f'and behind in {len(found.higher)}.'
        )
    return text.strip()


def _join(parts: list[str]) -> str:
    if len(parts) < 2:
        return ''.join(parts)
    return f'{", ".join(parts[:-1])} and {parts[-1]}'


def _sentence(peer: str, found: Comparison) -> str:
    """How many figures are better or worse, and the largest differences."""
    if not found.total:
        return ''
    worse = f'worse in {len(found.higher) or "none"}'
    if found.higher:
        worse = f'[{worse}](#where-another-client-is-better)'
    text = (
        f'- Compared with **{NAMES[peer]}**: better in {len(found.lower)} of {found.total} '
        f'figures, {worse}, no clear difference in {len(found.equal)}.'
    )
    examples = _examples(found.lower, peer)
    return f'{text} The largest advantages: {_join(examples)}.' if examples else text


def _examples(rows: list[Row], peer: str) -> list[str]:
    """The clearest figures, one of each family."""
    best: dict[str, tuple[float, Row]] = {}
    for row in rows:
        ratio, family = row.ratio(peer) or 1.0, row.measure.family
        steady = max(row.spread(OURS), row.spread(peer)) < STEADY
        if steady and family != 'scale' and ratio < best.get(family, (1.0, row))[0]:
            best[family] = (ratio, row)
    clearest = sorted(best.values(), key=lambda entry: entry[0])[:EXAMPLES]
    return [f'*{row.figure.title}* ({multiple(1 / ratio)})' for ratio, row in clearest]


def undecided(results: Results) -> str:
    """Sentences about figures that are much higher, but whose rounds differ too much to decide."""
    higher: dict[str, tuple[Row, list[str]]] = {}
    for peer in peers(results):
        for row in compare(results, peer).equal:
            if (row.ratio(peer) or 0.0) > 1 + STEADY:
                higher.setdefault(row.name, (row, []))[1].append(NAMES[peer])
    return ' '.join(
        f'For *{row.figure.title}*, the median of engineio_gevent ({table.quantity(row, OURS)}) is '
        f'above that of {_join(names)}, but the rounds differ too much to decide.'
        for row, names in higher.values()
    )


def where_others_are_lower(results: Results) -> str:
    """A table of the figures in which another client is clearly lower, worst first."""
    found = [
        (row.ratio(peer) or 0.0, row, peer)
        for peer in peers(results)
        for row in compare(results, peer).higher
    ]
    cells = [['figure', 'engineio_gevent', 'the other client', 'engineio_gevent needs']]
    cells += [
        [
            row.figure.title,
            table.quantity(row, OURS),
            f'{table.quantity(row, peer)} ({title(peer, row.measure.family)})',
            f'{multiple(ratio)} as much',
        ]
        for ratio, row, peer in sorted(found, key=lambda entry: -entry[0])
    ]
    return table.as_markdown(cells, ':---') if found else ''
