"""`probe` through proxies and misconfigured load balancers."""

import json
import logging
import re

import engineio
import gevent.pywsgi
import pytest
from intermediaries.conftest import (
    HAProxy,
    MicroSocks,
    Nginx,
    TinyProxy,
    TLSFront,
    require_module,
)

import support


class Forgetful(HAProxy):
    """HAProxy that sends each request to the next server."""

    def configure(self, **settings):
        path = super().configure(**settings)
        path.write_text(
            re.sub(r'^    cookie route.*\n| cookie [ab]$', '', path.read_text(), flags=re.M)
        )
        return path


class Careful(TinyProxy):
    """tinyproxy that allows CONNECT only to the port of https, as many proxies do."""

    def configure(self, **settings):
        path = super().configure(**settings)
        path.write_text(path.read_text() + '\nConnectPort 443\n')
        return path


@pytest.fixture
def between(tmp_path_factory):
    """`between(kind, ...)`: start an intermediary for this test."""
    made = []

    def begin(kind, *args, **options):
        made.append(kind(tmp_path_factory.mktemp(kind.name), *args, **options))
        return made[-1]

    yield begin
    for one in made:
        one.stop()


@pytest.fixture
def tls_server(js_server_with, certificates):
    return js_server_with(tls=certificates.tls)


@pytest.fixture
def origin(scheme, request):
    """A server of that scheme."""
    return request.getfixturevalue({'http': 'js_server', 'https': 'tls_server'}[scheme])


@pytest.fixture(params=['js', 'python'])
def servers(request, pair):
    """Two servers."""
    return pair(request.param)


class TestBalancers:
    @pytest.mark.parametrize('kind', [Nginx, HAProxy])
    def test_well(self, probe, between, servers, kind):
        """The cookie for sticky sessions is used and reported."""
        outcome = probe(between(kind, servers).url, '--count', 4)
        assert outcome.code == 0, outcome
        assert {cookie['name'] for cookie in outcome.facts('handshake')['cookies']} == {'route'}
        if kind is Nginx:
            assert outcome.facts('handshake')['headers']['server'].startswith('nginx/')

    def test_upgrade_is_not_forwarded(self, probe, between, servers):
        outcome = probe(between(Nginx, servers, upgrade=False).url)
        assert outcome.code == 4, outcome
        assert outcome.verdict['step'] == 'upgrade'
        assert 'HTTP 400 (from nginx/' in outcome.text
        assert 'a proxy does not forward it. Polling works' in outcome.text
        assert outcome.facts('upgrade')['status'] == 400
        assert outcome.facts('leave') == {'transport': 'polling'}

    def test_sticky_sessions_are_missing(self, failed, between, servers):
        text = failed('polling', between(Forgetful, servers).url)
        assert 'HTTP 400: unknown sid' in text
        assert 'sticky sessions' in text

    def test_compressed_by_the_balancer(self, probe, between, servers):
        nginx = between(Nginx, servers, gzip='on')
        assert probe(nginx.url).facts('handshake')['content_encoding'] == 'gzip'

    def test_nobody_behind(self, failed, between):
        class Nobody:
            port = support.free_port()

        text = failed('handshake', between(Nginx, [Nobody, Nobody]).url)
        assert 'HTTP 502 (from nginx/' in text
        assert 'A proxy got an invalid response' in text

    def test_http_to_https(self, failed, between, servers, certificates):
        nginx = between(Nginx, servers, tls=certificates)
        text = failed('handshake', nginx.url.replace('https:', 'http:'))
        assert 'this port speaks TLS. Try https:// instead of http://' in text

    def test_tls_ends_at_the_balancer(self, probe, between, servers, certificates):
        nginx = between(Nginx, servers, tls=certificates)
        outcome = probe(nginx.url, '--ca', certificates.ca)
        assert outcome.facts('tls')['verified']
        assert outcome.code == 0, outcome

    def test_tls_ends_at_the_balancer_and_nobody_tells_the_server(
        self, probe, between, certificates
    ):
        """python-engineio assumes http://, but the Origin of the websocket has https://."""
        server = engineio.Server(async_mode='threading', logger=logging.Logger('silent', 100))
        application = engineio.WSGIApp(server)
        listening = gevent.pywsgi.WSGIServer(('127.0.0.1', 0), application, log=None)
        listening.start()
        listening.port = listening.server_port
        try:
            nginx = between(Nginx, [listening, listening], tls=certificates)
            outcome = probe(nginx.url, '--ca', certificates.ca)
            assert outcome.code == 4, outcome
            assert outcome.verdict['step'] == 'upgrade'
            assert 'the server rejects the Origin header (Not an accepted origin.)' in outcome.text
            assert 'X-Forwarded-Proto' in outcome.text
        finally:
            listening.stop()


