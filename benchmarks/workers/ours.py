"""The worker of engineio_gevent, in a process without monkey-patching."""

from __future__ import annotations

import os
import sys
from functools import partial
from importlib import import_module

from .meter import read_job


def main() -> None:
    """Run the job of the command line."""
    job = read_job()
    os.environ['ENGINEIO_GEVENT_PURE_PYTHON'] = str(int(job.pure))
    # Where the extension is not built, the Python is measured in all rows.
    if import_module('engineio_gevent').__accelerated__ and job.pure:
        sys.exit('the wrong implementation is in use')
    name = 'engineio_gevent'
    if job.protocol == 'socketio':
        name = 'engineio_gevent.contrib.socketio'
    client = import_module(name).Client
    if job.orjson:
        client = partial(client, json=import_module('orjson'))
    if job.at_once:
        client = partial(client, max_receive_delay=0)
    import_module('benchmarks.workers.greenlets').main(client)


if __name__ == '__main__':
    main()
