"""Users that do a bit of everything, with the JavaScript server."""

import recorder
from locust import constant, task

from engineio_gevent.contrib.locust import EngineIOUser


class Visitor(EngineIOUser):
    wait_time = constant(0.2)

    def on_start(self):
        self.handled = []
        self.eio.on('message', self.handled.append)
        super().on_start()

    def context(self):
        return {'visitor': True}

    @task
    def visit(self):
        del self.handled[:]
        assert self.eio.request('héllo', 'héllo', name='text') == 'héllo'
        answer = self.eio.request({'a': [1, 'é']}, lambda data: data['a'][1] == 'é', name='json')
        assert answer == {'a': [1, 'é']}
        assert self.eio.request(b'\x00\xff', name='binary') == b'\x00\xff'
        # These three come at once.
        self.eio.send('numbers 3', name='numbers')
        assert self.eio.expect('0', name='zero') == '0'
        assert self.eio.expect('1', name='one') == '1'
        assert self.handled[:5] == ['héllo', {'a': [1, 'é']}, b'\x00\xff', '0', '1']
