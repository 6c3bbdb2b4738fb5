"""Profiles engineio_gevent: ``python -m benchmarks.profile echo``."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

from . import servers
from .job import Job
from .measures import MEASURES
from .runner import ROOT
from .systems import OURS, SYSTEMS, no_javascript

#: The jobs by name. Each is long enough for a few thousand samples.
JOBS = {
    'echo': replace(MEASURES['echo-ws'].job, messages=3000),
    'echo-json': replace(MEASURES['echo-json'].job, messages=2000),
    'echo-wss': replace(MEASURES['echo-wss'].job, messages=2000),
    'polling': replace(MEASURES['echo-polling'].job, messages=300),
    'flood': replace(MEASURES['receive'].job, messages=1_500_000),
    'flood-sleep': replace(MEASURES['receive-sleep'].job, messages=200_000),
    'send': replace(MEASURES['send'].job, messages=1_500_000),
    'big-binary': replace(MEASURES['big-binary'].job, messages=500),
    'big-text': replace(MEASURES['big-text'].job, messages=500),
    'connect-ws': replace(MEASURES['connect-ws'].job, clients=6000),
    'connect-polling': replace(MEASURES['connect-polling'].job, clients=6000),
    'connect-upgrade': replace(MEASURES['connect-upgrade'].job, clients=4000),
    'connect-wss': replace(MEASURES['connect-wss'].job, clients=2000),
}


def main(arguments: list[str] | None = None) -> int:
    """Run the command line.

    :returns: the exit status.
    """
    parser = argparse.ArgumentParser(
        prog='python -m benchmarks.profile',
        description='Profile engineio_gevent. Prints the functions that take most CPU time, and '
        'writes a flame graph (SVG) and folded stacks for each job.',
    )
    parser.add_argument(
        'what', choices=JOBS, nargs='+', metavar='WHAT', help=f'a job: {", ".join(JOBS)}'
    )
    parser.add_argument(
        '--out',
        type=Path,
        default=Path('build/profiles'),
        metavar='DIR',
        help='output folder (default: %(default)s)',
    )
    options = parser.parse_args(arguments)
    missing = no_javascript()
    if missing:
        print(f'The JavaScript server cannot run: {missing}.', file=sys.stderr)
        return 2
    options.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        certificates = servers.Certificates(Path(folder))
        for what in options.what:
            print(f'\n{what}: {options.out / what}.svg, .folded', flush=True)
            profile(JOBS[what], certificates, options.out.resolve() / what)
    return 0


def profile(job: Job, certificates: servers.Certificates, path: Path) -> None:
    """Run one job under the sampler, which prints its report.

    :raises subprocess.CalledProcessError: the worker failed.
    """
    with servers.running(job, certificates) as urls:
        asked = replace(job, urls=urls, profile=str(path))
        subprocess.run(
            [*SYSTEMS[OURS].command, asked.to_json()],
            cwd=ROOT,
            env={**os.environ, **certificates.environment()},
            check=True,
            preexec_fn=servers.pinned_to('client'),
        )


if __name__ == '__main__':
    sys.exit(main())