class TestProxies:
    @pytest.fixture
    def by(self, probe, environment):
        """`by(proxy, url, ...)`: exit code, verdict and steps."""

        def run(proxy, url, *arguments, env=()):
            for name, value in dict(env).items():
                environment.setenv(name, value)
            outcome = probe(url, *(['--proxy', proxy] if proxy else []), *arguments)
            return outcome.code, outcome.verdict, outcome.steps

        return run

    def test_http(self, by, between, js_server):
        proxy = between(TinyProxy)
        code, verdict, steps = by(proxy.url, js_server.url)
        assert code == 0, verdict
        assert list(steps) == ['dns', 'tcp', 'proxy', 'handshake', 'polling', 'upgrade', 'leave']
        assert steps['dns']['facts']['of'] == 'proxy'
        assert steps['tcp']['facts']['port'] == proxy.port
        assert steps['proxy']['facts'] == {'url': proxy.url, 'source': '--proxy', 'how': 'forward'}
        assert {method for method, _ in proxy.trips()} == {'GET', 'POST', 'CONNECT'}

    def test_https(self, by, between, make_js_server, certificates):
        server = make_js_server(tls=certificates.tls)
        proxy = between(TinyProxy, 'someone', 'pass.word-1')
        code, verdict, steps = by(
            '', server.url, '--ca', certificates.ca, env={'https_proxy': proxy.url}
        )
        assert code == 0, verdict
        assert list(steps)[:5] == ['dns', 'tcp', 'proxy', 'tls', 'handshake']
        assert steps['proxy']['facts'] == {
            'url': proxy.url_for(None),
            'source': 'https_proxy',
            'how': 'connect',
        }
        assert steps['proxy']['ms'] > 0
        assert {method for method, _ in proxy.trips()} == {'CONNECT'}

    @pytest.mark.parametrize('scheme', ['http', 'https'])
    def test_credentials_are_wrong(self, by, between, js_server, scheme):
        proxy = between(TinyProxy, 'someone', 'pass.word-1')
        code, verdict, steps = by(
            proxy.url_for('someone', 'wrong'), f'{scheme}://{js_server.netloc}'
        )
        assert code == 1
        assert verdict['step'] == {'http': 'handshake', 'https': 'proxy'}[scheme]
        assert 'credentials' in verdict['text'] or '401' in verdict['text']
        assert 'wrong' not in json.dumps(steps)

    def test_connect_is_refused(self, by, between, js_server):
        """Polling works through it, but websockets do not."""
        proxy = between(Careful)
        code, verdict, _ = by(proxy.url, js_server.url)
        assert code == 4, verdict
        assert verdict['step'] == 'upgrade'
        told = f'via proxy 127.0.0.1:{proxy.port}: the proxy answered CONNECT with'
        assert told in verdict['text']
        assert verdict['text'].endswith('. Polling works')
        code, verdict, steps = by(proxy.url, js_server.url, '--transports', 'websocket')
        assert (code, verdict['step']) == (1, 'proxy')
        assert steps['proxy']['facts']['how'] == 'connect'

    def test_nobody_there(self, by, js_server):
        code, verdict, _ = by(f'http://127.0.0.1:{support.free_port()}', js_server.url)
        assert (code, verdict['step']) == (1, 'tcp')
        assert 'connection refused: no proxy listens at' in verdict['text']

    def test_socks(self, by, between, js_server):
        require_module('socksio', 'socksio')
        proxy = between(MicroSocks)
        code, verdict, steps = by(proxy.url, js_server.url)
        assert code == 0, verdict
        assert list(steps) == ['dns', 'tcp', 'proxy', 'handshake', 'polling', 'upgrade', 'leave']
        assert steps['dns']['facts']['of'] == 'proxy'
        assert steps['proxy']['facts'] == {'url': proxy.url, 'source': '--proxy', 'how': 'socks'}
        assert set(proxy.trips()) == {js_server.netloc}

    def test_no_proxy(self, by, js_server):
        code, verdict, steps = by(
            '', js_server.url, env={'http_proxy': 'http://127.0.0.1:9', 'no_proxy': '127.0.0.1'}
        )
        assert code == 0, verdict
        assert steps['proxy'] == {
            'name': 'proxy',
            'status': 'skipped',
            'ms': None,
            'problem': None,
            'facts': {'url': None, 'source': 'no_proxy', 'how': 'none'},
        }

    @pytest.mark.parametrize('transports', ['polling', 'websocket'])
    @pytest.mark.parametrize('variable', ['HTTP_PROXY', 'all_proxy'])
    def test_a_variable_with_no_url(self, by, variable, transports):
        code, verdict, steps = by(
            '',
            'http://127.0.0.1:1',
            '--transports',
            transports,
            env={variable: 'ftp://me:secret@127.0.0.1:3'},
        )
        assert (code, verdict['step']) == (1, 'proxy')
        assert verdict['text'] == (
            f'proxy: {variable}: not a valid proxy URL: the scheme must be one of http, '
            'https, socks4, socks4a, socks5, socks5h'
        )
        assert list(steps) == ['proxy']
        assert steps['proxy']['facts'] == {'url': None, 'source': variable, 'how': 'none'}

    def test_for_people(self, shown, between, js_server):
        proxy = between(TinyProxy)
        code, text = shown(js_server.url, '--proxy', proxy.url, '--count', 2)
        assert code == 0, text
        assert f'{proxy.url}, set by --proxy, used by absolute URLs' in text
        assert '(the proxy) is an IP address' in text

    def test_a_socks_proxy_that_cannot_reach_the_server(self, by, between):
        require_module('socksio', 'socksio')
        proxy = between(MicroSocks)
        port = support.free_port()
        code, verdict, _ = by(proxy.url, f'http://127.0.0.1:{port}')
        assert (code, verdict['step']) == (1, 'proxy')
        assert verdict['text'] == (
            f'proxy: 127.0.0.1:{port} via proxy {proxy.netloc}: '
            'the SOCKS proxy refused: connection refused'
        )

    def test_a_proxy_that_wants_credentials(self, by, between, tls_server):
        proxy = between(TinyProxy, 'someone', 'pass.word-1')
        code, verdict, _ = by(proxy.url_for(None), tls_server.url)
        assert (code, verdict['step']) == (1, 'proxy')
        assert "the proxy answered CONNECT with '407" in verdict['text']
        assert verdict['text'].endswith('. Pass --proxy http://USER:PASSWORD@HOST:PORT')


