"""Faults within the upgrade: of the probe alone, or of everything.

The connect handler has run by then, so `connect()` returns, and the disconnect handler tells
where the connection is lost.
"""

import gevent
import pytest

import support
from engineio_gevent.exceptions import ConnectionClosed, HeartbeatTimeout

# Where the probe is when it happens: its request has arrived, or its 101 has passed.
POINTS = {'asked': None, 'head': 'head'}
every_point = pytest.mark.parametrize('point', POINTS)


def hold(subject, point, how='hole'):
    """Have it happen to the probe of the next connect."""
    if POINTS[point] is not None:
        subject.lane.rule('probe', 'cut', after=POINTS[point], how=how)
    elif how == 'hole':
        subject.lane.rule('probe', 'hole')
    else:
        subject.lane.rule('probe', 'end', how=how)


def held(subject, point, bounded=False):
    """Connect, in a greenlet, up to a probe that hangs, and a GET beside it.

    Where it is `bounded`, it may have been given up before anybody looks.
    """
    hold(subject, point)
    connecting = subject.start_connecting()
    subject.lane.wait_seen('probe' if POINTS[point] is None else 'cut')
    subject.lane.wait_seen('get')
    assert bounded or not connecting.ready()
    return connecting


# -- Of the probe alone ---------------------------------------------------------------------------


@every_point
@pytest.mark.parametrize('how', ['reset', 'close', 'hole'])
def test_the_probe_ends(make_subject, point, how):
    """Polling goes on; the next connect upgrades."""
    subject = make_subject('upgraded', request_timeout=1.5 if how == 'hole' else 5)
    hold(subject, point, how)
    before = len(support.descriptors())
    subject.client.connect(subject.lane.url)
    # That of the GET; the probe's is closed, though nobody else has ended it where it hangs.
    assert support.eventually(lambda: len(support.descriptors()) == before + 1)
    # python-engineio's server has only noops for a GET while it believes in the probe.
    subject.lane.act('end', 'probe', how='reset')
    subject.keeps_polling()
    subject.leaves()
    subject.client.request_timeout = 5
    subject.recovers()


@every_point
def test_the_probe_is_held_up_and_goes_on(make_subject, point):
    """What was sent meanwhile is neither lost nor doubled nor out of order."""
    subject = make_subject('upgraded')
    connecting = held(subject, point)
    for number in range(20):
        subject.client.send(f'{number}.')
    gevent.sleep(0.05)
    subject.lane.lift()
    connecting.get(timeout=5)
    assert subject.client.transport() == 'websocket'
    for number in range(20, 40):
        subject.client.send(f'{number}.')
    assert [subject.inbox.get(timeout=5) for _ in range(40)] == [f'{n}.' for n in range(40)]
    subject.ask()  # nothing comes before this echo
    subject.leaves()


def test_a_probe_that_hangs_makes_no_busy_loop(make_subject):
    """python-engineio's server answers each GET with a noop at once until the probe has ended."""
    subject = make_subject('upgraded', request_timeout=1.5)
    hold(subject, 'head')
    subject.client.connect(subject.lane.url)
    polls = subject.lane.state['seen']['get']
    assert polls < 250
    gevent.sleep(0.5)
    assert subject.lane.state['seen']['get'] - polls < 50
    subject.lane.act('end', 'probe', how='reset')
    subject.keeps_polling()
    subject.leaves()


def test_a_probe_cut_at_every_boundary(make_subject):
    """Of the 101 and of the pong, by turns by a FIN and a reset."""
    subject = make_subject('upgraded')
    for after in range(140):
        subject.ends.clear()
        subject.connects = 0
        subject.lane.lift()
        subject.lane.rule('probe', 'cut', after=after, how=['close', 'reset'][after % 2])
        subject.client.connect(subject.lane.url)
        if subject.client.transport() == 'websocket':
            subject.leaves()
            break
        subject.keeps_polling()
        subject.leaves()
    assert after > 100
    subject.ends.clear()
    subject.recovers()


# -- Of everything --------------------------------------------------------------------------------


@every_point
@pytest.mark.parametrize('how', ['reset', 'close'])
def test_all_connections_end(make_subject, point, how):
    subject = make_subject('upgraded')
    connecting = held(subject, point)
    subject.lane.act('end', how=how, scope='lane')
    subject.loses(ConnectionClosed)
    connecting.get(timeout=1)
    assert subject.connects == 1
    subject.fails(ConnectionClosed)
    subject.recovers()


