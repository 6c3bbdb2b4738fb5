"""Polling's own HTTP against real sockets: what is kept, what is opened anew, where it goes."""

from __future__ import annotations

import contextlib
import errno
import gzip
import os
import re

import gevent
import gevent.select
import pytest
from gevent.event import AsyncResult, Event

from engineio_gevent.exceptions import ConnectionClosed, EngineIOError, HTTPError, ProtocolError
from engineio_gevent.net import closing
from engineio_gevent.net.dial import Dialer
from engineio_gevent.net.errors import OutOfResources
from engineio_gevent.transports import direct, exchange, http_reader
from engineio_gevent.transports.direct import DirectHTTP
from engineio_gevent.transports.redirects import MAX_REDIRECTS
from engineio_gevent.transports.route import Route
from support import (
    eventually,
    has_ipv6,
    no_descriptors,
    no_leaks,
    outcome,
    read_request,
    read_to_end,
    reset,
    respond,
    response,
    settle,
)


@pytest.fixture(autouse=True)
def no_netrc(monkeypatch, tmp_path):
    monkeypatch.setenv('NETRC', str(tmp_path / 'netrc'))


class Waiting:
    """An HTTP whose requests are awaited: `get()` and `post()` return the body, or raise.

    :param here: whether GETs are those of a handshake, whose connections are opened in the greenlet
                 that waits.
    """

    def __init__(self, http, here, route=None):
        self.inner = http
        self._here = here
        self._route = route
        self.close, self.abandon = http.close, http.abandon

    @property
    def cookies(self):
        return self._route.cookies.cookies

    def get(self, target, timeout):
        if self._here:
            return self.inner.get_and_wait(target, timeout)
        return self._wait(self.inner.get, target, timeout)

    def post(self, target, body, timeout):
        return self._wait(self.inner.post, target, body, timeout)

    @staticmethod
    def _wait(ask, *arguments):
        answer = AsyncResult()
        ask(*arguments, answer.set)
        assert not answer.ready()  # it comes later
        found = answer.get()
        if isinstance(found, BaseException):
            raise found
        return found

    def stream(self, method):
        """The connection for GETs or POSTs."""
        return (self.inner._getter if method == 'GET' else self.inner._poster)._stream


class Server:
    """Answers each request with the next of these answers, and keeps what was asked.

    An answer is bytes, or a function of the socket after which the connection ends.
    """

    def __init__(self, *answers):
        self.answers = list(answers)
        #: (number of the connection, request)
        self.asked = []
        self.connections = 0

    def __call__(self, sock):
        number = self.connections
        self.connections += 1
        while True:
            self.asked.append((number, read_request(sock)))
            answer = self.answers.pop(0) if self.answers else response('ok')
            if not isinstance(answer, bytes):
                answer(sock)
                return
            sock.sendall(answer)

    @property
    def requests(self):
        return [request for _, request in self.asked]


@pytest.fixture(params=[True, False], ids=['handshake', 'hub'])
def here(request):
    """Whether GETs are those of a handshake."""
    return request.param


@pytest.fixture
def make_http(here):
    """`make_http(url, headers, max_size)`; closed with the test."""
    made = []

    def make(url, headers=None, max_size=None, **settings):
        route = Route(url, headers, **settings)
        made.append(Waiting(DirectHTTP(route, max_size), here, route))
        return made[-1]

    yield make
    for http in made:
        http.close()


@pytest.fixture
def start(hostile_server, make_http):
    """`start(*answers)`: a script, its server, and an HTTP for it."""

    def begin(*answers, headers=None, max_size=None):
        script = Server(*answers)
        server = hostile_server(script)
        return script, server, make_http(server.url, headers, max_size)

    return begin


# -- A request and its answer ----------------------------------------------------------------------


def test_a_get(start):
    script, server, http = start(headers={'X-Token': 'x', 'user-agent': 'mine'})
    assert http.get('/engine.io/?EIO=4&a=b', 5) == b'ok'
    (request,) = script.requests
    assert (request.method, request.target) == ('GET', '/engine.io/?EIO=4&a=b')
    assert request.headers.pop('accept-encoding') == 'gzip, deflate'
    assert request.headers == {
        'host': server.url.removeprefix('http://'),
        'x-token': 'x',
        'user-agent': 'mine',
        'accept': '*/*',
    }


def test_a_post(start):
    script, _, http = start()
    assert http.post('/x', b'4\xe2\x82\xac', 5) == b'ok'
    (request,) = script.requests
    assert (request.method, request.target, request.body) == ('POST', '/x', b'4\xe2\x82\xac')
    assert request.headers['content-type'] == 'text/plain;charset=UTF-8'
    assert request.headers['user-agent'].startswith('engineio-gevent/')


