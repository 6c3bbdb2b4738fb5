"""Redirects: never from TLS to none, and nothing secret to another host. By every way."""

import base64
import gc
import gzip
from urllib.parse import urlsplit

import gevent.socket
import pytest
import requests

from engineio_gevent.exceptions import ConnectionError, EngineIOError
from engineio_gevent.transports.requests_session import SessionHTTP
from engineio_gevent.transports.route import Route
from support import (
    accept_websocket,
    frame,
    open_packet,
    read_request,
    read_to_end,
    respond,
)

SECRETS = ('s3cret', base64.b64encode(b'user:s3cret').decode(), 'c00kie', 'j4r')

WAYS = {
    'direct': ('polling', {}),
    'session': ('polling', {'http_session': requests.Session}),
    'websocket': ('websocket', {'websocket_extra_options': {'redirect_limit': 3}}),
    'session-websocket': (
        'websocket',
        {'websocket_extra_options': {'redirect_limit': 3}, 'http_session': requests.Session},
    ),
}
"""The transport, and options; a websocket follows redirects only where it is told to."""

every_way = pytest.mark.parametrize('way', WAYS)
every_status = pytest.mark.parametrize('status', [301, 302, 303, 307, 308])


@pytest.fixture(autouse=True, scope='module')
def resolver():
    """`localhost` goes through gevent's pool of threads, which is no leak."""
    gevent.socket.getaddrinfo('localhost', 80)


@pytest.fixture
def connect(witness):
    """`connect(url, way)`: a client that is connected, or the exception."""
    sessions = []

    def make_session():
        sessions.append(requests.Session())
        return sessions[-1]

    def go(url, way, headers=None, **options):
        transport, settings = WAYS[way]
        if 'http_session' in settings:
            settings = {**settings, 'http_session': make_session}
        one = witness(**settings, **options)
        try:
            one.client.connect(url, headers, transports=transport)
        except ConnectionError as error:
            return error
        return one

    yield go
    for session in sessions:
        session.close()


class Elsewhere:
    """A server that keeps what it is asked, and is a good Engine.IO server."""

    def __init__(self):
        self.requests = []

    def __call__(self, sock):
        while True:
            request = read_request(sock)
            self.requests.append(request)
            if 'sec-websocket-key' in request.headers:
                accept_websocket(sock, request)
                sock.sendall(frame(open_packet()))
                read_to_end(sock)
                return
            respond(sock, open_packet())

    def saw_nothing_secret(self):
        for request in self.requests:
            for secret in SECRETS:
                assert secret not in repr(request), request
        return True


class Redirecting:
    """Sends the next request there; and a cookie with it."""

    def __init__(self, location, status=302):
        self.location = location
        self.status = status
        self.requests = []

    def __call__(self, sock):
        while True:
            self.requests.append(read_request(sock))
            # with a scheme, as websocket-client wants it
            scheme = 'ws' if 'sec-websocket-key' in self.requests[-1].headers else 'http'
            location = self.location.replace('http', scheme, 1)
            respond(
                sock,
                b'',
                f'{self.status} Redirect',
                [('Location', location), ('Set-Cookie', 'jar=j4r; Path=/')],
            )


@every_way
@every_status
@pytest.mark.parametrize('host', ['localhost', '127.0.0.1'], ids=['host', 'port'])
def test_secrets_stay_with_their_host(native, connect, way, status, host):
    elsewhere = Elsewhere()
    there = native(elsewhere)
    here = Redirecting(f'http://{host}:{there.port}/engine.io/?a=b', status)
    home = native(here)
    result = connect(
        home.url, way, {'Authorization': 'Bearer s3cret', 'Cookie': 'a=c00kie', 'X-Own': 'told'}
    )
    assert here.requests[0].headers['authorization'] == 'Bearer s3cret'
    assert 'c00kie' in here.requests[0].headers['cookie']
    if host == '127.0.0.1':
        # cookies do not know ports (RFC 6265, section 8.5): those of the jar may go
        for request in elsewhere.requests:
            assert 'authorization' not in request.headers or way == 'session'
            assert 'c00kie' not in repr(request)
    else:
        assert elsewhere.saw_nothing_secret()
    if not isinstance(result, ConnectionError):
        assert elsewhere.requests
        assert all(request.headers['x-own'] == 'told' for request in elsewhere.requests)
        result.client.disconnect(abort=True)


@every_way
def test_the_user_of_the_url_stays_with_its_host(native, connect, way):
    elsewhere = Elsewhere()
    there = native(elsewhere)
    here = Redirecting(f'http://localhost:{there.port}/engine.io/?a=b')
    home = native(here)
    result = connect(home.url.replace('//', '//user:s3cret@'), way)
    assert here.requests[0].headers['authorization'] == f'Basic {SECRETS[1]}'
    assert elsewhere.saw_nothing_secret()
    if not isinstance(result, ConnectionError):
        result.client.disconnect(abort=True)


@every_way
@every_status
def test_never_from_tls_to_none(native, connect, certificates, monkeypatch, way, status):
    monkeypatch.setenv('REQUESTS_CA_BUNDLE', certificates.ca)
    elsewhere = Elsewhere()
    there = native(elsewhere)
    here = Redirecting(f'{there.url}/engine.io/?a=b', status)
    home = native(here, ssl_context=native_context(certificates))
    result = connect(home.url, way)
    assert isinstance(result, ConnectionError), 'it has connected'
    assert len(here.requests) == 1
    assert (there.accepted, elsewhere.requests) == (0, [])


def native_context(certificates):
    import ssl

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificates.server_cert, certificates.server_key)
    return context


