"""The test servers do what the tests rely on; seen with requests, websocket-client and bytes."""

import base64
import json
import ssl
import subprocess
import sys
from pathlib import Path

import gevent
import gevent.socket
import pytest
import requests
import websocket

import support

SEPARATOR = '\x1e'


class Polling:
    """A polling client of a few lines."""

    def __init__(self, server, query='', **kwargs):
        self.http = requests.Session()
        self.kwargs = {'timeout': 10, **kwargs}
        self.url = f'{server.url}/engine.io/?EIO=4&transport=polling{query}'
        first, *self.packets = self.http.get(self.url, **self.kwargs).text.split(SEPARATOR)
        self.handshake = json.loads(first[1:])
        self.sid = self.handshake['sid']
        self.url += f'&sid={self.sid}'

    def post(self, *packets):
        return self.http.post(self.url, SEPARATOR.join(packets).encode(), **self.kwargs)

    def get(self):
        while not self.packets:
            answer = self.http.get(self.url, **self.kwargs)
            answer.raise_for_status()
            self.packets = answer.text.split(SEPARATOR)
        return self.packets.pop(0)

    def ask(self, message):
        self.post('4' + message)
        return self.get()

    def close(self):
        self.http.close()


@pytest.fixture
def polling(request):
    clients = []

    def make(server, query='', **kwargs):
        clients.append(Polling(server, query, **kwargs))
        return clients[-1]

    yield make
    for client in clients:
        client.close()


@pytest.fixture
def websockets():
    clients = []

    def make(server, query='', **kwargs):
        clients.append(
            websocket.create_connection(
                f'{server.ws_url}/engine.io/?EIO=4&transport=websocket{query}', timeout=10, **kwargs
            )
        )
        return clients[-1]

    yield make
    for client in clients:
        client.shutdown()  # its close() does not, after a close frame of the server


def test_handshake_echo_and_control(any_server, polling):
    client = polling(any_server, '&mine=1')
    assert client.handshake['upgrades'] == ['websocket']
    assert client.handshake['maxPayload'] == 1000000
    assert client.ask('hello "world" é') == '4hello "world" é'
    binary = 'b' + base64.b64encode(bytes(range(256))).decode()
    client.post(binary, '4[1, 2]', '47')
    assert [client.get() for _ in range(3)] == [binary, '4[1, 2]', '47']

    assert client.sid in any_server.control('clients')['ids']
    assert any_server.received(client.sid) == ['hello "world" é', bytes(range(256)), '[1, 2]', '7']
    assert json.loads(client.ask('log')[1:])[1] == {'b64': binary[1:]}
    requests_seen = any_server.requests(client.sid)
    assert [request['method'] for request in requests_seen[:3]] == ['GET', 'POST', 'GET']
    assert 'mine=1' in requests_seen[0]['url']
    assert requests_seen[0]['headers']['user-agent'].startswith('python-requests')
    assert any(name == 'User-Agent' for name, value in requests_seen[0]['raw'])
    assert json.loads(client.ask('headers')[1:])[0] == requests_seen[0]

    client.post('1')
    assert any_server.close_reason(client.sid)


def test_commands_over_websocket(any_server, websockets):
    client = websockets(any_server, '&greet=3')
    sid = json.loads(client.recv()[1:])['sid']
    assert [client.recv() for _ in range(3)] == ['4g0', '4g1', '4g2']
    for message, answer in [
        ('4text', '4text'),
        ('4', '4'),
        ('4transport', '4websocket'),
        ('4big 300000', '4' + 'x' * 300000),
    ]:
        client.send(message)
        assert client.recv() == answer
    client.send_binary(b'\x00\xff')
    assert client.recv() == b'\x00\xff'
    client.send('4bigbin 3000000')
    assert client.recv() == (bytes(range(256)) * 11719)[:3000000]
    client.send('4numbers 1000')
    assert [client.recv() for _ in range(1000)] == [f'4{number}' for number in range(1000)]
    client.send('4headers')
    assert len(json.loads(client.recv()[1:])) == 1

    client.send('4close')
    assert client.recv_data()[0] in (support.TEXT, support.CLOSE)
    assert any_server.close_reason(sid)


def test_drop_gives_no_close_frame(any_server, websockets):
    client = websockets(any_server)
    sid = json.loads(client.recv()[1:])['sid']
    client.send('4drop')
    with pytest.raises((websocket.WebSocketConnectionClosedException, ConnectionError)):
        client.recv()
    assert any_server.close_reason(sid)


