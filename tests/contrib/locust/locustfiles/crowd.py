"""Many users that ask now and then."""

import control
from locust import between, task

from engineio_gevent.contrib.locust import EngineIOUser


class Member(EngineIOUser):
    wait_time = between(5, 15)
    connect_timeout = 30

    @task
    def ask(self):
        self.eio.request('hello', 'hello', timeout=30, name='ask')