def test_a_get_after_a_post_has_nothing_of_it(start):
    script, _, http = start()
    http.post('/', b'x', 5)
    http.get('/', 5)
    assert 'content-type' not in script.requests[1].headers
    assert 'content-length' not in script.requests[1].headers


def test_each_header_goes_once_however_the_caller_writes_its_name(hostile_server, make_http):
    heads = []

    def handle(sock):
        head = b''
        while not head.endswith(b'\r\n\r\n'):
            head += sock.recv(1000)
        heads.append(head)
        respond(sock, 'ok')

    own = {'user-agent': 'mine', 'ACCEPT': 'text/plain', 'cookie': 'own=1', 'host': 'h.test'}
    make_http(hostile_server(handle).url, own).get('/', 5)
    lines = heads[0].decode().split('\r\n')[1:-2]
    assert sorted(line.lower() for line in lines) == [
        'accept-encoding: gzip, deflate',
        'accept: text/plain',
        'cookie: own=1',
        'host: h.test',
        'user-agent: mine',
    ]


@pytest.mark.parametrize('status', ['200 OK', '201 Created', '299 Odd'])
def test_success(start, status):
    _, _, http = start(response('hello', status))
    assert http.get('/', 5) == b'hello'


@pytest.mark.parametrize(
    ('status', 'body', 'decoded'),
    [
        (
            '400 Bad Request',
            '{"code":1,"message":"Session ID unknown"}',
            {'code': 1, 'message': 'Session ID unknown'},
        ),
        ('403 Forbidden', '[1, 2]', [1, 2]),
        ('404 Not Found', '<html>', None),
        ('500 Oops', '', None),
        ('502 Bad Gateway', b'\xff\xfe', None),
        ('503 Wait', '[' * 99999, None),
        ('304 Not Modified', '', None),
    ],
)
def test_refusals(start, status, body, decoded):
    script, _, http = start(response('' if status[:3] == '304' else body, status))
    with pytest.raises(HTTPError) as caught:
        http.get('/engine.io/?secret=1', 5)
    assert (caught.value.status, caught.value.body) == (int(status[:3]), decoded)
    assert status[:3] in str(caught.value)
    assert re.search(r'GET http://127\.0\.0\.1:\d+/engine\.io/', str(caught.value))
    assert 'secret' not in str(caught.value)
    if isinstance(decoded, dict):
        assert 'Session ID unknown' in str(caught.value)
    # It was a whole answer, so the connection goes on.
    assert http.get('/', 5) == b'ok'
    assert script.connections == 1


def test_compressed_answers(start):
    packed = gzip.compress(b'hello')
    _, _, http = start(response(packed, headers=[('Content-Encoding', 'gzip')]))
    assert http.get('/', 5) == b'hello'


@pytest.mark.skipif(not has_ipv6(), reason='no IPv6 here')
def test_ipv6(hostile_server, make_http):
    script = Server()
    server = hostile_server(script, host='::1')
    assert make_http(server.url).get('/', 5) == b'ok'
    assert script.requests[0].headers['host'] == f'[::1]:{server.port}'


def test_tls(hostile_server, certificates, make_http, monkeypatch):
    monkeypatch.setenv('REQUESTS_CA_BUNDLE', certificates.ca)
    script = Server()
    server = hostile_server(script, ssl_context=certificates.server_context())
    http = make_http(server.url)
    for _ in range(5):
        assert http.get('/', 5) == b'ok'
        assert http.post('/', b'x' * 100_000, 5) == b'ok'
    assert script.connections == 2  # what TLS says beside the answers spoils nothing


# -- Connections that are kept ---------------------------------------------------------------------


def test_one_connection_for_gets_and_one_for_posts(start):
    script, server, http = start()
    for _ in range(5):
        http.get('/get', 5)
        http.post('/post', b'x', 5)
    assert script.connections == 2
    assert {(number, request.method) for number, request in script.asked} == {
        (0, 'GET'),
        (1, 'POST'),
    }
    http.close()
    server.wait_open(0)


def test_a_get_waits_while_posts_go(start):
    release = Event()
    script, _, http = start(lambda sock: (release.wait(), respond(sock, 'late')))
    waiting = gevent.spawn(http.get, '/', 5)
    assert eventually(lambda: script.asked)
    for _ in range(3):
        assert http.post('/', b'x', 5) == b'ok'
    assert not waiting.ready()
    release.set()
    assert waiting.get(timeout=5) == b'late'