def test_drop_while_polling(any_server, polling):
    client = polling(any_server)
    with pytest.raises(requests.RequestException):
        client.ask('drop')


def test_close_while_polling(any_server, polling):
    client = polling(any_server)
    poll = gevent.get_hub().threadpool.spawn(requests.get, client.url, timeout=10)
    # python-engineio loses the close packet where no GET is waiting for it
    assert support.eventually(lambda: len(any_server.requests(client.sid)) == 2)
    client.post('4close')
    assert poll.get().text.split(SEPARATOR)[-1] == '1'
    assert any_server.close_reason(client.sid)


def test_upgrade(any_server, polling, websockets):
    first = polling(any_server)
    second = websockets(any_server, f'&sid={first.sid}')
    second.send('2probe')
    assert second.recv() == '3probe'
    assert first.get() == '6'
    second.send('5')
    second.send('4transport')
    answer = second.recv()
    assert answer in ('4websocket', '6')
    if answer == '6':  # python-engineio says noop to an upgrade packet
        assert second.recv() == '4websocket'
    second.send('4headers')
    upgrade = next(
        request
        for request in json.loads(second.recv()[1:])
        if 'transport=websocket' in request['url']
    )
    assert upgrade['headers']['upgrade'] == 'websocket'


def test_silence(make_any_server, websockets):
    server = make_any_server(pingInterval=300, pingTimeout=200)
    loud, quiet = websockets(server), websockets(server)
    for client in loud, quiet:
        client.recv()
    quiet.send('4silence')
    assert loud.recv() == '2'
    loud.send('3')
    assert loud.recv() == '2'
    quiet.settimeout(1.5)
    with pytest.raises(websocket.WebSocketTimeoutException):
        quiet.recv()
    quiet.send('4still here')
    assert quiet.recv() == '4still here'


def tagged(server, tag):
    return server.control(f'tagged?tag={tag}')


@pytest.mark.parametrize('way', ['polling', 'websocket'])
def test_clients_with_a_tag(any_server, polling, websockets, way):
    tag = f'tag-{way}-{id(any_server)}'
    if way == 'polling':
        client = polling(any_server, f'&tag={tag}&greet=2')
        sid, send, receive = client.sid, client.post, client.get
    else:
        client = websockets(any_server, f'&tag={tag}&greet=2')
        sid, send, receive = json.loads(client.recv()[1:])['sid'], client.send, client.recv
    assert [receive() for _ in range(2)] == [f'4s {number} {sid} ' for number in range(2)]
    send('4close')  # is not obeyed
    send('4' + 'x' * 50)
    assert any_server.control(f'do?tag={tag}&what=send&count=2&size=60') == 1
    assert [receive() for _ in range(2)] == [
        f'4s {number} {sid} '.ljust(61, 'x') for number in (2, 3)
    ]
    assert support.eventually(lambda: len(tagged(any_server, tag)[0]['received']) == 2)
    (one,) = tagged(any_server, tag)
    assert one.pop('tcp') >= 1
    assert one == {
        'sid': sid,
        'open': True,
        'reason': None,
        'transport': way,
        'sent': 4,
        'silent': False,
        'received': ['close', 'x' * 40],
    }
    assert any_server.control(f'do?tag={tag}&what=silence') == 1
    assert tagged(any_server, tag)[0]['silent']
    assert any_server.control(f'do?tag={tag}&what=close&sid=another') == 0
    assert any_server.control(f'do?tag={tag}&what=forget&sid={sid}') == 1
    assert support.eventually(lambda: not tagged(any_server, tag)[0]['open'])
    assert support.eventually(lambda: not tagged(any_server, tag)[0]['tcp'])
    assert any_server.control(f'do?tag={tag}&what=close') == 0


def test_closing_a_client_with_a_tag(any_server, websockets):
    for what in ('close', 'drop'):
        tag = f'tag-{what}-{id(any_server)}'
        client = websockets(any_server, f'&tag={tag}')
        assert any_server.control(f'do?tag={tag}&what={what}') == 1
        assert any_server.close_reason(json.loads(client.recv()[1:])['sid'])
        assert tagged(any_server, tag)[0]['reason']


@pytest.mark.parametrize('end', ['close', 'drop'])
def test_last_words_of_a_client_with_a_tag(any_server, websockets, end):
    tag = f'tag-last-{end}-{id(any_server)}'
    client = websockets(any_server, f'&tag={tag}')
    sid = json.loads(client.recv()[1:])['sid']
    assert any_server.control(f'do?tag={tag}&what=send&count=2&then={end}') == 1
    if end == 'close':
        assert [client.recv() for _ in range(2)] == [f'4s {number} {sid} ' for number in range(2)]
    assert any_server.close_reason(sid)
    assert tagged(any_server, tag)[0]['sent'] == 2


