"""A socket of the caller's: whatever it is, it does not block the thread."""

from __future__ import annotations

import socket as stdlib_socket
import ssl

import gevent
import gevent.ssl
import pytest
from gevent import socket

from engineio_gevent.net.caller_socket import cooperative
from engineio_gevent.net.plain import PlainSocket

pytestmark = pytest.mark.time_limit(10)


@pytest.fixture
def pair():
    """A socket of the standard library, and gevent's at the other end."""
    ours, theirs = stdlib_socket.socketpair()
    other = socket.socket(fileno=theirs.detach())
    yield ours, other
    ours.close()
    other.close()


def test_those_that_are_cooperative_stay_as_they_are():
    one, other = socket.socketpair()
    with one, other:
        assert cooperative(one) is one
        assert one.gettimeout() is None
        plain = PlainSocket(other.family, other.type, other.proto, other.detach())
        with plain:
            assert cooperative(plain) is plain


def test_reading_waits_in_the_hub(pair):
    ours, theirs = pair
    ours.settimeout(7)
    one = cooperative(ours)
    assert ours.gettimeout() == 0
    assert one.gettimeout() == 7
    assert one.fileno() == ours.fileno()
    reading = gevent.spawn(one.recv, 3)
    gevent.sleep(0.01)
    assert not reading.ready()
    theirs.sendall(b'hello')
    assert reading.get() == b'hel'
    assert one.recv(100) == b'lo'
    theirs.close()
    assert one.recv(100) == b''


def test_writing_waits_in_the_hub(pair):
    ours, theirs = pair
    one = cooperative(ours)
    data = bytes(range(256)) * 10000
    writing = gevent.spawn(one.sendall, data)
    gevent.sleep(0.01)
    assert not writing.ready()
    received = b''
    while len(received) < len(data):
        received += theirs.recv(1 << 20)
    writing.get()
    assert received == data


def test_time_limits(pair):
    ours, _ = pair
    one = cooperative(ours)
    one.settimeout(0.01)
    assert one.gettimeout() == 0.01
    with pytest.raises(TimeoutError, match='timed out'):
        one.recv(1)
    with pytest.raises(TimeoutError, match='timed out'):
        one.sendall(bytes(10_000_000))


def test_options(pair):
    ours, _ = pair
    cooperative(ours).setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    assert ours.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF) == 8192


def test_tls_of_the_standard_library(pair, certificates):
    """Its reading may want to write, and its writing to read: it waits for the right one."""
    ours, theirs = pair
    context = ssl.create_default_context(cafile=certificates.ca)
    ours.setblocking(False)
    tls = context.wrap_socket(ours, server_hostname='localhost', do_handshake_on_connect=False)
    one = cooperative(tls)

    def serve():
        with certificates.server_context().wrap_socket(theirs, server_side=True) as peer:
            while data := peer.recv(65536):
                peer.sendall(data)

    serving = gevent.spawn(serve)
    data = b'x' * 500_000
    writing = gevent.spawn(one.sendall, data)  # it does the handshake
    received = b''
    while len(received) < len(data):
        received += one.recv(100_000)
    writing.get()
    assert received == data
    assert one.suppress_ragged_eofs
    one.suppress_ragged_eofs = False
    assert not tls.suppress_ragged_eofs
    assert not one.suppress_ragged_eofs
    tls.close()
    serving.join()


def test_only_tls_has_ragged_ends(pair):
    assert not hasattr(cooperative(pair[0]), 'suppress_ragged_eofs')


class Wants:
    """A TLS socket that wants to do the other thing first."""

    def __init__(self, sock):
        self.sock = sock
        self.errors = []

    def gettimeout(self):
        return 0.05

    def setblocking(self, flag):
        assert flag is False

    def fileno(self):
        return self.sock.fileno()

    def recv(self, size):
        if self.errors:
            raise self.errors.pop(0)
        return b'x' * size

    def send(self, data):
        if self.errors:
            raise self.errors.pop(0)
        return 2


@pytest.mark.parametrize('kind', [ssl.SSLWantReadError, ssl.SSLWantWriteError])
@pytest.mark.parametrize('work', ['recv', 'sendall'])
def test_what_tls_wants(pair, kind, work):
    """It waits for that alone: the socket is first ready for the other thing, then for this."""
    ours, theirs = pair
    wants = Wants(ours)
    one = cooperative(wants)
    argument = {'recv': 3, 'sendall': b'abcde'}[work]
    if kind is ssl.SSLWantWriteError:
        theirs.sendall(b'!')
        fill(ours)
    wants.errors = [kind()]
    with pytest.raises(TimeoutError):
        getattr(one, work)(argument)
    one.settimeout(None)
    wants.errors = [kind()]
    working = gevent.spawn(getattr(one, work), argument)
    if kind is ssl.SSLWantWriteError:
        theirs.recv(1 << 24)
    else:
        theirs.sendall(b'!')
    assert working.get() == (b'xxx' if work == 'recv' else None)
    assert wants.errors == []


def fill(sock):
    """Send until the socket takes no more."""
    sock.setblocking(False)
    with pytest.raises(BlockingIOError):
        while True:
            sock.send(bytes(1 << 16))
