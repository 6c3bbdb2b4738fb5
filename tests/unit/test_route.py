"""What is decided once per connect: the way of both transports to the server."""

from __future__ import annotations

import base64
import copy
import os
import ssl
from pathlib import Path

import pytest
import requests
from requests.auth import AuthBase

from engineio_gevent.net.dial import DIRECT, Dialer
from engineio_gevent.net.tunnel import Proxy
from engineio_gevent.transports.route import Route, checked_headers


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch, tmp_path):
    """No proxies, no netrc, no authorities but those of the test."""
    for name in list(os.environ):
        if name.lower().endswith('_proxy') or name in ('REQUESTS_CA_BUNDLE', 'CURL_CA_BUNDLE'):
            monkeypatch.delenv(name)
    monkeypatch.setenv('NETRC', str(tmp_path / 'netrc'))


@pytest.fixture
def make_session():
    """Sessions that are closed with the test."""
    made = []

    def make(**settings):
        session = requests.Session()
        made.append(session)
        for name, value in settings.items():
            if name == 'headers':
                session.headers.update(value)
            else:
                setattr(session, name, value)
        return session

    yield make
    for session in made:
        session.close()


def basic(credentials):
    return 'Basic ' + base64.b64encode(credentials.encode()).decode()


def headers_of(route):
    """The headers of a websocket's handshake, cookies apart."""
    found = {name.lower(): value for name, value in route.websocket_headers()}
    assert len(found) == len(route.websocket_headers())
    found.pop('cookie', None)
    return found


def cookie_of(route):
    return dict(route.websocket_headers()).get('Cookie')


# -- The URL ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ('url', 'secure', 'host', 'port', 'netloc'),
    [
        ('http://a.test', False, 'a.test', 80, 'a.test'),
        ('ws://a.test', False, 'a.test', 80, 'a.test'),
        ('https://a.test', True, 'a.test', 443, 'a.test'),
        ('wss://a.test/', True, 'a.test', 443, 'a.test'),
        ('WSS://A.test', True, 'a.test', 443, 'a.test'),
        ('http://a.test:8080', False, 'a.test', 8080, 'a.test:8080'),
        ('https://a.test:80', True, 'a.test', 80, 'a.test:80'),
        ('http://127.0.0.1:5000', False, '127.0.0.1', 5000, '127.0.0.1:5000'),
        ('http://[::1]', False, '::1', 80, '[::1]'),
        ('wss://[2001:DB8::1]:8443/engine.io', True, '2001:db8::1', 8443, '[2001:db8::1]:8443'),
        ('http://b\xfccher.test', False, 'xn--bcher-kva.test', 80, 'xn--bcher-kva.test'),
        ('http://user:word@a.test:81', False, 'a.test', 81, 'a.test:81'),
        ('http://a\u3002test.', False, 'a.test.', 80, 'a.test.'),
        ('http://[FE80::1%25eth0]:81', False, 'fe80::1%eth0', 81, '[fe80::1%eth0]:81'),
    ],
)
def test_urls(url, secure, host, port, netloc):
    route = Route(url, timestamp=False)
    assert (route.secure, route.host, route.port, route.netloc) == (secure, host, port, netloc)
    assert route.origin == (secure, host, port)
    s = 's' if secure else ''
    assert route.http_origin == f'http{s}://{netloc}'
    assert route.url('polling') == f'http{s}://{netloc}/engine.io/?transport=polling&EIO=4'
    assert route.url('websocket') == f'ws{s}://{netloc}/engine.io/?transport=websocket&EIO=4'


@pytest.mark.parametrize(
    'url',
    [
        '',
        'a.test',
        'a.test:80',
        '/path',
        'ftp://a.test',
        'file:///etc',
        'http://',
        'http:///path',
        'http://:80',
        'http://a.test:99999',
        'http://a.test:x',
        'http://[::1',
        'http://a b.test',
        'http://a\xa8b.test',
        'http://a\ufe64b.test',
        'http://a%2eb.test',
        'http://a..b',
        'http://' + 'a' * 64 + '.test',
        'http://a.test\r\nX: y',
        'http://a\x00.test',
        'http://a.test/\n',
        'http://' + 'a' * 64 + '\xfc',
    ],
)
def test_urls_that_are_none(url):
    with pytest.raises(ValueError, match=r'.'):
        Route(url)


