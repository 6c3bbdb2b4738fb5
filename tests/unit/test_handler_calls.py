"""The handlers of a session and its log: their order, and where they may wait or raise."""

from __future__ import annotations

import contextvars
import logging

import gevent
import pytest
from gevent.event import Event

from engineio_gevent.exceptions import ConnectionClosed
from engineio_gevent.handler_calls import HandlerCalls
from engineio_gevent.options import Reason
from engineio_gevent.protocol.packet import MESSAGE
from support import OPENED, eventually, make_options, settle


def test_a_message_handler_that_raises(make_room, caplog):
    """It is logged, and the next message comes all the same."""
    seen = []
    room = make_room(handlers={'message': lambda data: seen.append(data) or 1 / 0}).open()
    room.transport.say((MESSAGE, 'one'), (MESSAGE, 'two'))
    settle()
    assert seen == ['one', 'two']
    assert [record.name for record in caplog.records] == ['test'] * 2
    assert room.session.state == 'connected'


def test_parse_json_off(make_room):
    room = make_room(parse_json=False).open()
    room.transport.say((MESSAGE, '{"a":1}'), (MESSAGE, 'null'))
    assert eventually(lambda: room.messages == ['{"a":1}', 'null'])


def test_no_handlers_at_all(make_room, caplog):
    room = make_room()
    room.handlers.clear()
    room.open()
    room.transport.say((MESSAGE, 'x'))
    settle()
    room.transport.fail(ConnectionClosed('gone'))
    room.wait_end()
    assert room.session.state == 'disconnected'
    assert caplog.records == []


def test_a_disconnect_handler_that_raises(make_room, caplog):
    room = make_room(handlers={'disconnect': lambda reason: 1 / 0}).open()
    room.session.disconnect()
    assert [record.name for record in caplog.records] == ['test']
    assert room.session.state == 'disconnected'


def test_a_log_handler_may_wait(make_room):
    """The packets come in the hub, where nothing may."""

    class Waiting(logging.Handler):
        def emit(self, record):
            gevent.sleep(0)
            logged.append(record.getMessage())

    logged = []
    logger = logging.getLogger('test.waiting')
    logger.setLevel(logging.INFO)
    logger.addHandler(handler := Waiting())
    try:
        room = make_room(verbose=True, logger=logger).open()
        gevent.get_hub().loop.run_callback(room.transport.say, (MESSAGE, 'hello'))
        settle()
        assert 'Received packet MESSAGE data hello' in logged
        assert room.messages == ['hello']
        room.session.disconnect()
    finally:
        logger.removeHandler(handler)


def test_a_log_handler_that_waits_delays_no_packet_and_no_handler(make_room):
    """connect() itself waits for it, when all is done."""

    class Waiting(logging.Handler):
        def emit(self, record):
            may_go_on.wait()

    may_go_on = Event()
    logger = logging.getLogger('test.waiting_long')
    logger.setLevel(logging.INFO)
    logger.addHandler(handler := Waiting())
    try:
        room = make_room(verbose=True, logger=logger)
        opening = gevent.spawn(room.open)
        settle()
        room.transport.say((MESSAGE, 'hello'))
        settle()
        assert room.messages == ['hello']
        assert not opening.ready()
        may_go_on.set()
        opening.get(timeout=5)
    finally:
        logger.removeHandler(handler)


def test_no_line_is_lost_if_the_program_ends(make_room, caplog):
    """What was done is logged when the call returns."""
    caplog.set_level(logging.INFO)
    room = make_room(verbose=True).open()
    assert 'Received packet OPEN' in caplog.text
    room.session.send('one')
    assert 'Sending packet MESSAGE data one' in caplog.text
    room.session.disconnect()
    assert 'Sending packet CLOSE' in caplog.text


def test_a_greenlet_that_a_handler_spawned_waits_for_the_end(make_room):
    """It runs no handler."""
    spawned = []
    room = make_room(
        handlers={'message': lambda data: spawned.append(gevent.spawn(room.session.disconnect))}
    ).open()
    room.transport.farewell.clear()
    room.transport.say((MESSAGE, 'one'), (MESSAGE, 'two'))
    settle()
    assert not any(one.ready() for one in spawned)
    room.transport.farewell.set()
    gevent.joinall(spawned, timeout=5, raise_error=True)
    assert all(one.ready() for one in spawned)


