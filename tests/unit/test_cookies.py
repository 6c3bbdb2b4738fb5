"""Which cookies are kept, and which requests they go with."""

from __future__ import annotations

from http.cookiejar import CookieJar

import pytest

from engineio_gevent.transports.cookies import Cookies, joined

HERE = 'http://example.com/engine.io/?EIO=4'


@pytest.fixture
def cookies():
    return Cookies()


def test_no_jar_is_made_before_there_is_a_cookie(cookies):
    assert cookies.header(HERE) == ''
    cookies.store(HERE, [])
    assert cookies.jar is None


def test_a_cookie_goes_back_where_it_came_from(cookies):
    cookies.store(HERE, ['a=1', 'b=2; HttpOnly'])
    assert sorted(cookies.header(HERE).split('; ')) == ['a=1', 'b=2']
    assert len(cookies.jar) == 2


def test_a_jar_of_the_caller_s_own():
    jar = CookieJar()
    cookies = Cookies(jar)
    assert cookies.header(HERE) == ''
    cookies.store(HERE, ['a=1'])
    assert [cookie.name for cookie in jar] == ['a']


@pytest.mark.parametrize(
    ('line', 'url', 'goes'),
    [
        ('a=1', 'http://example.com/', False),  # the path is the folder of the request
        ('a=1; Path=/', 'http://example.com/', True),
        ('a=1; Path=/', 'http://example.com/elsewhere', True),
        ('a=1; Path=/engine.io', 'http://example.com/other', False),
        ('a=1; Path=/', 'http://example.com:8080/', True),  # ports do not count
        ('a=1; Path=/', 'https://example.com/', True),
        ('a=1; Path=/', 'http://other.com/', False),
        ('a=1; Path=/; Domain=example.com', 'http://sub.example.com/', True),
        ('a=1; Path=/; Domain=.example.com', 'http://sub.example.com/', True),
        ('a=1; Path=/; Domain=other.com', 'http://other.com/', False),
        ('a=1; Path=/; Domain=com', 'http://example.com/', False),
        ('a=1; Path=/; Secure', 'http://example.com/', False),
        ('a=1; Path=/; Secure', 'https://example.com/', True),
        ('a=1; Path=/; Max-Age=0', 'http://example.com/', False),
        ('a=1; Path=/; Max-Age=100', 'http://example.com/', True),
        ('a=1; Path=/; Expires=Thu, 01 Jan 1970 00:00:00 GMT', 'http://example.com/', False),
        ('a=1; Path=/; Expires=Thu, 01 Jan 2970 00:00:00 GMT', 'http://example.com/', True),
    ],
)
def test_the_policy(cookies, line, url, goes):
    cookies.store(HERE, [line])
    assert cookies.header(url) == ('a=1' if goes else '')


def test_a_later_cookie_takes_the_place_of_an_earlier(cookies):
    cookies.store(HERE, ['a=1'])
    cookies.store(HERE, ['a=2'])
    assert cookies.header(HERE) == 'a=2'
    cookies.store(HERE, ['a=; Max-Age=0'])
    assert cookies.header(HERE) == ''


@pytest.mark.parametrize(
    'line',
    [
        '',
        ';',
        '=',
        '=1',
        ';;;',
        'Path=/',
        '\xff\xfe',
        'a' * 10000,
        'a="unclosed',
        'a=1; Max-Age=x',
        'a=1; Expires=yesterday',
        'a=1; Domain=',
        'a=1; Port="x"',
        'a=1; Version=9',
    ],
)
def test_odd_cookies_do_no_harm(cookies, line):
    cookies.store(HERE, [line, 'good=1'])
    assert 'good=1' in cookies.header(HERE)
    assert '\n' not in cookies.header(HERE)


def test_joining():
    assert joined() == ''
    assert joined('', '') == ''
    assert joined('a=1', '', 'b=2; c=3') == 'a=1; b=2; c=3'
