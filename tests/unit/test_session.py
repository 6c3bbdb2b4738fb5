"""A session over a transport that does what the test says: what it keeps, what it lets go."""

from __future__ import annotations

import contextvars
import gc
import logging
import threading
import weakref

import gevent
import pytest
from gevent.event import Event

from engineio_gevent import other_threads, process, session
from engineio_gevent.exceptions import (
    ConnectionClosed,
    ConnectionError,
    HeartbeatTimeout,
    ProtocolError,
)
from engineio_gevent.handler_calls import HandlerCalls
from engineio_gevent.heartbeat import GRACE
from engineio_gevent.lifecycle import (
    CLOSED,
    ENDING,
    FORKED,
    GREETING,
    HANDLING_END,
    LEAVING,
    LOST,
    OPENING,
)
from engineio_gevent.lifecycle import (
    OPEN as OPEN_PHASE,
)
from engineio_gevent.options import Reason
from engineio_gevent.protocol.packet import CLOSE, MESSAGE, NOOP, OPEN, PING, PONG, UPGRADE
from engineio_gevent.session import DisconnectedEarly, Session
from engineio_gevent.transports.route import Route
from support import (
    OPENED,
    FakeTransport,
    NativeThread,
    ScriptedLoop,
    eventually,
    in_thread,
    let_go,
    make_options,
    need_destroy,
    no_leaks,
    open_packet,
    patience,
    settle,
    watchers,
)


@pytest.fixture
def short_wait(monkeypatch):
    """disconnect() waits for a moment only: nobody ends the session."""
    monkeypatch.setattr(session, 'CLOSE_TIMEOUT', 0.01)


# -- Opening ---------------------------------------------------------------------------------------


def test_before_it_is_open(make_room):
    session = make_room().session
    assert (session.state, session.sid, session.phase) == ('disconnected', None, OPENING)


def test_what_it_says_of_itself_in_each_phase(make_room):
    said = []

    def look(where):
        said.append((where, room.session.phase, room.session.state, room.session.sid))

    room = make_room(
        handlers={
            'connect': lambda: look('connect handler'),
            'disconnect': lambda reason: look('disconnect handler'),
        }
    )
    room.transport.finish = lambda timeout, limit=None: look('farewell')
    look('before')
    room.open()
    look('open')
    room.session.disconnect()
    look('after')
    assert said == [
        ('before', OPENING, 'disconnected', None),
        ('connect handler', GREETING, 'connected', 'the-sid'),
        ('open', OPEN_PHASE, 'connected', 'the-sid'),
        ('farewell', LEAVING, 'disconnecting', 'the-sid'),
        ('disconnect handler', HANDLING_END, 'disconnecting', 'the-sid'),
        ('after', CLOSED, 'disconnected', None),
    ]


@pytest.mark.usefixtures('short_wait')
def test_disconnecting_before_it_opens(make_room):
    session = make_room().session
    session.disconnect()
    settle()
    assert (session.state, session.sid) == ('disconnected', None)


def test_open(room):
    session = room.session
    assert (session.state, session.sid) == ('connected', 'the-sid')
    assert session.open_packet.ping_interval == 25
    assert 'start' in room.transport.log


@pytest.mark.parametrize(
    'first',
    [
        [(MESSAGE, 'x')],
        [(MESSAGE, OPENED[1])],
        [(CLOSE, OPENED[1])],
        [(OPEN, '{')],
        [(OPEN, '[]')],
        [(NOOP, '')],
        [(PING, '')],
        [(CLOSE, '')],
    ],
)
def test_what_is_no_handshake(make_room, first):
    room = make_room(first=first, request_timeout=None)
    with gevent.Timeout(5), no_leaks(), pytest.raises(ConnectionError) as caught:
        room.open()
    assert isinstance(caught.value.__cause__, (ProtocolError, ConnectionClosed))
    assert room.disowned == [room.session]
    assert 'close' in room.transport.log
    assert room.session.sid is None
    assert room.ends == []


@pytest.mark.parametrize('end', ['lost', 'closed'])
def test_a_server_that_opens_and_ends_in_the_same_breath(make_room, end):
    """All that it said is handled, in order, and connect() returns."""
    seen = []
    error = ConnectionClosed('gone')

    def say():
        room.transport.say(OPENED, (MESSAGE, 'last words'))
        if end == 'closed':
            room.transport.say((CLOSE, ''), (MESSAGE, 'too late'))
        room.transport.fail(error)

    room = make_room(
        handlers={
            'connect': lambda: seen.append(('connect', room.session.state)),
            'message': lambda data: seen.append((data, room.session.state)),
            'disconnect': lambda reason: seen.append((reason, room.session.state)),
        }
    )
    room.transport.open = lambda sid=None: say()
    with no_leaks():
        room.open()
        room.wait_end()
    state = 'connected' if end == 'lost' else 'disconnecting'
    reason = Reason.TRANSPORT_ERROR if end == 'lost' else Reason.SERVER_DISCONNECT
    assert seen == [('connect', state), ('last words', state), (reason, state)]
    assert room.session.error is (error if end == 'lost' else None)
    assert 'start' not in room.transport.log


@pytest.mark.parametrize('end', ['lost', 'closed'])
def test_no_handler_runs_before_the_connect_handler(make_room, end):
    """A connection that has ended waits for its caller of connect(), too."""

    def say(sid=None):
        room.transport.say(OPENED, (MESSAGE, 'last words'))
        if end == 'lost':
            room.transport.fail(ConnectionClosed('gone'))
        else:
            room.transport.say((CLOSE, ''))
        settle()
        seen.append('open')

    seen = []
    room = make_room(
        handlers={
            'connect': lambda: seen.append('connect'),
            'message': seen.append,
            'disconnect': lambda reason: seen.append('disconnect'),
        }
    )
    room.transport.open = say
    room.open()
    room.wait_end()
    assert seen == ['open', 'connect', 'last words', 'disconnect']


def test_an_open_packet_that_comes_later(make_room):
    room = make_room(first=(), request_timeout=None)
    opening = gevent.spawn(room.open)
    settle()
    gevent.get_hub().loop.run_callback(room.transport.say, OPENED)
    opening.get(timeout=5)
    assert room.session.phase is OPEN_PHASE


def test_a_loss_that_comes_later(make_room):
    room = make_room(first=(), request_timeout=None)
    opening = gevent.spawn(pytest.raises, ConnectionError, room.open)
    settle()
    gevent.get_hub().loop.run_callback(room.transport.fail, ConnectionClosed('gone'))
    assert 'gone' in str(opening.get(timeout=5).value)


