"""Ctrl-C and forks: what the process owes its clients, and what it leaves alone."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from contextvars import copy_context
from types import SimpleNamespace

import gevent
import pytest
from gevent.event import Event

from engineio_gevent import process
from engineio_gevent.dispatcher import dispatchers
from support import eventually, in_thread, patience, settle


class Connection:
    """Notes what is asked of it; leaves when it may."""

    def __init__(self, log, name, handle_sigint=True, may_leave=True):
        self.log = log
        self.name = name
        self.handle_sigint = handle_sigint
        self.hub = gevent.get_hub()
        self.state = 'connected'
        self.may_leave = Event()
        if may_leave:
            self.may_leave.set()

    def disconnect(self, abort=False, reason=None):
        self.log.append(f'{self.name} leaves')
        self.may_leave.wait()
        process.discard(self)
        self.log.append(f'{self.name} left')

    def abandon(self):
        self.log.append(f'{self.name} abandoned')


class Hub:
    """One of another thread's, as far as it matters."""

    def __init__(self, loop):
        self.loop = loop


@pytest.fixture
def log():
    return []


@pytest.fixture(autouse=True)
def as_before(monkeypatch):
    """A clean slate, and the signal handler of pytest at the end."""
    before = signal.getsignal(signal.SIGINT)
    monkeypatch.setattr(process, '_connections', set())
    monkeypatch.setattr(process, 'SIGINT_TIMEOUT', 60)  # however busy the machine is
    yield
    signal.signal(signal.SIGINT, before)
    # KeyboardInterrupt reaches the main greenlet just before the greenlet of SIGINT ends.
    assert eventually(lambda: process._leaving is None)