@pytest.mark.parametrize(
    ('path', 'target'),
    [
        ('engine.io', '/engine.io/?'),
        ('/engine.io/', '/engine.io/?'),
        ('a/b', '/a/b/?'),
        ('', '/?'),
        ('/', '/?'),
        ('a b', '/a%20b/?'),
        ('a%20b', '/a%20b/?'),
        ('\u20ac', '/%E2%82%AC/?'),
    ],
)
def test_where_it_is_mounted(path, target):
    for url in ('http://a.test', f'http://a.test/{path}', f'http://a.test/{path.strip("/")}/'):
        route = Route(f'{url}?x=1', path=path, timestamp=False)
        assert route.target('polling') == f'{target}x=1&transport=polling&EIO=4'


@pytest.mark.parametrize('path', ['a?token=s3cret', 'a#s3cret', '?', 'http://u:s3cret@a/?x'])
def test_a_path_with_a_query(path):
    with pytest.raises(
        ValueError, match=r'^engineio_path must be a path, without a query: '
    ) as caught:
        Route('http://a.test', path=path)
    assert 's3cret' not in str(caught.value)


@pytest.mark.parametrize('wrong', [None, 5, b'http://u:s3cret@a.test', ['http://a.test']], ids=repr)
def test_a_url_and_a_path_are_strings(wrong):
    kind = type(wrong).__name__
    with pytest.raises(ValueError, match=f'^URL must be a string, not {kind}$'):
        Route(wrong)
    with pytest.raises(ValueError, match=f'^engineio_path must be a string, not {kind}$'):
        Route('http://a.test', path=wrong)


def test_an_error_shows_the_url_without_its_user():
    with pytest.raises(ValueError, match='URL must begin with') as caught:
        Route('ftp://ann:s3cret@a.test')
    assert str(caught.value).endswith(": 'ftp://...@a.test'")


def test_who_opens_the_connections():
    dialer = Dialer()
    assert Route('http://a.test', dialer=dialer).dialer is dialer
    assert Route('http://a.test').dialer is DIRECT


def test_a_path_with_a_line_end():
    with pytest.raises(ValueError, match='control character'):
        Route('http://a.test', path='a\r\nX: y')


def test_an_address_in_a_query_is_no_password():
    assert '?mail=a@b&' in Route('http://a.test?mail=a@b').target('polling')


@pytest.mark.parametrize(
    ('query', 'kept'),
    [
        ('', ''),
        ('a=1', 'a=1&'),
        ('a=1&b=2&a=3', 'a=1&b=2&a=3&'),
        ('token=x%20y%26z', 'token=x%20y%26z&'),
        ('a=b c', 'a=b%20c&'),
        ('a=\u20ac', 'a=%E2%82%AC&'),
        ('a', 'a&'),
    ],
)
def test_the_query_of_the_caller_is_kept(query, kept):
    route = Route(f'http://a.test?{query}', timestamp=False)
    assert route.target('polling') == f'/engine.io/?{kept}transport=polling&EIO=4'


def test_a_proxy_for_websockets_alone(make_session):
    session = make_session(proxies={'ws': 'http://one.test', 'wss': 'http://two.test'})
    assert Route('http://a.test', http_session=session).websocket_proxy.host == 'one.test'
    assert Route('https://a.test', http_session=session).websocket_proxy.host == 'two.test'


