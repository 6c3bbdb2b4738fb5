"""Polling through a `requests.Session`, which stays the caller's own."""

from __future__ import annotations

import gc
import gzip
import importlib.util
import threading
import traceback
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace
from unittest import mock

import gevent
import pytest
import requests
import urllib3
from requests.adapters import HTTPAdapter

import support
from engineio_gevent.exceptions import ConnectionClosed, HTTPError, ProtocolError
from engineio_gevent.net import unpatched
from engineio_gevent.net.deadlines import Expired
from engineio_gevent.net.errors import OutOfResources
from engineio_gevent.transports.in_greenlets import InGreenlets
from engineio_gevent.transports.requests_session import SessionHTTP
from engineio_gevent.transports.route import Route
from support import eventually, free_port, no_descriptors


@pytest.fixture(autouse=True)
def warned_already(monkeypatch):
    """These tests mean to go through sockets that block."""
    monkeypatch.setattr(unpatched, '_warned', True)


class Handler(BaseHTTPRequestHandler):
    protocol_version = 'HTTP/1.1'

    def setup(self):
        super().setup()
        self.server.open.add(self)

    def finish(self):
        self.server.open.discard(self)
        super().finish()

    def do_GET(self):
        body = self.rfile.read(int(self.headers.get('Content-Length', 0)))
        self.server.asked.append((self.command, self.path, dict(self.headers), body))
        answer = self.server.answers.pop(0) if self.server.answers else (200, {}, b'ok')
        if isinstance(answer, bytes):
            self.wfile.write(answer)
            self.close_connection = True
            return
        status, headers, body = answer
        self.send_response(status)
        for name, value in {'Content-Length': len(body), **headers}.items():
            self.send_header(name, str(value))
        self.end_headers()
        self.wfile.write(body)

    do_POST = do_GET

    def log_message(self, *args):
        pass


@pytest.fixture
def server():
    """In native threads: a session of requests blocks this one."""
    one = ThreadingHTTPServer(('127.0.0.1', 0), Handler)
    one.daemon_threads = True
    one.answers, one.asked, one.open = [], [], set()
    one.url = f'http://127.0.0.1:{one.server_port}'
    thread = threading.Thread(target=one.serve_forever, args=(0.01,))
    thread.start()
    yield one
    one.shutdown()
    one.server_close()
    thread.join(5)


@pytest.fixture
def session():
    with requests.Session() as one:
        yield one


@pytest.fixture
def make_http(server, session):
    def make(headers=None, max_size=None):
        route = Route(server.url, headers, http_session=session)
        return SessionHTTP(route, session, max_size)

    return make


@pytest.mark.parametrize('several', [False, True])
def test_hooks_of_the_session(server, several):
    seen = []

    def hook(response, **options):
        seen.append(response.status_code)

    with requests.Session() as session:
        session.hooks['response'] = [hook, hook] if several else hook
        SessionHTTP(Route(server.url, http_session=session), session, None).get('/', 5)
    assert seen == [200] * (2 if several else 1)


def test_get_and_post(server, make_http):
    http = make_http({'X': 'x'})
    assert http.get('/engine.io/?a=1', 5) == b'ok'
    assert http.post('/engine.io/?a=1', b'\xe2\x82\xac', 5) == b'ok'
    (get, target, headers, _), (post, _, post_headers, body) = server.asked
    assert (get, post, target, body) == ('GET', 'POST', '/engine.io/?a=1', b'\xe2\x82\xac')
    assert headers['X'] == post_headers['X'] == 'x'
    assert post_headers['Content-Type'] == 'text/plain;charset=UTF-8'
    assert 'Content-Type' not in headers


