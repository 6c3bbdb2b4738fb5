"""Which cookies are kept, and which requests they go with."""

from __future__ import annotations

import warnings
from http.cookiejar import CookieJar

import pytest
from requests.cookies import RequestsCookieJar, create_cookie

from engineio_gevent.transports.cookies import Cookies, joined

HERE = 'http://example.com/engine.io/?EIO=4'


@pytest.fixture
def cookies():
    return Cookies()


def test_no_jar_is_made_before_there_is_a_cookie(cookies):
    assert cookies.header(HERE) == ''
    cookies.store(HERE, [])
    assert cookies.jar is None


def test_the_application_may_add_cookies_first(cookies):
    assert list(cookies.cookies) == []
    cookies.cookies.set_cookie(create_cookie('a', '1', domain='example.com'))
    assert cookies.cookies is cookies.jar
    assert cookies.header(HERE) == 'a=1'


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
        ('a=1; Path=/; Domain=other.com', 'http://example.com/', False),
        ('a=1; Path=/', 'http://sub.example.com/', False),
        ('a=1; Path=/; Domain=', 'http://sub.example.com/', False),
        ('a=1; Path=/; Domain', 'http://example.com/', True),
        ('a=1; Path=/; domain=other.com; DOMAIN = Example.COM', 'http://example.com/', True),
        ('a=1; Path=/; Domain=example.com; Domain=other.com', 'http://example.com/', False),
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


#: A host, the Domain of its cookie, another host; whether the cookie goes to the one and the other.
DOMAINS = [
    ('10.0.0.1', '.0.0.1', '11.0.0.1', (False, False)),
    ('10.0.0.1', '10.0.0.1', '11.0.0.1', (True, False)),
    ('10.0.0.1', '', 'x.10.0.0.1', (True, False)),
    ('10.1', '10.1', 'x.10.1', (True, False)),
    ('0x7f.1', '.1', '2.1', (False, False)),
    ('[::1]', '::1', '[::2]', (True, False)),
    ('[2001:db8::1]', ':1', '[2001:db8::2:1]', (False, False)),
    ('[::ffff:10.0.0.1]', '.0.0.1]', '[::ffff:11.0.0.1]', (False, False)),
    ('intra1', '.local', 'intra2', (False, False)),
    ('intra1', 'local', 'intra2', (False, False)),
    ('intra1', 'intra1', 'intra2', (True, False)),
    ('intra1', '', 'intra1.local', (True, False)),
    ('intra1.local', '', 'intra1', (True, False)),
    ('intra1.local', 'intra1.local', 'intra1', (True, False)),
    ('a.local', '.local', 'b.local', (False, False)),
    ('a.test', '.test', 'b.test', (False, False)),
    ('a.co.uk', '.co.uk', 'b.co.uk', (True, False)),
    ('a.co.uk', 'co.uk', 'co.uk', (True, False)),
    ('mine.github.io', 'github.io', 'yours.github.io', (True, False)),
    ('api.example.com', '.example.com', 'ws.example.com', (True, False)),
    ('api.example.com', '.example.com', 'v2.api.example.com', (True, True)),
    ('api.example.com', '', 'v2.api.example.com', (True, False)),
    ('example.com', 'example.com', 'ws.example.com', (True, True)),
    ('example.com', 'xample.com', 'xample.com', (False, False)),
    ('example.com.', 'example.com.', 'ws.example.com.', (True, True)),
]


@pytest.mark.parametrize(('here', 'domain', 'there', 'goes'), DOMAINS)
@pytest.mark.parametrize('port', ['', ':8080'])
def test_a_cookie_goes_to_no_host_of_another(cookies, here, domain, there, goes, port):
    attribute = f'; Domain={domain}' if domain else ''
    cookies.store(f'http://{here}{port}/', [f'a=1; Path=/{attribute}', 'own=1; Path=/'])
    own = cookies.header(f'http://{here}{port}/')
    assert 'own=1' in own
    assert ('a=1' in own, 'a=1' in cookies.header(f'http://{there}{port}/')) == goes
    assert 'own' not in cookies.header(f'http://{there}{port}/')