@every_point
@pytest.mark.parametrize('unread', [False, True], ids=['fin', 'rst'])
def test_the_server_is_killed_and_started_again(make_subject, mortal, servers, point, unread):
    server, next_server = mortal(), servers()
    subject = make_subject('upgraded', server)
    connecting = held(subject, point)
    if unread:
        server.suspend()
        subject.client.send('nobody reads it')
        gevent.sleep(0.02)
    server.kill()
    subject.loses(ConnectionClosed)
    connecting.get(timeout=1)
    subject.fails(ConnectionClosed)
    subject.lane.turn_to(next_server)
    subject.recovers()


@every_point
@pytest.mark.parametrize('silence', ['holed', 'stopped'])
@pytest.mark.parametrize('limit', [None, 0.3], ids=['unbounded', 'probe-given-up'])
def test_silence_and_back(make_subject, servers, point, silence, limit):
    """The heartbeat ends it, whether the probe has been given up before or has no bound at all."""
    server = servers(quick=True)
    subject = make_subject('upgraded', server, request_timeout=5)
    subject.client.request_timeout = limit
    connecting = held(subject, point, bounded=limit is not None)
    try:
        if silence == 'stopped':
            server.suspend()
        else:
            subject.lane.act('hole', scope='lane')
        # Or the POST of a pong, where a PING came just before: that has the limit for a bound.
        causes = HeartbeatTimeout if limit is None else (HeartbeatTimeout, ConnectionClosed)
        subject.loses(causes, subject.patience + 1.5)
    finally:
        server.resume()
    connecting.get(timeout=1)
    subject.client.request_timeout = 5
    subject.recovers()


@pytest.mark.parametrize('silence', ['holed', 'stopped'])
def test_a_short_silence_does_no_harm(make_subject, servers, silence):
    server = servers()
    subject = make_subject('upgraded', server)
    connecting = held(subject, 'asked')
    if silence == 'stopped':
        server.suspend()
        subject.lane.act('flow', 'probe')
    else:
        subject.lane.act('hole', scope='lane')
    subject.client.send('meanwhile')
    gevent.sleep(0.1)
    server.resume()
    subject.lane.lift()
    connecting.get(timeout=5)
    assert subject.inbox.get(timeout=5) == 'meanwhile'
    assert subject.client.transport() == 'websocket'
    subject.ask()
    subject.leaves()


@every_point
def test_no_pings_though_messages_flow(make_subject, point):
    """By polling, beside a probe that hangs without a bound."""
    subject = make_subject('upgraded', quick=True, request_timeout=None)
    subject.on_connect = lambda: subject.client.send('silence')
    connecting = held(subject, point)

    def talk():
        while not subject.ends:
            subject.client.send('hello')
            gevent.sleep(0.02)

    talking = gevent.spawn(talk)
    subject.loses(HeartbeatTimeout, subject.patience + 1.5)
    talking.kill()
    connecting.get(timeout=1)
    subject.on_connect = None
    subject.client.request_timeout = 5
    subject.recovers()


# -- Between the pong and the UPGRADE packet ------------------------------------------------------


@pytest.mark.parametrize('how', ['reset', 'close', 'hole'])
@pytest.mark.parametrize('moment', ['get', 'probe'])
def test_polling_is_awaited(make_subject, moment, how):
    """The GET in flight hangs while the pong is there; then one of the two goes, or neither."""
    subject = make_subject('upgraded', request_timeout=1.2)
    connecting = held(subject, 'head')
    subject.lane.act('hole', 'get')
    gevent.sleep(0.15)  # if none was in flight, one is now
    subject.lane.act('flow', 'probe')
    gevent.sleep(0.05)  # the pong arrives
    assert not connecting.ready()
    if how != 'hole':
        subject.lane.act('end', moment, how=how)
    if moment == 'get' and how != 'hole':
        subject.loses(ConnectionClosed)
        connecting.get(timeout=1)
    else:
        connecting.get(timeout=5)
        subject.lane.lift()
        subject.keeps_polling()
        subject.leaves()
    subject.client.request_timeout = 5
    subject.recovers()


@pytest.mark.parametrize('abort', [False, True], ids=['disconnect', 'abort'])
@every_point
@pytest.mark.parametrize('kind', ['js'], indirect=True)
def test_leaving_a_dead_server(make_subject, point, abort):
    subject = make_subject('upgraded')
    connecting = held(subject, point)
    subject.lane.act('hole', scope='lane')
    subject.leaves(abort=abort)
    connecting.get(timeout=1)
    subject.recovers()
