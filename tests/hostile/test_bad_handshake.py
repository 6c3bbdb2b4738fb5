"""Servers that do not shake hands: one `ConnectionError`, with its cause, and nothing else."""

import gzip
import json
import os

import gevent
import pytest
from gevent.event import AsyncResult, Event

from engineio_gevent.exceptions import ConnectionClosed, HTTPError, ProtocolError
from support import (
    BINARY,
    CLOSE,
    PING,
    PONG,
    accept_websocket,
    close_frame,
    frame,
    free_port,
    open_packet,
    read_exactly,
    read_frame,
    read_request,
    read_to_end,
    reset,
    respond,
    response,
    send_frame,
)

HTML = '<html><body>It works!</body></html>'
REFUSAL = {'code': 5, 'message': 'Unsupported protocol version'}

# The text of OPEN packets that are none, and what the exception says of them.
BAD_OPENS = [
    ('nothing-in-it', '0', 'not valid JSON'),
    ('cut-json', '0{"sid":"x"', 'not valid JSON'),
    ('deep-json', '0' + '[' * 100000, 'not valid JSON'),
    ('array', '0[]', 'not a JSON object'),
    ('null', '0null', 'not a JSON object'),
    *(
        (f'no-{field}', open_packet(**{field: None}), repr(field))
        for field in ('sid', 'upgrades', 'pingInterval', 'pingTimeout')
    ),
    ('sid-number', open_packet(sid=5), "'sid'"),
    ('sid-empty', open_packet(sid=''), "'sid'"),
    ('sid-line-end', open_packet(sid='a\r\nHost: b'), "'sid'"),
    ('upgrades-text', open_packet(upgrades='websocket'), "'upgrades'"),
    ('upgrades-numbers', open_packet(upgrades=[1]), "'upgrades'"),
    ('interval-text', open_packet(pingInterval='25000'), "'pingInterval'"),
    ('interval-zero', open_packet(pingInterval=0), "'pingInterval'"),
    ('interval-true', open_packet(pingInterval=True), "'pingInterval'"),
    ('interval-negative', open_packet(pingInterval=-1), "'pingInterval'"),
    ('timeout-nan', open_packet(pingTimeout=float('nan')), "'pingTimeout'"),
    ('timeout-endless', open_packet(pingTimeout=float('inf')), "'pingTimeout'"),
    ('timeout-huge', open_packet(pingTimeout=10**400), "'pingTimeout'"),
    ('payload-text', open_packet(maxPayload='1'), "'maxPayload'"),
    ('payload-negative', open_packet(maxPayload=-1), "'maxPayload'"),
    ('message', '4hello', 'expected an OPEN packet, got MESSAGE'),
    ('ping', '2', 'expected an OPEN packet, got PING'),
    ('close', '1', 'expected an OPEN packet, got CLOSE'),
    ('noop', '6', 'expected an OPEN packet, got NOOP'),
    ('unknown-type', '9', 'without a valid type'),
    ('other-words', 'x', 'without a valid type'),
]
every_bad_open = pytest.mark.parametrize(
    ('text', 'words'), [case[1:] for case in BAD_OPENS], ids=[case[0] for case in BAD_OPENS]
)


# -- Both transports --------------------------------------------------------------------------


@pytest.mark.parametrize('transport', ['polling', 'websocket'])
def test_nobody_listens(witness, transport):
    class Nobody:
        url = f'http://127.0.0.1:{free_port()}'

    cause, error = witness().fails_to_connect(Nobody, transport)
    assert isinstance(cause, ConnectionClosed)
    assert isinstance(cause.__cause__, ConnectionRefusedError)
    assert Nobody.url.removeprefix('http://') in str(error)


