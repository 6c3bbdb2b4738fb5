"""Servers that a program pins, by its session above all: whoever has another certificate gets no
request, and no `Authorization`, on any transport.
"""

import hashlib
import os
import socket
import ssl
from pathlib import Path

import gevent.socket
import gevent.ssl
import pytest
import requests
import trustme
from requests.adapters import HTTPAdapter

import support
from engineio_gevent.exceptions import ConnectionError
from support import accept_websocket, frame, open_packet, read_request, respond

TRANSPORTS = {'polling': 'polling', 'websocket': 'websocket', 'upgrade': None}
every_transport = pytest.mark.parametrize('transport', TRANSPORTS)
every_kind = pytest.mark.parametrize('kind', [str, Path, os.fsencode])

pytestmark = pytest.mark.filterwarnings('ignore::RuntimeWarning')  # requests blocks this thread


@pytest.fixture(autouse=True)
def environment(monkeypatch):
    for name in ('REQUESTS_CA_BUNDLE', 'CURL_CA_BUNDLE', 'WEBSOCKET_CLIENT_CA_BUNDLE'):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(autouse=True, scope='module')
def resolver():
    """`localhost` goes through gevent's pool of threads, which is no leak."""
    gevent.socket.getaddrinfo('localhost', 80)


class Authority:
    """A certificate authority, a certificate for localhost by it, a client's certificate."""

    def __init__(self, folder):
        authority = trustme.CA()
        self.path = str(folder / 'ca.pem')
        authority.cert_pem.write_to_path(self.path)
        server = authority.issue_cert('localhost', '127.0.0.1')
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        server.configure_cert(self.context)
        der = ssl.PEM_cert_to_DER_cert(server.cert_chain_pems[0].bytes().decode())
        self.fingerprint = hashlib.sha256(der).hexdigest()
        client = authority.issue_cert('client@example.test')
        self.client = str(folder / 'client.pem'), str(folder / 'client.key')
        client.cert_chain_pems[0].write_to_path(self.client[0])
        client.private_key_pem.write_to_path(self.client[1])

    def trusting(self, kind=ssl.SSLContext):
        context = kind(ssl.PROTOCOL_TLS_CLIENT)
        context.load_verify_locations(self.path)
        return context


@pytest.fixture(scope='module')
def one(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp('one'))


@pytest.fixture(scope='module')
def other(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp('other'))


class Server(support.NativeServer):
    """Serves Engine.IO with TLS; polling with one certificate, websockets with another."""

    def __init__(self, *authorities):
        self.asked = []
        self.left = list(authorities)
        super().__init__(self._serve)
        self.url = self.url.replace('http://127.0.0.1', 'https://localhost')

    def _serve(self, sock):
        authority = self.left.pop(0) if len(self.left) > 1 else self.left[0]
        with authority.context.wrap_socket(sock, server_side=True) as secure:
            self._remember(secure)
            while True:
                request = read_request(secure)
                self.asked.append(request)
                if 'sec-websocket-key' in request.headers:
                    break
                again = 'sid' in request.target
                respond(secure, '6' if again else open_packet(upgrades=['websocket']))
            accept_websocket(secure, request)
            if 'sid' in request.target:
                secure.recv(100)
                secure.sendall(frame('3probe'))
            else:
                secure.sendall(frame(open_packet()))
            support.read_to_end(secure)


@pytest.fixture
def serve():
    """`serve(one, other)`: the authorities of the connections, the last for all others."""
    servers = []

    def start(*authorities):
        servers.append(Server(*authorities))
        return servers[-1]

    yield start
    for server in servers:
        server.stop()


@pytest.fixture
def session():
    with requests.Session() as made:
        made.auth = 'ann', 's3cret'
        yield made


def is_believed(witness, server, transport, **options):
    client = witness(**options).client
    client.connect(server.url, transports=TRANSPORTS[transport])
    assert client.transport() == ('polling' if transport == 'polling' else 'websocket')
    asked = [one.headers.get('authorization') for one in server.asked]
    client.disconnect(abort=True)
    return asked


