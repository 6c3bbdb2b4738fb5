"""`connect()` over transports that do what the test says, with its upgrade and the probe of it."""

from __future__ import annotations

import logging
from types import SimpleNamespace

import gevent
import pytest
import requests
from gevent.event import Event

from engineio_gevent import connecting, session, upgrade
from engineio_gevent.connecting import Connecting, choose_transports, connection_error
from engineio_gevent.exceptions import (
    ConnectionClosed,
    ConnectionError,
    HTTPError,
    ProtocolError,
)
from engineio_gevent.lifecycle import CLOSED, FORKED
from engineio_gevent.lifecycle import OPEN as OPEN_PHASE
from engineio_gevent.net import unpatched
from engineio_gevent.options import Reason
from engineio_gevent.protocol.packet import CLOSE, MESSAGE, NOOP, OPEN, PING, PONG
from engineio_gevent.transports.direct import DirectHTTP
from engineio_gevent.transports.in_greenlets import InGreenlets
from engineio_gevent.transports.requests_session import SessionHTTP
from engineio_gevent.transports.route import Route
from support import (
    FakeTransport,
    in_thread,
    let_go,
    make_options,
    no_leaks,
    open_packet,
    settle,
)

OPENED = (OPEN, open_packet(upgrades=['websocket'])[1:])
ANSWER = (PONG, 'probe')


def accept(transport):
    transport.say(OPENED)


def refuse(transport):
    raise ConnectionClosed(f'a.test: no {transport.name}')


def wait(transport):
    Event().wait()


class Scripted(FakeTransport):
    """A transport that `connect()` makes. Its world says what the server does."""

    world = None

    def __init__(self, sink, route, limits, http=None):
        super().__init__(sink)
        self.route, self.limits, self.http = route, limits, http
        self.sid = None
        self.world.made.append(self)

    @property
    def is_probe(self):
        return self.sid is not None

    def open(self, sid=None):
        self.sid = sid
        self.log.append('open')
        self.world.on_open['probe' if self.is_probe else self.name](self)

    def send(self, packet):
        super().send(packet)
        if packet == '2probe':
            self.world.on_probe(self)
        return self.queued

    def pause(self):
        self.log.append('pause')
        self.world.on_pause(self)

    def resume(self):
        self.log.append('resume')

    def retire(self):
        self.close()

    def take_queued(self):
        return ['4queued']


class Timers:
    """The timer of the head start, which fires when the test says so."""

    ptr = 1  # it is not destroyed

    def __init__(self):
        self.made = []
        self.run_callback = gevent.get_hub().loop.run_callback

    def timer(self, seconds):
        timer = SimpleNamespace(seconds=seconds, callback=None, closed=False)
        timer.start = lambda callback: setattr(timer, 'callback', callback)
        timer.stop = lambda: setattr(timer, 'callback', None)
        timer.close = lambda: self.close(timer)
        self.made.append(timer)
        return timer

    @staticmethod
    def close(timer):
        assert not timer.closed
        timer.closed = True

    def fire(self):
        for timer in self.made:
            if timer.callback is not None:
                timer.callback()


class World:
    """A server and a client's handlers; `connect()` is what is tested."""

    def __init__(self, monkeypatch):
        self.made = []
        self.on_open = {'polling': accept, 'websocket': accept, 'probe': lambda transport: None}
        self.on_probe = lambda transport: transport.say(ANSWER)
        self.on_pause = lambda transport: None
        self.sessions, self.disowned = [], []
        self.messages, self.ends = [], []
        self.handlers = {
            'connect': lambda: None,
            'message': self.messages.append,
            'disconnect': lambda reason: self.ends.append(reason),
        }
        self.timers = Timers()
        self.route = Route('http://a.test')
        self.own = self.sessions.append
        # connect() makes its transports and its timer itself: these names are the one seam.
        for name, kind in ('polling', 'Polling'), ('websocket', 'WebSocket'):
            made = type(kind, (Scripted,), {'name': name, 'world': self})
            monkeypatch.setattr(connecting, kind, made)
        monkeypatch.setattr(upgrade, 'WebSocket', connecting.WebSocket)
        hub = SimpleNamespace(loop=self.timers)
        monkeypatch.setattr(connecting, 'get_hub', lambda: hub)

    def connect(self, *order, upgrade=True, **options):
        self.options = make_options(**options)
        connecting = Connecting(
            self.options,
            self.handlers,
            self.route,
            own=lambda session: self.own(session),
            disown=self.disowned.append,
        )
        return connecting.run(order or ['polling', 'websocket'], upgrade)

    @property
    def session(self):
        return self.sessions[-1]

    @property
    def polling(self):
        return next(one for one in self.made if one.name == 'polling')

    @property
    def websocket(self):
        return next(one for one in self.made if one.name == 'websocket')


