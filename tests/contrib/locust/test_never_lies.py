"""The report has what happened, once, under its name, and nothing that was wished."""

import csv
import subprocess
import sys
from collections import Counter
from pathlib import Path

FAILED = 1
"""Locust's exit code where a request has failed."""


def rows(run, *types):
    """The rows of these types by name, with how often each was reported."""
    return Counter(
        (event['request_type'], event['name'])
        for event in run.events
        if event['request_type'] in types
    )


def test_a_wished_stop_is_no_failure(locust, make_js_server, socketio_server):
    """Calls are in flight in spawned greenlets and in handlers when the run is stopped."""
    for user, server in (('OfEngineIO', make_js_server()), ('OfSocketIO', socketio_server)):
        run = locust('stopped.py', server.url, user, users=2, name=user)
        for row in (
            ('here', 'handler'),
            ('request' if user == 'OfEngineIO' else 'call', 'answered'),
        ):
            run.until(lambda run=run, row=row: len(run.events_of(*row)) >= 2)
        run.quit()
        assert not run.failures
        assert not run.events_of('send', 'too late')
        # What a user reports itself is reported, however late.
        assert len(run.events_of('here', 'stopped')) == 2
        # No handler was killed, or has failed.
        assert 'handler was' not in run.output
        assert 'handler error' not in run.output
        server.wait_count(0)


def test_a_second_run_has_its_own_calls_only(program, js_server):
    seen = program('two_runs.py', js_server.url)
    assert {run for _, _, run, _ in seen['first']} == {1}
    assert {run for _, _, run, _ in seen['second']} == {2}
    assert {exception for *_, exception in seen['first'] + seen['second']} == {'None'}
    assert seen['ended'] == 2  # the greenlets that Locust does not know


def test_namespaces(locust, socketio_server):
    """A lost connection is one disconnect; equal events of two namespaces have two rows."""
    run = locust('namespaces.py', socketio_server.url, users=3)
    run.until(lambda: len(run.events_of('here', 'done')) == 3)
    run.quit(FAILED)
    cut = 'ConnectionClosed: 127.0.0.1: the server closed the connection'
    gone = 'BadNamespaceError: /chat is not a connected namespace.'
    assert run.failures == {
        ('disconnect', 'transport error', cut): 3,
        ('disconnect', 'server disconnect', 'server disconnect'): 3,
        ('disconnect', '/chat server disconnect', 'server disconnect'): 3,
        ('call', 'gone', gone): 3,
        ('emit', 'farewell', 'not connected'): 3,
        # The server has disconnected it from this one, and is about to from the other.
        ('emit', 'farewell', 'BadNamespaceError: / is not a connected namespace.'): 3,
    }
    assert rows(run, 'connect') == {('connect', 'polling'): 9}
    assert rows(run, 'call', 'emit', 'recv') == {
        ('call', 'echo'): 9,
        ('call', '/chat echo'): 9,
        ('call', 'alone'): 3,
        ('call', 'gone'): 3,
        ('recv', 'echo'): 12,
        ('recv', '/chat echo'): 9,
        ('emit', 'drop me'): 3,
        ('emit', 'kick'): 3,
        ('emit', 'farewell'): 6,
        ('emit', '/chat out'): 3,
    }
    socketio_server.wait_count(0)


def test_names_checks_and_expected_events(locust, socketio_server, make_js_server):
    run = locust('asking.py', socketio_server.url, 'OfSocketIO', users=2)
    run.until(lambda: len(run.events_of('here', 'socketio')) == 2)
    run.quit(FAILED)
    assert rows(run, 'call', 'request', 'emit', 'recv') == {
        ('call', 'named'): 2,
        ('call', 'right'): 2,
        ('call', 'false'): 2,
        ('call', 'refused'): 2,
        ('call', 'not refused'): 2,
        ('call', 'raised'): 2,
        ('recv', 'echo'): 12,
        ('emit', 'want numbers'): 4,
        ('call', 'join'): 2,
        ('recv', 'after an acknowledgement'): 2,
        ('recv', 'any number'): 4,
        ('recv', 'one'): 2,
        ('recv', 'none'): 2,
        ('request', 'ask'): 2,
        ('recv', 'answered'): 2,
        ('request', '/chat echo'): 2,
        ('request', 'checked'): 2,
        ('request', 'late'): 2,
    }
    assert run.failures == {
        ('call', 'false', 'check failed'): 2,
        ('call', 'refused', 'check failed: wrong is the wrong answer'): 2,
        ('call', 'raised', 'check failed: TypeError("\'int\' object is not subscriptable")'): 2,
        ('recv', 'none', 'no matching event within 0.2 seconds'): 2,
        ('request', 'checked', 'check failed: wrong is the wrong answer'): 2,
        ('request', 'late', 'no matching event within 0.2 seconds'): 2,
    }
    # A wrong answer has come: its time and its size are those of an answer.
    for event in run.events_of('call', 'refused') + run.events_of('request', 'checked'):
        assert event['response_time'] > 0
        assert event['response_length'] > 0
    assert all(event['response_time'] >= 200 for event in run.events_of('request', 'late'))

    run = locust('asking.py', make_js_server().url, 'OfEngineIO', users=2, name='engineio')
    run.until(lambda: len(run.events_of('here', 'engineio')) == 2)
    run.quit(FAILED)
    assert run.failures == {('request', 'wrong', 'check failed: wrong is the wrong answer'): 2}
    assert all(event['response_time'] > 0 for event in run.events_of('request', 'wrong'))


