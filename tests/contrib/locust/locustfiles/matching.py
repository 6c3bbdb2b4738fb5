"""Match functions that wait, raise or are killed. Prints what becomes of the messages as JSON."""

import json
import sys

import gevent
import locust  # it monkey-patches, which comes first
from locust.env import Environment
from locust.event import Events

from engineio_gevent.contrib.locust import EngineIOUser
from engineio_gevent.contrib.locust.awaited import Awaited, Incoming
from engineio_gevent.contrib.locust.failures import describe

seen = {}


class Refuses:
    """What a message cannot be compared with, or a verdict that is none."""

    def __eq__(self, other):
        raise ValueError('ambiguous')

    def __bool__(self):
        raise ValueError('ambiguous')

    __hash__ = None


def slow(first):
    def match(message):
        gevent.sleep(0.01)
        return message[0] == first

    return match


def kills(message):
    gevent.sleep(0.01)
    raise gevent.GreenletExit


def out_of_time(message):
    with gevent.Timeout(0.001):
        gevent.sleep(10)


class Wordless(Exception):
    """An exception that cannot be shown."""

    def __str__(self):
        raise ValueError('no words')

    __repr__ = __str__


def fail(message):
    raise Wordless


# -- Messages of one batch, one call after the other ----------------------------------------------


def batch(*messages, calls, forgotten=()):
    """What calls with these match functions get, and what is counted; None: not arrived."""
    counted = []
    incoming = Incoming(lambda message, length: counted.append(message))
    awaited = [Awaited(match) for match in calls]
    for one in awaited:
        incoming.add(one)
    takers = [gevent.spawn(incoming.take, message, 1, 0.5) for message in messages]
    gevent.sleep(0.005)  # match functions wait
    for number in forgotten:
        incoming.forget(awaited[number])
    gevent.joinall(takers)
    while incoming._busy or incoming._held is not None:
        gevent.sleep(0.001)
    gevent.sleep(0)
    return [one.message for one in awaited], counted


seen['in order'] = batch('a1', 'a2', 'b1', 'a3', calls=[slow('a'), slow('a'), slow('b')])
seen['not overtaken'] = batch('b1', 'a1', 'a2', calls=[slow('a'), lambda m: m[0] == 'a'])
seen['the call ends'] = batch('a1', 'b1', calls=[slow('a'), None], forgotten=[0])
seen['killed'] = batch('a1', 'a2', calls=[kills, slow('a'), None])
seen['out of time'] = batch('a1', 'a2', calls=[out_of_time, slow('a')])
seen['raises'] = batch('a1', 'a2', calls=[lambda m: 1 / 0, Refuses(), slow('a')])


def held():
    """A call that follows the answer to another one, in the same batch."""
    counted = []
    incoming = Incoming(lambda message, length: counted.append(message))

    def calls():
        awaited = Awaited('a1')
        incoming.add(awaited)
        awaited._arrived.wait()
        following = Awaited(slow('b'))
        incoming.expect(following)
        following._arrived.wait()
        return following.message

    calling = gevent.spawn(calls)
    gevent.sleep(0)
    for message in ('a1', 'a2'):
        incoming.take(message, 1, 0.5)
    gevent.sleep(0.005)  # the match function is at 'a2'
    incoming.take('b1', 1, 0.5)
    incoming.take('b2', 1, 0.5)
    got = calling.get(timeout=20)
    while incoming._busy or incoming._held is not None:
        gevent.sleep(0.001)
    gevent.sleep(0)
    return got, counted


seen['held'] = held()


def lost():
    """The answer has arrived before the connection is lost."""
    incoming = Incoming(lambda message, length: None)
    awaited = [Awaited(slow('a')), Awaited(slow('b'))]
    for one in awaited:
        incoming.add(one)
    taking = gevent.spawn(incoming.take, 'a1', 1, 0.5)
    gevent.sleep(0.005)
    incoming.lose('gone')
    later = Awaited(None)
    incoming.add(later)
    taking.join()
    return [one.message for one in awaited], [str(one._error) for one in (*awaited, later)]


seen['lost'] = lost()


def counting_fails():
    counted = []

    def count(message, length):
        counted.append(message)
        if message == 'a2':
            raise ValueError('no name for this')

    incoming = Incoming(count)
    incoming.add(waiting := Awaited(slow('b')))
    takers = [gevent.spawn(incoming.take, message, 1, 0.5) for message in ('a1', 'a2', 'a3')]
    gevent.joinall(takers)
    while incoming._busy:
        gevent.sleep(0.001)
    gevent.sleep(0.001)
    incoming.forget(waiting)
    return counted


seen['counted'] = counting_fails()


# -- A real client ---------------------------------------------------------------------------------


class Visitor(EngineIOUser):
    host = sys.argv[1]
    transports = 'websocket'
    wait_time = locust.constant(0.1)

    @locust.task
    def nothing(self):
        pass


rows = []
environment = Environment(user_classes=[Visitor], events=Events())
environment.events.request.add_listener(
    lambda request_type, response, exception, **_: rows.append((request_type, response, exception))
)
user = Visitor(environment)
user.on_start()
eio = user.eio
calls = [
    gevent.spawn(eio.expect, match, timeout=20)
    for match in (slow('a'), slow('a'), lambda m: m == 'b1', kills, slow('c'))
]
gevent.sleep(0)
for text in ('a1', 'a2', 'b1', 'c1', 'd1', 'd2'):  # the server sends them back
    eio.send(text)
gevent.joinall([*calls[:3], calls[4]], timeout=20)
seen['client'] = [one.value for one in (*calls[:3], calls[4])]
calls[3].kill()
checked = eio.request('e1', match='e1', check=lambda answer: Refuses(), timeout=20, name='e')
eio.request('f1', match='f1', check=fail, timeout=20, name='f')
eio.request('g1', match=fail, timeout=2, name='g')
asked = [str(row[2]) for row in rows if row[0] == 'request']
seen['failures'] = [describe(Wordless()).args[0], *asked[1:]]
while len([row for row in rows if row[0] == 'recv']) < 7:
    gevent.sleep(0.01)
seen['rows'] = sorted(row[1] for row in rows if row[0] == 'recv')
seen['check'] = [checked, str(next(row[2] for row in rows if row[0] == 'request'))]
user.on_stop()
json.dump(seen, sys.stdout)
