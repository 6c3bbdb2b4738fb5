"""The handshake of a websocket: what is sent, what is accepted, refusals that come late."""

from __future__ import annotations

import base64
import re

import pytest

from engineio_gevent.exceptions import ConnectionClosed, HTTPError, ProtocolError
from engineio_gevent.protocol.http1 import Response
from engineio_gevent.transports import handshake
from engineio_gevent.transports.handshake import (
    MAX_REFUSAL,
    Handshake,
    LateRefusal,
    check_answer,
    listed_subprotocols,
)
from engineio_gevent.transports.redirects import Destination
from engineio_gevent.transports.route import Route

# The example of RFC 6455, section 1.3.
KEY = 'dGhlIHNhbXBsZSBub25jZQ=='
ACCEPT = 's3pPLMBiTxaQ9kYGzzhZRbK+xOo='
PLACE = Destination(False, 'a.test', 80, 'a.test', '/engine.io/?transport=websocket')


def answer(status=101, body=b'', **headers):
    """A response; a header of None is left out."""
    given = {
        'Upgrade': 'websocket',
        'Connection': 'Upgrade',
        'Sec_WebSocket_Accept': ACCEPT,
        **headers,
    }
    lines = [f'HTTP/1.1 {status} -']
    lines += [f'{name.replace("_", "-")}: {value}' for name, value in given.items() if value]
    if status != 101:
        lines.append(f'Content-Length: {len(body)}')
    response = Response(None)
    assert response.feed('\r\n'.join([*lines, '', '']).encode() + body)
    return response


class Socket:
    def __init__(self, reply=b''):
        self.reply = reply
        self.sent = b''

    def sendall(self, data):
        self.sent += data

    def recv(self, size):
        piece, self.reply = self.reply[:size], self.reply[size:]
        return piece

    def setsockopt(self, *option):
        pass


# -- The request -----------------------------------------------------------------------------------


def ask(headers=()):
    sock = Socket(b'HTTP/1.1 101 -\r\nX: y\r\n\r\nrest')
    one = Handshake(Route('http://a.test'))
    found = one.ask(sock, PLACE, list(headers))
    assert (found.status, found.headers, found.rest) == (101, {'x': 'y'}, b'rest')
    assert one.get_mask_key is None
    first, *lines = sock.sent.decode().split('\r\n')[:-2]
    assert first == 'GET /engine.io/?transport=websocket HTTP/1.1'
    return one, [tuple(line.split(': ', 1)) for line in lines]


def test_the_request():
    _, lines = ask([('X', 'y'), ('Connection', 'close'), ('UPGRADE', 'h2c'), ('X', 'z')])
    key = dict(lines)['Sec-WebSocket-Key']
    assert len(base64.b64decode(key)) == 16
    assert lines == [
        ('Upgrade', 'websocket'),
        ('Host', 'a.test'),
        ('Origin', 'http://a.test'),
        ('Sec-WebSocket-Key', key),
        ('Sec-WebSocket-Version', '13'),
        ('Connection', 'Upgrade'),
        ('X', 'y'),
        ('X', 'z'),
    ]
    _, again = ask()
    assert dict(again)['Sec-WebSocket-Key'] != key


def test_host_and_origin_of_the_caller():
    _, lines = ask([('HOST', 'h'), ('origin', 'o')])
    names = [name for name, _ in lines]
    assert ('HOST', 'h') in lines
    assert ('origin', 'o') in lines
    assert 'Host' not in names
    assert 'Origin' not in names


def test_the_answer_is_checked_with_the_key_and_what_was_offered():
    one, _ = ask([('sec-websocket-protocol', 'a, b'), ('Sec-WebSocket-Protocol', 'c')])
    one._key = KEY
    for chosen in ('a', 'b', 'C'):
        one.check(answer(Sec_WebSocket_Protocol=chosen), PLACE)
    for wrong in ('d', None):
        with pytest.raises(ProtocolError, match='Sec-WebSocket-Protocol'):
            one.check(answer(Sec_WebSocket_Protocol=wrong), PLACE)
    one._key = 'other'
    with pytest.raises(ProtocolError, match='Sec-WebSocket-Accept'):
        one.check(answer(Sec_WebSocket_Protocol='a'), PLACE)
    fresh = Handshake(Route('http://a.test'))
    fresh._key = KEY
    fresh.check(answer(), PLACE)


def test_listed_subprotocols():
    headers = [('Sec-WebSocket-Protocol', 'a , b'), ('X', 'c'), ('sec-websocket-protocol', 'd')]
    assert listed_subprotocols(headers) == ['a', 'b', 'd']
    assert listed_subprotocols([]) == []


# -- The answer ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    'headers',
    [
        {},
        {'Upgrade': 'WebSocket'},
        {'Connection': 'keep-alive, UPGRADE'},
        {'Sec_WebSocket_Extensions': ''},
    ],
)
def test_a_right_answer(headers):
    check_answer(answer(**headers), PLACE, KEY, [])


@pytest.mark.parametrize(
    ('headers', 'text'),
    [
        ({'Upgrade': None}, 'without the header Upgrade'),
        ({'Upgrade': 'h2c'}, "with an invalid header Upgrade: 'h2c'"),
        ({'Connection': None}, 'without the header Connection'),
        ({'Connection': 'close'}, "with an invalid header Connection: 'close'"),
        ({'Sec_WebSocket_Accept': None}, 'without the header Sec-WebSocket-Accept'),
        ({'Sec_WebSocket_Accept': 'x' * 200}, f"Sec-WebSocket-Accept: '{'x' * 100}'"),
        ({'Sec_WebSocket_Extensions': 'zip'}, "invalid header Sec-WebSocket-Extensions: 'zip'"),
        ({'Sec_WebSocket_Protocol': 'a'}, "invalid header Sec-WebSocket-Protocol: 'a'"),
    ],
)
def test_a_wrong_answer(headers, text):
    with pytest.raises(ProtocolError) as caught:
        check_answer(answer(**headers), PLACE, KEY, [])
    assert str(caught.value).startswith('websocket handshake response with')
    assert str(caught.value).endswith(text)


