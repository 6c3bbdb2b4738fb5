"""How a connection ends: by us, by the server, by accident."""

import threading

import gevent
import gevent.event
import pytest

import support
from engineio_gevent.exceptions import ConnectionClosed, ConnectionError, EngineIOError


def test_everything_sent_before_arrives(any_server, make_client, way):
    """And the server sees an orderly end."""
    client = make_client()
    client.connect(any_server.url, transports=way)
    sid = client.sid
    # 16 to a POST, and the server has to take all of these within the farewell's bound
    count = 500 if way == ['polling'] else 5000
    for number in range(count):
        client.send(str(number))
    client.disconnect()
    assert client.state == 'disconnected'
    assert client.disconnect_error is None
    any_server.close_reason(sid)
    assert any_server.received(sid) == [str(number) for number in range(count)]


def test_large_message_before_the_disconnect(server_with, make_client, way):
    server = server_with(maxHttpBufferSize=30_000_000)
    client = make_client(write_limit=None)
    client.connect(server.url, transports=way)
    sid = client.sid
    client.send(b'x' * 5_000_000)
    client.send('last')
    client.disconnect()
    server.close_reason(sid)
    received = server.received(sid)
    assert [len(message) for message in received] == [5_000_000, 4]


def test_message_of_the_connect_handler_before_the_disconnect(any_server, make_client, way):
    client = make_client()
    sids = []

    @client.on('connect')
    def connect():
        sids.append(client.sid)
        client.send('hello')
        client.disconnect()

    client.connect(any_server.url, transports=way)
    any_server.close_reason(sids[0])
    assert any_server.received(sids[0]) == ['hello']


def test_order_of_the_farewell(hostile_server, make_client):
    """Messages, packet 1, close frame with 1000, and then the end of the stream."""
    frames = []
    done = gevent.event.Event()

    def handler(sock):
        support.accept_websocket(sock)
        support.send_frame(sock, support.open_packet())
        while True:
            frames.append(support.read_frame(sock))
            if frames[-1][0] == support.CLOSE:
                break
        sock.sendall(support.close_frame(1000))
        frames.append(support.read_to_end(sock))
        done.set()

    server = hostile_server(handler)
    client = make_client()
    client.connect(server.url, transports='websocket')
    for number in range(3):
        client.send(str(number))
    client.disconnect()
    assert done.wait(5)
    assert frames == [
        *((support.TEXT, f'4{number}'.encode()) for number in range(3)),
        (support.TEXT, b'1'),
        (support.CLOSE, b'\x03\xe8'),
        b'',
    ]


def test_farewell_over_polling(hostile_server, make_client):
    posts = []

    def handler(sock):
        while True:
            request = support.read_request(sock)
            if request.method == 'POST':
                posts.append(request.body)
                support.respond(sock, 'ok')
            elif 'sid=' in request.target:
                support.read_to_end(sock)  # nothing comes, until the client gives up
                return
            else:
                support.respond(sock, support.open_packet())

    server = hostile_server(handler)
    client = make_client()
    client.connect(server.url, transports='polling')
    for number in range(20):
        client.send(str(number))
    client.disconnect()
    packets = b'\x1e'.join(posts).split(b'\x1e')
    assert packets == [*(f'4{number}'.encode() for number in range(20)), b'1']
    server.wait_open(0)


@pytest.mark.parametrize('abort', [False, True])
def test_twice(any_server, client, way, abort):
    client.connect(any_server.url, transports=way)
    for _ in range(3):
        client.disconnect(abort)
        assert client.state == 'disconnected'
    assert client.reasons == ['client disconnect']


def test_before_any_connection(client):
    client.disconnect()
    client.disconnect(abort=True)
    assert client.events == []
    assert client.state == 'disconnected'


@pytest.mark.usefixtures('unhurried_abort')
def test_abort(any_server, client, way):
    client.connect(any_server.url, transports=way)
    sid = client.sid
    assert client.ask('hello') == 'hello'
    client.disconnect(abort=True)
    assert client.state == 'disconnected'
    assert client.reasons == ['client disconnect']
    assert client.disconnect_error is None
    client.connect(any_server.url, transports=way)
    orderly = client.sid
    client.disconnect()
    assert any_server.close_reason(sid) == any_server.close_reason(orderly)


