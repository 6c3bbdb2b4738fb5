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
def own_handler(log):
    """The application's handler of SIGINT, with ours in front of it."""
    signal.signal(signal.SIGINT, lambda number, frame: log.append(f'signal {number}'))
    process.install_sigint()


def connect(log, name, **settings):
    one = Connection(log, name, **settings)
    process.add(one)
    return one


# -- SIGINT ----------------------------------------------------------------------------------------


def test_a_handler_that_chains_to_ours_may_be_chained_to(log, own_handler):
    """And nobody calls anybody for ever."""
    ours = signal.getsignal(signal.SIGINT)

    def theirs(number, frame):
        log.append('theirs')
        ours(number, frame)

    signal.signal(signal.SIGINT, theirs)
    process.install_sigint()
    connect(log, 'a')
    signal.raise_signal(signal.SIGINT)
    assert eventually(lambda: len(log) == 4)
    assert log == ['a leaves', 'a left', 'theirs', f'signal {signal.SIGINT:d}']


def test_one_that_is_still_connecting_is_left_to_the_handler_of_before(log, own_handler):
    connect(log, 'a').state = 'disconnected'
    signal.raise_signal(signal.SIGINT)
    assert log == [f'signal {signal.SIGINT:d}']


def test_clients_leave_before_the_handler_of_before_runs(log, own_handler):
    connect(log, 'a')
    signal.raise_signal(signal.SIGINT)
    assert log == []  # nothing is done within the signal handler
    assert eventually(lambda: len(log) == 3)
    assert log == ['a leaves', 'a left', 'signal 2']


def test_they_leave_together(log, own_handler):
    for name in 'abc':
        connect(log, name, may_leave=False)
    signal.raise_signal(signal.SIGINT)
    assert eventually(lambda: len(log) == 3)
    assert sorted(log) == ['a leaves', 'b leaves', 'c leaves']
    for one in list(process._connections):
        one.may_leave.set()
    assert eventually(lambda: len(log) == 7)
    assert log[-1] == 'signal 2'


def test_a_farewell_that_hangs_is_not_awaited_for_ever(log, own_handler, monkeypatch):
    monkeypatch.setattr(process, 'SIGINT_TIMEOUT', 0.05)
    monkeypatch.setattr(process, 'HANDLER_TIMEOUT', 0.05)
    connect(log, 'a', may_leave=False)
    signal.raise_signal(signal.SIGINT)
    assert eventually(lambda: 'signal 2' in log)
    assert log == ['a leaves', 'a leaves', 'signal 2']  # the second time at once


def test_a_second_one_does_not_wait(log, own_handler):
    one = connect(log, 'a', may_leave=False)
    signal.raise_signal(signal.SIGINT)
    gevent.sleep(0)
    signal.raise_signal(signal.SIGINT)
    assert log[-1] == 'signal 2'
    one.may_leave.set()
    assert eventually(lambda: log.count('signal 2') == 2)


def test_the_next_one_works_again(log, own_handler):
    for _ in range(2):
        connect(log, 'a')
        signal.raise_signal(signal.SIGINT)
        assert eventually(lambda: log and log[-1] == 'signal 2')
        assert log == ['a leaves', 'a left', 'signal 2']
        log.clear()
        gevent.sleep(0)


def test_without_clients_nothing_is_in_the_way(log, own_handler):
    signal.raise_signal(signal.SIGINT)
    assert log == ['signal 2']


def test_a_client_that_does_not_want_it_is_left_alone(log, own_handler):
    connect(log, 'a', handle_sigint=False)
    signal.raise_signal(signal.SIGINT)
    assert log == ['signal 2']


def test_one_that_has_ended_is_forgotten(log, own_handler):
    process.discard(connect(log, 'a'))
    process.discard(Connection(log, 'b'))  # never added: no matter
    signal.raise_signal(signal.SIGINT)
    assert log == ['signal 2']


def test_keyboard_interrupt_comes_to_the_main_greenlet(log):
    signal.signal(signal.SIGINT, signal.default_int_handler)
    process.install_sigint()
    connect(log, 'a')
    signal.raise_signal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        gevent.sleep(5)
    assert log == ['a leaves', 'a left']