class TestTLSToTheProxy:
    """The URL of the proxy begins with https://."""

    @pytest.fixture
    def proxy(self, between):
        return between(TinyProxy, 'someone', 'pass.word-1')

    @pytest.fixture
    def front(self, between, proxy, certificates):
        return between(TLSFront, proxy, certificates)

    @pytest.fixture
    def url(self, front):
        return f'https://someone:pass.word-1@127.0.0.1:{front.port}'

    @pytest.mark.parametrize(
        ('scheme', 'transports'),
        [
            ('http', 'polling'),
            ('http', 'websocket'),
            ('http', 'polling,websocket'),
            ('https', 'polling'),
            ('https', 'websocket'),
            ('https', 'polling,websocket'),
        ],
    )
    def test_well(self, probe, proxy, front, url, origin, certificates, scheme, transports):
        outcome = probe(
            origin.url, '--proxy', url, '--ca', certificates.ca, '--transports', transports
        )
        assert outcome.code == 0, outcome
        begins = ['dns', 'tcp', 'proxy-tls', 'proxy', *(['tls'] if scheme == 'https' else [])]
        assert list(outcome.steps)[: len(begins)] == begins
        names = outcome.facts('proxy-tls')['certificate']['names']
        assert '127.0.0.1' in names
        assert outcome.facts('proxy-tls')['verified']
        assert outcome.facts('proxy-tls')['version'].startswith('TLS')
        if scheme == 'https':  # TLS within TLS
            assert outcome.facts('tls')['verified']
            assert outcome.facts('tls')['certificate']['names'] == names
            assert outcome.facts('tls')['version'].startswith('TLS')
        forward = scheme == 'http' and transports.startswith('polling')
        assert outcome.facts('proxy') == {
            'url': f'https://127.0.0.1:{front.port}',
            'source': '--proxy',
            'how': 'forward' if forward else 'connect',
        }
        methods = {method for method, _ in proxy.trips()}
        by_url = {'GET', 'POST'} if forward else set()
        assert methods - {'CONNECT'} == by_url
        assert ('CONNECT' in methods) == ((scheme, transports) != ('http', 'polling'))

    def test_for_people(self, shown, url, front, tls_server, certificates):
        _, text = shown(tls_server.url, '--proxy', url, '--ca', certificates.ca)
        assert text.count('verified with the CA bundle of --ca') == 2
        assert f'https://127.0.0.1:{front.port}, set by --proxy, used by CONNECT' in text
        assert 'pass.word-1' not in text

    def test_an_unknown_authority(self, failed, url, js_server):
        text = failed('proxy-tls', js_server.url, '--proxy', url)
        assert 'which is not in the CA bundle (certifi). Pass --ca FILE' in text

    def test_it_does_not_speak_tls(self, failed, python_server):
        text = failed('proxy-tls', python_server.url, '--proxy', f'https://{python_server.netloc}')
        assert text == (
            'proxy-tls: the proxy does not speak TLS on this port. Try --proxy http://HOST:PORT'
        )

    def test_a_certificate_of_another_host(self, failed, front, js_server, certificates):
        proxy = f'proxy.test:{front.port}'
        text = failed(
            'proxy-tls', js_server.url, '--proxy', f'https://{proxy}', '--ca', certificates.ca,
            '--resolve', f'{proxy}:127.0.0.1',
        )  # fmt: skip
        assert text.endswith(', not for proxy.test')

    def test_it_requires_a_client_certificate(self, probe, js_server, js_server_with, certificates):
        """Client certificates are for the server. The alert of the proxy may be lost."""
        port = js_server_with(tls=certificates.mutual_tls).port
        outcome = probe(
            js_server.url, '--proxy', f'https://127.0.0.1:{port}',
            '--ca', certificates.ca, '--cert', certificates.client_pem,
            '--transports', 'websocket',
        )  # fmt: skip
        told = {
            'proxy-tls': 'proxy-tls: the proxy requires a client certificate (tlsv13 alert '
            'certificate required), and this client sends none to proxies',
            'proxy': '. Perhaps the proxy requires a client certificate',
        }
        assert outcome.text.endswith(told[outcome.verdict['step']])


