"""Faults within the handshake: `connect()` raises, in time, and works when the fault has gone."""

import gc

import gevent
import pytest

import support
from engineio_gevent.exceptions import ConnectionClosed, EngineIOError
from engineio_gevent.net import dial, tls

every_way = pytest.mark.parametrize('way', ['polling', 'https', 'websocket', 'wss'], indirect=True)
# The server has not even heard of it, so one will do.
one_server = pytest.mark.parametrize('kind', ['js'], indirect=True)

# Where the client is when it happens: the moment of a rule, and the bytes of the answer that pass.
POINTS = {
    'accepted': ('accept', None),  # where there is TLS: before its handshake
    'asked': ('request', None),
    'first-byte': ('request', 1),
    'head': ('request', 'head'),
    'within-open': ('request', 'more'),
}
every_point = pytest.mark.parametrize('point', POINTS)


def mode_of(way):
    """The proxy does the TLS: it has to know the requests."""
    return 'tls' if way.tls else 'http'


def arrange(subject, point, how):
    """Have it happen to every connection that comes to this point."""
    moment, after = POINTS[point]
    if moment == 'request':
        moment = 'open' if subject.way.transports == ['polling'] else 'ws-open'
    if after == 'more':
        subject.connect()
        after = subject.lane.state['most'] - 20  # within the OPEN packet
        subject.leaves()
        subject.ends.clear()
        subject.connects = 0
    if after is not None:
        subject.lane.rule(moment, 'cut', times=None, after=after, how=how)
    elif how == 'hole':
        subject.lane.rule(moment, 'hole', times=None)
    else:
        subject.lane.rule(moment, 'end', times=None, how=how)


@one_server
@every_way
@every_point
@pytest.mark.parametrize('how', ['reset', 'close'])
def test_the_connection_ends(make_subject, way, point, how):
    subject = make_subject(way, mode=mode_of(way))
    arrange(subject, point, how)
    cause = subject.fails(EngineIOError)
    assert isinstance(cause, ConnectionClosed) or point == 'first-byte'
    subject.recovers()


@one_server
@every_way
@every_point
def test_a_server_that_accepts_and_says_no_more(make_subject, way, point):
    """Request_timeout is the bound of the whole; `disconnect()` ends it before."""
    subject = make_subject(way, mode=mode_of(way), request_timeout=0.4)
    arrange(subject, point, 'hole')
    subject.expires()
    subject.client.request_timeout = 20
    failing = subject.start_failing(ConnectionClosed)
    gevent.sleep(0.03)
    subject.client.disconnect()
    failing.get(timeout=1)
    subject.recovers()


@one_server
@every_way
@every_point
def test_a_black_hole_that_goes_by(make_subject, way, point):
    """Nothing was lost, so the same `connect()` goes on."""
    subject = make_subject(way, mode=mode_of(way))
    arrange(subject, point, 'hole')
    connecting = subject.start_connecting()
    gevent.sleep(0.1)
    assert not connecting.ready()
    subject.lane.lift()
    connecting.get(timeout=5)
    subject.ask()
    subject.leaves()


@pytest.mark.parametrize('way', ['https', 'wss'], indirect=True)
@pytest.mark.parametrize('how', ['reset', 'close', 'hole'])
@pytest.mark.parametrize('after', [1, 300])
def test_a_fault_within_the_handshake_of_tls(make_subject, way, how, after):
    """Of the server's own."""
    subject = make_subject(way, request_timeout=0.4)
    subject.lane.rule('accept', 'cut', times=None, after=after, how=how)
    if how == 'hole':
        subject.expires()
    else:
        subject.fails(ConnectionClosed)
    subject.client.request_timeout = 5
    subject.recovers()


@every_way
def test_a_stopped_server(make_subject, servers, way):
    """Its kernel accepts for it. Continued in time, it answers the same `connect()`."""
    server = servers(way.tls)
    subject = make_subject(way, server, request_timeout=0.4)
    server.suspend()
    try:
        subject.expires()
        subject.client.request_timeout = 5
        connecting = subject.start_connecting()
        gevent.sleep(0.1)
        assert not connecting.ready()
    finally:
        server.resume()
    connecting.get(timeout=5)
    subject.ask()
    subject.leaves()
    subject.ends.clear()
    subject.recovers()


@pytest.mark.parametrize('tls', [False, True], ids=['plain', 'tls'])
def test_a_server_that_is_killed_and_started_again(make_subject, mortal, servers, tls):
    """Stopped first, so that the handshake is under way when the process dies."""
    server, next_server = mortal(tls), servers(tls)
    subjects = [
        make_subject(way, server) for way in (['https', 'wss'] if tls else ['polling', 'websocket'])
    ]
    server.suspend()
    failing = [subject.start_failing(ConnectionClosed, 5) for subject in subjects]
    for subject in subjects:
        subject.lane.wait_open(1)
    gevent.sleep(0.05)
    server.kill()
    gevent.joinall(failing, timeout=5, raise_error=True)
    for subject in subjects:
        subject.fails(ConnectionClosed)
        subject.lane.refuse()
        assert isinstance(subject.fails(ConnectionClosed).__cause__, ConnectionRefusedError)
        subject.lane.turn_to(next_server)
        subject.recovers()


def test_a_connection_that_is_reset_before_tls_begins(hostile_server):
    """While the process was busy, say: no descriptor is left to the garbage collector."""
    server = hostile_server(support.reset)
    context = tls.context(False, None, '')
    gc.disable()
    try:
        with support.no_leaks(timeout=1):
            for _ in range(10):
                sock = dial.open_socket('127.0.0.1', server.port)
                gevent.sleep(0.01)  # the reset arrives
                try:
                    with pytest.raises(ConnectionResetError):
                        tls.wrap(sock, context, '127.0.0.1')
                finally:
                    sock.close()  # as those who call it do
    finally:
        gc.enable()
