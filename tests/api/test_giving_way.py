"""A loop of calls that have nothing to do, or fail at once, lets other greenlets run."""

import pytest

import engineio_gevent
import support


@pytest.fixture
def disconnected(client, js_server):
    client.connect(js_server.url)
    client.disconnect()
    return client


@pytest.mark.parametrize('name', ['send', 'wait'])
@pytest.mark.parametrize('before', ['client', 'disconnected'])
def test_a_client_that_is_not_connected(request, before, name):
    client = request.getfixturevalue(before)
    assert support.gives_way({'send': lambda: client.send('dropped'), 'wait': client.wait}[name])


@pytest.mark.parametrize('transport', ['polling', 'websocket'])
def test_a_connection_that_is_refused_at_once(client, transport):
    url = f'http://127.0.0.1:{support.free_port()}'
    assert support.gives_way(
        lambda: client.connect(url, transports=transport),
        engineio_gevent.exceptions.ConnectionError,
    )