def test_a_host_does_not_delete_the_cookies_of_another(cookies):
    cookies.store('http://victim.com/', ['a=1; Path=/; Domain=victim.com'])
    cookies.store('http://evil.com/', ['a=; Path=/; Domain=victim.com; Max-Age=0'])
    assert cookies.header('http://victim.com/') == 'a=1'


def test_the_policy_of_a_jar_of_the_caller():
    """There, a domain may have other hosts. What is no domain of the host is ignored there, too."""
    cookies = Cookies(CookieJar())
    cookies.store('http://api.example.com/', ['a=1; Path=/; Domain=example.com'])
    cookies.store('http://10.0.0.1/', ['b=1; Path=/; Domain=.0.0.1'])
    cookies.store('http://intra1/', ['c=1; Path=/; Domain=.local'])
    assert cookies.header('http://ws.example.com/') == 'a=1'
    assert [cookie.name for cookie in cookies.jar] == ['a']


@pytest.mark.parametrize('jar', [CookieJar, RequestsCookieJar, lambda: None])
def test_no_jar_is_filled_without_end(jar):
    """Not the caller's either, and not by host after host."""
    cookies = Cookies(jar())
    for host in range(10):
        cookies.store(f'http://h{host}.test/', [f'n{number}=1; Path=/' for number in range(90)])
    assert len(cookies.jar) == 200
    cookies.store('http://h0.test/', ['n0=2; Path=/'])
    assert 'n0=2' in cookies.header('http://h0.test/')


@pytest.mark.parametrize('jar', [CookieJar, lambda: None])
def test_the_cookies_of_a_domain_fill_64_kib_and_no_more(jar):
    cookies = Cookies(jar())
    for number in range(32):
        cookies.store(HERE, [f'n{number:02}=' + 'x' * 2045])  # with its name 2048
    assert len(cookies.jar) == 32
    cookies.store(HERE, ['last='])
    assert len(cookies.jar) == 32
    cookies.store(HERE, ['n00=2', 'last=' + 'x' * 2000])  # a cookie that is replaced leaves room
    assert {'n00', 'last'} <= {one.name for one in cookies.jar}
    cookies.store('http://b.test/', ['a=' + 'x' * 4000])  # another header
    assert cookies.header('http://b.test/').startswith('a=x')


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


def test_a_date_over_which_the_jar_fails(cookies):
    """It is not in the jar, nor is a warning of the standard library in the log."""
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        cookies.store(HERE, ['a=1; Expires=Thu, 01 Jxx 2970 00:00:00 GMT', 'b=2'])
    assert cookies.header(HERE) == 'b=2'


def test_an_age_that_is_no_number_is_ignored(cookies):
    cookies.store(HERE, ['a=1; Max-Age=never', 'b=2; Max-Age=1e3', 'c=3; Max-Age="0"'])
    assert sorted(cookies.header(HERE).split('; ')) == ['a=1', 'b=2']


def test_two_hosts_of_a_domain_have_cookies_of_their_own(cookies):
    """Each load balancer of a domain finds its own cookie again."""
    for host, value in (('api', '1'), ('ws', '2')):
        cookies.store(f'http://{host}.example.com/', [f's={value}; Path=/; Domain=example.com'])
    assert cookies.header('http://api.example.com/') == 's=1'
    assert cookies.header('http://ws.example.com/') == 's=2'


def test_a_cookie_that_the_caller_puts_into_the_jar(cookies):
    """It has the rules of the standard library."""
    cookies.store(HERE, ['a=1; Path=/'])
    cookies.jar.set_cookie(create_cookie('own', '2', domain='other.test', path='/'))
    assert cookies.header(HERE) == 'a=1'
    assert cookies.header('http://other.test/') == 'own=2'


def test_a_server_does_not_choose_the_host_of_its_cookie(cookies):
    """By an attribute of the name that this package uses."""
    cookies.store('http://evil.test/', ['a=1; Path=/; host=victim.test; Domain=evil.test'])
    assert cookies.header('http://victim.test/') == ''
    assert cookies.header('http://evil.test/') == 'a=1'
