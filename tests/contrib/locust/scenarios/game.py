"""A game with binary messages. Handlers answer what the server sends, by calls of their own."""

import itertools

from locust import between, task

from engineio_gevent.contrib.locust import EngineIOUser, SocketIOUser

numbers = itertools.count()


class Player(SocketIOUser):
    wait_time = between(0.05, 0.3)
    connect_timeout = 30
    options = {'reconnection_delay': 0.2, 'randomization_factor': 0.1}

    def on_start(self):
        self.sio.on('connect', self.enter)
        self.sio.on('turn', self.play)
        super().on_start()

    def message_name(self, event, namespace, *args):
        return event.split(':')[0]  # without the number of the state

    def enter(self):
        self.sio.call('join', 'game')

    def play(self, cards):
        self.sio.call('play', cards, check=lambda answer: answer == cards[::-1])

    @task
    def take_turn(self):
        self.sio.emit('steer', b'\x00\x01')
        self.sio.call('ready')

    def on_stop(self):
        self.sio.call('leave')
        super().on_stop()


class Pilot(EngineIOUser):
    wait_time = between(0.05, 0.3)
    connect_timeout = 30
    connect_retry_delay = 0.2

    def on_start(self):
        self.eio.on('message', self.hear)
        super().on_start()

    def message_name(self, message):
        if isinstance(message, bytes):
            return 'late request move'
        return message['news'] if 'news' in message else f'late request {message["do"]}'

    def ask(self, what):
        number = next(numbers)

        def match(message):
            return isinstance(message, dict) and message.get('re') == number

        self.eio.request({'do': what, 'id': number}, match, name=what)

    def hear(self, message):
        if isinstance(message, dict) and message.get('news') == 'turn':
            self.ask('play')

    @task
    def take_turn(self):
        number = next(numbers).to_bytes(4, 'big')
        self.eio.send({'do': 'steer'}, name='steer')
        self.eio.request(number, match=number[::-1], name='move')
        self.ask('ready')

    def on_stop(self):
        self.ask('leave')
        super().on_stop()
