"""Each text that the page on troubleshooting quotes is one that a program gets to see."""

import re
import socket
import sys
from pathlib import Path

import gevent
import pytest
import requests

import engineio_gevent
import support
from engineio_gevent.net import unpatched

PAGE = (Path(__file__).resolve().parents[2] / 'docs' / 'how-to' / 'troubleshooting.md').read_text()


def quoted(*sections):
    """The quotations in the first column of the tables of these sections."""
    found = set()
    for section in sections:
        text = PAGE.split(f'\n## {section}\n')[1].split('\n## ')[0]
        for line in re.findall(r'^\| (.+?) \|', text, re.MULTILINE):
            found.update(re.findall(r'`([^`]+)`', line))
    return found - NO_TEXTS


NO_TEXTS = {'disconnect_error', 'exc.args[1]', 'ValueError'} | {
    name for name in vars(engineio_gevent.exceptions) if not name.startswith('_')
}
SEEN = {}
"""The texts, by the tests that have seen them."""


def sees(*texts):
    """A test that shows these."""

    def note(test):
        SEEN[test.__name__] = texts
        return test

    return note


def refused(url, **options):
    with pytest.raises(engineio_gevent.exceptions.ConnectionError) as caught:
        engineio_gevent.Client().connect(url, **options)
    return caught.value


def lost(eio):
    """Wait for the end of the connection; its error."""
    with gevent.Timeout(20):
        eio.wait()
    return eio.disconnect_error


@pytest.fixture
def web(hostile_server):
    """A server that answers each request alike: `web(body, status='200 OK')`; its URL."""

    def make(body='', **answer):
        def handler(sock):
            while support.read_request(sock):
                support.respond(sock, body, **answer)

        return hostile_server(handler).url

    return make


@sees('Connection refused')
def test_nothing_listens():
    assert 'Connection refused' in str(refused(f'http://127.0.0.1:{support.free_port()}'))


@sees('Name or service not known')
def test_no_such_host():
    cause = refused('http://host.invalid').__cause__.__cause__
    if cause.errno != -2:
        pytest.skip(f'this resolver says {cause} of names that do not exist')
    assert 'Name or service not known' in str(cause)


@sees('no polling handshake within 5 seconds', 'no websocket handshake within 5 seconds')
@pytest.mark.parametrize('transport', ['polling', 'websocket'])
def test_silence(hostile_server, transport):
    url = hostile_server(lambda sock: sock.recv(1 << 16) and gevent.sleep(30)).url
    assert f'no {transport} handshake within 5 seconds' in str(refused(url, transports=transport))


@sees('Unexpected status code 404')
def test_elsewhere(python_server):
    assert 'Unexpected status code 404' in str(refused(python_server.url, engineio_path='nowhere'))


@sees('Unexpected status code 401', 'Unexpected status code 403')
@pytest.mark.parametrize('status', ['401 Unauthorized', '403 Forbidden'])
def test_refusal(web, status):
    exc = refused(web('{"why": "not you"}', status=status, content_type='application/json'))
    assert f'Unexpected status code {status[:3]}' in str(exc)
    assert exc.args[1] == {'why': 'not you'}


@sees(
    'Unexpected status code 200',
    'Unexpected status code 301',
    'the websocket handshake',
    'which redirects to',
)
@pytest.mark.parametrize('status', ['200 OK', '301 Moved Permanently'])
def test_no_websocket_there(web, status):
    url = web(status=status, headers=[('Location', '/')])
    text = str(refused(url, transports='websocket'))
    assert f'Unexpected status code {status[:3]}' in text
    assert 'the websocket handshake' in text
    assert ('which redirects to /' in text) == (status[:3] == '301')