@pytest.fixture
def installed():
    """SIGINT as in a plain program, and this package's handler."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    process.install_sigint()
    assert signal.getsignal(signal.SIGINT) is process._on_sigint


def interrupted():
    """Wait for the KeyboardInterrupt that SIGINT leads to."""
    with pytest.raises(KeyboardInterrupt):
        gevent.sleep(patience(5))


def strike():
    """Get SIGINT, of which the handler makes a KeyboardInterrupt at once."""
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)


def connect(log, name, **settings):
    one = Connection(log, name, **settings)
    process.add(one)
    return one


# -- SIGINT ----------------------------------------------------------------------------------------


def test_clients_leave_before_keyboard_interrupt(log, installed):
    connect(log, 'a')
    signal.raise_signal(signal.SIGINT)
    assert log == []  # nothing is done within the signal handler
    interrupted()
    assert log == ['a leaves', 'a left']


def test_a_signal_that_arrives_in_the_hub(log, installed):
    """Nobody may block there, and nobody does."""
    connect(log, 'a')
    threading.Timer(0.05, os.kill, (os.getpid(), signal.SIGINT)).start()
    interrupted()  # all of the wait is in the hub
    assert log == ['a leaves', 'a left']


def test_a_handler_that_chains_to_this_package_s(log, installed):
    ours = signal.getsignal(signal.SIGINT)

    def theirs(number, frame):
        log.append('theirs')
        ours(number, frame)

    signal.signal(signal.SIGINT, theirs)
    process.install_sigint()
    connect(log, 'a')
    signal.raise_signal(signal.SIGINT)
    interrupted()
    assert log == ['theirs', 'a leaves', 'a left']


def test_one_that_is_still_connecting_does_not_delay_keyboard_interrupt(log, installed):
    connect(log, 'a').state = 'disconnected'
    strike()
    assert log == []


def test_they_leave_together(log, installed):
    for name in 'abc':
        connect(log, name, may_leave=False)
    signal.raise_signal(signal.SIGINT)
    assert eventually(lambda: len(log) == 3)
    assert sorted(log) == ['a leaves', 'b leaves', 'c leaves']
    for one in list(process._connections):
        one.may_leave.set()
    interrupted()
    assert len(log) == 6


def test_a_farewell_that_hangs_is_not_awaited_for_ever(log, installed, monkeypatch):
    monkeypatch.setattr(process, 'SIGINT_TIMEOUT', 0.05)
    monkeypatch.setattr(process, 'HANDLER_TIMEOUT', 0.05)
    connect(log, 'a', may_leave=False)
    signal.raise_signal(signal.SIGINT)
    interrupted()
    assert log == ['a leaves', 'a leaves']  # the second time at once


def test_a_second_one_does_not_wait(log, installed):
    """There is one KeyboardInterrupt for both, so that what follows it is not interrupted."""
    one = connect(log, 'a', may_leave=False)
    signal.raise_signal(signal.SIGINT)
    assert eventually(lambda: log == ['a leaves'])
    strike()
    one.may_leave.set()
    assert eventually(lambda: process._leaving is None)
    settle()
    assert log == ['a leaves', 'a left']


def test_a_main_thread_that_blocks_is_interrupted_all_the_same(log, installed, monkeypatch):
    """By one signal, and by one KeyboardInterrupt. The clients leave when greenlets run again."""
    monkeypatch.setattr(process, 'SIGINT_TIMEOUT', 0.05)
    connect(log, 'a')
    signal.raise_signal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        time.sleep(patience(20))
    assert log == []
    assert eventually(lambda: process._leaving is None)
    settle()
    assert log == ['a leaves', 'a left']


def test_a_main_thread_that_computes_is_interrupted_all_the_same(log, installed, monkeypatch):
    monkeypatch.setattr(process, 'SIGINT_TIMEOUT', 0.05)
    connect(log, 'a')
    signal.raise_signal(signal.SIGINT)
    deadline = time.monotonic() + patience(20)
    with pytest.raises(KeyboardInterrupt):
        # An empty loop would not do: in CPython 3.13 its interruption passes the with statement.
        while time.monotonic() < deadline:
            sum(range(1000))
    assert eventually(lambda: log == ['a leaves', 'a left'])


def test_the_next_one_works_again(log, installed):
    for _ in range(2):
        connect(log, 'a')
        signal.raise_signal(signal.SIGINT)
        interrupted()
        assert log == ['a leaves', 'a left']
        log.clear()
        gevent.sleep(0)


def test_without_clients_nothing_is_in_the_way(installed):
    strike()


def test_a_client_that_does_not_want_it_is_left_alone(log, installed):
    connect(log, 'a', handle_sigint=False)
    strike()
    assert log == []


def test_one_that_has_ended_is_forgotten(log, installed):
    process.discard(connect(log, 'a'))
    process.discard(Connection(log, 'b'))  # never added: no matter
    strike()
    assert log == []


def test_functions_are_called_first(log, installed, monkeypatch):
    monkeypatch.setattr(process, 'at_sigint', [lambda: log.append('called')])
    connect(log, 'a')
    signal.raise_signal(signal.SIGINT)
    interrupted()
    strike()
    assert log == ['called', 'a leaves', 'a left', 'called']


def test_who_waits_for_the_end_waits_for_the_signal_too(log, installed):
    process.wait_for_sigint()  # none under way: at once
    one = connect(log, 'a', may_leave=False)
    signal.raise_signal(signal.SIGINT)
    waiting = gevent.spawn(process.wait_for_sigint)
    settle()
    assert not waiting.ready()
    one.may_leave.set()
    interrupted()
    assert not waiting.ready()  # the main greenlet goes on first
    waiting.get(timeout=5)


def test_another_native_thread_does_not_wait_for_the_signal(log, installed):
    """It has another hub, and KeyboardInterrupt goes to the main thread."""
    one = connect(log, 'a', may_leave=False)
    signal.raise_signal(signal.SIGINT)
    settle()
    in_thread(process.wait_for_sigint)
    assert log == ['a leaves']
    one.may_leave.set()
    interrupted()


@pytest.mark.parametrize('place', ['handler', 'hub'])
def test_what_the_leaving_clients_wait_for_does_not_wait_for_them(
    log, installed, hub_errors, place
):
    """disconnect() waits for the disconnect handler. The hub must never wait."""
    one = connect(log, 'a', may_leave=False)

    class Calls:
        """Jobs are methods of an object for each connection."""

        def handle(self, _=None):
            process.wait_for_sigint()
            log.append('waited')
            one.may_leave.set()

    signal.raise_signal(signal.SIGINT)
    if place == 'handler':
        dispatchers.get().submit(copy_context(), Calls().handle, None)
    else:
        gevent.get_hub().loop.run_callback(Calls().handle)
    interrupted()
    assert sorted(log[:2]) == ['a leaves', 'waited']
    assert log[2:] == ['a left']
    assert hub_errors == []


# -- Installing it ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    'current',
    [signal.SIG_IGN, signal.SIG_DFL, lambda number, frame: None],
    ids=['ignored', 'default', 'own'],
)
def test_another_handler_stays(current):
    signal.signal(signal.SIGINT, current)
    process.install_sigint()
    assert signal.getsignal(signal.SIGINT) is current


def test_installing_twice(log, installed):
    process.install_sigint()
    assert signal.getsignal(signal.SIGINT) is process._on_sigint
    strike()


def test_another_thread_changes_nothing():
    signal.signal(signal.SIGINT, signal.default_int_handler)
    in_thread(process.install_sigint)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


@pytest.fixture
def unknown():
    """The process has not found out yet what Python's handler is."""
    process._python_disposition.cache_clear()
    yield
    process._python_disposition.cache_clear()


