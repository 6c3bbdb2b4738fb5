"""`probe` with TLS: the facts of the certificate, and the problems of the handshake."""

import datetime
import ssl

import pytest
import trustme

import support

NOW = datetime.datetime.now(datetime.timezone.utc)


def days(number):
    return NOW + datetime.timedelta(number)


@pytest.fixture(scope='module')
def authority():
    return trustme.CA(organization_name='Example Trust')


@pytest.fixture
def ca(authority, tmp_path):
    """The path of the CA certificate."""
    path = tmp_path / 'ca.pem'
    authority.cert_pem.write_to_path(path)
    return path


def well(sock):
    """Serve polling requests over one connection."""
    while True:
        request = support.read_request(sock)
        support.respond(
            sock, 'ok' if request.method == 'POST' else support.open_packet(), headers=[]
        )


@pytest.fixture
def serving(native_server):
    """`serving(certificate, ..)`: the URL of a server with this certificate."""

    def start(certificate, adapt=lambda context: None):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        certificate.configure_cert(context)
        adapt(context)
        return native_server(well, ssl_context=context).url

    return start


def test_all_is_well(probe, shown, make_any_server, certificates):
    server = make_any_server(tls=certificates.tls)
    outcome = probe(server.url, '--ca', certificates.ca)
    assert outcome.code == 0, outcome
    assert list(outcome.steps)[:4] == ['dns', 'tcp', 'tls', 'handshake']
    assert outcome.text == 'connected by polling, then upgraded to websocket'
    tls = outcome.facts('tls')
    assert tls['version'] == 'TLSv1.3'
    assert tls['cipher'].startswith('TLS_')
    assert (tls['alpn'], tls['verified'], tls['authorities']) == (None, True, '--ca')
    assert (tls['client_certificate'], tls['chain']) == (False, 1)
    shown_certificate = tls['certificate']
    assert set(shown_certificate) == {
        'subject',
        'issuer',
        'names',
        'not_before',
        'not_after',
        'days_left',
    }
    assert set(shown_certificate['names']) >= {'127.0.0.1', 'localhost'}
    assert 'trustme' in shown_certificate['issuer']
    assert shown_certificate['days_left'] > 1000
    server.close_reason(outcome.facts('handshake')['sid'])

    code, text = shown(server.url, '--ca', certificates.ca)
    assert code == 0
    assert 'TLSv1.3, TLS_' in text
    assert 'certificate for 127.0.0.1, localhost' in text
    assert 'days left' in text
    assert 'verified with the CA bundle of --ca' in text


def test_a_websocket_alone(probe, make_any_server, certificates):
    server = make_any_server(tls=certificates.tls)
    outcome = probe(server.url, '--ca', certificates.ca, '--transports', 'websocket')
    assert outcome.code == 0, outcome
    assert list(outcome.steps) == ['dns', 'tcp', 'tls', 'websocket', 'handshake', 'leave']