def test_last_words_do_not_wait_for_a_connect_handler_that_waits(make_room):
    """It might wait for the end of the connection."""
    ended = Event()
    room = make_room(
        first=[OPENED, (MESSAGE, 'last words'), (CLOSE, '')],
        handlers={'connect': ended.wait, 'disconnect': lambda reason: ended.set()},
    )
    with gevent.Timeout(5):
        room.open()
    assert room.messages == ['last words']


@pytest.mark.parametrize('wait', [False, True], ids=['at once', 'later'])
def test_a_connect_handler_that_raises_after_the_connection_was_lost(make_room, wait):
    """connect() raises, and the disconnect handler runs once: the connection was there."""

    def connect():
        if wait:
            settle()
            assert len(room.ends) == 1
        raise ValueError('no')

    room = make_room(first=[OPENED, (MESSAGE, 'x'), (CLOSE, '')], handlers={'connect': connect})
    with pytest.raises(ConnectionError, match='no'):
        room.open()
    room.wait_end()
    assert room.ends == [(Reason.SERVER_DISCONNECT, 'disconnecting')]
    assert room.messages == ['x']
    assert room.disowned == []  # it ended like any other


@pytest.mark.parametrize('first', [[], [OPENED], [OPENED, (CLOSE, '')]])
def test_a_caller_that_is_killed_before_the_connect_handler(make_room, first):
    """The open packet may have come, and be unheard yet."""
    connects = []
    room = make_room(first=[], handlers={'connect': lambda: connects.append(1)})
    with no_leaks():
        opening = gevent.spawn(room.open)
        settle()
        gevent.get_hub().loop.run_callback(
            lambda: (room.transport.say(*first), opening.throw(gevent.GreenletExit))
        )
        settle()
        assert opening.ready()
    assert (connects, room.messages, room.ends) == ([], [], [])
    assert (room.session.phase, room.disowned) == (CLOSED, [room.session])
    assert 'close' in room.transport.log
    assert ('finish' in room.transport.log) == (first == [OPENED])


def test_disconnecting_before_the_connect_handler(make_room):
    """The open packet has come, but the caller of connect() has not gone on."""
    connects = []
    room = make_room(first=[], handlers={'connect': lambda: connects.append(1)})
    opening = gevent.spawn(pytest.raises, ConnectionError, room.open)
    settle()
    gevent.get_hub().loop.run_callback(
        lambda: (gevent.spawn(room.session.disconnect), room.transport.say(OPENED))
    )
    settle()
    assert 'while connecting' in str(opening.get(timeout=5).value)
    assert (connects, room.ends, room.session.phase) == ([], [], CLOSED)
    assert 'finish' in room.transport.log  # the server knows of this connection


def test_the_first_error_is_the_cause(make_room):
    room = make_room()
    errors = [ConnectionClosed('first'), ConnectionClosed('second')]
    room.transport.open = lambda sid=None: [room.transport.fail(error) for error in errors]
    with pytest.raises(ConnectionError) as caught:
        room.open()
    assert caught.value.__cause__ is errors[0]


def test_another_transport_does_not_open_it(make_room):
    room = make_room()
    room.transport.open = lambda sid=None: (
        room.session.on_packets(
            FakeTransport(room.session), [(OPEN, open_packet(sid='other')[1:])]
        ),
        room.transport.say(OPENED),
    )
    room.open()
    assert room.session.sid == 'the-sid'


def test_disconnecting_while_it_opens(make_room):
    room = make_room(first=(), request_timeout=None)
    opening = gevent.spawn(pytest.raises, ConnectionError, room.open)
    settle()
    room.session.disconnect()
    assert 'while connecting' in str(opening.get(timeout=5).value)
    assert (room.session.state, room.ends) == ('disconnected', [])
    assert 'close' in room.transport.log


def test_urls(make_room):
    session = make_room().open().session
    assert session.http is None
    assert session.base_url == 'ws://a.test/engine.io/?transport=websocket&EIO=4'
    session.handshake_transport = 'polling'
    assert session.http is session._route.cookies
    assert session.base_url == 'http://a.test/engine.io/?transport=polling&EIO=4&sid=the-sid'


def test_nothing_comes(make_room):
    room = make_room(first=(), request_timeout=0.05)
    with pytest.raises(ConnectionError, match=r'0\.05 seconds'):
        room.open()
    assert 'close' in room.transport.log


def test_messages_that_come_early_wait_for_the_connect_handler(make_room):
    seen = []
    release = Event()
    room = make_room(
        first=[OPENED, (MESSAGE, 'early')],
        handlers={'connect': lambda: (release.wait(), seen.append(list(room.messages)))},
    )
    opening = gevent.spawn(room.open)
    settle()
    room.transport.say((MESSAGE, 'within'))
    settle()
    release.set()
    opening.get(timeout=5)
    room.transport.say((MESSAGE, 'after'))
    settle()
    assert seen == [[]]
    assert room.messages == ['early', 'within', 'after']


def test_a_connect_handler_that_disconnects(make_room):
    """It has seen no message, and none is delivered to an application that has left."""
    room = make_room(
        first=[OPENED, (MESSAGE, 'early')], handlers={'connect': lambda: room.session.disconnect()}
    )
    room.open()
    settle()
    assert room.messages == []
    assert room.ends == [(Reason.CLIENT_DISCONNECT, 'disconnecting')]
    assert 'start' not in room.transport.log


def test_a_connect_handler_that_has_another_greenlet_disconnect(make_room):
    """The handler returns before the farewell has been said."""

    def connect():
        leaving.start()
        settle()

    room = make_room(first=[OPENED, (MESSAGE, 'early')], handlers={'connect': connect})
    leaving = gevent.Greenlet(lambda: room.session.disconnect())
    room.transport.farewell.clear()
    room.open()
    room.transport.say((MESSAGE, 'late'))
    settle()
    assert not leaving.ready()
    assert room.session.state == 'disconnecting'
    room.session.start_transport()  # as the timer of the head start may
    assert 'start' not in room.transport.log
    room.transport.farewell.set()
    leaving.get(timeout=5)
    assert room.messages == []
    assert room.ends == [(Reason.CLIENT_DISCONNECT, 'disconnecting')]


def test_a_connect_handler_that_disconnects_and_raises(make_room):
    def connect():
        room.session.disconnect()
        raise ValueError('no')

    room = make_room(handlers={'connect': connect})
    with pytest.raises(ConnectionError, match='no'):
        room.open()
    assert room.ends == [(Reason.CLIENT_DISCONNECT, 'disconnecting')]
    assert room.transport.log.count('finish') == 1
    assert room.session.state == 'disconnected'


