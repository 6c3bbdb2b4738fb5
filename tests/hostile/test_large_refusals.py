"""A refusal whose body is too large: the status says enough, and is not lost with the body."""

import gzip

import pytest
import requests

from engineio_gevent.exceptions import HTTPError
from support import NativeServer, accept_websocket, open_packet, read_request, read_to_end, response

MIB = 1 << 20
OVER = b'x' * (MIB + 1)


def refusal(kind, status):
    """The bytes of a refusal."""
    if kind == 'sized':
        return response(OVER, status)
    if kind == 'compressed':
        return response(gzip.compress(OVER), status, [('Content-Encoding', 'gzip')])
    head = f'HTTP/1.1 {status}\r\nRetry-After: 30\r\n'.encode()
    if kind == 'to-end':
        return head + b'\r\n' + OVER
    return head + b'Transfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n' % (len(OVER), OVER)


KINDS = ['sized', 'compressed', 'to-end', 'chunked']
every_kind = pytest.mark.parametrize('kind', KINDS)


def is_refused(error, status=503):
    assert isinstance(error, HTTPError), repr(error)
    assert (error.status, error.body) == (status, None)
    assert f'status code {status} ' in str(error)


@every_kind
@pytest.mark.parametrize(
    ('transport', 'status'),
    [('polling', '503 Busy'), ('websocket', '503 Busy'), ('websocket', '200 OK')],
)
def test_a_handshake(hostile_server, witness, transport, status, kind):
    def serve(sock):
        read_request(sock)
        sock.sendall(refusal(kind, status))

    one = witness(max_message_size=MIB)
    cause, error = one.fails_to_connect(hostile_server(serve), transport)
    is_refused(cause, int(status[:3]))
    assert error.args[1] is None


@every_kind
@pytest.mark.parametrize('status', ['503 Busy', '200 OK'])
def test_a_handshake_of_websocket_client(hostile_server, witness, status, kind):
    def serve(sock):
        read_request(sock)
        sock.sendall(refusal(kind, status))

    one = witness(websocket_extra_options={'enable_multithread': True})
    cause, _ = one.fails_to_connect(hostile_server(serve), 'websocket')
    is_refused(cause, int(status[:3]))


@every_kind
@pytest.mark.parametrize('status', ['503 Busy', '200 OK'])
def test_a_refusal_after_the_status_101(hostile_server, witness, status, kind):
    def serve(sock):
        accept_websocket(sock)
        sock.sendall(refusal(kind, status))
        read_to_end(sock)

    cause, _ = witness().fails_to_connect(hostile_server(serve), 'websocket')
    is_refused(cause, int(status[:3]))


@every_kind
@pytest.mark.parametrize('method', ['GET', 'POST'])
def test_a_request_of_polling(hostile_server, witness, method, kind):
    def serve(sock):
        while True:
            request = read_request(sock)
            if 'sid=' not in request.target:
                sock.sendall(response(open_packet()))
            elif request.method == method:
                sock.sendall(refusal(kind, '503 Busy'))
                return
            else:
                read_to_end(sock)
                return

    one = witness(max_message_size=MIB).connect(hostile_server(serve))
    if method == 'POST':
        one.client.send('hello')
    is_refused(one.loses())


@every_kind
def test_an_answer_through_a_session(witness, kind):

    def serve(sock):
        read_request(sock)
        sock.sendall(refusal(kind, '503 Busy'))

    server = NativeServer(serve)
    try:
        with requests.Session() as session:
            session.trust_env = False
            one = witness(http_session=session, max_message_size=MIB)
            cause, _ = one.fails_to_connect(server)
            is_refused(cause)
    finally:
        server.stop()
