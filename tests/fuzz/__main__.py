"""`python -m tests.fuzz`: fuzz every target, or those named."""

from __future__ import annotations

import argparse
import sys
import traceback

from .compare import IS_BUILT
from .run import SEED, Finding, fuzz
from .targets import COMPILED, TARGETS


def main() -> int:
    names = [target.name for target in TARGETS]
    parser = argparse.ArgumentParser(
        prog='python -m tests.fuzz',
        description='Inputs of chance for everything that reads what a server sends.',
    )
    parser.add_argument('targets', nargs='*', metavar='target', help=f'of {", ".join(names)}')
    parser.add_argument('--inputs', type=int, help='for each target (100000)')
    parser.add_argument('--seconds', type=float, help='for each target, instead of --inputs')
    parser.add_argument('--seed', type=int, default=SEED, help='of the inputs (%(default)s)')
    options = parser.parse_args()
    if unknown := set(options.targets) - set(names):
        parser.error(f'no such target: {", ".join(sorted(unknown))}')
    inputs = options.inputs
    if inputs is None and options.seconds is None:
        inputs = 100_000
    status = 0
    for target in TARGETS:
        if options.targets and target.name not in options.targets:
            continue
        if target is COMPILED and not IS_BUILT:
            print(f'{target.name:>10}: skipped, because the extension in C is not built')
            continue
        try:
            run = fuzz(target, inputs, options.seconds, options.seed)
        except Finding:
            traceback.print_exc()
            status = 1
        else:
            print(
                f'{target.name:>10}: {run.inputs} inputs in {run.seconds:.1f} s, '
                f'{run.outcomes} kinds of outcome',
                flush=True,
            )
    return status


if __name__ == '__main__':
    sys.exit(main())
