"""Users whose polling goes through their HTTP client, with the JavaScript server."""

import recorder
from locust import FastHttpUser, HttpUser, constant, task

from engineio_gevent.contrib.locust import EngineIOUser


class Sharing(EngineIOUser):
    abstract = True
    wait_time = constant(0.1)
    fixed_count = 1
    transports = 'polling'

    def on_start(self):
        self.http_session = self.client
        super().on_start()

    @task
    def ask(self):
        name = type(self).__name__
        assert self.client.get('/control/clients', name=name).status_code == 200
        requests = self.eio.request('headers', lambda data: isinstance(data, list), name=name)
        library = 'requests' if name == 'Http' else 'gevent-http-client'
        for one in requests:
            assert library in one['headers']['user-agent'], one


class Http(HttpUser, Sharing):
    pass


class Fast(FastHttpUser, Sharing):
    pass