def test_headers_of_the_session_for_another_message(server, session, make_http):
    """They are left out, and the session keeps them."""
    own = {
        'content-length': '3',
        b'Transfer-Encoding': b'chunked',
        'Content-Type': 'a/b',
        'Connection': 'X-Own, keep-alive',
        'X-Own': 'mine',
        'X-None': None,
    }
    session.headers = dict(own)
    http = make_http()
    http.get('/', 5)
    http.post('/', b'4hello', 5)
    (_, _, get, _), (_, _, post, body) = server.asked
    for headers in (get, post):
        assert headers['Connection'] == 'keep-alive'
        assert headers['X-Own'] == 'mine'
        assert not {'transfer-encoding', 'x-none'} & {name.lower() for name in headers}
    assert not {'content-length', 'content-type'} & {name.lower() for name in get}
    assert (post['Content-Length'], body) == ('6', b'4hello')
    assert post['Content-Type'] == 'text/plain;charset=UTF-8'
    assert session.headers == own


def test_a_header_of_the_session_that_cannot_be_sent(server, session):
    session.headers['X'] = 'a\0b'
    with pytest.raises(ValueError, match='invalid value for header X'):
        Route(server.url, http_session=session)


def test_what_is_the_session_s_goes_with_it(server, session, make_http):
    session.headers['X-Session'] = 's'
    session.auth = ('me', 'word')
    session.cookies.set('a', '1')
    http = make_http()
    http.get('/', 5)
    headers = server.asked[0][2]
    assert headers['X-Session'] == 's'
    assert headers['Authorization'].startswith('Basic ')
    assert headers['Cookie'] == 'a=1'


def test_cookies_are_the_session_s(server, session, make_http):
    server.answers.append((200, {'Set-Cookie': 'a=1; Path=/'}, b'ok'))
    http = make_http()
    http.get('/', 5)
    http.get('/', 5)
    assert session.cookies['a'] == '1'
    assert server.asked[1][2]['Cookie'] == 'a=1'


def test_the_caller_s_cookies_go_with_the_session_s(server, session, make_http):
    session.cookies.set('a', '1')
    make_http({'cookie': 'own=2'}).get('/', 5)
    assert server.asked[0][2]['Cookie'] == 'own=2; a=1'


@pytest.mark.parametrize(
    ('answer', 'kind'),
    [
        ((400, {}, b'{"message":"no"}'), HTTPError),
        ((500, {}, b'<html>'), HTTPError),
        ((403, {}, b'x' * 1001), HTTPError),
        ((300, {}, b'x' * 1001), HTTPError),
        ((299, {}, b'x' * 1001), ProtocolError),
        ((403, {'Content-Encoding': 'gzip'}, b'no gzip'), HTTPError),
        (b'', ConnectionClosed),
        (b'SSH-2.0\r\n\r\n', ConnectionClosed),
        (b'HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nshort', ConnectionClosed),
        ((200, {'Content-Encoding': 'gzip'}, b'no gzip'), ConnectionClosed),
        ((302, {'Location': '/'}, b''), HTTPError),
        ((200, {}, b'x' * 1001), ProtocolError),
        ((200, {'Content-Encoding': 'gzip'}, gzip.compress(bytes(1 << 20))), ProtocolError),
    ],
    ids=[
        '400',
        '500',
        '403-large',
        '300-large',
        '299-large',
        '403-no-gzip',
        'nothing',
        'no-http',
        'cut',
        'no-gzip',
        'loop',
        'too-large',
        'bomb',
    ],
)
def test_what_goes_wrong(server, make_http, answer, kind):
    server.answers += [answer] * 40
    with pytest.raises(kind) as caught:
        make_http(max_size=1000).get('/', 5)
    if kind is HTTPError:
        assert caught.value.status == answer[0]
    if kind is ConnectionClosed:
        assert isinstance(caught.value.__cause__, requests.RequestException)
        assert server.url.removeprefix('http://') in str(caught.value)


class Lenient(HTTPAdapter):
    """Lets a body end early, as urllib3 before 2.0 does."""

    def send(self, *args, **kwargs):
        response = super().send(*args, **kwargs)
        response.raw.enforce_content_length = False
        return response