@pytest.mark.parametrize('transport', ['polling', 'websocket'])
@pytest.mark.parametrize(
    ('status', 'body', 'content_type', 'decoded'),
    [
        ('400 Bad Request', json.dumps(REFUSAL), 'application/json', REFUSAL),
        ('403 Forbidden', json.dumps('no'), 'application/json', 'no'),
        ('401 Unauthorized', '', 'text/plain', None),
        ('404 Not Found', HTML, 'text/html', None),
        ('502 Bad Gateway', HTML, 'text/html', None),
        ('500 Internal Server Error', b'\xff\xfe\x00', 'application/octet-stream', None),
        ('503 Service Unavailable', '[' * 100000, 'application/json', None),
        ('304 Not Modified', '', 'text/plain', None),
    ],
    ids=[
        '400-json',
        '403-json-text',
        '401-empty',
        '404-html',
        '502-html',
        '500-bytes',
        '503-deep',
        '304',
    ],
)
def test_another_status(hostile_server, witness, transport, status, body, content_type, decoded):
    def handle(sock):
        read_request(sock)
        respond(sock, body, status, content_type=content_type)
        read_to_end(sock)

    server = hostile_server(handle)
    cause, error = witness().fails_to_connect(server, transport)
    server.wait_open(0)
    assert isinstance(cause, HTTPError)
    assert (cause.status, cause.body) == (int(status[:3]), decoded)
    assert status[:3] in str(error)
    assert error.args[1:] == (decoded,)
    if decoded == REFUSAL:
        assert REFUSAL['message'] in error.args[0]


@pytest.mark.parametrize('transport', ['polling', 'websocket'])
@pytest.mark.parametrize(
    'said',
    [
        b'',
        b'HTTP/1.1',
        b'HTTP/1.1 200 OK\r\n',
        b'HTTP/1.1 200 OK\r\nContent-',
    ],
    ids=['nothing', 'status-line-cut', 'no-headers', 'header-cut'],
)
@pytest.mark.parametrize('end', ['close', 'reset'])
def test_the_server_goes_within_the_head(hostile_server, witness, transport, said, end):
    def handle(sock):
        read_request(sock)
        sock.sendall(said)
        if end == 'reset':
            reset(sock)

    cause, _ = witness().fails_to_connect(hostile_server(handle), transport)
    assert isinstance(cause, (ConnectionClosed, ProtocolError))


@pytest.mark.parametrize('transport', ['polling', 'websocket'])
@pytest.mark.parametrize(
    'said',
    [
        b'SSH-2.0-OpenSSH_9.6\r\n',
        b'HTTP/1.1 abc OK\r\n\r\n',
        b'HTTP/1.1\r\n\r\n',
        b'HTTP/9.9 200 OK\r\n\r\n',
        b'HTTP/1.1 200 OK\r\nno colon in it\r\n\r\n',
        b'HTTP/1.1 200 OK\r\nX: \xff\xfe\r\n\r\n',
        b'\x00\xff' * 500 + b'\r\n\r\n',
        b'\x15\x03\x01\x00\x02\x02\x16',
        b'x' * 2_000_000,
        b'HTTP/1.1 200 OK\r\nX: ' + b'x' * 2_000_000,
        b'HTTP/1.1 200 OK\r\n' + b'X: x\r\n' * 200 + b'\r\n',
        b'HTTP/1.1 400 Bad Request\r\nContent-Length: many\r\n\r\n',
        b'HTTP/1.1 400 Bad Request\r\nContent-Length: -1\r\n\r\n',
        b'HTTP/1.1 400 Bad Request\r\nContent-Length: 10000000000\r\n\r\n{}',
        b'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nsome\r\n',
    ],
    ids=[
        'ssh',
        'status-text',
        'no-status',
        'version',
        'header-without-colon',
        'header-latin',
        'binary',
        'tls-alert',
        'endless-line',
        'endless-header',
        'headers',
        'length-text',
        'length-negative',
        'length-huge',
        'chunk-text',
    ],
)
def test_what_is_no_http(hostile_server, witness, transport, said):
    def handle(sock):
        read_request(sock)
        with gevent.Timeout(10):
            sock.sendall(said)
        # It ends here: what is not refused yet must not wait for more.

    server = hostile_server(handle)
    witness(max_message_size=10000).fails_to_connect(server, transport)
    server.wait_open(0)


@pytest.mark.parametrize('transport', ['polling', 'websocket'])
def test_tls_where_the_server_speaks_none(hostile_server, witness, transport):
    def handle(sock):
        sock.recv(10)
        sock.sendall(response(HTML))

    server = hostile_server(handle)

    class Secure:
        url = server.url.replace('http', 'https')

    cause, _ = witness(ssl_verify=False).fails_to_connect(Secure, transport)
    assert isinstance(cause, ConnectionClosed)
    assert isinstance(cause.__cause__, OSError)


