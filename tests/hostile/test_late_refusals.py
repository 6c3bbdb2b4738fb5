"""A refusal after the response with status 101, and answers that are not HTTP: named at once."""

import gevent
import pytest

from engineio_gevent.exceptions import ConnectionClosed, HTTPError, ProtocolError
from support import (
    accept_websocket,
    close_frame,
    eventually,
    frame,
    open_packet,
    patience,
    read_frame,
    read_request,
    read_to_end,
    respond,
)

#: Whether websocket-client does the handshake.
every_handshake = pytest.mark.parametrize('options', [None, {'redirect_limit': 1}])

BODY = b'{"code": 3, "message": "no more sessions"}'
REFUSAL = b'HTTP/1.1 400 Bad Request\r\nContent-Length: %d\r\nX-A: 1\r\n\r\n%b' % (len(BODY), BODY)


@pytest.fixture
def patient(witness):
    """A client that waits for an hour."""
    return lambda options=None: witness(request_timeout=3600, websocket_extra_options=options)


@every_handshake
def test_engine_io(make_js_server, patient, options):
    """As engine.io from npm refuses when it cannot make a session."""
    server = make_js_server(failIds=True)
    cause, error = patient(options).fails_to_connect(server, 'websocket')
    assert isinstance(cause, HTTPError)
    assert cause.status == 400
    assert cause.headers['content-type'] == 'text/html'
    assert error.args == (str(error.args[0]), None)
    assert f'the websocket handshake with {server.netloc}, after status 101' in str(error)
    cause, _ = patient(options).fails_to_connect(server, 'polling')
    assert cause.status == 400


def refuses(*pieces, then=read_to_end):
    """A server that accepts, then sends these bytes."""

    def handle(sock):
        accept_websocket(sock)
        for piece in pieces:
            sock.sendall(piece)
            gevent.sleep(0.001)
        then(sock)

    return handle


@pytest.mark.parametrize('at', range(1, len(REFUSAL)))
def test_cut_in_two(hostile_server, patient, at):
    """The server does not close the connection: the refusal ends by its length."""
    server = hostile_server(refuses(REFUSAL[:at], REFUSAL[at:]))
    cause, error = patient().fails_to_connect(server, 'websocket')
    assert isinstance(cause, HTTPError)
    assert (cause.status, cause.body['code'], cause.headers['x-a']) == (400, 3, '1')
    assert error.args[1] == {'code': 3, 'message': 'no more sessions'}
    assert 'no more sessions' in str(error)
    server.wait_open(0)


@every_handshake
def test_byte_by_byte(hostile_server, patient, options):
    server = hostile_server(refuses(*(bytes([byte]) for byte in REFUSAL)))
    cause, _ = patient(options).fails_to_connect(server, 'websocket')
    assert (cause.status, cause.body['code']) == (400, 3)


@every_handshake
def test_in_one_piece_with_the_response(hostile_server, patient, options):
    def handle(sock):
        answer = []

        class Collector:
            sendall = answer.append

        accept_websocket(Collector, read_request(sock))
        sock.sendall(answer[0] + REFUSAL)
        read_to_end(sock)

    cause, _ = patient(options).fails_to_connect(hostile_server(handle), 'websocket')
    assert (cause.status, cause.body['code']) == (400, 3)


@pytest.mark.parametrize('at', range(1, len(REFUSAL)))
def test_cut_by_the_end_of_the_connection(hostile_server, patient, at):
    server = hostile_server(refuses(REFUSAL[:at], then=lambda sock: None))
    cause, _ = patient().fails_to_connect(server, 'websocket')
    if at > REFUSAL.index(b'\r\n\r\n') + 3:
        assert (cause.status, cause.body) == (400, None)
    elif at == 1:
        assert isinstance(cause, ConnectionClosed)
    else:
        assert isinstance(cause, ConnectionClosed)
        assert 'in the middle of a response' in str(cause)


def test_without_a_length(hostile_server, patient):
    """It ends with the connection."""
    refusal = b'HTTP/1.1 503 Busy\r\nRetry-After: 7\r\n\r\n{"message": "later"}'
    server = hostile_server(refuses(refusal, then=lambda sock: None))
    cause, error = patient().fails_to_connect(server, 'websocket')
    assert (cause.status, cause.headers['retry-after']) == (503, '7')
    assert error.args[1] == {'message': 'later'}


