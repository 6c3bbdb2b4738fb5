"""A plain socket: connecting, waiting, and what closes it while a greenlet waits."""

import _socket
import contextlib
import errno
import os
import subprocess
import sys
import textwrap

import gevent
import pytest

from engineio_gevent.net.plain import PlainSocket
from support import in_thread, need_destroy, settle, watchers

pytestmark = pytest.mark.time_limit(10)  # most of them take a hundredth of a second


@pytest.fixture
def pair():
    """A `PlainSocket` and its peer."""
    ours, peer = _socket.socketpair()
    sock = PlainSocket(ours.family, ours.type, ours.proto, ours.detach())
    settle()  # what others have left ends before watchers are counted
    yield sock, peer
    sock.close()
    peer.close()


def waiting(sock):
    """A greenlet that waits for bytes; its value is the error that ends that."""

    def receive():
        try:
            return sock.recv(10)
        except OSError as exc:
            return exc

    greenlet = gevent.spawn(receive)
    gevent.sleep(0)
    return greenlet


def test_a_socket_that_does_not_wait_holds_no_watcher(pair):
    """There are thousands of them, and each watcher takes memory."""
    sock, peer = pair
    receiving = waiting(sock)
    assert sock._watcher.active
    peer.send(b'x')
    assert receiving.get(timeout=5) == b'x'
    assert sock._watcher is None


def test_who_waits_learns_that_it_is_closed(pair):
    sock, _ = pair
    receiving = waiting(sock)
    sock.close()
    error = receiving.get(timeout=5)
    assert (error.errno, error.strerror) == (errno.EBADF, 'closed by another greenlet')


def test_who_waits_learns_that_it_is_detached(pair):
    sock, _ = pair
    receiving = waiting(sock)
    descriptor = sock.detach()
    assert receiving.get(timeout=5).errno == errno.EBADF
    _socket.close(descriptor)


def test_who_was_killed_meanwhile_is_left_alone(pair):
    sock, _ = pair
    receiving = waiting(sock)
    receiving.kill(block=False)
    sock.close()
    assert isinstance(receiving.get(timeout=5), gevent.GreenletExit)


