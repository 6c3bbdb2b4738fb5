"""What else decides a route: authorities, netrc, credentials; the same for both transports.

Each without a proxy and with one.
"""

import base64
import os

import pytest

import support


@pytest.fixture(params=[False, True], ids=['direct', 'proxied'])
def proxied(request):
    return request.param


@pytest.fixture
def proxy_env(request, proxied):
    """The environment for the way; with a proxy, it must have been used in the end."""
    if not proxied:
        yield {}
        return
    proxy = request.getfixturevalue('http_proxy')
    yield {'http_proxy': proxy.url, 'https_proxy': proxy.url}
    assert proxy.trips()


@pytest.fixture(scope='session')
def strangers(tmp_path_factory):
    """Certificates of another authority."""
    return support.Certificates(tmp_path_factory.mktemp('strangers'))


class TestAuthorities:
    """Who is trusted is what requests says, for the websocket as well."""

    @pytest.mark.parametrize('name', ['REQUESTS_CA_BUNDLE', 'CURL_CA_BUNDLE'])
    def test_bundle(self, patched, tls_server, certificates, proxy_env, way, name):
        outcome = patched(
            tls_server.url, env={**proxy_env, name: certificates.ca}, way=way, send=['hello']
        )
        assert (outcome.errors, outcome.echoes) == ([], ['hello'])
        assert outcome.transport == ('polling' if way == 'polling' else 'websocket')

    @pytest.mark.parametrize('name', [None, 'SSL_CERT_FILE', 'WEBSOCKET_CLIENT_CA_BUNDLE'])
    @pytest.mark.parametrize('transport', ['polling', 'websocket'])
    def test_not_trusted(self, patched, tls_server, certificates, proxy_env, transport, name):
        """OpenSSL's own variable and websocket-client's mean nothing to requests."""
        env = {**proxy_env, **({name: certificates.ca} if name else {})}
        text = patched(tls_server.url, env=env, transports=[transport]).text
        assert 'certificate verify failed' in text
        assert tls_server.netloc in text

    @pytest.mark.parametrize('transport', ['polling', 'websocket'])
    def test_bundle_of_strangers(self, patched, tls_server, strangers, proxy_env, transport):
        env = {**proxy_env, 'REQUESTS_CA_BUNDLE': strangers.ca}
        text = patched(tls_server.url, env=env, transports=[transport]).text
        assert 'certificate verify failed' in text

    @pytest.mark.parametrize('transport', ['polling', 'websocket'])
    def test_one_bundle_before_the_other(
        self, patched, tls_server, certificates, strangers, proxy_env, transport
    ):
        env = {**proxy_env, 'REQUESTS_CA_BUNDLE': certificates.ca, 'CURL_CA_BUNDLE': strangers.ca}
        assert not patched(tls_server.url, env=env, transports=[transport]).errors

    @pytest.mark.parametrize('transport', ['polling', 'websocket'])
    def test_bundle_that_is_not_there(self, patched, tls_server, tmp_path, transport):
        missing = str(tmp_path / 'missing.pem')
        text = patched(
            tls_server.url, env={'REQUESTS_CA_BUNDLE': missing}, transports=[transport]
        ).text
        assert missing in text or 'No such file' in text

    def test_not_verified(self, patched, tls_server, strangers, proxy_env, way):
        """`ssl_verify=False` goes before the environment."""
        env = {**proxy_env, 'REQUESTS_CA_BUNDLE': strangers.ca}
        outcome = patched(
            tls_server.url,
            env=env,
            way=way,
            client={'ssl_verify': False},
            send=['hello'],
            quiet=True,
        )
        assert (outcome.errors, outcome.echoes) == ([], ['hello'])

    @pytest.mark.parametrize('transport', ['polling', 'websocket'])
    def test_not_verified_is_for_one_client(self, patched, tls_server, proxy_env, transport):
        outcome = patched(
            tls_server.url,
            env=proxy_env,
            transports=[transport],
            client={'ssl_verify': False},
            quiet=True,
        )
        assert not outcome.errors
        text = patched(tls_server.url, env=proxy_env, transports=[transport]).text
        assert 'certificate verify failed' in text

    def test_authorities_of_a_session(self, patched, tls_server, certificates, proxy_env, way):
        outcome = patched(
            tls_server.url,
            env=proxy_env,
            way=way,
            send=['hello'],
            session={'verify': certificates.ca},
        )
        assert (outcome.errors, outcome.echoes) == ([], ['hello'])

    @pytest.mark.parametrize('transport', ['polling', 'websocket'])
    def test_a_session_that_does_not_trust_the_environment(
        self, patched, tls_server, certificates, transport
    ):
        text = patched(
            tls_server.url,
            env={'REQUESTS_CA_BUNDLE': certificates.ca},
            session={'trust_env': False},
            transports=[transport],
        ).text
        assert 'certificate verify failed' in text