def test_a_redirected_websocket_keeps_its_proxy(make_session):
    proxies = {'ws': 'http://one.test', 'http': 'http://three.test'}
    route = Route('http://a.test', http_session=make_session(proxies=proxies, trust_env=False))
    for host in ('a.test', 'b.test'):
        origin, url = (False, host, 80), f'http://{host}/'
        assert route.proxy_for(origin, url, 'websocket').host == 'one.test'
        assert route.proxy_for(origin, url).host == 'three.test'
    assert route.proxy_for((True, 'b.test', 443), 'https://b.test/', 'websocket') is None


@pytest.mark.parametrize('name', ['ws_proxy', 'WS_PROXY', 'wss_proxy', 'WSS_PROXY'])
def test_the_environment_has_one_proxy_for_both_transports(monkeypatch, name):
    monkeypatch.setenv(name, 'http://p.test')
    for url in ('http://a.test', 'https://a.test'):
        assert Route(url).proxy is Route(url).websocket_proxy is None


def test_the_session_id_is_quoted():
    route = Route('http://a.test', timestamp=False)
    assert route.target('polling', 'a&b=c/d e\u20ac').endswith('&sid=a%26b%3Dc%2Fd%20e%E2%82%AC')


def test_the_time_in_the_url():
    route = Route('http://a.test')
    one, two = route.target('polling', 's'), route.target('websocket', 's')
    assert '&t=' in one
    assert '&t=' in two
    assert '&t=' not in route.target('polling', 's', stamped=False)
    assert '&t=' in route.url('polling', 's')
    assert '&t=' not in Route('http://a.test', timestamp=False).target('polling')


# -- Headers ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    'headers',
    [
        {'X': 'a\r\nY: b'},
        {'X': 'a\n'},
        {'X': '\x00'},
        {'X\r\n': 'a'},
        {'X Y': 'a'},
        {'': 'a'},
        {'X:': 'a'},
        {'\xfc': 'a'},
        {'X': 5},
        {5: 'x'},
        {'X': ['a']},
    ],
)
def test_headers_that_cannot_be_sent(headers):
    with pytest.raises(ValueError, match=r'header'):
        Route('http://a.test', headers)
    with pytest.raises(ValueError, match=r'header'):
        Route('http://a.test', websocket_options={'header': headers})


def test_headers_are_a_mapping():
    with pytest.raises(ValueError, match=r'^headers must be a dict'):
        Route('http://a.test', [('X', 'y')])


def test_headers_are_copied_and_cleaned():
    headers = {'X': ' a ', b'Y': b'b', 'None': None, 'Z': '\xfc', 'Tab': 'a\tb'}
    before = copy.deepcopy(headers)
    checked = checked_headers(headers.items())
    assert checked == [('X', 'a'), ('Y', 'b'), ('Z', '\xfc'), ('Tab', 'a\tb')]
    assert headers == before


def test_headers_go_with_both_transports():
    route = Route('http://a.test', {'X-Token': 'x', 'Cookie': 'a=1'})
    assert dict(route.headers) == {'X-Token': 'x', 'Cookie': 'a=1'}
    assert route.websocket_headers() == [('X-Token', 'x'), ('Cookie', 'a=1')]
    assert route.polling_cookies() == 'a=1'


def test_cookies_of_the_server_join_the_caller_s():
    route = Route('http://a.test', {'cookie': 'a=1'})
    route.cookies.store(route.http_origin + '/', ['b=2; Path=/', 'c=3; Path=/; Domain=other.test'])
    assert route.polling_cookies() == 'a=1; b=2'
    assert cookie_of(route) == 'a=1; b=2'


@pytest.mark.parametrize(
    ('first', 'second'), [('X-Token', 'x-token'), ('authorization', 'AUTHORIZATION')]
)
def test_names_of_headers_have_no_case(first, second, make_session):
    """The later of two sources wins; the server does not get both."""
    route = Route(
        'http://a.test', {second: 'two'}, http_session=make_session(headers={first: 'one'})
    )
    assert [value for _, value in route.websocket_headers()] == ['two']


