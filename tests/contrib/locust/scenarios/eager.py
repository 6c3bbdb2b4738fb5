"""Users in two namespaces, who call without a pause."""

from locust import constant, task

from engineio_gevent.contrib.locust import SocketIOUser


class Member(SocketIOUser):
    wait_time = constant(0.005)
    connect_timeout = 30
    connect_retry_delay = 0.2
    namespaces = ('/', '/members')
    auth = {'token': 'open sesame'}

    @task
    def ask(self):
        self.sio.call('whoami')