def basic(user, password):
    """The value of an `Authorization` header."""
    return 'Basic ' + base64.b64encode(f'{user}:{password}'.encode()).decode()


class TestCredentials:
    """The same with every request of polling and with the websocket's."""

    @pytest.fixture
    def netrc(self, tmp_path):
        """A netrc file that knows 127.0.0.1; its path."""
        path = tmp_path / 'netrc'
        path.write_text('machine 127.0.0.1 login nina password from-netrc\n')
        os.chmod(path, 0o600)
        return str(path)

    @pytest.fixture(params=['none', 'session'])
    def session(self, request):
        """Without and with a `requests.Session` of the caller's."""
        return {'none': None, 'session': {}}[request.param]

    def sent(self, server, outcome):
        """The set of the `Authorization` headers that the server has had from this client."""
        assert outcome.errors == []
        assert outcome.echoes == ['hello']
        return {request['headers'].get('authorization') for request in server.requests(outcome.sid)}

    def test_netrc(self, patched, js_server, netrc, proxy_env, way, session):
        outcome = patched(
            js_server.url,
            env={**proxy_env, 'NETRC': netrc},
            way=way,
            session=session,
            send=['hello'],
        )
        assert self.sent(js_server, outcome) == {basic('nina', 'from-netrc')}

    def test_netrc_for_others(self, patched, js_server, netrc, proxy_env, way):
        outcome = patched(
            f'http://localhost:{js_server.port}',
            env={**proxy_env, 'NETRC': netrc},
            way=way,
            send=['hello'],
        )
        assert self.sent(js_server, outcome) == {None}

    def test_netrc_not_trusted(self, patched, js_server, netrc, way):
        outcome = patched(
            js_server.url,
            env={'NETRC': netrc},
            way=way,
            send=['hello'],
            session={'trust_env': False},
        )
        assert self.sent(js_server, outcome) == {None}

    def test_in_the_url(self, patched, js_server, proxy_env, way, session):
        url = f'http://us%40er:pass%3Aword@{js_server.netloc}'
        outcome = patched(url, env=proxy_env, way=way, session=session, send=['hello'])
        assert self.sent(js_server, outcome) == {basic('us@er', 'pass:word')}
        assert not any('pass' in line for line in outcome.log)

    def test_auth_of_a_session(self, patched, js_server, netrc, proxy_env, way):
        outcome = patched(
            js_server.url,
            env={**proxy_env, 'NETRC': netrc},
            way=way,
            session={'auth': ['ann', 'of-session']},
            send=['hello'],
        )
        assert self.sent(js_server, outcome) == {basic('ann', 'of-session')}

    def test_the_url_goes_before_netrc(self, patched, js_server, netrc, proxy_env, way):
        outcome = patched(
            f'http://ulla:of-url@{js_server.netloc}',
            way=way,
            send=['hello'],
            env={**proxy_env, 'NETRC': netrc},
        )
        assert self.sent(js_server, outcome) == {basic('ulla', 'of-url')}

    def test_headers_go_before_netrc(self, patched, js_server, netrc, proxy_env, way):
        outcome = patched(
            js_server.url,
            headers={'Authorization': 'Bearer token'},
            way=way,
            env={**proxy_env, 'NETRC': netrc},
            send=['hello'],
        )
        assert self.sent(js_server, outcome) == {'Bearer token'}
