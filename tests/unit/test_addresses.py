"""UNIX sockets, and hosts with fixed addresses."""

import errno
import os
import re
from pathlib import Path

import gevent
import pytest
from gevent import socket

from engineio_gevent import addresses
from engineio_gevent.addresses import pinned, unix_socket
from support import free_port, has_ipv6, no_leaks, settle

pytestmark = pytest.mark.time_limit(5)  # most of them take a hundredth of a second


# -- UNIX sockets ----------------------------------------------------------------------------------


@pytest.fixture
def path(tmp_path):
    """The path of a UNIX socket whose queue takes one connection."""
    return tmp_path / 'socket'


@pytest.fixture
def listener(path):
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(path))
        sock.listen(0)
        yield sock


@pytest.mark.parametrize('kind', [str, os.fsencode, Path])
def test_a_path(listener, path, kind):
    with no_leaks(), unix_socket(kind(path))('any.test', 80) as sock:
        peer, _ = listener.accept()
        with peer:
            sock.sendall(b'hello')
            assert peer.recv(5) == b'hello'
        assert (sock.family, sock.type, sock.proto) == (socket.AF_UNIX, socket.SOCK_STREAM, 0)
        assert not sock.getblocking()


def test_an_abstract_name():
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind('\0engineio-gevent-test-' + 'x' * 86)  # the longest
        listener.listen()
        assert len(listener.getsockname()) == 108
        with unix_socket(listener.getsockname())('any.test', 80) as sock:
            assert sock.getpeername() == listener.getsockname()


def test_each_call_connects_anew(listener, path):
    dial = unix_socket(path)
    with dial('any.test', 80) as one:
        listener.accept()[0].close()
        with dial('any.test', 80) as other:
            assert one.fileno() != other.fileno()


@pytest.mark.parametrize(
    ('name', 'shown', 'error'),
    [
        ('{}/none', '{}/none', FileNotFoundError),
        ('\0engineio-gevent-none', '@engineio-gevent-none', ConnectionRefusedError),
        ('{}/file', '{}/file', ConnectionRefusedError),
    ],
)
def test_nobody_listens(tmp_path, name, shown, error):
    (tmp_path / 'file').touch()
    with no_leaks(), pytest.raises(error) as caught:
        unix_socket(name.format(tmp_path))('any.test', 80)
    assert caught.value.strerror == f'{shown.format(tmp_path)}: {os.strerror(caught.value.errno)}'


@pytest.fixture
def full(listener, path):
    """The path of a listener that has no room for another connection."""
    with unix_socket(path)('any.test', 80), socket.socket(socket.AF_UNIX) as another:
        another.setblocking(False)
        if another.connect_ex(str(path)) != errno.EAGAIN:
            pytest.skip('this system lets any number of connections wait')
        yield path


def test_a_full_queue_is_waited_for(listener, full):
    connecting = [gevent.spawn(unix_socket(full), 'any.test', 80) for _ in range(20)]
    settle()
    assert not any(one.ready() for one in connecting)
    accepted = [listener.accept()[0] for _ in range(1 + len(connecting))]
    for one in connecting:
        one.get().close()
    for sock in accepted:
        sock.close()


def test_one_client_at_a_time_tries_again(full, monkeypatch):
    tries = []
    monkeypatch.setattr(addresses, 'sleep', lambda seconds: (tries.append(1), gevent.sleep(60)))
    connecting = [gevent.spawn(unix_socket(full), 'any.test', 80) for _ in range(5)]
    settle()
    assert len(tries) == 1
    # Another path has its own turns.
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(f'{full}2')
        other.listen(0)
        with unix_socket(f'{full}2')('any.test', 80):
            connecting.append(gevent.spawn(unix_socket(f'{full}2'), 'any.test', 80))
            settle()
            assert len(tries) == 2
            gevent.killall(connecting)


@pytest.mark.parametrize('number', [0, 1])
def test_one_that_is_killed_while_it_waits(listener, full, number):
    with no_leaks():
        connecting = [gevent.spawn(unix_socket(full), 'any.test', 80) for _ in range(2)]
        settle()
        connecting.pop(number).kill()
        for _ in range(2):
            listener.accept()[0].close()
        connecting[0].get().close()


def test_the_delay_lets_others_run(full):
    connecting = gevent.spawn(unix_socket(full), 'any.test', 80)
    gevent.sleep(5 * addresses.RETRY_DELAY)
    assert 0 < addresses.RETRY_DELAY < 0.1
    connecting.kill()


@pytest.mark.parametrize('path', ['', b'', 7, None, 'a\0b', '/\0', 'x' * 108, '\0' + 'x' * 108])
def test_what_is_no_path(path):
    with pytest.raises(ValueError, match=re.escape(repr(path))):
        unix_socket(path)


