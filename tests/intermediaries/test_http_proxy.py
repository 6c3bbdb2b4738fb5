"""Through an HTTP proxy: polling, the websocket and the upgrade take the same way."""

import re

import pytest
from gevent.event import Event

import support

MESSAGES = ['one', 'two', 'ü' * 5000]


def last(way):
    """The transport that a connect comes to."""
    return 'polling' if way == 'polling' else 'websocket'


def went_through(outcome, proxy, server, way):
    """It works, and nothing of it went past the proxy."""
    assert outcome.errors == []
    assert (outcome.transport, outcome.echoes) == (last(way), MESSAGES)
    assert set(outcome.peers) == {proxy.port}
    # in this order: what the server has had, the proxy has written down
    asked = [(request['method'], request['url']) for request in server.requests(outcome.sid)]
    trips = proxy.trips()
    tunnels = [target for method, target in trips if method == 'CONNECT']
    assert set(tunnels) <= {server.netloc}
    if server.options.get('tls'):
        assert len(tunnels) == len(trips) > 0
        # the websocket has a tunnel of its own
        assert len(tunnels) >= (2 if way == 'upgraded' else 1)
    else:
        # a websocket needs a tunnel; everything else is asked of the proxy
        websockets = [target for _, target in asked if 'transport=websocket' in target]
        assert len(websockets) == (way != 'polling')
        assert len(websockets) <= len(tunnels) <= len(websockets) * outcome.attempts
        forwarded = [(method, target) for method, target in trips if method != 'CONNECT']
        polls = [
            (method, server.url + target)
            for method, target in asked
            if 'transport=polling' in target
        ]
        assert set(polls) <= set(forwarded)


def test_by_the_environment(patched, http_proxy, scheme, origin, env, way):
    env[f'{scheme}_proxy'] = http_proxy.url
    outcome = patched(origin.url, env=env, way=way, send=MESSAGES)
    went_through(outcome, http_proxy, origin, way)


@pytest.mark.parametrize('variable', ['HTTP_PROXY', 'all_proxy', 'ALL_PROXY'])
def test_names_of_the_variable(patched, http_proxy, js_server, variable):
    outcome = patched(js_server.url, env={variable: http_proxy.url}, send=MESSAGES)
    went_through(outcome, http_proxy, js_server, 'upgraded')


def test_websocket_urls_have_the_proxies_of_http(patched, http_proxy, scheme, origin, env, way):
    env[f'{scheme}_proxy'] = http_proxy.url
    outcome = patched(origin.ws_url, env=env, way=way, send=MESSAGES)
    went_through(outcome, http_proxy, origin, way)


def test_proxy_without_a_scheme(patched, http_proxy, js_server, way):
    env = {'http_proxy': http_proxy.netloc}
    outcome = patched(js_server.url, env=env, way=way, send=MESSAGES)
    went_through(outcome, http_proxy, js_server, way)


@pytest.mark.parametrize('key', ['{scheme}', 'all', '{scheme}://127.0.0.1'])
def test_by_the_session(patched, http_proxy, scheme, origin, env, way, key):
    session = {'proxies': {key.format(scheme=scheme): http_proxy.url}}
    outcome = patched(origin.url, env=env, session=session, way=way, send=MESSAGES)
    went_through(outcome, http_proxy, origin, way)


def test_with_credentials(patched, guarded_http_proxy, scheme, origin, env, way):
    env[f'{scheme}_proxy'] = guarded_http_proxy.url
    outcome = patched(origin.url, env=env, way=way, send=MESSAGES)
    went_through(outcome, guarded_http_proxy, origin, way)