@pytest.mark.parametrize(
    'answer',
    [
        response('ok', headers=[('Connection', 'close')]),
        b'HTTP/1.1 200 OK\r\n\r\nok',
        b'HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok',
        response('ok') + b'junk',
    ],
    ids=['close', 'to-the-end', 'http-1.0', 'junk'],
)
def test_connections_that_are_not_kept(start, answer):
    def once(sock):
        sock.sendall(answer)
        if b'Length' in answer:
            read_to_end(sock)  # the client closes it

    script, server, http = start(once)
    assert http.get('/', 5) == b'ok'
    assert http.get('/', 5) == b'ok'
    assert script.connections == 2
    server.wait_open(1)


@pytest.mark.parametrize('end', [gevent.socket.socket.close, reset], ids=['close', 'reset'])
@pytest.mark.parametrize('method', ['GET', 'POST'])
def test_a_kept_connection_that_the_server_has_closed(start, end, method):
    def answer(sock):
        respond(sock, 'one')
        end(sock)

    script, _, http = start(answer)
    ask = http.get if method == 'GET' else lambda target, timeout: http.post(target, b'x', timeout)
    assert ask('/', 5) == b'one'
    kept = http.stream(method)
    assert eventually(lambda: kept.closed)  # the end has arrived
    assert ask('/', 5) == b'ok'
    assert len(script.asked) == 2


def test_a_get_that_the_server_has_read_is_not_repeated_either(start):
    """The server may have answered it with messages, into the connection that ended."""
    script, server, http = start(response('one'), lambda sock: None, response('two'))
    assert http.get('/', 5) == b'one'
    with pytest.raises(ConnectionClosed):
        http.get('/', 5)
    assert len(script.asked) == 2
    server.wait_open(0)


def test_a_new_connection_is_not_tried_twice(start):
    script, _, http = start(lambda sock: None)
    with pytest.raises(ConnectionClosed):
        http.get('/', 5)
    assert len(script.asked) == 1


@pytest.mark.parametrize('method', ['GET', 'POST'])
@pytest.mark.parametrize('used_before', [False, True])
def test_no_descriptor_for_a_connection(start, method, used_before):
    """Told apart from what the server is to blame for; the next attempt finds all in order."""
    kept = response('ok', headers=[('Connection', 'close')])
    script, server, http = start(*[kept] * used_before)

    def request():
        return http.get('/', 5) if method == 'GET' else http.post('/', b'x', 5)

    if used_before:
        request()
        server.wait_open(0)
    with no_descriptors(), pytest.raises(OutOfResources) as caught:
        request()
    assert str(caught.value) == f'{server.url.removeprefix("http://")}: Too many open files'
    assert caught.value.__cause__.errno == errno.EMFILE
    assert len(script.asked) == used_before
    assert request() == b'ok'


def test_a_connection_that_fails_later_does_not_lack_a_descriptor(start):
    """It may have been sent in part: not even an error of these numbers is one of opening."""
    _, server, http = start(lambda sock: gevent.sleep(30))
    getting = gevent.spawn(outcome, http.get, '/', 30)
    server.wait_open(1)
    http.stream('GET').fail(OSError(errno.ENOBUFS, 'no buffers'))
    error = getting.get(timeout=5)
    assert type(error) is ConnectionClosed


def break_off(sock):
    """Reset the connection while the client sends its request."""
    assert sock.recv(5) == b'POST '
    reset(sock)


#: More than the system's buffers take.
LARGE_BODY = bytes(32 << 20)


def test_a_post_that_breaks_off_on_a_new_connection_is_not_repeated(hostile_server, make_http):
    server = hostile_server(break_off)
    with pytest.raises(ConnectionClosed):
        make_http(server.url).post('/', LARGE_BODY, 5)
    settle()
    assert server.accepted == 1


def test_a_post_that_breaks_off_on_a_kept_connection_is_repeated_once(hostile_server, make_http):
    """On a new one; it was not sent whole, so that the server cannot have taken it."""

    def handle(sock):
        if server.accepted == 1:
            read_request(sock)
            respond(sock, 'ok')
        break_off(sock)

    server = hostile_server(handle)
    http = make_http(server.url)
    http.post('/', b'x', 5)
    with pytest.raises(ConnectionClosed):
        http.post('/', LARGE_BODY, 5)
    settle()
    assert server.accepted == 2