def test_last_words(any_server, websockets):
    client = websockets(any_server, '&greet=2&close=1')
    sid = json.loads(client.recv()[1:])['sid']
    assert [client.recv() for _ in range(2)] == ['4g0', '4g1']
    assert any_server.close_reason(sid)


def test_a_server_comes_back_on_its_port(make_any_server, polling):
    server = make_any_server()
    url = server.url
    client = polling(server)
    server.kill()
    server.restart()
    assert server.url == url
    assert client.sid not in server.control('clients')['ids']
    assert polling(server).ask('hello') == '4hello'


def test_options(make_any_server, polling):
    server = make_any_server(
        pingInterval=2000,
        pingTimeout=1000,
        maxHttpBufferSize=1000,
        allowUpgrades=False,
        cookie={'name': 'jar'},
    )
    client = polling(server)
    assert client.handshake == {
        'sid': client.sid,
        'upgrades': [],
        'pingInterval': 2000,
        'pingTimeout': 1000,
        'maxPayload': 1000,
    }
    assert client.http.cookies['jar'] == client.sid


@pytest.mark.parametrize('status', [401, 403, 503])
def test_refuse(make_any_server, status):
    server = make_any_server(refuse=status)
    url = f'{server.url}/engine.io/?EIO=4&transport='
    answer = requests.get(url + 'polling', timeout=10)
    assert answer.status_code == status
    assert 'Refused by the test server' in str(answer.json())
    with pytest.raises(websocket.WebSocketBadStatusException):
        websocket.create_connection(f'{server.ws_url}/engine.io/?EIO=4&transport=websocket')


def test_transports_and_path(make_any_server):
    server = make_any_server(transports=['polling'], path='/somewhere/')
    url = f'{server.url}/somewhere/?EIO=4&transport='
    assert requests.get(url + 'polling', timeout=10).text.startswith('0{')
    answer = requests.get(url + 'websocket', timeout=10)
    assert (answer.status_code, bool(answer.json())) == (400, True)
    assert requests.get(f'{server.url}/engine.io/', timeout=10).status_code == 404


def test_tls(make_any_server, certificates, polling, websockets):
    server = make_any_server(tls=certificates.tls)
    assert server.url.startswith('https://')
    assert polling(server, verify=certificates.ca).ask('hello') == '4hello'
    client = websockets(server, sslopt={'ca_certs': certificates.ca})
    client.recv()
    client.send('4bigbin 1000000')
    assert len(client.recv()) == 1000000
    assert server.count() == 2


def test_client_certificates(make_any_server, certificates, polling):
    server = make_any_server(tls=certificates.mutual_tls)
    client = polling(
        server, verify=certificates.ca, cert=(certificates.client_cert, certificates.client_key)
    )
    assert client.ask('hello') == '4hello'
    with pytest.raises((requests.ConnectionError, *support.TLS_ERRORS)):
        polling(server, verify=certificates.ca)
    client = polling(server, verify=certificates.ca, cert=certificates.client_pem)
    assert client.ask('hello') == '4hello'


@pytest.mark.skipif(not support.has_ipv6(), reason='there is no IPv6 here')
def test_ipv6(make_any_server, polling):
    server = make_any_server(host='::1')
    assert polling(server).ask('hello') == '4hello'
    assert server.count() == 1


def test_upstream_client(any_server):
    """python-engineio's client in a process of its own, on both transports."""
    script = """
import sys, threading, engineio
for transports in (['polling'], ['websocket'], None):
    answered = threading.Event()
    client = engineio.Client(handle_sigint=False)
    client.on('message', lambda data: answered.set() if data == {'a': 1} else None)
    client.connect(sys.argv[1], transports=transports)
    client.send({'a': 1})
    assert answered.wait(10)
    client.disconnect()
print('fine')
"""
    done = subprocess.run(
        [sys.executable, '-c', script, any_server.url],
        text=True,
        timeout=30,
        stdout=subprocess.PIPE,
        check=True,
    )
    assert done.stdout == 'fine\n'


def test_the_server_ends_with_its_standard_input(make_any_server):
    server = make_any_server()
    assert Path(f'/proc/{server.pid}').exists() or not Path('/proc').exists()
    server._process.stdin.close()
    assert support.eventually(lambda: server._process.poll() is not None)
    assert server._process.returncode == 0
    assert server.stderr == ''


