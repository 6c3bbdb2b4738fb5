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


def settle():
    """Let the loop do what is due now, and all that follows from that without a wait.

    For "nothing has happened": the answer does not depend on how fast the machine is. What
    another process, a native thread or a timer is to do may come later, and what a TCP socket
    sent may still be on its way; wait for a sentinel behind it there.
    """
    for _ in range(20):  # libev is idle when nothing is ready; libuv once in each of its turns
        gevent.idle()