def test_without_a_key_the_accept_is_not_checked():
    check_answer(answer(Sec_WebSocket_Accept=None), PLACE, None, [])
    check_answer(answer(Sec_WebSocket_Accept='x'), PLACE, None, [])


def test_subprotocols():
    for chosen in ('a', 'B'):
        check_answer(answer(Sec_WebSocket_Protocol=chosen), PLACE, KEY, ['A', 'b'])
    with pytest.raises(ProtocolError, match='without the header Sec-WebSocket-Protocol'):
        check_answer(answer(), PLACE, KEY, ['A'])


@pytest.mark.parametrize('status', [200, 400, 100 + 102])
def test_another_status(status):
    refused = answer(status, b'{"message": "no"}', Retry_After='7')
    with pytest.raises(HTTPError) as caught:
        check_answer(refused, PLACE, KEY, [])
    error = caught.value
    assert (error.status, error.body, error.headers['retry-after']) == (
        status,
        {'message': 'no'},
        '7',
    )
    assert str(error) == (
        f'Unexpected status code {status} in server response to the websocket handshake with '
        'http://a.test/engine.io/: no'
    )


# -- Refusals after status 101 ---------------------------------------------------------------------

REFUSAL = b'HTTP/1.1 400 Bad\r\nContent-Length: 17\r\nX: y\r\n\r\n{"message": "no"}'
WHAT = 'the websocket handshake with a.test, after status 101'


def refusal():
    return LateRefusal(ProtocolError('fault'), 'a.test')


@pytest.mark.parametrize('at', range(len(REFUSAL)))
def test_a_late_refusal(at):
    one = refusal()
    assert one.feed(REFUSAL[:at]) == []
    with pytest.raises(HTTPError) as caught:
        one.feed(REFUSAL[at:])
    error = caught.value
    assert (error.status, error.body, error.headers['x']) == (400, {'message': 'no'}, 'y')
    assert str(error) == f'Unexpected status code 400 in server response to {WHAT}: no'


@pytest.mark.parametrize('said', [b'HTML', b'HTTP 400\r\n\r\n', b'HTTP/x\r\n\r\n', b'XHTTP/1.1'])
@pytest.mark.parametrize('piece', [1, 100])
def test_what_is_no_refusal(said, piece):
    one = refusal()
    with pytest.raises(ProtocolError) as caught:
        for start in range(0, len(said), piece):
            assert one.feed(said[start : start + piece]) == []
    assert caught.value is one.fault


def test_the_fault_as_soon_as_it_is_one():
    one = refusal()
    assert one.feed(b'HT') == []
    with pytest.raises(ProtocolError, match='fault'):
        one.feed(b'M')


def test_a_late_refusal_that_is_cut():
    one = refusal()
    one.feed(REFUSAL[:20])
    error = one.error()
    assert isinstance(error, ConnectionClosed)
    assert 'in the middle of a response' in str(error)
    one = refusal()
    one.feed(REFUSAL[:-1])
    error = one.error()
    assert isinstance(error, HTTPError)
    assert (error.status, error.body) == (400, None)


def test_a_late_refusal_without_a_length():
    one = refusal()
    assert one.feed(b'HTTP/1.1 503 Busy\r\n\r\n{"message": ') == []
    assert one.feed(b'"no"}') == []
    error = one.error()
    assert (error.status, error.body) == (503, {'message': 'no'})


def test_a_late_refusal_that_is_compressed_wrongly():
    one = refusal()
    with pytest.raises(HTTPError) as caught:
        one.feed(b'HTTP/1.1 400 Bad\r\nContent-Encoding: gzip\r\nContent-Length: 4\r\n\r\n"no"')
    assert (caught.value.status, caught.value.body) == (400, None)


def test_a_late_refusal_has_a_limit():
    one = refusal()
    head = f'HTTP/1.1 400 Bad\r\nContent-Length: {MAX_REFUSAL}\r\n\r\n'.encode()
    assert one.feed(head) == []
    head = f'HTTP/1.1 400 Bad\r\nContent-Length: {MAX_REFUSAL + 1}\r\n\r\n'.encode()
    one = refusal()
    with pytest.raises(HTTPError, match='status code 400') as caught:
        one.feed(head)
    assert (caught.value.status, caught.value.body) == (400, None)
    assert MAX_REFUSAL == 1 << 20


def test_it_keeps_nothing_and_begins_as_no_frame_does():
    assert refusal().unread == b''
    assert not refusal().idle
    assert LateRefusal.BEGINS == b'HT'


def test_a_compressed_response_is_within_the_limit(monkeypatch):
    import gzip

    body = gzip.compress(b'{"message": "%b"}' % (b'x' * 5000))
    head = f'HTTP/1.1 400 -\r\nContent-Encoding: gzip\r\nContent-Length: {len(body)}\r\n\r\n'
    one = refusal()
    with pytest.raises(HTTPError, match=re.escape(': xxx')):
        one.feed(head.encode() + body)
    monkeypatch.setattr(handshake, 'MAX_REFUSAL', 1000)
    one = refusal()
    with pytest.raises(HTTPError) as caught:
        one.feed(head.encode() + body)
    assert caught.value.body is None
