"""What a caller's headers cannot do: end a body elsewhere, or add a request.

A program that forwards the headers of its own request to `connect()` has some that belong to that
message. A server that reads the bytes by the letter finds the requests of this client, and no
others, by every way that headers come in and requests go out.
"""

import contextlib

import pytest
import requests
from fuzz import reference

from engineio_gevent.cli import main
from engineio_gevent.exceptions import ConnectionError
from support import NativeServer, accept_websocket, frame, open_packet, patience, respond
from support.recorder import Keyed, Recorder

FRAMING = {
    'length-0': {'Content-Length': '0'},
    'length-3': {'content-LENGTH': '3'},
    'length-bytes': {b'Content-Length': b'3'},
    'chunked': {'Transfer-Encoding': 'chunked'},
    'both': {'transfer-encoding': 'chunked', 'content-length': '5'},
    'te': {'TE': 'trailers', 'Trailer': 'X-Last'},
    'coding': {'Content-Encoding': 'gzip'},
    'type': {'content-type': 'application/json'},
    'types': {'content-type': 'a/b', 'CONTENT-TYPE': 'c/d', 'Content-Type': 'e/f'},
    'expect': {'Expect': '100-continue'},
    'h2c': {'Upgrade': 'h2c', 'HTTP2-Settings': 'AAMAAABkAAQAAP__', 'connection': 'upgrade'},
    'named': {'Connection': 'Content-Length, X-Own, Host, Cookie'},
    'kept': {'Keep-Alive': 'timeout=5', 'Proxy-Connection': 'keep-alive'},
    'cases': {'x-own': 'mine', 'X-OWN': 'mine', 'authorization': 'a', 'Authorization': 'b'},
    'cookies': {'cookie': 'a=1', 'Cookie': 'b=2'},
    'websocket': {
        'Upgrade': 'websocket',
        'Connection': 'keep-alive, Upgrade',
        'sec-websocket-key': 'AAAAAAAAAAAAAAAAAAAAAA==',
        'sec-websocket-version': '8',
        'sec-websocket-extensions': 'permessage-deflate',
    },
}
#: Two of these, too, in what a caller gives.
HOSTS = {'Host': 'first.test', 'host': 'last.test'}


@pytest.fixture
def talk(witness, monkeypatch):
    """`talk(transport, headers, ...)`: the requests of a connection that sends one message."""
    servers = []

    def go(transport, headers=None, proxy=False, **options):
        recorder = Recorder()
        server = NativeServer(recorder)
        servers.append(server)
        url = server.url
        if proxy:
            monkeypatch.setenv('http_proxy', url.replace('//', '//user:pass@'))
            monkeypatch.setenv('no_proxy', '')
            url = 'http://a.test'
        one = witness(**options)
        try:
            one.client.connect(url, headers, transports=transport)
            one.client.send('hello')
            one.ended.wait()
        finally:
            assert recorder.fault is None, recorder.fault
        return recorder.requests

    yield go
    for server in servers:
        server.stop()


@pytest.fixture
def session():
    with requests.Session() as session:
        session.trust_env = False
        yield session


def sound(found, transport):
    """Whether these are the requests of one connection that sends one message."""
    if transport == 'websocket':
        (request,) = found
        assert request.values(b'sec-websocket-version') == [b'13']
        assert b'extensions' not in b' '.join(name for name, _ in request.fields)
        return True
    posts = [one for one in found if one.method == b'POST']
    assert [one.body for one in posts] == [b'4hello']
    assert posts[0].values(b'content-type') == [b'text/plain;charset=UTF-8']
    for one in found:
        assert b'engine.io/' in one.target
    return True


WAYS = {
    'polling': ('polling', {}),
    'forwarded': ('polling', {'proxy': True}),
    'websocket': ('websocket', {}),
    'websocket-client': ('websocket', {'websocket_extra_options': {'header': {'X': 'y'}}}),
}
every_way = pytest.mark.parametrize('way', WAYS)
every_framing = pytest.mark.parametrize('headers', FRAMING.values(), ids=FRAMING)


@every_way
@every_framing
def test_headers_of_connect(talk, way, headers):
    transport, options = WAYS[way]
    found = talk(transport, {'X-Own': 'mine', **headers}, **options)
    assert sound(found, transport)
    for request in found:
        assert request.values(b'x-own') == [b'mine']


@pytest.mark.parametrize('transport', ['polling', 'websocket'])
@every_framing
def test_headers_of_connect_by_a_session(talk, session, transport, headers):
    found = talk(transport, {'X-Own': 'mine', **headers}, http_session=session)
    assert sound(found, transport)


@pytest.mark.parametrize('kind', [dict, requests.structures.CaseInsensitiveDict])
@pytest.mark.parametrize('transport', ['polling', 'websocket'])
@every_framing
def test_headers_of_a_session(talk, session, transport, headers, kind):
    session.headers = kind({'X-Own': 'mine', **headers})
    before = dict(session.headers)
    found = talk(transport, {'X-Too': 'mine'}, http_session=session)
    assert sound(found, transport)
    for request in found:
        assert request.values(b'x-own') == [b'mine']
    assert dict(session.headers) == before


