"""A session that pins the servers behind a proxy: its adapter has other arguments for proxies."""

import hashlib
import ssl

import pytest
import requests
import trustme
from requests.adapters import HTTPAdapter

from engineio_gevent.exceptions import ConnectionError
from support import (
    NativeServer,
    accept_websocket,
    frame,
    open_packet,
    read_request,
    read_to_end,
    respond,
)

pytestmark = pytest.mark.filterwarnings('ignore::RuntimeWarning')  # requests blocks this thread


class Pinning(HTTPAdapter):
    """It pins what is behind a proxy only: by the method that requests documents for that."""

    def __init__(self, **arguments):
        self._arguments = arguments
        super().__init__()

    def proxy_manager_for(self, proxy, **options):
        return super().proxy_manager_for(proxy, **options, **self._arguments)


class PinningBoth(Pinning):
    """Its arguments for proxies are not about TLS."""

    def init_poolmanager(self, *arguments, **options):
        super().init_poolmanager(*arguments, **options, **self._arguments)

    def proxy_manager_for(self, proxy, **options):
        return HTTPAdapter.proxy_manager_for(self, proxy, **options, headers={'x-mine': 'x'})


@pytest.fixture(scope='module')
def authority():
    return trustme.CA()


@pytest.fixture
def behind(authority):
    """A proxy that is also the server, and the requests that the server has seen."""
    certificate = authority.issue_cert('far.test')
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate.configure_cert(context)
    asked = []

    def serve(sock):
        assert read_request(sock).method == 'CONNECT'
        sock.sendall(b'HTTP/1.1 200 Connection established\r\n\r\n')
        with context.wrap_socket(sock, server_side=True) as secure:
            request = read_request(secure)
            asked.append(request)
            if 'sec-websocket-key' in request.headers:
                accept_websocket(secure, request)
                secure.sendall(frame(open_packet()))
            else:
                respond(secure, open_packet())
            read_to_end(secure)

    server = NativeServer(serve)
    server.asked = asked
    der = ssl.PEM_cert_to_DER_cert(certificate.cert_chain_pems[0].bytes().decode())
    server.fingerprint = hashlib.sha256(der).hexdigest()
    yield server
    server.stop()


@pytest.fixture
def session(behind, authority, tmp_path):
    path = tmp_path / 'ca.pem'
    authority.cert_pem.write_to_path(str(path))
    with requests.Session() as made:
        made.trust_env = False
        made.verify = str(path)
        made.proxies = {'https': behind.url.replace('//', '//ann:s3cret@')}
        yield made


def refused(witness, session, transport):
    client = witness(http_session=session).client
    with pytest.raises(ConnectionError) as caught:
        client.connect('https://far.test', transports=transport)
    return str(caught.value)


@pytest.mark.parametrize('transport', ['polling', 'websocket'])
def test_a_fingerprint(witness, behind, session, transport):
    session.mount('https://', Pinning(assert_fingerprint='00' * 32))
    assert 'ingerprint' in refused(witness, session, transport)
    assert behind.asked == []
    session.mount('https://', Pinning(assert_fingerprint=behind.fingerprint))
    client = witness(http_session=session).client
    client.connect('https://far.test', transports=transport)
    client.disconnect(abort=True)


@pytest.mark.parametrize('transport', ['polling', 'websocket'])
def test_a_context(witness, behind, session, transport):
    session.verify = True
    context = ssl.create_default_context(cadata=trustme.CA().cert_pem.bytes().decode())
    session.mount('https://', Pinning(ssl_context=context))
    refused(witness, session, transport)
    assert behind.asked == []


def test_what_a_websocket_cannot_do(witness, behind, session):
    session.mount('https://', Pinning(assert_hostname='pinned.test'))
    assert '(assert_hostname)' in refused(witness, session, 'websocket')
    assert behind.asked == []


def test_arguments_for_proxies_do_not_hide_the_others(witness, behind, session):
    session.mount('https://', PinningBoth(assert_fingerprint='00' * 32))
    assert 'ingerprint' in refused(witness, session, 'websocket')
    assert behind.asked == []


@pytest.mark.parametrize('adapter', [HTTPAdapter, Pinning, PinningBoth])
def test_adapters_that_say_nothing_of_tls(witness, behind, session, adapter):
    session.mount('https://', adapter())
    client = witness(http_session=session).client
    client.connect('https://far.test', transports='websocket')
    client.disconnect(abort=True)
    assert len(behind.asked) == 1
