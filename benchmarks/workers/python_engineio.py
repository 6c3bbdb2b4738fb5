"""python-engineio's ``Client``, or python-socketio's, in a monkey-patched process."""

# ruff: noqa: E402 - the patch comes before what it patches is imported
from __future__ import annotations

from gevent import monkey

monkey.patch_all()

from importlib import import_module

from .greenlets import main
from .meter import read_job

if __name__ == '__main__':
    main(import_module(read_job().protocol).Client)
