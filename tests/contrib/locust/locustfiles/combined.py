"""Users that speak HTTP as well, with the JavaScript server."""

import recorder
from locust import FastHttpUser, HttpUser, constant, task

from engineio_gevent.contrib.locust import EngineIOUser


class Both(EngineIOUser):
    abstract = True
    wait_time = constant(0.3)
    fixed_count = 1

    @task
    def ask(self):
        name = type(self).__name__
        assert self.client is not self.eio
        assert self.client.get('/control/clients', name=name).status_code == 200
        assert self.eio.request(name, name, name=name) == name


class HttpFirst(HttpUser, Both):
    pass


class EngineFirst(Both, HttpUser):
    pass


class FastFirst(FastHttpUser, Both):
    pass


class Alone(EngineIOUser):
    wait_time = constant(0.3)
    fixed_count = 1

    @task
    def ask(self):
        assert self.client is self.eio
        assert self.client.request('Alone', 'Alone', name='Alone') == 'Alone'
