"""Listeners of Locust's events that wait, and that raise what Locust lets through."""

import gevent
import recorder
from locust import constant, events, task
from locust.exception import StopUser

from engineio_gevent.contrib.locust import EngineIOUser, SocketIOUser

users = {}


class OfEngineIO(EngineIOUser):
    fixed_count = 2
    wait_time = constant(0.1)
    connect_retry_delay = 0.1

    @task
    def ask(self):
        self.eio.request('hello', 'hello', name='ask')

    def drop(self):
        self.eio.send('drop')

    def is_connected(self):
        return self.eio.usable


class OfSocketIO(SocketIOUser):
    fixed_count = 2
    wait_time = constant(0.1)
    options = {'reconnection_delay': 0.1, 'randomization_factor': 0}

    @task
    def ask(self):
        self.sio.call('echo', 'hello', name='ask')

    def drop(self):
        self.sio.emit('drop')

    def is_connected(self):
        return self.sio.connected


def context(user):
    users[id(user)] = user
    return {'user': id(user)}


OfEngineIO.context = OfSocketIO.context = context
connects = {}
dropped = set()


@events.request.add_listener
def on_request(request_type, exception, context, **kwargs):
    user = users[context['user']]
    if request_type == 'disconnect':
        raise StopUser
    if request_type == 'connect' and not exception:
        connects[user] = connects.get(user, 0) + 1
        if connects[user] == 2:  # it is lost again before the listener returns
            user.drop()
            while user.is_connected():
                gevent.sleep(0.01)
            gevent.sleep(0.05)
    if request_type in {'call', 'request'} and connects[user] == 1 and user not in dropped:
        dropped.add(user)
        user.drop()
