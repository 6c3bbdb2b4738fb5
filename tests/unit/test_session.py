"""A session over a transport that does what the test says: what it keeps, what it lets go."""

from __future__ import annotations

import functools
import gc
import json
import logging
import weakref

import gevent
import pytest
from gevent.event import Event

from engineio_gevent.connecting import Connecting
from engineio_gevent.exceptions import ConnectionClosed, HeartbeatTimeout, ProtocolError
from engineio_gevent.legacy import call_disconnect
from engineio_gevent.options import Options, Reason
from engineio_gevent.protocol.packet import CLOSE, MESSAGE, NOOP, OPEN, PING, PONG, UPGRADE
from engineio_gevent.session import Session
from engineio_gevent.transports.route import Route
from support import eventually, no_leaks, open_packet, watchers


class FakeTransport:
    """Keeps what is sent; the test plays the server."""

    name = 'websocket'

    def __init__(self, sink, first=()):
        self.sink = sink
        self.first = first
        self.sent = []
        self.log = []
        self.queued = 0
        self.room = Event()
        self.farewell = Event()
        self.farewell.set()

    def open(self, sid=None):
        self.sink.on_packets(self, self.first)

    def start(self):
        self.log.append('start')

    def send(self, packet):
        self.sent.append(packet)
        return self.queued

    def send_first(self, packet):
        self.sent.append(packet)

    unsent = 0

    def wait_below(self, limit):
        self.log.append(f'wait {limit}')
        self.room.wait()

    def finish(self, timeout, limit=None):
        self.log.append('finish')
        self.farewell.wait(timeout)
        self.close()

    def close(self, code=None, reason=''):
        self.log.append(('close', code) if code else 'close')
        self.room.set()

    def abandon(self):
        self.log.append('abandon')

    def say(self, *packets):
        self.sink.on_packets(self, packets)

    def fail(self, error):
        self.sink.on_lost(self, error)


OPENED = (OPEN, open_packet()[1:])


def options(**changes):
    settings = {
        'logger': logging.getLogger('test'), 'verbose': False, 'dumps': json.dumps,
        'loads': json.loads, 'parse_json': True, 'request_timeout': 5, 'write_limit': 1000,
        'max_message_size': None, 'handle_sigint': False}
    return Options(**{**settings, **changes})


class Room:
    """A session, its transport, and what its handlers saw."""

    def __init__(self, monkeypatch, first=(OPENED,), handlers=None, **changes):
        self.messages, self.ends = [], []
        self.handlers = {
            'message': self.messages.append,
            'disconnect': lambda reason: self.ends.append((reason, self.session.state)),
            **(handlers or {})}
        self.session = Session(options(**changes), self.handlers, Route('http://a.test'))
        self.transport = FakeTransport(self.session, first)
        # A session makes its own transport; this is the one seam.
        monkeypatch.setattr(Connecting, '_make', lambda connecting, name: self.transport)

    def open(self):
        self.session.open('websocket')
        self.session.greet()
        self.session.settle()
        return self

    def wait_end(self):
        assert self.session.wait(5)
        gevent.sleep(0.01)


@pytest.fixture
def make_room(monkeypatch):
    rooms = []

    def make(**settings):
        rooms.append(Room(monkeypatch, **settings))
        return rooms[-1]

    yield make
    for room in rooms:
        if room.session.handshake is not None:
            room.session.disconnect(abort=True)


@pytest.fixture
def room(make_room):
    return make_room().open()


# -- Opening ---------------------------------------------------------------------------------------


def test_before_it_is_open(make_room):
    session = make_room().session
    assert (session.state, session.sid, session.over) == ('disconnected', None, False)


def test_disconnecting_before_it_opens(make_room):
    session = make_room().session
    session.disconnect()
    gevent.sleep(0.01)
    assert (session.state, session.sid) == ('disconnected', None)


def test_open(room):
    session = room.session
    assert (session.state, session.sid) == ('connected', 'the-sid')
    assert session.handshake.ping_interval == 25
    assert 'start' in room.transport.log


@pytest.mark.parametrize('first', [
    [(MESSAGE, 'x')], [(OPEN, '{')], [(OPEN, '[]')], [(NOOP, '')], [(PING, '')], [(CLOSE, '')],
    [OPENED, (CLOSE, '')]])
def test_what_is_no_handshake(make_room, first):
    room = make_room(first=first)
    with no_leaks(), pytest.raises((ProtocolError, ConnectionClosed)):
        room.session.open('websocket')
    assert 'close' in room.transport.log
    assert room.session.sid is None
    assert room.ends == []


def test_a_transport_that_fails_after_its_handshake(make_room):
    room = make_room()
    error = ConnectionClosed('gone')
    room.transport.open = lambda sid=None: (room.transport.say(OPENED), room.transport.fail(error))
    with pytest.raises(ConnectionClosed) as caught:
        room.session.open('websocket')
    assert caught.value is error


