"""The option `websocket_extra_options`: what is accepted, and what it says of a connection."""

from __future__ import annotations

import pathlib
import re
import ssl
import traceback

import gevent
import pytest
import websocket

from engineio_gevent.exceptions import ConnectionClosed
from engineio_gevent.net.tunnel import Proxy
from engineio_gevent.transports import websocket_options
from engineio_gevent.transports.websocket_options import WebSocketOptions


@pytest.fixture(autouse=True)
def fresh(monkeypatch):
    """Nothing has been warned of."""
    monkeypatch.setattr(websocket_options, '_warned', set())
    monkeypatch.setattr('websocket._socket._default_timeout', None)
    names = ('WEBSOCKET_CLIENT_CA_BUNDLE', 'REQUESTS_CA_BUNDLE', 'CURL_CA_BUNDLE')
    for name in (*names, 'no_proxy', 'NO_PROXY'):
        monkeypatch.delenv(name, raising=False)


# -- What is valid ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ('given', 'text'),
    [
        ({'header': {'X\n': 'y'}}, "header: invalid header name: 'X\\n'"),
        ({'header': ['X: y\n']}, 'header: invalid value for header X'),
        ({'header': ['A: b', 'X y']}, 'header: line 2 must be "Name: value"'),
        ({'header': 'X y'}, 'header: line 1 must be "Name: value"'),
        ({'header': [b'X y']}, 'header: line 1 must be "Name: value"'),
        ({'header': [('X', 'y\r')]}, 'header: invalid value for header X'),
        ({'header': [('X',)]}, 'header: line 1 must be "Name: value"'),
        ({'header': [('X', 'y', 'z')]}, 'header: line 1 must be "Name: value"'),
        ({'header': [5]}, 'header: line 1 must be "Name: value"'),
        ({'header': 5}, 'header must be a dict, a list of lines, or a list of pairs'),
        ({'cookie': 'a\n'}, 'cookie: invalid value for header Cookie'),
        ({'cookie': 5}, 'cookie: invalid value for header Cookie'),
        ({'host': 'a\n'}, 'host: invalid value for header Host'),
        ({'origin': 'a\n'}, 'origin: invalid value for header Origin'),
        ({'connection': 'Upgrade'}, 'connection must be a line, such as "Connection: Upgrade"'),
        ({'connection': 5}, 'connection must be a line, such as "Connection: Upgrade"'),
        ({'connection': ['A: b']}, 'connection must be a line, such as "Connection: Upgrade"'),
        ({'connection': 'Connection: a\n'}, 'connection: invalid value for header Connection'),
        ({'subprotocols': ['a b']}, 'subprotocols must be a list of names, without spaces or'),
        ({'subprotocols': ['a', 5]}, 'subprotocols must be a list of names'),
        ({'subprotocols': 'abc'}, 'subprotocols must be a list of names'),
        ({'subprotocols': 5}, 'subprotocols must be a list of names'),
        *(
            ({name: value}, f'{name} must be a number of seconds, at least 0, or None')
            for name in ('timeout', 'http_proxy_timeout')
            for value in ('', '5', [5], -1, -0.1, float('nan'), 1j)
        ),
        ({'sslopt': 5}, 'sslopt must be a dict'),
        ({'sslopt': ['ca_certs']}, 'sslopt must be a dict'),
        *(
            ({'http_proxy_host': wrong}, 'http_proxy_host must be the name or address of a host')
            for wrong in (5, 'a b', 'a\xa8b', 'a..b', '[::1]', 'http://u:p@a', 'a\r\nb')
        ),
        *(
            ({'http_proxy_host': 'p', 'http_proxy_auth': value}, 'http_proxy_auth must be a pair')
            for value in ('user:pw', 'ab', ('a', 'b', 'c'), ('a', 5), (b'a', 'b'), 5)
        ),
        *(
            ({'http_proxy_port': value}, 'http_proxy_port must be a number from 1 to 65535')
            for value in ('abc', '', 0, '0', -1, 65536, 70000, '9' * 5000, 1.5, True, [1])
        ),
        *(
            ({'http_no_proxy': value}, 'http_no_proxy must be a list of hosts')
            for value in ('host', 5, [5])
        ),
        *(
            ({'redirect_limit': value}, 'redirect_limit must be a whole number')
            for value in ('x', '', 1.5, float('inf'), '9' * 5000, [1])
        ),
        *(
            ({'sockopt': value}, 'sockopt must be a list of tuples, the arguments of setsockopt()')
            for value in (5, [(1,)], [(1, 2)], [[1, 2, 3]], (6, 1, 1), 'ab')
        ),
        ({'class_': 5}, 'class_ must be a class or a function'),
        ({'class_': None}, 'class_ must be a class or a function'),
        ({'socket': 5}, 'socket must be a connected socket, or a function that returns one'),
        ({'get_mask_key': 5}, 'get_mask_key must be a function that is called with 4'),
        ({'proxy_type': 'ftp'}, 'proxy_type must be one of http, https, socks4, socks4a, socks5'),
        (
            {'sslopt': {'cert_reqs': ssl.CERT_NONE, 'check_hostname': True}},
            'sslopt: check_hostname cannot be enabled when cert_reqs is CERT_NONE',
        ),
        ({'sslopt': {'cert_chain': ('a', 'b')}}, 'sslopt: cert_chain must be a tuple or list'),
        ({'sslopt': {'cert_chain': 'abc'}}, 'sslopt: cert_chain must be a tuple or list'),
        ({'sslopt': {'cert_chain': None}}, 'sslopt: cert_chain must be a tuple or list'),
        ({'sslopt': {'cert_chain': ('a', 5, None)}}, 'sslopt: cert_chain must begin with the'),
        ({'sslopt': {'context': 5}}, 'sslopt: context must be an ssl.SSLContext'),
        ({'sslopt': {'cert_reqs': 'x'}}, 'sslopt: cert_reqs must be ssl.CERT_NONE, '),
        ({'sslopt': {'cert_reqs': 3}}, 'sslopt: cert_reqs must be ssl.CERT_NONE, '),
        ({'sslopt': {'ssl_version': 'x'}}, 'sslopt: ssl_version must be a protocol'),
        ({'sslopt': {'ciphers': 5}}, 'sslopt: ciphers must be a list of ciphers that OpenSSL'),
        ({'sslopt': {'ciphers': ['HIGH']}}, 'sslopt: ciphers must be a list of ciphers'),
        ({'sslopt': {'ciphers': 'nonsense'}}, 'sslopt: ciphers must be a list of ciphers'),
        ({'sslopt': {'ecdh_curve': 'nope'}}, 'sslopt: ecdh_curve must be the name of a curve'),
        ({'sslopt': {'ecdh_curve': 5}}, 'sslopt: ecdh_curve must be the name of a curve'),
        ({'sslopt': {'server_hostname': 5}}, 'sslopt: server_hostname must be the name of'),
        *(
            ({'sslopt': {name: wrong}}, f'sslopt: {name} must be the path of a')
            for name in ('ca_certs', 'ca_cert_path', 'certfile', 'keyfile')
            for wrong in (5, ['a'], True)
        ),
        ({'sslopt': {'password': 5}}, 'sslopt: password must be text, bytes, or a function'),
        ({'sockopt': [('a', 'b', 'c')]}, 'sockopt must be a list of tuples'),
        ({'sockopt': [(1, 2, 3, 4)]}, 'sockopt must be a list of tuples'),
        ({'sockopt': [(1, 2, 'x')]}, 'sockopt must be a list of tuples'),
    ],
)
def test_what_is_refused(given, text):
    with pytest.raises(ValueError, match=re.escape(text)) as caught:
        WebSocketOptions(given)
    assert str(caught.value).startswith(f'websocket_extra_options: {text}')