def test_a_connect_handler_that_raises_while_another_greenlet_disconnects(make_room):
    """There is one farewell."""

    def connect():
        leaving.start()
        settle()
        raise ValueError('no')

    room = make_room(handlers={'connect': connect})
    leaving = gevent.Greenlet(lambda: room.session.disconnect())
    room.transport.farewell.clear()
    with pytest.raises(ConnectionError, match='no'):
        room.open()
    room.transport.farewell.set()
    leaving.get(timeout=5)
    assert room.transport.log.count('finish') == 1
    assert room.ends == [(Reason.CLIENT_DISCONNECT, 'disconnecting')]


@pytest.mark.parametrize('close', [False, True], ids=['lost', 'closed'])
def test_a_connection_that_ends_within_the_connect_handler(make_room, close):
    """What the server said before is delivered, and in order."""

    def connect():
        room.transport.say((MESSAGE, 'within'))
        if close:
            room.transport.say((CLOSE, ''))
        else:
            room.transport.fail(ConnectionClosed('gone'))
        settle()

    seen = []
    room = make_room(
        first=[OPENED, (MESSAGE, 'early')],
        handlers={'connect': connect, 'message': seen.append, 'disconnect': seen.append},
    )
    room.open()
    room.wait_end()
    assert seen == [
        'early',
        'within',
        Reason.SERVER_DISCONNECT if close else Reason.TRANSPORT_ERROR,
    ]


@pytest.mark.parametrize('error', [ValueError('no'), gevent.GreenletExit()])
def test_a_connect_handler_that_raises(make_room, error):
    def connect():
        raise error

    farewells = []
    room = make_room(handlers={'connect': connect})
    room.transport.finish = lambda timeout, limit=None: farewells.append(
        (timeout, room.session.state)
    )
    kind = ConnectionError if isinstance(error, Exception) else type(error)
    with no_leaks(), pytest.raises(kind):
        room.open()
    assert farewells == [(session.ABORT_TIMEOUT, 'disconnecting')]
    assert room.transport.log == ['open packet', 'close']
    assert (room.session.state, room.ends) == ('disconnected', [])
    assert room.disowned == [room.session]
    assert room.session.transport is None
    room.transport.say((MESSAGE, 'late'))
    settle()
    assert room.messages == []


# -- Packets ---------------------------------------------------------------------------------------


def test_packets(room):
    room.transport.say(
        (MESSAGE, 'text'),
        (PING, 'data'),
        (MESSAGE, b'{"a":1}'),
        (NOOP, ''),
        (PONG, 'x'),
        (UPGRADE, ''),
        OPENED,
        (MESSAGE, '{"a":1}'),
        (MESSAGE, '12'),
    )
    settle()
    assert room.messages == ['text', b'{"a":1}', {'a': 1}, '12']
    assert (room.transport.sent, room.transport.sent_first) == ([], ['3data'])


# -- The one exit ----------------------------------------------------------------------------------


def test_a_lost_transport(room):
    error = ConnectionClosed('gone')
    room.transport.fail(error)
    assert room.session.phase is LOST
    assert room.session.sid == 'the-sid'  # until the handler has run
    room.wait_end()
    assert room.ends == [(Reason.TRANSPORT_ERROR, 'connected')]
    assert room.session.error is error
    assert (room.session.state, room.session.sid) == ('disconnected', None)


def test_the_server_s_wish(room):
    room.transport.say((MESSAGE, 'last'), (CLOSE, ''), (MESSAGE, 'too late'))
    room.wait_end()
    assert room.ends == [(Reason.SERVER_DISCONNECT, 'disconnecting')]
    assert room.messages == ['last']
    assert room.session.error is None


def test_one_s_own_wish(room):
    room.session.disconnect()
    assert room.ends == [(Reason.CLIENT_DISCONNECT, 'disconnecting')]
    assert room.transport.log[-1] == 'close'
    assert room.transport.bounds == (session.CLOSE_TIMEOUT, session.FAREWELL_LIMIT)
    assert room.session.error is None


def test_the_server_s_words_within_the_farewell(room):
    """The application has left: nothing is delivered, answered or taken for the reason."""
    room.transport.farewell.clear()
    leaving = gevent.spawn(room.session.disconnect)
    settle()
    room.transport.say((MESSAGE, 'late'), (PING, 'x'), (CLOSE, ''))
    room.transport.farewell.set()
    leaving.get(timeout=5)
    settle()
    assert (room.messages, room.transport.sent_first) == ([], [])
    assert room.ends == [(Reason.CLIENT_DISCONNECT, 'disconnecting')]


def test_a_second_disconnect_waits_for_the_first(make_room):
    running = Event()
    room = make_room(handlers={'disconnect': lambda reason: running.wait()}).open()
    leaving = [gevent.spawn(room.session.disconnect) for _ in range(2)]
    settle()
    assert not any(one.ready() for one in leaving)
    running.set()
    gevent.joinall(leaving, timeout=5, raise_error=True)
    assert all(one.ready() for one in leaving)


def test_disconnecting_twice_within_the_farewell(room):
    """There is one farewell."""
    room.transport.farewell.clear()
    leaving = [gevent.spawn(room.session.disconnect) for _ in range(2)]
    settle()
    assert not any(one.ready() for one in leaving)
    assert ('close', 1000) not in room.transport.log
    room.transport.farewell.set()
    gevent.joinall(leaving, timeout=5, raise_error=True)
    assert room.transport.log.count('finish') == 1
    assert len(room.ends) == 1


def test_disconnecting_a_lost_connection_before_its_disconnect_handler(make_room):
    """The state then tells python-socketio not to reconnect."""
    room = make_room().open()
    room.transport.fail(ConnectionClosed('gone'))
    assert room.session.state == 'connected'
    room.session.disconnect()  # before the dispatcher gets its turn
    assert room.ends == [(Reason.TRANSPORT_ERROR, 'disconnecting')]
    assert room.session.state == 'disconnected'
    assert 'finish' not in room.transport.log


def test_disconnecting_in_the_hub(room):
    """A greenlet does what waits."""
    room.transport.farewell.clear()
    gevent.get_hub().loop.run_callback(room.session.disconnect, False, 'a signal')
    settle()
    assert room.session.state == 'disconnecting'
    room.transport.farewell.set()
    room.wait_end()
    assert room.ends == [('a signal', 'disconnecting')]


def test_at_once(room):
    room.session.disconnect(abort=True, reason='enough')
    assert room.ends == [('enough', 'disconnecting')]
    assert ('abort', session.ABORT_TIMEOUT) in room.transport.log
    assert 'finish' not in room.transport.log


