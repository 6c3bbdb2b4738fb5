"""Random rounds with fixed seeds; `script.py` draws them, `machine.py` has what must hold.

ENGINEIO_GEVENT_MODEL_SECONDS sets how long; `make test-all` runs a minute.
"""

from __future__ import annotations

import os
from dataclasses import replace

import gevent
import pytest
from model.run import Run
from model.script import THEMES, WAYS, Script, Setup, Step, draw

import engineio_gevent
import support

SECONDS = float(os.environ.get('ENGINEIO_GEVENT_MODEL_SECONDS', '8'))


@pytest.fixture
def run():
    support.need_node(support.JS_SERVER.parent)
    one = Run()
    yield one
    one.servers.stop()


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
    rules = 'connect words send disconnect wait kill plan act server rest'
    assert {step.do for step in steps} == set(rules.split())
    assert {step.args.get('way') for step in steps} == {None, *WAYS}
    assert {script.setup.theme for script in scripts} == set(THEMES)
    assert {(one.setup.kind, one.setup.flavour) for one in scripts} == {
        (kind, flavour) for kind in ('js', 'python') for flavour in ('calm', 'brisk', 'private')
    }


SETUP = Setup('python', 'calm', 1, False, 1 << 20, 'mixed')


def find(run, *steps, **setup):
    """The kinds of what these steps find."""
    script = Script(0, replace(SETUP, **setup), list(steps))
    return {finding.kind for finding in run.batch([script])}


CONNECT = Step('connect', name='t1', args={'way': 'websocket'}, pace='done')
SEND = Step('send', name='t2', args={'kind': 'text', 'count': 3, 'size': 0}, pace='done')
DISCONNECT = Step('disconnect', name='t3', pace='done')


@pytest.mark.parametrize('kind', ['js', 'python'])
def test_nothing_is_found_where_nothing_is_wrong(run, kind):
    assert find(run, CONNECT, SEND, DISCONNECT, kind=kind) == set()


def test_a_disconnect_handler_that_runs_twice_is_found(run, monkeypatch):
    on = engineio_gevent.Client.on

    def twice(client, event, handler):
        def both(reason):
            handler(reason)
            handler(reason)

        on(client, event, both if event == 'disconnect' else handler)

    monkeypatch.setattr(engineio_gevent.Client, 'on', twice)
    assert find(run, CONNECT, DISCONNECT) == {'handlers'}


def test_a_lost_message_is_found(run, monkeypatch):
    send = engineio_gevent.Client.send
    monkeypatch.setattr(
        engineio_gevent.Client,
        'send',
        lambda client, data: None if ' 1 ' in data else send(client, data),
    )
    assert find(run, CONNECT, SEND, DISCONNECT) == {'delivery'}


def test_messages_out_of_order_are_found(run, monkeypatch):
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


def test_a_greenlet_that_is_left_is_found(run, monkeypatch):
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


def test_a_connection_that_no_client_owns_is_found(run, monkeypatch):
    orphans = []
    disconnect = engineio_gevent.Client.disconnect

    def forget(client, **kwargs):
        orphans.append(client._session)
        client._session = None

    monkeypatch.setattr(engineio_gevent.Client, 'disconnect', forget)
    try:
        assert 'orphan' in find(run, CONNECT, DISCONNECT)
    finally:
        monkeypatch.setattr(engineio_gevent.Client, 'disconnect', disconnect)
        for session in filter(None, orphans):
            session.disconnect(abort=True)