def is_refused(witness, server, transport, **options):
    """Whoever comes between after the first connection is refused, too."""
    client = witness(**options).client
    if transport == 'upgrade':
        client.connect(server.url)
        assert client.transport() == 'polling'
        client.disconnect(abort=True)
        assert not any('websocket' in one.target for one in server.asked)
    else:
        with pytest.raises(ConnectionError) as caught:
            client.connect(server.url, transports=TRANSPORTS[transport])
        assert server.asked == []
        return str(caught.value)


def in_turn(transport, good, bad):
    return (good, bad, good) if transport == 'upgrade' else (bad,)


@every_kind
@every_transport
def test_session_verify(serve, witness, session, one, other, kind, transport):
    session.verify = kind(one.path)
    asked = is_believed(witness, serve(one), transport, http_session=session)
    assert set(asked) == {'Basic YW5uOnMzY3JldA=='}
    is_refused(witness, serve(*in_turn(transport, one, other)), transport, http_session=session)


@every_kind
@every_transport
def test_ssl_verify(serve, witness, one, other, kind, transport):
    path = kind(one.path)
    is_believed(witness, serve(one), transport, ssl_verify=path)
    is_refused(witness, serve(*in_turn(transport, one, other)), transport, ssl_verify=path)


@pytest.mark.parametrize('verify', ['', None, 2])
def test_what_may_mean_anything_connects_to_nothing(serve, witness, session, one, verify):
    server = serve(one)
    session.verify = verify
    with pytest.raises(ValueError, match=r'^http_session\.verify must be'):
        witness(http_session=session).client.connect(server.url)
    assert server.accepted == 0


def test_an_empty_path_is_the_folder_of_the_program(
    serve, witness, session, one, monkeypatch, tmp_path
):
    """And nothing is verified by what is not in it."""
    monkeypatch.chdir(tmp_path)
    session.verify = Path('')
    for transport in ('polling', 'websocket'):
        is_refused(witness, serve(one), transport, http_session=session)


@every_kind
@pytest.mark.parametrize('form', [tuple, list])
@pytest.mark.parametrize('of', ['session', 'client'])
@every_transport
def test_client_certificates(serve, witness, session, one, kind, form, of, transport):
    server = serve(one)
    one.context.load_verify_locations(one.path)
    one.context.verify_mode = ssl.CERT_REQUIRED
    try:
        pair = form(map(kind, one.client))
        options = {'ssl_verify': one.path}
        if of == 'session':
            session.cert, options['http_session'] = pair, session
        else:
            options['ssl_cert'] = pair
        is_believed(witness, server, transport, **options)
    finally:
        one.context.verify_mode = ssl.CERT_NONE


# -- Sessions that pin by an adapter ---------------------------------------------------------------


class Pinning(HTTPAdapter):
    """An adapter that pins as the documentation of requests says, for urllib3's pools."""

    def __init__(self, **arguments):
        self._arguments = arguments
        super().__init__()

    def init_poolmanager(self, *arguments, **options):
        super().init_poolmanager(*arguments, **options, **self._arguments)


class ByRequest(Pinning):
    """The same for each request, by the method that requests has for that."""

    def init_poolmanager(self, *arguments, **options):
        HTTPAdapter.init_poolmanager(self, *arguments, **options)

    def build_connection_pool_key_attributes(self, request, verify, cert=None):
        host, pool = super().build_connection_pool_key_attributes(request, verify, cert)
        return host, {**pool, **self._arguments}


by_each_adapter = pytest.mark.parametrize('adapter', [Pinning, ByRequest])


@by_each_adapter
@every_transport
@pytest.mark.parametrize('kind', [ssl.SSLContext, gevent.ssl.SSLContext])
def test_the_context_of_an_adapter(serve, witness, session, one, other, adapter, transport, kind):
    if kind is gevent.ssl.SSLContext and transport != 'websocket':
        pytest.skip('requests takes it only after monkey-patching')
    context = one.trusting(kind)
    session.mount('https://', adapter(ssl_context=context))
    is_believed(witness, serve(one), transport, http_session=session)
    is_refused(witness, serve(*in_turn(transport, one, other)), transport, http_session=session)