# -- Who is asking ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ('userinfo', 'credentials'),
    [
        ('user:word', 'user:word'),
        ('user', 'user:'),
        ('user:', 'user:'),
        ('u%40x:p%3A%2F', 'u@x:p:/'),
        ('\u20ac:p', '\u20ac:p'),
    ],
)
def test_the_user_in_the_url(userinfo, credentials):
    route = Route(f'http://{userinfo}@a.test')
    assert dict(route.headers) == {'Authorization': basic(credentials)}
    assert headers_of(route)['authorization'] == basic(credentials)
    for text in (route.url('polling'), route.url('websocket'), route.netloc, route.http_origin):
        assert '@' not in text


def test_the_header_of_the_caller_goes_before_the_user_in_the_url():
    route = Route('http://user:word@a.test', {'authorization': 'Bearer x'})
    assert route.headers == [('authorization', 'Bearer x')]


def test_netrc(tmp_path):
    (tmp_path / 'netrc').write_text('machine a.test login me password secret\n')
    assert dict(Route('http://a.test:80').headers) == {'Authorization': basic('me:secret')}
    assert not Route('http://b.test').headers
    assert dict(Route('http://u:p@a.test').headers) == {'Authorization': basic('u:p')}
    assert dict(Route('http://a.test', {'Authorization': 'x'}).headers) == {'Authorization': 'x'}


# -- Proxies and authorities from the environment --------------------------------------------------


@pytest.mark.parametrize(
    ('environment', 'url', 'proxy'),
    [
        ({}, 'http://a.test', None),
        ({'http_proxy': 'http://p.test:1'}, 'http://a.test', 'http://p.test:1'),
        ({'http_proxy': 'http://p.test:1'}, 'ws://a.test', 'http://p.test:1'),
        ({'http_proxy': 'http://p.test:1'}, 'https://a.test', None),
        ({'HTTPS_PROXY': 'http://p.test:1'}, 'wss://a.test', 'http://p.test:1'),
        ({'all_proxy': 'socks5://p.test:1'}, 'https://a.test', 'socks5://p.test:1'),
        ({'http_proxy': 'http://p.test:1', 'NO_PROXY': 'b.test,a.test'}, 'http://a.test', None),
        ({'http_proxy': 'http://p.test:1', 'no_proxy': '.test'}, 'http://a.test', None),
        (
            {'http_proxy': 'http://p.test:1', 'no_proxy': 'b.test'},
            'http://a.test',
            'http://p.test:1',
        ),
        ({'http_proxy': 'http://p.test:1', 'no_proxy': '127.0.0.1'}, 'http://127.0.0.1:80', None),
        ({'http_proxy': 'http://p.test:1', 'no_proxy': '*'}, 'http://a.test', None),
    ],
)
def test_proxies_of_the_environment(monkeypatch, environment, url, proxy):
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    route = Route(url)
    assert route.proxy == proxy
    assert route.http_session is None


@pytest.mark.parametrize(
    ('proxy', 'parsed'),
    [
        ('http://p.test:3128', Proxy('http', 'p.test', 3128)),
        ('http://p.test', Proxy('http', 'p.test', 80)),
        ('p.test:3128', Proxy('http', 'p.test', 3128)),
        ('https://p.test', Proxy('https', 'p.test', 443)),
        ('http://u%40:p%3A@p.test:1', Proxy('http', 'p.test', 1, 'u@', 'p:')),
        ('socks5h://p.test', Proxy('socks5h', 'p.test', 1080)),
        ('socks4://p.test:1', Proxy('socks4', 'p.test', 1)),
    ],
)
def test_the_websocket_goes_by_the_same_proxy(make_session, proxy, parsed):
    route = Route('http://a.test', http_session=make_session(proxies={'http': proxy}))
    assert route.proxy == proxy
    assert route.websocket_proxy == parsed
    assert 'p:' not in str(route.websocket_proxy)