@pytest.mark.parametrize('end', [gevent.socket.socket.close, reset], ids=['close', 'reset'])
@pytest.mark.parametrize(
    'begun',
    [b'', b'H', b'HTTP/1.1 200 OK\r\n', response('ok')[:-1]],
    ids=['nothing', 'a-byte', 'head', 'all-but-a-byte'],
)
def test_a_post_that_the_server_has_read_is_not_repeated(start, begun, end):
    """Its messages would arrive twice."""

    def answer(sock):
        sock.sendall(begun)
        end(sock)

    script, server, http = start(response('ok'), answer)
    http.post('/', b'one', 5)
    with pytest.raises(ConnectionClosed):
        http.post('/', b'two', 5)
    assert [request.body for request in script.requests] == [b'one', b'two']
    server.wait_open(0)


@pytest.mark.parametrize('end', [gevent.socket.socket.close, reset], ids=['close', 'reset'])
@pytest.mark.parametrize(
    'begun',
    [b'H', b'HTTP/1.1 200 OK\r\n', response('ok')[:-1]],
    ids=['a-byte', 'head', 'all-but-a-byte'],
)
def test_a_get_whose_answer_has_begun_is_not_repeated(start, begun, end):
    """What was in the answer would be lost."""

    def answer(sock):
        sock.sendall(begun)
        end(sock)

    script, server, http = start(response('ok'), answer)
    http.get('/', 5)
    with pytest.raises(ConnectionClosed):
        http.get('/', 5)
    assert len(script.asked) == 2
    server.wait_open(0)


def test_a_server_that_says_how_long_it_keeps(start, monkeypatch):
    now = [1000.0]
    for module in direct, exchange, http_reader:
        monkeypatch.setattr(module, 'monotonic', lambda: now[0])
    script, _, http = start(*[response('ok', headers=[('Keep-Alive', 'timeout=5, max=100')])] * 4)
    http.get('/', 5)
    now[0] += 3
    http.get('/', 5)
    assert script.connections == 1
    now[0] += 3.99
    http.get('/', 5)
    assert script.connections == 1
    now[0] += 4  # a second before the end, since the request takes time
    http.get('/', 5)
    assert script.connections == 2


# -- Time and size ---------------------------------------------------------------------------------


def drip(sock):
    for byte in response('o' * 1000):
        sock.sendall(bytes([byte]))
        gevent.sleep(0.02)


@pytest.mark.parametrize('answer', [read_to_end, drip], ids=['silent', 'trickling'])
@pytest.mark.parametrize('kept', [False, True], ids=['new', 'kept'])
def test_the_time_is_for_all_of_the_answer(start, answer, kept):
    script, server, http = start(*[response('ok')] * kept, answer)
    if kept:
        http.get('/', 5)
    with gevent.Timeout(5), pytest.raises(ConnectionClosed):
        http.get('/', 0.2)
    assert len(script.asked) == 1 + kept
    server.wait_open(0)


def test_the_time_is_for_a_body_that_nobody_reads(hostile_server, make_http):
    over = Event()
    server = hostile_server(lambda sock: over.wait())
    with gevent.Timeout(5), pytest.raises(ConnectionClosed):
        make_http(server.url).post('/', LARGE_BODY, 0.2)
    over.set()
    assert server.accepted == 1


def test_the_time_is_for_a_tls_handshake(hostile_server, make_http):
    server = hostile_server(read_to_end)  # it says nothing
    http = make_http(server.url.replace('http:', 'https:'))
    with no_leaks(), gevent.Timeout(5), pytest.raises(ConnectionClosed):
        http.get('/', 0.2)
    server.wait_open(0)


def test_no_bound(start):
    release = Event()
    script, _, http = start(lambda sock: (release.wait(), respond(sock, 'late')))
    waiting = gevent.spawn(http.get, '/', None)
    assert eventually(lambda: script.asked)
    settle()
    assert not waiting.ready()
    release.set()
    assert waiting.get(timeout=5) == b'late'


@pytest.mark.parametrize(
    'answer',
    [
        response('x' * 1001),
        response(
            gzip.compress(bytes(1 << 18)),  # a few hundred bytes
            headers=[('Content-Encoding', 'gzip')],
        ),
    ],
    ids=['plain', 'bomb'],
)
def test_a_body_over_the_limit(start, answer):
    def ending(sock):
        sock.sendall(answer)
        read_to_end(sock)

    _, server, http = start(ending, max_size=1000)
    with pytest.raises(ProtocolError) as caught:
        http.get('/', 5)
    assert caught.value.code == 1009
    if b'gzip' not in answer:
        server.wait_open(0)


