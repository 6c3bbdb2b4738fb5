"""Each task is a visit: it connects, talks and leaves."""

import itertools

import socketio
from locust import between, task

import engineio_gevent
from engineio_gevent.contrib.locust import EngineIOUser, SocketIOUser

numbers = itertools.count()


class Caller(EngineIOUser):
    wait_time = between(0.05, 0.3)
    connect_timeout = 30
    reconnect = False

    def on_start(self):
        pass  # connects in each task

    def message_name(self, message):
        return f'late request {message["do"]}'

    @task
    def visit(self):
        try:
            self.eio.connect(self.host)
        except engineio_gevent.exceptions.ConnectionError:
            return
        number = next(numbers)
        self.eio.send({'do': 'look'}, name='look')
        self.eio.request(
            {'do': 'browse', 'id': number},
            match=lambda message: message.get('re') == number,
            name='browse',
        )
        self.eio.disconnect()


class Guest(SocketIOUser):
    wait_time = between(0.05, 0.3)
    options = {'reconnection': False, 'request_timeout': 30}
    reconnect = False

    def on_start(self):
        pass  # connects in each task

    @task
    def visit(self):
        try:
            self.sio.connect(self.host, wait_timeout=30)
        except socketio.exceptions.ConnectionError:
            return
        self.sio.emit('peep')
        self.sio.call('greet')
        self.sio.disconnect()
