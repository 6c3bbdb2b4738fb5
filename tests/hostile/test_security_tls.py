"""Whose certificate is believed: the same on each transport, by every client for itself."""

import contextlib
import ssl
import struct

import pytest
import trustme
from cryptography.hazmat.primitives import serialization

from engineio_gevent.exceptions import ConnectionError
from support import (
    TLS_ERRORS,
    accept_websocket,
    frame,
    open_packet,
    read_request,
    read_to_end,
    respond,
)

TRANSPORTS = {'polling': 'polling', 'websocket': 'websocket', 'upgrade': None}
every_transport = pytest.mark.parametrize('transport', TRANSPORTS)


@pytest.fixture(scope='module')
def issued(tmp_path_factory):
    """Server contexts by what is wrong with their certificate, and the path of the authority."""
    import datetime

    now = datetime.datetime.now(datetime.timezone.utc)
    day = datetime.timedelta(days=1)
    authority = trustme.CA()
    certificates = {
        'good': authority.issue_cert('127.0.0.1', 'localhost'),
        'expired': authority.issue_cert('127.0.0.1', not_before=now - 3 * day, not_after=now - day),
        'not-yet': authority.issue_cert('127.0.0.1', not_before=now + day, not_after=now + 2 * day),
        'wrong-host': authority.issue_cert('other.example.com', '127.0.0.2'),
        'name-like-the-address': authority.issue_cert('127.0.0.1.example.com'),
        'untrusted': trustme.CA().issue_cert('127.0.0.1'),
    }
    contexts = {}
    for name, certificate in certificates.items():
        contexts[name] = _context()
        certificate.configure_cert(contexts[name])
    # an authority's own certificate, served as it is
    own = trustme.CA()
    path = tmp_path_factory.mktemp('tls') / 'self.pem'
    key = own._private_key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.TraditionalOpenSSL,
        serialization.NoEncryption(),
    )
    path.write_bytes(key + own.cert_pem.bytes())
    contexts['self-signed'] = _context()
    contexts['self-signed'].load_cert_chain(path)
    bundle = path.with_name('ca.pem')
    authority.cert_pem.write_to_path(bundle)
    return contexts, str(bundle)


def _context():
    import gevent.ssl

    return gevent.ssl.SSLContext(gevent.ssl.PROTOCOL_TLS_SERVER)


BAD = ['expired', 'not-yet', 'wrong-host', 'name-like-the-address', 'untrusted', 'self-signed']


@pytest.fixture
def serve(hostile_server, issued, monkeypatch):
    """`serve('good', 'expired')`: the certificates of the connections, the last for all others."""
    contexts, bundle = issued
    monkeypatch.setenv('REQUESTS_CA_BUNDLE', bundle)

    def start(*names, change=lambda context: None):
        left = list(names)
        asked = []

        def handler(sock):
            context = contexts[left.pop(0) if len(left) > 1 else left[0]]
            change(context)
            with (
                contextlib.suppress(*TLS_ERRORS),
                context.wrap_socket(sock, server_side=True) as secure,
            ):
                asked.append(secure.version())
                _answer(secure, asked)

        server = hostile_server(handler)
        server.secure_url = server.url.replace('http', 'https')
        server.asked = asked
        return server

    return start


def _answer(sock, asked):
    while True:
        request = read_request(sock)
        asked.append(request)
        if 'sec-websocket-key' not in request.headers:
            again = 'sid' in request.target
            respond(sock, '2' if again else open_packet(upgrades=['websocket']))
            continue
        accept_websocket(sock, request)
        if 'sid' in request.target:
            sock.recv(100)
            sock.sendall(frame('3probe'))
        else:
            sock.sendall(frame(open_packet()))
        read_to_end(sock)
        return


@pytest.mark.parametrize('bad', BAD)
@every_transport
def test_bad_certificates(serve, witness, bad, transport):
    server = serve(bad)
    with pytest.raises(ConnectionError) as caught:
        witness().client.connect(server.secure_url, transports=TRANSPORTS[transport])
    assert server.asked == [], 'the request went out'
    causes = [caught.value]
    while causes[-1].__cause__ is not None:
        causes.append(causes[-1].__cause__)
    assert isinstance(causes[-1], ssl.SSLCertVerificationError), causes


@pytest.mark.parametrize('bad', ['expired', 'wrong-host', 'untrusted', 'self-signed'])
def test_an_upgrade_believes_no_more_than_polling_does(serve, witness, bad):
    """Who gets between afterwards, say. Polling goes on."""
    server = serve('good', bad, 'good')
    one = witness()
    one.client.connect(server.secure_url)
    assert one.client.transport() == 'polling'
    assert not any('websocket' in getattr(asked, 'target', '') for asked in server.asked)


@pytest.mark.parametrize('bad', BAD)
@every_transport
def test_without_verification_they_are_taken_by_that_client_alone(serve, witness, bad, transport):
    server = serve(bad)
    transports = TRANSPORTS[transport]
    careless = witness(ssl_verify=False)
    careless.client.connect(server.secure_url, transports=transports)
    for _ in range(2):
        with pytest.raises(ConnectionError):
            witness().client.connect(server.secure_url, transports=transports)
    careless.client.disconnect(abort=True)
    careless.client.ssl_verify = True  # it is read at each connect
    with pytest.raises(ConnectionError):
        careless.client.connect(server.secure_url, transports=transports)


@every_transport
@pytest.mark.parametrize('version', ['TLSv1.2', 'TLSv1.3'])
def test_versions(serve, witness, version, transport):
    number = getattr(ssl.TLSVersion, version.replace('.', '_'))

    def change(context):
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.maximum_version = number
        context.minimum_version = number

    try:
        server = serve('good', change=change)
        one = witness()
        one.client.connect(server.secure_url, transports=TRANSPORTS[transport])
        assert server.asked[0] == version
        one.client.disconnect(abort=True)
    finally:
        server = serve('good', change=_any_version)


def _any_version(context):
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.maximum_version = ssl.TLSVersion.MAXIMUM_SUPPORTED


def extension(hello, wanted):
    """An extension of a ClientHello (RFC 8446, section 4.1.2), after its random bytes."""
    at = 5 + 4 + 2 + 32  # the headers of the record and of the message, a version, random bytes
    at += 1 + hello[at]  # the session
    at += 2 + int.from_bytes(hello[at : at + 2], 'big')  # the ciphers
    at += 1 + hello[at]  # the compression
    at += 2
    while at < len(hello):
        kind, size = struct.unpack_from('!HH', hello, at)
        if kind == wanted:
            return hello[at + 4 : at + 4 + size]
        at += 4 + size
    raise AssertionError(f'no extension {wanted}')


@pytest.mark.parametrize('transport', ['polling', 'websocket'])
def test_older_versions_are_refused(witness, hostile_server, issued, monkeypatch, transport):
    """Whatever the server would take: the client offers nothing below 1.2."""
    hellos = []

    def handler(sock):
        hellos.append(sock.recv(4096))

    monkeypatch.setenv('REQUESTS_CA_BUNDLE', issued[1])
    server = hostile_server(handler)
    with pytest.raises(ConnectionError):
        witness().client.connect(server.url.replace('http', 'https'), transports=transport)
    offered = extension(hellos[0], 43)[1:]  # supported_versions, section 4.2.1
    versions = {offered[i : i + 2] for i in range(0, len(offered), 2)}
    assert versions == {b'\x03\x04', b'\x03\x03'}