def test_the_default_timeout_of_calls(locust, socketio_server, make_js_server):
    """It is 10 seconds for each of them."""
    sio = locust('unhurried.py', socketio_server.url, 'OfSocketIO', users=1)
    eio = locust('unhurried.py', make_js_server().url, 'OfEngineIO', users=1, name='engineio')
    for run, count in ((sio, 3), (eio, 2)):
        run.until(
            lambda run=run, count=count: count == sum(bool(one['exception']) for one in run.events)
        )
        run.quit(FAILED)
    assert set(sio.failures) == {
        ('call', 'call', 'no acknowledgement within 10 seconds'),
        ('request', 'request', 'no matching event within 10 seconds'),
        ('recv', 'expect', 'no matching event within 10 seconds'),
    }
    assert set(eio.failures) == {
        ('request', 'request', 'no matching message within 10 seconds'),
        ('recv', 'expect', 'no matching message within 10 seconds'),
    }
    timed = sio.events_of('call', 'call') + [
        event for run in (sio, eio) for event in run.events_of('request', 'request')
    ]
    assert all(event['response_time'] >= 10_000 for event in timed)


def exceptions(run):
    """Locust's table of exceptions, with how often each occurred."""
    path = Path(f'{run.prefix}_exceptions.csv')
    if not path.exists():
        return {}
    with path.open(newline='') as file:
        return {row['Message']: int(row['Count']) for row in csv.DictReader(file)}


def test_mistakes_of_the_scenario(locust, socketio_server, make_js_server):
    """They are in Locust's table of exceptions, and a secret is not in a URL."""
    host = socketio_server.url.replace('://', '://ada:secret@') + '/?token=secret'
    run = locust('mistaken.py', host, 'OfSocketIO', users=2)
    run.until(lambda: len(run.events_of('here', 'socketio')) == 2)
    expected = {'in a handler': 2, 'in an acknowledgement': 2, 'in greenlet 5': 2}
    run.until(lambda: exceptions(run) == expected)
    run.quit(FAILED, tracebacks=True)
    # They are logged, too.
    assert run.output.count('Mistake: in greenlet 5') == 2
    assert {event['url'] for event in run.events} == {f'{socketio_server.url}/socket.io/'}

    server = make_js_server()
    run = locust('mistaken.py', server.url, 'OfEngineIO', users=2, name='engineio')
    run.until(lambda: len(run.events_of('here', 'engineio')) == 2)
    run.until(lambda: exceptions(run) == {'in a message handler': 2})
    run.quit(FAILED, tracebacks=True)
    # The session of Locust polls, and makes no row of each URL.
    assert {(event['request_type'], event['name']) for event in run.events} == {
        ('connect', 'polling'),
        ('request', 'message'),
        ('here', 'engineio'),
    }
    server.wait_count(0)


USERS = """
from locust.env import Environment
from engineio_gevent.contrib.locust import EngineIOUser, SocketIOUser

class OfEngineIO(EngineIOUser):
    host = 'http://a.test'

class OfSocketIO(SocketIOUser):
    host = 'http://a.test'

class Chosen(OfEngineIO):
    client_options = {'max_receive_delay': 0.5}

environment = Environment(user_classes=[OfEngineIO, OfSocketIO])
clients = OfEngineIO(environment).eio, OfSocketIO(environment).sio.eio, Chosen(environment).eio
print(*[client.max_receive_delay for client in clients])
"""


def test_no_message_is_held_back():
    """The time for that would be reported as the server's."""
    done = subprocess.run(
        [sys.executable, '-c', USERS], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout == '0 0 0.5\n'
