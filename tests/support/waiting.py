"""Waiting for what is to come, as long as a machine needs that is as busy as this one."""

import contextlib
import time

import gevent

WORK = 0.02
"""Seconds of the processor's time that a measurement takes."""
INTERVAL = 5
"""Seconds for which a measurement is good."""
MOST = 10
"""The most that a bound is multiplied by."""

_slowness = 1.0
_measured = float('-inf')


def measure_slowness():
    """Measure how many times slower than an idle machine this one is, unless that was just done.

    It takes the processor for a moment, so it is done between tests, not in the midst of one.
    """
    global _slowness, _measured
    if time.monotonic() - _measured < INTERVAL:
        return
    began, worked = time.monotonic(), time.thread_time()
    while (spent := time.thread_time() - worked) < WORK:
        pass
    found = (time.monotonic() - began) / spent
    # Another process may by chance have let this one pass: what was found before fades slowly.
    _slowness = min(max(1.0, found, 0.8 * _slowness), MOST)
    _measured = time.monotonic()


def patience(seconds):
    """A bound for an idle machine, multiplied by how much slower this one is: by 1 to `MOST`."""
    return seconds * _slowness


def eventually(condition, timeout=5, interval=0.01):
    """Wait cooperatively until `condition()` is true; return its last value, true or not.

    :param timeout: in seconds, see `patience`.
    """
    deadline = time.monotonic() + patience(timeout)
    while True:
        value = condition()
        if value or time.monotonic() >= deadline:
            return value
        gevent.sleep(interval)


def gives_way(call, *errors):
    """Whether other greenlets run while `call()` is repeated, which has nothing to do or raises."""
    ran = []
    other = gevent.spawn_later(0.01, ran.append, True)
    deadline = time.monotonic() + patience(5)
    while not ran and time.monotonic() < deadline:
        with contextlib.suppress(*errors):
            call()
    other.kill()
    return bool(ran)


def settle():
    """Let the loop do what is due now, and all that follows from that without a wait.

    For "nothing has happened": the answer does not depend on how fast the machine is. What
    another process, a native thread or a timer is to do may come later, and what a TCP socket
    sent may still be on its way; wait for a sentinel behind it there.
    """
    for _ in range(20):  # libev is idle when nothing is ready; libuv once in each of its turns
        gevent.idle()