@pytest.fixture
def world(monkeypatch):
    one = World(monkeypatch)
    yield one
    for made in one.sessions:
        let_go(made)
    assert all(timer.closed for timer in one.timers.made)


@pytest.fixture
def logged(caplog):
    """`logged()`: the lines of the log."""
    caplog.set_level(logging.INFO)

    def lines():
        settle()
        return [record.getMessage() for record in caplog.records]

    return lines


# -- Which transport -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ('wanted', 'chosen'),
    [
        (None, ['polling', 'websocket']),
        ('polling', ['polling']),
        ('websocket', ['websocket']),
        (['websocket', 'polling'], ['websocket', 'polling']),
        (['webtransport', 'websocket'], ['websocket']),
        (('polling',), ['polling']),
    ],
)
def test_choosing_transports(wanted, chosen):
    assert choose_transports(wanted) == chosen


@pytest.mark.parametrize('wanted', [[], '', 'webtransport', ['a', 'b'], 5, True])
def test_no_known_transport(wanted):
    with pytest.raises(ValueError, match=r'^No valid transports provided$'):
        choose_transports(wanted)


def test_a_websocket_from_the_beginning(world):
    assert world.connect('websocket') == ('websocket', 'websocket')
    assert [one.name for one in world.made] == ['websocket']
    assert world.websocket.sid is None
    assert (world.websocket.route, world.websocket.limits) == (world.route, world.options)
    assert world.session.phase is OPEN_PHASE
    assert world.session.handshake_transport == 'websocket'
    assert world.websocket.log == ['open', 'open packet', 'start']
    assert world.timers.made == []
    assert world.disowned == []


@pytest.mark.parametrize('may_upgrade', [False, True])
def test_the_http_client_of_polling(world, may_upgrade):
    world.connect('polling', upgrade=may_upgrade, max_message_size=1234)
    polling = world.polling
    assert (polling.route, polling.limits) == (world.route, world.options)
    assert isinstance(polling.http, DirectHTTP)
    assert world.session.handshake_transport == 'polling'


def test_polling_with_a_session_of_the_caller_s(world, monkeypatch):
    monkeypatch.setattr(unpatched, '_warned', True)
    world.route = Route('http://a.test', http_session=(own := requests.Session()))
    world.connect('polling', upgrade=False)
    assert isinstance(world.polling.http, InGreenlets)
    assert isinstance(world.polling.http._http, SessionHTTP)
    assert world.session.http is own


def test_the_second_transport_if_the_first_fails(world):
    world.on_open['polling'] = refuse
    assert world.connect() == ('websocket', 'websocket')
    first, second = world.sessions
    assert (first.phase, second.phase) == (CLOSED, OPEN_PHASE)
    assert world.disowned == [first]
    assert 'close' in world.polling.log
    assert world.ends == []


def test_if_both_fail_the_first_failure_is_told(world):
    world.on_open['polling'] = world.on_open['websocket'] = refuse
    with no_leaks(), pytest.raises(ConnectionError, match=r'^a\.test: no polling$') as caught:
        world.connect()
    assert isinstance(caught.value.__cause__, ConnectionClosed)
    assert [one.name for one in world.made] == ['polling', 'websocket']
    assert world.disowned == world.sessions
    assert [one.phase for one in world.sessions] == [CLOSED] * 2


def refuse_to_own(session):
    raise ValueError('Client is not in a disconnected state')


def test_a_client_that_another_greenlet_has_connected(world):
    world.own = refuse_to_own
    with pytest.raises(ValueError, match='not in a disconnected state'):
        world.connect()
    assert world.made == []


def test_a_client_that_another_greenlet_connects_between_two_attempts(world):
    def own(session):
        world.sessions.append(session)
        world.own = refuse_to_own

    world.own = own
    world.on_open['polling'] = refuse
    with pytest.raises(ConnectionError, match='no polling'):
        world.connect()
    assert [one.name for one in world.made] == ['polling']


