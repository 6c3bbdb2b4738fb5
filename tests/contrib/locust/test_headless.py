"""Runs without the web UI: in one process, in forked workers, in workers of their own."""

import json
import re

import pytest

import support

TIMED = {
    ('request', 'text'),
    ('request', 'json'),
    ('request', 'binary'),
    ('connect', 'polling'),
    ('upgrade', 'websocket'),
}
COUNTED = {('send', 'numbers'), ('recv', 'zero'), ('recv', 'one'), ('recv', 'message')}
ONCE = {('connect', 'polling'), ('upgrade', 'websocket')}
LENGTHS = {
    ('request', 'text'): len('héllo'.encode()),
    ('request', 'binary'): 2,
    ('request', 'json'): len(json.dumps({'a': [1, 'é']}, separators=(',', ':'))),
    ('send', 'numbers'): len('numbers 3'),
    ('recv', 'zero'): 1,
    ('recv', 'one'): 1,
    ('connect', 'polling'): 0,
    ('upgrade', 'websocket'): 0,
}
# Of a message that nobody waits for: the 2 of the numbers, or an answer that comes too late for
# a user that was stopped.


def number(row, column):
    return float(row[column])


def check_reports(run, users):
    """The CSV files and the HTML of a run of `visitor.py`."""
    stats = run.stats
    assert set(stats) == TIMED | COUNTED | {('', 'Aggregated')}
    assert {row['Failure Count'] for row in stats.values()} == {'0'}
    counts = {key: int(row['Request Count']) for key, row in stats.items()}
    assert {counts[key] for key in ONCE} == {users}
    visits = counts['request', 'text']
    for key in (TIMED | COUNTED) - ONCE:  # each user is within a visit
        assert visits - users <= counts[key] <= visits + users, key
    assert counts['', 'Aggregated'] == sum(counts.values()) / 2
    for key in TIMED:
        assert number(stats[key], 'Min Response Time') > 0
        assert number(stats[key], 'Max Response Time') < 30_000
    for key in COUNTED:
        assert number(stats[key], 'Max Response Time') == 0
    # What is only counted is not in the averages of all.
    total = sum(number(stats[key], 'Average Response Time') * counts[key] for key in TIMED)
    mean = total / sum(counts[key] for key in TIMED)
    assert number(stats['', 'Aggregated'], 'Average Response Time') == pytest.approx(mean, rel=0.01)
    for key, length in LENGTHS.items():
        assert number(stats[key], 'Average Content Size') == length
    for _, name in TIMED | COUNTED:
        assert re.search(rf'"name":\s*"{name}"', run.html)


def check_events(run, url):
    """The request events of a run of `visitor.py`."""
    events = run.events
    assert {(event['request_type'], event['name']) for event in events} == TIMED | COUNTED
    for event in events:
        key = event['request_type'], event['name']
        assert event['exception'] is None
        assert event['context'] == {'visitor': True}
        assert event['url'] == f'{url}/engine.io/'
        assert event['response_length'] == LENGTHS.get(key, event['response_length'])
        assert (event['response_time'] is None) == (key in COUNTED)
        # It began so many milliseconds ago; listeners are told soon after the end.
        began = event['now'] - event['start_time'] - (event['response_time'] or 0) / 1000
        assert -0.1 < began < 10


def test_one_process(locust, make_js_server):
    server = make_js_server()
    run = locust('visitor.py', server.url, users=3)
    run.until_counted('request', 'text', 9)
    run.quit()
    check_reports(run, 3)
    check_events(run, server.url)
    server.wait_count(0)


def test_forked_workers(locust, make_js_server):
    server = make_js_server()
    run = locust('visitor.py', server.url, '--processes', 2, users=4)
    run.until_counted('request', 'text', 12)
    run.quit()
    check_reports(run, 4)
    check_events(run, server.url)
    assert len(list(run.prefix.parent.glob('run.events.*'))) == 2  # both had users
    server.wait_count(0)


def test_master_and_workers(locust, make_js_server):
    server = make_js_server()
    port = support.free_port()
    run = locust(
        'visitor.py',
        server.url,
        '--master',
        '--master-bind-port',
        port,
        '--master-bind-host',
        '127.0.0.1',
        '--expect-workers',
        2,
        users=4,
    )
    workers = [
        locust('visitor.py', server.url, '--worker', '--master-port', port, name=name)
        for name in ('first', 'second')
    ]
    run.until_counted('request', 'text', 12)
    run.quit()
    check_reports(run, 4)
    for worker in workers:
        worker.ends()
        check_events(worker, server.url)
        assert len([event for event in worker.events if event['request_type'] == 'connect']) == 2
    server.wait_count(0)


@pytest.mark.time_limit(150)
def test_two_thousand_users(locust, make_js_server):
    """In one process, all at the same time, without a failure."""
    server = make_js_server()
    users = 2000
    run = locust('crowd.py', server.url, users=users, rate=50)
    run.until(lambda: server.count() == users, 100)
    asked = run.count('request', 'ask')
    run.until_counted('request', 'ask', asked + users)
    run.quit()
    stats = run.stats
    assert int(stats['connect', 'polling']['Request Count']) == users
    assert int(stats['upgrade', 'websocket']['Request Count']) == users
    assert stats['', 'Aggregated']['Failure Count'] == '0'
    server.wait_count(0)
