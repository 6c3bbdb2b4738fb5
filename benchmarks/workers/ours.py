"""The worker of engineio_gevent, in a process without monkey-patching."""

from __future__ import annotations

import sys
from importlib import import_module
from typing import Any

from .meter import read_job


def main() -> None:
    """Run the job of the command line."""
    speedups: Any = None
    if read_job().speedups:
        speedups = import_module('websockets.speedups')
    else:
        sys.modules['websockets.speedups'] = None  # type: ignore[assignment]  # makes the import fail
    masking = import_module('engineio_gevent.protocol.masking')
    if (masking.mask is getattr(speedups, 'apply_mask', 0)) is not bool(speedups):
        sys.exit('the wrong implementation of masking is in use')
    name = 'engineio_gevent'
    if read_job().protocol == 'socketio':
        name = 'engineio_gevent.contrib.socketio'
    import_module('benchmarks.workers.greenlets').main(import_module(name).Client)


if __name__ == '__main__':
    main()