def test_the_log_of_a_handshake(world, logged):
    world.connect('polling', upgrade=False, verbose=True)
    url = 'http://a.test/engine.io/?transport=polling&EIO=4'
    assert logged()[0] == f'Attempting polling connection to {url}'


# -- The end of a handshake ------------------------------------------------------------------------


@pytest.mark.parametrize('blocks', ['in open', 'for the OPEN packet'])
@pytest.mark.parametrize('name', ['polling', 'websocket'])
def test_a_server_that_says_nothing(world, name, blocks):
    world.on_open[name] = wait if blocks == 'in open' else lambda transport: None
    expected = rf'^a\.test: no {name} handshake within 0\.01 seconds \(request_timeout\)$'
    with no_leaks(), pytest.raises(ConnectionError, match=expected):
        world.connect(name, request_timeout=0.01)
    assert world.disowned == world.sessions


def test_a_handshake_that_is_complete_when_the_time_is_over(world):
    world.on_open['websocket'] = lambda transport: (accept(transport), wait(transport))
    assert world.connect('websocket', request_timeout=0.01) == ('websocket', 'websocket')
    assert world.session.phase is OPEN_PHASE


@pytest.mark.parametrize('blocks', ['in open', 'for the OPEN packet'])
def test_disconnecting_ends_a_handshake_at_once(world, blocks):
    """There is no other attempt."""
    world.on_open['polling'] = wait if blocks == 'in open' else lambda transport: None
    opening = gevent.spawn(pytest.raises, ConnectionError, world.connect, request_timeout=None)
    settle()
    world.session.disconnect()
    assert 'disconnect() was called while connecting' in str(opening.get(timeout=5).value)
    assert [one.name for one in world.made] == ['polling']
    assert (world.session.phase, world.disowned) == (CLOSED, world.sessions)


def test_a_handshake_that_fails_elsewhere_ends_at_once(world):
    """The hub finds it out while the transport waits for something else."""
    world.on_open['websocket'] = lambda transport: None
    opening = gevent.spawn(pytest.raises, ConnectionError, world.connect, 'websocket')
    settle()
    world.websocket.fail(ConnectionClosed('a.test: gone'))
    assert str(opening.get(timeout=5).value) == 'a.test: gone'


@pytest.mark.parametrize('error', [gevent.GreenletExit(), gevent.Timeout()])
def test_a_caller_that_is_interrupted(world, error):
    """It is none of the errors of connect(), and there is no other attempt."""
    world.on_open['polling'] = wait
    opening = gevent.spawn(pytest.raises, type(error), world.connect, request_timeout=None)
    settle()
    opening.kill(error, block=False)
    assert opening.get(timeout=5).value is error
    assert [one.name for one in world.made] == ['polling']
    assert (world.session.phase, world.disowned) == (CLOSED, world.sessions)


# -- The connect handler ---------------------------------------------------------------------------


def test_a_connect_handler_that_raises(world, logged):
    def connect():
        raise error

    error = KeyError('no')
    world.handlers['connect'] = connect
    with no_leaks(), pytest.raises(ConnectionError, match="Connect handler failed: 'no'") as caught:
        world.connect()
    assert caught.value.__cause__ is error
    assert logged() == ['connect handler error']
    assert (world.session.phase, world.disowned) == (CLOSED, world.sessions)
    assert [one.name for one in world.made] == ['polling']
    assert world.ends == []


def test_the_connection_is_closed_before_the_error_is_logged(world):
    """A log handler may wait."""
    phases = []
    logger = logging.getLogger('test.late')
    logger.addFilter(note := lambda record: phases.append(world.session.phase))
    world.handlers['connect'] = lambda: 1 / 0
    try:
        with pytest.raises(ConnectionError, match='division by zero'):
            world.connect(logger=logger)
    finally:
        logger.removeFilter(note)
    assert phases == [CLOSED]


def test_a_connect_handler_that_is_killed(world, logged):
    def connect():
        raise gevent.GreenletExit

    world.handlers['connect'] = connect
    with no_leaks(), pytest.raises(gevent.GreenletExit):
        world.connect()
    assert logged() == []
    assert (world.session.phase, world.disowned) == (CLOSED, world.sessions)