@pytest.mark.parametrize('abort', [False, True])
def test_a_disconnect_handler_that_takes_long(make_room, monkeypatch, abort):
    """How long the second call of disconnect() waits for it."""
    monkeypatch.setattr(session, 'ABORT_TIMEOUT', 0.01 if abort else 3600)
    monkeypatch.setattr(session, 'CLOSE_TIMEOUT', 3600 if abort else 0.01)
    running = Event()
    room = make_room(handlers={'disconnect': lambda reason: running.wait()}).open()
    leaving = gevent.spawn(room.session.disconnect, abort)
    settle()
    with gevent.Timeout(patience(5)):
        room.session.disconnect(abort)
    assert room.session.state == 'disconnecting'
    if abort:
        leaving.get(timeout=5)
    else:
        assert not leaving.ready()
    running.set()
    assert room.session.wait(5)


def test_all_ends_together_are_one(room):
    room.transport.fail(ConnectionClosed('first'))
    room.transport.fail(ConnectionClosed('second'))
    room.transport.say((CLOSE, ''), (MESSAGE, 'x'))
    room.session.disconnect()
    room.session.disconnect(abort=True)
    room.wait_end()
    assert len(room.ends) == 1
    assert str(room.session.error) == 'first'


def test_a_farewell_that_fails_keeps_its_reason_and_its_cause(room):
    room.transport.farewell.clear()
    leaving = gevent.spawn(room.session.disconnect)
    settle()
    error = ConnectionClosed('gone')
    room.transport.fail(error)
    room.transport.farewell.set()
    leaving.get(timeout=5)
    assert room.ends == [(Reason.CLIENT_DISCONNECT, 'disconnecting')]
    assert room.session.error is error


def test_another_transport_s_end_is_not_the_connection_s(room):
    old = FakeTransport(room.session)
    old.fail(ConnectionClosed('of long ago'))
    settle()
    assert (room.session.state, room.ends) == ('connected', [])


def test_wait_returns_after_the_handler(make_room):
    running = Event()
    room = make_room(handlers={'disconnect': lambda reason: running.wait()}).open()
    room.transport.fail(ConnectionClosed('gone'))
    assert room.session.wait(0.01) is False
    waiting = [gevent.spawn(room.session.wait) for _ in range(3)]
    settle()
    assert not any(one.ready() for one in waiting)
    running.set()
    assert [one.get(timeout=5) for one in waiting] == [True] * 3
    assert room.session.wait() is True


def test_nothing_is_kept(make_room):
    """No timer in the loop, and of the transport no reference."""
    settle()
    before = watchers()
    with no_leaks():
        room = make_room().open()
        assert watchers() > before
        room.session.disconnect()
    assert eventually(lambda: watchers() == before)
    gone = weakref.ref(room.transport)
    room.transport = None
    gc.collect()
    assert gone() is None


def test_abandoning_what_another_thread_had(room):
    """That thread is not in the child, and its hub may have been destroyed."""
    in_thread(room.session.abandon)
    assert room.session.phase is FORKED
    assert room.transport.log[-1] == 'abandon, wake=False'


def test_abandoning(room):
    room.session.abandon()
    assert room.session.phase is FORKED
    assert 'forked' in str(room.session.error)
    assert room.transport.log[-1] == 'abandon'
    assert (room.session.state, room.ends) == ('disconnected', [])
    room.session.disconnect()
    assert 'finish' not in room.transport.log
    with pytest.raises(RuntimeError, match='parent process'):
        room.session.send('x')


# -- Heartbeat -------------------------------------------------------------------------------------


def opened(interval, timeout):
    return (OPEN, open_packet(pingInterval=interval, pingTimeout=timeout)[1:])


@pytest.fixture
def loop(monkeypatch):
    return ScriptedLoop.install(monkeypatch)


def test_no_ping(make_room, loop):
    room = make_room(first=[opened(7000, 3000)]).open()
    loop.run_to(110)
    assert room.session.phase.alive
    loop.run_to(110 + GRACE)
    room.wait_end()
    assert room.ends == [(Reason.TRANSPORT_ERROR, 'connected')]
    assert isinstance(room.session.error, HeartbeatTimeout)
    assert '10 seconds' in str(room.session.error)


@pytest.mark.parametrize('packet', [(MESSAGE, 'x'), (NOOP, ''), (PONG, '')])
def test_other_packets_do_not_count(make_room, loop, packet):
    room = make_room(first=[opened(7000, 3000)]).open()
    for _ in range(10):
        room.transport.say(packet)
        loop.run_to(loop.now + 1)
    assert room.session.phase.alive
    loop.run_to(110 + GRACE)
    assert isinstance(room.session.error, HeartbeatTimeout)


def test_each_ping_moves_the_deadline(make_room, loop):
    room = make_room(first=[opened(7000, 3000)]).open()
    for _ in range(5):
        loop.run_to(loop.now + 9)
        room.transport.say((PING, ''))
    loop.run_to(155)
    assert room.session.phase.alive
    loop.run_to(155 + GRACE)
    assert isinstance(room.session.error, HeartbeatTimeout)


def test_a_farewell_has_bounds_of_its_own(make_room, loop):
    room = make_room(first=[opened(7000, 3000)]).open()
    room.transport.farewell.clear()
    leaving = gevent.spawn(room.session.disconnect)
    settle()
    loop.run_to(1000)
    assert room.session.phase is LEAVING
    room.transport.farewell.set()
    leaving.get(timeout=5)
    assert room.session.error is None
    assert loop.armed == []


@pytest.mark.parametrize('milliseconds', [10**9, 10**15, 1e300])
def test_a_server_that_never_means_to_ping(make_room, loop, milliseconds):
    room = make_room(first=[opened(milliseconds, 0)]).open()
    loop.run_to(100 + 10 * 86400)
    assert room.session.state == 'connected'


# -- Logging ---------------------------------------------------------------------------------------


def test_packets_are_logged_without_their_bytes(make_room, caplog):
    caplog.set_level(logging.INFO)
    room = make_room(verbose=True).open()
    room.transport.say((MESSAGE, 'text'), (MESSAGE, b'secret'), (NOOP, ''), (UPGRADE, ''))
    room.session.send('other')
    room.session.send(b'secret')
    settle()
    logged = ' '.join(record.getMessage() for record in caplog.records)
    assert 'MESSAGE data text' in logged
    assert 'MESSAGE data other' in logged
    assert logged.count('unexpected') == 1
    assert 'unexpected packet of type UPGRADE' in logged
    assert 'secret' not in logged
    assert '<binary>' in logged


