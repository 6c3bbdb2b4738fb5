"""Users that connect from the addresses in the variable SOURCES, each twice."""

import itertools
import os

import recorder
from locust import constant, task

from engineio_gevent.contrib.locust import EngineIOUser, SocketIOUser

KIND = os.environ['KIND']
numbers = itertools.count()


class Traveller:
    wait_time = constant(0.2)
    source_addresses = os.environ['SOURCES'].split()
    connect_retry_delay = 0.1
    dropped = False

    def __init__(self, *args):
        self.headers = {'X-User': f'{os.getpid()} {next(numbers)}'}
        super().__init__(*args)


class EngineIOTraveller(Traveller, EngineIOUser):
    abstract = KIND != 'EngineIO'

    @task
    def ask(self):
        if not self.dropped:
            self.dropped = True
            self.eio.send('drop')
        self.eio.request('hello', name='ask')


class SocketIOTraveller(Traveller, SocketIOUser):
    """It connects to an Engine.IO server, which sends its packet CONNECT back."""

    abstract = KIND != 'SocketIO'
    socketio_path = 'engine.io'
    options = {'reconnection_delay': 0.1}

    @task
    def ask(self):
        if not self.dropped:
            self.dropped = True
            self.sio.eio.send('drop')
        self.sio.send('hello')
