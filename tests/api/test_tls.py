"""https and wss: the same messages, and whose certificate is believed."""

import ssl
import sys

import pytest

from engineio_gevent.exceptions import ConnectionError

MIB = 1 << 20


@pytest.fixture
def server(server_with, certificates, request):
    kind = request.node.callspec.params['server_with']
    if kind == 'python' and sys.implementation.name == 'pypy':
        pytest.skip("gevent's pywsgi over PyPy's ssl loses its connections")
    return server_with(tls=certificates.tls, maxHttpBufferSize=10 * MIB)


@pytest.fixture
def trusted(monkeypatch, certificates):
    """The test's authority is one that is believed."""
    monkeypatch.setenv('REQUESTS_CA_BUNDLE', certificates.ca)


def test_messages(server, trusted, make_client):
    client = make_client()
    for way, url in [('polling', server.ws_url), ('websocket', server.url), (None, server.url)]:
        client.connect(f'{url}?greet=300', transports=way)
        assert client.transport() == (way or 'websocket')
        scheme = 'wss' if way == 'websocket' else 'https'
        assert client.base_url.startswith(f'{scheme}://{server.netloc}/')
        assert client.take(300) == [f'g{number}' for number in range(300)]
        for message in ['hello', b'\x00\xff', 'x' * MIB, bytes(range(256)) * (MIB // 256)]:
            assert client.ask(message) == message
        client.disconnect()
    assert client.reasons == ['client disconnect'] * 3


def test_burst_both_ways(server, trusted, make_client, way):
    client = make_client()
    client.connect(server.url, transports=way)
    sid = client.sid
    texts = [f'{number}:' + 'x' * (number % 7 * 3000) for number in range(200)]
    client.send('numbers 1000')
    for text in texts:
        client.send(text)
    assert client.take(1200) == [str(number) for number in range(1000)] + texts
    client.send('last')
    client.disconnect()
    server.close_reason(sid)
    assert server.received(sid)[1:] == [*texts, 'last']


def test_across_the_upgrade(server, trusted, make_client):
    client = make_client()
    client.on('connect', lambda: [client.send(f'c{number}') for number in range(500)])
    client.connect(f'{server.url}?greet=1000')
    assert client.transport() == 'websocket'
    for number in range(500):
        client.send(f'd{number}')
    received = client.take(2000)
    assert [text for text in received if text[0] == 'g'] == [f'g{n}' for n in range(1000)]
    assert [text for text in received if text[0] != 'g'] == [
        *(f'c{number}' for number in range(500)),
        *(f'd{number}' for number in range(500)),
    ]


def test_nobody_believes_an_unknown_authority(server, make_client, transport):
    client = make_client()
    before = set(server.control('clients')['ids'])
    with pytest.raises(ConnectionError, match='certificate') as caught:
        client.connect(server.url, transports=transport)
    causes = []
    cause = caught.value
    while cause := cause.__cause__:
        causes.append(cause)
    assert any(isinstance(cause, ssl.SSLError) for cause in causes), causes
    assert client.state == 'disconnected'
    assert set(server.control('clients')['ids']) <= before


def test_ssl_verify_off(server, make_client, way):
    client = make_client(ssl_verify=False)
    client.connect(server.url, transports=way)
    assert client.ask('hello') == 'hello'


def test_sslopt(server, make_client, certificates):
    client = make_client(websocket_extra_options={'sslopt': {'ca_certs': certificates.ca}})
    client.connect(server.url, transports='websocket')
    assert client.ask('hello') == 'hello'


def test_plain_client_of_a_tls_server(server, client, transport):
    with pytest.raises(ConnectionError):
        client.connect(f'http://{server.netloc}', transports=transport)
    assert client.state == 'disconnected'


def test_tls_client_of_a_plain_server(any_server, client, transport):
    with pytest.raises(ConnectionError):
        client.connect(f'https://{any_server.netloc}', transports=transport)
    assert client.state == 'disconnected'


def test_client_certificate(server_with, make_client, certificates):
    server = server_with(tls=certificates.mutual_tls)
    options = {
        'ca_certs': certificates.ca,
        'certfile': certificates.client_cert,
        'keyfile': certificates.client_key,
    }
    client = make_client(websocket_extra_options={'sslopt': options})
    client.connect(server.url, transports='websocket')
    assert client.ask('hello') == 'hello'
    client.disconnect()

    anonymous = make_client(websocket_extra_options={'sslopt': {'ca_certs': certificates.ca}})
    with pytest.raises(ConnectionError):
        anonymous.connect(server.url, transports='websocket')


def test_client_certificate_of_a_session(server_with, script, certificates, monkeypatch):
    """It goes with polling and with the websocket; a tuple, or both in one file."""
    for name in ['REQUESTS_CA_BUNDLE', 'CURL_CA_BUNDLE']:  # to requests, they go before `verify`
        monkeypatch.delenv(name, raising=False)
    server = server_with(tls=certificates.mutual_tls)
    lines = script(
        """
        from gevent import monkey
        monkey.patch_all()
        import warnings
        import requests
        import engineio_gevent

        # what requests leaves of a request that is killed, it leaves to the garbage collector
        warnings.simplefilter('ignore', ResourceWarning)
        url, ca, *certs = argv
        for cert in certs:
            for transports in ['polling', 'websocket', None]:
                with requests.Session() as session:
                    session.verify = ca
                    session.cert = tuple(cert) if isinstance(cert, list) else cert
                    client = engineio_gevent.Client(http_session=session)
                    inbox = client.create_queue()
                    client.on('message', inbox.put)
                    client.connect(url, transports=transports)
                    client.send('hello')
                    say([client.transport(), inbox.get(timeout=10)])
                    client.disconnect()
    """,
        server.url,
        certificates.ca,
        certificates.client_pem,
        [certificates.client_cert, certificates.client_key],
    ).result()
    assert lines == [['polling', 'hello'], ['websocket', 'hello'], ['websocket', 'hello']] * 2


def test_server_drops_a_tls_connection(server, trusted, make_client, way):
    client = make_client()
    client.connect(server.url, transports=way)
    client.send('drop')
    client.wait_end()
    assert client.reasons == ['transport error']
    assert client.disconnect_error is not None


def test_suspended_tls_server(server, trusted, make_client, transport):
    client = make_client(request_timeout=0.3)
    server.suspend()
    try:
        with pytest.raises(ConnectionError):
            client.connect(server.url, transports=transport)
    finally:
        server.resume()
    assert client.state == 'disconnected'
