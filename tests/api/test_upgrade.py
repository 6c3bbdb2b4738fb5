"""The upgrade from polling to a websocket: nothing lost, doubled or reordered, whatever happens."""

import gevent
import gevent.event
import gevent.socket
import pytest

import support


class Proxy:
    """A way to a server that treats a request for a websocket in its own manner.

    :param on_websocket: called with the client's socket and the head of its request before
                         anything reaches the server; returns whether that shall happen at all.
    """

    def __init__(self, hostile_server, server, on_websocket):
        self._server = server
        self._on_websocket = on_websocket
        self._front = hostile_server(self._handle)
        #: how many requests for a websocket came
        self.websockets = 0

    @property
    def url(self):
        return self._front.url

    def _handle(self, sock):
        head = sock.recv(65536)
        if b'transport=websocket' in head:
            self.websockets += 1
            if not self._on_websocket(sock, head):
                return
        with gevent.socket.socket() as back:
            back.connect((self._server.host, self._server.port))
            back.sendall(head)
            pumps = [gevent.spawn(self._pump, *pair) for pair in [(sock, back), (back, sock)]]
            try:
                gevent.joinall(pumps, count=1)
            finally:
                gevent.killall(pumps)

    @staticmethod
    def _pump(source, target):
        try:
            while data := source.recv(65536):
                target.sendall(data)
        except OSError:
            pass


@pytest.fixture
def make_proxy(hostile_server):
    """`make_proxy(server, on_websocket)` starts a `Proxy`."""

    def make(server, on_websocket):
        return Proxy(hostile_server, server, on_websocket)

    return make


def numbered(prefix, count):
    return [f'{prefix}{number}' for number in range(count)]


@pytest.mark.parametrize('repetition', range(20))
def test_a_thousand_messages_each_way(any_server, make_client, repetition):
    client = make_client()

    @client.on('connect')
    def connect():
        for message in numbered('c', 500):
            client.send(message)

    client.connect(f'{any_server.url}?greet=1000')
    assert client.transport() == 'websocket'
    for message in numbered('d', 500):
        client.send(message)
    received = client.take(2000)
    assert [text for text in received if text[0] == 'g'] == numbered('g', 1000)
    echoed = numbered('c', 500) + numbered('d', 500)
    assert [text for text in received if text[0] != 'g'] == echoed
    assert any_server.received(client.sid) == echoed
    assert client.inbox.empty()


@pytest.mark.parametrize('delay', [0.0, 0.05, 0.24, 0.26, 0.5])
def test_messages_flow_past_a_slow_probe(any_server, make_client, make_proxy, delay):
    """The websocket takes its time: polling goes on beside it, and the change comes mid-stream."""

    def on_websocket(sock, head):
        gevent.sleep(delay)
        return True

    proxy = make_proxy(any_server, on_websocket)
    client = make_client()
    upgraded = []

    def send():
        number = 0
        while not upgraded or number < 300:
            if client.state == 'connected':
                client.send(f'c{number}')
                number += 1
            if number % 10 == 0:
                gevent.sleep(0.001)
        return number

    sender = gevent.spawn(send)
    client.connect(f'{proxy.url}?greet=500')
    assert client.transport() == 'websocket'
    upgraded.append(True)
    count = sender.get()
    received = client.take(500 + count)
    assert [text for text in received if text[0] == 'g'] == numbered('g', 500)
    assert [text for text in received if text[0] == 'c'] == numbered('c', count)
    assert any_server.received(client.sid) == numbered('c', count)
    assert client.ask('transport') == 'websocket'
    posts = [request for request in any_server.requests(client.sid) if request['method'] == 'POST']
    if delay == 0.5:
        assert posts  # else this test does not test what it says


def test_messages_arrive_while_the_probe_hangs(any_server, make_client, make_proxy):
    """The connection works before connect() returns."""
    may_go_on = gevent.event.Event()

    def on_websocket(sock, head):
        may_go_on.wait()
        return True

    proxy = make_proxy(any_server, on_websocket)
    client = make_client()
    connecting = gevent.spawn(client.connect, proxy.url)
    assert support.eventually(lambda: client.state == 'connected')
    assert client.ask('hello') == 'hello'
    assert client.transport() == 'polling'
    assert not connecting.ready()
    may_go_on.set()
    connecting.get()
    assert client.transport() == client.ask('transport') == 'websocket'


def refuse(sock, head):
    support.respond(sock, b'no', '403 Forbidden')


def close(sock, head):
    pass


def reset(sock, head):
    support.reset(sock)


def garbage(sock, head):
    sock.sendall(b'\x00\xff garbage\r\n\r\n' * 10)


def html(sock, head):
    support.respond(sock, '<html>Welcome!</html>', content_type='text/html')


def _accept(sock, head):
    lines = head.decode('latin-1').split('\r\n')[1:]
    headers = dict(
        line.lower().split(': ', 1)
        if not line.lower().startswith('sec-websocket-key')
        else ('sec-websocket-key', line.split(': ', 1)[1])
        for line in lines
        if ': ' in line
    )
    support.accept_websocket(sock, support.HTTPRequest('GET', '/', headers, b''))


def wrong_pong(sock, head):
    _accept(sock, head)
    support.send_frame(sock, '3wrong')
    support.read_to_end(sock)