def test_packets_that_are_logged_are_handled(make_room):
    room = make_room(verbose=True).open()
    room.session.on_packets(room.transport, iter([(MESSAGE, 'one'), (MESSAGE, 'two')]))
    settle()
    assert room.messages == ['one', 'two']


@pytest.mark.parametrize('verbose', [False, True])
def test_messages_alone_are_handled_like_packets(make_room, caplog, verbose):
    caplog.set_level(logging.INFO)
    room = make_room(verbose=verbose)
    room.handlers['connect'] = lambda: room.session.on_messages(room.transport, ['held', b'too'])
    room.open()
    room.session.on_messages(room.transport, ['one', 'two'])
    room.session.on_messages(room.transport, ['three'])
    room.transport.say((MESSAGE, 'four'))
    settle()
    assert room.messages == ['held', b'too', 'one', 'two', 'three', 'four']
    lines = [record.getMessage() for record in caplog.records]
    assert len([line for line in lines if 'Received packet MESSAGE' in line]) == 6 * verbose
    room.session.disconnect()
    room.session.on_messages(room.transport, ['late'])
    settle()
    assert 'late' not in room.messages


@pytest.mark.parametrize('end', ['lost', 'closed', 'disconnected'])
def test_the_log_of_a_connection(make_room, caplog, end):
    caplog.set_level(logging.INFO)
    room = make_room(verbose=True).open()
    room.transport.say((PING, 'x'))
    settle()
    caplog.clear()
    room.transport.say((PING, 'y'), (NOOP, ''))
    if end == 'lost':
        room.transport.fail(ConnectionClosed('gone'))
        last = ['Connection to a.test ended: gone']
    elif end == 'closed':
        room.transport.say((CLOSE, ''))
        last = ['Received packet CLOSE data ']
    else:
        room.session.disconnect()
        last = ['Sending packet CLOSE data ']
    room.wait_end()
    assert [record.getMessage() for record in caplog.records] == [
        'Received packet PING data y',
        'Received packet NOOP data ',
        'Sending packet PONG data y',
        *last,
    ]


def test_nothing_is_logged_by_default(room, caplog):
    caplog.set_level(logging.INFO)
    room.transport.say((MESSAGE, 'text'))
    room.session.send('other')
    assert caplog.records == []


def test_the_log_is_in_order_and_in_the_context_of_the_caller(make_room):
    class Noting(logging.Handler):
        def emit(self, record):
            logged.append((record.getMessage(), request.get()))

    request = contextvars.ContextVar('request', default=None)
    logged = []
    logger = logging.getLogger('test.noting')
    logger.setLevel(logging.INFO)
    logger.addHandler(handler := Noting())
    try:
        room = make_room(verbose=True, logger=logger).open()
        request.set(1)
        room.session.send('one')
        room.transport.say((MESSAGE, 'two'))
        request.set(2)
        room.session.send_together(['three', 'four'], wait=False)
        request.set(None)
        settle()
    finally:
        logger.removeHandler(handler)
    assert logged[-4:] == [
        ('Sending packet MESSAGE data one', 1),
        ('Received packet MESSAGE data two', 1),
        ('Sending packet MESSAGE data three', 2),
        ('Sending packet MESSAGE data four', 2),
    ]


def test_the_log_is_complete_when_disconnect_returns(make_room):
    """Though a log handler still waits with an earlier line."""

    class Slow(logging.Handler):
        def handle(self, record):  # without the lock, which is held while a line is written
            lines.append(record.getMessage())
            if 'PING' in lines[-1]:
                release.wait()

    lines, release = [], Event()
    logger = logging.Logger('slow', logging.INFO)
    logger.addHandler(Slow())
    room = make_room(verbose=True, logger=logger).open()
    room.transport.say((PING, 'x'))
    settle()
    assert lines[-1] == 'Received packet PING data x'
    room.session.disconnect()
    assert lines[-1] == 'Sending packet CLOSE data '
    release.set()


def test_leaving_at_once_after_an_interrupted_connect(room):
    """The server is told, and nobody waits for the disconnect handler."""
    room.session.leave_quickly()
    assert room.transport.bounds == (session.ABORT_TIMEOUT, None)
    assert (room.session.state, room.ends) == ('disconnecting', [])
    room.session.fail()
    room.wait_end()
    assert room.ends == [(Reason.CLIENT_DISCONNECT, 'disconnecting')]
    assert room.transport.log.count('finish') == 1


def test_leaving_at_once_after_a_loss(room):
    room.transport.fail(ConnectionClosed('gone'))
    room.session.fail()
    room.wait_end()
    assert 'finish' not in room.transport.log
    assert room.ends == [(Reason.TRANSPORT_ERROR, 'connected')]


@pytest.mark.parametrize('leave', ['disconnect', 'leave_quickly'])
def test_a_farewell_that_is_interrupted(room, leave):
    """The connection ends nevertheless, and its disconnect handler runs."""
    room.transport.farewell.clear()
    leaving = gevent.spawn(getattr(room.session, leave))
    settle()
    leaving.kill(block=False)
    room.wait_end()
    assert room.ends == [(Reason.CLIENT_DISCONNECT, 'disconnecting')]


def ctrl_c_once(monkeypatch, owner, name):
    """Have the next call of a method raise KeyboardInterrupt."""

    def interrupted(*_):
        monkeypatch.setattr(owner, name, method)
        raise KeyboardInterrupt

    method = getattr(owner, name)
    monkeypatch.setattr(owner, name, interrupted)


@pytest.mark.parametrize(
    ('owner', 'name'),
    [
        (HandlerCalls, 'drop_held'),
        (HandlerCalls, 'release'),
        (HandlerCalls, 'disconnect'),
        (Session, '_call_disconnect_handler'),
    ],
)
def test_an_end_that_is_interrupted(room, monkeypatch, owner, name):
    """The next disconnect() does the rest of it."""
    ctrl_c_once(monkeypatch, owner, name)
    with pytest.raises(KeyboardInterrupt):
        room.session.disconnect()
    room.session.disconnect()
    assert room.session.phase is CLOSED
    assert room.ends == [(Reason.CLIENT_DISCONNECT, 'disconnecting')]
    assert room.transport.log[-1] == 'close'
    assert room.session not in process._connections


def test_another_greenlet_does_not_cut_off_a_farewell(room):
    room.transport.farewell.clear()
    leaving = gevent.spawn(room.session.disconnect)
    settle()
    gevent.spawn(room.session.disconnect)
    settle()
    assert (room.session.state, room.ends) == ('disconnecting', [])
    assert not leaving.ready()
    room.transport.farewell.set()
    leaving.get(timeout=5)
    assert room.ends == [(Reason.CLIENT_DISCONNECT, 'disconnecting')]


