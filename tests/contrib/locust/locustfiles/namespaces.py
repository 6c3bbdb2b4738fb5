"""Users in two namespaces, whose server disconnects them in all ways."""

import gevent
import recorder
from gevent.event import Event
from locust import constant, task

from engineio_gevent.contrib.locust import SocketIOUser


class Twice(SocketIOUser):
    wait_time = constant(30)
    connect_retry_delay = 0.1
    namespaces = ['/', '/chat']
    options = {'reconnection_delay': 0.1, 'randomization_factor': 0}

    def on_start(self):
        self.gone = Event()
        self.sio.on('disconnect', self.go, namespace='/chat')
        # It does not wait for the new connection, which has to wait for this handler.
        self.sio.on('disconnect', lambda reason: self.sio.emit('farewell'))
        super().on_start()

    @task
    def visit(self):
        self.say()
        self.be_disconnected('drop', name='drop me')
        self.say()  # waits for the new connection
        self.be_disconnected('kick')
        self.say()
        self.be_disconnected('out', namespace='/chat')
        self.sio.call('echo', name='alone')
        # A mistake of the scenario: it does not wait for a namespace that does not come back.
        self.sio.call('echo', namespace='/chat', name='gone')
        self.report('here', 'done')

    def go(self, reason):
        gevent.sleep(0.3)  # the connection may end meanwhile
        self.gone.set()

    def say(self):
        # The server also emits an event "echo" before it acknowledges one.
        assert self.sio.call('echo', 1) == 1
        assert self.sio.call('echo', 2, namespace='/chat') == 2

    def be_disconnected(self, event, **options):
        self.gone.clear()
        self.sio.emit(event, **options)
        assert self.gone.wait(20)
