"""A short soak.

ENGINEIO_GEVENT_SOAK_SECONDS and ENGINEIO_GEVENT_SOAK_CLIENTS make it longer or larger;
`make test-all` runs 500 clients for a minute.
"""

import importlib.util
import os
from pathlib import Path

import pytest

SECONDS = float(os.environ.get('ENGINEIO_GEVENT_SOAK_SECONDS', '15'))
CLIENTS = int(os.environ.get('ENGINEIO_GEVENT_SOAK_CLIENTS', '200'))


def load():
    spec = importlib.util.spec_from_file_location('soak', Path(__file__).with_name('soak.py'))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.time_limit(SECONDS * 2 + 180)
def test_nothing_grows(js_server):  # which skips where there is none
    soak = load().Soak(CLIENTS)
    try:
        assert soak.run(SECONDS) == []
    finally:
        soak.stop()