@pytest.mark.parametrize(
    'given',
    [
        {'header': ['Authorization Bearer SECRET']},
        {'header': ['SECRET']},
        {'header': ['Authorization Bearer SEC:RET']},
        {'header': [('Authorization Bearer SECRET', 'x')]},
        {'header': {'Authorization: Bearer SECRET': 'x'}},
        {'header': {'Authorization': 'SECRET\n'}},
        {'cookie': 'SECRET\n'},
        {'connection': 'SECRET'},
        {'subprotocols': ['bearer SECRET']},
        {'http_proxy_auth': 'user:SECRET'},
        {'sslopt': 'SECRET'},
    ],
)
def test_an_error_shows_no_secret(given):
    with pytest.raises(ValueError, match='websocket_extra_options: ') as caught:
        WebSocketOptions(given)
    shown = ''.join(traceback.format_exception(caught.type, caught.value, None))
    assert 'SEC' not in shown
    assert 'RET' not in shown


@pytest.mark.parametrize(
    'given',
    [
        {},
        {'header': None, 'cookie': None, 'host': None, 'origin': None, 'connection': None},
        {'subprotocols': None, 'timeout': None, 'sslopt': None, 'sockopt': None, 'socket': None},
        {'connection': 'Connection: Upgrade'},
        {'timeout': 5, 'redirect_limit': None},
        {'timeout': 0.5},
        {'timeout': 0},
        {'sslopt': {'cert_reqs': ssl.CERT_NONE}},
        {'sslopt': {'cert_reqs': ssl.CERT_NONE, 'check_hostname': False}},
        {'sslopt': {'cert_reqs': ssl.CERT_REQUIRED, 'check_hostname': True}},
        {'sslopt': {'check_hostname': True}},
        {
            'sslopt': {
                'context': ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT),
                'cert_reqs': ssl.CERT_NONE,
                'check_hostname': True,
            }
        },
        {'sslopt': {'context': ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT), 'cert_chain': ()}},
        {'sslopt': {'cert_chain': ['a', 'b', None]}},
        {'sslopt': {'cert_chain': ('a', None, lambda: 'x')}},
        {'sslopt': {'ciphers': 'HIGH', 'ecdh_curve': 'prime256v1', 'server_hostname': 'a'}},
        {'sslopt': {'ca_certs': b'a', 'ca_cert_path': pathlib.Path('a'), 'certfile': 'a'}},
        {'sslopt': {'keyfile': 'a', 'password': lambda: 'x', 'cert_reqs': 2}},
        {'sslopt': dict.fromkeys(('ciphers', 'context', 'certfile', 'ssl_version', 'password'))},
        {'sslopt': {'cert_chain': ('a', None, None), 'password': 'x', 'ssl_version': 2}},
        {'fire_cont_frame': False, 'dispatcher': None},
        {'class_': websocket.WebSocket, 'anything': 1},
        {'http_proxy_host': 'p', 'proxy_type': None, 'http_proxy_timeout': None},
        {'http_proxy_host': 'p', 'proxy_type': 'https', 'http_proxy_port': '3128'},
        {'enable_multithread': True, 'skip_utf8_validation': True, 'get_mask_key': len},
        {'suppress_host': True, 'suppress_origin': True},
        # These have the same effect in any case.
        {'enable_multithread': False, 'skip_utf8_validation': False},
        {'sslopt': {'do_handshake_on_connect': False}},
        {'subprotocols': ('a', 'b'), 'sockopt': ((1, 2, 3), (1, 2, None, 4))},
        {'get_mask_key': None, 'http_proxy_host': None, 'timeout': None},
        {'http_proxy_host': 'p', 'http_proxy_auth': ['u', None], 'http_proxy_port': 65535},
        {'http_proxy_host': 'p', 'http_no_proxy': None},
        {'http_proxy_host': 'p', 'http_no_proxy': ('a',), 'http_proxy_port': '1'},
        {'http_proxy_host': '', 'connection': '', 'header': '', 'subprotocols': []},
        {'socket': lambda: None, 'class_': lambda **options: None, 'redirect_limit': '-1'},
    ],
)
def test_what_is_accepted_without_a_word(given):
    WebSocketOptions(given)


