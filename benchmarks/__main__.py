"""The command: ``python -m benchmarks``."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from . import guard, machine, runner, table, targets
from .measures import MEASURES, QUICK, Measure
from .results import Results
from .systems import OURS, SYSTEMS, no_javascript

ROUNDS = 5
QUICK_ROUNDS = 1


def main(arguments: list[str] | None = None) -> int:
    """Run the command line.

    :returns: the exit status.
    """
    options = _parser().parse_args(arguments)
    if options.list:
        print(_listed())
        return 0
    if options.results:
        results = Results.load(options.results)
    else:
        missing = no_javascript()
        if missing:
            print(f'The JavaScript server cannot run: {missing}.', file=sys.stderr)
            return 2
        results = measure(
            choose(options.measure, options.quick),
            _available(options.system),
            options.rounds or (QUICK_ROUNDS if options.quick else ROUNDS),
            _what(options),
        )
        results.save(options.out / 'results.json')
    print(table.text(results))
    if options.targets:
        missed = targets.missed(results)
        print(
            f'\nMissed targets:\n\n{table.aligned(missed)}' if missed else '\nAll targets are met.'
        )
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
        description='Measure engineio_gevent and other Engine.IO clients against the JavaScript '
        'server. Prints a table of medians. A full run takes about 35 minutes.',
        epilog='Write the page again from its own results, without measuring: '
        'python -m benchmarks --results --report',
    )
    add = parser.add_argument
    add(
        '--quick',
        action='store_true',
        help='run fewer measures with smaller counts, in about a minute',
    )
    add(
        '--measure',
        action='append',
        choices=MEASURES,
        metavar='NAME',
        help='run only this measure (repeatable; --list shows the names)',
    )
    add(
        '--system',
        action='append',
        choices=SYSTEMS,
        metavar='NAME',
        help='run only this system (repeatable; --list shows the names)',
    )
    add(
        '--rounds',
        type=int,
        metavar='N',
        help=f'rounds of each measure (default: {ROUNDS}; with --quick: {QUICK_ROUNDS})',
    )
    add(
        '--out',
        type=Path,
        default=Path('build/benchmarks'),
        metavar='DIR',
        help='folder for results.json (default: %(default)s)',
    )
    add(
        '--results',
        type=Path,
        nargs='?',
        const=Path('docs/benchmarks/results.json'),
        metavar='FILE',
        help='do not measure; read the results of an earlier run (default: %(const)s)',
    )
    add(
        '--report',
        type=Path,
        nargs='?',
        const=Path('docs/benchmarks.md'),
        metavar='PAGE',
        help='write the results page with its plots, and TARGETS.md (default: %(const)s)',
    )
    add(
        '--guard',
        type=Path,
        nargs='?',
        const=guard.BASELINE,
        metavar='FILE',
        help='fail if a figure is clearly slower than stored, relative to both python-engineio '
        'and the bare loop, in two runs (default: benchmarks/baseline.json)',
    )
    add(
        '--write-baseline',
        type=Path,
        nargs='?',
        const=guard.BASELINE,
        metavar='FILE',
        help='store the ratios for --guard, where higher than those stored (default: '
        'benchmarks/baseline.json)',
    )
    add('--targets', action='store_true', help='also print the missed targets, for developers')
    add('--list', action='store_true', help='list the names of measures and systems, and exit')
    return parser


def choose(names: list[str] | None, quick: bool) -> list[Measure]:
    """Select measures by name.

    :param names: None for all measures, or for those of a quick run.
    """
    chosen = []
    limit = machine.file_limit()
    for name in names or (QUICK if quick else MEASURES):
        if MEASURES[name].fits(limit):
            chosen.append(MEASURES[name])
        else:
            told = f'a process may open only {limit:.0f} files; see "ulimit -H -n"'
            print(f'Not measured: {name} ({told}).', file=sys.stderr)
    return [each.hurried() for each in chosen] if quick else chosen


def _available(names: list[str] | None) -> list[str]:
    available = []
    for name in SYSTEMS:
        if names and name not in names:
            continue
        missing = SYSTEMS[name].missing()
        if missing:
            print(f'Not measured: {name} ({missing}).', file=sys.stderr)
        else:
            available.append(name)
    return available


def _what(options: argparse.Namespace) -> list[str]:
    """The command-line options that select what is measured."""
    words = ['--quick'] if options.quick else []
    for name in ('measure', 'system'):
        words += [word for value in getattr(options, name) or () for word in (f'--{name}', value)]
    return words + (['--rounds', str(options.rounds)] if options.rounds else [])


def measure(
    measures: list[Measure], systems: list[str], rounds: int, what: Sequence[str] = ()
) -> Results:
    """Measure, and print the progress on standard error.

    :param what: the command-line options, recorded with the results.
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
    """Whether no figure is clearly slower than stored. A suspect is measured a second time."""
    first = guard.worse(results, baseline)
    if not first:
        print('\nguard: passed, no figure is clearly slower than stored')
        return True
    names = sorted({name.partition('.')[0] for name in first})
    print(f'\nguard: measuring again: {", ".join(names)}')
    repeated = measure(choose(names, quick), [OURS, *guard.PEERS], guard.REPEAT_ROUNDS)
    again = guard.worse(repeated, baseline)
    twice = first.keys() & again.keys()
    for name, pairs in {**first, **again}.items():
        verdict = 'SLOWER in both runs' if name in twice else 'slower in one run only'
        told = [
            f'ratio to {peer} {ratio:.3f}, stored {stored:.3f}'
            for peer, (ratio, stored) in pairs.items()
        ]
        print(f'guard: {name}: {verdict}, {", ".join(told)}')
    return not twice


def _listed() -> str:
    lines = [
        f'{name:16} {"quick" if name in QUICK else "":6} '
        + '; '.join(figure.title for figure in each.figures)
        for name, each in MEASURES.items()
    ]
    systems = [f'{name:16} {system.title}' for name, system in SYSTEMS.items()]
    return '\n'.join(['Measures:', *lines, '', 'Systems:', *systems])


if __name__ == '__main__':
    sys.exit(main())