def test_nothing_comes(make_room):
    room = make_room(first=(), request_timeout=0.05)
    with pytest.raises(ConnectionClosed, match=r'0\.05 seconds'):
        room.session.open('websocket')
    assert 'close' in room.transport.log


def test_messages_that_come_early_wait_for_the_connect_handler(make_room):
    seen = []
    room = make_room(first=[OPENED, (MESSAGE, 'early')],
                     handlers={'connect': lambda: (gevent.sleep(0.01), seen.append(list(
                         room.messages)))})
    opening = gevent.spawn(room.open)
    gevent.sleep(0)
    room.transport.say((MESSAGE, 'within'))
    opening.get(timeout=5)
    room.transport.say((MESSAGE, 'after'))
    assert eventually(lambda: len(room.messages) == 3)
    assert seen == [[]]
    assert room.messages == ['early', 'within', 'after']


@pytest.mark.parametrize('error', [ValueError('no'), gevent.GreenletExit()])
def test_a_connect_handler_that_raises(make_room, error):
    def connect():
        raise error

    room = make_room(handlers={'connect': connect})
    with no_leaks():
        room.session.open('websocket')
        with pytest.raises(type(error)):
            room.session.greet()
    assert 'finish' in room.transport.log
    assert (room.session.state, room.ends) == ('disconnected', [])
    room.transport.say((MESSAGE, 'late'))
    gevent.sleep(0.01)
    assert room.messages == []


# -- Packets ---------------------------------------------------------------------------------------


def test_packets(room):
    room.transport.say((MESSAGE, 'text'), (PING, 'data'), (MESSAGE, b'bytes'), (NOOP, ''),
                       (PONG, 'x'), (UPGRADE, ''), OPENED, (MESSAGE, '{"a":1}'), (MESSAGE, '12'))
    assert eventually(lambda: len(room.messages) == 4)
    assert room.messages == ['text', b'bytes', {'a': 1}, '12']
    assert room.transport.sent == ['3data']


def test_parse_json_off(make_room):
    room = make_room(parse_json=False).open()
    room.transport.say((MESSAGE, '{"a":1}'), (MESSAGE, 'null'))
    assert eventually(lambda: room.messages == ['{"a":1}', 'null'])


def test_no_handlers_at_all(make_room):
    room = make_room()
    room.handlers.clear()
    room.open()
    room.transport.say((MESSAGE, 'x'))
    gevent.sleep(0.01)
    room.transport.fail(ConnectionClosed('gone'))
    room.wait_end()
    assert room.session.state == 'disconnected'


def test_sending(room):
    for data in ('text', b'bytes', {'a': [1, None]}, 5, None, bytearray(b'x')):
        room.session.send(data)
    assert room.transport.sent == ['4text', b'bytes', '4{"a":[1,null]}', '45', '4', b'x']
    with pytest.raises(TypeError):
        room.session.send(object())
    assert len(room.transport.sent) == 6


def test_sending_waits_above_the_limit(room):
    room.transport.queued = 1000
    room.session.send('x')
    assert 'wait 500' not in room.transport.log
    room.transport.queued = 1001
    sending = gevent.spawn(room.session.send, 'x')
    gevent.sleep(0.01)
    assert 'wait 500' in room.transport.log
    assert not sending.ready()
    room.transport.room.set()
    sending.get(timeout=5)


def test_sending_never_waits_in_the_hub_or_without_a_limit(room, make_room):
    room.transport.queued = 10_000
    done = Event()
    gevent.get_hub().loop.run_callback(lambda: (room.session.send('x'), done.set()))
    assert done.wait(5)
    assert room.transport.sent == ['4x']
    assert 'wait 500' not in room.transport.log
    other = make_room(write_limit=None).open()
    other.transport.queued = 10_000
    other.session.send('x')
    assert 'wait 500' not in other.transport.log


# -- The one exit ----------------------------------------------------------------------------------


def test_a_lost_transport(room):
    error = ConnectionClosed('gone')
    room.transport.fail(error)
    assert room.session.over
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
    assert 'finish' in room.transport.log
    assert room.session.error is None


def test_at_once(room):
    room.session.disconnect(abort=True, reason='enough')
    assert room.ends == [('enough', 'disconnecting')]
    assert room.transport.sent == ['1']
    assert ('close', 1000) in room.transport.log
    assert 'finish' not in room.transport.log


def test_all_ends_together_are_one(room):
    room.transport.fail(ConnectionClosed('first'))
    room.transport.fail(ConnectionClosed('second'))
    room.transport.say((CLOSE, ''), (MESSAGE, 'x'))
    room.session.close(Reason.SERVER_DISCONNECT, None)
    room.session.disconnect()
    room.session.disconnect(abort=True)
    room.wait_end()
    assert len(room.ends) == 1
    assert str(room.session.error) == 'first'


