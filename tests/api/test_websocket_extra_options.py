"""`websocket_extra_options` against real servers: what they see, also of an upgrade.

`tests/docs/test_websocket_options.py` checks the effect of each option.
"""

import socket as stdlib_socket
import ssl
import sys

import gevent
import pytest
import websocket
from gevent import socket

import support
from engineio_gevent.exceptions import ConnectionError
from engineio_gevent.transports import websocket_options


@pytest.fixture(params=['websocket', 'upgrade'])
def seen(request, any_server, make_client):
    """`seen(options, headers)`: connect; the headers of the websocket's request, as they came."""

    def connect(options, headers=None, **settings):
        client = make_client(websocket_extra_options=options, **settings)
        transports = ['websocket'] if request.param == 'websocket' else None
        client.connect(any_server.url, headers, transports=transports)
        assert client.transport() == 'websocket'
        for message in ('hello', b'bytes', 'x' * 200, 'y' * 70000, b'z' * 70000):
            assert client.ask(message) == message
        (asked,) = [
            one for one in any_server.requests(client.sid) if 'transport=websocket' in one['url']
        ]
        return Seen(asked['raw'], any_server)

    return connect


class Seen:
    def __init__(self, raw, server):
        self.raw = raw
        self.server = server

    def values(self, name):
        return [value for known, value in self.raw if known.lower() == name.lower()]


@pytest.mark.parametrize(
    'form', [{'X-A': '1', 'X-B': '2'}, ['X-A: 1', 'X-B:2'], [('X-A', '1'), ('X-B', '2')]]
)
def test_forms_of_header(seen, form):
    found = seen({'header': form}, {'X-a': 'less', 'X-C': '3'})
    assert [found.values(name) for name in ('X-A', 'X-B', 'X-C')] == [['1'], ['2'], ['3']]


def test_repeated_header_lines(seen, any_server):
    found = seen({'header': ['X-A: 1', 'X-A: 2', 'Cookie: a=1', 'Cookie: b=2']})
    assert found.values('X-A') in (['1', '2'], ['1,2'])  # gevent's pywsgi joins them
    assert found.values('Cookie') == ['a=1; b=2']


def test_headers_of_the_handshake(seen):
    found = seen({'connection': 'Connection: keep-alive, Upgrade'}, {'Connection': 'close'})
    assert found.values('Connection') == ['keep-alive, Upgrade']
    assert seen({'timeout': 5}, {'Connection': 'close'}).values('Connection') == ['Upgrade']


def test_origin_and_host(seen):
    assert seen({'origin': ''}).values('Origin') == ['']
    found = seen({'origin': 'http://a.test', 'host': 'b.test'})
    assert (found.values('Origin'), found.values('Host')) == (['http://a.test'], ['b.test'])
    assert seen({'suppress_origin': True}).values('Origin') == []
    found = seen({'timeout': 5})
    assert found.values('Origin') == [found.server.url]
    assert found.values('Host') == [found.server.url.partition('//')[2]]


def test_cookie(seen):
    assert seen({'cookie': 'a=1'}, {'Cookie': 'b=2'}).values('Cookie') == ['a=1']
    assert seen({'timeout': 5}, {'Cookie': 'b=2'}).values('Cookie') == ['b=2']


@pytest.mark.parametrize('value', [b'\0\0\0\0', 'abcd', b'\xff\x00\x7f\x80'])
def test_get_mask_key(seen, value):
    asked = []
    seen({'get_mask_key': lambda size: asked.append(size) or value})
    assert len(asked) >= 5
    assert set(asked) == {4}


def test_get_mask_key_that_fails(any_server, make_client):
    keys = ['abcd', 'abcd', 'four!']
    client = make_client(websocket_extra_options={'get_mask_key': lambda size: keys.pop(0)})
    client.connect(any_server.url, transports='websocket')
    assert client.ask('one') == 'one'
    assert client.ask('two') == 'two'
    client.send('three')
    client.wait()
    error = client.disconnect_error
    assert 'get_mask_key failed: ValueError: it must return 4 bytes' in str(error)
    assert isinstance(error.__cause__, ValueError)
    keys += ['abcd'] * 100
    client.connect(any_server.url, transports='websocket')
    assert client.ask('four') == 'four'


def test_class_(seen):
    made = []

    class Mine(websocket.WebSocket):
        def __init__(self, mine=None, **options):
            super().__init__(**options)
            made.append((mine, self.sock_opt.sockopt))
            self.set_mask_key(lambda size: b'mine')

    option = (stdlib_socket.SOL_SOCKET, stdlib_socket.SO_KEEPALIVE, 1)
    seen({'class_': Mine, 'mine': 'own', 'sockopt': [option]})
    assert made == [('own', [option])]


