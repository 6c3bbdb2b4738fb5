"""Random rounds with fixed seeds; `script.py` draws them, `checks.py` has what must hold.

ENGINEIO_GEVENT_MODEL_SECONDS sets how long; `make test-all` runs a minute.
"""

from __future__ import annotations

import contextlib
import os
import threading
from dataclasses import replace

import gevent
import pytest
from model import round as model_round
from model import run as model_run
from model.owned import ENDS
from model.run import Run
from model.script import EVENTS, SESSIONS, THEMES, WAYS, Script, Setup, Step, draw
from model.servers import Servers

import engineio_gevent
import support
from engineio_gevent import process
from engineio_gevent.heartbeat import Heartbeat
from engineio_gevent.session import Session

SECONDS = float(os.environ.get('ENGINEIO_GEVENT_MODEL_SECONDS', '4'))


@pytest.fixture(scope='module')
def servers():
    support.need_node(support.JS_SERVER.parent)
    one = Servers()
    yield one
    one.stop()


@pytest.fixture
def run(servers):
    one = Run()
    one.servers = servers
    return one


@pytest.mark.time_limit(SECONDS + 180)
def test_random_rounds(run):
    run.run(seconds=SECONDS)
    assert [str(finding) for finding in run.findings] == []
    assert run.rounds >= run.at_once


def test_the_same_seed_draws_the_same():
    assert str(draw(7)) == str(draw(7)) != str(draw(8))


def test_all_rules_are_drawn():
    scripts = [draw(seed) for seed in range(1000)]
    steps = [step for script in scripts for step in script.steps]
    rules = 'connect words send disconnect wait kill kill_handler plan act server rest'
    rules += ' owned foreign fork'
    assert {step.do for step in steps} == set(rules.split())
    assert {step.args.get('way') for step in steps} == {None, *WAYS}
    assert {step.args.get('own_error') for step in steps if 'limit' in step.args} == {None, True}
    assert {script.setup.theme for script in scripts} == set(THEMES)
    assert {event for script in scripts for event in script.setup.missing} == set(EVENTS)
    assert {script.setup.session for script in scripts} == set(SESSIONS)
    assert {(one.setup.kind, one.setup.flavour) for one in scripts} == {
        (kind, flavour) for kind in ('js', 'python') for flavour in ('calm', 'brisk', 'private')
    }


SETUP = Setup('python', 'calm', 1, False, 1 << 20, 'mixed')


def find(run, *steps, **setup):
    """The kinds of what these steps find."""
    script = Script(0, replace(SETUP, **setup), list(steps))
    return {text.partition(':')[0] for finding in run.batch([script]) for text in finding.texts}


CONNECT = Step('connect', name='t1', args={'way': 'websocket'}, pace='done')
SEND = Step('send', name='t2', args={'kind': 'text', 'count': 3, 'size': 0}, pace='done')
SILENCE = Step('act', args={'what': 'silence'})
DISCONNECT = Step('disconnect', name='t3', pace='done')


@pytest.mark.parametrize('kind', ['js', 'python'])
def test_nothing_is_found_where_nothing_is_wrong(run, kind):
    assert find(run, CONNECT, SEND, DISCONNECT, kind=kind) == set()
    assert find(run, CONNECT, SILENCE, kind=kind, flavour='brisk') == set()


@pytest.mark.parametrize('missing', [EVENTS[:1], EVENTS[1:2], EVENTS[2:], EVENTS])
def test_nothing_is_found_without_handlers(run, missing):
    messages = Step('act', args={'what': 'send', 'count': 3, 'size': 0})
    assert find(run, CONNECT, SEND, messages, DISCONNECT, CONNECT, missing=missing) == set()


@pytest.mark.parametrize('session', SESSIONS)
def test_nothing_is_found_with_options(run, session):
    """Of the connect(): an HTTP session, and a second transport."""
    upgraded = replace(CONNECT, args={'way': 'upgraded'})
    options = {'session': session, 'try_all': True, 'remember': True}
    assert find(run, upgraded, SEND, DISCONNECT, upgraded, SEND, DISCONNECT, **options) == set()
    polling = replace(CONNECT, args={'way': 'polling'})
    assert find(run, polling, SEND, DISCONNECT, **options) == set()


