"""What the page on TLS says of settings that contradict each other is so, on both transports."""

import re
import ssl
import sys
from pathlib import Path

import pytest
import requests
import trustme

import engineio_gevent
from engineio_gevent.exceptions import ConnectionError

PAGE = Path(__file__).resolve().parents[2] / 'docs' / 'how-to' / 'tls-and-proxies.md'
TABLE = PAGE.read_text().split('\n### Which setting wins\n')[1].split('\n#')[0]
ROWS = {
    cells[0]: cells[1:]
    for line in re.findall(r'^\| (.+) \|$', TABLE, re.MULTILINE)[1:]
    for cells in [line.split(' | ')]
}


def session(verify):
    made = requests.Session()
    made.verify = verify
    return {'http_session': made}


def sslopt(**options):
    return {'websocket_extra_options': {'sslopt': options}}


# By the first cell of a row: what makes the client's options, from two bundles. The environment
# has the first bundle where the row names REQUESTS_CA_BUNDLE, and the second in
# WEBSOCKET_CLIENT_CA_BUNDLE. The second is that of the session, or of sslopt where both have one.
SETTINGS = {
    '`ssl_verify=False`': lambda one, two: {'ssl_verify': False},
    '`ssl_verify=FILE`, `REQUESTS_CA_BUNDLE` set': lambda one, two: {'ssl_verify': two},
    "`ssl_verify=FILE` and `sslopt={'ca_certs': OTHER}`": lambda one, two: {
        'ssl_verify': one,
        **sslopt(ca_certs=two),
    },
    '`sslopt` without CA bundle, `WEBSOCKET_CLIENT_CA_BUNDLE=OTHER`': lambda one, two: sslopt(),
    '`ssl_verify=FILE` and `sslopt` without CA bundle, `WEBSOCKET_CLIENT_CA_BUNDLE=OTHER`': (
        lambda one, two: {'ssl_verify': one, **sslopt()}
    ),
    '`ssl_verify=False` and `sslopt` without `cert_reqs`': lambda one, two: {
        'ssl_verify': False,
        **sslopt(ca_certs=two),
    },
    "`ssl_verify=False` and `sslopt={'cert_reqs': ssl.CERT_REQUIRED}`": lambda one, two: {
        'ssl_verify': False,
        **sslopt(cert_reqs=ssl.CERT_REQUIRED, ca_certs=two),
    },
    "`sslopt={'cert_reqs': ssl.CERT_NONE}`": lambda one, two: sslopt(cert_reqs=ssl.CERT_NONE),
    '`session.verify = False`, no CA bundle in the environment': lambda one, two: session(False),
    '`session.verify = False`, `REQUESTS_CA_BUNDLE` set': lambda one, two: session(False),
    '`session.verify = FILE`, `REQUESTS_CA_BUNDLE` set': lambda one, two: session(two),
    "`session.verify = FILE` and `sslopt={'ca_certs': OTHER}`": lambda one, two: {
        **session(one),
        **sslopt(ca_certs=two),
    },
}


@pytest.fixture(scope='module')
def wrong(tmp_path_factory):
    """A bundle of authorities that have not signed the server's certificate."""
    path = tmp_path_factory.mktemp('wrong') / 'ca.pem'
    trustme.CA().cert_pem.write_to_path(path)
    return str(path)


@pytest.fixture
def url(python_server_with, certificates):
    if sys.implementation.name == 'pypy':
        pytest.skip("gevent's pywsgi over PyPy's ssl loses its connections")
    return python_server_with(tls=certificates.tls).url


def accepts(url, transport, options):
    """Whether a client with these options connects; if not, the certificate is why."""
    client = engineio_gevent.Client(**options)
    try:
        client.connect(url, transports=transport)
    except ConnectionError as exc:
        if 'certificate verify failed' not in str(exc):
            raise
        return False
    # Before polling begins: through a session, its GET would block this process.
    client.disconnect(abort=True)
    return True


def test_every_row_is_tested():
    assert list(ROWS) == list(SETTINGS)


# The server is another process: it answers while a session blocks this one.
@pytest.mark.filterwarnings('ignore:Unverified HTTPS request')
@pytest.mark.filterwarnings('ignore:.*blocks all greenlets:RuntimeWarning')
@pytest.mark.parametrize('transport', ['polling', 'websocket'])
@pytest.mark.parametrize('row', SETTINGS)
def test_row(row, transport, url, certificates, wrong, monkeypatch):
    for name in ('REQUESTS_CA_BUNDLE', 'CURL_CA_BUNDLE', 'WEBSOCKET_CLIENT_CA_BUNDLE'):
        monkeypatch.delenv(name, raising=False)
    said = ROWS[row][transport == 'websocket'].strip('*')
    accepted = {}
    for bundles in (certificates.ca, wrong), (wrong, certificates.ca):
        if 'REQUESTS_CA_BUNDLE` set' in row:
            monkeypatch.setenv('REQUESTS_CA_BUNDLE', bundles[0])
        if 'WEBSOCKET_CLIENT_CA_BUNDLE' in row:
            monkeypatch.setenv('WEBSOCKET_CLIENT_CA_BUNDLE', bundles[1])
        accepted[bundles] = accepts(url, transport, SETTINGS[row](*bundles))
    first_is_right, second_is_right = accepted.values()
    if said == 'not verified':
        assert first_is_right
        assert second_is_right
    elif said in ('verified against that bundle', "verified against the environment's bundle"):
        assert first_is_right
        assert not second_is_right
    elif said == 'verified against `OTHER`':
        assert second_is_right
        assert not first_is_right
    elif said == 'verified against `FILE`':
        # That of the client or of the session; the second where the environment has the first.
        assert first_is_right is not row.startswith('`ssl_verify=FILE`, `REQUESTS_CA_BUNDLE`')
        assert second_is_right is not first_is_right
    else:
        assert said == 'verified'
        assert not first_is_right