@sees('Unexpected status code 503', '429')
@pytest.mark.parametrize('status', ['503 Service Unavailable', '429 Too Many Requests'])
@pytest.mark.parametrize('transport', ['polling', 'websocket'])
def test_no_room(web, status, transport):
    exc = refused(web(status=status, headers=[('Retry-After', '30')]), transports=transport)
    assert f'Unexpected status code {status[:3]}' in str(exc)
    assert exc.__cause__.headers['retry-after'] == '30'


@sees('the server closed the connection without a response')
@pytest.mark.parametrize('transport', ['polling', 'websocket'])
def test_no_response(hostile_server, transport):
    url = hostile_server(support.read_request).url
    text = 'the server closed the connection without a response'
    assert text in str(refused(url, transports=transport))


@sees('TLS was not closed (no close_notify)')
def test_tls_that_is_cut(hostile_server, certificates, monkeypatch):
    def cut(sock):
        support.read_request(sock)
        sock.sendall(b'HTTP/1.1 200 OK\r\n\r\n' + support.open_packet().encode())
        sock.shutdown(socket.SHUT_RDWR)

    monkeypatch.setenv('REQUESTS_CA_BUNDLE', certificates.ca)
    url = hostile_server(cut, ssl_context=certificates.server_context()).url
    text = 'TLS was not closed (no close_notify)'
    assert text in str(refused(url, transports='polling'))


@sees('socksio is not installed')
def test_no_socksio(monkeypatch):
    monkeypatch.setitem(sys.modules, 'socksio', None)
    monkeypatch.setenv('HTTP_PROXY', f'socks5://127.0.0.1:{support.free_port()}')
    assert 'socksio is not installed' in str(refused('http://host.test', transports='websocket'))


@sees('Unexpected status code 400', 'Transport unknown', 'Invalid transport')
def test_transport_not_enabled(make_any_server):
    server = make_any_server(transports=['websocket'])
    exc = refused(server.url)
    assert 'Unexpected status code 400' in str(exc)
    said = exc.args[1]
    assert said in ('Invalid transport', {'code': 0, 'message': 'Transport unknown'})
    eio = engineio_gevent.Client()
    eio.connect(server.url, transports='websocket')
    eio.disconnect()


@sees("packet without a valid type: '96:0{", "packet without a valid type: '<html")
@pytest.mark.parametrize('body', ['96:0{"sid":"1"}2:40', '<html></html>'])
def test_something_else_answers(web, body):
    assert f"packet without a valid type: '{body[:5]}" in str(refused(web(body)))


@sees('certificate verify failed', 'Hostname mismatch', 'IP address mismatch')
def test_certificates(hostile_server, certificates, monkeypatch):
    def serve(*names):
        context = certificates.server_context(*names)
        # The client refuses in the midst of the handshake: an OSError in here.
        return hostile_server(lambda sock: context.wrap_socket(sock, server_side=True)).port

    assert 'certificate verify failed' in str(refused(f'https://127.0.0.1:{serve()}'))
    monkeypatch.setenv('REQUESTS_CA_BUNDLE', certificates.ca)
    port = serve('example.test')
    assert 'IP address mismatch' in str(refused(f'https://127.0.0.1:{port}'))
    assert 'Hostname mismatch' in str(refused(f'https://localhost:{port}'))


@sees('EOF occurred in violation of protocol', 'wrong version number')
def test_no_tls_there(hostile_server):
    def ends(sock):
        sock.recv(1 << 16)

    def answers(sock):
        sock.recv(1 << 16)
        support.respond(sock, status='400 Bad Request')

    for handler, text in (
        (ends, 'EOF occurred in violation of protocol'),
        (answers, r'wrong[_ ]version[_ ]number'),
    ):
        exc = refused(hostile_server(handler).url.replace('http', 'https'))
        assert re.search(text, str(exc), re.IGNORECASE)


