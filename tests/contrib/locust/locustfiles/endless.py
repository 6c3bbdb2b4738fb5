"""Users whose loops never end by themselves, with the JavaScript servers.

The variable LOOP is the name of one of the classes.
"""

import os

import gevent
import recorder
from locust import constant, task

from engineio_gevent.contrib.locust import EngineIOUser, SocketIOUser


class Loop:
    wait_time = constant(0.1)

    def context(self):
        return {'user': id(self)}


class Listener(Loop, EngineIOUser):
    """Waits for messages in a greenlet that nobody ends."""

    def on_start(self):
        super().on_start()
        gevent.spawn(self.listen)

    def listen(self):
        while True:
            self.eio.expect(timeout=None, name='push')

    @task
    def ask(self):
        self.eio.send('numbers 2', name='numbers')


class Proud(Loop, EngineIOUser):
    """Does not reconnect, and asks all the same."""

    reconnect = False

    @task
    def ask(self):
        while True:
            self.eio.request('hello', 'hello', name='ask')


class Caller(Loop, SocketIOUser):
    options = {
        'reconnection_delay': 0.2,
        'reconnection_delay_max': 0.5,
        'randomization_factor': 0,
    }
    event, timeout = 'echo', 1

    @task
    def ask(self):
        while True:
            self.sio.call(self.event, 'hello', timeout=self.timeout)


class Unanswered(Caller):
    """Waits for what the server never acknowledges, without a limit."""

    event, timeout = 'never', None


for kind in (Listener, Proud, Caller, Unanswered):
    kind.abstract = kind.__name__ != os.environ['LOOP']
del kind  # Locust would take it for another class
