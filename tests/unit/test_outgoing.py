"""What a session sends, and what it makes of a transport that takes it slowly or not at all."""

from __future__ import annotations

import logging
import threading

import gevent
import pytest
from gevent.event import Event

from engineio_gevent import other_threads
from engineio_gevent.exceptions import ConnectionClosed
from engineio_gevent.handler_calls import HandlerCalls
from engineio_gevent.outgoing import Outgoing, interrupts_sending
from engineio_gevent.protocol.packet import CLOSE, MESSAGE
from support import FakeTransport, eventually, in_thread, make_options, patience, settle


def test_before_there_is_a_transport():
    one = Outgoing(make_options(), HandlerCalls(make_options(), {}))
    assert (one.transport, one.transport_name, one.handshake_transport, one.unsent) == (
        None,
        None,
        None,
        0,
    )
    one.send('nobody hears it')
    assert one.unsent == 0


def test_a_transport():
    one = Outgoing(make_options(), HandlerCalls(make_options(), {}))
    transport = FakeTransport(None)
    one.attach(transport)
    assert one.transport is transport
    assert one.transport_name == one.handshake_transport == 'websocket'


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
    settle()
    assert 'wait 500' in room.transport.log
    assert not sending.ready()
    room.transport.room.set()
    sending.get(timeout=5)


def test_who_waits_for_room_waits_on_after_an_upgrade(room):
    room.transport.queued = 1001
    sending = gevent.spawn(room.session.send, 'x')
    settle()
    room.session.transport = websocket = FakeTransport(room.session)
    room.transport.close()
    settle()
    assert websocket.log == ['wait 500']
    assert not sending.ready()
    websocket.room.set()
    sending.get(timeout=5)


def test_what_an_ended_transport_does_not_take_is_counted(room):
    room.transport.queued = -1  # the session is yet to learn of its end
    others = []
    for number in range(2):
        gevent.spawn(others.append, number)
        room.session.send('dropped')
        assert others[-1:] == [number]  # a loop of such sends lets others run
    gevent.get_hub().loop.run_callback(room.session.send, 'dropped')
    settle()
    assert room.session.unsent == 3
    room.transport.unsent = 4
    assert room.session.unsent == 7
    room.transport.fail(ConnectionClosed('gone'))
    room.wait_end()
    assert room.session.transport is None
    assert room.session.unsent == 7


def test_what_an_ended_transport_does_not_take_costs_no_time(room):
    room.transport.queued = -1
    with gevent.Timeout(patience(5)):
        for _ in range(200):
            room.session.send('dropped')
    assert room.session.unsent == 200


def test_sending_after_the_end(room):
    room.session.disconnect()
    sent = list(room.transport.sent)
    room.session.send('nobody hears it')
    assert room.transport.sent == sent


class Queued:
    """Polling, at rest for the upgrade, with these packets."""

    def __init__(self, *packets):
        self.packets = packets

    def take_queued(self):
        return self.packets


def test_going_on_over_a_websocket(room):
    websocket = FakeTransport(None)
    room.session.transport_name = 'polling'
    room.session.switch(websocket, Queued('4one', b'two'), room.session)
    assert websocket.sent == ['5', '4one', b'two']
    assert (room.session.transport, room.session.transport_name) == (websocket, 'websocket')
    websocket.say((MESSAGE, 'hello'))
    room.transport.fail(ConnectionClosed('polling has ended'))
    settle()
    assert (room.messages, room.ends) == (['hello'], [])
    assert room.session.unsent == 0


def test_going_on_over_a_websocket_that_has_ended(room):
    """The messages are lost, and counted; a pong is no message."""
    websocket = FakeTransport(None)
    websocket.queued = -1
    room.session.switch(websocket, Queued('3', '4one', b'two'), room.session)
    assert room.session.unsent == 2
    assert websocket.sent_first == ['3']


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


def test_sending_together_without_waiting(room):
    room.transport.queued = 10_000
    room.session.send_together(['x', b'y'], wait=False)
    room.session.send_together([], wait=True)
    assert room.transport.sent == ['4x', b'y']
    assert 'wait 500' not in room.transport.log


def test_sending_together_waits_once(room):
    room.transport.queued = 10_000
    sending = gevent.spawn(room.session.send_together, ['x', b'y'], wait=True)
    settle()
    assert not sending.ready()
    assert room.transport.sent == ['4x', b'y']
    assert room.transport.log.count('wait 500') == 1
    room.transport.room.set()
    sending.get(timeout=5)


def test_sending_together_all_or_nothing(room):
    with pytest.raises(TypeError):
        room.session.send_together(['x', object()], wait=True)
    with pytest.raises(UnicodeEncodeError):
        room.session.send_together(['x', '\ud800'], wait=True)
    assert room.transport.sent == []


def test_what_an_ended_transport_does_not_take_together_is_counted(room):
    room.transport.queued = -1
    room.session.send_together(['x', 'y', 'z'], wait=False)
    assert room.session.unsent == 3


