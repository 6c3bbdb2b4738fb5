"""Users that the server sends away for a while."""

import recorder
from locust import constant, task

from engineio_gevent.contrib.locust import EngineIOUser, SocketIOUser


class OfEngineIO(EngineIOUser):
    wait_time = constant(0.1)
    transports = 'websocket'
    connect_retry_delay = 0.01

    @task
    def ask(self):
        self.eio.request('hello', name='ask')


class OfSocketIO(SocketIOUser):
    wait_time = constant(0.1)
    transports = 'websocket'
    connect_retry_delay = 0.01
    options = {
        'reconnection_delay': 0.01,
        'reconnection_delay_max': 0.01,
        'randomization_factor': 0,
    }

    @task
    def ask(self):
        self.sio.emit('hello')