@pytest.mark.parametrize(
    'answer',
    [
        b'SSH-2.0-OpenSSH\r\n\r\n',
        b'HTTP/1.1 200 OK\r\n' + b'X: y\r\n' * 150 + b'\r\n',
        response(b'x', headers=[('Content-Encoding', 'gzip')]),
    ],
    ids=['status-line', 'headers', 'gzip'],
)
def test_what_is_no_http(start, answer):
    _, _, http = start(answer)
    with pytest.raises(ProtocolError):
        http.get('/', 5)
    assert http.get('/', 5) == b'ok'


# -- Redirects -------------------------------------------------------------------------------------


def redirect(location, status='302 Found', headers=()):
    return response('', status, [('Location', location), *headers])


@pytest.mark.parametrize('status', ['301 Moved', '302 Found', '307 Temporary', '308 Permanent'])
@pytest.mark.parametrize(
    ('location', 'target'),
    [
        ('/elsewhere', '/elsewhere'),
        ('sub?x=1', '/engine.io/sub?x=1'),
        ('?b=2', '/engine.io/?b=2'),
        ('/a b\xe9', '/a%20b%C3%A9'),
    ],
)
def test_a_redirect_on_the_same_host(start, status, location, target):
    script, _, http = start(
        redirect(location, status), headers={'Authorization': 'secret', 'X': 'x', 'Cookie': 'own=1'}
    )
    assert http.get('/engine.io/?a=1', 5) == b'ok'
    assert script.connections == 1
    asked = script.requests[1]
    assert asked.target.upper() == target.upper()
    assert (asked.headers['authorization'], asked.headers['x']) == ('secret', 'x')


@pytest.mark.parametrize('cookies', [[], [('Set-Cookie', 'a=1; Path=/')]], ids=['own', 'jar'])
def test_secrets_stay_with_their_host(hostile_server, start, cookies):
    other = Server(response('there'))
    there = hostile_server(other)
    script, server, http = start(
        redirect(f'{there.url}/x', headers=cookies),
        headers={'Authorization': 'secret', 'Cookie': 'own=1', 'X': 'x'},
    )
    assert http.get('/', 5) == b'there'
    assert script.requests[0].headers['authorization'] == 'secret'
    (asked,) = other.requests
    assert 'authorization' not in asked.headers
    assert 'own' not in asked.headers.get('cookie', '')
    assert asked.headers['x'] == 'x'
    assert asked.headers['host'] == there.url.removeprefix('http://')
    server.wait_open(0)
    # The next request begins at home again.
    assert http.get('/', 5) == b'ok'
    assert len(other.requests) == 1
    assert script.requests[1].headers['authorization'] == 'secret'
    there.wait_open(0)


def test_a_post_is_posted_again(hostile_server, start):
    other = Server()
    there = hostile_server(other)
    script, _, http = start(redirect(f'{there.url}/x', '307 Temporary'))
    assert http.post('/', b'packets', 5) == b'ok'
    assert [request.body for request in script.requests + other.requests] == [b'packets'] * 2


@pytest.mark.parametrize('status', ['301 Moved', '302 Found', '303 See Other'])
def test_a_post_that_would_become_a_get_is_refused(start, status):
    script, _, http = start(redirect('/elsewhere', status))
    with pytest.raises(HTTPError, match='redirected'):
        http.post('/', b'packets', 5)
    assert len(script.asked) == 1


def test_a_loop(start):
    script, _, http = start(*[redirect('/')] * 20)
    with pytest.raises(HTTPError, match='redirects'):
        http.get('/', 5)
    assert len(script.asked) == MAX_REDIRECTS + 1


@pytest.mark.parametrize(
    'location',
    [
        'ftp://a.test/',
        'file:///etc/passwd',
        'javascript:x',
        'http://a.test:99999/',
        'http://:80/',
        'http://a.test:x/',
        'http://[/',
        'data:,x',
    ],
)
def test_a_redirect_to_nowhere(start, location):
    _, server, http = start(redirect(location))
    with pytest.raises((EngineIOError, ValueError)):
        http.get('/', 5)
    assert http.get('/', 5) == b'ok'
    http.close()
    server.wait_open(0)


def test_a_status_of_a_redirect_without_a_place(start):
    _, _, http = start(response('', '302 Found'))
    with pytest.raises(HTTPError) as caught:
        http.get('/', 5)
    assert caught.value.status == 302


def test_from_https_to_http_is_refused(hostile_server, certificates, make_http):
    plain = Server()
    there = hostile_server(plain)
    script = Server(redirect(there.url))
    server = hostile_server(script, ssl_context=certificates.server_context())
    http = make_http(server.url, verify=False)
    with pytest.raises(HTTPError, match='from https'):
        http.get('/', 5)
    assert plain.asked == []