@pytest.mark.parametrize(
    ('given', 'text'),
    [
        ({'fire_cont_frame': True}, 'fire_cont_frame has no effect'),
        ({'dispatcher': object()}, 'dispatcher has no effect'),
        ({'fire_cont_frame': True, 'class_': object}, 'fire_cont_frame has no effect'),
        ({'tiemout': 5}, 'tiemout has no effect'),
        ({'tiemout': None}, 'tiemout has no effect'),
        ({'sslopt': {'cacerts': 'a'}}, 'sslopt: cacerts has no effect'),
        ({'http_proxy_port': 5}, 'http_proxy_port has no effect without http_proxy_host'),
        ({'http_no_proxy': ['a']}, 'http_no_proxy has no effect without http_proxy_host'),
        ({'http_proxy_auth': ('', '')}, 'http_proxy_auth has no effect without http_proxy_host'),
        ({'http_proxy_timeout': 5}, 'http_proxy_timeout has no effect without http_proxy_host'),
        ({'proxy_type': 'http'}, 'proxy_type has no effect without http_proxy_host'),
    ],
)
def test_what_has_no_effect(given, text):
    with pytest.warns(RuntimeWarning) as caught:
        WebSocketOptions(given)
    assert [str(one.message) for one in caught] == [f'websocket_extra_options: {text}']
    assert caught[0].filename == websocket_options.__file__
    WebSocketOptions(given)  # once