@pytest.mark.parametrize(
    ('encoding', 'body'),
    [
        ('identity', b'4whole'),
        ('gzip', gzip.compress(b'4whole')),
    ],
    ids=['plain', 'gzip'],
)
def test_a_body_cut_short_is_no_message(server, session, make_http, encoding, body):
    """Even where the session's adapter accepts it."""
    cut = (
        f'HTTP/1.1 200 OK\r\nContent-Encoding: {encoding}\r\n'
        f'Content-Length: {len(body) + 3}\r\n\r\n'
    ).encode() + body
    session.mount('http://', Lenient())
    http = make_http()
    server.answers += [(200, {'Content-Encoding': encoding}, body), cut]
    assert http.get('/', 5) == b'4whole'
    with pytest.raises(ConnectionClosed) as caught:
        http.get('/', 5)
    assert str(caught.value) == (
        f'{server.url.removeprefix("http://")}: '
        f'IncompleteRead({len(body)} bytes read, 3 more expected)'
    )


def test_no_descriptor_for_a_connection(server, session, make_http):
    """Told apart from what the server is to blame for; the next attempt finds all in order."""
    server.answers.append((200, {'Connection': 'close'}, b'ok'))
    http = make_http()
    http.get('/', 5)  # what is imported late is imported now
    for proxies in ({}, {'http': server.url}):
        session.proxies = proxies
        with no_descriptors(), pytest.raises(OutOfResources) as caught:
            http.post('/', b'x', 5)
        assert 'Too many open files' in str(caught.value)
        assert caught.value.__cause__ is not None
    assert len(server.asked) == 1
    assert http.post('/', b'x', 5) == b'ok'


def test_nobody_listens(session):
    route = Route(f'http://127.0.0.1:{free_port()}', http_session=session)
    with pytest.raises(ConnectionClosed) as caught:
        SessionHTTP(route, session, None).get('/', 5)
    assert str(caught.value) == f'{route.netloc}: Connection refused'
    assert not isinstance(caught.value, OutOfResources)


@pytest.mark.parametrize(
    ('answer', 'told'),
    [
        (b'', 'Remote end closed connection without response'),
        (b'SSH-2.0\r\n\r\n', "BadStatusLine('SSH-2.0\\r\\n')"),
        (
            b'HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nshort',
            'IncompleteRead(5 bytes read, 5 more expected)',
        ),
        ((302, {'Location': '/'}, b''), 'Exceeded 30 redirects.'),
    ],
    ids=['nothing', 'no-http', 'cut', 'loop'],
)
def test_the_cause_is_told_without_what_is_around_it(server, make_http, answer, told):
    server.answers += [answer] * 40
    try:
        raise OSError('of the caller')
    except OSError:
        with pytest.raises((ConnectionClosed, HTTPError)) as caught:
            make_http().get('/', 5)
    assert str(caught.value) == f'{server.url.removeprefix("http://")}: {told}'


@pytest.mark.parametrize(
    ('answer', 'kind', 'where'),
    [
        (b'', ConnectionClosed, 'in urlopen'),
        (None, ConnectionClosed, 'in urlopen'),
        (b'HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nshort', ConnectionClosed, 'in generate'),
        (
            b'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n',
            ConnectionClosed,
            'in generate',
        ),
        ((400, {}, b'{"message":"Unknown sid"}'), HTTPError, 'in body_of_success'),
        ((200, {}, b'x' * 1001), ProtocolError, 'in _read'),
        ((302, {'Location': '/'}, b''), HTTPError, 'in resolve_redirects'),
        ((302, {'Location': 'ftp://127.0.0.1/'}, b''), HTTPError, 'in _check_redirect'),
    ],
    ids=['nothing', 'nobody-listens', 'cut', 'chunk', '400', 'too-large', 'loop', 'redirect'],
)
def test_a_kept_error_keeps_no_connection(server, make_http, session, answer, kind, where):
    """`Session.close()` leaves idle ones to the collector; `disconnect_error` is kept for long."""
    held = session.get(f'{server.url}/held', stream=True)
    if answer is None:
        server.shutdown()
        server.socket.close()
    server.answers += [answer] * 40
    with pytest.raises(kind) as caught:
        make_http(max_size=1000).get('/', 5)
    error = caught.value
    assert where in ''.join(traceback.format_exception(error)), 'too little is told'
    assert held.content == b'ok'  # its connection is idle now
    del held, caught
    session.close()

    def left():
        gc.collect()
        return server.open

    assert eventually(lambda: not left()), repr(error)