def test_a_first_look_in_another_thread_decides_nothing(unknown):
    signal.signal(signal.SIGINT, signal.default_int_handler)
    in_thread(process.install_sigint)
    process.install_sigint()
    assert signal.getsignal(signal.SIGINT) is process._on_sigint


@pytest.mark.parametrize('known', [True, False])
def test_a_handler_below_python_stays(log, known, unknown):
    """`signal.getsignal()` knows nothing of it."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    if known:
        assert process._python_handles(signal.SIGINT)
    watcher = gevent.signal_handler(signal.SIGINT, log.append, 'theirs')
    try:
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
        process.install_sigint()
        connect(log, 'a')
        os.kill(os.getpid(), signal.SIGINT)
        assert eventually(lambda: log)
        settle()
        assert log == ['theirs']
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        watcher.cancel()


def test_what_was_found_out_leaves_no_trace(unknown):
    """No handler stays behind on the signals that were used for it."""
    numbers = signal.SIGURG, signal.SIGWINCH
    before = [(signal.getsignal(number), process._disposition(number)) for number in numbers]
    assert process._python_disposition()
    after = [(signal.getsignal(number), process._disposition(number)) for number in numbers]
    assert after == before


def test_a_program_s_own_signals_are_not_used_to_find_out(unknown):
    signal.signal(signal.SIGINT, signal.default_int_handler)
    numbers = signal.SIGURG, signal.SIGWINCH
    try:
        for number in numbers:
            signal.signal(number, signal.SIG_DFL)  # readline handles SIGWINCH
        for number in numbers:
            process._python_disposition.cache_clear()
            assert process._python_disposition() == process._disposition(signal.SIGINT)
            signal.signal(number, signal.SIG_IGN)
        process._python_disposition.cache_clear()
        process.install_sigint()
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
        assert [signal.getsignal(number) for number in numbers] == [signal.SIG_IGN] * 2
    finally:
        for number in numbers:
            signal.signal(number, signal.SIG_DFL)


@pytest.mark.parametrize('error', [ImportError, OSError, AttributeError])
def test_a_handler_that_may_be_somebody_else_s_stays(monkeypatch, error, unknown):
    """There is no ctypes, or no `sigaction()`, which is found out once."""
    looks = []

    def fail(number):
        looks.append(number)
        raise error

    signal.signal(signal.SIGINT, signal.default_int_handler)
    monkeypatch.setattr(process, '_disposition', fail)
    for _ in range(2):
        process.install_sigint()
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert len(looks) == 1


# -- Forks -----------------------------------------------------------------------------------------


def test_all_are_abandoned(log):
    connect(log, 'a', handle_sigint=False)
    connect(log, 'b')
    process._abandon_all()
    assert sorted(log) == ['a abandoned', 'b abandoned']
    assert process._connections == set()


def test_a_connection_that_fails_does_not_keep_the_others(log, monkeypatch):
    for name in 'abcdef':
        one = connect(log, name)
        if name in 'bd':
            monkeypatch.setattr(one, 'abandon', lambda: next(iter(())))
    with pytest.raises(StopIteration):
        process._abandon_all()
    assert sorted(log) == [f'{name} abandoned' for name in 'acef']
    assert process._connections == set()


def test_no_loop_shares_its_descriptors_with_the_parent(log, monkeypatch):
    """Before anything is abandoned; each loop once, and none that has been destroyed."""
    loops = [SimpleNamespace(reinit=lambda name=name: log.append(name)) for name in 'xy']
    hubs = [Hub(loop) for loop in (*loops, None)]
    for name, hub in zip('abcd', [*hubs, hubs[0]], strict=True):
        connect(log, name).hub = hub
    process._abandon_all()
    assert sorted(log[:2]) == ['x', 'y']
    assert sorted(log[2:]) == [f'{name} abandoned' for name in 'abcd']


def run(script, **settings):
    done = subprocess.run(
        [sys.executable, '-W', 'error', '-c', textwrap.dedent(script)],
        text=True,
        timeout=30,
        check=False,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        **settings,
    )
    return done.returncode, done.stdout


@pytest.mark.skipif(not hasattr(os, 'fork'), reason='no fork here')
def test_a_child_abandons_and_its_parent_does_not():
    code, said = run("""
        import os, sys
        import gevent
        from engineio_gevent import process

        class Connection:
            handle_sigint = True
            hub = gevent.get_hub()
            def disconnect(self, abort=False, reason=None): pass
            def abandon(self):
                print('abandoned', flush=True)

        kept = Connection()
        ended = Connection()
        process.add(kept)
        process.add(ended)
        process.discard(ended)
        if os.fork() == 0:
            print('child', len(process._connections), flush=True)
            os._exit(0)
        os.wait()
        print('parent', len(process._connections), flush=True)
    """)
    assert code == 0, said
    assert said.split('\n') == ['abandoned', 'child 0', 'parent 1', '']


@pytest.mark.skipif(not hasattr(os, 'fork'), reason='no fork here')
def test_a_child_tells_handlers_apart_as_its_parent_does():
    code, said = run("""
        import os, signal
        import gevent, gevent.os
        from engineio_gevent import process

        def installs():
            process.install_sigint()
            return signal.getsignal(signal.SIGINT) is process._on_sigint

        # a test run in the background ignores SIGINT, and its children do, too
        signal.signal(signal.SIGINT, signal.default_int_handler)
        assert process._python_handles(signal.SIGINT)
        for foreign in (False, True):
            if (child := gevent.os.fork()) == 0:
                if foreign:
                    watcher = gevent.signal_handler(signal.SIGINT, print)
                print(foreign, installs(), flush=True)
                os._exit(0)
            os.waitpid(child, 0)
        print('parent', installs(), flush=True)
    """)
    assert code == 0, said
    assert said.split('\n') == ['False True', 'True False', 'parent True', '']


CHAIN = """
    import os, signal, sys, threading
    import gevent, gevent.server
    sys.path[:0] = {path!r}
    from support import HostileServer, accept_websocket, open_packet, read_frame, send_frame

    def handle(sock):
        accept_websocket(sock)
        send_frame(sock, open_packet())
        try:
            while True:
                opcode, data = read_frame(sock)
                print('server hears', opcode, data, flush=True)
                if opcode == 8:
                    send_frame(sock, data, opcode)
        except OSError:
            print('server sees the end', flush=True)

    # a test run in the background ignores SIGINT, and its children do, too
    signal.signal(signal.SIGINT, signal.default_int_handler)
    {before}
    from engineio_gevent import Client
    server = HostileServer(handle)
    client = Client()
    client.on('disconnect', lambda reason: print('handler:', reason, flush=True))
    client.connect(server.url, transports='websocket')
    threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGINT)).start()
    try:
        {wait}
    except KeyboardInterrupt:
        print('interrupted', flush=True)
    print('end', client.state, flush=True)
