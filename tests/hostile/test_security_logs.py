"""What logs may not tell: authorization, cookies and passwords never, messages not above INFO."""

import base64
import logging

import pytest

from engineio_gevent import Client
from engineio_gevent.exceptions import ConnectionError
from support import (
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