def test_a_farewell_that_fails_keeps_its_reason_and_its_cause(room):
    room.transport.farewell.clear()
    leaving = gevent.spawn(room.session.disconnect)
    gevent.sleep(0.01)
    error = ConnectionClosed('gone')
    room.transport.fail(error)
    room.transport.farewell.set()
    leaving.get(timeout=5)
    assert room.ends == [(Reason.CLIENT_DISCONNECT, 'disconnecting')]
    assert room.session.error is error


def test_another_transport_s_end_is_not_the_connection_s(room):
    old = FakeTransport(room.session)
    old.fail(ConnectionClosed('of long ago'))
    gevent.sleep(0.01)
    assert (room.session.state, room.ends) == ('connected', [])


def test_wait_returns_after_the_handler(make_room):
    running = Event()
    room = make_room(handlers={'disconnect': lambda reason: running.wait()}).open()
    room.transport.fail(ConnectionClosed('gone'))
    assert room.session.wait(0.01) is False
    waiting = [gevent.spawn(room.session.wait) for _ in range(3)]
    gevent.sleep(0.01)
    assert not any(one.ready() for one in waiting)
    running.set()
    assert [one.get(timeout=5) for one in waiting] == [True] * 3
    assert room.session.wait() is True


@pytest.mark.parametrize('kind', ['reason', 'none', 'default', 'any', 'method', 'partial'])
def test_disconnect_handlers_with_a_reason_and_without(kind):
    seen = []

    class Application:
        def method(self, reason):
            seen.append(reason)

    handler = {
        'reason': lambda reason: seen.append(reason),
        'none': lambda: seen.append('none'),
        'default': lambda reason=None: seen.append(reason),
        'any': lambda *args: seen.append(*args),
        'method': Application().method,
        'partial': functools.partial(lambda fixed, reason: seen.append(reason), 1),
    }[kind]
    call_disconnect(handler, 'why')
    assert seen == ['none' if kind == 'none' else 'why']


def test_a_type_error_of_a_handler_is_its_own():
    calls = []

    def handler(*args):
        calls.append(args)
        raise TypeError('handler() takes 0 positional arguments')

    with pytest.raises(TypeError):
        call_disconnect(handler, 'why')
    assert calls == [('why',)]


def test_nothing_is_kept(make_room):
    """No timer in the loop, and of the transport no reference."""
    gevent.sleep(0.01)
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


def test_abandoning(room):
    room.session.abandon()
    assert room.session.forked
    assert room.transport.log[-1] == 'abandon'
    assert (room.session.state, room.ends) == ('disconnected', [])
    room.session.disconnect()
    assert 'finish' not in room.transport.log


# -- Heartbeat -------------------------------------------------------------------------------------


def opened(interval, timeout):
    return (OPEN, open_packet(pingInterval=interval, pingTimeout=timeout)[1:])


def test_no_ping(make_room):
    room = make_room(first=[opened(50, 50)]).open()
    room.wait_end()
    assert room.ends == [(Reason.TRANSPORT_ERROR, 'connected')]
    assert isinstance(room.session.error, HeartbeatTimeout)
    assert '0.1 seconds' in str(room.session.error)


@pytest.mark.parametrize('packet', [(MESSAGE, 'x'), (NOOP, ''), (PONG, '')])
def test_other_packets_do_not_count(make_room, packet):
    room = make_room(first=[opened(50, 50)]).open()
    while not room.session.over:
        room.transport.say(packet)
        gevent.sleep(0.01)
    assert isinstance(room.session.error, HeartbeatTimeout)


@pytest.mark.parametrize('milliseconds', [10 ** 9, 10 ** 15, 1e300])
def test_a_server_that_never_means_to_ping(make_room, milliseconds):
    room = make_room(first=[opened(milliseconds, 0)]).open()
    gevent.sleep(0.02)
    assert room.session.state == 'connected'


# -- Logging ---------------------------------------------------------------------------------------


def test_packets_are_logged_without_their_bytes(make_room, caplog):
    caplog.set_level(logging.INFO)
    room = make_room(verbose=True).open()
    room.transport.say((MESSAGE, 'text'), (MESSAGE, b'secret'))
    room.session.send('other')
    room.session.send(b'secret')
    logged = ' '.join(record.getMessage() for record in caplog.records)
    assert 'MESSAGE data text' in logged
    assert 'MESSAGE data other' in logged
    assert 'secret' not in logged
    assert '<binary>' in logged


def test_nothing_is_logged_by_default(room, caplog):
    caplog.set_level(logging.INFO)
    room.transport.say((MESSAGE, 'text'))
    room.session.send('other')
    assert caplog.records == []