def test_handlers_that_disconnect_while_another_greenlet_does(make_room):
    """They return at once; or a burst of them would keep as many greenlets waiting."""
    returned = []
    room = make_room(
        handlers={'message': lambda data: (room.session.disconnect(), returned.append(data))}
    ).open()
    room.transport.farewell.clear()
    room.transport.say(*((MESSAGE, str(number)) for number in range(200)))
    settle()
    assert returned == [str(number) for number in range(1, 200)]  # the first one does it
    room.transport.farewell.set()
    room.wait_end()
    assert returned[-1] == '0'
    assert room.ends == [(Reason.CLIENT_DISCONNECT, 'disconnecting')]


def test_a_connect_handler_that_disconnects_while_another_greenlet_does(make_room):
    def connect():
        leaving.start()
        settle()
        assert room.session.state == 'disconnecting'
        room.session.disconnect()
        returned.set()

    returned = Event()
    room = make_room(handlers={'connect': connect})
    leaving = gevent.Greenlet(lambda: room.session.disconnect())
    room.transport.farewell.clear()
    with gevent.Timeout(2):
        room.open()
    assert returned.is_set()
    assert not leaving.ready()
    room.transport.farewell.set()
    leaving.get(timeout=5)


def test_a_disconnect_handler_may_wait_and_disconnect(make_room):
    """Which are both over at once: it would wait for its own end."""
    room = make_room()
    room.handlers['disconnect'] = lambda reason: (
        room.session.wait(),
        room.session.disconnect(),
        room.ends.append(reason),
    )
    room.open()
    with gevent.Timeout(2):
        room.session.disconnect()
    assert room.ends == [Reason.CLIENT_DISCONNECT]


def test_json_is_parsed(make_room):
    room = make_room(loads=lambda text: ('loaded', text)).open()
    room.transport.say((MESSAGE, '{"a":1}'), (MESSAGE, b'{"a":1}'))
    settle()
    assert room.messages == [('loaded', '{"a":1}'), b'{"a":1}']


def test_messages_before_a_connect_handler_that_disconnects(make_room):
    """None is delivered to an application that has left."""
    room = make_room(
        first=[OPENED, (MESSAGE, 'early')], handlers={'connect': lambda: room.session.disconnect()}
    )
    room.open()
    settle()
    assert room.messages == []


def test_the_caller_of_connect_waits_like_others_after_the_connect_handler(make_room):
    """It runs no handler any more."""
    room = make_room(handlers={'connect': lambda: None}).open()
    room.transport.farewell.clear()
    leaving = gevent.spawn(room.session.disconnect)
    settle()
    gevent.get_hub().loop.run_callback(lambda: gevent.spawn(room.transport.farewell.set))
    room.session.disconnect()
    assert room.session.state == 'disconnected'
    leaving.get(timeout=5)


def test_the_disconnect_handler_in_the_greenlet_of_the_caller():
    def disconnect(reason):
        seen.append((reason, calls.in_disconnect_handler(), calls.in_handler()))
        seen.append(gevent.spawn(calls.in_disconnect_handler).get(timeout=5))

    seen = []
    calls = HandlerCalls(make_options(), {'disconnect': disconnect})
    assert not calls.in_disconnect_handler()
    calls.disconnect_here('why', lambda: seen.append('after'))
    assert seen == [('why', True, False), False, 'after']
    assert not calls.in_disconnect_handler()


@pytest.mark.parametrize('wanted', [True, False])
def test_messages_are_held_back(wanted):
    """They are delivered when that ends, or not at all."""
    seen = []
    calls = HandlerCalls(make_options(), {'message': seen.append})
    calls.hold('one')
    calls.hold('two')
    settle()
    assert seen == []
    if not wanted:
        calls.drop_held()
    calls.release()
    calls.hold('late')
    calls.release()
    settle()
    assert seen == (['one', 'two'] if wanted else [])


# -- The end --------------------------------------------------------------------------------------


