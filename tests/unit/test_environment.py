"""Proxies, netrc and CA bundles: what requests makes of each environment, so does this package."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys

import pytest
import requests
from requests.utils import get_netrc_auth, select_proxy

from engineio_gevent.transports import environment

NAMES = (
    *(
        name
        for lower in ('http_proxy', 'https_proxy', 'all_proxy', 'no_proxy', 'ws_proxy', 'wss_proxy')
        for name in (lower, lower.upper())
    ),
    'REQUEST_METHOD',
    'REQUESTS_CA_BUNDLE',
    'CURL_CA_BUNDLE',
    'NETRC',
)
URLS = [
    'http://a.test',
    'http://a.test:8080/engine.io/?x=1',
    'https://a.test',
    'https://b.a.test:8443',
    'http://127.0.0.1:5000',
    'http://10.1.2.3',
    'http://[::1]:80',
    'http://localhost',
]


@pytest.fixture(autouse=True)
def set_environment(monkeypatch, tmp_path):
    """Only what a test says; and no netrc but that of the test."""
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv('HOME', str(tmp_path))

    def change(settings):
        for name, value in settings.items():
            monkeypatch.setenv(name, value)

    return change


# -- Proxies ---------------------------------------------------------------------------------------

PROXIES = [
    {},
    {'http_proxy': ''},
    {'http_proxy': 'http://p.test:1'},
    {'HTTP_PROXY': 'http://p.test:1'},
    {'HTTP_PROXY': 'http://p.test:1', 'http_proxy': 'http://q.test:2'},
    {'HTTP_PROXY': 'http://p.test:1', 'REQUEST_METHOD': 'GET'},  # a CGI script
    {'https_proxy': 'p.test:1'},
    {'HTTPS_PROXY': 'http://u:p@p.test:1'},
    {'all_proxy': 'socks5://p.test:1'},
    {'ALL_PROXY': 'socks5h://p.test:1', 'http_proxy': 'http://q.test:2'},
    {'ws_proxy': 'http://p.test:1'},
    {'WSS_PROXY': 'http://p.test:1', 'https_proxy': 'http://q.test:2'},
]
NO_PROXIES = [
    {},
    {'no_proxy': ''},
    {'no_proxy': '*'},
    {'no_proxy': 'a.test'},
    {'NO_PROXY': '.a.test'},
    {'NO_PROXY': 'b.test, a.test:8080'},
    {'no_proxy': 'test'},
    {'no_proxy': '10.0.0.0/8,127.0.0.1'},
    {'no_proxy': '::1,localhost'},
    {'no_proxy': 'A.TEST'},
]


@pytest.mark.parametrize('settings', PROXIES, ids=lambda one: ','.join(one) or 'none')
@pytest.mark.parametrize('excepted', NO_PROXIES, ids=lambda one: ','.join(one.values()) or 'none')
def test_proxies(set_environment, settings, excepted):
    set_environment({**settings, **excepted})
    with requests.Session() as session:
        for url in URLS:
            wanted = session.merge_environment_settings(url, {}, False, None, None)['proxies']
            found = environment.proxies_for(url)
            assert environment.select_proxy(url, found) == select_proxy(url, wanted)


@pytest.mark.parametrize('upper', [False, True])
@pytest.mark.parametrize(('scheme', 'of'), [('http', 'http all'), ('https', 'https all')], ids=str)
def test_each_name_is_looked_at(monkeypatch, scheme, of, upper):
    for prefix in ('http', 'https', 'ws', 'wss', 'all'):
        name = f'{prefix}_proxy'
        with monkeypatch.context() as patch:
            patch.setenv(name.upper() if upper else name, 'http://p.test:1')
            found = environment.proxies_for(f'{scheme}://a.test')
        assert found == ({prefix: 'http://p.test:1'} if prefix in of.split() else {})


def test_a_proxy_of_the_platform(monkeypatch):
    """macOS and Windows have settings elsewhere."""
    monkeypatch.setattr('urllib.request.getproxies', lambda: {'http': 'http://p.test:1'})
    monkeypatch.setattr('requests.utils.getproxies', lambda: {'http': 'http://p.test:1'})
    assert environment.proxies_for('http://a.test') == {'http': 'http://p.test:1'}


@pytest.mark.parametrize('proxies', [{}, {'HTTP_PROXY': 'http://p.test:1'}], ids=['none', 'one'])
def test_a_program_may_replace_the_environment(monkeypatch, proxies):
    monkeypatch.setenv('REQUESTS_CA_BUNDLE', '/of/the/process')
    monkeypatch.setattr(os, 'environ', {**proxies, 'CURL_CA_BUNDLE': '/a/bundle'})
    assert environment.ca_bundle() == '/a/bundle'
    found = environment.proxies_for('http://a.test')
    assert found == ({'http': 'http://p.test:1'} if proxies else {})


def test_no_proxy_for_a_scheme():
    assert environment.select_proxy('http://a.test', {}) is None
    assert environment.select_proxy('http://a.test', {'https': 'http://p.test:1'}) is None
    assert environment.select_proxy('http://a.test', {'http': ''}) is None


# -- CA bundles ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    'settings',
    [
        dict(zip(('REQUESTS_CA_BUNDLE', 'CURL_CA_BUNDLE'), pair, strict=True))
        for pair in itertools.product(('', '/a.pem', '/b'), repeat=2)
    ],
    ids=lambda one: ','.join(one.values()),
)
def test_ca_bundles(set_environment, settings):
    set_environment(settings)
    with requests.Session() as session:
        found = session.merge_environment_settings('https://a.test', {}, False, None, None)
    assert (environment.ca_bundle() or True) == found['verify']


def test_no_ca_bundle():
    assert environment.ca_bundle() is None
    assert environment.default_ca_bundle() == requests.certs.where()


# -- netrc -----------------------------------------------------------------------------------------

NETRCS = {
    'one': 'machine a.test login me password secret\n',
    'several': 'machine b.test login b password bb\nmachine a.test login me password secret\n',
    'default': 'default login anybody password word\n',
    'account': 'machine a.test login me account x password secret\n',
    'comment': '# a comment\nmachine a.test\n  login me\n  password secret\n',
    'without login': 'machine a.test password secret\n',
    'empty': '',
    'invalid': 'machine\n',
    'junk': 'hello world',
}


@pytest.mark.parametrize('text', NETRCS.values(), ids=list(NETRCS))
@pytest.mark.parametrize('place', ['NETRC', '~/.netrc', '~/_netrc', 'a folder'])
def test_netrc(set_environment, tmp_path, text, place):
    if place == 'NETRC':
        (tmp_path / 'named').write_text(text)
        set_environment({'NETRC': str(tmp_path / 'named')})
    elif place == 'a folder':
        set_environment({'NETRC': str(tmp_path)})
    else:
        path = tmp_path / place.removeprefix('~/')
        path.write_text(text)
        path.chmod(0o600)
    for url in URLS:
        assert environment.netrc_credentials(url) == get_netrc_auth(url)


def test_netrc_that_is_not_there(set_environment, tmp_path):
    assert environment.netrc_credentials('http://a.test') is None
    set_environment({'NETRC': str(tmp_path / 'nowhere')})
    (tmp_path / '.netrc').write_text(NETRCS['one'])
    assert environment.netrc_credentials('http://a.test') is None


@pytest.mark.skipif(
    not hasattr(os, 'setresuid') or os.geteuid() != 0, reason='only root can change its user'
)
def test_netrc_of_the_effective_user(tmp_path):
    """As files are opened, and not as os.access() asks by default."""
    tmp_path.chmod(0o700)
    (tmp_path / '.netrc').write_text('machine a.test login u password p')
    program = """
import os
import subprocess
import sys
from engineio_gevent.transports import environment
os.setresuid(65534, 0, 0)
print(environment.netrc_credentials('http://a.test'))
"""
    done = subprocess.run(
        [sys.executable, '-c', program],
        env={**os.environ, 'HOME': str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "('u', 'p')\n"


def test_netrc_that_comes_later(set_environment, tmp_path):
    """Whether there is one is looked at for each connection."""
    set_environment({'NETRC': str(tmp_path / 'named')})
    assert environment.netrc_credentials('http://a.test') is None
    (tmp_path / 'named').write_text(NETRCS['one'])
    assert environment.netrc_credentials('http://a.test') == ('me', 'secret')


# -- URLs ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    'url',
    [
        'http://a.test/engine.io/?a=1&b=[2]#x',
        "http://u:p@a.test:80/~x;y/-._!$'()*+,@?q=a:b",
        'http://a.test/a b?q=\u20ac',
        'http://a.test/%41%zz%20?x=100%',
        'http://a.test/"<>\\^`{|}',
        'http://a.test/\xfc',
    ],
)
def test_urls_are_quoted_as_by_requests(url):
    assert environment.quoted(url) == requests.utils.requote_uri(url)