def test_a_server_that_does_not_start_says_why():
    with pytest.raises(RuntimeError, match='Traceback'):
        support.ServerProcess([sys.executable, support.PYTHON_SERVER], {'pingInterval': 'x'})


def test_suspended_server(make_any_server):
    server = make_any_server()
    server.suspend()
    with pytest.raises(requests.Timeout):
        requests.get(f'{server.url}/engine.io/?EIO=4&transport=polling', timeout=0.3)
    server.resume()
    assert support.eventually(lambda: server.count() == 1)


# -- The tools ----------------------------------------------------------------------------------


def test_hostile_http(hostile_server):
    seen = []

    def handler(sock):
        seen.append(support.read_request(sock))
        support.respond(sock, support.open_packet(sid='x', maxPayload=None))
        seen.append(support.read_request(sock))
        support.respond(sock, 'ok', '500 Broken', headers=[('Set-Cookie', 'a=b')])
        support.read_to_end(sock)

    server = hostile_server(handler)
    # gevent's sockets, since the server is in this process
    sock = gevent.socket.create_connection((server.host, server.port))
    sock.sendall(b'GET /a?b HTTP/1.1\r\nHost: x\r\n\r\n')
    assert sock.recv(10000).startswith(b'HTTP/1.1 200 OK\r\nContent-Type: text/plain;')
    sock.sendall(b'POST /c HTTP/1.1\r\ncontent-length: 4\r\n\r\nbody')
    assert b'Set-Cookie: a=b\r\n\r\nok' in sock.recv(10000)
    assert server.accepted == 1
    assert len(server.open) == 1
    sock.close()
    server.wait_open(0)
    assert [(item.method, item.target, item.body) for item in seen] == [
        ('GET', '/a?b', b''),
        ('POST', '/c', b'body'),
    ]
    assert seen[0].headers == {'host': 'x'}


@pytest.mark.parametrize('secure', [False, True])
def test_hostile_websocket(hostile_server, certificates, secure):
    frames = []

    def handler(sock):
        support.accept_websocket(sock)
        frames.append(support.read_frame(sock))
        support.send_frame(sock, 'x' * 70000)
        frames.append(support.read_frame(sock))
        support.send_frame(sock, b'\x00' * 200, support.BINARY)
        sock.sendall(support.frame('2', mask=b'abcd') + support.close_frame(1002, 'why'))
        support.reset(sock)

    server = hostile_server(handler, ssl_context=certificates.server_context() if secure else None)
    pool = gevent.get_hub().threadpool  # websocket-client blocks, the server must not wait for it
    url = f'{"wss" if secure else "ws"}://127.0.0.1:{server.port}/'

    def client():
        connection = websocket.create_connection(
            url, timeout=10, sslopt={'ca_certs': certificates.ca} if secure else {}
        )
        connection.send('hello')
        first = connection.recv()
        connection.send_binary(bytes(range(256)) * 300)
        second = connection.recv()
        connection.shutdown()
        return first, second

    assert pool.spawn(client).get() == ('x' * 70000, b'\x00' * 200)
    assert frames == [(support.TEXT, b'hello'), (support.BINARY, bytes(range(256)) * 300)]
    server.wait_open(0)


def test_leaks_are_found(leaks):
    left = []
    with pytest.raises(AssertionError, match=r'descriptors more(.|\n)*greenlet'), leaks(0.1):
        left += [gevent.spawn(gevent.sleep, 60), *gevent.socket.socketpair()]
    with pytest.raises(AssertionError, match='greenlet'), leaks(0.1):
        left.append(gevent.spawn_later(60, print))
    with leaks() as before:
        pair = gevent.socket.socketpair()
        sleeper = gevent.spawn(gevent.sleep, 0.1)
        assert len(before.left()) == 2
        for sock in pair:
            sock.close()
    sleeper.join()
    left[0].kill()
    left[-1].kill()
    for sock in left[1:3]:
        sock.close()


def test_errors_in_the_hub_are_seen(hub_errors, capsys):
    gevent.spawn(lambda: 1 / 0).join()
    ((_, error),) = hub_errors
    assert isinstance(error, ZeroDivisionError)
    hub_errors.clear()
    gevent.get_hub().loop.run_callback(lambda: 1 / 0)
    gevent.sleep(0.01)
    assert len(hub_errors) == 1
    hub_errors.clear()
    capsys.readouterr()


def test_the_process_is_not_patched():
    from gevent import monkey

    assert not monkey.saved
    assert ssl.SSLContext.__module__ == 'ssl'