@pytest.mark.parametrize('phase', [LOST, ENDING])
def test_a_disconnect_handler_that_is_due_is_called_once(room, phase):
    """Though disconnect() is called before its turn comes."""
    if phase is LOST:
        room.transport.fail(ConnectionClosed('gone'))
    else:
        room.transport.say((CLOSE, ''))
    assert room.session.phase is phase
    room.session.disconnect()
    settle()
    assert len(room.ends) == 1


def test_waiting_for_the_end_of_a_refusal(make_room):
    room = make_room(handlers={'connect': lambda: 1 / 0})
    room.transport.farewell.clear()
    opening = gevent.spawn(pytest.raises, ConnectionError, room.open)
    settle()
    waiting = gevent.spawn(room.session.wait)
    settle()
    assert not waiting.ready()
    room.transport.farewell.set()
    assert waiting.get(timeout=5) is True
    opening.get(timeout=5)


def test_a_refusal_that_is_interrupted(make_room):
    """connect() has failed: nothing is left behind, and no handler runs."""
    room = make_room(handlers={'connect': lambda: 1 / 0})
    room.transport.farewell.clear()
    opening = gevent.spawn(room.open)
    settle()
    assert room.session.state == 'disconnecting'
    opening.kill(block=False)
    settle()
    assert (room.session.phase, room.ends) == (CLOSED, [])
    assert room.transport.log[-1] == 'close'


# -- Who connects is told of the end ---------------------------------------------------------------


class Opened:
    """A session on its own, of which somebody still says that it connects."""

    def __init__(self, first=(OPENED,)):
        self.calls = 0
        self.session = Session(make_options(), {}, Route('http://a.test'), self.count)
        self.transport = FakeTransport(self.session, first)
        self.session.attach(self.transport)
        self.transport.open()

    def count(self):
        self.calls += 1


@pytest.mark.parametrize(
    'end',
    [
        lambda one: one.transport.fail(ConnectionClosed('gone')),
        lambda one: one.transport.say((CLOSE, '')),
        lambda one: one.session.disconnect(),
        lambda one: one.session.disconnect(abort=True),
        lambda one: one.session.abandon(),
    ],
    ids=['lost', 'closed', 'disconnect', 'abort', 'fork'],
)
@pytest.mark.parametrize('done', [False, True])
def test_who_connects_is_told_of_the_end(end, done):
    """No longer after connect() has returned."""
    one = Opened()
    one.session.greet()
    if done:
        one.session.finish_connecting()
    end(one)
    settle()
    assert (one.calls > 0) is not done
    assert one.session.phase in (CLOSED, FORKED)
    let_go(one.session)


def test_who_connects_is_told_of_a_failure():
    one = Opened()
    assert one.session.fail() is True
    assert one.calls == 1
    one.session.abandon()  # it has ended: nobody is told again
    assert one.calls == 1
    assert one.session.phase is CLOSED


def test_who_connects_is_told_though_the_transport_fails_to_close():
    one = Opened()

    def close(*_):
        raise KeyboardInterrupt

    one.transport.close = close
    with pytest.raises(KeyboardInterrupt):
        one.session.fail()
    assert one.calls == 1
    assert one.session not in process._connections


@pytest.mark.usefixtures('short_wait')
def test_who_connects_is_told_of_a_disconnect_before_the_open_packet():
    one = Opened(first=())
    one.session.disconnect()
    assert one.calls == 1
    one.session.disconnect()
    assert one.calls == 1
    with pytest.raises(DisconnectedEarly):
        one.session.raise_if_failed()
    assert one.session.fail() is True


@pytest.mark.usefixtures('short_wait')
@pytest.mark.parametrize('end', ['disconnect', 'abandon'])
def test_who_waits_for_the_open_packet_is_woken(end):
    one = Opened(first=())
    waiting = gevent.spawn(pytest.raises, ConnectionClosed, one.session.wait_opened)
    settle()
    getattr(one.session, end)()
    assert 'while connecting' in str(waiting.get(timeout=5).value)
    one.session.fail()


@pytest.mark.parametrize('abort', [False, True])
def test_who_connects_is_told_before_the_farewell(abort):
    """An upgrade must not take the queue away from it."""
    one = Opened()
    one.session.greet()
    told = []
    one.transport.finish = lambda *_: told.append(one.calls)
    one.transport.abort = lambda *_: told.append(one.calls)
    one.session.disconnect(abort)
    assert told == [1]


@pytest.mark.parametrize('handle', [False, True])
def test_whether_ctrl_c_is_handled(make_room, handle):
    assert make_room(handle_sigint=handle).session.handle_sigint is handle


# -- Other native threads --------------------------------------------------------------------------


def before_the_hub_runs(function, *arguments):
    """Call a function in a native thread, and let this hub do nothing meanwhile."""
    thread = threading.Thread(target=function, args=arguments, daemon=True)
    thread.start()
    thread.join(patience(5))
    assert not thread.is_alive()


def test_disconnecting_from_another_thread(room):
    """A greenlet of the connection's own thread does it. The other thread waits for the end."""
    ran_in = []
    room.transport.finish = lambda *_: ran_in.append(threading.current_thread())
    in_thread(room.session.disconnect, False, 'enough')
    assert room.session.phase is CLOSED
    assert ran_in == [threading.current_thread()]
    assert room.ends == [('enough', 'disconnecting')]


def test_disconnecting_at_once_from_another_thread(room):
    in_thread(room.session.disconnect, True, 'enough')
    assert 'finish' not in room.transport.log
    assert room.ends == [('enough', 'disconnecting')]


@pytest.mark.parametrize('abort', [False, True])
def test_another_thread_does_not_wait_for_a_busy_one(room, monkeypatch, abort):
    monkeypatch.setattr(session, 'ABORT_TIMEOUT', 0.01 if abort else 3600)
    monkeypatch.setattr(session, 'CLOSE_TIMEOUT', 3600 if abort else 0.01)
    before_the_hub_runs(room.session.disconnect, abort)
    assert room.session.state == 'connected'
    assert eventually(lambda: room.session.phase is CLOSED)


def test_disconnecting_from_another_thread_after_the_end(room):
    room.session.disconnect()
    before_the_hub_runs(room.session.disconnect)
    assert len(room.ends) == 1


