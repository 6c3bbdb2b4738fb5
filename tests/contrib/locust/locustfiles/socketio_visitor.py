"""Users that speak Socket.IO, with the JavaScript server."""

import recorder
from gevent.event import Event
from locust import constant, task

from engineio_gevent.contrib.locust import SocketIOUser


class Visitor(SocketIOUser):
    wait_time = constant(0.3)
    options = {'reconnection_delay': 0.2, 'randomization_factor': 0}
    dropped = False

    def on_start(self):
        self.said = []
        self.sio.on('number', self.said.append)
        self.here = Event()
        self.sio.on('connect', self.here.set)
        super().on_start()
        assert self.sio.connected

    @task
    def visit(self):
        # Any argument, any number of them.
        assert self.sio.call('echo', 'héllo') == 'héllo'
        assert self.sio.call('echo', ('a', 1, {'b': [None]})) == ('a', 1, {'b': [None]})
        assert self.sio.call('echo', b'\x00\x01') == b'\x00\x01'
        for data in (None, 0, 1.5, True, [], {}, '', b'', (1, b'\x02')):
            self.sio.emit('echo', data)
        self.sio.emit('numbers', 2)
        self.sio.send({'any': 'thing'})
        assert self.sio.call('never', timeout=0.2) is None
        assert self.said[:2] == [0, 1]
        if not self.dropped:
            self.dropped = True
            self.here.clear()
            self.sio.emit('drop')
            assert self.here.wait(20)  # python-socketio has connected again