def test_a_caller_that_is_killed_after_its_connect_handler_has_raised(world):
    """The farewell ends at once, and the client may connect again."""

    def open_and_never_finish(transport):
        transport.finish = lambda *_: Event().wait()
        accept(transport)

    world.on_open['polling'] = open_and_never_finish
    world.handlers['connect'] = lambda: 1 / 0
    opening = gevent.spawn(pytest.raises, gevent.GreenletExit, world.connect)
    settle()
    assert world.session.state == 'disconnecting'
    opening.kill(block=False)
    opening.get(timeout=5)
    assert (world.session.phase, world.disowned) == (CLOSED, world.sessions)


@pytest.mark.parametrize('lost', [False, True])
def test_a_client_that_is_disconnected_between_two_attempts(world, lost):
    """While the first attempt ends: no other transport is tried."""

    def disconnect(*_):
        gevent.spawn(world.session.disconnect)
        settle()

    def fail(transport):
        if lost:
            transport.fail(ConnectionClosed('gone'))
            disconnect()
        else:
            accept(transport)
            transport.finish = disconnect
        refuse(transport)

    world.on_open['polling'] = fail
    world.on_open['websocket'] = accept
    with pytest.raises(ConnectionError):
        world.connect()
    assert [one.name for one in world.made] == ['polling']
    assert (world.session.phase, world.disowned) == (CLOSED, world.sessions)


def test_a_connect_handler_that_raises_after_the_end(world):
    """The client's next connection may exist already."""

    def connect():
        world.polling.say((CLOSE, ''))
        settle()
        raise ValueError('no')

    world.handlers['connect'] = connect
    with pytest.raises(ConnectionError, match='no'):
        world.connect()
    assert world.disowned == []
    assert world.ends == [Reason.SERVER_DISCONNECT]


def test_a_connection_that_ends_does_not_interrupt_the_connect_handler(world):
    def connect():
        loop = gevent.get_hub().loop
        loop.run_callback(world.polling.fail, ConnectionClosed('gone'))
        settle()
        returned.append(1)

    returned = []
    world.handlers['connect'] = connect
    assert world.connect() == ('polling', 'polling')
    assert returned == [1]
    assert [one.name for one in world.made] == ['polling']


# -- The head start of an upgrade ------------------------------------------------------------------


def test_polling_waits_for_the_connect_handler_but_not_for_long(world):
    def connect():
        assert 'start' not in world.polling.log
        [timer] = world.timers.made
        assert timer.seconds == connecting.PROBE_HEAD_START
        world.timers.fire()
        assert world.polling.log[-1] == 'start'
        assert timer.closed

    world.handlers['connect'] = connect
    assert world.connect() == ('polling', 'websocket')


def test_polling_waits_for_the_upgrade(world):
    world.on_probe = lambda transport: (
        log.extend(world.polling.log),
        world.timers.fire(),
        log.extend(world.polling.log),
        transport.say(ANSWER),
    )
    log = []
    world.connect()
    assert log == ['open', 'open packet'] * 2 + ['start']


def test_polling_begins_after_the_connect_handler_without_an_upgrade(world):
    assert world.connect('polling', upgrade=False) == ('polling', 'polling')
    assert world.polling.log == ['open', 'open packet', 'start']
    assert [one.name for one in world.made] == ['polling']


# -- The upgrade -----------------------------------------------------------------------------------


def test_an_upgrade(world, logged):
    assert world.connect(verbose=True) == ('polling', 'websocket')
    polling, websocket = world.made
    assert polling.log == ['open', 'open packet', 'pause', 'close']
    assert websocket.log == ['open', 'start']
    assert (websocket.sid, websocket.route, websocket.limits) == (
        'the-sid',
        world.route,
        world.options,
    )
    assert websocket.sent == ['2probe', '5', '4queued']
    assert (world.session.transport, world.session.transport_name) == (websocket, 'websocket')
    websocket.say((MESSAGE, 'hello'))
    settle()
    assert world.messages == ['hello']
    assert 'Sending packet UPGRADE data ' in logged()
    assert 'WebSocket upgrade was successful' in logged()


def test_the_log_is_complete_when_connect_returns(world, caplog):
    caplog.set_level(logging.INFO)
    world.connect(verbose=True)
    assert 'WebSocket upgrade was successful' in caplog.messages


def test_a_server_without_upgrades(world):
    world.on_open['polling'] = lambda transport: transport.say((OPEN, open_packet()[1:]))
    assert world.connect() == ('polling', 'polling')
    assert [one.name for one in world.made] == ['polling']


