"""A dashboard: viewers come and go, and wait for what the server sends on its own."""

import itertools

from locust import LoadTestShape, between, task

from engineio_gevent.contrib.locust import SocketIOUser

numbers = itertools.count()


class Viewer(SocketIOUser):
    wait_time = between(0.05, 0.3)
    connect_timeout = 30
    options = {'reconnection_delay': 0.2, 'randomization_factor': 0.1}

    def on_start(self):
        self.sio.on('connect', self.subscribe)
        super().on_start()
        self.spawn(self.watch)

    def message_name(self, event, namespace, *args):
        return 'late request query' if event == 'result' else event

    def subscribe(self):
        self.sio.call('subscribe', 100)

    def watch(self):
        while True:
            self.sio.expect('metrics', timeout=30)

    @task
    def query(self):
        number = next(numbers)
        self.sio.request(
            'query',
            {'id': number},
            answer='result',
            match=lambda result: result['id'] == number,
            timeout=2,
        )

    def on_stop(self):
        self.sio.call('leave')
        super().on_stop()


class Waves(LoadTestShape):
    """Four of eight leave, and four others come."""

    waves = ((3, 8), (5, 4))  # seconds since the start, users

    def tick(self):
        for end, users in self.waves:
            if self.get_run_time() < end:
                return users, 8
        return 8, 8