@sees('not an HTTP response: it begins')
@pytest.mark.parametrize('transport', ['polling', 'websocket'])
def test_no_http_there(hostile_server, certificates, transport):
    def speaks_first(sock):
        sock.sendall(b'SSH-2.0-OpenSSH_9.9\r\n')
        support.read_to_end(sock)

    alert = b'\x15\x03\x01\0\x02\x02\x46'  # RFC 8446, section 6: protocol_version

    def wants_tls(sock):
        sock.recv(1 << 16)
        sock.sendall(alert)

    for handler, text in (speaks_first, 'SSH-2.0-OpenSSH_9.9'), (wants_tls, alert.decode()):
        exc = refused(hostile_server(handler).url, transports=transport)
        assert f'not an HTTP response: it begins {text!r}' in str(exc)


@sees('URL must begin with http://, https://, ws:// or wss://')
def test_no_scheme():
    with pytest.raises(ValueError, match='URL must begin with http://, https://, ws:// or wss://'):
        engineio_gevent.Client().connect('127.0.0.1:5000')


@sees('Client is not in a disconnected state')
def test_connected_already(python_server):
    eio = engineio_gevent.Client()
    eio.connect(python_server.url)
    with pytest.raises(ValueError, match='Client is not in a disconnected state'):
        eio.connect(python_server.url)
    eio.disconnect()


PATCHED_LATE = """
import json, sys, warnings
import requests
import engineio_gevent
from gevent import monkey
warnings.simplefilter('ignore')  # gevent's, of exactly that
monkey.patch_all()
url, with_session = map(json.loads, sys.argv[1:])
try:
    engineio_gevent.Client(http_session=with_session and requests.Session()).connect(url)
except engineio_gevent.exceptions.ConnectionError as exc:
    print(json.dumps(str(exc)))
"""


@sees('requests cannot use TLS (RecursionError)')
def test_requests_imported_before_patching(hostile_server):
    url = hostile_server(support.read_request).url.replace('http', 'https')
    program = support.Program('-c', PATCHED_LATE, argv=[url, True])
    assert 'requests cannot use TLS (RecursionError)' in program.result()[0]
    program.kill()


@sees('the server closed the connection', 'connection lost: Connection reset by peer')
@pytest.mark.parametrize('cut', [support.reset, lambda sock: None])
def test_cut(hostile_server, cut):
    def handler(sock):
        support.accept_websocket(sock)
        support.send_frame(sock, support.open_packet())
        sock.recv(1 << 16)
        cut(sock)

    eio = engineio_gevent.Client()
    url = hostile_server(handler).url
    eio.connect(url, transports='websocket')
    eio.send('that is enough')
    text = (
        'the server closed the connection'
        if cut is not support.reset
        else ('connection lost: Connection reset by peer')
    )
    assert str(lost(eio)) == f'{url.removeprefix("http://")}: {text}'


@sees('no PING from the server for 45 seconds')
def test_no_pings(hostile_server):
    def handler(sock):
        support.accept_websocket(sock)
        support.send_frame(sock, support.open_packet(pingInterval=200, pingTimeout=100))
        sock.recv(1 << 16)

    eio = engineio_gevent.Client()
    url = hostile_server(handler).url
    eio.connect(url, transports='websocket')
    host = url.removeprefix('http://')
    assert str(lost(eio)) == f'{host}: no PING from the server for 0.3 seconds'


@sees('the server closed the websocket with code 1009', 'Unexpected status code 413')
@pytest.mark.parametrize('transport', ['websocket', 'polling'])
def test_too_large_for_the_js_server(make_js_server, transport):
    eio = engineio_gevent.Client()
    eio.connect(make_js_server(maxHttpBufferSize=1000).url, transports=transport)
    eio.send('x' * 2000)
    assert {
        'websocket': 'the server closed the websocket with code 1009',
        'polling': 'Unexpected status code 413',
    }[transport] in str(lost(eio))