def test_no_upgrade_after_a_connect_handler_that_disconnects(world):
    world.handlers['connect'] = lambda: world.session.disconnect()
    assert world.connect() == ('polling', 'polling')
    assert [one.name for one in world.made] == ['polling']


@pytest.mark.parametrize('end', ['lost', 'closed', 'disconnected'])
def test_no_upgrade_of_a_connection_whose_end_is_under_way(world, end):
    """The transport is still there: its disconnect handler has not begun."""

    def connect():
        if end == 'lost':
            world.polling.fail(ConnectionClosed('gone'))
        elif end == 'closed':
            world.polling.say((CLOSE, ''))
        else:
            world.polling.farewell.clear()
            gevent.spawn(world.session.disconnect)
            settle()

    world.handlers['connect'] = connect
    assert world.connect() == ('polling', 'polling')
    assert [one.name for one in world.made] == ['polling']
    world.polling.farewell.set()


def fail_open(world):
    world.on_open['probe'] = refuse


def lose_before_the_answer(world):
    world.on_probe = lambda transport: transport.fail(ConnectionClosed('a.test: no websocket'))


def lose_after_the_answer(world):
    world.on_pause = lambda polling: world.websocket.fail(ConnectionClosed('a.test: no websocket'))


def answer(*packets):
    def change(world):
        world.on_probe = lambda transport: transport.say(*packets)

    return change


def answer_with_messages(world):
    world.on_probe = lambda transport: transport.sink.on_messages(transport, ['a', b'b'])


def never_open(world):
    world.on_open['probe'] = wait


def never_answer(world):
    world.on_probe = lambda transport: None


def never_pause(world):
    world.on_pause = wait


UNEXPECTED = 'expected a PONG packet with "probe", got '


@pytest.mark.parametrize(
    ('change', 'why'),
    [
        (fail_open, 'a.test: no websocket'),
        (lose_before_the_answer, 'a.test: no websocket'),
        (lose_after_the_answer, 'a.test: no websocket'),
        (answer((PONG, '')), UNEXPECTED + 'PONG'),
        (answer((PING, 'probe')), UNEXPECTED + 'PING'),
        (answer((NOOP, ''), ANSWER), UNEXPECTED + 'NOOP'),
        (answer_with_messages, UNEXPECTED + 'MESSAGE'),
        (never_open, 'timed out'),
        (never_answer, 'timed out'),
        (never_pause, 'timed out'),
    ],
)
def test_an_upgrade_that_fails(world, logged, change, why):
    """Polling goes on."""
    change(world)
    timeout = 0.01 if why == 'timed out' else 5
    assert world.connect(verbose=True, request_timeout=timeout) == ('polling', 'polling')
    polling, websocket = world.made
    assert polling.log[-2:] == ['resume', 'start']
    assert 'close' not in polling.log
    assert websocket.log[-1] == 'close'
    assert '5' not in websocket.sent
    assert world.session.transport is polling
    assert f'WebSocket upgrade failed: {why}' in logged()
    assert 'WebSocket upgrade was successful' not in logged()


def test_the_first_packet_of_the_websocket_decides(world):
    """What follows the answer in the same bytes changes nothing."""
    answer(ANSWER, (NOOP, ''))(world)
    assert world.connect() == ('polling', 'websocket')


def test_no_packet_decides_nothing(world):
    world.on_probe = lambda transport: (transport.say(), transport.say(ANSWER))
    assert world.connect() == ('polling', 'websocket')


def test_an_upgrade_that_an_option_makes_impossible(world, caplog):
    def fail(transport):
        raise TypeError('no such option')

    world.on_open['probe'] = fail
    assert world.connect() == ('polling', 'polling')
    assert world.polling.log[-2:] == ['resume', 'start']
    settle()
    [record] = caplog.records
    assert record.levelname == 'WARNING'
    assert record.getMessage() == "WebSocket upgrade failed: TypeError('no such option')"


