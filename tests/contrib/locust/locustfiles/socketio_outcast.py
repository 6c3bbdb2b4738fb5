"""Socket.IO users that the server sends away again and again."""

import recorder
from locust import constant, task

from engineio_gevent.contrib.locust import SocketIOUser


class Outcast(SocketIOUser):
    wait_time = constant(0.3)
    connect_retry_delay = 0.1
    question = 'echo'

    @task
    def come_and_go(self):
        if self.sio.connected:
            self.sio.call(self.question)
            self.sio.emit('out')


class Proud(Outcast):
    """Does not come back."""

    reconnect = False
    question = 'who'
    fixed_count = 1