"""


@pytest.mark.parametrize('wait', ['client.wait()', 'gevent.sleep(20)'])
def test_ctrl_c(wait):
    """A real client and its server in one process."""
    code, said = run(CHAIN.format(path=sys.path, before='', wait=wait))
    assert code == 0, said
    lines = said.splitlines()
    assert lines[0] == "server hears 1 b'1'"
    assert lines[1].startswith("server hears 8 b'")
    assert [line for line in lines[2:] if not line.startswith('server')] == [
        'handler: client disconnect',
        'interrupted',
        'end disconnected',
    ]


def test_ctrl_c_with_a_handler_of_the_application():
    """It decides what Ctrl-C does, and may disconnect the client."""
    before = """
    def mine(*args):
        print('mine', client.state, flush=True)
        client.disconnect()

    signal.signal(signal.SIGINT, mine)
    """
    code, said = run(CHAIN.format(path=sys.path, before=before, wait='client.wait()'))
    assert code == 0, said
    assert [line for line in said.splitlines() if not line.startswith('server')] == [
        'mine connected',
        'handler: client disconnect',
        'end disconnected',
    ]


def test_ctrl_c_while_another_native_thread_waits():
    before = """
    def wait():
        client.wait()
        os.write(1, b'thread waited')  # in one piece
    """
    wait = 'threading.Thread(target=wait).start(); gevent.sleep(20)'
    code, said = run(CHAIN.format(path=sys.path, before=before, wait=wait))
    assert code == 0, said
    # Not by lines: those of two threads may be mixed.
    assert said.index('handler: client disconnect') < said.index('thread waited')
    assert 'interrupted' in said
    assert 'LoopExit' not in said
