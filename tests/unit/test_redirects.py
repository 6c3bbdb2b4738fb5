"""Where a redirect leads, by which statuses, and what goes there."""

from __future__ import annotations

import pytest

from engineio_gevent.exceptions import HTTPError
from engineio_gevent.transports import redirects
from engineio_gevent.transports.cookies import Cookies
from engineio_gevent.transports.redirects import (
    MAX_REDIRECTS,
    REDIRECTS,
    Destination,
    headers_after_redirect,
    home,
    shown,
)
from engineio_gevent.transports.route import Route

HOME = Destination(False, 'a.test', 80, 'a.test', '/engine.io/?x=1')
SECURE = Destination(True, 'a.test', 443, 'a.test', '/engine.io/?x=1')


def next_destination(place, method, status, location, **options):
    headers = {} if location is None else {'location': location}
    return redirects.next_destination(place, method, status, headers, **options)


def test_the_numbers():
    """As they are documented."""
    assert MAX_REDIRECTS == 5
    assert sorted(REDIRECTS) == [301, 302, 303, 307, 308]


def test_home():
    place = home(Route('https://user:word@a.test:8443'), '/x?y')
    assert place == Destination(True, 'a.test', 8443, 'a.test:8443', '/x?y')
    assert place.url == 'https://a.test:8443/x?y'
    assert HOME.url == 'http://a.test/engine.io/?x=1'
    assert place.origin == (True, 'a.test', 8443)


# -- Where to --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ('location', 'expected'),
    [
        ('/engine.io?x=1', (False, 'a.test', 80, 'a.test', '/engine.io?x=1')),
        ('http://a.test', (False, 'a.test', 80, 'a.test', '/')),
        ('http://a.test?y', (False, 'a.test', 80, 'a.test', '/?y')),
        ('other', (False, 'a.test', 80, 'a.test', '/engine.io/other')),
        ('?y=2', (False, 'a.test', 80, 'a.test', '/engine.io/?y=2')),
        ('//b.test/x', (False, 'b.test', 80, 'b.test', '/x')),
        ('http://b.test:81/x#y', (False, 'b.test', 81, 'b.test:81', '/x')),
        ('https://b.test/x', (True, 'b.test', 443, 'b.test', '/x')),
        ('ws://b.test/x', (False, 'b.test', 80, 'b.test', '/x')),
        ('wss://b.test/x', (True, 'b.test', 443, 'b.test', '/x')),
        ('http://u:p@b.test/x', (False, 'b.test', 80, 'b.test', '/x')),
        ('http://B.test/a b', (False, 'b.test', 80, 'b.test', '/a%20b')),
        ('http://[::1]:81/', (False, '::1', 81, '[::1]:81', '/')),
        ('http://B.test.:81/', (False, 'b.test.', 81, 'b.test.:81', '/')),
        ('http://u:p@b.test/', (False, 'b.test', 80, 'b.test', '/')),
    ],
)
def test_places(location, expected):
    place = next_destination(HOME, 'GET', 307, location)
    assert place == Destination(*expected)


def test_a_path_keeps_tls_and_the_port():
    here = Destination(True, 'a.test', 8443, 'a.test:8443', '/x')
    assert next_destination(here, 'GET', 308, '/y') == here._replace(target='/y')


@pytest.mark.parametrize(
    ('location', 'error'),
    [
        ('http://[::1/?s3cret', "redirected to an invalid URL: 'http://[::1/'"),
        ('http://b.test:99999/?s3cret', "redirected to an invalid URL: 'http://b.test:99999/'"),
        ('ftp://b.test/?s3cret', "redirected to a URL that is not HTTP: 'ftp://b.test/'"),
        ('http://b.test:0/', "redirected to a URL that is not HTTP: 'http://b.test:0/'"),
        ('javascript:x', "redirected to a URL that is not HTTP: 'javascript:x'"),
        ('http://b%20.test/', "redirected to an invalid URL: 'http://b%20.test/'"),
        ('http://b\xa8.test/', "redirected to an invalid URL: 'http://b\xa8.test/'"),
        ('http://b<.test/', "redirected to an invalid URL: 'http://b<.test/'"),
        ('http://b..test/', "redirected to an invalid URL: 'http://b..test/'"),
    ],
)
def test_no_places(location, error):
    with pytest.raises(HTTPError) as caught:
        next_destination(HOME, 'GET', 307, location)
    assert str(caught.value) == error
    assert (caught.value.status, caught.value.headers) == (307, {'location': location})


@pytest.mark.parametrize('location', ['http://b.test/y?s3cret', 'ws://a.test/y'])
def test_never_from_tls_to_none(location):
    with pytest.raises(HTTPError, match=r'redirected from https to .*, which has no TLS') as one:
        next_destination(SECURE, 'GET', 307, location)
    assert 's3cret' not in str(one.value)
    assert next_destination(HOME, 'GET', 307, location) is not None
    assert next_destination(SECURE, 'GET', 307, 'https://b.test/') is not None


# -- By which statuses -----------------------------------------------------------------------------


@pytest.mark.parametrize('status', [200, 101, 204, 300, 304, 305, 306, 309, 400, 404, 500])
@pytest.mark.parametrize('anywhere', [False, True])
def test_other_statuses_are_no_redirects(status, anywhere):
    assert next_destination(HOME, 'GET', status, '/x', anywhere=anywhere) is None