def test_each_has_its_own_warning():
    with pytest.warns(RuntimeWarning) as caught:
        WebSocketOptions({'b': 1, 'a': 2, 'proxy_type': 'http', 'http_proxy_port': 1})
    assert [str(one.message).split()[1] for one in caught] == [
        'a',
        'b',
        'http_proxy_port',
        'proxy_type',
    ]


# -- The request -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ('given', 'own'),
    [
        ({}, []),
        ({'header': {'X-A': '1', 'X-B': None}}, [('X-A', '1')]),
        ({'header': ['X-A: 1', 'X-A:2 : 3']}, [('X-A', '1'), ('X-A', '2 : 3')]),
        ({'header': 'X-A: 1'}, [('X-A', '1')]),
        ({'header': b'X-A: \xe9'}, [('X-A', '\xe9')]),
        ({'header': [b'X-A: 1', ('X-B', '2')]}, [('X-A', '1'), ('X-B', '2')]),
        ({'cookie': b'a=1', 'origin': ' o '}, [('Cookie', 'a=1'), ('Origin', 'o')]),
        ({'header': [('X-A', '1'), ['X-A', b'2']]}, [('X-A', '1'), ('X-A', '2')]),
        ({'cookie': 'a=1'}, [('Cookie', 'a=1')]),
        ({'cookie': ''}, [('Cookie', '')]),
        ({'origin': ''}, [('Origin', '')]),
        ({'host': 'h', 'origin': 'o'}, [('Host', 'h'), ('Origin', 'o')]),
        ({'header': {'cookie': 'b=2', 'X': 'y'}, 'cookie': 'a=1'}, [('X', 'y'), ('Cookie', 'a=1')]),
        ({'header': {'Sec-WebSocket-Key': 'k'}}, [('Sec-WebSocket-Key', 'k')]),
    ],
)
def test_headers(given, own):
    options = WebSocketOptions(given)
    assert options.merged([]) == own
    assert options.merged([('X-Z', '0')]) == [('X-Z', '0'), *own]


def test_headers_of_the_client_are_replaced():
    options = WebSocketOptions({'header': {'x-a': '1'}, 'cookie': 'b=2'})
    client = [('X-A', '0'), ('X-B', '0'), ('COOKIE', 'a=1'), ('Connection', 'close')]
    client += [('Upgrade', 'h2c'), ('Sec-WebSocket-Version', '8'), ('sec-websocket-key', 'k')]
    assert options.merged(client) == [('X-B', '0'), ('x-a', '1'), ('Cookie', 'b=2')]
    # It can be done again.
    assert options.merged(client) == [('X-B', '0'), ('x-a', '1'), ('Cookie', 'b=2')]


def test_lines_that_can_be_read_once():
    options = WebSocketOptions({'header': (line for line in ['X-A: 1'])})
    assert options.merged([]) == options.merged([]) == [('X-A', '1')]


def test_arguments_for_websocket_client():
    passed = {
        'class_': object,
        'connection': 'Connection: Upgrade',
        'sslopt': {'cert_reqs': 0},
        'sockopt': [],
        'subprotocols': ['a'],
        'suppress_host': True,
        'suppress_origin': True,
        'get_mask_key': len,
        'enable_multithread': False,
        'skip_utf8_validation': True,
        'anything': 5,
    }
    kept = {
        'header': ['X: y'],
        'cookie': 'a=1',
        'origin': 'o',
        'host': 'h',
        'timeout': 5,
        'redirect_limit': 5,
        'socket': None,
        'http_proxy_host': 'p',
        'http_proxy_port': 5,
        'http_no_proxy': [],
        'http_proxy_auth': None,
        'http_proxy_timeout': 5,
        'proxy_type': 'https',
    }
    assert WebSocketOptions({**passed, **kept}).arguments() == passed


