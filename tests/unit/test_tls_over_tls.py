"""TLS over a connection that has TLS already, in memory: its socket does as it is told."""

from __future__ import annotations

import contextlib
import ssl

import certifi
import gevent
import pytest
from gevent import socket

from engineio_gevent.net import tls
from engineio_gevent.net.tls_over_tls import TLSOverTLS
from support import no_leaks, read_exactly, read_to_end

pytestmark = pytest.mark.time_limit(10)  # most of them take a hundredth of a second


class Wire:
    """Stands for the outer TLS socket. A server in memory is at its other end.

    :param waits: how it says that it would have to wait to send: an exception, or 0 as gevent's.
    """

    family, type, proto = socket.AF_INET, socket.SOCK_STREAM, 6

    def __init__(self, context, waits=ssl.SSLWantWriteError):
        self.waits = waits
        #: the bytes that it takes before it would have to wait
        self.room = 1 << 30
        #: the most that it takes at once
        self.at_once = 1 << 30
        self.sizes = []
        self.ended = False
        self.received = ssl.MemoryBIO()
        self.sent = ssl.MemoryBIO()
        self.peer = context.wrap_bio(self.received, self.sent, server_side=True)
        self.shaken = False
        self.calls = []

    def send(self, data):
        piece = bytes(data[: min(self.room, self.at_once)])
        if not piece:
            if self.waits == 0:
                return 0
            raise self.waits
        self.room -= len(piece)
        self.sizes.append(len(piece))
        self.received.write(piece)
        return len(piece)

    def recv(self, size):
        self.sizes_asked = size
        if not self.shaken:
            with contextlib.suppress(ssl.SSLWantReadError):
                self.peer.do_handshake()
                self.shaken = True
        data = self.sent.read(size)
        if not data and not self.ended:
            raise ssl.SSLWantReadError
        return data

    def read(self):
        """All that the peer can read now."""
        data = b''
        with contextlib.suppress(ssl.SSLWantReadError):
            while piece := self.peer.read(1 << 20):
                data += piece
        return data

    def __getattr__(self, name):
        return lambda *arguments: self.calls.append((name, *arguments)) or 77


@pytest.fixture
def context(certificates):
    return tls.context(certificates.ca, None, certifi.where)


@pytest.fixture
def connect(certificates, context):
    """`connect()`: a `Wire` and the socket over it, hands shaken."""

    def make(waits=ssl.SSLWantWriteError, suppress=True):
        wire = Wire(certificates.server_context(), waits)
        sock = TLSOverTLS(wire, context, 'localhost', suppress)
        sock.do_handshake()
        wire.peer.do_handshake()  # it gets the last of it
        with pytest.raises(ssl.SSLWantReadError):
            sock.recv(1)  # the tickets of TLS 1.3
        return wire, sock

    return make


def test_there_and_back(connect):
    wire, sock = connect()
    assert sock.send(b'hello') == 5
    assert wire.read() == b'hello'
    wire.peer.write(b'and back')
    assert sock.recv(3) == b'and'
    assert sock.recv(100) == b' back'
    with pytest.raises(ssl.SSLWantReadError):
        sock.recv(100)


def test_what_it_says_of_itself(connect):
    wire, sock = connect()
    assert sock.version() == wire.peer.version()
    assert isinstance(sock.tls, ssl.SSLObject)
    assert sock.cipher() == wire.peer.cipher()
    assert ('DNS', 'localhost') in sock.getpeercert()['subjectAltName']
    assert sock.getpeercert(True) == sock.getpeercert(binary_form=True) != sock.getpeercert()
    assert (sock.family, sock.type, sock.proto) == (socket.AF_INET, socket.SOCK_STREAM, 6)
    assert sock.fileno() == sock.detach() == sock.gettimeout() == 77
    sock.settimeout(5)
    sock.setsockopt(1, 2, 3)
    sock.close()
    assert wire.calls == [
        ('fileno',),
        ('detach',),
        ('gettimeout',),
        ('settimeout', 5),
        ('setsockopt', 1, 2, 3),
        ('close',),
    ]