def test_no_log_handler_comes_between_messages_that_are_sent_together(make_room, caplog):
    class Interrupting(logging.Handler):
        def emit(self, record):
            if 'data one' in record.getMessage():
                room.session.send('between')

    caplog.set_level(logging.INFO)
    room = make_room(verbose=True).open()
    logging.getLogger('test').addHandler(handler := Interrupting())
    try:
        room.session.send_together(['one', 'two'], wait=True)
        settle()
    finally:
        logging.getLogger('test').removeHandler(handler)
    assert room.transport.sent == ['4one', '4two', '4between']


def test_a_connect_handler_sends(make_room):
    room = make_room(handlers={'connect': lambda: room.session.send('hello')})
    room.open()
    assert room.transport.sent == ['4hello']


def test_messages_that_are_sent_together_count_if_nothing_is_queued(room):
    room.session.send_together(['x', b'y', 'z'], wait=True)
    assert room.transport.sent == ['4x', b'y', '4z']
    assert room.session.unsent == 0


@pytest.mark.parametrize(('queued', 'waits'), [([0, 0, 1001], True), ([0, 1001, 1000], False)])
def test_what_is_queued_after_the_last_message_counts(room, queued, waits):
    sizes = iter(queued)
    room.transport.send = lambda packet: next(sizes, 0)
    room.transport.room.set()
    room.session.send_together(['x', 'y', 'z'], wait=True)
    assert ('wait 500' in room.transport.log) == waits


def test_a_transport_that_ends_within_messages_that_are_sent_together(room):
    sizes = iter([0, -1, -1])
    room.transport.send = lambda packet: next(sizes, 0)
    room.session.send_together(['x', 'y', 'z'], wait=True)
    assert room.session.unsent == 2


def test_sending_within_the_farewell(room):
    """The application has left."""
    room.transport.farewell.clear()
    leaving = gevent.spawn(room.session.disconnect)
    settle()
    room.session.send('late')
    room.session.send_together(['late'], wait=True)
    assert room.transport.sent == []
    room.transport.farewell.set()
    leaving.get(timeout=5)


def test_sending_together_after_the_end(room):
    room.session.disconnect()
    sent = list(room.transport.sent)
    room.session.send_together(['nobody hears it'], wait=True)
    assert room.transport.sent == sent


def test_sending_in_a_forked_child(room):
    room.session.abandon()
    with pytest.raises(RuntimeError, match='parent process'):
        room.session.send('x')
    with pytest.raises(RuntimeError, match='parent process'):
        room.session.send_together(['x'], wait=True)


@pytest.mark.parametrize('verbose', [False, True])
def test_messages_are_logged_if_that_is_asked_for(make_room, caplog, verbose):
    caplog.set_level(logging.INFO)
    room = make_room(verbose=verbose).open()
    settle()
    caplog.clear()
    room.session.send('one')
    room.session.send_together(iter(['two', b'secret']), wait=True)
    settle()
    logged = [record.getMessage() for record in caplog.records]
    expected = ['one', 'two', '<binary>'] if verbose else []
    assert logged == [f'Sending packet MESSAGE data {data}' for data in expected]


def test_messages_are_logged_after_what_happened_before(make_room, caplog):
    caplog.set_level(logging.INFO)
    room = make_room(verbose=True).open()
    settle()
    caplog.clear()
    room.session.info('before')
    room.session.send('one')
    logged = [record.getMessage() for record in caplog.records]
    assert logged == ['before', 'Sending packet MESSAGE data one']


def test_what_went_wrong_is_logged_in_any_case(room, caplog):
    room.session.warning('look at %s', 'this')
    assert caplog.records == []
    room.session.flush_log()
    try:
        raise ValueError('the cause')
    except ValueError:
        room.session.log_error('what failed')
    assert [record.getMessage() for record in caplog.records] == ['look at this', 'what failed']
    assert 'the cause' in caplog.text


# -- From other native threads ---------------------------------------------------------------------


def before_the_hub_runs(function, *arguments):
    """Call a function in a native thread, and let this hub do nothing meanwhile."""
    thread = threading.Thread(target=function, args=arguments)
    thread.start()
    thread.join()


def test_the_hub_of_a_session_is_that_of_its_thread(room):
    assert room.session.hub is gevent.get_hub()


def test_messages_from_another_thread(room):
    """They wait for the hub, in order, and are sent once."""
    before_the_hub_runs(room.session.send, 'one')
    before_the_hub_runs(room.session.send_together, ['two', b'three'], True)
    assert room.transport.sent == []
    assert room.session.unsent == 3
    settle()
    assert room.transport.sent == ['4one', '4two', b'three']
    assert room.session.unsent == 0
    before_the_hub_runs(room.session.send, 'four')
    settle()
    assert room.transport.sent == ['4one', '4two', b'three', '4four']


def test_a_connect_handler_waits_for_another_thread_that_sends(make_room):
    room = make_room(handlers={'connect': lambda: in_thread(room.session.send, 'x')})
    room.open()
    settle()
    assert room.transport.sent == ['4x']


