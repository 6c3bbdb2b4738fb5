"""Users that want to connect; the variable DELAY says how long they wait to try again."""

import os

import recorder
from locust import constant, task

from engineio_gevent.contrib.locust import EngineIOUser


class Patient(EngineIOUser):
    wait_time = constant(0.5)
    transports = 'websocket'
    connect_retry_delay = float(os.environ.get('DELAY', '0.1'))

    @task
    def ask(self):
        self.eio.request('hello', name='ask')
