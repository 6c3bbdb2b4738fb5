"""Users in two namespaces, where the events have equal names."""

from locust import between, task

from engineio_gevent.contrib.locust import SocketIOUser


class Member(SocketIOUser):
    wait_time = between(0.05, 0.3)
    connect_timeout = 30
    connect_retry_delay = 0.2
    namespaces = ('/', '/members')
    auth = {'token': 'open sesame'}

    def on_start(self):
        self.sio.on('connect', self.join)
        super().on_start()

    def join(self):
        self.sio.call('join', 'lobby')

    @task
    def call(self):
        self.sio.emit('typing')
        self.sio.call('say', 'hello')

    @task
    def call_members(self):
        self.sio.emit('typing', namespace='/members')
        self.sio.call('say', 'hello', namespace='/members')

    @task
    def whoami(self):
        self.sio.call('whoami')
        self.sio.call('whoami', namespace='/members')

    def on_stop(self):
        self.sio.call('leave')
        super().on_stop()