@pytest.mark.usefixtures('unhurried_abort')
def test_abort_drops_what_is_queued(any_server, client, way):
    """And over polling, where the server is told by a request of its own, too."""
    client.connect(any_server.url, transports=way)
    sid = client.sid
    client.send('in flight')
    gevent.sleep(0)
    queued = 0 if way != ['polling'] else 10
    for number in range(queued):
        client.send(str(number))
    client.disconnect(abort=True)
    any_server.close_reason(sid)
    assert any_server.received(sid) == ['in flight']
    assert client.unsent == queued


def test_own_reason(any_server, client, way):
    client.connect(any_server.url, transports=way)
    client.disconnect(reason='bored')
    assert client.reasons == ['bored']
    assert client.disconnect_error is None


def test_own_reason_though_the_heartbeat_ends_meanwhile(js_server_with, client):
    server = js_server_with(pingInterval=300, pingTimeout=200)
    client.connect(server.url, transports='websocket')
    server.suspend()
    try:
        client.disconnect(reason='bye')
    finally:
        server.resume()
    assert client.reasons == ['bye']


def test_by_several_greenlets(any_server, client, way):
    client.connect(any_server.url, transports=way)
    sid = client.sid
    for number in range(100):
        client.send(str(number))
    leaving = [gevent.spawn(client.disconnect) for _ in range(5)]
    gevent.joinall(leaving, timeout=support.patience(5), raise_error=True)
    assert all(one.ready() for one in leaving)
    assert client.state == 'disconnected'
    assert client.reasons == ['client disconnect']
    assert any_server.received(sid) == [str(number) for number in range(100)]


@pytest.mark.parametrize('abort', [False, True])
def test_by_a_native_thread(any_server, client, way, abort):
    client.connect(any_server.url, transports=way)
    sid = client.sid
    client.send('before')
    assert client.next() == 'before'
    thread = threading.Thread(target=client.disconnect, args=[abort])
    thread.start()
    assert support.eventually(lambda: not thread.is_alive())
    assert client.state == 'disconnected'
    assert client.reasons == ['client disconnect']
    assert any_server.received(sid) == ['before']


def test_while_connecting(server_with, make_client, transport):
    server = server_with()
    client = make_client(request_timeout=30)
    server.suspend()
    try:

        def connect():
            with pytest.raises(ConnectionError, match='was called while connecting'):
                client.connect(server.url, transports=transport)

        connecting = gevent.spawn(connect)
        gevent.sleep(0.05)
        assert not connecting.ready()
        client.disconnect()
        connecting.get(timeout=support.patience(2))
    finally:
        server.resume()
    assert client.state == 'disconnected'
    assert client.events == []
    client.connect(server.url)
    assert client.ask('hello') == 'hello'


def test_while_the_first_of_several_transports_connects(hostile_server, make_client):
    def hang(sock):
        sock.recv(65536)
        asked.set()
        sock.recv(65536)

    asked = gevent.event.Event()
    server = hostile_server(hang)
    client = make_client(try_all_transports=True)
    connecting = gevent.spawn(support.outcome, client.connect, server.url)
    assert asked.wait(5)
    client.disconnect()
    error = connecting.get(timeout=support.patience(5))
    assert isinstance(error, ConnectionError)
    assert 'disconnect() was called while connecting' in str(error)
    assert server.accepted == 1
    assert client.state == 'disconnected'


def test_connect_after_abort_of_a_busy_connection(any_server, make_client, way):
    """What was queued for the old connection never reaches the new one."""
    client = make_client()
    client.connect(any_server.url, transports=way)
    for number in range(500):
        client.send(f'old {number}')
    client.disconnect(abort=True)
    client.connect(any_server.url, transports=way)
    client.send('new')
    while (message := client.next()) != 'new':
        assert message.startswith('old ')
    assert any_server.received(client.sid) == ['new']


def test_messages_before_the_servers_close_arrive(any_server, client, way):
    client.connect(any_server.url, transports=way)
    client.send('numbers 100')
    client.send('close')
    client.wait_end()
    assert client.take(100) == [str(number) for number in range(100)]
    # of which kind? python-engineio may forget a polling client before its CLOSE packet is fetched
    assert client.events[-1][0] == 'disconnect'


