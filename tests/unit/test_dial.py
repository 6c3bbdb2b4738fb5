"""Connecting to the first address that answers, from where and how the caller wants."""

from __future__ import annotations

import errno
import os
import re

import gevent
import pytest
from gevent import socket

from engineio_gevent.net import dial, race
from support import free_port, has_ipv6, no_leaks, settle, swallowing

pytestmark = pytest.mark.time_limit(5)  # most of them take a hundredth of a second


def address(ip, port=80, family=socket.AF_INET):
    return (family, socket.SOCK_STREAM, 6, '', (ip, port))


# -- Connecting ------------------------------------------------------------------------------------


@pytest.fixture
def listener():
    with socket.socket() as sock:
        sock.bind(('127.0.0.1', 0))
        sock.listen()
        yield sock


def test_a_connection(listener):
    with dial.open_socket(*listener.getsockname()) as sock:
        peer, _ = listener.accept()
        with peer:
            sock.sendall(b'hello')
            assert peer.recv(5) == b'hello'
            assert sock.gettimeout() is None


def test_small_frames_do_not_wait(listener):
    with dial.open_socket(*listener.getsockname()) as sock:
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)


def test_an_option_that_the_system_refuses(listener):
    with pytest.raises(OSError, match=re.escape('sockopt (1, 9999, 1): ')) as caught:
        dial.open_socket(*listener.getsockname(), [(1, 9999, 1)])
    assert caught.value.errno == errno.ENOPROTOOPT


def test_the_options_of_the_caller_go_last(listener):
    options = [
        (socket.IPPROTO_TCP, socket.TCP_NODELAY, 0),
        (socket.SOL_SOCKET, socket.SO_RCVBUF, 65536),
    ]
    with dial.open_socket(*listener.getsockname(), options) as sock:
        assert not sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF) in (65536, 131072)


@pytest.mark.skipif(not has_ipv6(), reason='no IPv6 here')
def test_ipv6():
    with socket.socket(socket.AF_INET6) as listener:
        listener.bind(('::1', 0))
        listener.listen()
        with dial.open_socket('::1', listener.getsockname()[1]) as sock:
            assert sock.family == socket.AF_INET6


@pytest.fixture
def black_hole():
    with swallowing() as full:
        yield full.getsockname()


@pytest.fixture
def hosts(monkeypatch):
    """The addresses of the host names that a test uses."""
    known = {}
    monkeypatch.setattr(dial, 'look_up', lambda host, port: known[host])
    monkeypatch.setattr(dial, '_answered_first', {})
    return known


@pytest.fixture
def delay(monkeypatch):
    """The first address has no time to itself."""
    monkeypatch.setattr(race, 'ATTEMPT_DELAY', 0.01)


def test_the_next_address_is_tried_at_once_where_one_refuses(hosts, listener, monkeypatch):
    monkeypatch.setattr(race, 'ATTEMPT_DELAY', 1000)
    hosts['two.test'] = [address('127.0.0.1', free_port()), address(*listener.getsockname())]
    with no_leaks(), dial.open_socket('two.test', 80) as sock:
        assert sock.getpeername() == listener.getsockname()


def test_the_next_address_is_tried_beside_one_that_does_not_answer(
    hosts, listener, black_hole, delay
):
    hosts['three.test'] = [address(*black_hole)] * 2 + [address(*listener.getsockname())]
    with no_leaks(), dial.open_socket('three.test', 80, timeout=5) as sock:
        assert sock.getpeername() == listener.getsockname()
        assert sock.gettimeout() is None


def test_the_address_that_answered_is_tried_first(hosts, listener, black_hole, monkeypatch):
    hosts['two.test'] = [address(*black_hole), address(*listener.getsockname())]
    with monkeypatch.context() as patch:
        patch.setattr(race, 'ATTEMPT_DELAY', 0.01)
        dial.open_socket('two.test', 80).close()
    monkeypatch.setattr(race, 'ATTEMPT_DELAY', 1000)
    for _ in range(2):
        with gevent.Timeout(5), dial.open_socket('two.test', 80) as sock:
            assert sock.getpeername() == listener.getsockname()
    # It is forgotten when another one answers.
    hosts['two.test'].reverse()
    with socket.socket() as other:
        other.bind(('127.0.0.1', 0))
        other.listen()
        hosts['two.test'] = [address('127.0.0.1', free_port()), address(*other.getsockname())]
        for _ in range(2):
            with dial.open_socket('two.test', 80) as sock:
                assert sock.getpeername() == other.getsockname()