@pytest.mark.parametrize('end', ['sock.close()', '_socket.close(sock.detach())'])
def test_no_loop_looks_at_a_closed_descriptor(end):
    """It is no longer watched, though callbacks take all the time before the loop's next look.

    libev and libuv abort the process over such a descriptor.
    """
    done = subprocess.run(
        [
            sys.executable,
            '-W',
            'error',
            '-c',
            textwrap.dedent(f"""
        import _socket, sys, time
        import gevent
        from engineio_gevent.net.plain import PlainSocket

        def spin():
            end = time.monotonic() + sys.getswitchinterval()
            while time.monotonic() < end:
                pass

        def close():
            for _ in range(1000):  # more than a loop runs without a look at its descriptors
                loop.run_callback(spin if _ in (60, 120) else int)
            {end}

        ours, peer = _socket.socketpair()
        sock = PlainSocket(ours.family, ours.type, ours.proto, ours.detach())
        loop = gevent.get_hub().loop
        receiving = gevent.spawn(sock.recv, 10)
        loop.run_callback(close)
        receiving.join()
        print(receiving.exception)
    """),
        ],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert 'closed by another greenlet' in done.stdout


def test_a_socket_of_a_hub_that_has_been_destroyed(pair):
    """Its watchers went with it. The descriptor is closed."""
    need_destroy()

    def wait_in_a_hub():
        gevent.spawn(sock.recv, 10)
        gevent.sleep(0)
        gevent.get_hub().destroy(destroy_loop=True)

    sock, peer = pair
    in_thread(wait_in_a_hub)
    sock.close()
    assert peer.recv(1) == b''


# -- What it does while nobody closes it -----------------------------------------------------------


def test_a_new_socket(pair):
    sock, _ = pair
    assert sock.gettimeout() is None
    assert not os.get_blocking(sock.fileno())


def test_the_timeout_is_of_the_waits_not_of_the_descriptor(pair):
    sock, _ = pair
    sock.settimeout(5)
    assert sock.gettimeout() == 5
    assert not os.get_blocking(sock.fileno())
    sock.settimeout(None)
    assert sock.gettimeout() is None


def test_what_is_there_is_received_without_a_wait(pair):
    sock, peer = pair
    peer.sendall(b'hello')
    assert sock.recv(10, _socket.MSG_PEEK) == b'hello'
    assert sock.recv(2) == b'he'
    assert sock.recv(10) == b'llo'
    peer.close()
    assert sock.recv(10) == b''


def test_receiving_waits(pair):
    sock, peer = pair
    before = watchers()
    receiving = waiting(sock)
    settle()
    assert not receiving.ready()
    assert watchers() == before + 1
    peer.sendall(b'hello')
    assert receiving.get(timeout=5) == b'hello'
    assert watchers() == before


def test_a_wait_that_takes_too_long(pair):
    """The socket is as good as before."""
    sock, peer = pair
    sock.settimeout(0.01)
    before = watchers()
    with pytest.raises(TimeoutError) as caught:
        sock.recv(10)
    assert (caught.value.errno, caught.value.strerror) == (errno.ETIMEDOUT, 'timed out')
    assert watchers() == before
    peer.sendall(b'hello')
    assert sock.recv(10) == b'hello'


def test_a_wait_within_the_timeout(pair):
    sock, peer = pair
    sock.settimeout(3600)
    receiving = waiting(sock)
    peer.sendall(b'hello')
    assert receiving.get(timeout=5) == b'hello'


def test_sending_all(pair):
    """More than the system takes at once waits for the peer."""
    sock, peer = pair
    sock.sendall(b'hello')
    assert peer.recv(100) == b'hello'
    data = bytes(range(256)) * 16384
    sending = gevent.spawn(sock.sendall, data)
    settle()
    assert not sending.ready()
    received = b''
    peer.setblocking(False)
    while len(received) < len(data):
        gevent.sleep(0)
        with contextlib.suppress(BlockingIOError):
            received += peer.recv(1 << 20)
    assert received == data
    assert sending.get(timeout=5) is None


def test_sending_does_not_wait_for_bytes_to_read(pair):
    sock, peer = pair
    peer.sendall(b'unread')
    sending = gevent.spawn(sock.sendall, bytes(4 << 20))
    settle()  # the loop has nothing to do
    assert not sending.ready()
    sending.kill()


def test_sending_takes_too_long(pair):
    sock, _ = pair
    sock.settimeout(0.01)
    with pytest.raises(TimeoutError):
        sock.sendall(bytes(4 << 20))


def test_flags_of_a_send(pair):
    sock, peer = pair
    sock.sendall(b'x', _socket.MSG_DONTWAIT)
    assert peer.recv(10) == b'x'


def test_the_end_of_a_block(pair):
    sock, peer = pair
    with sock as same:
        assert same is sock
    assert sock.fileno() == -1
    assert peer.recv(1) == b''


# -- Connecting ------------------------------------------------------------------------------------


@pytest.fixture
def listener():
    with contextlib.closing(_socket.socket()) as one:
        one.bind(('127.0.0.1', 0))
        one.listen()
        yield one


def test_connecting(listener):
    with PlainSocket(_socket.AF_INET, _socket.SOCK_STREAM, 0) as sock:
        sock.connect(listener.getsockname())
        assert sock.getpeername() == listener.getsockname()


def test_nobody_listens(listener):
    address = listener.getsockname()
    listener.close()
    with (
        PlainSocket(_socket.AF_INET, _socket.SOCK_STREAM, 0) as sock,
        pytest.raises(ConnectionRefusedError) as caught,
    ):
        sock.connect(address)
    assert caught.value.strerror == os.strerror(errno.ECONNREFUSED)


class Scripted(PlainSocket):
    """What the system says of a connection is up to the test."""

    def __init__(self, answers, errors):
        ours, self.peer = _socket.socketpair()
        super().__init__(ours.family, ours.type, ours.proto, ours.detach())
        self.answers, self.errors = list(answers), list(errors)
        self.waits = []

    def connect_ex(self, address):
        assert address == 'an address'
        return self.answers.pop(0)

    def getsockopt(self, *option):
        assert option == (_socket.SOL_SOCKET, _socket.SO_ERROR)
        return self.errors.pop(0)

    def _wait(self, events):
        self.waits.append(events)

    def close(self):
        super().close()
        self.peer.close()


WRITE = 2


@pytest.mark.parametrize(
    ('answers', 'errors', 'waits', 'error'),
    [
        ([0], [], [], None),
        ([errno.EISCONN], [], [], None),
        ([errno.ENETUNREACH], [], [], errno.ENETUNREACH),
        ([errno.EINPROGRESS, errno.EISCONN], [0], [], None),
        ([errno.EINPROGRESS, 0], [0], [], None),
        ([errno.EINPROGRESS], [errno.ECONNREFUSED], [], errno.ECONNREFUSED),
        ([errno.EINPROGRESS, errno.ECONNABORTED], [0], [], errno.ECONNABORTED),
        ([errno.EINPROGRESS, errno.EALREADY], [0, 0], [WRITE], None),
        ([errno.EWOULDBLOCK, errno.EINPROGRESS], [0, 0], [WRITE], None),
        ([errno.EALREADY, errno.EWOULDBLOCK], [0, 0], [WRITE], None),
        (
            [errno.EINPROGRESS, errno.EALREADY],
            [0, errno.ECONNREFUSED],
            [WRITE],
            errno.ECONNREFUSED,
        ),
    ],
)
def test_what_the_system_says_of_a_connection(answers, errors, waits, error):
    with Scripted(answers, errors) as sock:
        if error is None:
            sock.connect('an address')
        else:
            with pytest.raises(OSError, match=os.strerror(error)) as caught:
                sock.connect('an address')
            assert caught.value.errno == error
        assert (sock.answers, sock.errors, sock.waits) == ([], [], waits)
