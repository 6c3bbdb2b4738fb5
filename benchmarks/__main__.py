"""The command: ``python -m benchmarks``."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from . import guard, machine, runner, table
from .measures import MEASURES, QUICK, Measure
from .results import Results
from .systems import OURS, SYSTEMS, no_javascript

ROUNDS = 5
QUICK_ROUNDS = 1


def main(arguments: list[str] | None = None) -> int:
    """Run what the command line asks for; returns the exit status."""
    options = _parser().parse_args(arguments)
    if options.list:
        print(_listed())
        return 0
    if options.results:
        results = Results.load(options.results)
    else:
        missing = no_javascript()
        if missing:
            print(f'There is no server to measure against: {missing}.', file=sys.stderr)
            return 2
        results = measure(
            choose(options.measure, options.quick),
            _available(options.system),
            options.rounds or (QUICK_ROUNDS if options.quick else ROUNDS),
            _what(options),
        )
        results.save(options.out / 'results.json')
    print(table.text(results))
    if options.report:
        from . import page

        page.write(results, options.report)
    if options.write_baseline:
        guard.write(results, options.write_baseline)
    if options.guard and not _guarded(results, guard.read(options.guard), options.quick):
        return 1
    return 1 if results.failures else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog='python -m benchmarks',
        description='Measure this client and its peers against the JavaScript Engine.IO server.',
    )
    add = parser.add_argument
    add('--quick', action='store_true', help='fewer measures, smaller counts: under a minute')
    add('--measure', action='append', choices=MEASURES, metavar='NAME', help='only this; repeat')
    add('--system', action='append', choices=SYSTEMS, metavar='NAME', help='only this; repeat')
    add('--rounds', type=int, help=f'rounds of each measure ({ROUNDS}; quick: {QUICK_ROUNDS})')
    add(
        '--out',
        type=Path,
        default=Path('build/benchmarks'),
        metavar='DIR',
        help='where to write results.json (%(default)s)',
    )
    add('--results', type=Path, metavar='FILE', help='a results.json to show again, not to run')
    add(
        '--report',
        type=Path,
        nargs='?',
        const=Path('docs/benchmarks.md'),
        metavar='PAGE',
        help='write the results page, with plots (%(const)s)',
    )
    add(
        '--guard',
        type=Path,
        nargs='?',
        const=guard.BASELINE,
        metavar='FILE',
        help='fail where the ratios to python-engineio and to the bare loop are both clearly worse '
        'than stored, twice in a row',
    )
    add(
        '--write-baseline',
        type=Path,
        nargs='?',
        const=guard.BASELINE,
        metavar='FILE',
        help='store these ratios for --guard, where they are higher than those stored',
    )
    add('--list', action='store_true', help='the names of measures and systems')
    return parser


def choose(names: list[str] | None, quick: bool) -> list[Measure]:
    """The measures of these names; by default all, or those of a quick run."""
    chosen = [MEASURES[name] for name in names or (QUICK if quick else MEASURES)]
    return [each.hurried() for each in chosen] if quick else chosen


def _available(names: list[str] | None) -> list[str]:
    available = []
    for name in SYSTEMS:
        if names and name not in names:
            continue
        missing = SYSTEMS[name].missing()
        if missing:
            print(f'Without {name}: {missing}.', file=sys.stderr)
        else:
            available.append(name)
    return available


def _what(options: argparse.Namespace) -> list[str]:
    """The options that tell what is measured, as on the command line."""
    words = ['--quick'] if options.quick else []
    for name in ('measure', 'system'):
        words += [word for value in getattr(options, name) or () for word in (f'--{name}', value)]
    return words + (['--rounds', str(options.rounds)] if options.rounds else [])


def measure(
    measures: list[Measure], systems: list[str], rounds: int, what: Sequence[str] = ()
) -> Results:
    """Measure, showing how far it has come.

    :param what: the options for this, to be noted.
    """
    results = Results(about=machine.about(systems, list(what)), systems=systems)
    start = time.monotonic()
    terminal = sys.stderr.isatty()

    def progress(what: str) -> None:
        line = f'{time.monotonic() - start:4.0f} s  {what}'
        print(
            f'\r\033[K{line}' if terminal else line,
            end='' if terminal else '\n',
            file=sys.stderr,
            flush=True,
        )

    runner.run(results, measures, systems, rounds, progress)
    progress('done\n' if terminal else 'done')
    return results


def _guarded(results: Results, baseline: guard.Ratios, quick: bool) -> bool:
    """Whether nothing is clearly worse than stored; what seems so is measured once more."""
    first = guard.worse(results, baseline)
    if not first:
        print('\nguard: nothing is clearly worse than stored')
        return True
    names = sorted({name.partition('.')[0] for name in first})
    print(f'\nguard: once more, {", ".join(names)}')
    repeated = measure(choose(names, quick), [OURS, *guard.PEERS], guard.REPEAT_ROUNDS)
    again = guard.worse(repeated, baseline)
    twice = first.keys() & again.keys()
    for name, pairs in {**first, **again}.items():
        verdict = 'WORSE twice' if name in twice else 'worse once'
        told = [
            f'{ratio:.3f} of {peer} where {stored:.3f} is stored'
            for peer, (ratio, stored) in pairs.items()
        ]
        print(f'guard: {name}: {verdict}, {", ".join(told)}')
    return not twice


def _listed() -> str:
    lines = [
        f'{name:16} {"quick" if name in QUICK else "":6} '
        + ', '.join(figure.title for figure in each.figures)
        for name, each in MEASURES.items()
    ]
    return '\n'.join([*lines, '', f'systems: {", ".join(SYSTEMS)}'])


if __name__ == '__main__':
    sys.exit(main())
