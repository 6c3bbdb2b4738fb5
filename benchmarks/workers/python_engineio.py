"""python-engineio's ``Client`` in a monkey-patched process."""

# ruff: noqa: E402 - the patch comes before what it patches is imported
from __future__ import annotations

from gevent import monkey

monkey.patch_all()

import engineio

from .greenlets import main

if __name__ == '__main__':
    main(engineio.Client)