def test_from_http_to_https(hostile_server, certificates, make_http):
    secure = Server(response('secure'))
    there = hostile_server(secure, ssl_context=certificates.server_context())
    server = hostile_server(Server(redirect(there.url)))
    http = make_http(server.url, {'Authorization': 'secret'}, verify=False)
    assert http.get('/', 5) == b'secure'
    assert 'authorization' not in secure.requests[0].headers


# -- Cookies ---------------------------------------------------------------------------------------


def test_cookies_come_back(start):
    script, _, http = start(
        response(
            'ok',
            headers=[
                ('Set-Cookie', 'a=1; Path=/'),
                ('Set-Cookie', 'b=2; Path=/elsewhere'),
                ('Set-Cookie', 'c=3; Path=/; Secure'),
            ],
        ),
        headers={'Cookie': 'own=0'},
    )
    assert list(http.cookies) == []
    http.get('/engine.io/', 5)
    assert len(http.cookies) == 3
    http.get('/engine.io/', 5)
    http.post('/engine.io/', b'x', 5)
    assert [request.headers['cookie'] for request in script.requests] == [
        'own=0',
        'own=0; a=1',
        'own=0; a=1',
    ]


def test_cookies_of_a_redirect_and_of_a_refusal(start):
    script, _, http = start(
        redirect('/x', headers=[('Set-Cookie', 'a=1; Path=/')]),
        response('', '401 Unauthorized', [('Set-Cookie', 'b=2; Path=/')]),
    )
    with pytest.raises(HTTPError):
        http.get('/', 5)
    http.get('/', 5)
    assert [request.headers.get('cookie') for request in script.requests] == [
        None,
        'a=1',
        'a=1; b=2',
    ]


# -- The end ---------------------------------------------------------------------------------------


def test_closing_is_for_good(start):
    script, server, http = start()
    http.get('/', 5)
    http.post('/', b'x', 5)
    http.close()
    http.close()
    server.wait_open(0)
    with pytest.raises(ConnectionClosed):
        http.get('/', 5)
    assert len(script.asked) == 2


def test_only_a_gentle_close_waits_for_the_server(start, monkeypatch):
    monkeypatch.setattr(closing, 'PEER_TIMEOUT', 3600)
    _, server, http = start()
    http.get('/', 5)
    http.close()
    server.wait_open(0)


def test_a_redirect_to_another_server_closes_the_first_connection_at_once(
    hostile_server, start, monkeypatch
):
    monkeypatch.setattr(closing, 'PEER_TIMEOUT', 3600)
    other = hostile_server(Server())
    _, server, http = start(redirect(f'{other.url}/'))
    http.get('/', 5)
    server.wait_open(0)


@pytest.mark.parametrize('gently', [False, True])
def test_closing_while_a_request_is_under_way(start, gently):
    """Its connection is closed at once, and nobody hears of it but who waits for the handshake."""
    script, server, http = start(read_to_end)
    waiting = gevent.spawn(outcome, http.get, '/', 60)
    assert eventually(lambda: script.asked)
    http.close(gently)
    server.wait_open(0)
    settle()
    if http._here:
        assert isinstance(waiting.get(timeout=5), ConnectionClosed)
    else:
        assert not waiting.ready()
    waiting.kill()


def test_closing_while_a_connection_is_opened(start):
    """By a greenlet, which is told to the caller; the connection ends with it."""
    opening, release = Event(), Event()

    def dial(host, port):
        opening.set()
        release.wait()

    _, server, http = start()
    http.inner._route.dialer = Dialer(dial)
    waiting = gevent.spawn(outcome, http.get, '/', 60)
    assert opening.wait(5)
    ending = http.close()
    assert len(ending) == (not http._here)
    gevent.joinall(ending, timeout=5, raise_error=True)
    assert all(greenlet.dead for greenlet in ending)
    waiting.kill()
    assert server.accepted == 0


def test_a_greenlet_that_is_killed_while_it_waits_for_the_handshake(start):
    script, server, http = start(read_to_end)
    waiting = gevent.spawn(http.inner.get_and_wait, '/', 60)
    assert eventually(lambda: script.asked)
    waiting.kill()
    server.wait_open(0)


# -- Who closes first ------------------------------------------------------------------------------


@pytest.fixture
def start_before_an_upgrade(hostile_server):
    """As `start`, for an HTTP whose first GET is most likely its only one."""
    made = []

    def begin(*answers, headers=None):
        script = Server(*answers)
        server = hostile_server(script)
        http = DirectHTTP(Route(server.url, headers), None, upgrade_may_follow=True)
        made.append(Waiting(http, True))
        return script, server, made[-1]

    yield begin
    for http in made:
        http.close()