def no_pong(sock, head):
    _accept(sock, head)
    support.send_frame(sock, '6')
    support.read_to_end(sock)


def empty_frame(sock, head):
    _accept(sock, head)
    support.send_frame(sock, '')
    support.read_to_end(sock)


def close_frame(sock, head):
    _accept(sock, head)
    sock.sendall(support.close_frame(1011, 'no'))
    support.read_to_end(sock)


def close_after_the_probe(sock, head):
    _accept(sock, head)
    support.read_frame(sock)


def silence(sock, head):
    _accept(sock, head)
    support.read_to_end(sock)


def pong_of_an_impostor(sock, head):
    """By then polling has begun, and the server, which knows of no upgrade, ends no GET."""
    gevent.sleep(0.35)
    _accept(sock, head)
    support.read_frame(sock)
    support.send_frame(sock, '3probe')
    support.read_to_end(sock)


def close_after_the_pong(sock, head):
    gevent.sleep(0.35)
    _accept(sock, head)
    support.read_frame(sock)
    support.send_frame(sock, '3probe')


def never_answer(sock, head):
    support.read_to_end(sock)


@pytest.mark.parametrize(
    'on_websocket',
    [
        refuse,
        close,
        reset,
        garbage,
        html,
        wrong_pong,
        no_pong,
        empty_frame,
        close_frame,
        close_after_the_probe,
        pong_of_an_impostor,
        close_after_the_pong,
        silence,
        never_answer,
    ],
)
def test_failed_probe_leaves_working_polling(js_server, make_client, make_proxy, on_websocket):
    proxy = make_proxy(js_server, on_websocket)
    client = make_client(request_timeout=2)
    client.connect(f'{proxy.url}?greet=100')
    assert proxy.websockets == 1
    assert client.transport() == 'polling'
    for message in numbered('c', 100):
        client.send(message)
    received = client.take(200)
    assert [text for text in received if text[0] == 'g'] == numbered('g', 100)
    assert [text for text in received if text[0] == 'c'] == numbered('c', 100)
    assert client.ask('transport') == 'polling'
    assert client.reasons == []


def test_failed_probe_with_python_engineio(python_server, make_client, make_proxy):
    proxy = make_proxy(python_server, refuse)
    client = make_client()
    client.connect(proxy.url)
    assert client.ask('transport') == client.transport() == 'polling'


def test_probe_is_tried_again_by_the_next_connect(any_server, make_client, make_proxy):
    refusing = [True]

    def on_websocket(sock, head):
        if refusing:
            support.respond(sock, b'no', '503 Service Unavailable')
        return not refusing

    proxy = make_proxy(any_server, on_websocket)
    client = make_client(remember_upgrade=True)
    client.connect(proxy.url)
    assert client.transport() == 'polling'
    client.disconnect()
    refusing.clear()
    client.connect(proxy.url)
    assert client.transport() == client.ask('transport') == 'websocket'


@pytest.mark.usefixtures('unhurried_abort')
@pytest.mark.parametrize('abort', [False, True])
def test_disconnect_while_the_probe_hangs(any_server, make_client, make_proxy, abort):
    proxy = make_proxy(any_server, never_answer)
    client = make_client()
    connecting = gevent.spawn(client.connect, proxy.url)
    assert support.eventually(lambda: proxy.websockets)
    sid = client.sid
    client.send('last words')
    client.disconnect(abort)
    connecting.join(timeout=1)  # sooner than the probe's own bound
    assert connecting.ready()
    assert client.state == 'disconnected'
    assert client.reasons == ['client disconnect']
    any_server.close_reason(sid)
    if not abort:
        assert any_server.received(sid) == ['last words']


def test_server_closes_while_the_probe_hangs(request, any_server, make_client, make_proxy):
    proxy = make_proxy(any_server, never_answer)
    client = make_client()
    connecting = gevent.spawn(client.connect, proxy.url)
    assert support.eventually(lambda: client.state == 'connected')
    client.send('close')
    connecting.join(timeout=2)
    assert connecting.ready()
    client.wait_end()
    if client.reasons == ['transport error'] and 'python' in request.node.name:
        # python-engineio forgets a client that has no GET in flight. The next GET gets status 400.
        assert '400' in str(client.disconnect_error)
    else:
        assert client.reasons == ['server disconnect']
    assert client.state == 'disconnected'


def test_killed_while_the_probe_hangs(any_server, make_client, make_proxy):
    proxy = make_proxy(any_server, never_answer)
    client = make_client()
    connecting = gevent.spawn(client.connect, proxy.url)
    assert support.eventually(lambda: proxy.websockets)
    connecting.kill()
    client.wait_end()
    assert client.state == 'disconnected'
    client.connect(any_server.url)
    assert client.ask('hello') == 'hello'


def test_an_upgraded_client_holds_one_descriptor(any_server, make_client):
    client = make_client()
    client.connect(any_server.url)
    client.disconnect()
    leaks = support.Leaks()
    before = len(support.descriptors())
    clients = [make_client() for _ in range(20)]
    for client in clients:
        client.connect(any_server.url)
        assert client.transport() == 'websocket'
        assert client.ask('hello') == 'hello'
    assert support.eventually(lambda: len(support.descriptors()) - before == 20)
    for client in clients:
        client.disconnect()
    assert support.eventually(lambda: len(support.descriptors()) == before), leaks.left()
