"""Hosts with a fixed address: TLS and the Host header keep the name."""

import pytest

from engineio_gevent.addresses import pinned
from engineio_gevent.exceptions import ConnectionError


def test_the_host_header_has_the_name(js_server, make_client, way):
    client = make_client(dial=pinned({'app.test': '127.0.0.1'}))
    client.connect(f'http://app.test:{js_server.port}', transports=way)
    assert client.ask('hello') == 'hello'
    hosts = {request['headers']['host'] for request in js_server.requests(client.sid)}
    assert hosts == {f'app.test:{js_server.port}'}


def test_the_certificate_must_have_the_name(js_server_with, certificates, make_client, way):
    server = js_server_with(tls=certificates.tls)
    dial = pinned({'app.test': '127.0.0.1', f'localhost:{server.port}': '127.0.0.1'})
    client = make_client(dial=dial, ssl_verify=certificates.ca)
    client.connect(f'https://localhost:{server.port}', transports=way)
    assert client.ask('hello') == 'hello'
    client.disconnect()
    with pytest.raises(ConnectionError, match=r"not valid for 'app\.test'"):
        client.connect(f'https://app.test:{server.port}', transports=way)


def test_an_error_names_host_and_address(js_server, make_client, way):
    client = make_client(dial=pinned({'app.test': '127.0.0.9'}))
    with pytest.raises(ConnectionError) as caught:
        client.connect(f'http://app.test:{js_server.port}', transports=way)
    assert str(caught.value) == f'app.test:{js_server.port}: 127.0.0.9: Connection refused'