@pytest.mark.parametrize('name', ['REQUESTS_CA_BUNDLE', 'CURL_CA_BUNDLE'])
def test_authorities_of_the_environment(monkeypatch, certificates, name, make_session):
    monkeypatch.setenv(name, certificates.ca)
    route = Route('https://a.test')
    assert route.verify == certificates.ca
    assert len(route.tls_context().get_ca_certs()) == 1
    assert Route('https://a.test', verify=False).verify is False
    assert Route('https://a.test', http_session=make_session()).verify == certificates.ca


@pytest.mark.parametrize('verify', [True, False])
def test_whether_to_verify_a_proxy(verify):
    context = Route('http://a.test', verify=verify).proxy_tls_context()
    assert context.verify_mode == (ssl.CERT_REQUIRED if verify else ssl.CERT_NONE)


def test_authorities_by_default():
    route = Route('https://a.test')
    assert route.verify is True
    assert len(route.tls_context().get_ca_certs()) > 50
    assert Route('https://b.test').tls_context() is route.tls_context()


# -- The settings of a session of requests ---------------------------------------------------------


class Signed(AuthBase):
    def __call__(self, request):
        request.headers['X-Signature'] = request.method + request.path_url.split('?')[0]
        return request


def test_headers_auth_and_cookies_of_a_session(make_session):
    session = make_session(headers={'X-Session': 's', 'X-Both': 'session'}, auth=('me', 'word'))
    session.cookies.set('here', '1', domain='a.test', path='/')
    session.cookies.set('elsewhere', '2', domain='b.test', path='/')
    route = Route('http://a.test', {'X-Both': 'call'}, http_session=session)
    assert headers_of(route) == {
        'x-session': 's',
        'x-both': 'call',
        'authorization': basic('me:word'),
    }
    assert cookie_of(route) == 'here=1'
    assert route.cookies.jar is session.cookies


def test_a_cookie_of_a_session_that_cannot_be_sent(make_session):
    session = make_session()
    session.cookies.set('a', 'b\x01')
    with pytest.raises(ValueError, match='http_session has a cookie'):
        Route('http://a.test', http_session=session)


def test_an_auth_object_of_a_session(make_session):
    route = Route('http://a.test', http_session=make_session(auth=Signed()))
    assert headers_of(route) == {'x-signature': 'GET/engine.io/'}


def test_the_user_agent_of_a_session_goes_where_it_was_set(make_session):
    assert headers_of(Route('http://a.test', http_session=make_session())) == {}
    session = make_session(headers={'User-Agent': 'mine'})
    assert headers_of(Route('http://a.test', http_session=session)) == {'user-agent': 'mine'}


def test_certificate_and_authorities_of_a_session(make_session, certificates):
    session = make_session(cert=certificates.client_pem, verify=certificates.ca)
    route = Route('https://a.test', http_session=session)
    assert (route.cert, route.verify) == (certificates.client_pem, certificates.ca)
    assert len(route.tls_context().get_ca_certs()) == 1
    session = make_session(verify=False)
    assert Route('https://a.test', http_session=session).verify is False
    session = make_session(verify=True)
    assert Route('https://a.test', verify=False, http_session=session).verify is False


def test_a_session_that_does_not_trust_the_environment(make_session, monkeypatch, certificates):
    monkeypatch.setenv('http_proxy', 'http://p.test:1')
    monkeypatch.setenv('REQUESTS_CA_BUNDLE', certificates.ca)
    route = Route('http://a.test', http_session=make_session(trust_env=False))
    assert (route.proxy, route.verify) == (None, True)


def test_a_callable_makes_the_session(make_session):
    made = []

    def make():
        made.append(make_session(headers={'X': 'x'}))
        return made[-1]

    route = Route('http://a.test', http_session=make)
    assert made == [route.http_session]
    assert headers_of(route) == {'x': 'x'}


@pytest.mark.parametrize('wrong', [5, 'session', object()])
def test_what_is_no_session(wrong):
    with pytest.raises(ValueError, match='http_session'):
        Route('http://a.test', http_session=wrong)


# -- What is the caller's stays as it was ----------------------------------------------------------