def test_an_address_whose_time_is_over(listener):
    """It still gets a moment."""
    with dial.open_socket(*listener.getsockname(), timeout=-1) as sock:
        assert sock.getpeername() == listener.getsockname()


def test_addresses_that_all_swallow(hosts, black_hole, delay):
    hosts['black.test'] = [address(*black_hole)] * 3
    with no_leaks(), gevent.Timeout(5), pytest.raises(TimeoutError):
        dial.open_socket('black.test', 80, timeout=0.3)


def test_addresses_that_all_refuse(hosts):
    hosts['none.test'] = [address('127.0.0.1', free_port()) for _ in range(3)]
    with no_leaks(), pytest.raises(ConnectionRefusedError):
        dial.open_socket('none.test', 80)


def test_no_address_at_all(hosts):
    hosts['none.test'] = []
    with pytest.raises(OSError, match='the host name has no address'):
        dial.open_socket('none.test', 80)


def test_an_option_that_is_refused_closes_the_socket(listener):
    with no_leaks(), pytest.raises(OSError, match=r'.+'):
        dial.open_socket(*listener.getsockname(), [(socket.SOL_SOCKET, 12345, 1)])


def test_one_that_is_killed_while_it_connects(black_hole):
    with no_leaks():
        connecting = gevent.spawn(dial.open_socket, *black_hole)
        settle()
        connecting.kill()


# -- From where ------------------------------------------------------------------------------------


def test_source_addresses(listener):
    """127.0.0.0/8 is all this machine."""
    with dial.open_socket(*listener.getsockname(), source='127.0.0.9') as sock:
        peer, (address, port) = listener.accept()
        peer.close()
        assert (address, port) == sock.getsockname()
        assert address == '127.0.0.9'


def test_the_system_chooses_the_port_for_the_destination(listener):
    """The same port of a source address serves many destinations."""
    with dial.open_socket(*listener.getsockname(), source='127.0.0.9') as sock:
        option = race._BIND_ADDRESS_NO_PORT
        if option is None:
            pytest.skip('this system has no such option')
        assert sock.getsockopt(socket.IPPROTO_IP, option)


def test_only_addresses_of_the_family_of_the_source(hosts, listener):
    hosts['both.test'] = [
        address('::1', family=socket.AF_INET6),
        address(*listener.getsockname()),
    ]
    with dial.open_socket('both.test', 80, source='127.0.0.1') as sock:
        assert sock.family == socket.AF_INET
    hosts['both.test'].pop()
    with pytest.raises(OSError, match=r'no address of the family of the source address 127\.0'):
        dial.open_socket('both.test', 80, source='127.0.0.1')


def test_a_source_address_that_this_machine_does_not_have(listener):
    with no_leaks(), pytest.raises(OSError, match=r'.') as caught:
        dial.open_socket(*listener.getsockname(), source='192.0.2.1')
    assert (caught.value.errno, caught.value.strerror) == (
        errno.EADDRNOTAVAIL,
        'source address 192.0.2.1: this machine does not have this address',
    )


def test_another_error_of_a_source_address(listener, monkeypatch):
    def refuse(self, address):
        raise PermissionError(errno.EACCES, 'not you')

    monkeypatch.setattr('engineio_gevent.net.plain.PlainSocket.bind', refuse, raising=False)
    with no_leaks(), pytest.raises(PermissionError) as caught:
        dial.open_socket(*listener.getsockname(), source='127.0.0.9')
    assert caught.value.strerror == 'source address 127.0.0.9: not you'


@pytest.mark.parametrize('count', [1, 2])
@pytest.mark.parametrize(
    ('source', 'text'),
    [
        ('127.0.0.1', 'source address 127.0.0.1: no free port. Add source_addresses'),
        (None, '{}. If this machine has no free port, use source_addresses'),
    ],
)
def test_a_machine_without_free_ports(hosts, monkeypatch, count, source, text):
    def refuse(self, address):
        raise OSError(errno.EADDRNOTAVAIL, os.strerror(errno.EADDRNOTAVAIL))

    hosts['x.test'] = [address('127.0.0.1')] * count
    monkeypatch.setattr('engineio_gevent.net.plain.PlainSocket.begin_to_connect', refuse)
    with no_leaks(), pytest.raises(OSError, match=r'.') as caught:
        dial.open_socket('x.test', 80, source=source)
    assert caught.value.errno == errno.EADDRNOTAVAIL
    assert caught.value.strerror == text.format(os.strerror(errno.EADDRNOTAVAIL))


def sources(addresses, count):
    return [dial.make_dialer(None, addresses, ())._source for _ in range(count)]