# -- The connection --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ('given', 'default', 'usual', 'step', 'whole'),
    [
        ({}, 5, None, 5, 5),
        ({'timeout': 2}, 5, None, 2, 5),
        ({'timeout': 20}, 5, None, 20, 20),
        ({'timeout': 0.1}, 0.2, None, 0.1, 0.2),
        ({'timeout': 0}, 5, None, 0, 5),
        ({'timeout': None}, 5, None, None, None),
        ({'timeout': None}, 5, 7, 7, 7),
        ({'timeout': None}, 5, 3, 3, 5),
        ({}, 5, 7, 5, 5),
        ({}, None, None, None, None),
        ({}, None, 7, 7, None),
        ({'timeout': 2}, None, 7, 2, None),
        ({'http_proxy_host': 'p', 'http_proxy_timeout': 9}, 5, None, 5, 9),
        ({'http_proxy_host': 'p', 'http_proxy_timeout': 1}, 5, None, 5, 5),
        ({'http_proxy_host': 'p', 'http_proxy_timeout': None, 'timeout': 6}, 5, None, 6, 6),
    ],
)
def test_timeouts(given, default, usual, step, whole, monkeypatch):
    monkeypatch.setattr('websocket._socket._default_timeout', usual)
    options = WebSocketOptions(given)
    assert options.timeout(default) == step
    assert options.time_limit(default) == whole


@pytest.mark.parametrize(
    ('limit', 'count'), [(None, 0), (0, 0), (1, 1), ('3', 3), (-1, 0), (-5, 0), (7, 7)]
)
def test_the_limit_of_redirects(limit, count):
    assert WebSocketOptions({'redirect_limit': limit}).redirect_limit == count
    assert WebSocketOptions({}).redirect_limit == 0


def test_socket_options():
    option = (1, 2, 3)
    assert WebSocketOptions({'sockopt': [option]}).sockopt == [option]
    assert list(WebSocketOptions({'sockopt': None}).sockopt) == []
    assert list(WebSocketOptions({}).sockopt) == []


class Socket:
    def __init__(self, number=5):
        self.number = number

    def fileno(self):
        return self.number


def test_sockets():
    one = Socket()
    assert WebSocketOptions({'socket': one}).socket() is one
    assert WebSocketOptions({'socket': lambda: one}).socket() is one
    assert WebSocketOptions({'socket': lambda: None}).socket() is None
    assert WebSocketOptions({'socket': None}).socket() is None
    assert WebSocketOptions({}).socket() is None
    for wrong in (lambda: 5, lambda: object()):
        with pytest.raises(ConnectionClosed, match='socket: the function must return a connected'):
            WebSocketOptions({'socket': wrong}).socket()
    zero = Socket(0)
    assert WebSocketOptions({'socket': zero}).socket() is zero
    for used in (Socket(-1), lambda: Socket(-1)):
        with pytest.raises(ConnectionClosed) as caught:
            WebSocketOptions({'socket': used}).socket()
        assert str(caught.value) == (
            'websocket_extra_options: the socket is closed. It serves one connection: pass a '
            'function that returns a new one each time'
        )


@pytest.mark.parametrize('error', [ValueError('no way'), gevent.Timeout(0.1)])
def test_a_function_for_sockets_that_fails(error):
    def connect():
        raise error

    with pytest.raises(ConnectionClosed) as caught:
        WebSocketOptions({'socket': connect}).socket()
    assert str(caught.value) == (
        f'websocket_extra_options: socket raised {type(error).__name__}: {error}'
    )
    assert caught.value.__cause__ is error


# -- The CA bundle ---------------------------------------------------------------------------------