@pytest.mark.parametrize('transport', ['polling', 'websocket'])
class TestErrors:
    """One clear exception that says what is wrong and where."""

    def test_wrong_password(self, patched, transport, guarded_http_proxy, scheme, origin, env):
        proxy = guarded_http_proxy
        env[f'{scheme}_proxy'] = proxy.url_for(proxy.user, 'wrong')
        text = patched(origin.url, env=env, transports=[transport]).text
        assert re.search('40[17]', text)  # tinyproxy tells the two apart
        assert proxy.netloc in text
        assert 'proxy' in text.lower()
        assert 'wrong' not in text

    def test_no_password(self, patched, transport, guarded_http_proxy, scheme, origin, env):
        env[f'{scheme}_proxy'] = guarded_http_proxy.url_for(None)
        text = patched(origin.url, env=env, transports=[transport]).text
        assert '407' in text
        assert guarded_http_proxy.netloc in text

    def test_nobody_there(self, patched, transport, scheme, origin, env):
        nobody = f'127.0.0.1:{support.free_port()}'
        env[f'{scheme}_proxy'] = f'http://user:secret@{nobody}'
        outcome = patched(origin.url, env=env, transports=[transport])
        assert nobody in outcome.text
        assert 'proxy' in outcome.text.lower()
        assert 'refused' in outcome.text.lower()
        assert not any('secret' in text for _, text in outcome.errors)
        assert not any('secret' in line for line in outcome.log)

    def test_silent_proxy(self, patched, transport, hostile_server, scheme, origin, env):
        proxy = hostile_server(support.read_to_end)
        env[f'{scheme}_proxy'] = proxy.url
        outcome = patched(
            origin.url, env=env, client={'request_timeout': 0.5}, transports=[transport]
        )
        assert outcome.text
        assert 0.4 < outcome.seconds < support.patience(1.5)
        proxy.wait_open(0)

    def test_proxy_that_is_none(self, patched, transport, js_server, scheme, origin, env):
        """It answers, but no CONNECT, and no request for elsewhere."""
        env[f'{scheme}_proxy'] = js_server.url
        outcome = patched(
            origin.url, env=env, client={'request_timeout': 2}, transports=[transport]
        )
        if (scheme, transport) != ('http', 'polling'):
            # engine.io takes a URL of elsewhere for its own
            assert js_server.netloc in outcome.text

    def test_server_that_the_proxy_cannot_reach(self, patched, transport, http_proxy, scheme, env):
        env[f'{scheme}_proxy'] = http_proxy.url
        url = f'{scheme}://127.0.0.1:{support.free_port()}'
        text = patched(url, env=env, transports=[transport]).text
        assert '500' in text  # tinyproxy's status for it
        assert http_proxy.trips()


@pytest.mark.parametrize(
    'listed', ['127.0.0.1', '*', 'other.test,127.0.0.1', '127.0.0.0/8', ' 127.0.0.1 ']
)
def test_no_proxy(patched, http_proxy, js_server, way, listed):
    env = {'http_proxy': http_proxy.url, 'NO_PROXY': listed}
    outcome = patched(js_server.url, env=env, way=way, send=MESSAGES)
    went_past(outcome, http_proxy, js_server, way)


@pytest.mark.parametrize('listed', ['localhost', '.localhost', 'localhost:{port}'])
def test_no_proxy_for_a_name(patched, http_proxy, js_server, way, listed):
    url = f'http://localhost:{js_server.port}'
    env = {'http_proxy': http_proxy.url, 'no_proxy': listed.format(port=js_server.port)}
    outcome = patched(url, env=env, way=way, send=MESSAGES)
    went_past(outcome, http_proxy, js_server, way)


def went_past(outcome, proxy, server, way):
    """It works, and the proxy has seen nothing of it."""
    assert outcome.errors == []
    assert (outcome.transport, outcome.echoes) == (last(way), MESSAGES)
    assert set(outcome.peers) == {server.port}
    assert proxy.trips() == []


@pytest.mark.parametrize('listed', ['127.0.0.2', 'localhost', '127.0.0.1:1', '10.0.0.0/8', ''])
def test_no_proxy_for_others(patched, http_proxy, js_server, way, listed):
    env = {'http_proxy': http_proxy.url, 'NO_PROXY': listed}
    outcome = patched(js_server.url, env=env, way=way, send=MESSAGES)
    went_through(outcome, http_proxy, js_server, way)


def test_no_proxy_is_about_the_environments_proxies(patched, http_proxy, js_server, way):
    """requests goes by the proxies of a session all the same, and so does the websocket."""
    outcome = patched(
        js_server.url,
        env={'NO_PROXY': '127.0.0.1'},
        way=way,
        session={'proxies': {'http': http_proxy.url}},
        send=MESSAGES,
    )
    went_through(outcome, http_proxy, js_server, way)