def test_source_addresses_take_turns():
    """Over all clients of the process that have the same list."""
    names = ['127.0.1.1', '127.0.1.2', '127.0.1.3']
    assert sources(names, 3) + sources(tuple(names), 3) == names * 2
    assert sources(iter(names), 1) == names[:1]
    assert sources('127.0.1.9', 2) == ['127.0.1.9'] * 2


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        ((None, 'eth0', ()), "source_addresses: 'eth0' is not an IP address"),
        ((None, ['127.0.0.1', 'x.test'], ()), "source_addresses: 'x.test' is not an IP address"),
        ((None, [None], ()), 'source_addresses: None is not an IP address'),
        ((None, [7], ()), 'source_addresses: 7 is not an IP address'),
        ((None, 7, ()), 'source_addresses: 7 is not an IP address'),
        ((None, [['127.0.0.1']], ()), "source_addresses: ['127.0.0.1'] is not an IP address"),
        ((None, [], ()), 'source_addresses is empty'),
        (('http://u:s3cret@x', None, ()), 'dial must be a function of a host and a port, not str'),
        ((None, 'http://u:s3cret@x', ()), "source_addresses: 'http://...@x' is not an IP address"),
        ((print, '127.0.0.1', ()), 'dial and source_addresses cannot be combined'),
        ((None, None, [(1,)]), 'sockopt must be a list of tuples'),
        ((None, None, [('a', 'b', 'c')]), 'sockopt must be a list of tuples'),
        ((None, None, [(1, 2, 3, 4)]), 'sockopt must be a list of tuples'),
        ((None, None, [1]), 'sockopt must be a list of tuples'),
        ((None, None, (1, 2, 3)), 'sockopt must be a list of tuples'),
    ],
)
def test_options_that_are_not_valid(options, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        dial.make_dialer(*options)


def test_lists_of_source_addresses_are_not_kept_without_end(monkeypatch):
    monkeypatch.setattr(dial, '_turns', {})
    for number in range(257):
        assert len(dial._turns) == number
        dial.make_dialer(None, [f'127.0.0.{number % 256}', f'127.0.1.{number // 256}'], ())
    assert len(dial._turns) == 1


def test_hosts_are_not_remembered_without_end(hosts, listener):
    for number in range(257):
        assert len(dial._answered_first) == number
        name = f'host-{number}.test'
        hosts[name] = [address('127.0.0.2'), address(*listener.getsockname())]
        dial.open_socket(name, 80).close()
        listener.accept()[0].close()
    assert len(dial._answered_first) == 1


@pytest.mark.parametrize(
    ('timeout', 'seconds'), [(None, None), (2, 2), (0, 0.001), (-1, 0.001), (0.002, 0.002)]
)
def test_the_time_for_the_only_address(hosts, monkeypatch, timeout, seconds):
    times = []

    class Connected:
        settimeout = times.append

        def connect(self, where):
            times.append(where)

    monkeypatch.setattr(dial, 'new_socket', lambda *_: Connected())
    hosts['one.test'] = [address('192.0.2.1')]
    dial.open_socket('one.test', 80, timeout=timeout)
    assert times == [seconds, ('192.0.2.1', 80), None]


def test_a_function_of_the_caller(listener):
    one = dial.make_dialer(lambda *_: socket.create_connection(listener.getsockname()), None, ())
    with one.open('a.test', 80, 5) as sock:
        assert sock.getpeername() == listener.getsockname()


def test_options_by_a_generator(listener):
    option = (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 0)
    one = dial.make_dialer(None, None, (each for each in [option]))
    for _ in range(2):
        with one.open(*listener.getsockname(), 5) as sock:
            assert sock.getsockopt(*option[:2]) == 0


def test_options_of_three_or_four_arguments():
    dial.make_dialer(None, None, [(1, 2, b'x'), (1, 2, None, 4)])
    for options in ([(1, 2)], [(1, 2, 3, 4, 5)], 5):
        with pytest.raises(ValueError, match='sockopt must be a list of tuples'):
            dial.make_dialer(None, None, options)


def test_no_options():
    assert dial.make_dialer(None, None, ()) is dial.DIRECT
    assert dial.make_dialer(None, None, []) is dial.DIRECT


def test_options_of_the_client_come_before_those_of_a_websocket(listener):
    nodelay = socket.IPPROTO_TCP, socket.TCP_NODELAY
    dialer = dial.make_dialer(None, None, [(*nodelay, 0)])
    with dialer.open(*listener.getsockname(), None) as sock:
        assert not sock.getsockopt(*nodelay)
    with dialer.open(*listener.getsockname(), None, [(*nodelay, 1)]) as sock:
        assert sock.getsockopt(*nodelay)