def test_a_kept_error_leaves_the_caller_s_frames_alone(session):
    def fail():
        local = 'of the caller'
        raise OSError(local)

    try:
        fail()
    except OSError as exc:
        route = Route(f'http://127.0.0.1:{free_port()}', http_session=session)
        with pytest.raises(ConnectionClosed) as caught:
            SessionHTTP(route, session, None).get('/', 5)
        *_, frame = (frame for frame, _ in traceback.walk_tb(exc.__traceback__))
        assert frame.f_locals == {'local': 'of the caller'}
        assert 'OSError: of the caller' in ''.join(traceback.format_exception(caught.value))


def test_the_caller_s_session_is_not_closed(server, session, make_http, monkeypatch):
    closed = []
    monkeypatch.setattr(session, 'close', lambda: closed.append(True))
    http = InGreenlets(make_http())
    http.get_and_wait('/', 5)
    http.close()
    http.abandon()
    assert closed == []


def test_one_warning_where_it_would_block(server, session, monkeypatch):
    monkeypatch.setattr(unpatched, '_warned', False)
    route = Route(server.url, http_session=session)
    with pytest.warns(RuntimeWarning, match='monkey'):
        SessionHTTP(route, session, None)
    SessionHTTP(route, session, None)


def test_no_warning_where_sockets_are_patched(session, monkeypatch):
    monkeypatch.setattr(unpatched, '_warned', False)
    monkeypatch.setattr(unpatched, 'is_module_patched', lambda name: name == 'socket')
    SessionHTTP(Route('http://a.test', http_session=session), session, None)


# -- What has the interface of a session -----------------------------------------------------------


class NoResponse:
    """As Locust's for a server that does not answer."""

    status_code = 0
    headers = None
    content = None
    error = None


class Fake:
    """Answers without a network; its `request()` takes what a test says."""

    def __init__(self, answer):
        self.answer = answer
        self.asked = []

    def request(self, method, url, headers=None, data=None):
        self.asked.append((method, url, headers, data))
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


def through(session, max_size=None, url='http://a.test', **options):
    return SessionHTTP(Route(url, http_session=session), session, max_size, **options)


def answer(status=200, content=b'ok', **more):
    return SimpleNamespace(status_code=status, headers={}, content=content, **more)


def test_what_another_object_is_asked_for():
    session = Fake(answer())
    http = through(session)
    assert http.get('/x', 5) == b'ok'
    assert http.post('/x', b'4a', 5) == b'ok'
    assert session.asked == [
        ('GET', 'http://a.test/x', {}, None),
        ('POST', 'http://a.test/x', {'Content-Type': 'text/plain;charset=UTF-8'}, b'4a'),
    ]


def test_no_response():
    """Status 0, without `raw`, without headers."""
    with pytest.raises(HTTPError) as caught:
        through(Fake(NoResponse())).get('/x', 5)
    assert str(caught.value) == (
        'Unexpected status code 0 in server response to GET http://a.test/x'
    )
    assert (caught.value.status, caught.value.headers) == (0, {})
    assert caught.value.__cause__ is None


def test_no_response_with_its_cause():
    response = NoResponse()
    response.error = requests.ConnectionError(OSError(111, 'Connection refused'))
    with pytest.raises(HTTPError) as caught:
        through(Fake(response)).get('/x', 5)
    assert str(caught.value) == (
        'Unexpected status code 0 in server response to GET http://a.test/x: Connection refused'
    )
    assert caught.value.__cause__ is response.error


def test_the_cause_of_no_response_keeps_no_pool():
    pool = urllib3.HTTPConnectionPool('a.test')
    response = NoResponse()
    response.error = requests.ConnectionError(urllib3.exceptions.MaxRetryError(pool, '/x'))
    with pytest.raises(HTTPError):
        through(Fake(response)).get('/x', 5)
    assert response.error.args[0].pool is None


