"""An Engine.IO server from npm on a UNIX socket."""

import resource

import gevent
import pytest

import support
from engineio_gevent.addresses import unix_socket
from engineio_gevent.exceptions import ConnectionError

CROWD = 2000


@pytest.fixture
def path(tmp_path):
    return str(tmp_path / 'app.sock')


def test_messages(make_js_server, make_client, path, way):
    server = make_js_server(socket=path)
    client = make_client(dial=unix_socket(path))
    client.connect('http://localhost', transports=way)
    assert client.transport() == (way or ['websocket'])[0]
    assert client.ask('hello') == 'hello'
    assert client.ask(bytes(range(256)) * 1000) == bytes(range(256)) * 1000
    requests = server.requests(client.sid)
    assert {request['headers']['host'] for request in requests} == {'localhost'}
    client.disconnect()
    server.wait_count(0)


def test_tls(make_js_server, make_client, certificates, path, way):
    """The certificate has the name of the URL."""
    make_js_server(socket=path, tls=certificates.tls)
    client = make_client(dial=unix_socket(path), ssl_verify=certificates.ca)
    client.connect('https://localhost', transports=way)
    assert client.ask('hello') == 'hello'
    client.disconnect()
    with pytest.raises(ConnectionError, match=r'wrong\.test'):
        client.connect('https://wrong.test', transports=way)


def test_the_server_ends(make_js_server, make_client, path, way):
    server = make_js_server(socket=path)
    client = make_client(dial=unix_socket(path))
    client.connect('http://localhost', transports=way)
    server.kill()
    client.wait_end()
    assert client.reasons == ['transport error']
    with pytest.raises(ConnectionError, match=r'app\.sock: ') as caught:
        client.connect('http://localhost:8080', transports=way)
    assert str(caught.value).startswith('localhost:8080: ')


@pytest.fixture
def many_descriptors():
    limit = CROWD + 1000
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < limit:
        support.missing(f'a limit of {limit} descriptors', f'ulimit -Hn {limit}')
    if soft != resource.RLIM_INFINITY and soft < limit:
        resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.time_limit(120)
def test_a_crowd_at_once(many_descriptors, make_js_server, make_client, path):
    """The queue of the server takes eight, and a connect to a full queue fails at once."""
    server = make_js_server(socket=path, backlog=8)
    dial = unix_socket(path)
    clients = [make_client(dial=dial, request_timeout=100) for _ in range(CROWD)]
    gevent.joinall(
        [
            gevent.spawn(client.connect, 'http://localhost', transports=['websocket'])
            for client in clients
        ],
        raise_error=True,
    )
    server.wait_count(CROWD)
    gevent.joinall([gevent.spawn(client.disconnect) for client in clients], raise_error=True)
    server.wait_count(0)


def test_a_server_that_accepts_nothing(make_js_server, make_client, path, way):
    server = make_js_server(socket=path, backlog=1)
    dial = unix_socket(path)
    server.suspend()
    try:
        clients = [make_client(dial=dial, request_timeout=0.3) for _ in range(5)]
        with support.no_leaks():
            connecting = [
                gevent.spawn(support.outcome, client.connect, 'http://localhost', transports=way)
                for client in clients
            ]
            for error in (one.get() for one in connecting):
                assert isinstance(error, ConnectionError)
                assert 'within 0.3 seconds' in str(error)
    finally:
        server.resume()