@pytest.mark.parametrize('transport', ['polling', 'websocket'])
def test_a_certificate_of_nobody_known(certificates, witness, transport, monkeypatch):
    monkeypatch.delenv('REQUESTS_CA_BUNDLE', raising=False)
    monkeypatch.delenv('CURL_CA_BUNDLE', raising=False)
    listener = gevent.socket.socket()
    listener.bind(('127.0.0.1', 0))
    listener.listen()
    context = certificates.server_context()

    def serve():
        sock, _ = listener.accept()
        with sock, pytest.raises(OSError, match=r'(?i)unknown ca'):
            context.wrap_socket(sock, server_side=True).recv(1)

    serving = gevent.spawn(serve)

    class Unknown:
        url = f'https://127.0.0.1:{listener.getsockname()[1]}'

    with listener:
        cause, error = witness().fails_to_connect(Unknown, transport)
        serving.get(timeout=5)
    assert 'CERTIFICATE_VERIFY_FAILED' in str(error).upper().replace(' ', '_')
    assert isinstance(cause.__cause__, OSError)


@pytest.mark.parametrize('transport', ['polling', 'websocket'])
def test_a_client_that_failed_connects_afterwards(hostile_server, witness, transport):
    answers = [response(HTML, '500 Oops'), None]

    def handle(sock):
        request = read_request(sock)
        answer = answers.pop(0) if answers else None
        if answer:
            sock.sendall(answer)
        elif transport == 'websocket':
            accept_websocket(sock, request)
            send_frame(sock, open_packet())
        else:
            respond(sock, open_packet())
        read_to_end(sock)

    server = hostile_server(handle)
    one = witness()
    one.fails_to_connect(server, transport)
    one.connect(server, transport)
    assert (one.client.state, one.client.sid) == ('connected', 'the-sid')
    one.client.disconnect(abort=True)
    assert one.ends == [('client disconnect', 'disconnecting')]


# -- Polling ------------------------------------------------------------------------------------


def polling(answer):
    """A handler that gives these bytes to each request, and waits for the client's end."""

    def handle(sock):
        read_request(sock)
        sock.sendall(answer)
        read_to_end(sock)

    return handle


@every_bad_open
def test_polling_without_a_proper_open_packet(hostile_server, witness, text, words):
    server = hostile_server(polling(response(text)))
    cause, error = witness().fails_to_connect(server)
    server.wait_open(0)
    assert isinstance(cause, ProtocolError)
    assert words in str(error)
    assert len(str(error)) < 300


@pytest.mark.parametrize(
    ('body', 'words'),
    [
        (HTML, "without a valid type: '<"),
        ('', 'the body is empty'),
        (b'0\xff', 'UTF-8'),
        (b'\xff\x00garbage' * 1000, 'UTF-8'),
        ('b!!!!', 'base64'),
        ('bAAAA', 'expected an OPEN packet, got MESSAGE'),
        ('\x1e' + open_packet(), 'empty packet'),
        (open_packet() + '\x1e', 'empty packet'),
        (open_packet() + '\x1e9', 'without a valid type'),
    ],
    ids=[
        'html',
        'empty',
        'utf-8',
        'garbage',
        'base64',
        'binary',
        'separator-first',
        'separator-last',
        'open-and-unknown',
    ],
)
def test_polling_with_a_bad_first_body(hostile_server, witness, body, words):
    server = hostile_server(polling(response(body)))
    _, error = witness().fails_to_connect(server)
    server.wait_open(0)
    assert words in str(error)
    assert len(str(error)) < 300


WHOLE = open_packet().encode()


@pytest.mark.parametrize(
    'answer',
    [
        response(WHOLE)[:-1],
        response(WHOLE)[: -len(WHOLE)],
        response(WHOLE + b'\x1e4hello')[:-7],
        b'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s' % (len(WHOLE) + 1, WHOLE),
        b'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n' % (len(WHOLE), WHOLE),
        response(gzip.compress(WHOLE)[:-1], headers=[('Content-Encoding', 'gzip')]),
        response(gzip.compress(WHOLE)[:20], headers=[('Content-Encoding', 'gzip')]),
    ],
    ids=[
        'a-byte-short',
        'no-body',
        'after-a-whole-packet',
        'chunk-cut',
        'no-last-chunk',
        'gzip-without-end',
        'gzip-cut',
    ],
)
def test_the_server_goes_within_the_first_body(hostile_server, witness, answer):
    def handle(sock):
        read_request(sock)
        sock.sendall(answer)

    cause, _ = witness().fails_to_connect(hostile_server(handle))
    assert isinstance(cause, (ConnectionClosed, ProtocolError))