def test_the_longest_path():
    with pytest.raises(FileNotFoundError):
        unix_socket('/none/' + 'x' * 101)('any.test', 80)


# -- Fixed addresses -------------------------------------------------------------------------------


@pytest.fixture
def port():
    """The port of a listener on 127.0.0.1 and, if there is IPv6, on ::1."""
    with socket.socket() as sock, socket.socket(socket.AF_INET6) as other:
        sock.bind(('127.0.0.1', 0))
        sock.listen()
        if has_ipv6():
            other.bind(('::1', sock.getsockname()[1]))
            other.listen()
        yield sock.getsockname()[1]


@pytest.fixture(autouse=True)
def lookups(monkeypatch):
    """The names that are looked up; the answer is 127.0.0.1."""
    asked = []

    def getaddrinfo(host, *arguments):
        asked.append(host)
        return socket_getaddrinfo('127.0.0.1', *arguments)

    socket_getaddrinfo = socket.getaddrinfo
    monkeypatch.setattr('engineio_gevent.net.resolve.socket.getaddrinfo', getaddrinfo)
    monkeypatch.setattr('engineio_gevent.net.resolve._cache', {})
    return asked


@pytest.mark.parametrize(
    ('key', 'host'),
    [
        ('x.test', 'x.test'),
        ('x.test:{}', 'x.test'),
        ('X.Test', 'x.test'),
        ('x.test', 'X.TEST'),
        ('bücher.test', 'xn--bcher-kva.test'),
        ('xn--bcher-kva.test', 'xn--bcher-kva.test'),
        ('192.0.2.1', '192.0.2.1'),
        ('192.0.2.1:{}', '192.0.2.1'),
        ('[2001:db8::1]', '2001:db8::1'),
        ('[2001:DB8::1]:{}', '2001:db8::1'),
    ],
)
def test_a_pinned_host(port, lookups, key, host):
    with no_leaks(), pinned({key.format(port): '127.0.0.1'})(host, port) as sock:
        assert sock.getpeername() == ('127.0.0.1', port)
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
    assert lookups == []


@pytest.mark.skipif(not has_ipv6(), reason='no IPv6 here')
def test_an_ipv6_address(port):
    with pinned({'x.test': '::1'})('x.test', port) as sock:
        assert sock.getpeername()[:2] == ('::1', port)


@pytest.mark.parametrize('key', ['other.test', 'x.test:1', 'test', 'x'])
def test_other_hosts_are_looked_up(port, lookups, key):
    with pinned({key: '192.0.2.1'})('x.test', port) as sock:
        assert sock.getpeername() == ('127.0.0.1', port)
    assert lookups == ['x.test']


@pytest.mark.parametrize('turn', [1, -1])
def test_an_entry_with_a_port_goes_first(port, turn):
    hosts = {'x.test': '192.0.2.1', f'x.test:{port}': '127.0.0.1'}
    with pinned(dict(list(hosts.items())[::turn]))('x.test', port) as sock:
        assert sock.getpeername() == ('127.0.0.1', port)


def test_later_changes_of_the_mapping_have_no_effect(port):
    hosts = {'x.test': '127.0.0.1'}
    dial = pinned(hosts)
    hosts['x.test'] = '192.0.2.1'
    dial('x.test', port).close()


def test_an_error_names_the_address():
    with pytest.raises(ConnectionRefusedError) as caught:
        pinned({'x.test': '127.0.0.1'})('x.test', free_port())
    assert caught.value.strerror == f'127.0.0.1: {os.strerror(errno.ECONNREFUSED)}'


@pytest.mark.parametrize(
    ('key', 'value', 'what'),
    [
        ('x.test', 'localhost', 'localhost'),
        ('x.test', '', ''),
        ('x.test', '[::1]', '[::1]'),
        ('x.test', None, 'None'),
        ('x.test', 7, '7'),
        ('', '127.0.0.1', ''),
        (':80', '127.0.0.1', ':80'),
        ('::1', '127.0.0.1', '::1'),
        ('[::1', '127.0.0.1', '[::1'),
        ('x.test:http', '127.0.0.1', 'x.test:http'),
        ('x.test:65536', '127.0.0.1', 'x.test:65536'),
        ('me@x.test', '127.0.0.1', 'me@x.test'),
        ('x.test/path', '127.0.0.1', 'x.test/path'),
        ('http://x.test', '127.0.0.1', 'http://x.test'),
        ('x.test\n', '127.0.0.1', 'x.test\n'),
        ('ü' * 64 + '.test', '127.0.0.1', 'ü' * 64 + '.test'),
        (7, '127.0.0.1', 7),
    ],
)
def test_what_cannot_be_pinned(key, value, what):
    with pytest.raises(ValueError, match=f'^pinned: .*{re.escape(repr(what))}'):
        pinned({key: value})