def test_a_signal_that_arrives_in_the_hub(log):
    """Nobody may block there, and nobody does."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    process.install_sigint()
    connect(log, 'a')
    threading.Timer(0.05, os.kill, (os.getpid(), signal.SIGINT)).start()
    with pytest.raises(KeyboardInterrupt):
        gevent.sleep(5)  # all of it in the hub
    assert log == ['a leaves', 'a left']


def test_who_waits_for_the_end_waits_for_the_signal_too(log, own_handler):
    process.wait_for_sigint()  # none under way: at once
    one = connect(log, 'a', may_leave=False)
    signal.raise_signal(signal.SIGINT)
    waiting = gevent.spawn(process.wait_for_sigint)
    settle()
    assert not waiting.ready()
    one.may_leave.set()
    waiting.get(timeout=5)
    assert log[-1] == 'signal 2'


def test_another_native_thread_does_not_wait_for_the_signal(log, own_handler):
    """It has another hub, and KeyboardInterrupt goes to the main thread."""
    one = connect(log, 'a', may_leave=False)
    signal.raise_signal(signal.SIGINT)
    settle()
    in_thread(process.wait_for_sigint)
    assert log == ['a leaves']
    one.may_leave.set()
    assert eventually(lambda: log[-1] == 'signal 2')


def test_the_handler_of_before_does_not_wait_for_itself(log):
    def before(number, frame):
        process.wait_for_sigint()
        log.append('waited')

    signal.signal(signal.SIGINT, before)
    process.install_sigint()
    connect(log, 'a')
    signal.raise_signal(signal.SIGINT)
    assert eventually(lambda: log == ['a leaves', 'a left', 'waited'])


@pytest.mark.parametrize('place', ['handler', 'hub'])
def test_what_the_leaving_clients_wait_for_does_not_wait_for_them(
    log, own_handler, hub_errors, place
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
    assert eventually(lambda: 'signal 2' in log)
    assert sorted(log[:2]) == ['a leaves', 'waited']
    assert log[2:] == ['a left', 'signal 2']
    assert hub_errors == []


# -- Installing it ---------------------------------------------------------------------------------


@pytest.mark.parametrize('current', [signal.SIG_IGN, signal.SIG_DFL])
def test_what_is_ignored_or_the_system_s_stays_so(current):
    signal.signal(signal.SIGINT, current)
    process.install_sigint()
    assert signal.getsignal(signal.SIGINT) is current


def test_installing_twice_does_not_chain_to_itself(log, own_handler):
    process.install_sigint()
    process.install_sigint()
    signal.raise_signal(signal.SIGINT)
    assert log == ['signal 2']


def test_a_handler_that_was_set_later_is_chained_to(log, own_handler):
    signal.signal(signal.SIGINT, lambda number, frame: log.append('later'))
    process.install_sigint()
    connect(log, 'a')
    signal.raise_signal(signal.SIGINT)
    assert eventually(lambda: len(log) == 3)
    assert log == ['a leaves', 'a left', 'later']


def test_another_thread_changes_nothing():
    before = signal.getsignal(signal.SIGINT)
    thread = threading.Thread(target=process.install_sigint)
    thread.start()
    thread.join()
    assert signal.getsignal(signal.SIGINT) is before


# -- Forks -----------------------------------------------------------------------------------------


def test_all_are_abandoned(log):
    connect(log, 'a', handle_sigint=False)
    connect(log, 'b')
    process._abandon_all()
    assert sorted(log) == ['a abandoned', 'b abandoned']
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
    before = "signal.signal(signal.SIGINT, lambda *args: print('mine', flush=True))"
    began = time.monotonic()
    code, said = run(CHAIN.format(path=sys.path, before=before, wait='client.wait()'))
    assert code == 0, said
    assert 'interrupted' not in said
    lines = said.splitlines()
    assert (
        lines.index('handler: client disconnect')
        < lines.index('mine')
        < lines.index('end disconnected')
    )
    assert time.monotonic() - began < patience(20)


def test_ctrl_c_with_a_handler_that_disconnects_and_waits():
    before = """
    def mine(*args):
        client.disconnect()
        client.wait()
        print('mine', flush=True)
        sys.exit(3)

    signal.signal(signal.SIGINT, mine)
    """
    code, said = run(CHAIN.format(path=sys.path, before=before, wait='client.wait()'))
    assert code == 3, said
    lines = said.splitlines()
    assert lines.index('handler: client disconnect') < lines.index('mine')


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
