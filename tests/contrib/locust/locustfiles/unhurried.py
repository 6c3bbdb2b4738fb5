"""Users that wait for what never comes, without a timeout of their own."""

import recorder
from gevent.pool import Group
from locust import constant, task

from engineio_gevent.contrib.locust import EngineIOUser, SocketIOUser


class OfSocketIO(SocketIOUser):
    fixed_count = 1
    wait_time = constant(30)

    @task
    def wait(self):
        group = Group()
        group.spawn(self.sio.call, 'never', name='call')
        group.spawn(self.sio.request, 'ask', answer='nothing', name='request')
        group.spawn(self.sio.expect, 'nothing', name='expect')
        group.join()


class OfEngineIO(EngineIOUser):
    fixed_count = 1
    wait_time = constant(30)

    @task
    def wait(self):
        group = Group()
        never = {'match': lambda message: False}
        group.spawn(self.eio.request, 'x', **never, name='request')
        group.spawn(self.eio.expect, **never, name='expect')
        group.join()