def test_messages_from_another_thread_that_come_too_late_are_counted(room):
    before_the_hub_runs(room.session.send, 'lost')
    room.transport.say((CLOSE, ''))
    settle()
    assert (room.transport.sent, room.session.unsent) == ([], 1)
    room.wait_end()
    in_thread(room.session.send, 'not even counted')
    assert (room.transport.sent, room.session.unsent) == ([], 1)


def test_messages_from_another_thread_are_lost_while_the_disconnect_handler_runs(make_room):
    room = make_room(handlers={'disconnect': lambda reason: may_end.wait()}).open()
    may_end = Event()
    before_the_hub_runs(room.session.send, 'lost')
    room.transport.say((CLOSE, ''))
    settle()
    assert room.transport.sent == []
    may_end.set()
    room.wait_end()
    assert (room.transport.sent, room.session.unsent) == ([], 1)


def test_messages_from_another_thread_are_logged_there(make_room, caplog):
    caplog.set_level(logging.INFO)
    room = make_room(verbose=True).open()
    settle()
    caplog.clear()
    in_thread(room.session.send, 'one')
    (record,) = caplog.records
    assert record.getMessage() == 'Sending packet MESSAGE data one'
    assert record.thread != threading.get_ident()


def test_messages_from_another_thread_that_an_ended_transport_does_not_take(room):
    room.transport.queued = -1
    in_thread(room.session.send_together, ['x', 'y'], True)
    settle()
    assert room.session.unsent == 2


def test_a_hub_that_is_destroyed_just_before_another_thread_sends(make_room, monkeypatch):
    """After the check whether it has ended."""
    room = make_room()
    in_thread(lambda: (room.open(), gevent.get_hub().destroy(destroy_loop=True)))
    monkeypatch.setattr(other_threads.Inbox, 'has_ended', False)
    with pytest.raises(RuntimeError, match='has ended'):
        room.session.send('x')


@pytest.mark.parametrize(
    ('transport', 'bad', 'good'),
    [('websocket', '\ud800', '\x1e'), ('polling', 'a\x1eb', 'x'), ('polling', '\ud800', b'x')],
)
@pytest.mark.parametrize('together', [False, True])
def test_what_cannot_be_encoded_is_the_other_thread_s_error(room, transport, bad, good, together):
    """Nothing of it reaches the hub."""
    room.session.transport_name = transport
    with pytest.raises(ValueError, match=r'surrogates|separates'):
        if together:
            in_thread(room.session.send_together, [good, bad], True)
        else:
            in_thread(room.session.send, bad)
    in_thread(room.session.send, good)
    settle()
    assert len(room.transport.sent) == 1
    assert room.session.unsent == 0


def test_sending_over_a_connection_whose_thread_has_ended(make_room):
    room = make_room()
    in_thread(lambda: (room.open(), gevent.sleep(0)))
    assert eventually(lambda: room.session.hub.dead)
    with pytest.raises(RuntimeError, match='has ended'):
        room.session.send('x')
    with pytest.raises(RuntimeError, match='has ended'):
        room.session.send_together(['x'], wait=False)
    assert (room.transport.sent, room.session.unsent) == ([], 0)


# -- Signal handlers -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ('module', 'sends'),
    [
        ('engineio_gevent.outgoing', True),
        ('engineio_gevent.net.stream', True),
        ('engineio_gevent.transports.websocket', True),
        ('engineio_gevent.session', False),
        ('engineio_gevent.network', False),
        ('application', False),
    ],
)
def test_whether_the_current_greenlet_sends(module, sends):
    """Whatever has called what a signal handler calls."""
    code = 'def call(function):\n    return function()\n'
    namespace = {'__name__': module}
    exec(code, namespace)
    assert interrupts_sending() is False
    assert namespace['call'](lambda: interrupts_sending()) is sends
    assert namespace['call'](interrupts_sending) is sends
    assert gevent.spawn(interrupts_sending).get(timeout=5) is False


def test_disconnecting_in_a_signal_handler_during_send(room):
    """The transport may be half changed: a greenlet does it."""

    def send(data):
        room.session.disconnect()
        states.append(room.session.state)
        return sent(data)

    states, sent = [], room.transport.send
    room.transport.send = send
    room.session.send('x')
    assert states == ['connected']
    room.wait_end()
    assert room.transport.sent == ['4x']


@pytest.mark.parametrize('together', [False, True])
def test_nothing_is_sent_after_the_end_by_a_json_module_that_waits(make_room, together):
    """Its time is the caller's: the CLOSE packet goes out meanwhile. What is late is unsent."""

    def dumps(data, **options):
        waiting.set()
        may_go_on.wait()
        return '{}'

    waiting, may_go_on = Event(), Event()
    room = make_room(dumps=dumps).open()
    session = room.session
    send = (lambda: session.send_together([{}, 'x'], wait=True)) if together else None
    sending = gevent.spawn(send or (lambda: session.send({})))
    waiting.wait()
    room.transport.farewell.clear()
    leaving = gevent.spawn(session.disconnect)
    settle()
    assert session.state == 'disconnecting'
    may_go_on.set()
    sending.get(timeout=5)
    assert room.transport.sent == []
    room.transport.farewell.set()
    leaving.get(timeout=5)
    assert session.unsent == (2 if together else 1)
