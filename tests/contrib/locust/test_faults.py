"""What users do where something fails, and what Locust is told of it."""

import json
import subprocess
import sys

import pytest

import support

FAILED = 1
"""Locust's exit code where a request has failed."""


def test_users_that_cannot_connect_try_again(locust, flaky_server):
    """Each failure is counted, and no user is lost; equal failures are one."""
    server = flaky_server(refusals=12)
    run = locust('patient.py', server.url, users=5)
    run.until(lambda: len(run.events_of('request', 'ask')) >= 15)
    run.quit(FAILED)
    connects = run.events_of('connect', 'websocket')
    assert len([event for event in connects if not event['exception']]) == 5
    # A refusal has no response time: it comes sooner than a connection, and would improve averages.
    assert all((event['response_time'] is None) == bool(event['exception']) for event in connects)
    (((kind, name, text), count),) = run.failures.items()
    assert (kind, name, count) == ('connect', 'websocket', 12)
    assert '503' in text
    assert str(server.port) not in text


def test_users_that_wait_to_connect_can_be_stopped(locust, monkeypatch):
    """At once, however long the delay, and however much time users have to stop."""
    monkeypatch.setenv('DELAY', '100')
    run = locust(
        'patient.py', f'http://127.0.0.1:{support.free_port()}', '--stop-timeout', 100, users=5
    )
    run.until(lambda: len(run.events) == 5)
    run.quit(FAILED)
    (((kind, _, text), count),) = run.failures.items()
    assert (kind, count) == ('connect', 5)
    assert 'refused' in text


def test_a_url_that_is_none(locust):
    """The reports, which show a part of it, tell of it all the same."""
    run = locust('patient.py', 'http://[::1', users=2)
    run.until(lambda: len(run.events) >= 2)
    run.quit(FAILED)
    ((kind, _, _),) = run.failures
    assert kind == 'connect'
    assert {event['url'] for event in run.events} == {'/engine.io/'}


@pytest.mark.parametrize('rest', ['s3cret/s3cret', '1234/s3cret'])
def test_a_password_that_is_not_quoted_is_not_in_the_reports(locust, rest):
    run = locust('patient.py', f'http://ann:{rest}@127.0.0.1:1', users=1)
    run.until(lambda: run.events)
    run.quit(FAILED)
    assert {event['url'] for event in run.events} == {'http://127.0.0.1:1/engine.io/'}
    for text in map(str, (*run.failures, *run.events)):
        assert 's3cret' not in text
        assert '1234' not in text


def test_gevent_without_trees_of_greenlets(locust, make_js_server, monkeypatch):
    """By these, users know their own greenlets."""
    monkeypatch.setenv('GEVENT_TRACK_GREENLET_TREE', '0')
    run = locust('visitor.py', make_js_server().url, users=2)
    run.until(lambda: len(run.events_of('request', 'text')) >= 4)
    run.quit()


def test_listeners_that_wait_and_raise(locust, make_js_server, socketio_server):
    """No user is lost, though its connection is lost while they wait for it."""
    for user, server in (('OfEngineIO', make_js_server()), ('OfSocketIO', socketio_server)):
        run = locust('listeners.py', server.url, user, users=2, name=user)
        run.until(lambda run=run: len(run.events_of('connect', 'polling')) >= 6)
        asked = 'request' if user == 'OfEngineIO' else 'call'
        before = len(run.events_of(asked, 'ask'))
        run.until(lambda run=run: len(run.events_of(asked, 'ask')) >= before + 6)  # noqa: B023 - now
        run.stop()


def test_several_calls_at_once(program):
    """Each sees what follows its answer, and a failed attempt to reconnect wakes none in vain."""
    assert program('incoming.py') == {
        'together': [3, 4],
        'counted': [5, 'late'],
        'waited': [True, 'connected', 'not connected'],
    }


def test_all_that_can_fail(locust, make_js_server):
    server = make_js_server()
    users = 3
    run = locust('faults.py', server.url, users=users)
    run.until(lambda: len(run.events_of('connect', 'websocket')) == 4 * users)
    server.wait_count(users)
    run.quit(FAILED)
    assert run.failures == {
        ('request', 'unanswered', 'no matching message within 0.2 seconds'): users,
        (
            'request',
            'wrong',
            "no matching message within 0.2 seconds; match raised TypeError('not for you')",
        ): users,
        ('recv', 'push', 'no matching message within 0.2 seconds'): users,
        ('request', 'dropped', 'disconnected while waiting: transport error'): users,
        (
            'disconnect',
            'transport error',
            'ConnectionClosed: 127.0.0.1: the server closed the connection',
        ): users,
        ('request', 'closed', 'disconnected while waiting: transport error'): users,
        (
            'disconnect',
            'transport error',
            'ConnectionClosed: 127.0.0.1: the server closed the websocket with code 1005',
        ): users,
        ('send', 'late', 'not connected'): users,
    }
    assert len(run.events_of('request', 'back')) == 2 * users
    assert run.events_of('request', 'killed') == []
    assert all(event['response_time'] >= 200 for event in run.events_of('request', 'unanswered'))
    assert all(event['response_time'] is None for event in run.events_of('recv', 'push'))
    server.wait_count(0)


def test_stopping_is_bounded(locust, make_js_server):
    """Though the server says nothing more: 3 s to say goodbye, for all at the same time."""
    server = make_js_server()
    run = locust('visitor.py', server.url, users=6)
    run.until(lambda: len(run.events_of('upgrade', 'websocket')) == 6)
    server.suspend()
    try:
        run.quit(timeout=15)
    finally:
        server.resume()


