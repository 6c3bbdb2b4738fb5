"""Which cookies are kept, and which requests they go with."""

from __future__ import annotations

import warnings
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


# -- Limits ----------------------------------------------------------------------------------------


def test_a_server_does_not_fill_the_jar(cookies):
    cookies.store(HERE, [f'n{number}=1; Path=/' for number in range(250)])
    assert len(cookies.jar) == 200
    cookies.store(HERE, ['n5=2; Path=/', 'n249=2; Path=/', 'n5=3; Path=/other'])
    assert len(cookies.jar) == 200
    values = dict(one.split('=') for one in cookies.header(HERE).split('; '))
    assert (values['n5'], values.get('n249')) == ('2', None)


@pytest.mark.parametrize(('length', 'taken'), [(4096, True), (4097, False)])
def test_the_longest_cookie(cookies, length, taken):
    cookies.store(HERE, ['a=' + 'x' * (length - 2)])
    assert bool(cookies.header(HERE)) is taken


@pytest.mark.parametrize('character', ['\x00', '\x08', '\x0a', '\x0d', '\x1f', '\x7f'])
def test_a_cookie_with_a_control_character(cookies, character):
    cookies.store(HERE, [f'a=1{character}2', 'b=2'])
    assert cookies.header(HERE) == 'b=2'


@pytest.mark.parametrize('character', ['\t', ' ', '~', '\xfc'])
def test_a_cookie_with_another_character(cookies, character):
    cookies.store(HERE, [f'a=1{character}2'])
    assert f'1{character}2' in cookies.header(HERE)


@pytest.mark.parametrize(
    'line',
    [
        'a=1; Expires=Wed, 99 Foo 99999999999999999999 00:00:00 GMT',
        'a=1; Expires=Thu, 01 Jan 99999999999999999999999 00:00:00 GMT',
        'a=1; Max-Age=' + '9' * 400,
        'a=1; Max-Age=never',
        'a=1; Max-Age=',
        'a=1; Max-Age',
    ],
)
def test_an_odd_age_warns_of_nothing(cookies, line):
    """The standard library's jar warns with a traceback where it fails."""
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        cookies.store(HERE, [line, 'b=2'])
    assert 'b=2' in cookies.header(HERE)


def test_an_age_that_is_no_number_is_ignored(cookies):
    cookies.store(HERE, ['a=1; Max-Age=never', 'b=2; Max-Age=1e3', 'c=3; Max-Age="0"'])
    assert sorted(cookies.header(HERE).split('; ')) == ['a=1', 'b=2']