@pytest.mark.parametrize('verify', [True, False, '/requests.pem'])
def test_the_bundle_of_the_environment(verify, monkeypatch, tmp_path):
    monkeypatch.setenv('REQUESTS_CA_BUNDLE', '/requests.pem')
    file = tmp_path / 'ca.pem'
    file.touch()
    given = {'sslopt': {'ciphers': 'HIGH'}}
    options = WebSocketOptions(given)
    assert options.sslopt(verify) == {'ciphers': 'HIGH'}
    for path, name in ((str(file), 'ca_certs'), (str(tmp_path), 'ca_cert_path')):
        monkeypatch.setenv('WEBSOCKET_CLIENT_CA_BUNDLE', path)
        assert options.sslopt(verify) == {'ciphers': 'HIGH', name: path}
        assert WebSocketOptions({}).sslopt(verify) == {name: path}
        # The program's own goes first.
        own = {'sslopt': {name: '/own'}}
        assert WebSocketOptions(own).sslopt(verify) == {name: '/own'}
        assert WebSocketOptions({'sslopt': {name: None}}).sslopt(verify) == {name: path}
        assert options.sslopt('/own.pem') == {'ciphers': 'HIGH'}
    for nothing in ('', '/nowhere'):
        monkeypatch.setenv('WEBSOCKET_CLIENT_CA_BUNDLE', nothing)
        assert options.sslopt(verify) == {'ciphers': 'HIGH'}
    assert given == {'sslopt': {'ciphers': 'HIGH'}}


# -- Proxies ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ('given', 'proxy', 'timeout'),
    [
        ({}, ('http', 'p', 80), None),
        ({'http_proxy_port': 3128}, ('http', 'p', 3128), None),
        ({'http_proxy_port': '3128'}, ('http', 'p', 3128), None),
        ({'http_proxy_port': None, 'proxy_type': None}, ('http', 'p', 80), None),
        ({'proxy_type': 'https'}, ('https', 'p', 443), None),
        ({'proxy_type': 'socks5h'}, ('socks5h', 'p', 1080), None),
        ({'http_proxy_auth': ('u', 's')}, ('http', 'p', 80, 'u', 's'), None),
        ({'http_proxy_auth': ('u', None)}, ('http', 'p', 80, 'u', ''), None),
        ({'http_proxy_auth': ('', '')}, ('http', 'p', 80), None),
        ({'http_proxy_auth': None}, ('http', 'p', 80), None),
        ({'http_proxy_timeout': 7}, ('http', 'p', 80), 7),
    ],
)
def test_proxies(given, proxy, timeout):
    options = WebSocketOptions({'http_proxy_host': 'p', **given})
    assert options.proxy('a.test', False) == (Proxy(*proxy), timeout)
    assert options.proxy('localhost', True) == (Proxy(*proxy), timeout)


def test_no_proxy(monkeypatch):
    for given in ({}, {'http_proxy_host': None}, {'http_proxy_host': ''}):
        assert WebSocketOptions(given).proxy('a.test', False) is None
    given = {'http_proxy_host': 'p', 'http_proxy_timeout': 7}
    proxy = Proxy('http', 'p', 80), 7
    listed = WebSocketOptions({**given, 'http_no_proxy': ['.a.test', '10.0.0.0/8']})
    for host in ('b.a.test', '10.1.2.3'):
        assert listed.proxy(host, False) == (None, None)
        assert listed.proxy(host, True) == (None, None)
        assert WebSocketOptions(given).proxy(host, False) == proxy
    for host in ('b.test', '11.1.2.3'):
        assert listed.proxy(host, False) == proxy
    for name in ('NO_PROXY', 'no_proxy'):
        monkeypatch.setenv(name, 'c.test')
        assert WebSocketOptions(given).proxy('c.test', False) == (None, None)
        assert WebSocketOptions(given).proxy('d.test', False) == proxy
        assert listed.proxy('c.test', False) == proxy
        monkeypatch.delenv(name)


@pytest.mark.parametrize(
    ('sslopt', 'verifies'),
    [
        (None, False),
        ({}, False),
        ({'ciphers': 'DEFAULT', 'server_hostname': 'a', 'certfile': 'a.pem'}, False),
        ({'ca_certs': '', 'ca_cert_path': None, 'context': None, 'cert_reqs': None}, False),
        ({'ca_certs': 'a.pem'}, True),
        ({'ca_cert_path': 'a'}, True),
        ({'cert_reqs': ssl.CERT_NONE}, True),
        ({'context': ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)}, True),
    ],
    ids=['none', 'empty', 'others', 'unset', 'file', 'folder', 'not', 'context'],
)
def test_whether_sslopt_says_how_to_verify(sslopt, verifies):
    assert WebSocketOptions({'sslopt': sslopt}).verifies is verifies


def test_the_host_of_a_proxy_as_it_is_looked_up():
    options = WebSocketOptions({'http_proxy_host': 'b\xfccher.test'})
    assert options.proxy('a.test', False)[0].host == 'xn--bcher-kva.test'
