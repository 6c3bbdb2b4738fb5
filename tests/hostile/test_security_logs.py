"""What logs may not tell: authorization, cookies and passwords never, messages not above INFO."""

import base64
import logging
import traceback

import pytest
import requests

from engineio_gevent import Client
from engineio_gevent.exceptions import ConnectionError
from support import (
    NativeServer,
    accept_websocket,
    close_frame,
    frame,
    open_packet,
    read_request,
    read_to_end,
    respond,
)

HEADERS = {'Authorization': 'Bearer t0ken', 'Cookie': 'mine=c00kie'}
SECRETS = ('t0ken', 'c00kie', 'j4r', 'passw0rd', base64.b64encode(b'me:passw0rd').decode())
BODY = 'b0dy of a message'

JAR = [('Set-Cookie', 'io=j4r; Path=/')]


def _is_websocket(request):
    return 'sec-websocket-key' in request.headers


def refused(sock):
    read_request(sock)
    respond(sock, '{"message": "no"}', '401 Unauthorized', JAR)


def redirected(sock):
    read_request(sock)
    respond(sock, '', '302 Found', [('Location', 'http://127.0.0.1:1/'), *JAR])


def talking(sock):
    """A good server that says a message, hears some, and leaves in its own way."""
    while True:
        request = read_request(sock)
        if _is_websocket(request):
            accept_websocket(sock, request, JAR)
            if 'sid' in request.target:
                sock.recv(100)
                sock.sendall(frame('3probe'))
            else:
                sock.sendall(frame(open_packet()))
            sock.sendall(frame(f'4{BODY}') + frame('4{"a": "' + BODY + '"}'))
            sock.sendall(frame(BODY, rsv=1) + close_frame(1011))
            read_to_end(sock)
            return
        if request.method == 'POST':
            respond(sock, 'ok', headers=JAR)
        elif 'sid' in request.target:
            respond(sock, f'4{BODY}\x1e{BODY}', headers=JAR)
        else:
            respond(sock, open_packet(upgrades=['websocket']), headers=JAR)


def nonsense(sock):
    read_request(sock)
    sock.sendall(f'{BODY} {BODY}'.encode())


SERVERS = {function.__name__: function for function in (refused, redirected, talking, nonsense)}


@pytest.fixture
def records(caplog):
    """Everything that anybody logs, whatever its level."""
    caplog.set_level(logging.DEBUG)
    caplog.set_level(logging.DEBUG, 'engineio_gevent.client')
    return caplog


def told(records):
    formatter = logging.Formatter()
    return [(record.levelno, formatter.format(record)) for record in records]


@pytest.mark.parametrize('serve', SERVERS.values(), ids=SERVERS)
@pytest.mark.parametrize(
    'transports', ['polling', 'websocket', None], ids=['polling', 'websocket', 'upgrade']
)
@pytest.mark.parametrize('by', ['headers', 'url'])
def test_logs_and_exceptions(hostile_server, witness, records, serve, transports, by):
    server = hostile_server(serve)
    one = witness(logger=True)
    url, headers = server.url, HEADERS
    if by == 'url':
        url, headers = url.replace('//', '//me:passw0rd@'), {'Cookie': HEADERS['Cookie']}

    def fail(message):
        raise ValueError('a fault of the application')

    one.client.on('message', fail)
    errors = []
    try:
        one.client.connect(url, headers, transports=transports)
        one.client.send(BODY)
        one.client.send({'a': BODY})
        one.client.send(BODY.encode())
        one.client.wait()
        errors.append(one.client.disconnect_error)
    except ConnectionError as error:
        errors.append(error)
    one.client.disconnect()
    while errors[-1] is not None:
        errors.append(errors[-1].__cause__)
    lines = told(records.records)
    assert lines, 'nothing was logged at all'
    lines += [(logging.ERROR, repr(error)) for error in errors]  # what applications log
    for level, text in lines:
        assert not [secret for secret in SECRETS if secret in text], text
        # of an answer that is none, an exception shows how it begins
        if level > logging.INFO and not text.startswith(('ConnectionError(', 'ProtocolError(')):
            assert BODY not in text, text


@pytest.mark.parametrize(
    'url',
    [
        'http//me:passw0rd@127.0.0.1',
        'ftp://me:passw0rd@127.0.0.1',
        'http://me:passw0rd@',
        'http://me:passw0rd@127.0.0.1/\n',
        'http://me:passw0rd@127.0.0.1:99999/',
        'http://me:passw0rd@127.0.0.1:x/',
        'http://me:passw0rd@a b/',
        'http://me:passw0rd@[::1/',
        'http://me:passw0rd@' + 'a' * 64,
        'http://me:passw0rd@a..b/',
        'http://me:passw0rd@a\xa8b/',
        'http://me:passw0rd/passw0rd@127.0.0.1/',
        'http://me:1/passw0rd@127.0.0.1/',
        'http://me:1?passw0rd@127.0.0.1/',
        'http://me:1#passw0rd@127.0.0.1/',
    ],
)
@pytest.mark.parametrize('transport', ['polling', 'websocket'])
def test_an_exception_for_a_bad_url_keeps_its_password(url, transport):
    with pytest.raises((ValueError, ConnectionError)) as caught:
        Client(handle_sigint=False).connect(url, transports=transport)
    error = caught.value
    while error is not None:
        assert 'passw0rd' not in repr(error)
        error = error.__cause__