def test_a_class_that_connects_by_itself(any_server, make_client):
    class Mine:
        settimeout = __init__ = lambda self, *args, **options: None

        def connect(self, url, **options):
            pass

    client = make_client(websocket_extra_options={'class_': Mine})
    with pytest.raises(ConnectionError, match='did not use the connection: Mine'):
        client.connect(any_server.url, transports='websocket')


def test_options_that_change_nothing(seen):
    seen({'skip_utf8_validation': True, 'enable_multithread': False, 'fire_cont_frame': False})


@pytest.mark.parametrize('transports', [['websocket'], None])
def test_a_longer_timeout(js_server_with, make_client, transports):
    """The server takes longer than `request_timeout`, and the client waits."""
    server = js_server_with()
    dialled = []

    def dial(host, port):
        dialled.append(port)
        if len(dialled) == (1 if transports else 2):  # the connection of the websocket
            server.suspend()
            gevent.spawn_later(3, server.resume)
        return socket.create_connection((host, port))

    client = make_client(websocket_extra_options={'timeout': 3600}, request_timeout=2, dial=dial)
    client.connect(server.url, transports=transports)
    assert client.transport() == 'websocket'
    assert client.ask('hello') == 'hello'


def test_a_warning_for_unknown_keys_comes_once(js_server, make_client, monkeypatch, recwarn):
    monkeypatch.setattr(websocket_options, '_warned', set())
    for _ in range(2):
        client = make_client(websocket_extra_options={'time_out': 5})
        client.connect(js_server.url, transports='websocket')
    assert [str(one.message) for one in recwarn] == [
        'websocket_extra_options: time_out has no effect'
    ]


# -- Cooperation -----------------------------------------------------------------------------------


@pytest.fixture
def ticks():
    """How often another greenlet has run."""
    count = []

    def tick():
        while True:
            count.append(1)
            gevent.sleep(0.01)

    ticking = gevent.spawn(tick)
    yield count
    ticking.kill()


def silent(sock):
    support.read_to_end(sock)


@pytest.fixture
def silent_server(hostile_server):
    return hostile_server(silent)


def fails(client, url, **options):
    with pytest.raises(ConnectionError, match='timed out') as caught:
        client.connect(url, transports='websocket', **options)
    return caught.value


@pytest.mark.parametrize('scheme', ['http', 'https'])
def test_a_silent_server(silent_server, make_client, ticks, scheme):
    client = make_client(
        request_timeout=3600, websocket_extra_options={'timeout': 0.5, 'redirect_limit': 3}
    )
    fails(client, f'{scheme}://127.0.0.1:{silent_server.port}')
    assert len(ticks) > 5


@pytest.mark.parametrize('kind', ['http', 'https', 'socks5'])
def test_a_silent_proxy(silent_server, make_client, ticks, kind):
    if kind == 'socks5':
        pytest.importorskip('socksio')
    options = {
        'timeout': 0.5,
        'http_proxy_host': '127.0.0.1',
        'http_proxy_port': silent_server.port,
        'proxy_type': kind,
    }
    client = make_client(request_timeout=1, websocket_extra_options=options)
    with pytest.raises(ConnectionError, match=r'timed out|request_timeout'):
        client.connect('http://127.0.0.1:9', transports='websocket')
    assert len(ticks) > 5


def test_a_silent_server_at_the_end_of_a_socket(silent_server, make_client, ticks):
    """Of the standard library, in a program that is not patched."""

    def connect():
        return stdlib_socket.create_connection(('127.0.0.1', silent_server.port))

    client = make_client(
        request_timeout=3600, websocket_extra_options={'timeout': 0.5, 'socket': connect}
    )
    fails(client, 'http://127.0.0.1:9')
    assert len(ticks) > 5


@pytest.mark.skipif(sys.implementation.name == 'pypy', reason="PyPy's ssl differs from CPython's")
def test_a_tls_socket_of_the_standard_library(server_with, certificates, make_client):
    server = server_with(tls=certificates.tls)
    context = ssl.create_default_context(cafile=certificates.ca)

    def connect():
        plain = stdlib_socket.create_connection(('127.0.0.1', server.port))
        return context.wrap_socket(plain, server_hostname='127.0.0.1')

    client = make_client(websocket_extra_options={'socket': connect})
    client.connect(server.url, transports='websocket')
    assert client.ask('hello' * 50000) == 'hello' * 50000


def test_websocket_client_is_not_imported_without_options(any_server, script):
    (lines,) = script(
        """
        import engineio_gevent

        found = []
        for transports in ('polling', 'websocket', None):
            client = engineio_gevent.Client(websocket_extra_options={})
            client.connect(argv[0], transports=transports)
            found.append(client.transport())
            client.disconnect()
            found.append('websocket' in sys.modules)
        client = engineio_gevent.Client(websocket_extra_options={'timeout': 5})
        client.connect(argv[0], transports='websocket')
        client.disconnect()
        found.append('websocket' in sys.modules)
        say(found)
        """,
        any_server.url,
    ).result()
    assert lines == ['polling', False, 'websocket', False, 'websocket', False, True]