def test_a_user_that_dies_leaves(locust, make_js_server):
    """Locust runs no on_stop where on_start has failed: nothing stays connected all the same."""
    server = make_js_server()
    run = locust('mortal.py', server.url, users=3)
    run.until(lambda: len(server.control('closed')) == 3)
    assert server.count() == 0
    assert 'RuntimeError: this user is lost' in run.output


def test_users_that_speak_http_too(locust, make_js_server):
    run = locust('combined.py', make_js_server().url, users=4)
    mixed = ('HttpFirst', 'EngineFirst', 'FastFirst')
    run.until(
        lambda: (
            run.events_of('request', 'Alone')
            and all(run.events_of('GET', name) and run.events_of('request', name) for name in mixed)
        )
    )
    run.quit()
    assert not run.failures


def test_an_environment_of_its_own(program, js_server):
    """Nothing is told to the events of the module, and nothing is networked by constructing."""
    assert program('library.py', js_server.url) == {
        'module': 0,
        'constructing': [],
        'own': ['connect polling', 'recv message', 'request ask', 'upgrade websocket'],
    }


def test_equal_failures_have_equal_texts(program):
    pairs = [
        ('127.0.0.1:5000: refused', '127.0.0.1:51234: refused'),
        ("Pool(host='h', port=80): Max", "Pool(host='h', port=81): Max"),
        ("('127.0.0.1', 4000)", "('127.0.0.1', 4001)"),
        ('[::1]:5000 said no', '[::1]:5001 said no'),
        ('GET /engine.io/?EIO=4&t=abc.1&sid=xyz', 'GET /engine.io/?EIO=4&t=abd.2&sid=uvw'),
        ('unknown lv_VI97HAXpY6yYWAAAC', 'unknown 8fJ3-0kzPq1LmNbvAAAB'),
        ('at 2026-01-02T03:04:05.678Z', 'at 2025-11-12T13:14:15Z'),
        ('at 03:04:05', 'at 13:14:15.5'),
        ('since 1767225600.25', 'since 1767225601'),
        ('<Thing object at 0x7f00aa>', '<Thing object at 0x7f00bb>'),
        ('x' * 500, 'x' * 600),
    ]
    texts = program('scrubbed.py', json.dumps([text for pair in pairs for text in pair]))
    for first, second in zip(texts[::2], texts[1::2], strict=True):
        assert first == second
        assert len(first) < 250
    kept = ['status 503 in 45 seconds', 'an unmistakably-long-hyphenated word', 'code 1006: gone']
    assert program('scrubbed.py', json.dumps(kept)) == [f'ValueError: {text}' for text in kept]


def test_a_failure_is_one_line_without_control_characters(program):
    texts = program('scrubbed.py', json.dumps(['one\r\ntwo', '\x1b[2J\x9b\u2028\u202e']))
    assert texts == ['ValueError: one\\r\\ntwo', 'ValueError: \\x1b[2J\\x9b\\u2028\\u202e']


def test_a_name_of_the_server_is_one_line_of_the_report(program):
    events = [('said', '/'), ('a\nb\x1b[2J', '/'), ('said', '/chat\r\u2028'), ('x' * 1000, None)]
    names = program('row_names.py', json.dumps(events))
    assert names[:3] == ['said', 'a\\nb\\x1b[2J', '/chat\\r\\u2028 said']
    assert names[3] == 'x' * 200 + '...'


def test_locust_has_to_come_first(locust_environment):
    done = subprocess.run(
        [sys.executable, '-c', 'import engineio_gevent.contrib.locust'],
        text=True,
        check=False,
        capture_output=True,
        timeout=30,
        env=locust_environment,
    )
    assert done.stderr.splitlines()[-1].startswith(
        'ImportError: import locust before engineio_gevent'
    )


def test_users_that_poll_through_their_http_client(locust, make_js_server):
    """Both kinds of Locust's. The report has the rows of the scenario alone."""
    run = locust('sharing.py', make_js_server().url, users=2)
    run.until(lambda: all(len(run.events_of('request', name)) >= 3 for name in ('Http', 'Fast')))
    run.quit()
    assert not run.failures
    assert {event['name'] for event in run.events if event['request_type'] in ('GET', 'POST')} == {
        'Http',
        'Fast',
    }


def test_sessions_of_locust(program, js_server_with):
    """A dead server is a status 0 to these, with no response beneath it."""
    dead = f'http://127.0.0.1:{support.free_port()}'
    found = program('sessions.py', js_server_with(cookie='io').url, dead)
    for kind, library in (('HttpUser', 'requests'), ('FastHttpUser', 'gevent-http-client')):
        text, body, cause = found[kind]['refused']
        assert text.startswith(
            f'Unexpected status code 0 in server response to GET {dead}/engine.io/: '
        )
        assert 'refused' in text
        assert (body, cause) == (None, 'HTTPError')
        for transports, last in (('polling', 'polling'), ('None', 'websocket')):
            transport, requests, sid = found[kind][transports]
            assert transport == last
            assert all(own == 'x' for _, own, _, _ in requests)
            assert f'io={sid}' in requests[-1][2]
            assert library in requests[0][3]
            assert (requests[-1][0], len(requests) >= 2) == (
                'POST' if last == 'polling' else 'GET',
                True,
            )
        assert found[kind]['rows'] == ['GET', 'POST'], 'they are in the report by themselves'
        text, *_, cause = found[kind]['silent']
        assert '0.2 seconds' in text
        assert cause == 'ConnectionClosed'
