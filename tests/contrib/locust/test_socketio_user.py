"""Users that speak Socket.IO, with real Locust and the JavaScript server."""

import support

USERS = 3


def length(text):
    return len(text.encode())


def test_all_that_a_user_does(locust, socketio_server):
    run = locust('socketio_visitor.py', socketio_server.url, users=USERS)
    # Each has dropped its connection once, and made another visit after that.
    run.until(lambda: len(run.events_of('call', 'never')) >= 3 * USERS)
    run.quit(1)
    cut = 'ConnectionClosed: 127.0.0.1: the server closed the connection'
    assert set(run.failures) == {
        ('call', 'never', 'no acknowledgement within 0.2 seconds'),
        ('disconnect', 'transport error', cut),
    }
    assert run.failures['disconnect', 'transport error', cut] == USERS
    assert len(run.events_of('connect', 'polling')) == 2 * USERS

    # A call is counted once, and is no emit; so is what is sent.
    calls = run.events_of('call', 'echo')
    visits = len(run.events_of('call', 'never'))
    assert 3 * visits <= len(calls) <= 3 * (visits + USERS)
    assert all(0 < event['response_time'] < 30_000 for event in calls)
    # The length of an answer: whole packets, a binary one with what is attached.
    assert {event['response_length'] for event in calls} <= {
        length(text.format(number)) + attached
        for number in (1, 10, 100)
        for text, attached in (
            ('3{}["héllo"]', 0),
            ('3{}["a",1,{{"b":[null]}}]', 0),
            ('61-{}[{{"_placeholder":true,"num":0}}]', 2),
        )
    }
    emitted = run.events_of('emit', 'echo')
    assert 9 * visits <= len(emitted) <= 9 * (visits + USERS)
    assert not run.events_of('emit', 'message')
    assert visits <= len(run.events_of('send', 'message')) <= visits + USERS
    assert {event['response_length'] for event in run.events_of('send', 'message')} == {
        length('2["message",{"any":"thing"}]')
    }

    # What comes is counted, whether it has a handler or not.
    numbers = run.events_of('recv', 'number')
    assert len(numbers) >= 2 * visits
    assert {event['response_length'] for event in numbers} == {length('2["number",0]')}
    assert run.events_of('recv', 'echo')
    for event in run.events:
        timed = event['request_type'] in {'connect', 'call'}
        assert (event['response_time'] is not None) == timed
        assert event['url'] == f'{socketio_server.url}/socket.io/'
    socketio_server.wait_count(0)


def test_users_that_cannot_connect_try_again(locust):
    run = locust('socketio_patient.py', f'http://127.0.0.1:{support.free_port()}', users=USERS)
    run.until(lambda: len(run.events_of('connect', 'polling')) >= 3 * USERS)
    run.quit(1)
    ((kind, name, text),) = run.failures
    assert (kind, name) == ('connect', 'polling')
    assert 'refused' in text


def test_users_that_the_server_sends_away_come_back(locust, socketio_server):
    run = locust('socketio_outcast.py', socketio_server.url, users=2)  # one of each kind
    run.until(lambda: len(run.events_of('call', 'echo')) >= 4)
    run.quit(1)
    away = ('disconnect', 'server disconnect', 'server disconnect')
    assert set(run.failures) == {away}
    assert len(run.events_of('connect', 'polling')) >= 5
    assert len(run.events_of('call', 'who')) == 1  # by the one that does not come back
    socketio_server.wait_count(0)