@pytest.mark.parametrize(
    ('headers', 'body'),
    [
        ([('Content-Encoding', 'gzip')], WHOLE),
        ([('Content-Encoding', 'deflate')], WHOLE),
        ([('Content-Encoding', 'br')], WHOLE),
        ([('Content-Encoding', '\xff' * 1000)], WHOLE),
    ],
    ids=['not-gzip', 'not-deflate', 'unknown', 'garbage'],
)
def test_polling_with_an_encoding_that_cannot_be_undone(hostile_server, witness, headers, body):
    server = hostile_server(polling(response(body, headers=headers)))
    cause, error = witness().fails_to_connect(server)
    server.wait_open(0)
    assert isinstance(cause, ProtocolError)
    assert len(str(error)) < 300


@pytest.mark.parametrize(
    'answer',
    [
        response(WHOLE + b'\x1e4' + b'x' * 3000),
        b'HTTP/1.1 200 OK\r\n\r\n' + WHOLE + b'x' * 3000,
        b'HTTP/1.1 200 OK\r\nContent-Length: 10000000000000\r\n\r\n' + b'x' * 3000,
        b'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n'
        + b'400\r\n'
        + b'x' * 1024
        + b'\r\n'
        b'ffffffff\r\n' + b'x' * 3000,
        response(gzip.compress(WHOLE + bytes(1 << 20)), headers=[('Content-Encoding', 'gzip')]),
    ],
    ids=['length', 'no-length', 'announced', 'chunked', 'bomb'],
)
def test_polling_with_a_body_over_the_limit(hostile_server, witness, answer):
    server = hostile_server(polling(answer))
    cause, error = witness(max_message_size=2000).fails_to_connect(server)
    server.wait_open(0)
    assert isinstance(cause, ProtocolError)
    assert cause.code == 1009
    assert '2000' in str(error)


@pytest.mark.parametrize(
    ('location', 'words'),
    [
        ('/', 'redirects'),
        ('ftp://127.0.0.1/', 'redirected to a URL that is not HTTP'),
        ('http://127.0.0.1:99999/', 'redirected to an invalid URL'),
        ('http:///x', 'redirects'),
        ('http://[', ''),
        ('/\xe9 \x00', ''),
    ],
    ids=['loop', 'scheme', 'port', 'no-host', 'broken', 'characters'],
)
def test_polling_redirected_to_nowhere(hostile_server, witness, location, words):
    def handle(sock):
        while True:
            read_request(sock)
            respond(sock, '', '302 Found', [('Location', location)])

    server = hostile_server(handle)
    _, error = witness().fails_to_connect(server)
    server.wait_open(0)
    assert words in str(error)


# -- Websocket ----------------------------------------------------------------------------------


class WebSocketServer:
    """Shakes hands, sends these bytes, and reads what the client says to that.

    :param said: the bytes after the answer.
    :param together: whether they come in one piece with the answer.
    """

    def __init__(self, said, together=False):
        self.said = said
        self.together = together
        self.heard = []
        self.ended = Event()

    def __call__(self, sock):
        request = read_request(sock)
        if self.together:
            answer = []

            class Collector:
                sendall = answer.append

            accept_websocket(Collector, request)
            sock.sendall(answer[0] + self.said)
        else:
            accept_websocket(sock, request)
            sock.sendall(self.said)
        try:
            while True:
                self.heard.append(read_frame(sock))
        finally:
            self.ended.set()

    @property
    def close_code(self):
        """The code of the client's close frame, which is its last frame."""
        assert self.ended.wait(5), 'the client has not closed'
        assert self.heard, 'no close frame'
        opcode, payload = self.heard[-1]
        assert opcode == CLOSE
        return int.from_bytes(payload[:2], 'big')


@pytest.mark.parametrize('together', [False, True], ids=['apart', 'together'])
@every_bad_open
def test_websocket_without_a_proper_open_packet(hostile_server, witness, text, words, together):
    script = WebSocketServer(frame(text), together)
    server = hostile_server(script)
    cause, error = witness().fails_to_connect(server, 'websocket')
    server.wait_open(0)
    assert isinstance(cause, ProtocolError)
    assert words in str(error)
    assert len(str(error)) < 300