@by_each_adapter
@every_transport
@pytest.mark.parametrize('verify', ['by authority', 'not'])
def test_a_fingerprint(serve, witness, session, one, other, adapter, transport, verify, tmp_path):
    both = tmp_path / 'both.pem'
    both.write_text(Path(one.path).read_text() + Path(other.path).read_text())
    session.verify = str(both) if verify == 'by authority' else False
    session.mount('https://localhost', adapter(assert_fingerprint=one.fingerprint))
    is_believed(witness, serve(one), transport, http_session=session)
    why = is_refused(
        witness, serve(*in_turn(transport, one, other)), transport, http_session=session
    )
    assert transport == 'upgrade' or 'ingerprint' in why


def test_an_adapter_is_that_of_the_server(serve, witness, session, one, other):
    session.verify = other.path
    session.mount('https://elsewhere.test', Pinning(assert_fingerprint=one.fingerprint))
    is_believed(witness, serve(other), 'websocket', http_session=session)


class Own(HTTPAdapter):
    def cert_verify(self, conn, url, verify, cert):
        super().cert_verify(conn, url, verify, cert)


class OwnWay(ssl.SSLContext):
    def wrap_bio(self, *arguments, **options):
        raise AssertionError('not called here')


def careless(kind=ssl.SSLContext, check_hostname=False, verify_mode=ssl.CERT_REQUIRED):
    context = kind(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = check_hostname
    context.verify_mode = verify_mode
    return context


@pytest.mark.parametrize(
    ('adapter', 'what'),
    [
        (lambda: Pinning(assert_hostname='pinned.test'), 'assert_hostname'),
        (lambda: Pinning(server_hostname='pinned.test'), 'server_hostname'),
        (lambda: ByRequest(assert_hostname='pinned.test'), 'assert_hostname'),
        (Own, 'cert_verify'),
        (lambda: Pinning(ssl_context=careless()), 'ssl_context'),
        (lambda: Pinning(ssl_context=careless(verify_mode=ssl.CERT_NONE)), 'ssl_context'),
        (lambda: Pinning(ssl_context=careless(OwnWay, check_hostname=True)), 'ssl_context'),
        (lambda: Pinning(ssl_context=object()), 'ssl_context'),
    ],
)
def test_what_a_websocket_cannot_do(serve, witness, session, one, adapter, what):
    """It is refused before anything is sent, and says what to do."""
    session.verify = one.path
    session.mount('https://', adapter())
    server = serve(one)
    why = is_refused(witness, server, 'websocket', http_session=session)
    assert f'({what})' in why
    assert 'websocket_extra_options' in why
    for sslopt in (
        {'ca_certs': one.path},
        {'context': one.trusting()},
        {'cert_reqs': ssl.CERT_REQUIRED},
    ):
        options = {'websocket_extra_options': {'sslopt': sslopt}}
        is_believed(witness, server, 'websocket', http_session=session, **options)


def test_other_settings_of_sslopt_do_not_replace_an_adapter_s(serve, witness, session, one, other):
    session.verify = other.path
    session.mount('https://', Pinning(assert_fingerprint=one.fingerprint))
    options = {'websocket_extra_options': {'sslopt': {'ciphers': 'DEFAULT'}}}
    is_refused(witness, serve(other), 'websocket', http_session=session, **options)


@pytest.mark.parametrize('adapter', [HTTPAdapter, type('Sub', (HTTPAdapter,), {})])
def test_adapters_that_say_nothing_of_tls(serve, witness, session, one, adapter):
    session.verify = one.path
    session.mount('https://', adapter())
    is_believed(witness, serve(one), 'websocket', http_session=session)


# -- The name that sslopt gives --------------------------------------------------------------------


def test_a_name_is_that_of_the_first_server_alone(hostile_server, witness, certificates, one):
    """A server there that has a certificate for this name, but not for its own, is refused."""
    asked = []

    def away(sock):
        with named.wrap_socket(sock, server_side=True) as secure:
            asked.append(read_request(secure))

    def first(sock):
        read_request(sock)
        location = f'https://localhost:{elsewhere.port}/'
        respond(sock, status='307 Temporary Redirect', headers=[('Location', location)])

    named = certificates.server_context('front.test')
    elsewhere = hostile_server(away)
    front = hostile_server(first, ssl_context=named)
    sslopt = {'server_hostname': 'front.test', 'ca_certs': certificates.ca}
    client = witness(websocket_extra_options={'sslopt': sslopt, 'redirect_limit': 3}).client
    with pytest.raises(ConnectionError, match=r'localhost:.*certificate'):
        client.connect(front.url, transports='websocket')
    assert (front.accepted, asked) == (1, [])


def test_the_name_stays_over_a_redirect_to_the_same_server(hostile_server, witness, certificates):
    targets = []

    def handler(sock):
        request = read_request(sock)
        targets.append(request.target.partition('?')[0])
        if len(targets) == 1:
            respond(sock, status='307 Temporary Redirect', headers=[('Location', '/there')])
            return
        accept_websocket(sock, request)
        sock.sendall(frame(open_packet()))
        support.read_to_end(sock)

    server = hostile_server(handler, ssl_context=certificates.server_context('front.test'))
    sslopt = {'server_hostname': 'front.test', 'ca_certs': certificates.ca}
    client = witness(websocket_extra_options={'sslopt': sslopt}).client
    client.connect(server.url, transports='websocket')
    assert targets == ['/engine.io/', '/there']
    client.disconnect(abort=True)


# -- A dot at the end of a name --------------------------------------------------------------------


@every_transport
@pytest.mark.parametrize('by', ['package', 'session', 'websocket-client'])
def test_a_name_that_ends_with_a_dot(serve, witness, session, one, transport, by, monkeypatch):
    """Its certificate has no dot, and the server gets none; the name is looked up with it."""
    if by == 'websocket-client' and transport == 'polling':
        pytest.skip('it opens websockets')
    server = serve(one)
    names = []
    one.context.sni_callback = lambda sock, name, context: names.append(name)
    options = {
        'package': {},
        'session': {'http_session': session},
        'websocket-client': {'websocket_extra_options': {'timeout': 5}},
    }[by]
    looked_up = []
    real = socket.getaddrinfo

    def look_up(host, *arguments):
        looked_up.append(host)
        return real(host.removesuffix('.'), *arguments)

    def dial(host, port):
        looked_up.append(host)
        return gevent.socket.create_connection(('127.0.0.1', port))

    monkeypatch.setattr('socket.getaddrinfo', look_up)  # for requests
    options['dial'] = dial
    server.url = server.url.replace('localhost', 'localhost.')
    is_believed(witness, server, transport, ssl_verify=one.path, **options)
    one.context.sni_callback = None
    assert set(names) == {'localhost'}
    assert {request.headers['host'] for request in server.asked} == {f'localhost:{server.port}'}
    origins = {request.headers.get('origin') for request in server.asked} - {None}
    assert origins <= {f'https://localhost:{server.port}'}
    assert set(looked_up) == {'localhost.'}


@pytest.mark.skipif(not support.has_ipv6(), reason='no IPv6 here')
@pytest.mark.parametrize('options', [{}, {'websocket_extra_options': {'timeout': 5}}])
@pytest.mark.parametrize('transport', ['polling', 'websocket'])
def test_the_zone_of_an_address_stays_here(hostile_server, witness, options, transport):
    """It has a meaning on this machine alone (RFC 6874, section 1)."""
    asked = []

    def handler(sock):
        request = read_request(sock)
        asked.append(request)
        if transport == 'websocket':
            accept_websocket(sock, request)
            sock.sendall(frame(open_packet()))
        else:
            respond(sock, open_packet())
        support.read_to_end(sock)

    server = hostile_server(handler, host='::1')
    client = witness(**options).client
    client.connect(f'http://[::1%251]:{server.port}', transports=transport)
    client.disconnect(abort=True)
    for request in asked:
        assert request.headers['host'] == f'[::1]:{server.port}'
        assert '%' not in request.headers.get('origin', '')