def test_a_record_is_read_whole(connect):
    """The outer TLS has it ready: a second call would cost as much as the first."""
    wire, sock = connect()
    wire.peer.write(bytes(16384))
    assert len(sock.recv(65536)) == 16384
    assert wire.sizes_asked > 16384


@pytest.mark.parametrize('kind', [bytes, bytearray, memoryview])
def test_a_large_message_goes_out_by_records(connect, kind):
    wire, sock = connect()
    data = bytes(range(256)) * 256
    view = memoryview(kind(data))
    sizes = []
    while view:
        sizes.append(sock.send(view))
        view = view[sizes[-1] :]
    assert sizes == [16384] * 4
    assert wire.read() == data


def test_sendall(connect):
    wire, sock = connect()
    data = bytes(range(256)) * 200
    sock.sendall(data)
    sock.sendall(b'')
    assert wire.read() == data


@pytest.mark.parametrize('waits', [0, ssl.SSLWantWriteError, ssl.SSLWantReadError])
def test_a_socket_that_takes_no_more(connect, waits):
    """It is told at once: a loop around it would never end. Then the rest goes out, once."""
    wire, sock = connect(waits)
    wire.room = 100
    error = waits or ssl.SSLWantWriteError
    for _ in range(2):
        with pytest.raises(error):
            sock.send(b'x' * 1000)
    wire.room = 100
    with pytest.raises(error):
        sock.send(b'x' * 1000)
    wire.room = 1 << 20
    assert sock.send(b'x' * 1000 + b'next') == 1000
    assert sock.send(b'next') == 4
    assert wire.read() == b'x' * 1000 + b'next'


def test_a_socket_that_takes_few_bytes_at_once(connect):
    wire, sock = connect()
    wire.at_once = 300
    assert sock.send(b'x' * 1000) == 1000
    assert wire.read() == b'x' * 1000
    assert max(wire.sizes[-4:]) == 300


@pytest.mark.parametrize('waits', [0, ssl.SSLWantWriteError])
def test_a_peer_that_sends_and_does_not_read(connect, waits):
    """Both would wait for ever if nothing were read before what is queued has gone out."""
    wire, sock = connect(waits)
    wire.room = 0
    with pytest.raises(ssl.SSLWantWriteError):
        sock.send(b'x' * 1000)
    wire.peer.write(b'hello')
    assert sock.recv(100) == b'hello'
    with pytest.raises(ssl.SSLWantReadError):
        sock.recv(100)
    wire.room = 1 << 20
    with pytest.raises(ssl.SSLWantReadError):
        sock.recv(100)  # what is queued goes out
    assert wire.read() == b'x' * 1000
    assert sock.send(b'x' * 1000) == 1000
    assert wire.read() == b''


def test_the_end_of_tls(connect):
    """The peer's close_notify is an end of file, as often as one asks."""
    wire, sock = connect(suppress=False)
    wire.peer.write(b'last')
    with contextlib.suppress(ssl.SSLWantReadError):
        wire.peer.unwrap()
    assert [sock.recv(100) for _ in range(3)] == [b'last', b'', b'']


def test_an_end_of_tcp_without_one_of_tls(connect):
    wire, sock = connect()
    wire.peer.write(b'last')
    wire.ended = True
    assert [sock.recv(100) for _ in range(3)] == [b'last', b'', b'']
    wire, sock = connect(suppress=False)
    wire.ended = True
    with pytest.raises(ssl.SSLEOFError):
        sock.recv(100)


def test_an_end_within_the_handshake(certificates, context):
    wire = Wire(certificates.server_context())
    wire.ended = wire.shaken = True  # it says nothing
    with pytest.raises(ssl.SSLEOFError):
        TLSOverTLS(wire, context, 'localhost', True).do_handshake()
    assert wire.sizes  # our part of the handshake went out


