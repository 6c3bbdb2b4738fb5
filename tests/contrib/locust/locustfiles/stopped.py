"""Users with calls in flight wherever a scenario can have them, when the run is stopped."""

import gevent
import recorder
from locust import constant, task

from engineio_gevent.contrib.locust import EngineIOUser, SocketIOUser


class OfEngineIO(EngineIOUser):
    fixed_count = 2
    wait_time = constant(0.1)

    def on_start(self):
        self.eio.on('message', self.answer)
        self.eio.on('disconnect', self.farewell)
        super().on_start()
        gevent.spawn(self.repeat)
        self.spawn(self.repeat)
        self.eio.send('begin')  # comes back

    def repeat(self):
        while True:
            self.eio.request('silence', match='never', timeout=None, name='unanswered')

    def answer(self, message):
        if message == 'begin':
            self.report('here', 'handler')
            gevent.spawn(self.repeat)
            self.repeat()

    def farewell(self, reason):
        self.eio.send('farewell')

    @task
    def ask(self):
        self.eio.request('hello', 'hello', name='answered')

    def on_stop(self):
        super().on_stop()
        self.eio.send('too late')
        self.report('here', 'stopped')


class OfSocketIO(SocketIOUser):
    fixed_count = 2
    wait_time = constant(0.1)

    def on_start(self):
        self.sio.on('echo', self.answer)
        self.sio.on('disconnect', self.farewell)
        super().on_start()
        gevent.spawn(self.repeat)
        self.spawn(self.repeat)
        self.sio.emit('echo', 'begin')

    def repeat(self):
        while True:
            self.sio.call('never', timeout=None, name='unanswered')

    def answer(self, data):
        if data == 'begin':
            self.report('here', 'handler')
            gevent.spawn(self.repeat)
            self.repeat()

    def farewell(self, reason):
        self.sio.emit('farewell')

    @task
    def ask(self):
        self.sio.call('echo', 'hello', name='answered')

    def on_stop(self):
        super().on_stop()
        self.sio.emit('too late')
        self.report('here', 'stopped')
