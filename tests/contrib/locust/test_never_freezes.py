"""Whatever fails, and however often a scenario repeats it, Locust ends when it is to end.

A loop around a call that fails without yielding would keep the process at 100% CPU: the run time
and SIGTERM would not be honoured, and only SIGKILL would end it.
"""

from collections import defaultdict

import pytest

USERS = 4
FAILED = 1
"""Locust's exit code where a request has failed."""


def failed(run, request_type, name):
    return [event for event in run.events_of(request_type, name) if event['exception']]


def answered(run, request_type, name):
    return [event for event in run.events_of(request_type, name) if not event['exception']]


def check_pauses(events):
    """Each failure has taken its user a tenth of a second or more.

    The first call was in flight when the connection was lost, so no pause had to follow it.
    """
    times = defaultdict(list)
    for event in events:
        times[event['context']['user']].append(event['now'])
    assert len(times) == USERS
    for of_one in times.values():
        # A wall clock measured it, and not at the same place.
        assert of_one[-1] - of_one[0] >= 0.09 * (len(of_one) - 2)


@pytest.fixture
def loop(locust, monkeypatch):
    """`loop('Proud', url)` starts a `Locust` with users of this class of `endless.py`."""

    def start(name, *arguments):
        monkeypatch.setenv('LOOP', name)
        return locust('endless.py', *arguments, users=USERS)

    return start


def test_a_greenlet_that_expects_messages_ends_with_its_user(loop, make_js_server):
    """It was spawned by gevent itself, and its wait is no failure when the run ends."""
    run = loop('Listener', make_js_server().url, '--run-time', 5)
    run.ends()
    assert len(run.events_of('recv', 'push')) >= USERS
    assert not run.failures


@pytest.mark.parametrize('by', ['run time', 'SIGTERM'])
def test_users_that_do_not_reconnect(loop, make_js_server, by):
    server = make_js_server()
    run = loop('Proud', server.url, *(['--run-time', 8] if by == 'run time' else []))
    run.until(lambda: len(answered(run, 'connect', 'polling')) == USERS)
    run.until(lambda: len(answered(run, 'request', 'ask')) >= USERS)
    server.kill()
    run.until(lambda: len(run.events_of('disconnect', 'transport error')) == USERS)
    if by == 'SIGTERM':
        run.until(lambda: len(failed(run, 'request', 'ask')) >= 3 * USERS)
        run.terminate(FAILED)
    else:
        run.ends(FAILED)
    assert 'Aggregated' in run.output  # the report
    # They have not taken 0 ms, which would make the average better than without the outage.
    assert {event['response_time'] for event in failed(run, 'request', 'ask')} == {None}
    check_pauses(failed(run, 'request', 'ask'))


def test_calls_go_on_when_the_server_is_back(loop, socketio_server):
    run = loop('Caller', socketio_server.url)
    run.until(lambda: len(answered(run, 'connect', 'polling')) == USERS)
    run.until(lambda: len(answered(run, 'call', 'echo')) >= USERS)
    socketio_server.kill()
    # More than while the calls in flight wait for their timeout.
    run.until(lambda: len(failed(run, 'connect', 'polling')) >= 5 * USERS)
    run.until(lambda: len(failed(run, 'call', 'echo')) >= 2 * USERS)
    before = len(answered(run, 'call', 'echo'))
    socketio_server.restart()
    run.until(lambda: len(answered(run, 'connect', 'polling')) == 2 * USERS)
    run.until(lambda: len(answered(run, 'call', 'echo')) >= before + 20 * USERS)
    run.quit(FAILED)
    check_pauses(failed(run, 'call', 'echo'))


def test_a_call_in_flight_fails_when_the_connection_is_lost(loop, socketio_server):
    """These have no timeout, so that they would wait for ever."""
    run = loop('Unanswered', socketio_server.url)
    run.until(lambda: len(answered(run, 'connect', 'polling')) == USERS)
    socketio_server.wait_count(USERS)
    # The event of each has arrived: the calls are in flight.
    run.until(lambda: socketio_server.control('received').get('never') == USERS)
    socketio_server.kill()
    run.until(lambda: len(failed(run, 'call', 'never')) == USERS)
    # They have been in flight for a while, but that is no response time.
    assert {event['response_time'] for event in failed(run, 'call', 'never')} == {None}
    socketio_server.restart()
    # The next calls have waited for the new connection, and are in flight.
    run.until(lambda: socketio_server.control('received').get('never') == USERS)
    run.quit(FAILED)
    assert len(failed(run, 'call', 'never')) == USERS
    assert not answered(run, 'call', 'never')