def test_a_certificate_that_is_not_trusted(certificates):
    """The alert says so to the server."""
    wire = Wire(certificates.server_context())
    ctx = tls.context(True, None, certifi.where)
    with pytest.raises(ssl.SSLCertVerificationError, match='verify failed'):
        TLSOverTLS(wire, ctx, 'localhost', True).do_handshake()
    with pytest.raises(ssl.SSLError, match=r'(?i)unknown.?ca'):
        wire.peer.do_handshake()


def test_a_certificate_of_another_host(certificates, context):
    wire = Wire(certificates.server_context())
    with pytest.raises(ssl.SSLCertVerificationError, match=r'example\.test'):
        TLSOverTLS(wire, context, 'example.test', True).do_handshake()


def test_an_alert_that_cannot_be_sent(certificates):
    """The error is that of the certificate."""
    wire = Wire(certificates.server_context(), waits=BrokenPipeError)
    ctx = tls.context(True, None, certifi.where)
    real = wire.recv

    def recv(size):
        data = real(size)
        wire.room = 0
        return data

    wire.recv = recv
    with pytest.raises(ssl.SSLCertVerificationError, match='verify failed'):
        TLSOverTLS(wire, ctx, 'localhost', True).do_handshake()


# -- Over real sockets -----------------------------------------------------------------------------


@pytest.fixture
def tunnelled(certificates, context):
    """A function that opens TLS in TLS to `serve(sock)`, in a greenlet of its own."""
    greenlets = []

    def start(serve):
        ours, outer = socket.socketpair()
        relay, inner = socket.socketpair()
        server = certificates.server_context()

        def pump(source, target):
            with contextlib.suppress(OSError):
                while data := source.recv(65536):
                    target.sendall(data)
            target.close()

        def proxy():
            with contextlib.suppress(OSError):
                there = server.wrap_socket(outer, server_side=True)
                greenlets.append(gevent.spawn(pump, there, relay))
                pump(relay, there)

        def origin():
            with (
                contextlib.suppress(OSError),
                server.wrap_socket(inner, server_side=True) as sock,
            ):
                serve(sock)

        greenlets.extend([gevent.spawn(proxy), gevent.spawn(origin)])
        return tls.wrap(tls.wrap(ours, context, 'localhost'), context, 'localhost')

    with no_leaks():
        yield start
        gevent.joinall(greenlets, timeout=5)


def test_a_megabyte_both_ways(tunnelled):
    """More than the buffers hold, at the same time."""
    data = bytes(range(256)) * (1 << 12)
    got = []

    def serve(sock):
        sending = gevent.spawn(sock.sendall, data)
        got.append(read_exactly(sock, len(data)))
        sending.join()

    with contextlib.closing(tunnelled(serve)) as sock:
        assert isinstance(sock, TLSOverTLS)
        sock.sendall(data)
        assert read_exactly(sock, len(data)) == data
    assert got == [data]


def test_a_time_limit(tunnelled):
    with contextlib.closing(tunnelled(read_to_end)) as sock:
        sock.settimeout(0.01)
        assert sock.gettimeout() == 0.01
        with pytest.raises(TimeoutError):
            sock.recv(1)


def test_who_is_killed_in_the_inner_handshake(certificates, context):
    ours, outer = socket.socketpair()
    heard = []

    def proxy():
        with certificates.server_context().wrap_socket(outer, server_side=True) as sock:
            heard.append(sock.recv(1))
            ready.set()
            read_to_end(sock)

    ready = gevent.event.Event()
    with no_leaks():
        serving = gevent.spawn(proxy)
        opening = gevent.spawn(
            lambda: tls.wrap(tls.wrap(ours, context, 'localhost'), context, 'localhost')
        )
        assert ready.wait(5)
        opening.kill()
        serving.get(timeout=5)
    assert heard == [b'\x16']
