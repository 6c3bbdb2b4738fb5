"""Nobody ends the connection, but nobody is there: a stopped process, a black hole, no PINGs.

pingInterval + pingTimeout is the bound, whatever else flows.
"""

from contextlib import contextmanager

import gevent
import pytest

every_way = pytest.mark.parametrize(
    'way', ['polling', 'websocket', 'wss', 'upgraded'], indirect=True
)


@contextmanager
def stopped(subject, server):
    server.suspend()
    try:
        yield
    finally:
        server.resume()


@contextmanager
def holed(subject, server):
    subject.lane.act('hole', scope='lane')
    yield
    subject.lane.lift()


both_silences = pytest.mark.parametrize('silence', [stopped, holed])


@both_silences
@every_way
def test_silence_and_back(make_subject, servers, way, silence):
    """It ends in time; meanwhile nobody can connect; then the same client can again."""
    server = servers(way.tls, quick=True)
    subject = make_subject(way, server).connect()
    other = make_subject(way, server, request_timeout=0.4)
    other.lane = subject.lane
    subject.ask()
    with silence(subject, server):
        subject.client.send('nobody hears it')
        failing = gevent.spawn(other.expires)
        subject.falls_silent(since=server.options['pingInterval'] / 1000 + 0.1)
        failing.get(timeout=5)
    subject.recovers()
    other.recovers()


@both_silences
@every_way
def test_a_short_silence_does_no_harm(make_subject, servers, way, silence):
    """What was sent meanwhile arrives, once and in order."""
    server = servers(way.tls)
    subject = make_subject(way, server).connect()
    subject.ask()
    with silence(subject, server):
        for number in range(50):
            subject.client.send(f'{number}.')
        gevent.sleep(0.2)
        assert subject.inbox.empty()
    assert [subject.inbox.get(timeout=5) for _ in range(50)] == [f'{n}.' for n in range(50)]
    assert subject.ends == []
    subject.leaves()


@every_way
def test_no_pings_though_messages_flow(make_subject, way):
    subject = make_subject(way, quick=True).connect()
    subject.client.send('silence')

    def talk():
        while not subject.ends:
            subject.client.send('hello')
            subject.inbox.get(timeout=5)
            gevent.sleep(0.02)

    talking = gevent.spawn(talk)
    subject.falls_silent(since=0.1)
    talking.kill()
    subject.recovers()


@pytest.mark.parametrize('kind', ['js'], indirect=True)
@pytest.mark.parametrize('queued', [0, 8_000_000], ids=['idle', 'much-queued'])
@pytest.mark.parametrize('abort', [False, True], ids=['disconnect', 'abort'])
def test_leaving_a_dead_server(make_subject, servers, abort, queued):
    """`leaves` holds the bounds: 5 s, and half a second with `abort=True`."""
    servers(tls=True)  # it is there before the first subject, so it is no leak
    ways = ['polling', 'https', 'websocket', 'wss', 'upgraded']
    subjects = [make_subject(way, write_limit=None).connect() for way in ways]
    for subject in subjects:
        subject.lane.act('hole', scope='lane')
        subject.client.send(b'x' * queued)
    gevent.sleep(0.02)
    leaving = [gevent.spawn(subject.leaves, abort=abort) for subject in subjects]
    gevent.joinall(leaving, timeout=10, raise_error=True)
    for subject in subjects:
        subject.recovers()
