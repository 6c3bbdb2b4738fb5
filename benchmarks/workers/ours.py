"""This client, in a process that is never monkey-patched."""

from __future__ import annotations

import sys
from importlib import import_module
from typing import Any

from .meter import read_job


def main() -> None:
    """Do the job of the command line."""
    speedups: Any = None
    if read_job().speedups:
        speedups = import_module('websockets.speedups')
    else:
        sys.modules['websockets.speedups'] = None  # type: ignore[assignment]  # no import, then
    masking = import_module('engineio_gevent.protocol.masking')
    if (masking.mask is getattr(speedups, 'apply_mask', 0)) is not bool(speedups):
        sys.exit('not the masking that this is about')
    name = 'engineio_gevent'
    if read_job().protocol == 'socketio':
        name = 'engineio_gevent.contrib.socketio'
    import_module('benchmarks.workers.greenlets').main(import_module(name).Client)


if __name__ == '__main__':
    main()
