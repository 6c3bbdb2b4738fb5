"""A hostile proxy, or a hostile server behind one: the limits are those of a direct connection."""

import pytest

from engineio_gevent.exceptions import ConnectionClosed, ProtocolError
from engineio_gevent.transports.cookies import MAX_SIZE
from support import eventually, open_packet, read_exactly, read_request, read_to_end, response

#: Bytes that fit into the buffers of the sockets between a server and a client that reads nothing.
BUFFERS = 32 << 20


def forwarded(sock):
    """An HTTP proxy gets the requests themselves."""


def by_socks(sock):
    """Shake hands as a SOCKS 5 proxy."""
    read_exactly(sock, read_exactly(sock, 2)[1])
    sock.sendall(b'\5\0')
    read_exactly(sock, 4)
    read_exactly(sock, read_exactly(sock, 1)[0] + 2)
    sock.sendall(b'\5\0\0\1' + bytes(6))


def by_connect(sock):
    """Answer CONNECT."""
    assert read_request(sock).method == 'CONNECT'
    sock.sendall(b'HTTP/1.1 200 OK\r\n\r\n')


POLLING = {'http': forwarded, 'socks5h': by_socks}
WEBSOCKET = {'http': by_connect, 'socks5h': by_socks}


@pytest.fixture
def through(hostile_server, witness, monkeypatch):
    """`through(scheme, serve)`: a client, and the URL of a server that only a proxy can reach."""

    def start(scheme, serve, **options):
        proxy = hostile_server(serve)
        for name in ('no_proxy', 'NO_PROXY', 'http_proxy', 'HTTP_PROXY', 'all_proxy', 'ALL_PROXY'):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv('http_proxy', f'{scheme}://127.0.0.1:{proxy.port}')
        return witness(**options), proxy

    return start


@pytest.mark.parametrize(('scheme', 'shake_hands'), POLLING.items(), ids=POLLING)
def test_cookies_and_the_heads_of_requests(through, scheme, shake_hands):
    requests = []

    def serve(sock):
        shake_hands(sock)
        while True:
            request = read_request_quickly(sock)
            requests.append(request)
            first = len(requests) * 15
            cookies = [
                ('Set-Cookie', f'name{number}={"x" * 4000}; Path=/')
                for number in range(first, first + 15)
            ]
            body = '4more' if b'sid=' in request else open_packet()
            sock.sendall(response(body, headers=cookies))

    one, _ = through(scheme, serve)
    one.client.connect('http://server.test', transports='polling')
    assert eventually(lambda: len(requests) > 25, 30)
    sizes = [request.count(b'name') for request in requests]
    assert max(sizes) == sizes[-1] == MAX_SIZE // 4006
    assert max(map(len, requests)) < MAX_SIZE + 4096


def read_request_quickly(sock):
    """The head of a GET, as bytes."""
    head = b''
    while not head.endswith(b'\r\n\r\n'):
        piece = sock.recv(1 << 20)
        if not piece:
            raise ConnectionResetError
        head += piece
    return head


def send_without_end(sock, data):
    """Send it again and again until the client has gone; returns how many bytes went out."""
    sent = 0
    try:
        while sent < 4 * BUFFERS:
            sock.sendall(data)
            sent += len(data)
    except OSError:
        pass
    return sent


@pytest.mark.parametrize(
    ('transport', 'scheme', 'shake_hands'),
    [
        *(('polling', *one) for one in POLLING.items()),
        *(('websocket', *one) for one in WEBSOCKET.items()),
    ],
)
@pytest.mark.parametrize('begins', ['head', 'body', 'refusal'])
def test_answers_without_end(through, transport, scheme, shake_hands, begins):
    sent = []

    def serve(sock):
        shake_hands(sock)
        read_request(sock)
        if begins == 'head':
            sock.sendall(b'HTTP/1.1 200 OK\r\n')
        else:
            status = b'200 OK' if begins == 'body' else b'400 Bad Request'
            sock.sendall(b'HTTP/1.1 ' + status + b'\r\n\r\n')
        sent.append(send_without_end(sock, b'x: ' + b'x' * 60_000 + b'\r\n'))

    one, proxy = through(scheme, serve, max_message_size=1 << 20)
    cause, _ = one.fails_to_connect(Named(proxy), transport)
    if begins == 'refusal' or (transport == 'websocket' and begins == 'body'):
        assert cause.status == (400 if begins == 'refusal' else 200)
    else:
        assert isinstance(cause, ProtocolError)
    proxy.wait_open(0, 30)
    assert sent[0] < BUFFERS


class Named:
    """A server by the name that only the proxy knows."""

    url = 'http://server.test'

    def __init__(self, proxy):
        self.wait_open = proxy.wait_open


@pytest.mark.parametrize('begins', ['head', 'refusal'])
def test_answers_to_connect_without_end(through, begins):
    sent = []

    def serve(sock):
        read_request(sock)
        sock.sendall(b'HTTP/1.1 403 Forbidden\r\n' + (b'\r\n' if begins == 'refusal' else b''))
        sent.append(send_without_end(sock, b'x: ' + b'x' * 60_000 + b'\r\n'))

    one, proxy = through('http', serve)
    cause, _ = one.fails_to_connect(Named(proxy), 'websocket')
    assert isinstance(cause, ConnectionClosed)
    assert ('403 Forbidden' if begins == 'refusal' else 'larger than 65536 bytes') in str(cause)
    proxy.wait_open(0, 30)
    assert sent[0] < BUFFERS


def test_a_long_greeting_of_socks(through):
    """No more of it is read than the protocol has."""

    def serve(sock):
        read_exactly(sock, 3)
        sock.sendall(b'\5\xff' + b'x' * 100_000)
        read_to_end(sock)

    one, proxy = through('socks5h', serve)
    cause, _ = one.fails_to_connect(Named(proxy), 'polling')
    assert 'the SOCKS proxy refused' in str(cause)
    proxy.wait_open(0)
