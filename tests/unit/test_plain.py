"""A plain socket that another greenlet closes while one waits on it."""

import _socket
import errno
import subprocess
import sys
import textwrap

import gevent
import pytest

from engineio_gevent.net.plain import PlainSocket


@pytest.fixture
def pair():
    """A `PlainSocket` and its peer."""
    ours, peer = _socket.socketpair()
    sock = PlainSocket(ours.family, ours.type, ours.proto, ours.detach())
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
