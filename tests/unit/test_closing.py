"""A socket that is closed after its peer: who closes first, and that nothing is left of it."""

from __future__ import annotations

import _socket
import contextlib
import gc
import os
import socket as stdlib_socket
import threading
import weakref

import gevent
import gevent.ssl
import pytest
from gevent import select, socket

from engineio_gevent.net import closing
from engineio_gevent.net.closing import PEER_LIMIT, close_gently
from engineio_gevent.net.plain import PlainSocket
from support import Program, eventually, has_libuv, need_destroy, no_leaks, reset, settle

KINDS = {
    'bare': _socket.socket,
    'plain': PlainSocket,
    'gevent': socket.socket,
    'standard library': stdlib_socket.socket,
}


@pytest.fixture
def patient(monkeypatch):
    """Time does not end the wait."""
    monkeypatch.setattr(closing, 'PEER_TIMEOUT', 3600)


@pytest.fixture(autouse=True)
def nothing_left():
    before = find_closing()
    with no_leaks():
        yield
        assert eventually(lambda: not closing._closing)
        if has_libuv():  # whose watchers refer to themselves
            gc.collect()
        assert set(find_closing()) <= set(before)


def find_closing():
    found = [one for one in gc.get_objects() if isinstance(one, closing._Closing)]
    # A loop that has been destroyed never lets go of its watchers.
    return [one for one in found if one._hub.loop is not None]


def listen():
    listener = socket.socket()
    listener.bind(('127.0.0.1', 0))
    listener.listen()
    return listener


@pytest.fixture
def make_pair():
    """`make_pair(kind)`: a connected socket of one of the `KINDS`, and its peer."""
    peers = []

    def make(kind='bare'):
        with listen() as listener:
            made = socket.create_connection(listener.getsockname())
            peers.append(listener.accept()[0])
        arguments = made.family, made.type, made.proto, made.detach()
        ours = KINDS[kind](*arguments)
        if kind == 'standard library':
            ours.setblocking(True)
        return ours, peers[-1]

    yield make
    for peer in peers:
        peer.close()


@pytest.fixture
def make_tls_pair(make_pair, certificates):
    """`make_tls_pair()`: a connected socket with TLS, and its peer."""
    peers = []

    def make():
        ours, peer = make_pair('gevent')
        context = certificates.server_context()
        serving = gevent.spawn(context.wrap_socket, peer, server_side=True)
        context = gevent.ssl.SSLContext(gevent.ssl.PROTOCOL_TLS_CLIENT)
        context.load_verify_locations(certificates.ca)
        ours = context.wrap_socket(ours, server_hostname='localhost')
        peers.append(serving.get(timeout=5))
        return ours, peers[-1]

    yield make
    for peer in peers:
        peer.close()


def is_closed(peer):
    """Whether the end of the connection has reached the peer."""
    readable, _, _ = select.select([peer], [], [], 0)
    return bool(readable) and peer.recv(1, socket.MSG_PEEK) == b''


def end_of(peer):
    """What the peer reads at the end of the connection: b'' or the error."""
    with gevent.Timeout(5):
        try:
            return peer.recv(100)
        except OSError as exc:
            return type(exc)


@pytest.mark.parametrize('kind', KINDS)
@pytest.mark.parametrize('answered', [True, False])
def test_the_peer_closes_first(make_pair, patient, kind, answered):
    ours, peer = make_pair(kind)
    close_gently(ours, answered)
    peer.sendall(b'what is dropped')
    settle()
    assert ours.fileno() == -1 or kind in ('bare', 'plain')
    assert not is_closed(peer)
    peer.shutdown(socket.SHUT_WR)
    assert end_of(peer) == b''


def test_the_peer_closes_first_with_tls(make_tls_pair, patient):
    """Its close_notify is not the end."""
    ours, peer = make_tls_pair()
    bare = socket.socket(fileno=os.dup(peer.fileno()))
    with bare:
        close_gently(ours)
        peer.sendall(b'what is dropped')
        with contextlib.suppress(OSError):
            peer._sslobj.shutdown()  # sends a close_notify
        settle()
        assert not is_closed(bare)
        bare.shutdown(socket.SHUT_WR)
        assert end_of(bare) == b''


def test_the_peer_has_closed_already(make_pair, patient):
    ours, peer = make_pair()
    peer.shutdown(socket.SHUT_WR)
    close_gently(ours)
    assert end_of(peer) == b''


def test_the_peer_resets(make_pair, patient):
    ours, peer = make_pair()
    close_gently(ours)
    reset(peer)


def test_a_closed_socket(make_pair):
    for kind in KINDS:
        ours, _ = make_pair(kind)
        ours.close()
        close_gently(ours)
        assert closing._closing == {}


def test_peers_that_do_not_close(make_pair):
    """They cost a descriptor for a moment. No TIME_WAIT remains if nothing can be lost by that."""
    peers = []
    for answered in ((), (True,), (False,)):
        ours, peer = make_pair()
        close_gently(ours, *answered)
        peers.append(peer)
    settle()
    assert not any(map(is_closed, peers))
    assert [end_of(peer) for peer in peers] == [ConnectionResetError, ConnectionResetError, b'']