@pytest.fixture
def short_rest(monkeypatch):
    """A finding that does not go away takes no long wait."""
    monkeypatch.setattr(model_round, 'REST', 0.2)
    monkeypatch.setattr(model_run, 'LEFT', 0.2)


def test_a_disconnect_handler_that_runs_twice_is_found(run, short_rest, monkeypatch):
    on = engineio_gevent.Client.on

    def twice(client, event, handler):
        def both(reason):
            handler(reason)
            handler(reason)

        on(client, event, both if event == 'disconnect' else handler)

    monkeypatch.setattr(engineio_gevent.Client, 'on', twice)
    assert find(run, CONNECT, DISCONNECT) == {'handlers'}


def test_a_lost_message_is_found(run, short_rest, monkeypatch):
    send = engineio_gevent.Client.send
    monkeypatch.setattr(
        engineio_gevent.Client,
        'send',
        lambda client, data: None if ' 1 ' in data else send(client, data),
    )
    assert find(run, CONNECT, SEND, DISCONNECT) == {'delivery'}


def test_messages_out_of_order_are_found(run, short_rest, monkeypatch):
    send = engineio_gevent.Client.send
    held = []

    def later(client, data):
        if ' 1 ' in data:
            held.append(data)
            return
        send(client, data)
        while held:
            send(client, held.pop())

    monkeypatch.setattr(engineio_gevent.Client, 'send', later)
    assert find(run, CONNECT, SEND, DISCONNECT) == {'delivery'}


def test_a_greenlet_that_is_left_is_found(run, short_rest, monkeypatch):
    left = []
    disconnect = engineio_gevent.Client.disconnect

    def leave(client, **kwargs):
        left.append(gevent.spawn(gevent.sleep, 60))
        disconnect(client, **kwargs)

    monkeypatch.setattr(engineio_gevent.Client, 'disconnect', leave)
    try:
        assert find(run, CONNECT, DISCONNECT) == {'left'}
    finally:
        gevent.killall(left)


def test_a_connection_that_no_client_owns_is_found(run, short_rest, monkeypatch):
    orphans = []

    def forget(client, data):
        orphans.append(client._session)
        client._session = None

    monkeypatch.setattr(engineio_gevent.Client, 'send', forget)
    try:
        assert 'orphan' in find(run, CONNECT, SEND)
    finally:
        for session in filter(None, orphans):
            session.disconnect(abort=True)


def test_a_kill_that_is_swallowed_is_found(run, short_rest, monkeypatch):
    def swallow(client):
        with contextlib.suppress(gevent.GreenletExit):
            gevent.sleep(60)

    monkeypatch.setattr(engineio_gevent.Client, 'wait', swallow)
    wait = Step('wait', name='t2', pace='turn')
    kill = Step('kill', args={'which': 't2'}, pace='turn')
    assert 'swallowed' in find(run, CONNECT, wait, kill)


def test_a_time_limit_that_is_swallowed_is_found(run, short_rest, monkeypatch):
    """One with a class of its own: a plain Exception is thrown into the call."""

    def swallow(client):
        with contextlib.suppress(Exception):
            gevent.sleep(60)

    monkeypatch.setattr(engineio_gevent.Client, 'wait', swallow)
    wait = Step('wait', name='t2', args={'limit': 0.001, 'own_error': True}, pace='done')
    assert 'swallowed' in find(run, CONNECT, wait)


def test_a_time_limit_in_a_connect_handler(run):
    plan = Step('plan', args={'event': 'connect', 'operations': ['gate']})
    limited = replace(CONNECT, args={**CONNECT.args, 'limit': 0.05, 'own_error': True})
    assert find(run, plan, limited) == set()


def test_a_disconnect_that_waits_in_the_disconnect_handler_is_found(run, short_rest, monkeypatch):
    disconnect = engineio_gevent.Client.disconnect

    def later(client, **kwargs):
        gevent.sleep(0)
        disconnect(client, **kwargs)

    monkeypatch.setattr(engineio_gevent.Client, 'disconnect', later)
    plan = Step('plan', args={'event': 'disconnect', 'operations': ['disconnect']})
    assert find(run, CONNECT, plan, DISCONNECT) == {'bound'}


