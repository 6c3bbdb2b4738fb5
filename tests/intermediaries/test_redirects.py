"""nginx redirects to the path without a slash, to another server, and in a loop."""

import pytest
from gevent import socket

import engineio_gevent
import support
from engineio_gevent.exceptions import ConnectionError

HEADERS = {'Authorization': 'Bearer s3cret', 'Cookie': 'a=c00kie'}


@pytest.fixture
def make_client():
    yield from support.made_clients(engineio_gevent.Client)


def echo(client, message='hello'):
    inbox = client.create_queue()
    client.on('message', inbox.put)
    client.send(message)
    return inbox.get(timeout=support.patience(10))


@pytest.mark.parametrize('status', [307, 308])
@pytest.mark.parametrize('absolute', [False, True], ids=['path', 'url'])
def test_to_the_same_server(
    redirecting_nginx, js_server, make_client, way_transports, status, absolute
):
    """By all transports, with credentials and the query; the POSTs, too."""
    begin = '$scheme://$http_host' if absolute else ''
    front = redirecting_nginx(js_server, target=f'{begin}/engine.io', status=status)
    client = make_client()
    client.connect(f'{front.url}?token=1', HEADERS, transports=way_transports)
    assert echo(client) == 'hello'
    requests = js_server.requests(client.sid)
    assert requests
    assert all(one['headers']['authorization'] == 'Bearer s3cret' for one in requests)
    assert all(one['headers']['cookie'] == 'a=c00kie' for one in requests)
    assert all('token=1&transport=' in one['url'] for one in requests)
    client.disconnect()
    assert ('/engine.io/', status) in front.asked
    if way_transports != ['polling']:
        assert support.eventually(lambda: ('/engine.io', 101) in front.asked)


@pytest.mark.parametrize('status', [301, 302, 303, 307, 308])
def test_a_websocket_goes_nowhere_else(redirecting_nginx, js_server, make_client, status):
    """Without `redirect_limit`. The error names the place, without what may be secret."""
    front = redirecting_nginx(js_server, target=f'{js_server.url}/engine.io/', status=status)
    before = len(js_server.requests())
    with pytest.raises(ConnectionError) as caught:
        make_client().connect(f'{front.url}?token=s3cret', HEADERS, transports='websocket')
    cause = caught.value.__cause__
    assert (cause.status, caught.value.args[1]) == (status, None)
    assert cause.headers['location'].startswith(f'{js_server.url}/engine.io/?token=s3cret')
    assert cause.headers['server'].startswith('nginx')
    assert f'which redirects to {js_server.url}/engine.io/' in str(caught.value)
    assert 's3cret' not in str(caught.value)
    assert len(js_server.requests()) == before


@pytest.mark.parametrize('status', [301, 302, 303, 307, 308])
def test_a_websocket_goes_elsewhere_if_it_may(redirecting_nginx, js_server, make_client, status):
    front = redirecting_nginx(
        js_server, target=f'http://localhost:{js_server.port}/engine.io/', status=status
    )
    client = make_client(websocket_extra_options={'redirect_limit': 1})
    client.connect(front.url, {**HEADERS, 'X-Own': 'told'}, transports='websocket')
    assert echo(client) == 'hello'
    (request,) = js_server.requests(client.sid)
    assert request['headers']['x-own'] == 'told'
    assert 's3cret' not in str(request)
    assert 'c00kie' not in str(request)


@pytest.mark.parametrize('limit', [0, 3, 8])
@pytest.mark.parametrize('status', [301, 308])
def test_a_loop_ends(redirecting_nginx, js_server, make_client, status, limit):
    front = redirecting_nginx(js_server, target='/loop', status=status)
    client = make_client(websocket_extra_options={'redirect_limit': limit} if limit else {})
    with pytest.raises(ConnectionError, match='which redirects to /'):
        client.connect(front.url, transports='websocket')
    # nginx logs a request after its answer. Once a later one is there, none is missing.
    with socket.create_connection(('127.0.0.1', front.port)) as sock:
        sock.sendall(b'GET /end HTTP/1.0\r\n\r\n')
        assert support.eventually(lambda: ('/end', 404) in front.asked)
    asked = len(front.asked) - 1
    if status == 301:  # without a limit, it is not followed
        assert limit < asked <= max(limit, 5) + 1
    else:
        assert asked == max(limit, 5) + 1