def test_a_header_that_is_refused_is_not_shown():
    with pytest.raises(ValueError, match='Authorization') as caught:
        Client(handle_sigint=False).connect('http://127.0.0.1:1', {'Authorization': 't0ken\r\n'})
    assert 't0ken' not in repr(caught.value)


BAD_PROXIES = [
    'http://me:passw0rd/passw0rd@127.0.0.1:1',
    'http://me:1/passw0rd@127.0.0.1:1',
    'http://me:1?passw0rd@127.0.0.1:1',
    'http://me:1#passw0rd@127.0.0.1:1',
    'http://me:passw0rd@127.0.0.1:99999',
    'http://me:passw0rd@',
    'http://me:passw0rd@a b',
    'ftp://me:passw0rd@127.0.0.1',
    'me:passw0rd/passw0rd@127.0.0.1',
]


def whole(error):
    """What a traceback shows of an exception."""
    return ''.join(traceback.format_exception(type(error), error, None))


@pytest.mark.parametrize('proxy', BAD_PROXIES)
@pytest.mark.parametrize('transport', ['polling', 'websocket'])
def test_an_exception_for_a_bad_proxy_keeps_its_password(proxy, transport, monkeypatch):
    monkeypatch.setenv('http_proxy', proxy)
    monkeypatch.delenv('no_proxy', raising=False)
    with pytest.raises(ConnectionError, match='not a valid proxy URL: ') as caught:
        Client(handle_sigint=False).connect('http://192.0.2.1', transports=transport)
    assert 'passw0rd' not in whole(caught.value)


@pytest.mark.filterwarnings('ignore::RuntimeWarning')  # requests blocks this thread
@pytest.mark.parametrize('proxy', BAD_PROXIES)
def test_an_exception_for_a_bad_proxy_of_a_redirect_keeps_its_password(proxy):
    """That of requests would show it."""

    def redirects(sock):
        read_request(sock)
        respond(sock, '', '302 Found', [('Location', 'https://127.0.0.1:1/')])

    server = NativeServer(redirects)
    try:
        with requests.Session() as session:
            session.trust_env = False
            session.proxies = {'https': proxy}
            client = Client(handle_sigint=False, http_session=session)
            with pytest.raises(ConnectionError, match='not a valid proxy URL: ') as caught:
                client.connect(server.url, transports='polling')
        assert 'passw0rd' not in whole(caught.value)
    finally:
        server.stop()


@pytest.mark.parametrize(
    'options',
    [
        {'websocket_extra_options': {'http_proxy_host': 'http://me:passw0rd@a.test'}},
        {'websocket_extra_options': {'http_proxy_auth': 'me:passw0rd'}},
        {'websocket_extra_options': {'http_proxy_auth': ('me', 'passw0rd', 5)}},
        {'websocket_extra_options': {'http_proxy_port': 'http://me:passw0rd@a.test'}},
        {'websocket_extra_options': {'proxy_type': 'http://me:passw0rd@a.test'}},
        {'source_addresses': 'http://me:passw0rd@a.test'},
        {'dial': 'http://me:passw0rd@a.test'},
        {'ssl_cert': ('a.pem', 'a.key', 'passw0rd')},
    ],
    ids=str,
)
def test_an_exception_for_a_bad_option_keeps_a_password(options):
    with pytest.raises(ValueError, match=r'.') as caught:
        Client(handle_sigint=False, **options).connect('http://127.0.0.1:1')
    assert 'passw0rd' not in whole(caught.value)


@pytest.mark.parametrize(
    'path', ['a?token=passw0rd', 'http://me:passw0rd@a.test/?a', 'me:passw0rd@a\n']
)
def test_an_exception_for_a_bad_path_keeps_what_is_secret(path):
    with pytest.raises(ValueError, match='engineio_path') as caught:
        Client(handle_sigint=False).connect('http://127.0.0.1:1', engineio_path=path)
    assert 'passw0rd' not in whole(caught.value)


@pytest.mark.parametrize(
    'location',
    [
        'ftp://me:passw0rd@a.test',
        'ftp://me:passw0rd/passw0rd@a.test',
        'http://me:passw0rd/passw0rd@a.test',
        'http://me:passw0rd?passw0rd@a.test',
        'http://me:passw0rd#passw0rd@a.test',
        'http://me:passw0rd@a b',
    ],
)
@pytest.mark.parametrize('transport', ['polling', 'websocket'])
def test_an_exception_for_a_bad_location_keeps_its_password(hostile_server, location, transport):
    def redirects(sock):
        read_request(sock)
        respond(sock, '', '302 Found', [('Location', location)])

    options = {'websocket_extra_options': {'redirect_limit': 3}}
    client = Client(handle_sigint=False, **options)
    with pytest.raises(ConnectionError, match='redirected to ') as caught:
        client.connect(hostile_server(redirects).url, transports=transport)
    assert 'passw0rd' not in whole(caught.value)
