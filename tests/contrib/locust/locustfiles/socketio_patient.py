"""Socket.IO users that want to connect."""

import recorder
from locust import constant, task

from engineio_gevent.contrib.locust import SocketIOUser


class Patient(SocketIOUser):
    wait_time = constant(0.5)
    connect_retry_delay = 0.1

    @task
    def ask(self):
        self.sio.emit('nobody is there')
        self.sio.call('nobody is there')