class TestNotBelieved:
    @pytest.mark.parametrize('version', [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
    def test_other_name(self, probe, serving, authority, ca, version):
        def adapt(context):
            context.maximum_version = version

        url = serving(authority.issue_cert('a.example', '*.b.example'), adapt)
        outcome = probe(url, '--ca', ca)
        assert outcome.code == 1
        assert outcome.text == (
            'tls: the certificate is for a.example, *.b.example, not for 127.0.0.1'
        )
        assert outcome.facts('tls')['certificate']['names'] == ['a.example', '*.b.example']
        assert outcome.facts('tls')['verified'] is False

    def test_unknown_authority(self, failed, serving, authority):
        text = failed('tls', serving(authority.issue_cert('127.0.0.1')))
        assert 'issued by Example Trust' in text
        assert 'which is not in the CA bundle (certifi). Pass --ca FILE' in text

    def test_authorities_of_the_environment(
        self, failed, serving, authority, certificates, environment
    ):
        environment.setenv('REQUESTS_CA_BUNDLE', certificates.ca)
        text = failed('tls', serving(authority.issue_cert('127.0.0.1')))
        assert 'which is not in the CA bundle (REQUESTS_CA_BUNDLE)' in text

    def test_expired(self, failed, serving, authority, ca):
        url = serving(authority.issue_cert('127.0.0.1', not_before=days(-90), not_after=days(-3)))
        until = days(-3).strftime('%Y-%m-%d')
        assert failed('tls', url, '--ca', ca) == (
            f'tls: the certificate expired on {until}, 3 days ago'
        )

    def test_not_yet_valid(self, failed, serving, authority, ca):
        url = serving(authority.issue_cert('127.0.0.1', not_before=days(3), not_after=days(9)))
        text = failed('tls', url, '--ca', ca)
        assert f'valid from {days(3):%Y-%m-%d}.' in text
        assert 'clock' in text

    def test_expires_soon(self, probe, serving, authority, ca):
        outcome = probe(serving(authority.issue_cert('127.0.0.1', not_after=days(5.5))), '--ca', ca)
        assert outcome.code == 4, outcome
        assert outcome.verdict['step'] == 'tls'
        assert outcome.text == (f'tls: the certificate expires on {days(5.5):%Y-%m-%d}, in 5 days')
        assert outcome.steps['leave']['status'] == 'ok'

    def test_intermediate_is_missing(self, probe, serving, authority, ca):
        between = authority.create_child_ca()
        leaf = between.issue_cert('127.0.0.1')
        assert probe(serving(leaf), '--ca', ca).code == 0

        alone = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)

        class Alone:
            def configure_cert(self, context):
                with (
                    leaf.private_key_pem.tempfile() as key,
                    leaf.cert_chain_pems[0].tempfile() as certificate,
                ):
                    context.load_cert_chain(certificate, key)

        Alone().configure_cert(alone)
        outcome = probe(serving(Alone()), '--ca', ca)
        assert outcome.code == 1
        assert outcome.facts('tls')['chain'] == 1
        assert 'an intermediate certificate is missing' in outcome.text

    def test_no_verify(self, probe, shown, serving, authority):
        url = serving(authority.issue_cert('a.example', not_before=days(-90), not_after=days(-3)))
        outcome = probe(url, '--no-verify')
        assert outcome.code == 4  # the certificate has expired
        assert outcome.facts('tls')['verified'] is False
        assert outcome.facts('tls')['authorities'] is None
        assert outcome.facts('tls')['certificate']['names'] == ['a.example']
        assert 'the certificate expired on' in outcome.text
        text = shown(url, '--no-verify')[1]
        assert 'not verified' in text
        assert f'until {days(-3):%Y-%m-%d} (expired)' in text


class TestVersions:
    def test_tls_1_2_alone(self, probe, serving, authority, ca):
        def adapt(context):
            context.maximum_version = ssl.TLSVersion.TLSv1_2

        outcome = probe(serving(authority.issue_cert('127.0.0.1'), adapt), '--ca', ca)
        assert outcome.code == 0, outcome
        assert outcome.facts('tls')['version'] == 'TLSv1.2'
        assert outcome.facts('tls')['certificate']['names'] == ['127.0.0.1']

    def test_no_cipher_in_common(self, failed, serving, authority, ca):
        def adapt(context):
            context.maximum_version = ssl.TLSVersion.TLSv1_2
            context.set_ciphers('PSK')

        text = failed('tls', serving(authority.issue_cert('127.0.0.1'), adapt), '--ca', ca)
        assert 'no common cipher' in text

    def test_a_version_that_is_too_old(self, failed, hostile_server):
        def handle(sock):
            sock.recv(4096)
            sock.sendall(bytes.fromhex('15030100020246'))  # alert 70: protocol_version

        assert 'no common TLS version' in failed(
            'tls', hostile_server(handle).url.replace('http:', 'https:')
        )


class TestNoTLS:
    def https(self, server):
        return server.url.replace('http:', 'https:')

    def test_plain_server(self, failed, any_server):
        text = failed('tls', self.https(any_server))
        assert 'the server does not speak TLS on this port' in text

    def test_plain_words(self, failed, hostile_server):
        server = hostile_server(
            lambda sock: (sock.recv(4096), sock.sendall(b'HTTP/1.1 400 Bad Request\r\n\r\n'))
        )
        assert 'Try http:// instead of https://' in failed('tls', self.https(server))

    def test_silence(self, failed, hostile_server):
        server = hostile_server(support.read_to_end)
        assert 'no TLS handshake within 0.3 seconds' in failed(
            'tls', self.https(server), '--timeout', 0.3
        )
        server.wait_open(0)

    @pytest.mark.parametrize('end', [lambda sock: sock.recv(4096), support.reset])
    def test_closes(self, failed, hostile_server, end):
        assert 'Perhaps this port does not speak TLS' in failed(
            'tls', self.https(hostile_server(end))
        )

    def test_http_to_a_tls_server(self, failed, make_any_server, certificates):
        server = make_any_server(tls=certificates.tls)
        text = failed('handshake', f'http://{server.netloc}')
        assert 'https://' in text


class TestClientCertificates:
    """These run in processes, because with a client certificate the command starts again."""

    @pytest.fixture
    def server(self, make_js_server, certificates):
        return make_js_server(tls=certificates.mutual_tls)

    @pytest.mark.parametrize('transports', ['polling', 'websocket'])
    def test_demanded(self, probe, server, certificates, transports):
        """With TLS 1.3 the rejection comes after the handshake and may be lost."""
        outcome = probe(server.url, '--ca', certificates.ca, '--transports', transports)
        assert outcome.code == 1
        assert outcome.verdict['status'] == 'failed'
        assert 'requires a client certificate' in outcome.text

    @pytest.mark.parametrize('transports', ['polling', 'websocket'])
    def test_demanded_by_tls_1_2(self, failed, native_server, certificates, transports):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificates.server_cert, certificates.server_key)
        context.load_verify_locations(certificates.ca)
        context.verify_mode = ssl.CERT_REQUIRED
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        server = native_server(well, ssl_context=context)
        text = failed('tls', server.url, '--ca', certificates.ca, '--transports', transports)
        assert 'requires a client certificate' in text

    def test_given(self, cli, server, certificates):
        result = cli(
            'probe',
            server.url,
            '--ca',
            certificates.ca,
            '--cert',
            certificates.client_cert,
            '--key',
            certificates.client_key,
        )
        assert result.code == 0, result
        assert 'client certificate sent' in result.out
        assert 'OK: connected by polling, then upgraded' in result.out
        assert result.err == ''

    def test_not_taken(self, cli, make_any_server, certificates, tmp_path):
        server = make_any_server(tls=certificates.mutual_tls)
        other = trustme.CA().issue_cert('me@example.test')
        path = tmp_path / 'other.pem'
        other.private_key_and_cert_chain_pem.write_to_path(path)
        result = cli('probe', server.url, '--ca', certificates.ca, '--cert', path)
        assert result.code == 1, result
        assert 'Failed: tls: ' in result.out
        assert 'rejected the client certificate' in result.out
