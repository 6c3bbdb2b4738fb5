"""Texts of a server in exceptions and in the log: one line each, nothing for the terminal, short.

What handlers, `args[1]`, `body`, `headers` and `reason` hold stays as it came.
"""

import json
import logging
import unicodedata

import pytest
import requests

from engineio_gevent.exceptions import MAX_TEXT, EngineIOError, HTTPError
from support import (
    NativeServer,
    accept_websocket,
    close_frame,
    eventually,
    frame,
    open_packet,
    read_request,
    read_to_end,
    respond,
    response,
)

LINE = '\r\n2026-01-01 CRITICAL all is lost'
TERMINAL = '\x1b[2J\x1b]0;title\x07\x9b1m\x08\x7f\x00\x85'
TEXTS = {
    'line': LINE,
    'terminal': TERMINAL,
    'unicode': '\u2028\u2029\u202e\u2066\u200f\u061c',
    'long': 'long \x1b\n' * 40_000,
}
every_text = pytest.mark.parametrize('text', TEXTS.values(), ids=TEXTS)

_FORBIDDEN = {'Cc', 'Cf', 'Cs', 'Zl', 'Zp'}


def check(text, limit=MAX_TEXT + 3):
    bad = {char for char in text if unicodedata.category(char) in _FORBIDDEN}
    assert not bad, f'{sorted(bad)} in {text[:200]!r}'
    assert limit is None or len(text) <= limit


def in_a_header(text):
    """What of a text a line of a head can carry."""
    return text.encode('latin-1', 'ignore').decode('latin-1').translate({10: ' ', 13: ' '})[:5000]


def fields(**changes):
    return open_packet(**changes)


# Each takes a text, and gives the bytes of the answer to the first request.
ANSWERS = {
    'json-message': lambda text: response(json.dumps({'message': text}), '400 Bad Request'),
    'json-of-404': lambda text: response(json.dumps({'message': text}), '404 Not Found'),
    'reason-phrase': lambda text: response('', f'400 {in_a_header(text)}'),
    'status-line': lambda text: f'HTTP/1.1 {in_a_header(text)}\r\n\r\n'.encode('latin-1'),
    'no-http': lambda text: text.encode(),
    'header-line': lambda text: f'HTTP/1.1 200 OK\r\n{in_a_header(text)}\r\n\r\n'.encode('latin-1'),
    **{
        f'header-{name}'.lower(): lambda text, status=status, name=name: (
            f'HTTP/1.1 {status}\r\n{name}: {in_a_header(text)}\r\n\r\n'.encode('latin-1')
        )
        for status, name in (
            ('200 OK', 'Content-Length'),
            ('200 OK', 'Transfer-Encoding'),
            ('303 See Other', 'Location'),
            ('400 Bad Request', 'X'),
        )
    },
    'encoding': lambda text: response('x', '200 OK', [('Content-Encoding', in_a_header(text))]),
    'location': lambda text: response(
        '', '307 Temporary Redirect', [('Location', f'http://{in_a_header(text)}/')]
    ),
    'location-scheme': lambda text: response(
        '', '307 Temporary Redirect', [('Location', f'gopher://x/{in_a_header(text)}')]
    ),
}
BODIES = {
    'type': lambda text: text,
    'sid': lambda text: fields(sid=f'x{text}'),
    'upgrades': lambda text: fields(upgrades=text),
    'ping-interval': lambda text: fields(pingInterval=text),
    'json': lambda text: f'0{{{text}',
    'base64': lambda text: f'b{text}',
    'no-open-packet': lambda text: f'4{text}',
    'after': lambda text: f'{open_packet()}\x1e9{text}',
}
FRAMES = {
    **{name: lambda text, make=make: frame(make(text)) for name, make in BODIES.items()},
    'close': lambda text: close_frame(3000, text.encode()[:100].decode(errors='ignore')),
    'late-refusal': lambda text: response(json.dumps({'message': text}), '400 Bad Request'),
}


def all_of(error):
    """An exception and its causes."""
    seen = []
    while error is not None and error not in seen:
        yield error
        seen.append(error)
        error = error.__cause__ or error.__context__


def check_error(error):
    for one in all_of(error):
        check(str(one))
        check(repr(one), None)
        if isinstance(one, EngineIOError):
            check(one.args[0])


@pytest.fixture
def log(caplog):
    """Has each line that has been logged checked at the end."""
    caplog.set_level(logging.DEBUG)
    caplog.set_level(logging.DEBUG, 'engineio_gevent.client')
    yield caplog
    records = caplog.get_records('call')
    assert records, 'nothing was logged at all'
    for record in records:
        check(record.getMessage(), None)


def answering(data):
    def serve(sock):
        read_request(sock)
        sock.sendall(data)

    return serve


@every_text
@pytest.mark.parametrize('answer', ANSWERS.values(), ids=ANSWERS)
@pytest.mark.parametrize('transport', ['polling', 'websocket'])
def test_an_answer_to_the_handshake(hostile_server, witness, log, transport, answer, text):
    cause, error = witness(logger=True).fails_to_connect(
        hostile_server(answering(answer(text))), transport
    )
    check_error(error)
    assert '127.0.0.1' in str(error)
    assert isinstance(cause, EngineIOError)


