"""The worker of engineio_gevent, in a process without monkey-patching."""

from __future__ import annotations

import os
import sys
from functools import partial
from importlib import import_module

from .meter import read_job


def main() -> None:
    """Run the job of the command line."""
    pure = read_job().pure
    os.environ['ENGINEIO_GEVENT_PURE_PYTHON'] = str(int(pure))
    # Where the extension is not built, the Python is measured in all rows.
    if import_module('engineio_gevent').__accelerated__ and pure:
        sys.exit('the wrong implementation is in use')
    name = 'engineio_gevent'
    if read_job().protocol == 'socketio':
        name = 'engineio_gevent.contrib.socketio'
    client = import_module(name).Client
    if read_job().orjson:
        client = partial(client, json=import_module('orjson'))
    import_module('benchmarks.workers.greenlets').main(client)


if __name__ == '__main__':
    main()
