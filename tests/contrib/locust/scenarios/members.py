"""Members log in over HTTP, and their cookie lets them in. Strangers stay outside."""

import itertools

from locust import HttpUser, between, task

from engineio_gevent.contrib.locust import EngineIOUser, SocketIOUser

numbers = itertools.count()


class Visitor(HttpUser):
    abstract = True
    wait_time = between(0.05, 0.3)
    connect_timeout = 30
    connect_retry_delay = 0.2

    def log_in(self):
        self.client.post('/login', json={'name': 'ada', 'password': 'lovelace'})
        cookies = self.client.cookies.get_dict()
        self.headers = {'Cookie': '; '.join(f'{name}={value}' for name, value in cookies.items())}


class Member(Visitor, SocketIOUser):
    namespaces = '/members'
    options = {'reconnection_delay': 0.2, 'randomization_factor': 0.1}

    def on_start(self):
        self.log_in()
        super().on_start()

    @task
    def ask(self):
        self.sio.call('whoami', namespace='/members')


class Subscriber(Visitor, EngineIOUser):
    engineio_path = 'members/engine.io'

    def on_start(self):
        self.log_in()
        super().on_start()

    def message_name(self, message):
        return message['news'] if 'news' in message else f'late request {message["do"]}'

    @task
    def ask(self):
        number = next(numbers)
        self.eio.request(
            {'do': 'whoami', 'id': number},
            match=lambda message: message.get('re') == number,
            name='whoami',
        )
        self.eio.expect(lambda message: message.get('news') == 'welcome', name='welcome')


class Stranger(Visitor, SocketIOUser):
    fixed_count = 1
    namespaces = '/members'

    @task
    def never(self):
        raise AssertionError('a stranger was let in')


class Unknown(Visitor, EngineIOUser):
    fixed_count = 1
    engineio_path = 'members/engine.io'

    @task
    def never(self):
        raise AssertionError('a stranger was let in')
