"""`python -m tests.model`: random rounds of clients and servers, and what must always hold."""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from pathlib import Path

TESTS = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(TESTS), str(TESTS.parent)]

from .run import AT_ONCE, SEED, Finding, Run  # noqa: E402 - support is found after that


def main() -> int:
    parser = argparse.ArgumentParser(
        prog='python -m tests.model',
        description='Random rounds of clients and real servers, with invariants.',
    )
    parser.add_argument('--seconds', type=float, help='how long')
    parser.add_argument('--rounds', type=int, help='how many rounds; without --seconds: 500')
    parser.add_argument('--seed', type=int, default=SEED, help='of the first round (%(default)s)')
    parser.add_argument('--trace', action='store_true', help='show what happens, and when')
    parser.add_argument('--shrink', type=float, default=0, metavar='SECONDS', help='for each kind')
    parser.add_argument('--at-once', type=int, default=AT_ONCE, help='rounds (%(default)s)')
    parser.add_argument('--repeat', type=int, help='run the round of the seed so often')
    parser.add_argument('--skip', default='', metavar='RULE,..', help='leave out these rules')
    options = parser.parse_args()
    if options.rounds is None and options.seconds is None:
        options.rounds = 500
    run = Run(options.trace, options.at_once, options.skip.split(','))
    kinds: Counter[str] = Counter()

    def found(finding: Finding) -> None:
        kinds[finding.kind] += 1
        if kinds[finding.kind] <= 3:
            print(finding)
            if kinds[finding.kind] == 1:
                print('\n'.join(['  what happened:', *finding.log]))
            print(flush=True)
        else:
            print(f'FINDING {finding.kind}: seed {finding.script.seed}', flush=True)

    try:
        if options.repeat:
            run.servers.start_all()
            for finding in run.repeat(run.draw(options.seed), options.repeat):
                run.findings.append(finding)
                found(finding)
        else:
            run.run(options.seed, options.rounds, options.seconds, found)
        print(f'{run.rounds} rounds, {run.steps} steps in {run.seconds:.0f} s')
        for what, count in sorted(run.counts.items()):
            print(f'  {count:7} {what}')
        print(f'{len(run.findings)} findings: {dict(kinds)}')
        if options.shrink:
            for kind in kinds:
                first = next(one for one in run.findings if one.kind == kind)
                print('shrunk:', run.shrink(first, options.shrink), '\n', flush=True)
    finally:
        run.servers.stop()
    return 1 if run.findings else 0


if __name__ == '__main__':
    sys.exit(main())