@pytest.mark.parametrize('extra', [{}, {'redirect_limit': 3}], ids=['', 'redirects'])
def test_a_session_that_does_not_trust_the_environment(patched, http_proxy, js_server, way, extra):
    outcome = patched(
        js_server.url,
        env={'http_proxy': http_proxy.url},
        way=way,
        client={'websocket_extra_options': extra},
        session={'trust_env': False},
        send=MESSAGES,
    )
    went_past(outcome, http_proxy, js_server, way)


@pytest.fixture
def cookie_server(hostile_server):
    """A server that gives each websocket a cookie; its `requests` are those that it has had."""
    requests = []

    def handle(sock):
        requests.append(
            support.accept_websocket(
                sock, headers=[('Set-Cookie', f'number={len(requests)}; Domain=127.0.0.1')]
            )
        )
        support.send_frame(sock, support.open_packet())
        while support.read_frame(sock)[0] != support.CLOSE:
            pass

    server = hostile_server(handle)
    server.requests = requests
    return server


@pytest.mark.parametrize('proxied', [False, True])
def test_cookies_stay_with_their_client(patched, http_proxy, cookie_server, proxied):
    """What one client's websocket is given, the next one in the process does not send."""
    env = {'http_proxy': http_proxy.url} if proxied else {}
    for _ in range(2):
        assert not patched(cookie_server.url, env=env, transports=['websocket']).errors
    assert [request.headers.get('cookie') for request in cookie_server.requests] == [None, None]
    assert len(http_proxy.trips()) == 2 * proxied


@pytest.mark.parametrize('proxied', [False, True])
def test_cookies_of_the_websocket_are_kept(patched, http_proxy, cookie_server, proxied):
    env = {'http_proxy': http_proxy.url} if proxied else {}
    outcome = patched(cookie_server.url, env=env, transports=['websocket'], session={})
    assert outcome.cookies == {'number': '0'}


def test_cookies_of_polling_go_with_the_websocket(patched, http_proxy, make_js_server):
    server = make_js_server(cookie={'name': 'io'})
    outcome = patched(server.url, env={'http_proxy': http_proxy.url}, send=MESSAGES)
    went_through(outcome, http_proxy, server, 'upgraded')
    websocket = [
        request
        for request in server.requests(outcome.sid)
        if 'transport=websocket' in request['url']
    ]
    assert [request['headers']['cookie'] for request in websocket] == [f'io={outcome.sid}']


def test_secrets_of_the_proxy_stay_with_it(patched, guarded_http_proxy, scheme, origin, env, way):
    proxy = guarded_http_proxy
    env[f'{scheme}_proxy'] = proxy.url
    outcome = patched(origin.url, env=env, way=way, send=MESSAGES)
    assert outcome.errors == []
    for request in origin.requests(outcome.sid):
        assert 'proxy-authorization' not in request['headers']
        assert 'authorization' not in request['headers']
    assert not any(proxy.password in line for line in outcome.log)


def test_over_and_over(patched, http_proxy, js_server, way):
    for _ in range(5):
        outcome = patched(js_server.url, env={'http_proxy': http_proxy.url}, way=way, send=MESSAGES)
        went_through(outcome, http_proxy, js_server, way)


def test_a_lost_connection_leaves_nothing_open(patched, hostile_server):
    """Neither do the connections that lie idle in a pool, which `disconnect_error` leads to."""
    posted = Event()

    def handle(sock):
        while True:
            request = support.read_request(sock)
            if request.method == 'POST':
                support.respond(sock, 'ok')
                posted.set()
            elif 'sid=' in request.target:
                posted.wait()
                support.reset(sock)
                return
            else:
                support.respond(sock, support.open_packet())

    proxy = hostile_server(handle)
    outcome = patched(
        'http://127.0.0.1:1', env={'http_proxy': proxy.url}, way='polling', send=['hello']
    )
    assert 'reset' in outcome.lost
    assert outcome.left == []
    proxy.wait_open(0)
