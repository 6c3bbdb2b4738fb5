"""Users that end in order: none is killed within a task, and SIGUSR2 ends all.

With `--stop-timeout` Locust lets users finish their task. But it kills one that waits for its next
task, and if that is due at the same time, the user is killed in the midst of it.

SIGUSR2 is for workers: their master awaits the last report for half a second only, however long
their users take.
"""

import signal

import control
import gevent
from gevent.event import Event
from locust import TaskSet, User, events
from locust.exception import StopUser
from locust.user.task import LOCUST_STATE_STOPPING

User.called = None  # an event while it waits for its next task


def sleep(tasks, seconds):
    user = tasks.user
    user.called = Event()
    if user.called.wait(seconds):
        raise StopUser
    user.called = None


kill_or_stop = User.stop


def stop(user, force=False):
    if user._state == LOCUST_STATE_STOPPING and not force:
        return False  # a run with a shape is ended twice
    if force or user.called is None:
        return kill_or_stop(user, force)
    user._state = LOCUST_STATE_STOPPING
    user.called.set()
    return False


TaskSet._sleep, User.stop = sleep, stop


@events.init.add_listener
def on_init(runner, **kwargs):
    def stop_all():
        for greenlet in list(runner.user_greenlets):
            greenlet.args[0].stop()

    gevent.signal_handler(signal.SIGUSR2, stop_all)
