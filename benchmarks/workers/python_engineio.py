"""The worker of python-engineio's and python-socketio's ``Client``, monkey-patched."""

# ruff: noqa: E402 - monkey-patching has to come before the other imports
from __future__ import annotations

from gevent import monkey

monkey.patch_all()

from importlib import import_module

from .greenlets import main
from .meter import read_job

if __name__ == '__main__':
    main(import_module(read_job().protocol).Client)