def closed_by_the_client(sock):
    """Whether the server sees an end of the connection, which it has not closed."""
    settle()
    readable, _, _ = gevent.select.select([sock], [], [], 0)
    return bool(readable)


class LastAnswer:
    """Answers with `Connection: close`, and closes when it is told to."""

    def __init__(self):
        self.close, self.answered = Event(), Event()
        self.closed_by_the_client = None

    def __call__(self, sock):
        respond(sock, 'last', headers=[('Connection', 'close')])
        self.answered.set()
        self.close.wait()
        self.closed_by_the_client = closed_by_the_client(sock)


def test_the_first_get_before_an_upgrade_asks_the_server_to_close(start_before_an_upgrade):
    script, server, http = start_before_an_upgrade(LastAnswer())
    assert http.get('/', 5) == b'last'
    http.get('/', 5)
    http.post('/', b'x', 5)
    assert [request.headers.get('connection') for request in script.requests] == [
        'close',
        None,
        None,
    ]
    assert server.accepted == 3


def test_no_first_get_asks_it_to_close_without_an_upgrade(start):
    script, _, http = start()
    http.get('/', 5)
    assert 'connection' not in script.requests[0].headers


@pytest.mark.parametrize(('value', 'connections'), [('keep-alive', 1), ('Close', 2)])
def test_the_caller_s_own_header_goes_first(start_before_an_upgrade, value, connections):
    script, server, http = start_before_an_upgrade(headers={'connection': value})
    http.get('/', 5)
    http.get('/', 5)
    assert [request.headers['connection'] for request in script.requests] == [value] * 2
    assert server.accepted == connections


@pytest.mark.parametrize('name', ['Connection', 'connection'])
def test_nothing_follows_a_request_to_close(start, start_before_an_upgrade, name):
    """gevent.pywsgi closes without a word about it in its answer, some time after it."""
    _, server, http = start_before_an_upgrade()
    http.get('/', 5)
    http.get('/', 5)
    assert server.accepted == 2
    _, server, http = start(headers={name: 'Close'})
    http.get('/', 5)
    http.get('/', 5)
    assert server.accepted == 2


@pytest.mark.parametrize('before_an_upgrade', [False, True])
@pytest.mark.parametrize('method', ['GET', 'POST'])
def test_the_server_closes_first(start, start_before_an_upgrade, before_an_upgrade, method):
    """Also where the client has left already. Afterwards nothing of the connection is there."""
    answer = LastAnswer()
    with no_leaks():
        begin = start_before_an_upgrade if before_an_upgrade else start
        _, server, http = begin(answer)
        if method == 'GET':
            http.get('/', 5)
        else:
            http.post('/', b'x', 5)
        http.close()
        answer.close.set()
        server.wait_open(0)
        assert answer.closed_by_the_client is False
        server.stop()


def test_a_server_at_fault_is_not_waited_for(start):
    """Its connection is closed, not reset after a while."""
    ends = []

    def answer(sock):
        sock.sendall(b'HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: x\r\n\r\n')
        ends.append(sock.recv(1))

    _, server, http = start(answer)
    with pytest.raises(ProtocolError):
        http.get('/', 5)
    server.wait_open(0)
    assert ends == [b'']


def test_connections_that_an_upgrade_leaves_are_the_server_s_to_close(start):
    kept = []
    leave = Event()

    def answer(sock):
        respond(sock, 'ok')
        leave.wait()
        kept.append(closed_by_the_client(sock))

    _, server, http = start(answer, answer)
    http.get('/', 5)
    http.post('/', b'x', 5)
    http.close(gently=True)
    leave.set()
    server.wait_open(0)
    assert kept == [False, False]


def test_abandoning_sends_nothing(start):
    script, server, http = start()
    http.get('/', 5)
    http.post('/', b'x', 5)
    http.abandon()
    http.abandon()
    server.wait_open(0)  # there is no parent here who would hold them open
    assert len(script.asked) == 2
    for ask in (lambda: http.get('/', 5), lambda: http.post('/', b'x', 5)):
        with pytest.raises(ConnectionClosed):
            ask()
    assert server.accepted == 2


# -- By way of a proxy -----------------------------------------------------------------------------


