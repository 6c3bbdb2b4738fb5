"""What a server makes a client keep is bounded, by a proxy as without one."""

import pytest

from engineio_gevent.exceptions import ConnectionError
from support import accept_websocket, frame, open_packet, read_request, respond

#: Cookies of one response: as many lines as a head may have.
COUNT = 90
VALUE = 'x' * 20


def cookies(number):
    """The headers of a response that sets cookies with names of its own."""
    return [('Set-Cookie', f'n{number}_{i}={VALUE}; Path=/') for i in range(COUNT)]


@pytest.fixture(params=['direct', 'proxy'])
def reach(request, monkeypatch):
    """`reach(server)`: the URL for a server; the server is the proxy of the environment as well."""

    def url(server):
        if request.param == 'direct':
            return server.url
        monkeypatch.setenv('http_proxy', server.url)
        monkeypatch.setenv('no_proxy', '')
        return 'http://a.test'

    return url


class Server:
    """Sets more cookies with each of its responses, and keeps those that it gets."""

    def __init__(self, responses, redirect):
        self.got = []
        self._responses = responses
        self._redirect = redirect

    def __call__(self, sock):
        while True:
            request = read_request(sock)
            if request.method == 'CONNECT':
                sock.sendall(b'HTTP/1.1 200 OK\r\n\r\n')
                continue
            self.got.append(request.headers.get('cookie', ''))
            number = len(self.got)
            headers = cookies(number)
            last = number == self._responses
            if 'sec-websocket-key' in request.headers and last:
                accept_websocket(sock, request, headers)
                sock.sendall(frame(open_packet()) + frame('1'))
                sock.recv(1000)
                return
            if self._redirect and not last:
                location = ('Location', f'/engine.io/?n={number}')
                respond(sock, '', '307 Redirect', [location, *headers])
            else:
                respond(
                    sock, '1' if last else open_packet() if number == 1 else '6', '200', headers
                )


@pytest.mark.parametrize('redirect', [False, True], ids=['polls', 'redirects'])
def test_cookies_of_polling(hostile_server, witness, reach, redirect):
    server = Server(6, redirect)
    one = witness()
    url = reach(hostile_server(server))
    if redirect:  # the last response is a CLOSE packet
        with pytest.raises(ConnectionError):
            one.client.connect(url, transports='polling')
    else:
        one.client.connect(url, transports='polling')
        one.loses('server disconnect', 'disconnecting')
    assert [line.count('=') for line in server.got] == [0, 90, 180, 200, 200, 200]


def test_cookies_of_redirected_websockets(hostile_server, witness, reach):
    server = Server(6, True)
    one = witness()
    one.client.connect(reach(hostile_server(server)), transports='websocket')
    one.loses('server disconnect', 'disconnecting')
    assert len(server.got) == 6
    assert [line.count('=') for line in server.got] == [0, 90, 180, 200, 200, 200]


@pytest.mark.parametrize('transport', ['polling', 'websocket'])
@pytest.mark.parametrize(
    'head',
    ['X: y\r\n' * 101, f'X: {"x" * 70_000}\r\n', '\r\nHTTP/1.1 100 -\r\n' * 20],
    ids=['lines', 'bytes', 'interim'],
)
def test_heads(hostile_server, witness, reach, transport, head):
    def answer(sock):
        request = read_request(sock)
        if request.method == 'CONNECT':
            sock.sendall(b'HTTP/1.1 200 OK\r\n\r\n')
            read_request(sock)
        status = 100 if '100' in head else 200
        sock.sendall(f'HTTP/1.1 {status} -\r\n{head}\r\n'.encode())

    url = reach(hostile_server(answer))
    one = witness()
    with pytest.raises(ConnectionError) as caught:
        one.client.connect(url, transports=transport)
    assert 'header' in str(caught.value) or 'interim' in str(caught.value)
