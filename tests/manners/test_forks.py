"""Forks: the connection stays the parent's; the child is told so, and can have its own."""

import os

import pytest

HOWS = ['os.fork', 'gevent.fork', 'gevent.os.fork', 'patched', 'multiprocessing fork']


@pytest.mark.skipif(not hasattr(os, 'fork'), reason='no fork here')
@pytest.mark.parametrize('how', HOWS)
def test_fork_while_connected(js_server, program, way, how):
    one = program('forking.py', js_server.url, way, how, 'connected', {}, options=())
    lines = one.result()
    sid = lines[-2][2]
    own = [] if how == 'os.fork' else [['disconnect', False, 'client disconnect'], ['own', 'own']]
    assert lines == [
        ['answer', 'before'],
        ['errors', ['RuntimeError'] * 3],
        ['state', 'disconnected', 0],  # and none of the parent's sockets is held open
        *own,
        ['exit', 0],
        ['answer', 'after', sid],
        ['disconnect', True, 'client disconnect'],
    ]
    js_server.close_reason(sid)
    assert js_server.received(sid) == ['before', 'after']


@pytest.mark.skipif(not hasattr(os, 'fork'), reason='no fork here')
@pytest.mark.parametrize('how', ['gevent.fork', 'multiprocessing fork'])
def test_fork_with_tls(js_server_tls, program, way, how):
    """The end of the child's interpreter says no goodbye in the parent's TLS session."""
    one = program(
        'forking.py', js_server_tls.url, way, how, 'connected', {'ssl_verify': False}, options=()
    )
    lines = one.result()
    assert lines[1:3] == [['errors', ['RuntimeError'] * 3], ['state', 'disconnected', 0]]
    assert lines[-3:-1] == [['exit', 0], ['answer', 'after', lines[-2][2]]]


@pytest.mark.parametrize('how', ['spawn', 'forkserver'])
def test_processes_that_are_no_forks(js_server, program, how):
    """Nothing is theirs but what they make."""
    one = program('forking.py', js_server.url, None, how, 'connected', {}, options=())
    lines = one.result()
    assert lines[:4] == [
        ['answer', 'before'],
        ['disconnect', True, 'client disconnect'],
        ['own', 'own'],
        ['exit', 0],
    ]
    assert lines[4][:2] == ['answer', 'after']


@pytest.mark.skipif(not hasattr(os, 'fork'), reason='no fork here')
@pytest.mark.parametrize(
    ('way', 'stage'),
    [
        (['polling'], 'GET of the handshake'),
        (['websocket'], 'websocket handshake'),
        (['websocket'], 'open packet'),
        (None, 'websocket handshake'),
        (None, 'pong of the probe'),
    ],
)
def test_fork_while_connecting(staged_server, program, way, stage):
    """The parent's connect goes on as if nothing were; the child's ends, and holds nothing."""
    server = staged_server(stage)
    one = program(
        'forking.py',
        server.url,
        way,
        'gevent.fork',
        'connecting',
        {'request_timeout': 30},
        options=(),
    )
    assert server.reached.wait(20)
    one.tell()
    heard = [one.hear() for _ in range(2)]
    assert heard[0][0] == 'child connects'
    if way is None:
        assert heard[0][1] is None  # it had come up; what ended is the upgrade
    else:
        assert heard[0][1].startswith('ConnectionError: ')
    assert heard[1] == ['child', True, 'disconnected', 0]
    assert one.hear() == ['exit', 0]
    server.go_on.set()
    assert one.hear() == ['parent', [None]]
    assert one.hear() == ['answer', 'hello']
    assert one.result() == [['disconnect', True, 'client disconnect']]
    server.wait_open(0)
    assert server.packets[-2:] == ['4hello', '1']


@pytest.mark.skipif(not hasattr(os, 'fork'), reason='no fork here')
def test_fork_while_others_wait(js_server, program, way):
    """In the child, nothing waits for a server that is the parent's, and no timer runs."""
    options = {'request_timeout': 60}
    one = program('forking.py', js_server.url, way, 'gevent.fork', 'sending', options, options=())
    assert one.hear() == ['connected']
    js_server.suspend()
    try:
        one.tell()
        assert one.hear() == ['child', [True, True], 'RuntimeError']
        assert one.hear() == ['nothing left in its loop', True]
        assert one.hear() == ['exit', 0]
        assert one.hear() == ['parent', [False, False], 'connected']
    finally:
        js_server.resume()
    assert one.result() == [['disconnect', True, 'client disconnect']]
