"""This client, in a process that is never monkey-patched."""

from __future__ import annotations

import engineio_gevent

from .greenlets import main

if __name__ == '__main__':
    main(engineio_gevent.Client)