@every_text
@pytest.mark.parametrize('make', BODIES.values(), ids=BODIES)
def test_an_open_packet_by_polling(hostile_server, witness, log, make, text):
    data = response(make(text))
    server = hostile_server(answering(data))
    try:
        witness(logger=True).connect(server, 'polling')
    except EngineIOError as error:
        check_error(error)


@every_text
@pytest.mark.parametrize('make', FRAMES.values(), ids=FRAMES)
def test_an_open_packet_by_a_websocket(hostile_server, witness, log, make, text):
    def serve(sock):
        accept_websocket(sock)
        sock.sendall(make(text) + close_frame())
        read_to_end(sock)

    one = witness(logger=True)
    try:
        one.connect(hostile_server(serve), 'websocket')
    except EngineIOError as error:
        check_error(error)
    else:
        check_error(one.loses())


@every_text
@pytest.mark.parametrize(
    'name', ['Upgrade', 'Connection', 'Sec-WebSocket-Accept', 'Sec-WebSocket-Protocol']
)
@pytest.mark.parametrize('options', [None, {'enable_multithread': True}], ids=['own', 'theirs'])
def test_the_head_of_a_websocket(hostile_server, witness, log, name, options, text):
    def serve(sock):
        accept_websocket(sock, headers=[(name, in_a_header(text))])

    one = witness(logger=True, websocket_extra_options=options)
    _, error = one.fails_to_connect(hostile_server(serve), 'websocket')
    check_error(error)


@every_text
@pytest.mark.parametrize('name', ANSWERS)
def test_an_answer_to_websocket_client(hostile_server, witness, log, name, text):
    one = witness(logger=True, websocket_extra_options={'enable_multithread': True})
    server = hostile_server(answering(ANSWERS[name](text)))
    _, error = one.fails_to_connect(server, 'websocket')
    check(str(error))
    for one in all_of(error):
        if isinstance(one, EngineIOError):
            check(str(one))


@every_text
def test_an_answer_of_a_proxy(hostile_server, witness, log, text, monkeypatch):
    proxy = hostile_server(answering(ANSWERS['reason-phrase'](text)))
    monkeypatch.setenv('http_proxy', proxy.url)
    monkeypatch.delenv('no_proxy', raising=False)
    monkeypatch.delenv('NO_PROXY', raising=False)
    one = witness(logger=True)
    with pytest.raises(EngineIOError) as caught:
        one.client.connect('http://server.test', transports='websocket')
    check_error(caught.value)
    assert 'CONNECT' in str(caught.value)


@every_text
@pytest.mark.parametrize('name', ANSWERS)
def test_an_answer_to_a_session(witness, log, name, text):
    """What requests raised stays the cause, with a text of its own."""
    server = NativeServer(answering(ANSWERS[name](text)))
    try:
        with requests.Session() as session:
            session.trust_env = False
            one = witness(logger=True, http_session=session)
            with pytest.raises(EngineIOError) as caught:
                one.client.connect(server.url, transports='polling')
    finally:
        server.stop()
    for error in all_of(caught.value):
        if isinstance(error, EngineIOError):
            check(str(error))
            check(error.args[0])


@every_text
def test_the_packets_of_a_connection(hostile_server, witness, log, text):
    """Messages are logged whole, and delivered as they came."""
    text = text.replace('\x1e', '')

    def serve(sock):
        accept_websocket(sock)
        for packet in (open_packet(), f'4{text}', f'2{text[:100]}', f'6{text}', f'3{text}'):
            sock.sendall(frame(packet))
        sock.sendall(close_frame(3000, text.encode()[:100].decode(errors='ignore')))
        read_to_end(sock)

    one = witness(logger=True).connect(hostile_server(serve), 'websocket')
    error = one.loses()
    check_error(error)
    assert one.messages == [text]
    assert error.reason == text.encode()[:100].decode(errors='ignore')
    lines = [record.getMessage() for record in log.records]
    assert eventually(lambda: any('Sending packet PONG' in line for line in lines))
    assert any('MESSAGE' in line and len(line) >= len(text) for line in lines)


@every_text
def test_what_a_program_reads_is_as_it_came(hostile_server, witness, text):
    body = {'message': text, 'code': 1}
    header = in_a_header(text).replace('\0', '').strip()
    data = response(json.dumps(body), '400 Bad Request', [('X', header)])
    cause, error = witness().fails_to_connect(hostile_server(answering(data)), 'polling')
    assert isinstance(cause, HTTPError)
    assert error.args[1] == cause.body == body
    assert cause.headers['x'] == header


def test_an_upgrade_that_fails_is_logged_in_one_line(hostile_server, witness, log):
    def serve(sock):
        while True:
            request = read_request(sock)
            if 'sec-websocket-key' in request.headers:
                respond(sock, json.dumps({'message': LINE + TERMINAL}), '400 Bad Request')
            elif 'sid=' in request.target:
                read_to_end(sock)
                return
            else:
                respond(sock, open_packet(upgrades=['websocket']))

    one = witness(logger=True).connect(hostile_server(serve), None)
    one.client.disconnect(abort=True)  # nobody answers it
    assert any('upgrade failed' in record.getMessage() for record in log.records)