OPEN = open_packet()
BAD_FRAMES = [
    ('empty', frame(''), 1002),
    ('binary', frame(OPEN, BINARY), None),
    ('masked', frame(OPEN, mask=b'abcd'), 1002),
    ('reserved-bit-1', frame(OPEN, rsv=4), 1002),
    ('reserved-bit-3', frame(OPEN, rsv=1), 1002),
    ('unknown-opcode', frame(OPEN, 3), 1002),
    ('unknown-control', frame(OPEN, 11), 1002),
    ('continuation-first', frame(OPEN, 0), 1002),
    ('fragmented-ping', frame('x', PING, fin=False), 1002),
    ('long-ping', frame('x' * 126, PING), 1002),
    ('invalid-utf-8', frame(b'0\xff'), 1007),
    ('invalid-utf-8-fragments', frame(b'0\xe2', fin=False) + frame(b'\xff', 0), 1007),
    ('over-the-limit', frame('0' * 20001), 1009),
    ('over-the-limit-announced', frame(OPEN, length=1 << 40), 1009),
    ('over-the-limit-fragments', (frame('0' * 15000, fin=False) + frame('0' * 15000, 0)), 1009),
    ('length-of-64-bits', b'\x81\x7f' + b'\xff' * 8, 1002),
    ('length-not-minimal', b'\x81\x7e\x00\x05' + b'0' * 5, 1002),
    ('garbage', b'\xde\xad\xbe\xef' * 1000, 1002),
    ('second-message-inside', frame(OPEN, fin=False) + frame(OPEN), 1002),
    ('close-half-a-code', frame(b'\x03', CLOSE), 1002),
    ('close-1005', close_frame(1005), 1002),
    ('close-reason-utf-8', frame(b'\x03\xe8\xff', CLOSE), 1007),
]


@pytest.mark.parametrize('together', [False, True], ids=['apart', 'together'])
@pytest.mark.parametrize(
    ('said', 'code'), [case[1:] for case in BAD_FRAMES], ids=[case[0] for case in BAD_FRAMES]
)
def test_websocket_with_a_bad_first_frame(hostile_server, witness, said, code, together):
    script = WebSocketServer(said, together)
    server = hostile_server(script)
    cause, _ = witness(max_message_size=20000).fails_to_connect(server, 'websocket')
    server.wait_open(0)
    assert isinstance(cause, ProtocolError)
    if code is not None:
        assert cause.code == code
        assert script.close_code == code


@pytest.mark.parametrize(('code', 'reason'), [(1000, ''), (1008, 'go away'), (4001, 'token')])
def test_websocket_closed_instead_of_opened(hostile_server, witness, code, reason):
    script = WebSocketServer(close_frame(code, reason))
    server = hostile_server(script)
    cause, error = witness().fails_to_connect(server, 'websocket')
    server.wait_open(0)
    assert isinstance(cause, ConnectionClosed)
    assert (cause.code, cause.reason) == (code, reason)
    assert str(code) in str(error)
    assert reason in str(error)
    assert script.close_code == code  # RFC 6455, section 5.5.1: echoed


def test_websocket_opened_and_closed_in_one_breath(hostile_server, witness):
    script = WebSocketServer(frame(OPEN) + close_frame(1011), together=True)
    one = witness().connect(hostile_server(script), 'websocket')
    assert one.loses().code == 1011
    assert one.connects == 1


def test_websocket_opened_and_ended_by_a_close_packet_in_one_breath(hostile_server, witness):
    script = WebSocketServer(frame(OPEN) + frame('1'), together=True)
    server = hostile_server(script)
    one = witness().connect(server, 'websocket')
    assert one.loses('server disconnect', 'disconnecting') is None
    assert one.connects == 1
    server.wait_open(0)


