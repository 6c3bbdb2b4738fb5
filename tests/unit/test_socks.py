"""SOCKS 4 and 5, byte by byte, from the side of the client."""

from __future__ import annotations

import sys

import gevent
import pytest
from gevent import socket
from gevent.event import Event

from engineio_gevent.exceptions import ConnectionClosed
from engineio_gevent.net import socks
from engineio_gevent.net.dial import DIRECT, Dialer
from engineio_gevent.net.tunnel import Proxy, open_tunnel
from support import HostileServer, no_leaks, outcome, read_exactly, read_to_end, reset, settle

pytestmark = pytest.mark.time_limit(5)  # most of them take a hundredth of a second

OK_5 = b'\5\0\0\1' + bytes(6)
OK_4 = b'\0\x5a' + bytes(6)
#: a name, an address of IPv4 and of IPv6 with port 80, as SOCKS 5 writes them
NAME = b'\3\x0bserver.test\0\x50'
IPV4 = b'\1\xc0\0\2\7\0\x50'
IPV6 = b'\4\x20\1\x0d\xb8' + bytes(11) + b'\1\0\x50'


class Script:
    """A proxy that expects and says these bytes in turn, and then echoes."""

    def __init__(self, *pairs):
        self.pairs = pairs
        self.heard = []

    def __call__(self, sock):
        for expected, answer in self.pairs:
            self.heard.append(read_exactly(sock, len(expected)))
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for byte in answer:
                sock.sendall(bytes([byte]))
        while data := sock.recv(100):
            sock.sendall(data)


@pytest.fixture(autouse=True)
def addresses(monkeypatch):
    """The addresses of the hosts; a list for each."""
    known = {
        'server.test': ['192.0.2.7'],
        'six.test': ['2001:db8::1'],
        'both.test': ['2001:db8::1', '192.0.2.7'],
        'scope.test': ['fe80::1%1'],
    }
    monkeypatch.setattr(
        socks, 'look_up', lambda host, port: [(0, 0, 0, '', (one, port)) for one in known[host]]
    )
    return known


def through(script, scheme, host='server.test', user=None, password='', port=80):
    """Open a tunnel, and see that what follows the proxy's answer is the server's."""
    with no_leaks(), HostileServer(script) as server:
        proxy = Proxy(scheme, '127.0.0.1', server.port, user, password)
        with open_tunnel(proxy, host, port, DIRECT, 5) as sock:
            sock.sendall(b'hello')
            assert read_exactly(sock, 5) == b'hello'
            assert sock.gettimeout() is None
        server.wait_open(0)
    assert script.heard == [expected for expected, _ in script.pairs]


def refused(script, scheme, host='server.test', user=None, password=''):
    """The text of the error, without its beginning."""
    with no_leaks(), HostileServer(script) as server:
        proxy = Proxy(scheme, '127.0.0.1', server.port, user, password)
        with pytest.raises(ConnectionClosed) as caught:
            open_tunnel(proxy, host, 80, DIRECT, 5)
        server.wait_open(0)
    via = f'{host}:80 via proxy 127.0.0.1:{server.port}: '
    assert str(caught.value).startswith(via)
    assert isinstance(caught.value.__cause__, OSError)
    return str(caught.value).removeprefix(via)


# -- Version 5 -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ('scheme', 'host', 'target'),
    [
        ('socks5h', 'server.test', NAME),
        ('socks5h', '192.0.2.7', IPV4),
        ('socks5h', '2001:db8::1', IPV6),
        ('socks5', 'server.test', IPV4),
        ('socks5', 'six.test', IPV6),
        ('socks5', 'both.test', IPV6),
    ],
)
def test_version_5(scheme, host, target):
    through(Script((b'\5\1\0', b'\5\0'), (b'\5\1\0' + target, OK_5)), scheme, host)


def test_an_address_with_a_scope():
    """A scope has a meaning on this machine only."""
    target = b'\4\xfe\x80' + bytes(13) + b'\1\0\x50'
    through(Script((b'\5\1\0', b'\5\0'), (b'\5\1\0' + target, OK_5)), 'socks5', 'scope.test')


@pytest.mark.parametrize('bound', [IPV4, IPV6, NAME, b'\3\1x\0\1', b'\3\xff' + b'x' * 257])
def test_the_address_in_the_answer_is_read(bound):
    """And not a byte more: the next ones are the server's."""
    answer = b'\5\0\0' + bound
    through(Script((b'\5\1\0', b'\5\0'), (b'\5\1\0' + NAME, answer)), 'socks5h')


def test_an_answer_in_pieces_and_the_first_bytes_of_the_server():
    def serve(sock):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        read_exactly(sock, 3)
        sock.sendall(b'\5\0')
        read_exactly(sock, 3 + len(NAME))
        sock.sendall(OK_5[:6])
        settle()  # it has been read
        sock.sendall(OK_5[6:] + b'first')
        read_to_end(sock)

    with no_leaks(), HostileServer(serve) as server:
        proxy = Proxy('socks5h', '127.0.0.1', server.port)
        with open_tunnel(proxy, 'server.test', 80, DIRECT, 5) as sock:
            assert read_exactly(sock, 5) == b'first'
        server.wait_open(0)