def test_waiting_in_another_thread(make_room):
    running = Event()
    room = make_room(handlers={'disconnect': lambda reason: running.wait()}).open()
    assert in_thread(room.session.wait, 0.01) is False
    waiting = NativeThread(room.session.wait)
    room.transport.fail(ConnectionClosed('gone'))
    settle()
    assert waiting.running
    running.set()
    assert waiting.get() is True
    assert in_thread(room.session.wait) is True


def test_messages_from_another_thread_come_before_a_disconnect(room):
    before_the_hub_runs(room.session.send, 'x')
    room.transport.finish = lambda *_: room.transport.sent.append('farewell')
    room.session.disconnect()
    assert room.transport.sent == ['4x', 'farewell']


def test_messages_from_another_thread_come_before_an_interrupted_connect_leaves(room):
    before_the_hub_runs(room.session.send, 'x')
    room.transport.finish = lambda *_: room.transport.sent.append('farewell')
    room.session.leave_quickly()
    assert room.transport.sent == ['4x', 'farewell']


@pytest.fixture
def orphan(make_room):
    """`orphan(act, **settings)`: a room whose thread has ended after `act(room)`."""

    def make(act=lambda room: room.open(), **settings):
        room = make_room(**settings)

        def connect():
            act(room)
            gevent.sleep(0)

        in_thread(connect)
        assert eventually(lambda: room.session.hub.dead)
        return room

    return make


def test_waiting_for_a_connection_whose_thread_has_ended(orphan):
    room = orphan()
    with pytest.raises(RuntimeError, match='has ended'):
        room.session.wait()
    with pytest.raises(RuntimeError, match='has ended'):
        in_thread(room.session.wait)


def test_a_connection_whose_hub_was_destroyed(make_room):
    """Its loop is gone, too."""
    room = make_room()
    in_thread(lambda: (room.open(), gevent.get_hub().destroy(destroy_loop=True)))
    for wait in room.session.wait, lambda: in_thread(room.session.wait):
        with pytest.raises(RuntimeError, match='has ended'):
            wait()
    in_thread(room.session.disconnect)
    assert room.session.phase is CLOSED
    assert room.ends == [(Reason.CLIENT_DISCONNECT, 'disconnecting')]


@pytest.mark.parametrize('destroyed', [False, True])
def test_greenlets_of_an_ended_thread_are_not_woken(make_room, capsys, destroyed):
    """They cannot run any more. gevent would search for their hub, and complain on stderr."""
    if destroyed:
        need_destroy()
    room = make_room()

    def connect():
        room.open()
        gevent.spawn(room.session.wait)
        gevent.sleep(0)
        if destroyed:
            gevent.get_hub().destroy(destroy_loop=True)

    in_thread(connect)
    assert eventually(lambda: room.session.hub.dead)
    room.session.disconnect()
    settle()
    assert room.session.phase is CLOSED
    assert room.transport.log[-1] == 'abandon, wake=False'
    assert capsys.readouterr().err == ''


@pytest.mark.parametrize('destroyed', [False, True])
def test_a_thread_that_ends_while_another_one_disconnects(make_room, monkeypatch, destroyed):
    """The other one does what is left to do, and has not to wait until its time is over."""
    monkeypatch.setattr(other_threads, '_LOOK_INTERVAL', 0.01)
    monkeypatch.setattr(session, 'CLOSE_TIMEOUT', 3600)
    room = make_room()

    def connect():
        room.open()
        gevent.sleep(0)
        go_on.wait()
        if destroyed:
            gevent.get_hub().destroy(destroy_loop=True)

    go_on = threading.Event()
    owner = NativeThread(connect)
    assert eventually(lambda: room.session.state == 'connected')
    leaving = NativeThread(room.session.disconnect)
    gevent.sleep(0.02)
    assert leaving.running
    go_on.set()
    owner.get()
    leaving.get()
    assert room.session.phase is CLOSED
    assert room.ends == [(Reason.CLIENT_DISCONNECT, 'disconnecting')]


@pytest.mark.parametrize('call', ['wait', 'disconnect'])
def test_a_hub_that_is_destroyed_just_before_the_call(make_room, monkeypatch, call):
    """After the check whether it has ended."""
    room = make_room()
    in_thread(lambda: (room.open(), gevent.get_hub().destroy(destroy_loop=True)))
    answers = iter([False])
    monkeypatch.setattr(
        other_threads.Inbox, 'has_ended', property(lambda inbox: next(answers, True))
    )
    if call == 'wait':
        with pytest.raises(RuntimeError, match='has ended'):
            room.session.wait()
    else:
        room.session.disconnect()
        assert room.session.phase is CLOSED


@pytest.mark.parametrize('closed', [False, True])
def test_a_thread_that_ends_while_another_one_waits_for_its_connection(
    make_room, monkeypatch, closed
):
    monkeypatch.setattr(other_threads, '_LOOK_INTERVAL', 0.01)
    room = make_room()

    def connect():
        room.open()
        gevent.sleep(0)
        go_on.wait()
        if closed:
            room.session.disconnect()

    go_on = threading.Event()
    owner = NativeThread(connect)
    assert eventually(lambda: room.session.state == 'connected')
    waiting = NativeThread(room.session.wait)
    gevent.sleep(0.02)
    go_on.set()
    owner.get()
    if closed:
        assert waiting.get() is True
    else:
        with pytest.raises(RuntimeError, match='has ended'):
            waiting.get()


@pytest.mark.parametrize('abort', [False, True])
@pytest.mark.parametrize('reason', [None, 'enough'])
def test_disconnecting_a_connection_whose_thread_has_ended(orphan, abort, reason):
    """Nothing can be sent, and the disconnect handler runs in the greenlet of the caller."""
    room = orphan(
        handlers={'disconnect': lambda reason: ends.append((reason, gevent.getcurrent()))}
    )
    ends = []
    room.session.disconnect(abort, reason)
    assert ends == [(reason or Reason.CLIENT_DISCONNECT, gevent.getcurrent())]
    assert room.transport.log[-1] == 'abandon, wake=False'
    assert (room.transport.sent, room.session.phase) == ([], CLOSED)
    assert 'has ended' in str(room.session.error)
    assert room.session.transport is None
    room.session.disconnect()
    assert len(ends) == 1
    assert room.session.wait() is True


def test_disconnecting_while_the_handler_of_an_orphan_runs(orphan):
    """The handler runs once, and the connection is not over before it has ended."""

    def disconnect(reason):
        ends.append(reason)
        release.wait()

    ends, release = [], Event()
    room = orphan(handlers={'disconnect': disconnect})
    first = gevent.spawn(room.session.disconnect)
    settle()
    room.session.disconnect()
    assert (room.session.state, ends) == ('disconnecting', [Reason.CLIENT_DISCONNECT])
    release.set()
    first.get(timeout=5)
    assert (room.session.phase, len(ends)) == (CLOSED, 1)