@pytest.mark.parametrize('status', sorted(REDIRECTS))
@pytest.mark.parametrize('location', [None, ''])
def test_nor_are_those_without_a_place(status, location):
    for anywhere in (False, True):
        assert next_destination(HOME, 'POST', status, location, anywhere=anywhere) is None


@pytest.mark.parametrize(
    ('method', 'refused'),
    [('GET', {303}), ('POST', {301, 302, 303}), ('websocket', set())],
)
def test_what_is_followed_anywhere(method, refused):
    for status in sorted(REDIRECTS):
        if status in refused:
            with pytest.raises(HTTPError) as caught:
                next_destination(HOME, method, status, 'http://b.test/x?s3cret')
            assert caught.value.status == status
            assert str(caught.value) == (
                f'{method} redirected by status {status} to http://b.test/x: connect to the final '
                'URL instead'
            )
        else:
            found = next_destination(HOME, method, status, 'http://b.test/x')
            assert found.url == 'http://b.test/x'


@pytest.mark.parametrize('status', sorted(REDIRECTS))
@pytest.mark.parametrize(
    ('here', 'location', 'same'),
    [
        (HOME, '/engine.io', True),
        (HOME, 'http://a.test/x', True),
        (HOME, 'http://a.test:80/x', True),
        (HOME, 'ws://A.test/x', True),
        (SECURE, 'wss://a.test:443/x', True),
        (HOME, 'http://b.test/x', False),
        (HOME, 'http://a.test:81/x', False),
        (HOME, 'https://a.test/x', False),
        (HOME, 'https://a.test:80/x', False),
        (SECURE, 'http://a.test/x', False),
        (HOME, 'ftp://a.test/x', False),
        (HOME, 'http://[::1', False),
    ],
)
def test_what_is_followed_to_the_same_server_alone(status, here, location, same):
    found = next_destination(here, 'websocket', status, location, anywhere=False)
    if same and status in (307, 308):
        assert found.origin == here.origin
        assert found.target != here.target
    else:
        assert found is None


# -- What goes there -------------------------------------------------------------------------------

HEADERS = [
    ('Host', 'a.test'),
    ('X-Own', 'x'),
    ('AUTHORIZATION', 'Basic s3cret'),
    ('Proxy-Authorization', 'Basic s3cret'),
    ('Cookie', 'own=1; jar=2'),
]


def test_to_the_same_server():
    there = HOME._replace(target='/y')
    assert headers_after_redirect(HEADERS, HOME, there, '') == [
        ('Host', 'a.test'),
        ('X-Own', 'x'),
        ('AUTHORIZATION', 'Basic s3cret'),
        ('Proxy-Authorization', 'Basic s3cret'),
        ('Cookie', 'own=1; jar=2'),
    ]
    headers = headers_after_redirect(HEADERS, HOME, there, 'jar=3; new=4')
    assert headers[-1] == ('Cookie', 'own=1; jar=3; new=4')
    assert len(headers) == len(HEADERS)
    assert headers_after_redirect([('X', 'x')], HOME, there, '') == [
        ('Host', 'a.test'),
        ('X', 'x'),
    ]


@pytest.mark.parametrize(
    'there',
    [
        Destination(False, 'b.test', 80, 'b.test', '/y'),
        Destination(False, 'a.test', 81, 'a.test:81', '/y'),
        Destination(True, 'a.test', 443, 'a.test', '/y'),
    ],
    ids=['host', 'port', 'scheme'],
)
def test_to_another_server(there):
    assert headers_after_redirect(HEADERS, HOME, there, 'jar=3') == [
        ('Host', there.netloc),
        ('X-Own', 'x'),
        ('Cookie', 'jar=3'),
    ]
    assert headers_after_redirect(HEADERS, HOME, there, '') == [
        ('Host', there.netloc),
        ('X-Own', 'x'),
    ]


def test_the_same_host_and_port_with_another_scheme():
    """The authorization goes with it, as it would by requests."""
    there = Destination(True, 'a.test', 80, 'a.test:80', '/y')
    assert headers_after_redirect(HEADERS, HOME, there, '') == [
        ('Host', 'a.test:80'),
        ('X-Own', 'x'),
        ('AUTHORIZATION', 'Basic s3cret'),
        ('Proxy-Authorization', 'Basic s3cret'),
    ]


# -- For errors ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ('url', 'expected'),
    [
        ('/engine.io?x=1', '/engine.io'),
        ('http://a.test/x#y', 'http://a.test/x'),
        ('http://a.test/x#y?z', 'http://a.test/x'),
        ('http://user:s3cret@a.test/x', 'http://...@a.test/x'),
        ('//user:s3c@ret@a.test/x', '//...@a.test/x'),
        ('http://user:s3c/ret@a.test/x', 'http://...@a.test/x'),
        ('x' * 200, 'x' * 100),
    ],
)
def test_urls_in_errors(url, expected):
    assert shown(url) == expected


def test_a_host_with_and_without_a_dot_are_two():
    """The resolver may have two addresses for them: what is secret stays where it was meant for."""
    there = next_destination(HOME, 'GET', 307, 'http://a.test.:80/x')
    headers = headers_after_redirect([('Authorization', 's3cret')], HOME, there, '')
    assert headers == [('Host', 'a.test:80')]


def test_cookies_of_a_host_with_and_without_a_dot():
    cookies = Cookies()
    cookies.store('http://a.test./', ['a=1; Path=/'])
    assert cookies.header('http://a.test./x') == 'a=1'
    assert cookies.header('http://a.test/x') == ''
