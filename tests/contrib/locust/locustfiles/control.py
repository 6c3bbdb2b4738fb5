"""A run of Locust that a test can end: SIGUSR1 ends it in order, with all reports written.

Ctrl-C would do, but for the user that happens to run in that moment: it gets a KeyboardInterrupt.
The CSV files are written often, so that the tests need not wait for them.
"""

import signal

import gevent
from locust import events, stats

stats.CSV_STATS_INTERVAL_SEC = stats.CSV_STATS_FLUSH_INTERVAL_SEC = 0.3


@events.init.add_listener
def on_init(runner, **kwargs):
    gevent.signal_handler(signal.SIGUSR1, runner.quit)