@pytest.fixture
def make_calls():
    """Make a `HandlerCalls`; its end is noted as 'before' and 'after'."""

    class Ending(HandlerCalls):
        __slots__ = ('seen',)

        def end(self, **arguments):
            before, after = (
                (lambda: self.seen.append('before')),
                (lambda: self.seen.append('after')),
            )
            self.disconnect('why', before, after, **arguments)

    def make(handlers=(), **options):
        seen = []
        calls = Ending(make_options(**options), dict.fromkeys(handlers, seen.append))
        calls.seen = seen
        return calls

    return make


def test_without_a_handler_the_end_is_at_once(make_calls):
    calls = make_calls()
    assert not calls.ending
    calls.end()
    assert calls.seen == ['before', 'after']
    assert calls.ending
    calls.end(at_once=False)  # Ctrl-C may have come just before it was noted
    settle()
    assert calls.seen == ['before', 'after']


def test_the_end_may_be_told_to_come_later(make_calls):
    calls = make_calls()
    calls.end(at_once=False)
    assert (calls.seen, calls.ending) == ([], True)
    settle()
    assert calls.seen == ['before', 'after']


def test_the_end_comes_after_the_messages(make_calls):
    calls = make_calls(['message'])
    calls.hold('one')
    calls.release()
    calls.end()
    assert calls.seen == []
    settle()
    assert calls.seen == ['one', 'before', 'after']


def test_the_disconnect_handler_runs_once(make_calls):
    """Although an end that was interrupted is told again."""
    calls = make_calls(['disconnect'])
    calls.end()
    assert (calls.seen, calls.ending) == ([], True)
    calls.end()
    settle()
    assert calls.seen == ['before', 'why', 'after']


def test_a_forked_child_calls_no_handler(make_calls):
    calls = make_calls(['message', 'disconnect'])
    calls.hold('one')
    calls.release()
    calls.end()
    calls.abandon()
    settle()
    assert calls.seen == ['before', 'after']


# -- The log --------------------------------------------------------------------------------------


_variable = contextvars.ContextVar('_variable', default='of nobody')


@pytest.fixture
def log():
    """A logger whose filter notes the level, the text and the value of a context variable."""

    def note(record):
        logger.noted.append((record.levelname, record.getMessage(), _variable.get()))
        return True

    logger = logging.getLogger('test.noting')
    logger.setLevel(logging.INFO)
    logger.noted = []
    logger.addFilter(note)
    yield logger
    logger.removeFilter(note)


def in_hub(function):
    """Call a function in the hub; what it returns."""
    found = []
    gevent.get_hub().loop.run_callback(lambda: found.append(function()))
    settle()
    return found[0]


def test_a_log_filter_sees_the_variables_of_the_caller(make_calls, log):
    """In the hub there is no caller: it sees those of the connection."""
    token = _variable.set('of the connection')
    calls = make_calls(verbose=True, logger=log)
    _variable.set('of the caller')
    calls.info('by a greenlet')
    in_hub(lambda: calls.info('by the %s', 'hub'))
    _variable.reset(token)
    assert log.noted == [
        ('INFO', 'by a greenlet', 'of the caller'),
        ('INFO', 'by the hub', 'of the connection'),
    ]


def test_a_warning_is_logged_by_clients_that_log_nothing_else(make_calls, log):
    calls = make_calls(verbose=False, logger=log)
    calls.info('needless')
    calls.warning('look at %s', 'this')
    assert log.noted == []
    calls.flush_log()
    assert [one[:2] for one in log.noted] == [('WARNING', 'look at this')]


def test_nothing_is_logged_in_the_hub(make_calls, log):
    calls = make_calls(verbose=True, logger=log)

    def flush():
        calls.info('later')
        calls.flush_log()
        return list(log.noted)

    assert in_hub(flush) == []
    assert [one[1] for one in log.noted] == ['later']


def test_an_error_is_logged_with_its_traceback(make_calls, caplog):
    calls = make_calls()
    try:
        raise ValueError('the cause')
    except ValueError:
        calls.log_error('what failed')
    assert [record.message for record in caplog.records] == ['what failed']
    assert 'the cause' in caplog.text


def test_a_log_that_raises_does_not_replace_the_error(make_calls, log):
    log.addFilter(broken := lambda record: 1 / 0)
    try:
        make_calls(logger=log).log_error('what failed')
    finally:
        log.removeFilter(broken)
    assert [one[:2] for one in log.noted] == [('ERROR', 'what failed')]