@pytest.fixture
def start_proxy(hostile_server, make_http, monkeypatch):
    """`start_proxy(*answers)`: a script, its server, and an HTTP whose proxy that is."""
    for name in list(os.environ):
        if name.lower().endswith('_proxy'):
            monkeypatch.delenv(name)

    def begin(*answers, url='http://server.test', **settings):
        script = Server(*answers)
        server = hostile_server(script)
        monkeypatch.setenv('ALL_PROXY', f'http://us%40er:secret@127.0.0.1:{server.port}')
        return script, server, make_http(url, **settings)

    return begin


def kept(body='ok'):
    return response(body, headers=[('Connection', 'Keep-Alive')])


def test_a_proxy_gets_the_whole_url(start_proxy):
    script, _, http = start_proxy(kept(), kept(), url='http://server.test:81')
    assert http.get('/x?y', 5) == b'ok'
    http.post('/z', b'4', 5)
    get, post = script.requests
    assert (get.target, post.target) == ('http://server.test:81/x?y', 'http://server.test:81/z')
    assert get.headers['host'] == post.headers['host'] == 'server.test:81'
    assert get.headers['proxy-authorization'] == post.headers['proxy-authorization']
    assert get.headers['proxy-authorization'] == 'Basic dXNAZXI6c2VjcmV0'


def test_a_proxy_that_keeps_its_connection(start_proxy):
    script, _, http = start_proxy(kept(), kept())
    http.get('/', 5)
    http.get('/', 5)
    assert script.connections == 1


def test_a_proxy_that_does_not_say_that_it_keeps_its_connection(start_proxy):
    """tinyproxy closes it, perhaps just when the next request is on its way."""
    script, _, http = start_proxy(response('ok'), response('ok'))
    http.get('/', 5)
    http.get('/', 5)
    assert script.connections == 2


def test_a_request_through_a_tunnel_has_nothing_for_the_proxy(
    start_proxy, hostile_server, certificates, monkeypatch
):
    """And the server alone decides what is kept."""
    monkeypatch.setenv('REQUESTS_CA_BUNDLE', certificates.ca)

    def relay(sock):
        with gevent.socket.create_connection(('127.0.0.1', server.port)) as there:
            sock.sendall(b'HTTP/1.1 200 OK\r\n\r\n')
            back = gevent.spawn(pump, there, sock)
            pump(sock, there)
            back.join()

    def pump(source, target):
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                target.sendall(data)
            target.shutdown(gevent.socket.SHUT_WR)

    script = Server()
    server = hostile_server(script, ssl_context=certificates.server_context())
    asked, _, http = start_proxy(lambda sock: relay(sock), url=f'https://127.0.0.1:{server.port}')
    assert [http.get('/x', 5), http.get('/y', 5)] == [b'ok', b'ok']
    assert [request.method for request in asked.requests] == ['CONNECT']
    assert 'proxy-authorization' in asked.requests[0].headers
    assert [request.target for request in script.requests] == ['/x', '/y']
    assert 'proxy-authorization' not in script.requests[0].headers
    assert script.connections == 1


@pytest.mark.parametrize('status', ['407 Proxy Authentication Required', '502 Bad Gateway'])
def test_a_proxy_is_named_in_the_error(start_proxy, status):
    _, server, http = start_proxy(response('no', status))
    with pytest.raises(HTTPError) as caught:
        http.get('/engine.io/?x', 5)
    assert str(caught.value) == (
        f'Unexpected status code {status[:3]} in server response to GET '
        f'http://server.test/engine.io/ via proxy 127.0.0.1:{server.port}'
    )


def test_a_proxy_that_is_not_there(start_proxy):
    _, server, http = start_proxy()
    server.stop()
    with pytest.raises(ConnectionClosed) as caught:
        http.get('/', 5)
    assert str(caught.value) == (
        f'server.test:80 via proxy 127.0.0.1:{server.port}: Connection refused'
    )


@pytest.mark.parametrize('answer', [reset, lambda sock: None])
def test_a_proxy_that_breaks_off(start_proxy, answer):
    _, _, http = start_proxy(answer)
    with pytest.raises(ConnectionClosed, match='connection'):
        http.get('/', 5)


def test_a_redirect_has_the_proxy_of_its_own_place(start_proxy, hostile_server, monkeypatch):
    script = Server(response('there'))
    there = hostile_server(script)
    monkeypatch.setenv('NO_PROXY', '127.0.0.1')
    place = f'http://127.0.0.1:{there.port}/'
    asked, _, http = start_proxy(response(status='307 x', headers=[('Location', place)]))
    assert http.get('/', 5) == b'there'
    assert (len(asked.requests), script.requests[0].target) == (1, '/')
    assert 'proxy-authorization' not in script.requests[0].headers
