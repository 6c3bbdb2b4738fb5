"""Locust as a library: an environment of its own. Prints what it saw as JSON."""

import json
import sys

import gevent
import locust
from locust.env import Environment
from locust.event import Events

from engineio_gevent.contrib.locust import EngineIOUser

url = sys.argv[1]
seen = {'module': 0, 'own': [], 'constructing': []}


class Visitor(EngineIOUser):
    host = url
    wait_time = locust.constant(0.1)

    @locust.task
    def ask(self):
        self.eio.request('hello', name='ask')


def on_module_request(**kwargs):
    seen['module'] += 1


def on_request(request_type, name, **kwargs):
    seen['own'].append(f'{request_type} {name}')


locust.events.request.add_listener(on_module_request)
environment = Environment(user_classes=[Visitor], events=Events())
environment.events.request.add_listener(on_request)

network = []
sys.addaudithook(lambda event, arguments: event.startswith('socket.') and network.append(event))
user = Visitor(environment)
gevent.sleep(0.05)
seen['constructing'] = list(network)

runner = environment.create_local_runner()
runner.start(2, spawn_rate=2)
gevent.sleep(1)
runner.quit()
# An answer that comes when its user has stopped is a message that nobody waits for.
json.dump({**seen, 'own': sorted({*seen['own'], 'recv message'})}, sys.stdout)
