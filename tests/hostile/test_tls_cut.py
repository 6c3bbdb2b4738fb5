"""A server that speaks TLS, and a connection that is cut below it.

A body without a length ends with the connection. Whoever can cut TCP can cut it anywhere, so it is
whole only after the closure alert of TLS, close_notify (RFC 9112, section 9.8). A refusal whose
body is cut keeps its status.
"""

import contextlib
import socket
import ssl

import gevent
import pytest
import requests
from gevent import socket as gevent_socket

import engineio_gevent
import support
from engineio_gevent.exceptions import ConnectionClosed, HTTPError


@pytest.mark.parametrize('when', ['before', 'within'])
def test_cut_without_close_notify(hostile_server, certificates, when):
    def handler(sock):
        support.read_request(sock)
        if when == 'within':
            sock.sendall(b'HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n0{"sid"')
        sock.shutdown(socket.SHUT_RDWR)  # that of TCP: no close_notify goes before

    server = hostile_server(handler, ssl_context=certificates.server_context())
    client = engineio_gevent.Client(ssl_verify=False)
    with pytest.raises(engineio_gevent.exceptions.ConnectionError) as caught:
        client.connect(server.url, transports='polling')
    cause = caught.value.__cause__
    assert isinstance(cause, engineio_gevent.exceptions.ConnectionClosed)
    where = {'before': 'without a response', 'within': 'in the middle of a response'}[when]
    assert str(cause) == f'the server closed the connection {where}'


# -- A body that ends with the connection ----------------------------------------------------------


def close_tls(sock):
    """Send close_notify, and wait until the peer ends, too."""
    with contextlib.suppress(OSError, ValueError):
        sock.unwrap()


def ending(how, status, body):
    """A handler whose response ends with the connection: cleanly, or cut below TLS."""

    def handler(sock):
        support.read_request(sock)
        sock.sendall(f'HTTP/1.1 {status}\r\nX: y\r\n\r\n{body}'.encode())
        if how == 'closed':
            close_tls(sock)
        with contextlib.suppress(OSError):
            sock.shutdown(socket.SHUT_RDWR)

    return handler


#: An OPEN packet that ends the connection: the end of connect() is that of the test.
OPEN = support.open_packet() + '\x1e4pay 10\x1e1'
WAYS = {
    'polling': ({}, 'polling', '200 OK', OPEN),
    'session': ({'http_session': requests.Session}, 'polling', '200 OK', OPEN),
    'websocket': ({}, 'websocket', '403 Forbidden', '"no"'),
    'websocket-client': (
        {'websocket_extra_options': {'header': {'X': 'y'}}},
        'websocket',
        '403 Forbidden',
        '"no"',
    ),
}


@pytest.fixture
def start(hostile_server, certificates):
    """`start(handler, native)`: a server with TLS, in a thread for clients that block this one."""
    natives = []

    def serve(handler, native):
        if not native:
            return hostile_server(handler, ssl_context=certificates.server_context())
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificates.server_cert, certificates.server_key)
        natives.append(support.NativeServer(handler, ssl_context=context))
        return natives[-1]

    yield serve
    for server in natives:
        server.stop()


@pytest.fixture(autouse=True)
def trust(monkeypatch, certificates):
    monkeypatch.setenv('REQUESTS_CA_BUNDLE', certificates.ca)
    monkeypatch.setenv('no_proxy', '')


def outcome(witness, url, transport, **options):
    """The messages that came, or the cause of the error of connect()."""
    one = witness(**options)
    try:
        one.client.connect(url, transports=transport)
    except engineio_gevent.exceptions.ConnectionError as error:
        assert one.messages == []
        return error.__cause__
    one.loses('server disconnect', 'disconnecting')
    return one.messages


@pytest.mark.parametrize('way', WAYS)
def test_a_body_is_whole_only_after_close_notify(start, witness, way):
    options, transport, status, body = WAYS[way]
    if 'http_session' in options:
        session = requests.Session()
        options = {'http_session': session}

    def connect(how):
        server = start(ending(how, status, body), way == 'session')
        return outcome(witness, server.url, transport, **options)

    closed, cut = connect('closed'), connect('cut')
    if transport == 'polling':
        assert closed == ['pay 10']
    else:
        assert isinstance(closed, HTTPError)
        assert closed.body == 'no'
        assert (cut.status, cut.body) == (403, None)
    if transport == 'polling':
        assert isinstance(cut, ConnectionClosed), cut
        assert 'close' in str(cut) or 'EOF' in str(cut)
    if way == 'session':
        session.close()


def relaying(backend):
    """A handler of a proxy: it connects its end to a port, and closes TLS to the client cleanly."""

    def handler(sock):
        support.read_request(sock)
        sock.sendall(b'HTTP/1.1 200 OK\r\n\r\n')
        with gevent_socket.create_connection(('127.0.0.1', backend.port)) as there:
            up = gevent.spawn(copy, sock, there)
            copy(there, sock)
            up.kill()
            close_tls(sock)

    return handler


def copy(source, sink):
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            sink.sendall(data)


@pytest.mark.parametrize('transport', ['polling', 'websocket'])
def test_tls_in_tls(start, witness, monkeypatch, transport):
    """The proxy's close_notify says nothing about the server's."""
    _, _, status, body = WAYS[transport]

    def connect(how):
        server = start(ending(how, status, body), False)
        proxy = start(relaying(server), False)
        monkeypatch.setenv('https_proxy', proxy.url)
        return outcome(witness, server.url, transport)

    closed, cut = connect('closed'), connect('cut')
    if transport == 'polling':
        assert closed == ['pay 10']
        assert isinstance(cut, ConnectionClosed), cut
        assert 'TLS was not closed' in str(cut)
    else:
        assert [(one.status, one.body) for one in (closed, cut)] == [(403, 'no'), (403, None)]


def test_a_proxy_that_forwards(start, witness, monkeypatch):
    """To a server without TLS, by a proxy with it: its connection ends the body."""

    def connect(how):
        proxy = start(ending(how, '200 OK', OPEN), False)
        monkeypatch.setenv('http_proxy', proxy.url)
        return outcome(witness, 'http://127.0.0.1:1', 'polling')

    assert connect('closed') == ['pay 10']
    assert 'TLS was not closed' in str(connect('cut'))


@pytest.mark.parametrize('how', ['closed', 'cut'])
def test_a_socket_of_the_caller(start, witness, certificates, how):
    """One of the standard library's, which waits in the hub by a wrapper."""
    server = start(ending(how, '403 Forbidden', '"no"'), True)
    context = ssl.create_default_context(cafile=certificates.ca)
    sock = context.wrap_socket(
        socket.create_connection(('127.0.0.1', server.port)), server_hostname='localhost'
    )
    error = outcome(witness, server.url, 'websocket', websocket_extra_options={'socket': sock})
    assert (error.status, error.body) == (403, 'no' if how == 'closed' else None)


@pytest.mark.parametrize('end', ['FIN', 'RST'])
@pytest.mark.parametrize('transport', ['polling', 'websocket'])
@pytest.mark.parametrize('body', ['Content-Length: 9', 'Transfer-Encoding: chunked'])
def test_a_refusal_without_tls_that_is_cut(hostile_server, witness, end, transport, body):
    def handler(sock):
        support.read_request(sock)
        sock.sendall(f'HTTP/1.1 503 Busy\r\n{body}\r\n\r\n'.encode())
        if end == 'RST':
            support.reset(sock)

    cause, _ = witness().fails_to_connect(hostile_server(handler), transport)
    assert (cause.status, cause.body) == (503, None)