@pytest.mark.parametrize('said', [b'HTML, no HTTP', b'HTTP/2 400\r\n\r\n', b'HT\0', b'H\0'])
def test_what_only_begins_like_one(hostile_server, patient, said):
    server = hostile_server(refuses(*(bytes([byte]) for byte in said)))
    cause, _ = patient().fails_to_connect(server, 'websocket')
    assert isinstance(cause, ProtocolError)
    assert 'reserved bits' in str(cause)


def test_a_body_without_end(hostile_server, patient):
    """It is limited, and the refusal is known all the same."""

    def flood(sock):
        while True:
            sock.sendall(b'x' * 65536)

    head = b'HTTP/1.1 400 Bad Request\r\n\r\n'
    cause, _ = patient().fails_to_connect(hostile_server(refuses(head, then=flood)), 'websocket')
    assert isinstance(cause, HTTPError)
    assert cause.status == 400


def test_of_an_upgrade(hostile_server, witness, caplog):
    """Polling goes on, and the log has the reason."""
    done = []

    def handle(sock):
        while True:
            request = read_request(sock)
            if 'upgrade' in request.headers:
                accept_websocket(sock, request)
                sock.sendall(REFUSAL)
                read_to_end(sock)
                done.append(True)
                return
            if 'sid=' not in request.target:
                respond(sock, open_packet(upgrades=['websocket']))
            elif request.method == 'GET':
                gevent.sleep(0.05)
                respond(sock, '4hello')
            else:
                respond(sock, 'ok')

    one = witness(request_timeout=3600, logger=True)
    with caplog.at_level('INFO', 'engineio_gevent.client'):
        one.client.connect(hostile_server(handle).url)
        assert eventually(lambda: one.messages)
    assert one.client.transport() == 'polling'
    assert eventually(lambda: done)
    (line,) = [text for text in caplog.messages if 'WebSocket upgrade failed' in text]
    assert 'no more sessions' in line
    one.client.disconnect()


@pytest.mark.parametrize('said', [frame('4x') + REFUSAL, close_frame() + REFUSAL])
def test_after_a_frame(hostile_server, witness, said):
    """An open connection is lost for what the server does there."""

    def handle(sock):
        accept_websocket(sock)
        sock.sendall(frame(open_packet()))
        read_frame(sock)
        sock.sendall(said)
        read_to_end(sock)

    one = witness()
    one.client.connect(hostile_server(handle).url, transports='websocket')
    one.client.send('go')
    error = one.loses()
    assert not isinstance(error, HTTPError)


BANNERS = {
    'tls-alert': (b'\x15\x03\x01\x00\x02\x02\x46', r"begins '\x15\x03"),
    'smtp': (b'220 mail.example ESMTP\r\n', "begins '220 mail.example ESMTP'"),
    'redis': (b"-ERR unknown command 'GET'\r\n", 'begins "-ERR unknown command'),
    'ssh': (b'SSH-2.0-OpenSSH_9.2\r\n', "begins 'SSH-2.0-OpenSSH_9.2'"),
    'mysql': (b'\x4a\x00\x00\x00\x0a8.0.36\x00', 'not an HTTP response'),
    'telnet': (b'\xff\xfd\x18', 'not an HTTP response'),
}


@every_handshake
@pytest.mark.parametrize('transport', ['polling', 'websocket'])
@pytest.mark.parametrize(('said', 'text'), BANNERS.values(), ids=BANNERS)
def test_a_server_of_another_protocol(hostile_server, patient, transport, said, text, options):
    """It sends its banner, or an error, and waits. The client does not."""

    def handle(sock):
        read_request(sock)
        sock.sendall(said)
        read_to_end(sock)

    with gevent.Timeout(patience(20)):
        cause, error = patient(options).fails_to_connect(hostile_server(handle), transport)
    assert isinstance(cause, ProtocolError)
    assert text in str(error)
    if 'alert' in text or said.startswith(b'\x15'):
        assert 'the port speaks TLS' in str(error)
