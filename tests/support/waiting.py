"""Waiting for what is to come."""

import time

import gevent


def eventually(condition, timeout=5, interval=0.01):
    """Wait cooperatively until `condition()` is true; return its last value, true or not."""
    deadline = time.monotonic() + timeout
    while True:
        value = condition()
        if value or time.monotonic() >= deadline:
            return value
        gevent.sleep(interval)
