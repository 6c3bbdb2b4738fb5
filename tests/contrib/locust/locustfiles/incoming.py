"""What arrives for several calls at once. Prints what becomes of it as JSON."""

import json
import sys

import gevent
import locust  # it monkey-patches, which comes first

from engineio_gevent.contrib.locust.awaited import Awaited, Incoming
from engineio_gevent.contrib.locust.failures import Failure
from engineio_gevent.contrib.locust.presence import Presence
from engineio_gevent.contrib.locust.stopwatch import Stopwatch

counted = []
incoming = Incoming(lambda message, length: counted.append(message))


def wait_for_two(first, second):
    """What a call for the second message sees, right after the answer to one for the first."""
    awaited = Awaited(first)
    incoming.add(awaited)
    awaited.wait(None, Stopwatch())
    following = Awaited(second)
    incoming.expect(following)
    return following.message


calls = [gevent.spawn(wait_for_two, 1, 3), gevent.spawn(wait_for_two, 2, 4)]
gevent.sleep(0)
for message in (1, 2, 3, 4, 5):  # in one batch
    incoming.take(message, 1, 0.5)
gevent.joinall(calls, raise_error=True)
gevent.sleep(0.01)
together = [call.value for call in calls]


def slow_match(message):
    gevent.sleep(0.01)
    return True


given_up = Awaited(slow_match)
incoming.add(given_up)
taking = gevent.spawn(incoming.take, 'late', 1, 0.5)
gevent.sleep(0)
incoming.forget(given_up)
taking.get()
# A call that waits for a user that reconnects until it succeeds, and one when it has given up.
presence = Presence()
connected = []


def wait_for_connection():
    try:
        presence.wait(lambda: bool(connected), 20, Stopwatch())
    except Failure as exc:
        return str(exc)
    return 'connected'


presence.keep(True, returning=True)
patient = gevent.spawn(wait_for_connection)
gevent.sleep(0)
presence.change(returning=False)  # an attempt has failed
gevent.sleep(0.01)
still_waits = not patient.ready()
connected.append(True)
presence.change()
waited = [still_waits, patient.get()]
connected.clear()
presence.keep(False, returning=False)
waited.append(wait_for_connection())
json.dump({'together': together, 'counted': counted, 'waited': waited}, sys.stdout)
