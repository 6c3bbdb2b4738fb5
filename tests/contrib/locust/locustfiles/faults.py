"""Users to whom everything happens, once, with the JavaScript server."""

import recorder
from locust import constant, task

from engineio_gevent.contrib.locust import EngineIOUser


def refuse(data):
    raise TypeError('not for you')


class Unlucky(EngineIOUser):
    wait_time = constant(0)
    transports = 'websocket'
    connect_retry_delay = 0.1

    @task
    def fail(self):
        assert self.eio.request('silence', timeout=0.2, name='unanswered') is None
        assert self.eio.request('numbers 1', refuse, 0.2, 'wrong') is None
        assert self.eio.expect('nothing', timeout=0.2, name='push') is None
        assert self.eio.request('drop', 'never', timeout=20, name='dropped') is None
        # This one waits for the connection to be there again.
        assert self.eio.request('back', 'back', name='back') == 'back'
        assert self.eio.request('close', 'never', timeout=20, name='closed') is None
        assert self.eio.request('back', 'back', name='back') == 'back'
        self.eio.disconnect()
        self.eio.send('too late', name='late')
        self.eio.connect(self.host, transports='websocket')
        # The end of the run comes first.
        self.eio.request('silence', timeout=60, name='killed')