@pytest.mark.parametrize('missing', [(), EVENTS])
def test_a_wait_that_returns_too_early_is_found(run, short_rest, monkeypatch, missing):
    monkeypatch.setattr(engineio_gevent.Client, 'wait', lambda client: None)
    wait = Step('wait', name='t2', pace='done')
    assert find(run, CONNECT, wait, missing=missing) == {'wait'}


def test_messages_lost_without_handlers_are_found(run, short_rest, monkeypatch):
    monkeypatch.setattr(engineio_gevent.Client, 'send', lambda client, data: None)
    assert find(run, CONNECT, SEND, DISCONNECT, missing=EVENTS) == {'delivery'}


OWNED = Step('owned', args={'way': 'websocket', 'stay': 20, 'handler': False, 'end': 'destroy'})


def foreign(what, **args):
    return Step('foreign', args={'what': what, 'thread': True, **args}, pace='turn')


@pytest.mark.parametrize('end', ENDS)
def test_nothing_is_found_with_another_thread(run, end):
    owned = replace(OWNED, args={**OWNED.args, 'end': end}, pace='20 ms')
    calls = [foreign(what) for what in ('look', 'send', 'wait', 'abort')]
    rest = Step('rest')
    assert find(run, owned, *calls, rest, owned, calls[2], rest, owned, calls[1]) == set()


def test_a_connection_of_a_thread_that_does_not_end_is_found(run, short_rest, monkeypatch):
    monkeypatch.setattr(engineio_gevent.Client, 'disconnect', lambda *args, **kwargs: None)
    try:
        assert 'state' in find(run, OWNED)
    finally:
        for session in list(process._connections):
            session.disconnect()


def test_a_wait_for_a_thread_that_has_ended_is_found(run, short_rest, monkeypatch):
    ended = threading.Event()
    monkeypatch.setattr(engineio_gevent.Client, 'wait', lambda client: ended.wait())
    try:
        assert find(run, OWNED, foreign('wait')) == {'hang'}
    finally:
        ended.set()


def test_a_wait_that_does_not_wait_for_another_thread_is_found(run, short_rest, monkeypatch):
    monkeypatch.setattr(engineio_gevent.Client, 'wait', lambda client: None)
    owned = replace(OWNED, args={**OWNED.args, 'stay': 60})
    looks = [Step('foreign', args={'what': 'look', 'thread': False}, pace='20 ms')] * 5
    assert 'wait' in find(run, owned, *looks, foreign('wait'))


@pytest.mark.parametrize('way', WAYS)
def test_nothing_is_found_with_forks(run, way):
    connect = Step('connect', name='t1', args={'way': way})
    forks = [Step('fork', pace=pace) for pace in ('turn', '1 ms', '3 ms', '8 ms')]
    assert find(run, connect, *forks, CONNECT, SEND, *forks, DISCONNECT, *forks) == set()


def test_a_connection_that_a_fork_does_not_abandon_is_found(run, short_rest, monkeypatch):
    monkeypatch.setattr(Session, 'abandon', lambda session: None)
    assert find(run, CONNECT, Step('fork')) == {'fork'}


def test_a_call_that_waits_in_a_fork_is_found(run, short_rest, monkeypatch, capfd):
    parent, wait = os.getpid(), engineio_gevent.Client.wait

    def sleep(client):
        if os.getpid() != parent:
            gevent.sleep(0)
        wait(client)

    monkeypatch.setattr(engineio_gevent.Client, 'wait', sleep)
    assert find(run, CONNECT, Step('fork')) == {'fork'}
    assert 'lets other greenlets run' in capfd.readouterr().err


def test_a_heartbeat_that_does_not_end_is_found(run, short_rest, monkeypatch):
    monkeypatch.setattr(Heartbeat, 'beat', lambda heartbeat: None)
    assert find(run, CONNECT, SILENCE, flavour='brisk') == {'heartbeat'}


def test_a_connect_during_a_connection_is_found(run, short_rest, monkeypatch):
    """An error of another type than ValueError, too."""
    connect = engineio_gevent.Client.connect

    def drop_the_first(client, *args, **kwargs):
        if client.state == 'connected':
            client.disconnect()
        connect(client, *args, **kwargs)

    monkeypatch.setattr(engineio_gevent.Client, 'connect', drop_the_first)
    again = Step('connect', name='t2', args={'way': 'websocket'}, pace='done')
    assert 'connect' in find(run, CONNECT, again)