@pytest.mark.parametrize(('way', 'end'), [('polling', '1'), ('websocket', '1'), ('websocket', '')])
def test_last_words(hostile_server, witness, way, end):
    """OPEN, messages and the end in one body or one segment: all of it is handled, in order."""
    words = [open_packet(), '4you are banned', '4for a year', *filter(None, [end])]
    if way == 'polling':
        script = polling(response('\x1e'.join(words)))
    else:
        script = WebSocketServer(b''.join(map(frame, words)) + close_frame(1000), together=True)
    server = hostile_server(script)
    one = witness()
    order = []
    one.client.on('connect', lambda: order.append('connect'))
    one.client.on('message', order.append)
    one.connect(server, way)
    if end:
        one.loses('server disconnect', 'disconnecting')
    else:
        one.loses()
    assert order == ['connect', 'you are banned', 'for a year']
    server.wait_open(0)


@pytest.mark.parametrize(
    'said',
    [b'', frame(OPEN)[:1], frame(OPEN)[:-1]],
    ids=['nothing', 'half-a-header', 'a-byte-short'],
)
@pytest.mark.parametrize('end', ['close', 'reset'])
def test_the_server_goes_within_the_first_frame(hostile_server, witness, said, end):
    def handle(sock):
        accept_websocket(sock)
        sock.sendall(said)
        if end == 'reset':
            reset(sock)

    cause, _ = witness().fails_to_connect(hostile_server(handle), 'websocket')
    assert isinstance(cause, ConnectionClosed)
    assert cause.code == 1006


@pytest.mark.parametrize(
    'answer',
    [
        'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok',
        'HTTP/1.1 101 Switching Protocols\r\n\r\n',
        'HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n\r\n',
        'HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n',
        'HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n'
        'Sec-WebSocket-Accept: AAAAAAAAAAAAAAAAAAAAAAAAAAA=\r\n\r\n',
        'HTTP/1.1 301 Moved Permanently\r\nLocation: /\r\nContent-Length: 0\r\n\r\n',
        'HTTP/1.1 307 Temporary Redirect\r\nContent-Length: 0\r\n\r\n',
    ],
    ids=[
        '200',
        'bare-101',
        'other-protocol',
        'no-accept',
        'wrong-accept',
        '301',
        '307-without-location',
    ],
)
def test_websocket_answered_with_no_websocket(hostile_server, witness, answer):
    def handle(sock):
        read_request(sock)
        sock.sendall(answer.encode())
        read_to_end(sock)

    server = hostile_server(handle)
    cause, error = witness(request_timeout=3).fails_to_connect(server, 'websocket')
    server.wait_open(0)
    # The answer itself is what is refused, not the silence after it.
    assert isinstance(cause, (ProtocolError, HTTPError))
    assert 'seconds' not in str(error)


def test_an_open_packet_in_fragments_with_a_ping_between_is_taken(hostile_server, witness):
    """What is odd but allowed is no bad input."""
    said = b''.join(
        [
            frame(OPEN[:1], fin=False),
            frame('are you there', PING),
            frame(OPEN[1:5], 0, fin=False),
            frame('', 0, fin=False),
            frame(OPEN[5:], 0),
        ]
    )
    heard = AsyncResult()

    def handle(sock):
        accept_websocket(sock)
        for byte in said:
            sock.sendall(bytes([byte]))
        heard.set(read_frame(sock))
        read_to_end(sock)

    one = witness().connect(hostile_server(handle), 'websocket')
    assert one.client.sid == 'the-sid'
    assert heard.get(timeout=5) == (PONG, b'are you there')


@pytest.mark.parametrize('transport', ['polling', 'websocket'])
def test_bytes_of_chance_for_an_answer(hostile_server, witness, transport):
    """No kind of exception but one, whatever comes; a second list of bytes every run."""
    pieces = [os.urandom(size) for size in (1, 2, 10, 100, 1000)]

    def handle(sock):
        read_request(sock)
        sock.sendall(pieces[-1])

    server = hostile_server(handle)
    while pieces:
        witness().fails_to_connect(server, transport)
        pieces.pop()
    server.wait_open(0)


def test_try_all_transports_goes_on_after_each_kind_of_failure(hostile_server, witness):
    def handle(sock):
        request = read_request(sock)
        if 'transport=polling' in request.target:
            respond(sock, HTML)
        else:
            accept_websocket(sock, request)
            send_frame(sock, OPEN)
            read_exactly(sock, 1)

    one = witness(try_all_transports=True).connect(hostile_server(handle), None)
    assert one.client.transport() == 'websocket'
    one.client.disconnect(abort=True)