@pytest.mark.parametrize('kind', ['bare', 'tls'])
def test_a_peer_that_floods(make_pair, make_tls_pair, patient, kind):
    ours, peer = make_tls_pair() if kind == 'tls' else make_pair(kind)
    flooding = gevent.spawn(pytest.raises, OSError, peer.sendall, bytes(64 << 20))
    close_gently(ours)
    flooding.get(timeout=10)


def test_a_peer_that_says_much(make_pair, patient):
    ours, peer = make_pair()
    close_gently(ours)
    peer.sendall(bytes(PEER_LIMIT - 1))
    settle()
    assert not is_closed(peer)
    peer.shutdown(socket.SHUT_WR)
    assert end_of(peer) == b''


def test_a_peer_that_says_too_much(make_pair, patient):
    """The last byte of the limit is enough."""
    ours, peer = make_pair()
    close_gently(ours)
    peer.sendall(bytes(PEER_LIMIT))
    assert end_of(peer) is ConnectionResetError


def test_many_at_once(make_pair, patient):
    peers = []
    for _ in range(50):
        ours, peer = make_pair()
        close_gently(ours)
        peers.append(peer)
    settle()
    assert not any(map(is_closed, peers))
    for peer in peers[::-1]:
        peer.shutdown(socket.SHUT_WR)
        assert end_of(peer) == b''


def test_the_owner_is_not_kept(make_pair, patient):
    ours, peer = make_pair('gevent')
    gone = weakref.ref(ours)
    close_gently(ours)
    del ours
    gc.collect()
    assert gone() is None
    peer.close()


@pytest.mark.parametrize('kind', KINDS)
def test_a_reset(make_pair, kind):
    ours, peer = make_pair(kind)
    closing.reset(ours)
    assert ours.fileno() == -1
    assert end_of(peer) is ConnectionResetError


def test_a_reset_of_a_connection_that_the_peer_has_reset(make_pair):
    """The descriptor is closed in any case."""
    ours, peer = make_pair()
    reset(peer)
    closing.reset(ours)
    assert ours.fileno() == -1


# -- What must not happen --------------------------------------------------------------------------


PROGRAM = """
import os, sys, gevent, gevent.socket
from engineio_gevent.net import closing

closing.PEER_TIMEOUT = int(sys.argv[2])
sock = gevent.socket.create_connection(('127.0.0.1', int(sys.argv[1])))
descriptor = sock.fileno()
closing.close_gently(sock, answered=False)
gevent.sleep(0.01)  # the loop has begun to watch it
"""
FORK = """
child = os.fork()
if child == 0:
    try:
        os.fstat(descriptor)
    except OSError:
        gevent.sleep(0.01)
        os._exit(0 if not closing._closing else 2)
    os._exit(1)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
while closing._closing:
    gevent.sleep(0.01)
print('"closed"')
"""


@pytest.fixture
def run():
    """`run(source)`: a program that closes a socket gently, then does this; and its peer."""
    made = []

    def start(source='', seconds=3600):
        with listen() as listener:
            port = listener.getsockname()[1]
            program = Program('-c', PROGRAM + source, argv=[port, seconds])
            made.append(program.kill)
            peer, _ = listener.accept()
            made.append(peer.close)
        return program, peer

    yield start
    for end in made:
        end()


@pytest.mark.parametrize('wait', ['', 'gevent.wait()'])
def test_a_program_ends_meanwhile(run, wait):
    # libuv's loop stays alive for every watcher of a descriptor.
    program, peer = run(wait, 1 if wait and has_libuv() else 3600)
    assert program.result() == []
    assert is_closed(peer)


@pytest.mark.skipif(not hasattr(os, 'fork'), reason='no fork here')
def test_a_fork_meanwhile(run):
    """The child has nothing of it; the parent goes on."""
    program, peer = run(FORK)
    assert program.hear() == 0
    assert not is_closed(peer)
    peer.shutdown(socket.SHUT_WR)
    assert end_of(peer) == b''
    assert program.result() == ['closed']


THREAD_OF_A_CHILD = """
import threading, time

def close_another(ours):
    closing.close_gently(ours)
    gevent.sleep(0.01)  # the loop has begun to watch it

child = os.fork()
if child == 0:
    ours, peer = gevent.socket.socketpair()
    thread = threading.Thread(target=close_another, args=[ours])
    thread.start()
    thread.join()
    deadline = time.monotonic() + 30
    while closing._closing and time.monotonic() < deadline:
        gevent.sleep(0.01)
    os._exit(1 if closing._closing else 0)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
os._exit(0)
"""


@pytest.mark.skipif(not hasattr(os, 'fork'), reason='no fork here')
def test_a_thread_of_a_forked_child_leaves_nothing_behind(run):
    program, _ = run(THREAD_OF_A_CHILD)
    assert program.result() == [0]