class Moved(Nginx):
    """nginx that redirects /engine.io/ to another path of the same server."""

    def configure(self, **settings):
        path = super().configure(**settings)
        moved = """
        location /engine.io/ { return 308 /moved/$is_args$args; }
        location /moved/ {
            proxy_pass http://$backend/engine.io/$is_args$args;
            proxy_http_version 1.1;
            proxy_set_header Upgrade $http_upgrade;
            proxy_set_header Connection $connection_upgrade;
            proxy_set_header Host $http_host;
            add_header Set-Cookie $set_route always;
        }

        location / {"""
        path.write_text(path.read_text().replace('\n        location / {', moved))
        return path


@pytest.mark.parametrize('transports', ['polling', 'websocket', 'polling,websocket'])
def test_redirects_within_the_server_are_followed(probe, shown, between, servers, transports):
    """As the client does with both transports."""
    nginx = between(Moved, servers)
    outcome = probe(nginx.url, '--transports', transports)
    assert outcome.code == 0, outcome
    first = transports.partition(',')[0].replace('polling', 'handshake')
    assert outcome.facts(first)['redirected_to'] == '/moved/'
    assert outcome.facts(first)['status'] == {'handshake': 200, 'websocket': 101}[first]
    status = outcome.facts(first)['status']
    assert (
        f'HTTP {status}, redirected to /moved/' in shown(nginx.url, '--transports', transports)[1]
    )