@pytest.mark.parametrize('transport', ['websocket', 'polling'])
def test_too_large_for_the_python_server(make_python_server, transport):
    eio = engineio_gevent.Client()
    reasons = []
    eio.on('disconnect', reasons.append)
    eio.connect(make_python_server(maxHttpBufferSize=1000).url, transports=transport)
    eio.send('x' * 2000)
    if transport == 'websocket':
        assert str(lost(eio)).endswith(': the server closed the websocket with code 1000')
    else:  # it answers the POST and the GET, in an order that is chance
        error = lost(eio)
        assert error is None or 'Unexpected status code 400' in str(error)
        assert reasons == ['transport error' if error else 'server disconnect']


@sees('over the limit of')
def test_too_large_for_us(python_server):
    eio = engineio_gevent.Client(max_message_size=1000)
    eio.connect(python_server.url)
    eio.send('x' * 2000)
    assert 'over the limit of 1000' in str(lost(eio))


def test_another_server_without_sticky_sessions(make_any_server, hostile_server):
    """It connects, stays on polling, and is lost; by websocket alone all is well."""
    ports = [make_any_server().port, make_any_server().port]

    def balance(sock):
        ports.reverse()
        there = gevent.socket.create_connection(('127.0.0.1', ports[0]))

        def back():
            while data := there.recv(1 << 16):
                sock.sendall(data)

        with there:
            other_way = gevent.spawn(back)
            try:
                while data := sock.recv(1 << 16):
                    there.sendall(data)
            finally:
                other_way.kill()

    url = hostile_server(balance).url
    eio = engineio_gevent.Client()
    eio.connect(url)
    assert eio.transport() == 'polling'
    eio.disconnect()
    eio.connect(url, transports='polling')
    eio.send('to the other')
    assert 'Unexpected status code 400' in str(lost(eio))
    eio.connect(url, transports='websocket')
    eio.disconnect()


@sees('POST redirected by status 301')
def test_redirects(hostile_server, python_server):
    def handler(sock):
        while request := support.read_request(sock):
            support.respond(
                sock,
                status='301 Moved Permanently',
                headers=[('Location', python_server.url + request.target)],
            )

    eio = engineio_gevent.Client()
    eio.connect(hostile_server(handler).url)
    assert eio.transport() == 'polling'
    eio.send('hello')
    assert str(lost(eio)) == (
        f'POST redirected by status 301 to {python_server.url}/engine.io/: '
        'connect to the final URL instead'
    )


def on_page(text):
    """Whether the page has this text, wherever its lines end."""
    return text in ' '.join(PAGE.split())


def test_the_log_says_why_it_stays_on_polling(hostile_server, caplog):
    def handler(sock):
        request = support.read_request(sock)
        if 'transport=websocket' not in request.target:
            support.respond(sock, support.open_packet(upgrades=['websocket']))
            request = support.read_request(sock)
        if 'transport=websocket' in request.target:
            support.respond(sock, status='403 Forbidden')
        else:
            support.respond(sock, '1')

    eio = engineio_gevent.Client(logger=True)
    eio.connect(hostile_server(handler).url)
    eio.disconnect(abort=True)
    lines = [record.getMessage() for record in caplog.records]
    assert any(line.startswith('WebSocket upgrade failed: ') for line in lines), lines
    assert on_page('WebSocket upgrade failed: ')


def test_what_is_unpatched_and_waits_is_warned_of(monkeypatch):
    monkeypatch.setattr(unpatched, '_warned', False)
    server = support.NativeServer(lambda sock: support.respond(sock, status='404 Not Found'))
    with requests.Session() as session:
        eio = engineio_gevent.Client(http_session=session)
        with (
            pytest.warns(RuntimeWarning) as caught,
            pytest.raises(engineio_gevent.exceptions.ConnectionError),
        ):
            eio.connect(server.url)
    server.stop()
    text = 'polling through a requests.Session blocks all greenlets of this thread'
    assert text in str(caught[0].message)
    assert on_page(text)


def test_all_that_is_quoted_is_seen():
    seen = {text for texts in SEEN.values() for text in texts}
    assert quoted('It does not connect', 'It disconnects') == seen