def test_disconnecting_a_connection_whose_thread_ended_in_a_handshake(orphan):
    """No handler runs."""
    room = orphan(lambda room: (gevent.spawn(room.open), gevent.sleep(0)), first=())
    assert room.session.phase is OPENING
    room.session.disconnect()
    assert (room.session.phase, room.ends) == (CLOSED, [])
    assert room.session.transport is None
    assert room.session.wait() is True


def test_disconnecting_twice_while_the_disconnect_handler_of_an_ended_thread_runs(orphan):
    room = orphan(handlers={'disconnect': lambda reason: (ends.append(reason), release.wait())})
    ends, release = [], Event()
    leaving = gevent.spawn(room.session.disconnect)
    settle()
    room.session.disconnect()
    release.set()
    leaving.get(timeout=5)
    assert ends == [Reason.CLIENT_DISCONNECT]


def test_two_threads_that_disconnect_a_connection_of_an_ended_thread(orphan, monkeypatch):
    """The disconnect handler runs once."""
    call = HandlerCalls.disconnect_here
    others = []

    def another_one_first(calls, *arguments):
        if not others:
            others.append(room.session)
            in_thread(room.session.disconnect)
        call(calls, *arguments)

    room = orphan()
    monkeypatch.setattr(HandlerCalls, 'disconnect_here', another_one_first)
    room.session.disconnect()
    assert others
    assert len(room.ends) == 1
    assert room.session.phase is CLOSED


def test_a_closed_connection_whose_thread_has_ended(orphan):
    room = orphan(lambda room: (room.open(), room.session.disconnect()))
    assert room.session.wait() is True
    assert in_thread(room.session.wait) is True
    room.session.send('nobody hears it')
    assert len(room.ends) == 1


# -- Forks and Ctrl-C ------------------------------------------------------------------------------


def test_the_process_knows_a_connection_until_it_has_ended(room, make_room):
    known = process._connections
    assert room.session in known
    room.session.disconnect()
    assert room.session not in known
    room = make_room(first=[(NOOP, '')])
    with pytest.raises(ConnectionError):
        room.open()
    assert room.session not in known


def test_the_process_forgets_a_connection_whose_thread_has_ended(orphan):
    room = orphan()
    assert room.session in process._connections
    room.session.disconnect()
    assert room.session not in process._connections


def test_a_fork_wakes_those_who_wait(room):
    waiting = [gevent.spawn(room.session.wait) for _ in range(2)]
    settle()
    room.session.abandon()
    assert [one.get(timeout=5) for one in waiting] == [False] * 2
    assert room.session.sid is None
    assert room.session.transport is None


def test_a_fork_stops_the_heartbeat(make_room, loop):
    room = make_room().open()
    assert len(loop.armed) == 1
    room.session.abandon()
    assert loop.armed == []


def test_messages_before_a_fork_are_the_parent_s(room):
    room.transport.say((MESSAGE, 'one'))
    room.session.abandon()
    settle()
    assert room.messages == []


def test_a_fork_keeps_the_first_error(room):
    error = ConnectionClosed('gone')
    room.transport.fail(error)
    room.session.abandon()
    assert room.session.error is error


# -- Without a disconnect handler ------------------------------------------------------------------


def test_a_lost_connection_is_over_at_once(make_room):
    room = make_room()
    del room.handlers['disconnect']
    room.open()
    settle()
    room.transport.fail(ConnectionClosed('gone'))
    assert room.session.phase is CLOSED


def test_who_waits_for_the_end_wakes_after_the_last_message(make_room):
    """The dispatcher calls 128 handlers in a turn of the loop."""
    room = make_room().open()
    del room.handlers['disconnect']
    waiting = gevent.spawn(lambda: room.session.wait() and len(room.messages))
    settle()
    room.transport.say(*[(MESSAGE, 'x')] * 1000, (CLOSE, ''))
    assert waiting.get(timeout=5) == 1000


def test_the_state_in_a_connect_handler_of_a_connection_that_has_ended(make_room):
    seen = []
    room = make_room(
        first=[OPENED, (CLOSE, '')],
        handlers={'connect': lambda: seen.append((room.session.state, room.session.sid))},
    )
    del room.handlers['disconnect']
    room.open()
    room.wait_end()
    assert seen == [('disconnecting', 'the-sid')]


# -- Found by reading ------------------------------------------------------------------------------


def test_aborting_what_another_greenlet_does_slowly(room):
    room.transport.farewell.clear()
    closed = room.transport.close
    room.transport.close = lambda *code: (closed(*code), room.transport.farewell.set())
    leaving = gevent.spawn(room.session.disconnect)
    settle()
    assert not leaving.ready()
    with gevent.Timeout(2):
        room.session.disconnect(abort=True)
    leaving.get(timeout=5)
    assert ('close', 1000) in room.transport.log
    assert room.session.state == 'disconnected'


def test_disconnecting_while_another_greenlet_connects_waits_for_it(make_room):
    """Then the client may connect again."""
    room = make_room(first=[])
    opening = gevent.spawn(pytest.raises, ConnectionError, room.open)
    settle()
    room.session.disconnect()
    assert room.session.phase is CLOSED
    opening.get(timeout=5)


def test_a_transport_that_cannot_be_closed(room):
    """The disconnect handler runs nevertheless."""

    def close():
        raise OSError('no')

    room.transport.close = close
    with pytest.raises(OSError, match='no'):
        room.transport.fail(ConnectionClosed('gone'))
    room.wait_end()
    assert room.ends == [(Reason.TRANSPORT_ERROR, 'connected')]


@pytest.mark.parametrize('lost', [False, True])
def test_a_thread_that_ends_before_the_disconnect_handler(make_room, lost):
    """The handler runs when somebody disconnects, and the client may connect again."""
    room = make_room()

    def connect():
        room.open()
        gevent.sleep(0)  # a hub that has never run never ends
        if lost:
            room.transport.fail(ConnectionClosed('gone'))
        else:
            room.transport.say((CLOSE, ''))

    in_thread(connect)
    assert eventually(lambda: room.session.hub.dead)
    assert not room.session.phase.over
    for _ in range(2):
        room.session.disconnect()
    assert room.session.phase is CLOSED
    assert room.ends == [
        (Reason.TRANSPORT_ERROR, 'connected')
        if lost
        else (Reason.SERVER_DISCONNECT, 'disconnecting')
    ]