def test_a_cause_that_leads_back_to_itself():
    response = NoResponse()
    response.error = requests.ConnectionError()
    response.error.__cause__ = OSError('refused')
    response.error.__cause__.__context__ = response.error
    with pytest.raises(HTTPError, match=r'/x: refused$'):
        through(Fake(response)).get('/x', 5)


def test_the_cause_of_another_status_is_none():
    with pytest.raises(HTTPError) as caught:
        through(Fake(answer(404, error=OSError('not that')))).get('/x', 5)
    assert caught.value.__cause__ is None
    assert str(caught.value).endswith('/x')


def test_a_response_of_requests_without_raw(session, monkeypatch):
    """Locust's session makes one where there was no response."""
    response = requests.Response()
    response.status_code = 0
    monkeypatch.setattr(session, 'request', lambda method, url, headers: response)
    with pytest.raises(HTTPError, match='status code 0'):
        through(session).get('/x', 5)


class Foreign(Exception):
    """As httpx's, whose base is Exception."""


def test_an_exception_of_another_library():
    error = Foreign('no route')
    with pytest.raises(ConnectionClosed) as caught:
        through(Fake(error)).get('/x', 5)
    assert str(caught.value) == 'a.test: no route'
    assert caught.value.__cause__ is error


def test_a_time_limit_of_this_package_goes_through():
    error = Expired()
    with pytest.raises(Expired) as caught:
        through(Fake(error)).get('/x', 5)
    assert caught.value is error


def test_an_exception_of_the_caller_s_goes_through_requests(session, monkeypatch):
    """As that of gevent.Timeout(2, Foreign)."""

    def fail(*args, **kwargs):
        raise Foreign

    monkeypatch.setattr(session, 'send', fail)
    with pytest.raises(Foreign):
        through(session).get('/x', 5)


def test_content_above_the_limit():
    with pytest.raises(ProtocolError) as caught:
        through(Fake(answer(content=b'x' * 11)), 10).get('/x', 5)
    assert (str(caught.value), caught.value.code) == ('response larger than 10 bytes', 1009)
    assert through(Fake(answer(content=b'x' * 10)), 10).get('/x', 5) == b'x' * 10


def test_a_session_without_timeouts_is_bounded_all_the_same():
    class Slow(Fake):
        def request(self, method, url, headers=None):
            gevent.sleep(60)

    with pytest.raises(ConnectionClosed) as caught:
        through(Slow(answer())).get('/x', 0.01)
    assert str(caught.value) == 'a.test: no answer within 0.01 seconds'


def test_a_session_with_timeouts_has_them():
    class Patient(Fake):
        def request(self, method, url, headers=None, timeout=None):
            self.asked.append(timeout)
            return self.answer

    session = Patient(answer())
    through(session).get('/x', 5)
    assert session.asked == [5]


@pytest.mark.parametrize(
    ('pair', 'total', 'handshake', 'aborting', 'waiting'),
    [
        (None, 8, 8, 0.25, 50),
        ((3, 5), 8, (3, 5), (3, 0.25), (3, 50)),
        ((3, None), None, (3, None), (3, 0.25), (3, 50)),
        ((None, 5), None, (None, 5), (None, 0.25), (None, 50)),
        ((3, 47), 50, (3, 47), (3, 0.25), (3, 50)),
    ],
)
def test_a_pair_of_timeouts(pair, total, handshake, aborting, waiting):
    class Patient(Fake):
        def request(self, method, url, headers=None, data=None, timeout=None):
            self.asked.append(timeout)
            return self.answer

    session = Patient(answer(404))
    http = through(session, pair=pair)
    for _ in range(2):  # the second attempt of a handshake is one, too
        with pytest.raises(HTTPError):
            http.get('/x', total)
        http = through(session, pair=pair)
    session.answer = answer()
    http.get('/x', total)
    http.post('/x', b'', total)
    http.post('/x', b'', 0.25)
    http.get('/x', 50)
    assert session.asked == [handshake] * 4 + [aborting, waiting]


# -- What a session's request() takes --------------------------------------------------------------


class Everything(requests.Session):
    def request(self, *args, **kwargs):
        self.given = kwargs
        return super().request(*args, **kwargs)


