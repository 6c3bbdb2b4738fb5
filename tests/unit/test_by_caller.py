"""The option `dial`: a function of the caller's that opens the connections."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import socket as standard
import ssl

import gevent
import gevent.ssl
import pytest
from gevent import socket

import support
from engineio_gevent.exceptions import ConnectionClosed
from engineio_gevent.net import dial
from engineio_gevent.net.by_caller import open_by_caller
from engineio_gevent.net.plain import PlainSocket
from support import no_leaks, settle

pytestmark = pytest.mark.time_limit(5)  # most of them take a hundredth of a second

NODELAY = socket.IPPROTO_TCP, socket.TCP_NODELAY


@pytest.fixture
def listener():
    with socket.socket() as sock:
        sock.bind(('127.0.0.1', 0))
        sock.listen()
        yield sock


# -- Sockets ---------------------------------------------------------------------------------------


def plain_socket(address):
    return dial.open_socket(*address)


@pytest.mark.parametrize(
    'kind', [socket.create_connection, standard.create_connection, plain_socket]
)
def test_a_socket_of_the_caller(listener, kind):
    asked = []

    def connect(host, port):
        asked.append((host, port))
        return kind(listener.getsockname())

    with no_leaks(), open_by_caller(connect, 'server.test', 80) as sock:
        assert asked == [('server.test', 80)]
        assert type(sock) is PlainSocket
        assert sock.getpeername() == listener.getsockname()
        assert sock.getsockopt(*NODELAY)
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        assert (sock.gettimeout(), sock.getblocking()) == (None, False)


def test_an_ipv6_socket():
    if not support.has_ipv6():
        pytest.skip('no IPv6 here')
    with socket.socket(socket.AF_INET6) as listener:
        listener.bind(('::1', 0))
        listener.listen()

        def connect(host, port):
            return socket.create_connection(listener.getsockname()[:2])

        with open_by_caller(connect, 'server.test', 80) as sock:
            assert sock.getsockopt(*NODELAY)


def test_options_of_the_caller_go_last(listener):
    def connect(host, port):
        return socket.create_connection(listener.getsockname())

    with open_by_caller(connect, 'x.test', 80, [(*NODELAY, 0)]) as sock:
        assert not sock.getsockopt(*NODELAY)


def test_options_of_the_dialer(listener):
    """Those of the client come before those of a websocket."""

    def connect(host, port):
        return socket.create_connection(listener.getsockname())

    dialer = dial.make_dialer(connect, None, [(*NODELAY, 0)])
    with dialer.open('x.test', 80, None) as sock:
        assert not sock.getsockopt(*NODELAY)
    with dialer.open('x.test', 80, None, [(*NODELAY, 1)]) as sock:
        assert sock.getsockopt(*NODELAY)


@pytest.mark.parametrize(
    ('option', 'error'), [((socket.SOL_SOCKET, 12345, 1), OSError), (('a', 'b', 'c'), TypeError)]
)
def test_an_option_that_is_refused_closes_the_socket(listener, option, error):
    def connect(host, port):
        return socket.create_connection(listener.getsockname())

    with no_leaks(), pytest.raises(error):
        open_by_caller(connect, 'x.test', 80, [option])


def test_a_pair_of_sockets():
    """A helper process has the other end, as with the option ProxyCommand of ssh."""
    ours, theirs = socket.socketpair()
    with theirs, open_by_caller(lambda host, port: ours, 'x.test', 80) as sock:
        theirs.sendall(b'x')
        assert sock.recv(1) == b'x'


@pytest.mark.parametrize('patched', [False, True])
def test_a_socket_with_tls(certificates, patched, monkeypatch):
    """It stays as it is: the descriptor alone would lose the TLS."""
    if patched:
        monkeypatch.setattr(ssl, 'SSLSocket', gevent.ssl.SSLSocket)

    def serve(sock):
        sock.sendall(sock.recv(1))

    server = support.HostileServer(serve, ssl_context=certificates.server_context())
    context = gevent.ssl.SSLContext(gevent.ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(certificates.ca)

    def connect(host, port):
        sock = socket.create_connection(('127.0.0.1', server.port), timeout=3)
        return context.wrap_socket(sock, server_hostname='localhost')

    with open_by_caller(connect, 'x.test', 80) as sock:
        assert isinstance(sock, gevent.ssl.SSLSocket)
        assert sock.gettimeout() is None
        assert sock.getsockopt(*NODELAY)
        sock.sendall(b'x')
        assert sock.recv(1) == b'x'
    server.stop()


# -- What is no connected socket -------------------------------------------------------------------


def fails(connect):
    """The error of a function."""
    with no_leaks(), pytest.raises(ConnectionClosed) as caught:
        open_by_caller(connect, 'x.test', 80)
    return caught.value


@pytest.mark.parametrize('wrong', [None, 7, 'socket', ()])
def test_what_is_no_socket(wrong):
    error = fails(lambda host, port: wrong)
    assert str(error) == f'dial must return a connected socket, not {wrong!r}'


def test_a_long_text():
    assert len(str(fails(lambda host, port: 'x' * 1000))) < 200


def test_half_a_socket():
    class Half:
        detach = None

        def __repr__(self):
            return 'half'

    assert str(fails(lambda host, port: Half())).endswith('not half')


def test_a_closed_socket(listener):
    def connect(host, port):
        with socket.create_connection(listener.getsockname()) as sock:
            return sock

    assert str(fails(connect)) == 'dial returned a closed socket'


@pytest.mark.parametrize('kind', [socket.socket, standard.socket])
def test_a_socket_that_is_not_connected(kind):
    error = fails(lambda host, port: kind())
    assert str(error) == 'dial returned a socket that is not connected'
    assert error.__cause__.errno == errno.ENOTCONN


def test_a_tls_socket_that_would_block(listener):
    def connect(host, port):
        return ssl.create_default_context().wrap_socket(
            standard.create_connection(listener.getsockname()),
            server_hostname='x.test',
            do_handshake_on_connect=False,
        )

    assert str(fails(connect)) == (
        'dial returned a TLS socket that would block the thread: use gevent.ssl.SSLContext'
    )


# -- Errors ----------------------------------------------------------------------------------------


class Stop(Exception):
    """As that of `gevent.Timeout(5, Stop)`."""


@pytest.mark.parametrize(
    ('error', 'message'),
    [
        (ValueError('no such host'), 'dial raised ValueError: no such host'),
        (KeyError('x.test'), "dial raised KeyError: 'x.test'"),
        (Stop('now'), 'dial raised Stop: now'),
        (gevent.Timeout(0.1), 'dial raised Timeout: 0.1 seconds'),
        (gevent.Timeout(0.1, 'too late'), 'dial raised Timeout: 0.1 seconds: too late'),
    ],
)
def test_a_function_that_fails(error, message):
    def connect(host, port):
        raise error

    caught = fails(connect)
    assert str(caught) == message
    assert caught.__cause__ is error


def test_errors_of_the_system_are_those_of_any_connection():
    error = OSError(errno.EHOSTUNREACH, os.strerror(errno.EHOSTUNREACH))

    def connect(host, port):
        raise error

    with pytest.raises(OSError, match=re.escape(error.strerror)) as caught:
        open_by_caller(connect, 'x.test', 80)
    assert caught.value is error


# -- Interruption ----------------------------------------------------------------------------------


def outcome(connect):
    """What it returns, or its exception."""
    try:
        return open_by_caller(connect, 'x.test', 80)
    except Exception as exc:
        return exc


def endless(host, port):
    """Try again, whatever is raised."""
    while True:
        with contextlib.suppress(Exception):
            gevent.sleep(60)


@pytest.mark.parametrize('timeout', [gevent.Timeout(0.01), gevent.Timeout(0.01, Stop())])
def test_a_function_that_tries_again_does_not_outlive_a_time_out(timeout):
    error = timeout.exception or gevent.Timeout
    with no_leaks():
        with pytest.raises(type(error) if isinstance(error, Exception) else error), timeout:
            open_by_caller(endless, 'x.test', 80)
        settle()


def test_one_that_is_killed():
    with no_leaks():
        opening = gevent.spawn(open_by_caller, endless, 'x.test', 80)
        settle()
        opening.kill()
        settle()
    assert isinstance(opening.value, gevent.GreenletExit)


def test_a_function_whose_greenlet_is_killed():
    greenlets = []

    def connect(host, port):
        greenlets.append(gevent.getcurrent())
        gevent.sleep(60)

    opening = gevent.spawn(outcome, connect)
    settle()
    greenlets[0].kill()
    error = opening.get()
    assert isinstance(error, ConnectionClosed)
    assert str(error) == 'the greenlet of dial was killed'


@pytest.mark.parametrize('returned', [True, False])
def test_a_socket_that_comes_too_late(listener, returned):
    """It is closed, whether it comes after the time-out or before it in the same turn."""
    go_on = gevent.event.Event()
    opened = []

    def connect(host, port):
        sock = socket.create_connection(listener.getsockname())
        opened.append(sock)
        try:
            go_on.wait()
        except gevent.GreenletExit:
            assert not returned
        return sock

    with no_leaks():
        opening = gevent.spawn(outcome, connect)
        assert support.eventually(lambda: opened)
        if returned:
            go_on.set()
            gevent.get_hub().loop.run_callback(opening.throw, Stop())
        else:
            opening.kill(Stop())
        assert isinstance(opening.get(), Stop)
        settle()
        assert opened[0].fileno() == -1


def test_a_function_that_does_not_end_delays_nobody():
    go_on = gevent.event.Event()

    def connect(host, port):
        with contextlib.suppress(gevent.GreenletExit):
            gevent.sleep(60)
        go_on.wait()

    opening = gevent.spawn(outcome, connect)
    settle()
    opening.kill(Stop(), block=False)
    settle()
    assert opening.ready()
    go_on.set()
    settle()


def test_what_comes_too_late_may_be_anything():
    with no_leaks():
        for late in (None, Stop()):

            def connect(host, port, late=late):
                try:
                    gevent.sleep(60)
                except gevent.GreenletExit:
                    if late is not None:
                        raise late from None

            opening = gevent.spawn(outcome, connect)
            settle()
            opening.kill()
            settle()
