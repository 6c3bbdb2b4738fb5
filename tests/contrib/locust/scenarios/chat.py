"""A chat: users log in over HTTP, and talk in a namespace that wants their token."""

import itertools

from locust import HttpUser, between, task

from engineio_gevent.contrib.locust import SocketIOUser

PEOPLE_PER_ROOM = 4

numbers = itertools.count()


class Chatter(HttpUser, SocketIOUser):
    wait_time = between(0.05, 0.3)
    connect_timeout = 30
    namespaces = '/members'
    options = {'reconnection_delay': 0.2, 'randomization_factor': 0.1}

    def on_start(self):
        answer = self.client.post('/login', json={'name': 'ada', 'password': 'lovelace'})
        self.auth = {'token': answer.json()['token']}
        self.room = f'room {next(numbers) // PEOPLE_PER_ROOM}'
        self.sio.on('connect', self.join, namespace='/members')
        super().on_start()

    def join(self):
        self.sio.call('join', self.room, namespace='/members')

    @task
    def talk(self):
        # What a user looks at while the server is slow is not worth a long wait.
        self.sio.call('who', namespace='/members', timeout=2)
        self.sio.emit('typing', namespace='/members')
        self.sio.call('say', 'Has anybody seen my keys?', namespace='/members')

    def on_stop(self):
        self.sio.call('leave', namespace='/members')
        super().on_stop()
