"""Ctrl-C in a script: the clients leave, and KeyboardInterrupt arrives, soon."""

import pytest

import support

BOUND = 1.5
"""Seconds from the signal to KeyboardInterrupt, whatever the servers do."""

THREE_WAYS = [['polling'], ['websocket'], None]

DOINGS = ['wait', 'sleep', 'spin', 'compute', 'send', 'connect', 'disconnect', 'slow handler']


def interrupt(program, server, doing, *, dead=False, ways=THREE_WAYS, **options):
    """Run `programs/interrupted.py`; what it says at its end."""
    if doing == 'connect' and dead:
        server.suspend()
    one = program(
        'interrupted.py',
        server.url,
        ways,
        doing,
        {'request_timeout': 60, 'write_limit': 10_000, **options},
    )
    try:
        assert one.hear() == 'ready'
        if dead and doing != 'connect':
            server.suspend()
        one.tell()
        said = one.hear()
        assert one.end() == []
        assert one.process.returncode == 0, one.stderr
        assert 'BlockingSwitchOutError' not in one.stderr  # gevent may say KeyboardInterrupt
        return said
    finally:
        if dead:
            server.resume()


@pytest.mark.parametrize('doing', DOINGS)
def test_dead_peer(make_js_server, program, doing):
    """Each of the three ways to be connected, at once; the server does nothing more."""
    said = interrupt(program, make_js_server(), doing, dead=True)
    assert said['took'] < support.patience(BOUND)
    if doing == 'disconnect':  # it is under way, and what is interrupted is that
        assert said['ended'][:2] == ['client disconnect'] * 2
    elif doing != 'connect':
        assert said['ended'] == ['client disconnect'] * 3


@pytest.mark.parametrize('doing', ['wait', 'sleep', 'spin', 'compute'])
def test_live_peer(js_server, program, doing):
    said = interrupt(program, js_server, doing)
    assert said['took'] < support.patience(BOUND)
    assert said['states'] == ['disconnected'] * 3
    assert said['ended'] == ['client disconnect'] * 3


def test_live_peer_takes_no_time(js_server, program):
    """The bound is for the dead: of one second nothing is spent where the server answers."""
    assert interrupt(program, js_server, 'sleep')['took'] < support.patience(0.75)


def test_many_clients_of_a_dead_peer(make_js_server, program):
    """All of them together have the time of one."""
    said = interrupt(program, make_js_server(), 'wait', dead=True, ways=THREE_WAYS * 20)
    assert said['took'] < support.patience(BOUND)
    assert said['ended'] == ['client disconnect'] * 60


@pytest.mark.parametrize('doing', ['block', 'hog'])
def test_no_greenlet_can_run(js_server, program, doing):
    """One signal is enough, though the clients cannot leave before KeyboardInterrupt."""
    said = interrupt(program, js_server, doing)
    assert said['took'] < support.patience(BOUND)
    assert said['ended'] == []


@pytest.mark.parametrize(
    ('doing', 'dead'),
    [('wait', False), ('sleep', False), ('wait', True), ('sleep', True), ('connect', True)],
)
def test_handle_sigint_off(make_js_server, program, doing, dead):
    """Every signal's handler and the wake-up descriptor are the same, and nobody leaves."""
    said = interrupt(program, make_js_server(), doing, dead=dead, handle_sigint=False)
    assert said['untouched'] is True
    assert said['ended'] == []
    assert said['took'] < support.patience(0.75)
    assert said['states'] == ['disconnected' if doing == 'connect' else 'connected'] * 3


def test_only_sigint_is_touched_and_put_in_front(js_server, program):
    """By default our handler is there, which `test_handle_sigint_off` shows to be visible."""
    assert interrupt(program, js_server, 'sleep')['untouched'] is False
