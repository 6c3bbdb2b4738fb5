"""Polling through a `requests.Session`, which stays the caller's own."""

from __future__ import annotations

import gc
import gzip
import threading
import traceback
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import requests
from requests.adapters import HTTPAdapter

from engineio_gevent.exceptions import ConnectionClosed, HTTPError, ProtocolError
from engineio_gevent.net import unpatched
from engineio_gevent.net.errors import OutOfResources
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
    assert http.cookies is session.cookies
    assert server.asked[1][2]['Cookie'] == 'a=1'


@pytest.mark.parametrize(
    ('answer', 'kind'),
    [
        ((400, {}, b'{"message":"no"}'), HTTPError),
        ((500, {}, b'<html>'), HTTPError),
        (b'', ConnectionClosed),
        (b'SSH-2.0\r\n\r\n', ConnectionClosed),
        (b'HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nshort', ConnectionClosed),
        ((200, {'Content-Encoding': 'gzip'}, b'no gzip'), ConnectionClosed),
        ((302, {'Location': '/'}, b''), ConnectionClosed),
        ((200, {}, b'x' * 1001), ProtocolError),
        ((200, {'Content-Encoding': 'gzip'}, gzip.compress(bytes(1 << 20))), ProtocolError),
    ],
    ids=['400', '500', 'nothing', 'no-http', 'cut', 'no-gzip', 'loop', 'too-large', 'bomb'],
)
def test_what_goes_wrong(server, make_http, answer, kind):
    server.answers += [answer] * 40
    with pytest.raises(kind) as caught:
        make_http(max_size=1000).get('/', 5)
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
        with pytest.raises(ConnectionClosed) as caught:
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
        ((302, {'Location': '/'}, b''), ConnectionClosed, 'in resolve_redirects'),
        ((302, {'Location': 'ftp://127.0.0.1/'}, b''), ProtocolError, 'in _check_redirect'),
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
    http = make_http()
    http.get('/', 5)
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