def test_the_longest_name():
    host = 'x' * 255
    target = b'\3\xff' + host.encode() + b'\0\x50'
    through(Script((b'\5\1\0', b'\5\0'), (b'\5\1\0' + target, OK_5)), 'socks5h', host)


def test_credentials():
    script = Script(
        (b'\5\2\0\2', b'\5\2'),
        (b'\1\4some\7secr\xc3\xa9t', b'\1\0'),
        (b'\5\1\0' + NAME, OK_5),
    )
    through(script, 'socks5h', user='some', password='secrét')


def test_credentials_that_are_not_asked_for():
    script = Script((b'\5\2\0\2', b'\5\0'), (b'\5\1\0' + NAME, OK_5))
    through(script, 'socks5h', user='some', password='secret')


@pytest.mark.parametrize('size', [255, 256])
@pytest.mark.parametrize('which', ['user', 'password'])
def test_the_longest_credentials(size, which):
    """In bytes. The length is one byte of the message."""
    text = 'ü' * (size // 2) + 'x' * (size % 2)
    given = {'user': 'u', 'password': 'p', which: text}
    secrets = [given[name].encode() for name in ('user', 'password')]
    message = b'\1' + b''.join(bytes([len(one) % 256]) + one for one in secrets)
    if size > 255:
        script = Script((b'\5\2\0\2', b'\5\2'))
        assert refused(script, 'socks5h', **given) == (
            'user and password for a SOCKS proxy must not exceed 255 bytes'
        )
    else:
        script = Script((b'\5\2\0\2', b'\5\2'), (message, b'\1\0'), (b'\5\1\0' + NAME, OK_5))
        through(script, 'socks5h', **given)


GREETING = (b'\5\1\0', b'\5\0')


@pytest.mark.parametrize(
    ('pairs', 'user', 'text'),
    [
        ([(b'\5\1\0', b'\5\xff')], None, 'it wants a user and a password'),
        ([(b'\5\1\0', b'\5\2')], None, 'it wants a user and a password'),
        ([(b'\5\2\0\2', b'\5\xff')], 'u', 'all offered authentication methods were rejected'),
        ([(b'\5\2\0\2', b'\5\1')], 'u', 'all offered authentication methods were rejected'),
        ([(b'\5\2\0\2', b'\5\2'), (b'\1\1u\0', b'\1\1')], 'u', 'authentication failed'),
        ([GREETING, (b'\5\1\0' + NAME, b'\5\5' + OK_5[2:])], None, 'connection refused'),
        ([GREETING, (b'\5\1\0' + NAME, b'\5\4' + OK_5[2:])], None, 'host unreachable'),
        ([GREETING, (b'\5\1\0' + NAME, b'\5\1' + OK_5[2:])], None, 'general server failure'),
    ],
)
def test_refusals(pairs, user, text):
    assert refused(Script(*pairs), 'socks5h', user=user) == f'the SOCKS proxy refused: {text}'


@pytest.mark.parametrize(
    'pairs',
    [
        [(b'\5\1\0', b'HT')],
        [GREETING, (b'\5\1\0' + NAME, b'\4\0\0\1' + bytes(6))],
        [GREETING, (b'\5\1\0' + NAME, b'\5\0\0\7' + bytes(6))],
        [GREETING, (b'\5\1\0' + NAME, b'\5\x77\0\1' + bytes(6))],
    ],
)
def test_answers_that_are_not_socks(pairs):
    text = refused(Script(*pairs), 'socks5h')
    assert text.startswith('invalid SOCKS answer from the proxy: ')


@pytest.mark.parametrize('answers', [[], [b'\5'], [b'\5\0', b'\5\0\0'], [b'\5\0', OK_5[:-1]]])
def test_a_proxy_that_closes(answers):
    def serve(sock):
        for expected, answer in zip([3, len(NAME) + 3], answers, strict=False):
            read_exactly(sock, expected)
            sock.sendall(answer)
        sock.shutdown(socket.SHUT_WR)
        read_to_end(sock)

    assert refused(serve, 'socks5h') == 'the proxy closed the connection'


# -- Version 4 -------------------------------------------------------------------------------------

BY_ADDRESS = b'\4\1\0\x50\xc0\0\2\7'
BY_NAME = b'\4\1\0\x50\0\0\0\xff'


@pytest.mark.parametrize(
    ('scheme', 'host', 'user', 'request_'),
    [
        ('socks4', 'server.test', None, BY_ADDRESS + b'\0'),
        ('socks4', 'both.test', None, BY_ADDRESS + b'\0'),
        ('socks4', 'server.test', 'some', BY_ADDRESS + b'some\0'),
        ('socks4a', '192.0.2.7', None, BY_ADDRESS + b'\0'),
        ('socks4a', 'server.test', 'ü', BY_NAME + 'ü'.encode() + b'\0server.test\0'),
    ],
)
def test_version_4(scheme, host, user, request_):
    through(Script((request_, OK_4)), scheme, host, user)


def test_version_4_has_no_ipv6():
    with HostileServer(read_to_end) as server:
        proxy = Proxy('socks4', '127.0.0.1', server.port)
        with no_leaks(), pytest.raises(ConnectionClosed) as caught:
            open_tunnel(proxy, 'six.test', 80, DIRECT, 5)
        server.wait_open(0)
    assert str(caught.value).endswith('six.test has no IPv4 address, which SOCKS 4 needs')


@pytest.mark.parametrize(
    ('answer', 'text'),
    [
        (b'\0\x5b' + bytes(6), 'the SOCKS proxy refused: request rejected or failed'),
        (b'\0\x11' + bytes(6), 'invalid SOCKS answer from the proxy: '),
        (b'HTTP/1.1', 'invalid SOCKS answer from the proxy: '),
    ],
)
def test_refusals_of_version_4(answer, text):
    assert refused(Script((BY_ADDRESS + b'\0', answer)), 'socks4').startswith(text)


# -- Both ------------------------------------------------------------------------------------------


@pytest.mark.parametrize('scheme', ['socks4', 'socks4a', 'socks5', 'socks5h'])
def test_a_proxy_that_says_nothing(scheme):
    with no_leaks(), HostileServer(read_to_end) as server:
        proxy = Proxy(scheme, '127.0.0.1', server.port)
        with pytest.raises(ConnectionClosed, match=r'timed out$'):
            open_tunnel(proxy, 'server.test', 80, DIRECT, 0.01)
        server.wait_open(0)


# How far the handshake has come when the proxy falls silent.
STALLS = [
    *((scheme, None, []) for scheme in ('socks4', 'socks4a', 'socks5', 'socks5h')),
    ('socks4', None, [(BY_ADDRESS + b'\0', OK_4[:1])]),
    ('socks4', None, [(BY_ADDRESS + b'\0', OK_4[:7])]),
    ('socks5h', None, [(b'\5\1\0', b'\5')]),
    ('socks5h', None, [GREETING]),
    *(('socks5h', None, [GREETING, (b'\5\1\0' + NAME, OK_5[:count])]) for count in (1, 4, 9)),
    ('socks5h', None, [GREETING, (b'\5\1\0' + NAME, b'\5\0\0\3\x0bser')]),
    ('socks5h', 'me', [(b'\5\2\0\2', b'\5\2')]),
    ('socks5h', 'me', [(b'\5\2\0\2', b'\5\2'), (b'\1\2me\0', b'\1')]),
    ('socks5h', 'me', [(b'\5\2\0\2', b'\5\2'), (b'\1\2me\0', b'\1\0')]),
]


@pytest.mark.parametrize('end', ['time', 'kill', 'timeout', 'reset'])
@pytest.mark.parametrize(('scheme', 'user', 'pairs'), STALLS)
def test_no_descriptor_is_left_at_any_step(scheme, user, pairs, end):
    """Whether the time is up, the caller is killed or gives up, or the proxy resets."""
    silent = Event()

    def serve(sock):
        try:
            for expected, answer in pairs:
                assert read_exactly(sock, len(expected)) == expected
                sock.sendall(answer)
            settle()
        finally:  # the time may be up before
            silent.set()
        if end == 'reset':
            reset(sock)
        read_to_end(sock)

    with no_leaks(), HostileServer(serve) as server:
        proxy = Proxy(scheme, '127.0.0.1', server.port, user)
        limit = gevent.Timeout(None)

        def open_it():
            with limit:
                open_tunnel(proxy, 'server.test', 80, DIRECT, 0.05 if end == 'time' else None)

        opening = gevent.spawn(outcome, open_it)
        assert silent.wait(5)
        if end == 'kill':
            opening.kill(block=False)
        elif end == 'timeout':
            opening.kill(limit, block=False)
        error = opening.get(timeout=5)
        server.wait_open(0)
        assert isinstance(
            error,
            {'kill': gevent.GreenletExit, 'timeout': gevent.Timeout}.get(end, ConnectionClosed),
        )


@pytest.mark.parametrize('scheme', ['socks4a', 'socks5h'])
def test_a_name_that_is_too_long(scheme):
    assert refused(read_to_end, scheme, 'x' * 256) == 'the host name is too long for SOCKS'


@pytest.mark.parametrize('scheme', ['socks4', 'socks4a', 'socks5', 'socks5h'])
def test_without_socksio(monkeypatch, scheme):
    """One hears of it before anything is opened."""
    monkeypatch.setitem(sys.modules, 'socksio', None)
    with pytest.raises(ConnectionClosed) as caught:
        open_tunnel(Proxy(scheme, 'p.test', 1), 'server.test', 80, Dialer(print), 5)
    assert str(caught.value) == (
        'server.test:80 via proxy p.test:1: socksio is not installed: '
        'pip install "engineio-gevent[socks]"'
    )
