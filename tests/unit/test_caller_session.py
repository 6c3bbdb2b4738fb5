"""What a caller's session says of a connection, whatever has the interface of one."""

from __future__ import annotations

from http.cookiejar import CookieJar
from types import SimpleNamespace

import pytest
import requests
from requests.auth import AuthBase

from engineio_gevent.transports.caller_session import (
    Settings,
    cookies_of,
    known_session,
    prepared_headers,
    session_from,
    settings,
    websocket_proxy,
)


class Minimal:
    """Has nothing but request()."""

    def request(self, method, url, **options):
        raise AssertionError('no request is made here')


@pytest.fixture
def session():
    with requests.Session() as one:
        yield one


# -- Where it comes from ---------------------------------------------------------------------------


def test_a_session_is_taken_as_it_is(session):
    for one in (session, Minimal(), SimpleNamespace(request=print)):
        assert session_from(one) is one
    assert session_from(None) is None


def test_a_function_or_a_class_makes_one(session):
    assert session_from(lambda: session) is session
    assert isinstance(session_from(Minimal), Minimal)
    assert session_from(lambda: None) is None


def test_what_is_a_session_already(session):
    assert known_session(session) is session
    for option in (None, type(session), lambda: session, SimpleNamespace(request=5)):
        assert known_session(option) is None


def test_each_connection_has_its_own():
    assert session_from(Minimal) is not session_from(Minimal)


def test_a_session_that_can_be_called_is_not_called():
    class Called(Minimal):
        def __call__(self):
            raise AssertionError('it is the session')

    one = Called()
    assert session_from(one) is one


@pytest.mark.parametrize('wrong', [5, 'x', object(), SimpleNamespace(request=5)])
def test_what_is_none(wrong):
    with pytest.raises(ValueError, match='that returns one, not ') as caught:
        session_from(wrong)
    assert repr(wrong)[:50] in str(caught.value)
    with pytest.raises(ValueError, match='that returns one, but it returned ') as caught:
        session_from(lambda: wrong)
    assert repr(wrong)[:50] in str(caught.value)
    with pytest.raises(ValueError, match='but it returned <class'):
        session_from(lambda: Minimal)


def test_an_exception_of_the_function_is_the_caller_s():
    with pytest.raises(ZeroDivisionError):
        session_from(lambda: 1 / 0)


# -- Its cookies -----------------------------------------------------------------------------------


def test_the_jar(session):
    jar, other = CookieJar(), CookieJar()
    assert cookies_of(session) is session.cookies
    assert cookies_of(SimpleNamespace(cookies=jar, cookiejar=other)) is jar
    assert cookies_of(SimpleNamespace(cookiejar=jar)) is jar
    assert cookies_of(SimpleNamespace(cookies={'a': '1'}, cookiejar=jar)) is jar
    assert cookies_of(SimpleNamespace(cookies={'a': '1'})) is None
    assert cookies_of(Minimal()) is None


# -- Its settings ----------------------------------------------------------------------------------


@pytest.fixture(autouse=True)
def clean(monkeypatch):
    for name in ('http_proxy', 'https_proxy', 'all_proxy', 'no_proxy'):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    for name in ('REQUESTS_CA_BUNDLE', 'CURL_CA_BUNDLE'):
        monkeypatch.delenv(name, raising=False)


def test_settings_of_a_session(session):
    assert settings(session, 'http://a.test') == Settings({}, True, None)
    session.proxies['http'] = 'http://p.test'
    session.verify = '/ca.pem'
    session.cert = ('/cert.pem', '/key.pem')
    assert settings(session, 'http://a.test') == Settings(
        {'http': 'http://p.test'}, '/ca.pem', ('/cert.pem', '/key.pem')
    )


def test_the_environment_of_what_has_no_settings(monkeypatch):
    assert settings(Minimal(), 'http://a.test') == Settings({}, True, None)
    monkeypatch.setenv('http_proxy', 'http://p.test')
    monkeypatch.setenv('REQUESTS_CA_BUNDLE', '/ca.pem')
    assert settings(Minimal(), 'http://a.test') == Settings(
        {'http': 'http://p.test'}, '/ca.pem', None
    )


# -- The headers of its requests -------------------------------------------------------------------


class Signed(AuthBase):
    def __call__(self, request):
        request.headers['X-Signed'] = f'{request.method} {request.url}'.encode()
        return request


def test_headers_of_a_session(session):
    assert prepared_headers(session, 'http://a.test/x', []) == []
    session.headers['X-Session'] = 's'
    session.auth = Signed()
    session.cookies.set('a', '1')
    headers = prepared_headers(session, 'http://a.test/x', [('X-Own', 'o'), ('Accept', 'text/x')])
    assert dict(headers) == {
        'X-Session': 's',
        'X-Own': 'o',
        'X-Signed': 'GET http://a.test/x',
    }


def test_a_changed_user_agent_is_the_caller_s(session):
    session.headers['User-Agent'] = 'mine'
    assert prepared_headers(session, 'http://a.test', []) == [('User-Agent', 'mine')]


@pytest.mark.parametrize(
    'name', ['Accept', 'Accept-Encoding', 'Connection', 'Content-Length', 'Cookie']
)
def test_headers_of_polling_alone(session, name):
    session.headers[name] = 'x'
    assert prepared_headers(session, 'http://a.test', []) == []


def test_what_prepares_no_request():
    assert prepared_headers(Minimal(), 'http://a.test', [('X', 'x')]) == []


@pytest.mark.parametrize(
    ('proxies', 'plain', 'secure'),
    [
        ({}, None, None),
        (None, None, None),
        (5, None, None),
        ({'http': 'http://h.test', 'https': 'http://s.test'}, None, None),
        ({'ws': 'http://a.test'}, 'http://a.test', None),
        ({'wss': 'http://b.test', 'ws': ''}, None, 'http://b.test'),
    ],
)
def test_the_proxy_of_websockets_alone(proxies, plain, secure):
    session = SimpleNamespace(proxies=proxies)
    assert websocket_proxy(session, False) == plain
    assert websocket_proxy(session, True) == secure
    assert websocket_proxy(SimpleNamespace(), False) is None
