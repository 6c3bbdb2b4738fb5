"""Two runs in one process, as the web UI makes them. Prints what the second one reports as JSON.

The users of the first leave greenlets that Locust does not know.
"""

import json
import sys

import gevent
import locust
from gevent.event import Event
from locust.env import Environment
from locust.event import Events

from engineio_gevent.contrib.locust import EngineIOUser

url = sys.argv[1]
seen = []
after_stop = Event()
ended = []


class Visitor(EngineIOUser):
    host = url
    wait_time = locust.constant(0.1)
    transports = 'websocket'
    turn = 0

    def on_start(self):
        super().on_start()
        if self.turn == 1:
            gevent.spawn(self.outlast)
            gevent.spawn(self.report_late)

    def context(self):
        return {'turn': self.turn}

    def outlast(self):
        try:
            self.eio.request('silence', 'never', timeout=60, name='outlasting')
            while True:
                self.eio.send('late', name='outlasting')
        finally:
            ended.append(gevent.getcurrent())

    def report_late(self):
        after_stop.wait()
        self.report('push', 'late', milliseconds=1)

    @locust.task
    def ask(self):
        self.eio.request('hello', 'hello', name='ask')


environment = Environment(user_classes=[Visitor], events=Events())


@environment.events.request.add_listener
def on_request(request_type, name, context, exception, **kwargs):
    seen.append([request_type, name, context['turn'], repr(exception)])


def until_asked():
    count = sum(name == 'ask' for _, name, _, _ in seen)
    while sum(name == 'ask' for _, name, _, _ in seen) < count + 4:
        gevent.sleep(0.01)


runner = environment.create_local_runner()
Visitor.turn = 1
runner.start(2, spawn_rate=2)
until_asked()
runner.stop()
first, seen[:] = list(seen), []
after_stop.set()
Visitor.turn = 2
runner.start(2, spawn_rate=2)
until_asked()
runner.quit()
json.dump({'first': first, 'second': seen, 'ended': len(ended)}, sys.stdout)
