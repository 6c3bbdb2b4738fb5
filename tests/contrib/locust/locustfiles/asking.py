"""Users that give their rows names, check answers, and wait for events."""

import recorder
from locust import constant, task

from engineio_gevent.contrib.locust import EngineIOUser, SocketIOUser


def refuse(answer):
    assert answer != 'wrong', f'{answer} is the wrong answer'


class OfSocketIO(SocketIOUser):
    fixed_count = 2
    wait_time = constant(30)
    namespaces = ['/', '/chat']

    def message_name(self, event, namespace, *args):
        return 'any number' if event == 'number' else super().message_name(event, namespace, *args)

    @task
    def ask(self):
        sio = self.sio
        assert sio.call('echo', 'a', name='named') == 'a'
        assert sio.call('echo', 'a', check=lambda answer: answer == 'a', name='right') == 'a'
        assert sio.call('echo', 'wrong', check=lambda answer: answer == 'b', name='false') is None
        assert sio.call('echo', 'wrong', check=refuse, name='refused') is None
        assert sio.call('echo', 'right', check=refuse, name='not refused') == 'right'
        assert sio.call('echo', 5, check=lambda answer: answer['id'], name='raised') is None
        sio.emit('numbers', 2, name='want numbers')
        assert sio.expect('number', 1, name='one') == 1  # 0 has come before it
        assert sio.expect('number', timeout=0.2, name='none') is None
        self.spawn(sio.emit, 'numbers', 1, name='want numbers')  # in the same batch as the call
        assert sio.call('join', 'a room', name='join') is True
        assert sio.expect('number', 0, name='after an acknowledgement') == 0
        assert sio.request('ask', ('a', 'b'), answer='question') == ('a', 'b')
        assert sio.request('echo', 7, answer='echo', match=7, namespace='/chat') == 7
        assert sio.request('echo', 'wrong', answer='echo', check=refuse, name='checked') is None
        assert sio.request('numbers', 1, answer='number', match=9, timeout=0.2, name='late') is None
        self.report('here', 'socketio')


class OfEngineIO(EngineIOUser):
    fixed_count = 2
    wait_time = constant(30)

    @task
    def ask(self):
        assert self.eio.request('right', check=refuse, name='right') == 'right'
        assert self.eio.request('wrong', check=refuse, name='wrong') is None
        self.report('here', 'engineio')