def test_nothing_of_the_caller_s_is_changed(make_session):
    headers = {'Cookie': 'a=1', 'Host': 'h', 'X': 'x', 'Authorization': 'x'}
    options = {
        'header': {'Y': 'y', 'Cookie': 'b=2', 'Origin': 'o'},
        'sslopt': {'ciphers': 'ALL'},
        'subprotocols': ['p'],
        'timeout': 3,
        'sockopt': [(1, 2, 3)],
    }
    session = make_session(headers={'Z': 'z'}, proxies={'http': 'http://p.test:1'})
    copies = copy.deepcopy((headers, options, dict(session.headers), session.proxies))
    for _ in range(2):
        route = Route(
            'http://u:p@a.test?x=1', headers, http_session=session, websocket_options=options
        )
        assert cookie_of(route) == 'a=1'
        route.websocket_headers().clear()
        assert cookie_of(route) == 'a=1'
        assert route.websocket_options.merged(route.websocket_headers())
    assert (headers, options, dict(session.headers), session.proxies) == copies


@pytest.mark.parametrize(('given', 'verify'), [(0, False), (1, True)])
def test_whether_to_verify_is_true_or_false(given, verify, make_session):
    assert Route('https://a.test', verify=given).verify is verify
    session = make_session(verify=given)
    assert Route('https://a.test', http_session=session).verify is verify


# -- What is given beside the URL ------------------------------------------------------------------


@pytest.mark.parametrize('kind', [str, Path, os.fsencode])
def test_client_certificates(kind, make_session):
    one, pair = kind('both.pem'), (kind('cert.pem'), kind('key.pem'))
    for given, cert in (
        (None, None),
        (one, 'both.pem'),
        ((one, None), 'both.pem'),
        (pair, ('cert.pem', 'key.pem')),
        (list(pair), ('cert.pem', 'key.pem')),
    ):
        assert Route('https://a.test', cert=given).cert == cert
        session = make_session(cert=given)
        assert Route('https://a.test', http_session=session).cert == cert
    assert Route('https://a.test', http_session=make_session(cert=())).cert is None


@pytest.mark.parametrize(
    'cert', ['', b'', 5, (), ('a',), ('a', 5), (None, 'a'), ('a', 'b', 's3cret'), {'a': 'b'}]
)
def test_no_client_certificates(cert, make_session):
    with pytest.raises(ValueError, match=r'^ssl_cert must be the path') as caught:
        Route('https://a.test', cert=cert)
    assert 's3cret' not in str(caught.value)
    if cert:
        session = make_session(cert=cert)
        with pytest.raises(ValueError, match=r'^http_session\.cert must be the path'):
            Route('https://a.test', http_session=session)


@pytest.mark.parametrize('kind', [str, Path, os.fsencode])
def test_the_path_of_a_ca_bundle(kind, make_session):
    assert Route('https://a.test', verify=kind('/x/ca.pem')).verify == '/x/ca.pem'
    session = make_session(verify=kind('/x/ca.pem'))
    assert Route('https://a.test', http_session=session).verify == '/x/ca.pem'


@pytest.mark.parametrize('verify', ['', b'', None, 2, -1, 1.5, [], object], ids=repr)
def test_no_way_to_verify(verify, make_session):
    """requests verifies nothing for some of these."""
    with pytest.raises(ValueError, match=r'^ssl_verify must be True, False or the path'):
        Route('https://a.test', verify=verify)
    session = make_session(verify=verify)
    with pytest.raises(ValueError, match=r'^http_session\.verify must be True, False or the path'):
        Route('https://a.test', http_session=session)


def test_the_certificate_of_the_client_goes_before_the_session_s(make_session):
    session = make_session(cert='session.pem')
    assert Route('https://a.test', cert='own.pem', http_session=session).cert == 'own.pem'