def test_server_closes(any_server, client, way):
    client.connect(any_server.url, transports=way)
    sid = client.sid
    client.send('close')
    client.wait_end()
    if 'js' in any_server.command[-1] and way != ['polling']:
        # engine.io closes a websocket without a CLOSE packet: for all we know, a proxy did it.
        assert client.reasons == ['transport error']
        assert client.states[-1] == 'connected'
        assert client.disconnect_error.code == 1005
    else:
        assert client.reasons == ['server disconnect']
        assert client.states[-1] == 'disconnecting'
        assert client.disconnect_error is None
    any_server.close_reason(sid)
    client.connect(any_server.url, transports=way)
    assert client.ask('hello') == 'hello'


def test_server_drops_the_connection(any_server, client, way):
    client.connect(any_server.url, transports=way)
    client.send('drop')
    client.wait_end()
    assert client.reasons == ['transport error']
    assert isinstance(client.disconnect_error, EngineIOError)
    assert str(client.disconnect_error)
    client.connect(any_server.url, transports=way)
    assert client.disconnect_error is None
    assert client.ask('hello') == 'hello'


def test_server_is_killed_and_another_takes_over(make_any_server, connect_all_ways):
    server, other = make_any_server(), make_any_server()
    clients = connect_all_ways(server)
    for client in clients:
        assert client.ask('hello') == 'hello'
    server.kill()
    for client in clients:
        client.wait_end()
        assert client.reasons == ['transport error']
        assert isinstance(client.disconnect_error, ConnectionClosed)
        with pytest.raises(ConnectionError):
            client.connect(server.url, transports=client.transports)
        client.connect(other.url, transports=client.transports)
        assert client.ask('again') == 'again'


def test_server_forgets_the_session(hostile_server, make_client):
    """A poll refused with 400: the status and the server's words are kept."""

    def handler(sock):
        while True:
            request = support.read_request(sock)
            if 'sid=' in request.target:
                support.respond(
                    sock,
                    '{"code":1,"message":"Session ID unknown"}',
                    '400 Bad Request',
                    content_type='application/json',
                )
            else:
                support.respond(sock, support.open_packet())

    server = hostile_server(handler)
    client = make_client()
    client.connect(server.url, transports='polling')
    client.wait_end()
    assert client.reasons == ['transport error']
    assert client.disconnect_error.status == 400
    assert client.disconnect_error.body == {'code': 1, 'message': 'Session ID unknown'}


def test_dead_server(server_with, connect_all_ways):
    """An orderly disconnect() takes a bounded time; one that aborts does not wait for it."""
    server = server_with()
    clients = connect_all_ways(server)
    server.suspend()
    try:
        with gevent.Timeout(6):
            orderly = [gevent.spawn(client.disconnect) for client in clients]
            gevent.sleep(0)
            assert {client.state for client in clients} == {'disconnecting'}
            with gevent.Timeout(2):
                for client in clients:
                    client.disconnect(abort=True)
            gevent.joinall(orderly, raise_error=True)
    finally:
        server.resume()
    assert [client.reasons for client in clients] == [['client disconnect']] * 3
    assert {client.state for client in clients} == {'disconnected'}


def test_abort_from_a_dead_server_is_at_once(server_with, connect_all_ways):
    server = server_with()
    clients = connect_all_ways(server)
    server.suspend()
    try:
        for client in clients:
            for _ in range(100):
                client.send('x' * 1000)
            with gevent.Timeout(1.5):
                client.disconnect(abort=True)
    finally:
        server.resume()
    assert {client.state for client in clients} == {'disconnected'}


def test_slow_disconnect_handler(any_server, make_client, way):
    """disconnect() returns after the handler has; the handler runs once."""
    client = make_client()
    done = []

    @client.on('disconnect')
    def disconnect(reason):
        gevent.sleep(0.2)
        done.append(reason)

    client.connect(any_server.url, transports=way)
    client.disconnect()
    assert done == ['client disconnect']


def test_end_of_a_greenlet_that_disconnects(any_server, make_client, way):
    client = make_client()
    client.connect(any_server.url, transports=way)
    greenlet = gevent.spawn(client.disconnect)
    gevent.sleep(0)
    greenlet.kill()
    client.wait_end()
    assert client.state == 'disconnected'
    assert client.reasons == ['client disconnect']
