"""The connection is there, and then the server, or the way to it, is not any more."""

from types import SimpleNamespace

import gevent
import pytest

from engineio_gevent.exceptions import ConnectionClosed, HTTPError

both_ends = pytest.mark.parametrize('how', ['reset', 'close'])
every_way = pytest.mark.parametrize(
    'way', ['polling', 'https', 'websocket', 'wss', 'upgraded'], indirect=True
)


@pytest.mark.smoke
@both_ends
@every_way
def test_the_connection_ends(make_subject, way, how):
    """While nothing happens, and there is nobody to take the next one."""
    subject = make_subject(way).connect()
    subject.ask()
    subject.lane.act('end', how=how, scope='lane')
    error = subject.loses(ConnectionClosed)
    if how == 'reset' and way.name in ('websocket', 'upgraded'):
        # TLS takes a reset for an end of file before CPython 3.12.3.
        assert isinstance(error.__cause__, ConnectionResetError)
    cause = subject.fails(ConnectionClosed)
    assert isinstance(cause.__cause__, ConnectionRefusedError)
    subject.recovers()


@both_ends
@every_way
@pytest.mark.parametrize('kind', ['js'], indirect=True)
def test_the_connection_ends_while_much_is_sent(make_subject, way, how):
    """A sender that waits for room is let go; what he sends then is dropped in silence."""
    subject = make_subject(way, write_limit=1000).connect()
    subject.lane.everywhere('hole')
    sending = [gevent.spawn(subject.client.send, b'x' * 3_000_000) for _ in range(3)]
    gevent.sleep(0.02)
    assert not all(one.ready() for one in sending)
    subject.lane.act('end', how=how, scope='lane')
    subject.loses(ConnectionClosed)
    gevent.joinall(sending, timeout=1, raise_error=True)
    assert all(one.ready() for one in sending)
    subject.client.send('nobody hears it')
    subject.recovers()


@both_ends
@every_way
@pytest.mark.parametrize('kind', ['js'], indirect=True)
def test_the_connection_ends_in_the_farewell(make_subject, way, how):
    """The application wished the end, and that stays the reason."""
    subject = make_subject(way).connect()
    subject.lane.act('hole', scope='lane')
    leaving = gevent.spawn(subject.leaves)
    gevent.sleep(0.02)
    assert not leaving.ready()
    subject.lane.act('end', how=how, scope='lane')
    leaving.get(timeout=1)
    subject.recovers()


@pytest.mark.parametrize('unread', [False, True], ids=['fin', 'rst'])
@pytest.mark.parametrize('tls', [False, True], ids=['plain', 'tls'])
def test_the_server_is_killed_and_started_again(make_subject, mortal, servers, tls, unread):
    """By SIGKILL: what a client has sent and the process not read makes it a reset.

    Half of the clients are connected directly: it is the kernel that ends their connections.
    """
    server, next_server = mortal(tls), servers(tls)
    ways = ['https', 'wss'] if tls else ['polling', 'websocket', 'upgraded']
    subjects = [make_subject(way, server) for way in ways * 2]
    for subject in subjects[len(ways) :]:
        lane = subject.lane
        subject.lane = SimpleNamespace(url=server.url)
        subject.connect()
        subject.lane = lane
    for subject in subjects[: len(ways)]:
        subject.connect()
    for subject in subjects:
        subject.ask()
    if unread:
        server.suspend()
        for subject in subjects:
            subject.client.send('nobody reads it')
        gevent.sleep(0.02)
    server.kill()
    for subject in subjects:
        error = subject.loses(ConnectionClosed)
        if unread and subject.way.name == 'websocket':
            assert isinstance(error.__cause__, ConnectionResetError)
    for subject in subjects:
        subject.fails(ConnectionClosed)
    for subject in subjects:
        subject.lane.turn_to(next_server)
        subject.recovers()


@pytest.mark.parametrize('way', ['polling'], indirect=True)
def test_another_server_behind_the_same_port(make_subject, mortal, servers, way):
    """Restarted, or without stickiness: the session is unknown there."""
    subject = make_subject(way, mortal()).connect()
    subject.lane.turn_to(servers())
    subject.client.send('by a new connection')
    error = subject.loses(HTTPError)
    assert error.status == 400
    subject.recovers()


def test_another_server_within_the_upgrade(make_subject, mortal, servers):
    """The probe is refused; where the POSTs go there, too, the session is over."""
    subject = make_subject('upgraded', mortal())
    subject.on_connect = lambda: subject.lane.turn_to(servers())
    subject.start_connecting().get(timeout=5)
    assert (subject.client.state, subject.client.transport()) == ('connected', 'polling')
    subject.client.send('by a new connection')
    assert subject.loses(HTTPError).status == 400
    subject.recovers()