@pytest.mark.parametrize('as_lines', [False, True], ids=['dict', 'lines'])
@every_framing
def test_the_option_header_of_the_websocket(talk, headers, as_lines):
    given = {name: value for name, value in headers.items() if 'websocket' not in str(name)}
    if as_lines:  # of which repeated ones are sent repeatedly
        given = list({name.lower(): (name, value) for name, value in given.items()}.values())
    found = talk('websocket', websocket_extra_options={'header': given})
    assert sound(found, 'websocket')


def test_the_option_connection_is_no_way_for_other_headers(talk):
    with pytest.raises(ValueError, match='connection must be a line'):
        talk('websocket', websocket_extra_options={'connection': 'Transfer-Encoding: chunked'})
    assert talk(
        'websocket', websocket_extra_options={'connection': 'Connection: keep-alive, Upgrade'}
    )


@every_way
def test_one_host(talk, way):
    transport, options = WAYS[way]
    for request in talk(transport, HOSTS, **options):
        assert request.values(b'host') == [b'last.test']


def test_one_host_by_a_session(talk, session):
    for transport in ('polling', 'websocket'):
        for request in talk(transport, HOSTS, http_session=session):
            assert request.values(b'host') == [b'last.test']


def test_all_cookies_in_one_header(talk):
    for transport in ('polling', 'websocket'):
        for request in talk(transport, FRAMING['cookies']):
            assert request.values(b'cookie') == [b'a=1; b=2']


@pytest.mark.parametrize('name', ['Proxy-Authorization', 'proxy-authorization'])
def test_one_login_at_a_proxy(talk, name):
    for request in talk('polling', {name: 'mine'}, proxy=True):
        assert request.values(b'proxy-authorization') == [b'Basic dXNlcjpwYXNz']


def test_close_and_keep_alive_may_be_said(talk):
    for value, sent in (('close', b'close'), ('Keep-Alive, X-Own', b'Keep-Alive')):
        for request in talk('polling', {'connection': value}):
            assert request.values(b'connection') == [sent]


def test_a_proxy_that_connects_gets_no_headers_of_the_caller(witness, monkeypatch):
    """Its answer is read to the end of its head, so a body would be taken for the server's."""
    heads = []

    def proxy(sock):
        head = b''
        while not head.endswith(b'\r\n\r\n'):
            head += sock.recv(1)
        heads.append(head)
        respond(sock, '', '403 Forbidden')

    server = NativeServer(proxy)
    monkeypatch.setenv('http_proxy', server.url)
    monkeypatch.setenv('no_proxy', '')
    given = {'Content-Length': '3', 'Authorization': 'secret', 'X-Own': 'mine'}
    with pytest.raises(ConnectionError, match='403 Forbidden'):
        witness().client.connect('http://a.test', given, transports='websocket')
    server.stop()
    assert heads == [b'CONNECT a.test:80 HTTP/1.1\r\nHost: a.test:80\r\n\r\n']


#: Of each kind one.
ALL = {
    'content-length': '3',
    'Transfer-Encoding': 'chunked',
    'content-type': 'a/b',
    'Connection': 'X-Own, Upgrade',
    'TE': 'trailers',
    'upgrade': 'h2c',
}


@pytest.mark.parametrize('transport', ['polling', 'websocket'])
def test_the_command(transport):
    """Its probe makes requests of its own."""
    recorder = Recorder()
    server = NativeServer(recorder)
    words = [word for name, value in ALL.items() for word in ('-H', f'{name}: {value}')]
    limit = f'{patience(0.5):.1f}'
    with contextlib.suppress(SystemExit):
        main(['probe', server.url, '--transports', transport, '--timeout', limit, *words])
    server.stop()
    assert recorder.fault is None, recorder.fault
    assert {one.method for one in recorder.requests} >= {b'GET'}
    assert any(one.values(b'upgrade') for one in recorder.requests) == (transport == 'websocket')


# -- The key of the handshake ----------------------------------------------------------------------


@pytest.mark.parametrize('options', [{}, {'header': {'X': 'y'}}], ids=['own', 'websocket-client'])
def test_each_handshake_has_a_new_key(witness, options):
    """After a redirect as well (RFC 6455, section 4.1)."""
    keys = []

    def answer(sock):
        data = b''
        while reference.request(data) is None:
            data += sock.recv(65536)
        request, _ = reference.request(data)
        keys.extend(request.values(b'sec-websocket-key'))
        if len(keys) < 3:
            location = request.target.decode()
            respond(sock, '', '307 Redirect', [('Location', location), ('Connection', 'close')])
            return
        accept_websocket(sock, Keyed(keys[-1].decode()))
        sock.sendall(frame(open_packet()) + frame('1'))
        sock.recv(100)

    server = NativeServer(answer)
    one = witness(websocket_extra_options=options or None)
    one.client.connect(server.url, transports='websocket')
    one.ended.wait()
    server.stop()
    assert len(set(keys)) == 3
