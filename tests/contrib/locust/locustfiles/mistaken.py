"""Users whose own code raises, with a secret in their URL, and with Locust's session."""

import recorder
from locust import HttpUser, constant, task

from engineio_gevent.contrib.locust import EngineIOUser, SocketIOUser


class Mistake(Exception):
    pass


class OfSocketIO(SocketIOUser):
    fixed_count = 2
    wait_time = constant(30)

    def on_start(self):
        self.sio.on('echo', self.fail)
        super().on_start()

    def fail(self, *args):
        raise Mistake('in a handler')

    def refuse(self, *args):
        raise Mistake('in an acknowledgement')

    def stumble(self, number):
        raise Mistake(f'in greenlet {number}')

    @task
    def ask(self):
        self.sio.call('echo', 1)
        self.sio.emit('join', 'room', callback=self.refuse)
        assert self.spawn(lambda: 'a result').get(timeout=20) == 'a result'
        assert self.spawn(self.stumble, 5).get(timeout=20) is None
        self.report('here', 'socketio')


class OfEngineIO(HttpUser, EngineIOUser):
    fixed_count = 2
    wait_time = constant(30)
    transports = 'polling'

    def on_start(self):
        self.client.cookies.set('who', 'ada')
        self.http_session = self.client
        self.eio.on('message', self.fail)
        super().on_start()

    def fail(self, message):
        raise Mistake('in a message handler')

    @task
    def ask(self):
        requests = self.eio.request('headers')
        assert all('who=ada' in request['headers']['cookie'] for request in requests)
        self.report('here', 'engineio')
