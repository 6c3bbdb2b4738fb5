"""Through a SOCKS proxy: polling, the websocket and the upgrade take the same way."""

import pytest

import support

MESSAGES = ['one', 'two', 'ü' * 5000]


@pytest.fixture(params=['socks5', 'socks5h'])
def kind(request):
    return request.param


def went_through(outcome, proxy, way, name):
    """It works, and nothing of it went past the proxy."""
    assert outcome.errors == []
    assert outcome.transport == ('polling' if way == 'polling' else 'websocket')
    assert outcome.echoes == MESSAGES
    assert set(outcome.peers) == {proxy.port}
    trips = proxy.trips()
    assert set(trips) == {name}
    # polling and the websocket have a connection each
    assert len(trips) >= {'polling': 1, 'websocket': 1, 'upgraded': 2}[way]
    assert way != 'websocket' or len(trips) == 1


@pytest.mark.parametrize('scheme', ['http', 'https'])
class TestSchemes:
    def test_by_the_environment(self, patched, socks_proxy, kind, origin, env, scheme, way):
        env[f'{scheme}_proxy'] = socks_proxy.url_for(None, scheme=kind)
        outcome = patched(origin.url, env=env, way=way, send=MESSAGES)
        went_through(outcome, socks_proxy, way, origin.netloc)

    def test_with_credentials(self, patched, guarded_socks_proxy, origin, env, scheme, way):
        env['ALL_PROXY'] = guarded_socks_proxy.url
        outcome = patched(origin.url, env=env, way=way, send=MESSAGES)
        went_through(outcome, guarded_socks_proxy, way, origin.netloc)
        assert not any(guarded_socks_proxy.password in line for line in outcome.log)

    def test_by_the_session(self, patched, socks_proxy, kind, origin, env, scheme, way):
        session = {'proxies': {scheme: socks_proxy.url_for(None, scheme=kind)}}
        outcome = patched(origin.url, env=env, session=session, way=way, send=MESSAGES)
        went_through(outcome, socks_proxy, way, origin.netloc)


def test_names_are_looked_up_by_the_proxy(patched, socks_proxy, js_server, way):
    """That is what the h of socks5h stands for."""
    outcome = patched(
        f'http://localhost:{js_server.port}',
        way=way,
        send=MESSAGES,
        env={'all_proxy': socks_proxy.url_for(None, scheme='socks5h')},
    )
    went_through(outcome, socks_proxy, way, f'localhost:{js_server.port}')


def test_no_proxy(patched, socks_proxy, js_server, way):
    outcome = patched(
        js_server.url,
        way=way,
        send=MESSAGES,
        env={'all_proxy': socks_proxy.url, 'no_proxy': '127.0.0.1'},
    )
    assert (outcome.errors, outcome.echoes) == ([], MESSAGES)
    assert set(outcome.peers) == {js_server.port}
    assert socks_proxy.trips() == []


@pytest.mark.parametrize('transport', ['polling', 'websocket'])
class TestErrors:
    """One clear exception that says what is wrong and where."""

    def test_wrong_password(self, patched, guarded_socks_proxy, js_server, transport):
        proxy = guarded_socks_proxy
        env = {'all_proxy': proxy.url_for(proxy.user, 'wrong')}
        text = patched(js_server.url, env=env, transports=[transport]).text
        assert proxy.netloc in text
        assert 'authentication' in text.lower()
        assert 'wrong' not in text

    def test_no_password(self, patched, guarded_socks_proxy, js_server, transport):
        env = {'all_proxy': guarded_socks_proxy.url_for(None)}
        text = patched(js_server.url, env=env, transports=[transport]).text
        assert guarded_socks_proxy.netloc in text
        assert 'proxy' in text.lower()

    @pytest.mark.parametrize('port', [None, 1080])
    def test_nobody_there(self, patched, js_server, transport, port):
        if port == 1080 and support.listens(1080):
            pytest.skip('somebody listens on port 1080')
        nobody = f'127.0.0.1:{port or support.free_port()}'
        url = nobody.removesuffix(':1080')  # the port that SOCKS has by default (RFC 1928)
        env = {'all_proxy': f'socks5://user:secret@{url}'}
        outcome = patched(js_server.url, env=env, transports=[transport])
        assert nobody in outcome.text
        assert 'refused' in outcome.text.lower()
        assert not any('secret' in text for _, text in outcome.errors)
        assert not any('secret' in line for line in outcome.log)

    def test_silent_proxy(self, patched, hostile_server, js_server, transport):
        proxy = hostile_server(support.read_to_end)
        outcome = patched(
            js_server.url,
            env={'all_proxy': f'socks5://127.0.0.1:{proxy.port}'},
            client={'request_timeout': 0.5},
            transports=[transport],
        )
        assert outcome.text
        assert 0.4 < outcome.seconds < support.patience(1.5)
        proxy.wait_open(0)

    def test_proxy_that_is_none(self, patched, js_server, transport):
        env = {'all_proxy': f'socks5://{js_server.netloc}'}
        outcome = patched(
            js_server.url, env=env, transports=[transport], client={'request_timeout': 2}
        )
        assert js_server.netloc in outcome.text

    def test_server_that_the_proxy_cannot_reach(self, patched, socks_proxy, transport):
        port = support.free_port()
        text = patched(
            f'http://127.0.0.1:{port}', env={'all_proxy': socks_proxy.url}, transports=[transport]
        ).text
        assert f'127.0.0.1:{port}' in text
        assert 'refused' in text.lower()

    def test_without_the_package(self, bare_patched, socks_proxy, js_server, transport):
        outcome = bare_patched(
            js_server.url, env={'all_proxy': socks_proxy.url}, transports=[transport]
        )
        assert outcome.text == (
            f'{js_server.netloc} via proxy {socks_proxy.netloc}: socksio is not installed: '
            'pip install "engineio-gevent[socks]"'
        )
        assert socks_proxy.trips() == []


def test_over_and_over(patched, socks_proxy, js_server, way):
    for _ in range(5):
        outcome = patched(js_server.url, env={'all_proxy': socks_proxy.url}, way=way, send=MESSAGES)
        went_through(outcome, socks_proxy, way, js_server.netloc)