def test_the_proxy_for_a_redirect_to_another_server(monkeypatch, make_session):
    """That of the route is for its own server; for another, the session or the environment says."""
    monkeypatch.setenv('http_proxy', 'http://env.test:1')
    monkeypatch.setenv('no_proxy', 'b.test')
    own = make_session(proxies={'http': 'http://own.test:2'}, trust_env=False)
    route = Route('http://a.test', http_session=own)
    assert route.proxy_for(route.origin, 'http://a.test/') == Proxy('http', 'own.test', 2)
    for other in ('b.test', 'c.test'):  # with no_proxy, the session does not read it
        found = route.proxy_for((False, other, 80), f'http://{other}/')
        assert found == Proxy('http', 'own.test', 2)
    untrusting = Route('http://a.test', http_session=make_session(trust_env=False))
    assert untrusting.proxy_for((False, 'c.test', 80), 'http://c.test/') is None
    route = Route('http://a.test')
    found = route.proxy_for((False, 'c.test', 80), 'http://c.test/')
    assert found == Proxy('http', 'env.test', 1)
    assert route.proxy_for((False, 'b.test', 80), 'http://b.test/') is None
    assert Route('http://b.test').proxy_for((False, 'b.test', 80), 'http://b.test/') is None


def test_the_proxy_for_a_redirect_from_http_to_https_and_back(monkeypatch):
    monkeypatch.setenv('https_proxy', 'http://p.test:1')
    plain, secure = Route('http://a.test'), Route('https://a.test')
    assert plain.proxy is None
    assert plain.proxy_for((True, 'a.test', 443), 'https://a.test/') == Proxy('http', 'p.test', 1)
    assert secure.proxy == 'http://p.test:1'
    assert secure.proxy_for((False, 'a.test', 80), 'http://a.test/') is None


@pytest.mark.parametrize(
    ('query', 'kept'),
    [
        ('EIO=3', ''),
        ('transport=x&a=1', 'a=1&'),
        ('a=1&sid=x', 'a=1&'),
        ('t=5', ''),
        ('%45IO=3', ''),
        ('eio=3&T=5&tt=1', 'eio=3&T=5&tt=1&'),
        ('&&a=1&&', 'a=1&'),
        ('=', '=&'),
    ],
)
def test_what_the_client_puts_into_the_query_is_sent_once(query, kept):
    route = Route(f'http://a.test?{query}', timestamp=False)
    assert route.target('polling') == f'/engine.io/?{kept}transport=polling&EIO=4'


@pytest.mark.parametrize(
    ('url', 'path', 'shown'),
    [
        ('http://a.test/x', 'engine.io', "'/x'"),
        ('http://a.test/engine.io/x', 'engine.io', "'/engine.io/x'"),
        ('http://a.test/x', '', "'/x'"),
    ],
)
def test_another_path(url, path, shown):
    with pytest.raises(ValueError, match='URL has the path') as caught:
        Route(url, path=path)
    assert shown in str(caught.value)
    assert f'engineio_path is {path!r}' in str(caught.value)


@pytest.mark.parametrize(
    'url',
    [
        'http://ann:s3cret/s3cret@a.test/',
        'http://ann:123/s3cret@a.test/',
        'http://ann:s3cret/s3cret@a.test:x/',
        'ann:s3cret/s3cret@a.test',
        'gopher://ann:s3cret/s3cret@a.test',
        'http://ann:123?s3cret@a.test/',
        'http://ann:123#s3cret@a.test/',
        'http://ann:s3cret?s3cret@a.test/',
        'http://ann:s3cret#s3cret@a.test/',
        'http://ann:s3cret@a.test:x/',
        'http://ann:s3cret@/',
        'http://a.test:x/?token=s3cret',
        'http://ann:s3cret\n@a.test',
    ],
)
def test_no_error_shows_a_part_of_a_password(url):
    with pytest.raises(ValueError, match='URL') as caught:
        Route(url)
    assert 's3cret' not in str(caught.value)


def test_a_path_that_is_quoted():
    assert Route('http://a.test/a%20b/', path='a b', timestamp=False).target('polling') == (
        '/a%20b/?transport=polling&EIO=4'
    )