@pytest.mark.parametrize('way', ['websocket', 'session-websocket'])
def test_a_websocket_follows_no_redirect_by_itself(native, witness, way):
    elsewhere = Elsewhere()
    there = native(elsewhere)
    home = native(Redirecting(f'{there.url}/engine.io/?a=b'))
    options = dict(WAYS[way][1], websocket_extra_options={})
    cause, _ = witness(**options).fails_to_connect(home, 'websocket')
    assert cause.status == 302
    assert there.accepted == 0


@pytest.mark.parametrize('status', [301, 302, 303])
def test_a_post_that_would_become_a_get_is_a_fault_and_no_success(native, status):
    """Its messages would be lost without a word; without a session it is one, too."""
    asked = []

    def answer(sock):
        while True:
            asked.append(read_request(sock))
            respond(
                sock,
                'ok',
                f'{status} Redirect' if len(asked) == 1 else '200 OK',
                [('Location', '/elsewhere')],
            )

    home = native(answer)
    with requests.Session() as session:
        http = SessionHTTP(Route(home.url, http_session=session), session, None)
        with pytest.raises(EngineIOError):
            http.post('/engine.io/', b'4a message', 5)
    assert [request.target for request in asked] == ['/engine.io/']


# -- Bombs, by way of a session --------------------------------------------------------------------

BOMB = gzip.compress(bytes(16 << 20), 1)


@pytest.mark.parametrize('status', ['200 OK', '302 Found', '400 Bad Request'])
@pytest.mark.parametrize('encoding', ['gzip', 'gzip, gzip', 'br'], ids=['once', 'twice', 'brotli'])
def test_a_bomb_by_way_of_a_session(native, witness, status, encoding):
    tracemalloc = pytest.importorskip('tracemalloc')  # PyPy has none
    if encoding == 'br':  # urllib3 decompresses it where this package is installed
        bomb = pytest.importorskip('brotli').compress(bytes(16 << 20), quality=1)
    else:
        bomb = BOMB if encoding == 'gzip' else gzip.compress(BOMB)

    def answer(sock):
        read_request(sock)
        respond(
            sock,
            bomb,
            status,
            [('Content-Encoding', encoding), ('Location', 'http://127.0.0.1:1/')],
        )

    home = native(answer)
    with requests.Session() as session:
        one = witness(http_session=session, max_message_size=100_000)
        tracemalloc.start()
        try:
            with pytest.raises(ConnectionError):
                one.connect(home)
            gc.collect()  # what requests leaves of an answer that was not read to its end
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
    assert peak < 8 << 20, f'{peak >> 20} MiB'


# -- Places that are none --------------------------------------------------------------------------


@pytest.mark.parametrize(
    'location',
    [
        'http://[::1',
        'http://[/',
        f'http://{"a" * 64}/',
        'http://a..b/',
        'http:///',
        '//',
        'http:',
        'http://127.0.0.1:0/',
        'http://127.0.0.1:99999/',
        'http://127.0.0.1:-1/',
        '\x00',
        'x' * 60000,
        'http://user:pass@[::1/',
        'gopher://127.0.0.1/',
        'http://' + 'a.' * 5000,
    ],
    ids=lambda text: ascii(text)[:24],
)
def test_a_redirect_to_no_place(native, connect, location):
    """One exception of connect(), whose cause is ours."""
    home = native(
        lambda sock: [
            (
                read_request(sock),
                sock.sendall(
                    b'HTTP/1.1 302 Found\r\nContent-Length: 0\r\nConnection: close\r\nLocation: '
                    + location.encode()
                    + b'\r\n\r\n'
                ),
            )
        ]
    )
    assert urlsplit(home.url).port
    error = connect(home.url, 'direct', request_timeout=2)
    assert isinstance(error, ConnectionError)
    assert isinstance(error.__cause__, EngineIOError), repr(error.__cause__)


# -- Cookies ---------------------------------------------------------------------------------------

HOSTS = [
    ('10.0.0.1', '.0.0.1', '11.0.0.1'),
    ('intra1', '.local', 'intra2'),
    ('intra1', None, 'intra1.local'),
    ('a.co.uk', '.co.uk', 'b.co.uk'),
    ('[::ffff:10.0.0.1]', '.0.0.1]', '[::ffff:11.0.0.1]'),
    ('evil.test', 'good.test', 'good.test'),
]


@pytest.mark.parametrize('way', ['direct', 'websocket'])
@pytest.mark.parametrize(('here', 'domain', 'there'), HOSTS)
def test_cookies_stay_with_their_host(native, connect, way, here, domain, there):
    """Whatever domain they name; and those of the host itself go back to it."""
    elsewhere = Elsewhere()
    target = native(elsewhere)
    asked = []
    attribute = f'; Domain={domain}' if domain else ''

    def answer(sock):
        while True:
            request = read_request(sock)
            asked.append(request)
            location = f'http://{there}:{target.port}/engine.io/?a=b'
            if len(asked) == 1:
                location = '/engine.io/?again'
            respond(
                sock,
                '',
                '307 Redirect',
                [('Location', location), ('Set-Cookie', f'jar=j4r; Path=/{attribute}')],
            )
            if way == 'websocket':
                return

    home = native(answer)

    def dial(host, port):
        return gevent.socket.create_connection(('127.0.0.1', port))

    one = connect(f'http://{here}:{home.port}', way, dial=dial)
    assert not isinstance(one, ConnectionError), one
    assert elsewhere.requests
    assert elsewhere.saw_nothing_secret()
    sent_back = [request.headers.get('cookie') for request in asked[1:]]
    kept = domain in (None, '.co.uk')
    assert sent_back == ['jar=j4r' if kept else None]
    one.client.disconnect(abort=True)