@pytest.mark.parametrize('end', ['lost', 'closed', 'disconnected'])
@pytest.mark.parametrize('phase', ['open', 'answer', 'pause'])
def test_a_connection_that_ends_during_the_upgrade(world, logged, phase, end):
    """The upgrade ends at once, and polling is not resumed."""
    {'open': never_open, 'answer': never_answer, 'pause': never_pause}[phase](world)
    opening = gevent.spawn(world.connect, request_timeout=None, verbose=True)
    settle()
    if end == 'lost':
        world.polling.fail(ConnectionClosed('gone'))
    elif end == 'closed':
        world.polling.say((CLOSE, ''))
    else:
        world.session.disconnect()
    assert opening.get(timeout=5) == ('polling', 'polling')
    settle()
    assert (world.session.phase, len(world.ends)) == (CLOSED, 1)
    assert 'resume' not in world.polling.log
    assert 'start' not in world.polling.log
    assert world.websocket.log[-1] == 'close'
    assert 'WebSocket upgrade was successful' not in logged()


def test_a_connection_that_ends_with_the_answer_to_the_probe(world, logged):
    """The caller of connect() is not interrupted once that has returned."""
    world.on_probe = lambda transport: None

    def connect():
        connected.append(world.connect(request_timeout=None, verbose=True))
        settle()
        return 'not interrupted'

    connected = []
    opening = gevent.spawn(connect)
    settle()
    gevent.get_hub().loop.run_callback(
        lambda: (world.websocket.say(ANSWER), world.polling.say((CLOSE, '')))
    )
    assert opening.get(timeout=5) == 'not interrupted'
    assert connected == [('polling', 'polling')]
    assert world.websocket.log[-1] == 'close'
    assert '5' not in world.websocket.sent
    assert not [line for line in logged() if 'WebSocket upgrade' in line]


def test_a_connection_that_ends_while_polling_comes_to_rest(world):
    """Polling itself finds that out, in the greenlet that calls connect()."""

    def connect():
        connected.append(world.connect())
        settle()
        return 'not interrupted'

    connected = []
    world.on_pause = lambda polling: polling.fail(ConnectionClosed('gone'))
    assert gevent.spawn(connect).get(timeout=5) == 'not interrupted'
    assert connected == [('polling', 'polling')]
    assert world.websocket.log[-1] == 'close'


@pytest.mark.parametrize('error', [gevent.GreenletExit(), gevent.Timeout()])
@pytest.mark.parametrize('phase', ['open', 'answer', 'pause'])
def test_a_caller_that_is_interrupted_during_the_upgrade(world, phase, error):
    """The connection was open: it is closed, and the disconnect handler runs."""
    {'open': never_open, 'answer': never_answer, 'pause': never_pause}[phase](world)
    opening = gevent.spawn(pytest.raises, type(error), world.connect, request_timeout=None)
    settle()
    opening.kill(error, block=False)
    assert opening.get(timeout=5).value is error
    settle()
    assert world.ends == [Reason.CLIENT_DISCONNECT]
    assert (world.session.phase, world.disowned) == (CLOSED, [])
    assert world.websocket.log[-1] == 'close'
    assert world.polling.bounds == (session.ABORT_TIMEOUT, None)


def test_a_caller_that_is_interrupted_twice(world):
    """In the farewell, too: the client keeps the connection, and the disconnect handler runs."""
    never_answer(world)
    opening = gevent.spawn(pytest.raises, gevent.GreenletExit, world.connect, request_timeout=None)
    settle()
    world.polling.finish = lambda *_: Event().wait()
    opening.kill(block=False)
    settle()
    assert world.session.state == 'disconnecting'
    opening.kill(block=False)
    opening.get(timeout=5)
    settle()
    assert world.ends == [Reason.CLIENT_DISCONNECT]
    assert (world.session.phase, world.disowned) == (CLOSED, [])


def test_a_fork_during_the_upgrade(world):
    """The websocket belongs to the parent process, too."""
    world.on_probe = lambda transport: None
    opening = gevent.spawn(world.connect, request_timeout=None)
    settle()
    world.session.abandon()
    assert 'abandon' in world.websocket.log
    assert opening.get(timeout=5) == ('polling', 'polling')
    assert world.session.phase is FORKED
    assert 'resume' not in world.polling.log


def test_a_connection_that_ends_during_the_upgrade_without_a_fork(world):
    """Its websocket is closed, not abandoned."""
    world.on_probe = lambda transport: None
    opening = gevent.spawn(world.connect, request_timeout=None)
    settle()
    world.polling.fail(ConnectionClosed('gone'))
    opening.get(timeout=5)
    assert 'abandon' not in world.websocket.log