class Few(requests.Session):
    def request(self, method, url, data=None, headers=None, verify=None):
        self.given = {'data': data, 'verify': verify}
        return super().request(method, url, data=data, headers=headers, verify=verify)


class Renamed(requests.Session):
    def request(self, method, url, headers=None, **rest):
        self.given = rest
        return super().request(method, url, headers=headers, **rest)


@pytest.mark.parametrize(
    ('kind', 'given'),
    [
        (Everything, {'headers', 'data', 'timeout', 'verify', 'cert', 'stream', 'hooks'}),
        (Few, {'data', 'verify'}),
        (Renamed, {'data', 'timeout', 'verify', 'cert', 'stream', 'hooks'}),
    ],
)
def test_options_that_a_subclass_takes(server, kind, given):
    with kind() as session:
        http = through(session, url=server.url)
        assert http.post('/', b'4a', 5) == b'ok'
        assert session.given.keys() == given
        assert server.asked[0][3] == b'4a'


@pytest.mark.parametrize(
    ('verify', 'asked'), [(True, None), (False, False), ('/ca.pem', '/ca.pem')]
)
def test_whether_to_verify(server, certificates, verify, asked):
    """What the session says applies, unless the client says something."""
    with Everything() as session:
        session.trust_env = False
        route = Route(server.url, http_session=session, verify=verify, cert=certificates.client_pem)
        SessionHTTP(route, session, None).get('/', 5)
        assert (session.given['verify'], session.given['cert']) == (asked, certificates.client_pem)
        assert session.given['stream'] is True


def test_a_session_behind_a_mock():
    """One that takes anything, and is not requests', gets what every session takes."""
    session = mock.Mock()
    session.cookies = None
    session.request.return_value = answer()
    del session.merge_environment_settings, session.prepare_request, session.cookiejar
    assert through(session).get('/x', 5) == b'ok'
    session.request.assert_called_once_with('GET', 'http://a.test/x', headers={})


@pytest.fixture
def mocking():
    """A library that answers in place of the network."""
    if importlib.util.find_spec('requests_mock') is None:
        support.missing('requests-mock', 'pip install requests-mock')
    import requests_mock

    return requests_mock


def test_requests_mock(mocking):
    with requests.Session() as session, mocking.Mocker(session=session) as mocked:
        mocked.get('http://a.test/x', content=b'4hello')
        mocked.post('http://a.test/x', status_code=503, headers={'Retry-After': '5'}, json={'a': 1})
        mocked.get('http://a.test/gone', exc=requests.exceptions.ConnectTimeout)
        http = through(session)
        assert http.get('/x', 5) == b'4hello'
        with pytest.raises(HTTPError) as caught:
            http.post('/x', b'4a', 5)
        assert caught.value.body == {'a': 1}
        assert caught.value.headers['retry-after'] == '5'
        with pytest.raises(ConnectionClosed, match='ConnectTimeout'):
            http.get('/gone', 5)
        assert [one.body for one in mocked.request_history] == [None, b'4a', None]


# -- Redirects, by requests ------------------------------------------------------------------------


def test_redirects_are_followed(server, make_http):
    server.answers += [
        (302, {'Location': '/there'}, b'gone'),
        (200, {}, b'4here'),
        (307, {'Location': '/there'}, b''),
        (200, {}, b'ok'),
    ]
    http = make_http()
    assert http.get('/', 5) == b'4here'
    assert http.post('/', b'4a', 5) == b'ok'
    assert [(one[0], one[1]) for one in server.asked] == [
        ('GET', '/'),
        ('GET', '/there'),
        ('POST', '/'),
        ('POST', '/there'),
    ]


@pytest.mark.parametrize(
    ('method', 'status', 'location'),
    [('post', 302, '/there'), ('get', 303, '/there'), ('get', 302, 'ftp://a.test/')],
)
def test_redirects_that_are_not(server, make_http, method, status, location):
    server.answers.append((status, {'Location': location}, b''))
    http = make_http()
    with pytest.raises(HTTPError, match='redirected'):
        if method == 'get':
            http.get('/', 5)
        else:
            http.post('/', b'4a', 5)
    assert len(server.asked) == 1