FORK_BESIDE_A_THREAD = """
import json, os, sys
os.environ['GEVENT_LOOP'] = json.loads(sys.argv[2])
import threading, gevent, gevent.socket
from engineio_gevent.net import closing

def wait():
    close(gevent.socket.create_connection(('127.0.0.1', int(sys.argv[1]))), answered=False)
    gevent.sleep(0.01)  # the loop has begun to watch it
    waits.set()
    while closing._closing:
        gevent.sleep(0.01)

closing.PEER_TIMEOUT = 3600
close = closing.close_gently
waits = threading.Event()
thread = threading.Thread(target=wait)
thread.start()
waits.wait()
child = os.fork()
if child == 0:
    os._exit(1 if closing._closing else 0)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
thread.join()
print('"closed"')
"""


@pytest.mark.skipif(not hasattr(os, 'fork'), reason='no fork here')
@pytest.mark.parametrize('loop', ['libev-cext', 'libuv'])
def test_a_fork_while_another_thread_waits(loop):
    """Python ends that thread in the child. The parent's goes on."""
    with listen() as listener:
        port = listener.getsockname()[1]
        # Python warns of forks beside other threads.
        program = Program('-c', FORK_BESIDE_A_THREAD, argv=[port, loop], options=['-W', 'ignore'])
        peer, _ = listener.accept()
    try:
        assert program.hear() == 0
        assert not is_closed(peer)
        peer.shutdown(socket.SHUT_WR)
        assert end_of(peer) == b''
        assert program.result() == ['closed']
    finally:
        program.kill()
        peer.close()


@pytest.mark.skipif(not hasattr(os, 'fork'), reason='no fork here')
def test_forks_get_one_hook(make_pair, monkeypatch):
    """However many sockets are closed: a hook stays for good, and nobody can list them."""
    hooks = []
    with monkeypatch.context() as patched:
        patched.setattr(os, 'register_at_fork', lambda **hook: hooks.append(hook))
        closing._set_fork_hook.cache_clear()
        for _ in range(3):
            ours, peer = make_pair()
            close_gently(ours)
            peer.close()
    closing._set_fork_hook.cache_clear()  # the next one sets it
    assert hooks == [{'after_in_child': closing._abandon_all}]


@pytest.mark.parametrize('destroy', [False, True], ids=['hub left', 'hub destroyed'])
def test_a_thread_that_ends_meanwhile(make_pair, request, destroy):
    """It leaves no socket behind."""
    if not (destroy and has_libuv()):  # gevent destroys a loop of libuv when nobody waits any more
        request.getfixturevalue('patient')
    pairs = [make_pair(), make_pair()]
    hubs = []

    def run():
        for ours, _ in pairs:
            close_gently(ours, answered=False)
        gevent.sleep(0.01)
        hubs.append(gevent.get_hub())
        if destroy:
            hubs[0].destroy(destroy_loop=True)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert [end_of(peer) for _, peer in pairs] == [b'', b'']
    if not destroy:
        assert eventually(lambda: hubs[0].dead)  # a moment after the end of its thread
        hubs[0].loop.destroy()


def test_a_thread_that_destroys_its_hub_and_goes_on(make_pair, patient):
    """The next one who closes does it for that hub, too."""
    need_destroy()

    def run():
        close_gently(pairs[0][0])
        gevent.sleep(0.01)  # the loop has begun to watch it
        gevent.get_hub().destroy(destroy_loop=True)
        destroyed.set()
        may_end.wait()

    pairs = [make_pair(), make_pair()]
    destroyed, may_end = threading.Event(), threading.Event()
    thread = threading.Thread(target=run)
    thread.start()
    try:
        assert eventually(destroyed.is_set)
        close_gently(pairs[1][0])
        assert end_of(pairs[0][1]) == b''
        pairs[1][1].close()
    finally:
        may_end.set()
        thread.join()


def test_another_thread_that_goes_on(make_pair, patient):
    ended = threading.Event()

    def run():
        close_gently(pairs[0][0])
        while closing._closing.get(gevent.get_hub()):
            gevent.sleep(0.01)
        gevent.get_hub().destroy(destroy_loop=True)
        ended.set()

    pairs = [make_pair(), make_pair()]
    thread = threading.Thread(target=run)
    thread.start()
    assert eventually(lambda: closing._closing)
    close_gently(pairs[1][0])
    assert not any(is_closed(peer) for _, peer in pairs)
    for _, peer in pairs:
        peer.close()
    assert eventually(ended.is_set)
    thread.join()


def test_a_peer_counts_as_one_that_has_answered_all(make_pair, monkeypatch):
    """If nothing else is said; one that does not close is then sent a reset."""
    monkeypatch.setattr(closing, 'PEER_TIMEOUT', 0.01)
    ours, peer = make_pair()
    close_gently(ours)
    assert end_of(peer) is ConnectionResetError


@pytest.mark.parametrize('kind', KINDS)
def test_a_loop_that_says_too_early_that_there_is_something_to_read(make_pair, patient, kind):
    """The hub does not wait for it."""
    ours, peer = make_pair(kind)
    close_gently(ours)
    [[waiting]] = closing._closing.values()
    assert not os.get_blocking(waiting._sock.fileno())
    waiting._read()
    assert not is_closed(peer)
    peer.shutdown(socket.SHUT_WR)
    assert end_of(peer) == b''