def test_a_fork_during_a_handshake(world):
    world.on_open['polling'] = wait
    opening = gevent.spawn(pytest.raises, ConnectionError, world.connect, 'polling')
    settle()
    world.session.abandon()
    assert 'the process forked while connecting' in str(opening.get(timeout=5).value)


def test_a_fork_during_a_handshake_in_another_thread(world):
    """That thread is not in the child process, and nothing can be thrown into it."""
    world.on_open['polling'] = wait
    in_thread(lambda: (gevent.spawn(world.connect, 'polling'), gevent.sleep(0)))
    callbacks = []
    world.timers.run_callback = lambda *arguments: callbacks.append(arguments)
    world.session.abandon()
    assert callbacks == []
    assert world.session.phase is FORKED


# -- What connect() raises -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ('cause', 'text'),
    [
        (ConnectionClosed('a.test: refused'), 'a.test: refused'),
        (ConnectionClosed('refused'), 'a.test: refused'),
        (ConnectionClosed('GET http://a.test/x: refused'), 'GET http://a.test/x: refused'),
        (ConnectionClosed(''), 'a.test: ConnectionClosed'),
        (OSError('broken'), 'a.test: OSError: broken'),
        (OSError(), 'a.test: OSError'),
        (HTTPError('a.test: status 404', 404), 'a.test: status 404 (check engineio_path)'),
        (HTTPError('a.test: status 403', 403), 'a.test: status 403'),
        (
            ProtocolError('a.test: not an Engine.IO 4 handshake'),
            'a.test: not an Engine.IO 4 handshake '
            '(check the URL, engineio_path and the version of the server)',
        ),
        (
            ProtocolError("a.test: no HTTP: begins '\\x15\\x03\\x01'"),
            "a.test: no HTTP: begins '\\x15\\x03\\x01' "
            '(the port speaks TLS: use https:// or wss://)',
        ),
        (
            ConnectionClosed('a.test: [SSL: WRONG_VERSION_NUMBER]'),
            'a.test: [SSL: WRONG_VERSION_NUMBER] '
            '(the port does not speak TLS: use http:// or ws://)',
        ),
        (
            ConnectionClosed('a.test: wrong version number'),
            'a.test: wrong version number (the port does not speak TLS: use http:// or ws://)',
        ),
    ],
)
def test_what_an_error_says(cause, text):
    error = connection_error(cause, 'a.test')
    assert isinstance(error, ConnectionError)
    assert error.args == ((text, None) if isinstance(cause, HTTPError) else (text,))


def test_an_error_with_the_body_of_the_server(world):
    error = connection_error(HTTPError('a.test: status 400', 400, {'code': 3}), 'a.test')
    assert error.args == ('a.test: status 400', {'code': 3})
    error = connection_error(HTTPError('a.test: status 404', 404, []), 'a.test')
    assert error.args == ('a.test: status 404 (check engineio_path)', [])


class Mine(Exception):
    """What a caller gives to gevent.Timeout, or to Greenlet.kill()."""


@pytest.mark.parametrize('where', ['polling', 'probe'])
def test_an_exception_of_the_caller_s(world, where):
    """It is raised as it is, no second transport is tried, and nothing stays open."""

    def wait(transport):
        reached.set()
        Event().wait()

    reached = Event()
    world.on_open[where] = wait
    connecting = gevent.spawn(pytest.raises, Mine, world.connect)
    assert reached.wait(5)
    connecting.kill(Mine(), block=False)
    connecting.get(timeout=5)
    settle()
    assert world.session.phase is CLOSED
    assert world.ends == ([] if where == 'polling' else [Reason.CLIENT_DISCONNECT])
    assert 'finish' in world.polling.log or where == 'polling'


def test_a_log_that_raises(world):
    """It changes nothing: polling goes on after an upgrade that fails."""

    class Broken(logging.Filter):
        def filter(self, record):
            raise Mine

    def fail(transport):
        raise TypeError('no such option')

    world.on_open['probe'] = fail
    logger = logging.getLogger('test.broken')
    logger.addFilter(broken := Broken())
    try:
        assert world.connect(logger=logger) == ('polling', 'polling')
        world.handlers['connect'] = lambda: 1 / 0
        with pytest.raises(ConnectionError, match='division by zero'):
            world.connect(logger=logger)
    finally:
        logger.removeFilter(broken)