def test_the_body_of_a_redirect_above_the_limit(server, make_http):
    server.answers.append((302, {'Location': '/there'}, b'x' * 1001))
    with pytest.raises(ProtocolError, match='larger than 1000'):
        make_http(max_size=1000).get('/', 5)
    assert len(server.asked) == 1


def test_a_proxy_is_named(server, session):
    session.proxies['http'] = server.url
    http = through(session)
    server.answers.append((502, {}, b''))
    by = f' via proxy {server.url.removeprefix("http://")}'
    with pytest.raises(HTTPError, match=f'http://a.test/x{by}$'):
        http.get('/x', 5)
    server.answers.append(b'')
    with pytest.raises(ConnectionClosed, match=f'^a.test{by}: Remote end closed'):
        http.get('/x', 5)


def test_ssl_that_was_patched_too_late(session, monkeypatch):
    def fail(*args, **kwargs):
        raise RecursionError('maximum recursion depth exceeded')

    monkeypatch.setattr(session, 'send', fail)
    with pytest.raises(RecursionError):
        through(session).get('/x', 5)
    monkeypatch.setattr(urllib3.util.ssl_, 'SSLContext', object())
    with pytest.raises(ConnectionClosed, match=r'a\.test: requests cannot use TLS') as caught:
        through(session).get('/x', 5)
    assert isinstance(caught.value.__cause__, RecursionError)


def test_the_cause_of_no_response_is_the_deepest():
    response = NoResponse()
    beneath = urllib3.exceptions.ProtocolError('broken', OSError(104, 'Connection reset by peer'))
    response.error = requests.ConnectionError(beneath)
    with pytest.raises(HTTPError, match=r'/x: Connection reset by peer$'):
        through(Fake(response)).get('/x', 5)


def test_a_response_that_is_too_large_is_not_read_on(server, make_http):
    """Its connection is closed, not kept for another request."""
    server.answers.append((200, {'Content-Length': 1 << 30}, b'x' * 200_000))
    with pytest.raises(ProtocolError):
        make_http(max_size=1000).get('/', 5)
    assert eventually(lambda: not server.open)


@pytest.mark.parametrize(
    ('location', 'followed'),
    [('https://b.test/y', True), ('/y', True), ('http://a.test/y', False)],
)
def test_redirects_from_tls(mocking, location, followed):
    with requests.Session() as session, mocking.Mocker(session=session) as mocked:
        mocked.get('https://a.test/x', status_code=302, headers={'Location': location})
        mocked.get(mocking.ANY, additional_matcher=lambda one: one.path == '/y', text='4y')
        http = through(session, url='https://a.test')
        if followed:
            assert http.get('/x', 5) == b'4y'
        else:
            with pytest.raises(HTTPError, match='which has no TLS'):
                http.get('/x', 5)
            assert len(mocked.request_history) == 1


class Trickle:
    """A body that comes byte by byte, for long."""

    closed = False

    def __init__(self):
        self.reads = 0

    def read(self, size):
        self.reads += 1
        gevent.sleep(0.02)
        return b'x' if self.reads < 200 else b''

    def close(self):
        self.closed = True


class TricklingAdapter(HTTPAdapter):
    def __init__(self, body):
        super().__init__()
        self._body = body

    def send(self, request, **options):
        raw = urllib3.HTTPResponse(self._body, status=200, preload_content=False)
        return self.build_response(request, raw)


@pytest.mark.parametrize('method', ['get', 'post'])
def test_a_body_that_trickles_has_one_time_limit(session, method):
    """Of its own, requests limits the wait for each piece, and this one would never end."""
    body = Trickle()
    session.mount('http://', TricklingAdapter(body))
    http = through(session)
    ask = http.get if method == 'get' else lambda target, timeout: http.post(target, b'x', timeout)
    with pytest.raises(ConnectionClosed) as caught:
        ask('/x', 0.2)
    assert str(caught.value) == 'a.test: no answer within 0.2 seconds'
    assert body.reads <= 11
    assert body.closed
