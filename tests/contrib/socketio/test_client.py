"""Events, acknowledgements, namespaces, rooms: against both servers, by each transport."""

import json

import gevent
import pytest
import socketio
import socketio.exceptions
from gevent.event import AsyncResult, Event

import engineio_gevent.exceptions
import support
from engineio_gevent.contrib.socketio import Client

TIMEOUT = 10
"""Seconds within which anything has to happen that a test waits for."""

ARGUMENTS = [
    (),
    ('text',),
    ('Grüße, 世界, \U0001f600',),
    (0,),
    (-1.5,),
    (True,),
    ([],),
    ([1, [2, {'three': None}]],),
    ({'a': {'b': ['c']}},),
    ('several', 1, None, {'of': 'them'}),
    (b'',),
    (bytes(range(256)),),
    (b'one', b'two', {'three': [b'3', {'deep': b'4'}]}, 'and text'),
    (b'x' * 100_000, 'y' * 100_000),
]


# -- Events -------------------------------------------------------------------------------------


def test_arguments_come_back_as_they_went(server, client, way):
    client.connect(server.url, transports=way)
    for arguments in ARGUMENTS:
        client.emit('echo', arguments)
        assert client.next() == ('echo', *arguments)
    assert client.transport() == ('polling' if way == ['polling'] else 'websocket')


def test_one_argument_needs_no_tuple(js_sio, client):
    client.connect(js_sio.url)
    for argument in ('text', [1, 2], {'a': 1}, b'\x00\x01'):
        client.emit('echo', argument)
        assert client.next() == ('echo', argument)


def test_other_json_packages(monkeypatch, server, make_client, json_package):
    # python-socketio notes the package in a class, for the whole process.
    monkeypatch.setattr(socketio.packet.Packet, 'json', socketio.packet.Packet.json)
    client = make_client(json=json_package)
    client.connect(server.url)
    for arguments in ARGUMENTS:
        client.emit('echo', arguments)
        assert client.next() == ('echo', *arguments)
    with pytest.raises(Exception, match=r'(?i)type|object|serializable'):
        client.emit('echo', object())
    assert client.connected


def test_events_come_in_order(server, client, way):
    client.connect(server.url, transports=way)
    client.emit('numbers', 500)
    assert [client.next() for _ in range(500)] == [('number', number) for number in range(500)]


def test_a_handler_that_waits_delays_no_other(server, client):
    first, second = Event(), Event()
    client.on('number', lambda number: second.set() if number else first.wait())
    client.connect(server.url)
    client.emit('numbers', 2)
    assert second.wait(TIMEOUT)
    first.set()


def test_auth_and_query(server, make_client):
    for auth in ({'token': 'äöü'}, lambda: {'token': 'äöü'}):
        client = make_client()
        client.connect(lambda: f'{server.url}?a=1', auth=auth)
        who = client.call('who', timeout=TIMEOUT)
        assert who['auth'] == {'token': 'äöü'}
        assert who['query']['a'] == '1'
        assert who['sid'] == client.get_sid()


# -- Acknowledgements ---------------------------------------------------------------------------


def test_call(server, client, way):
    client.connect(server.url, transports=way)
    assert client.call('echo', 'one', timeout=TIMEOUT) == 'one'
    assert client.call('echo', ('one', b'two', {'3': b'4'}), timeout=TIMEOUT) == (
        'one',
        b'two',
        {'3': b'4'},
    )
    assert client.call('echo', timeout=TIMEOUT) is None


def test_many_calls_at_once(server, client):
    client.connect(server.url)
    calls = [
        gevent.spawn(client.call, 'echo', (number, b'%d' % number), timeout=TIMEOUT)
        for number in range(200)
    ]
    gevent.joinall(calls)
    assert [call.get() for call in calls] == [(number, b'%d' % number) for number in range(200)]


def test_call_times_out(server, client):
    client.connect(server.url)
    with gevent.Timeout(TIMEOUT), pytest.raises(socketio.exceptions.TimeoutError):
        client.call('never', timeout=0.05)
    assert client.call('echo', 'still there', timeout=TIMEOUT) == 'still there'


def test_emit_with_a_callback(server, client):
    client.connect(server.url)
    for arguments in ((), ('one',), (1, b'2', [3])):
        answer = AsyncResult()
        client.emit('echo', arguments, callback=lambda *got, answer=answer: answer.set(got))
        assert answer.get(timeout=TIMEOUT) == arguments


def test_the_server_is_answered(server, client):
    """What a handler returns is the acknowledgement."""
    client.connect(server.url)
    for returned, seen in ((None, []), ('yes', ['yes']), ((1, b'\x00\xff'), [1, b'\x00\xff'])):
        client.on('question', lambda *_, returned=returned: returned)
        client.emit('ask', ('well', b'?'))
        assert client.next() == ('answered', seen)


# -- Namespaces ---------------------------------------------------------------------------------


def test_namespaces(server, make_client, way):
    client = make_client(namespaces=['/', '/chat'])
    client.connect(server.url, transports=way)
    assert sorted(client.seen('connect')) == [['/'], ['/chat']]
    ids = {client.call('who', namespace=name, timeout=TIMEOUT)['sid'] for name in ('/', '/chat')}
    assert ids == {client.get_sid('/'), client.get_sid('/chat')}
    assert len(ids) == 2
    client.emit('echo', b'here', namespace='/chat')
    client.next()
    assert client.seen('echo') == [['/chat', b'here']]


def test_a_namespace_can_be_left_alone(server, make_client):
    client = make_client(namespaces=['/', '/chat'])
    client.connect(server.url)
    client.emit('out', namespace='/chat')
    assert client.wait_seen('disconnect') == [['/chat', 'server disconnect']]
    assert set(client.namespaces) == {'/'}
    assert client.call('echo', 'still there', timeout=TIMEOUT) == 'still there'
    with pytest.raises(socketio.exceptions.BadNamespaceError):
        client.emit('echo', namespace='/chat')


def test_a_namespace_that_refuses(server, make_client):
    client = make_client(namespaces=['/', '/private'])
    with pytest.raises(socketio.exceptions.ConnectionError, match='failed to connect: /private'):
        client.connect(server.url, auth={'token': 'guessed'})
    assert client.seen('connect_error') == [
        ['/private', {'message': 'not you', 'data': {'code': 7}}]
    ]
    assert not client.connected
    client.connect(server.url, auth={'token': 'open sesame'})
    assert client.connected


def test_class_based_namespaces(server, make_client):
    answered = AsyncResult()

    class Chat(socketio.ClientNamespace):
        def on_question(self, *arguments):
            return [*arguments, 'indeed']

        def on_answered(self, answers):
            answered.set(answers)

    client = make_client(namespaces=())
    client.register_namespace(Chat('/chat'))
    client.connect(server.url)
    client.namespace_handlers['/chat'].emit('ask', 'so')
    assert answered.get(timeout=TIMEOUT) == [['so', 'indeed']]


def test_rooms(server, make_client):
    inside, outside, left = clients = [make_client() for _ in range(3)]
    for client in clients:
        client.connect(server.url)
        assert client.call('join', 'room', timeout=TIMEOUT) is True
    for client in (outside, left):
        assert client.call('leave', 'room', timeout=TIMEOUT) is True
    assert outside.call('say', ('room', {'hello': b'you'}), timeout=TIMEOUT) is True
    assert inside.next() == ('said', {'hello': b'you'})
    # what the server sent before these would have come before them
    assert [client.call('echo', 1, timeout=TIMEOUT) for client in (outside, left)] == [1, 1]
    assert outside.seen('said') == left.seen('said') == []


# -- Exceptions ---------------------------------------------------------------------------------


def test_no_server(client, way):
    with pytest.raises(socketio.exceptions.ConnectionError) as caught:
        client.connect(f'http://127.0.0.1:{support.free_port()}', transports=way)
    assert 'Connection refused' in str(caught.value)
    assert client.seen('connect_error') == [['/', str(caught.value)]]
    cause = caught.value.__cause__
    assert isinstance(cause, engineio_gevent.exceptions.ConnectionError)
    assert isinstance(cause.__cause__, engineio_gevent.exceptions.ConnectionClosed)


def test_a_refusal_with_a_body(client, hostile_server):
    """The handler of `connect_error` gets it, as with python-engineio's transport."""
    body = {'code': 4, 'message': 'go away'}

    def refuse(sock):
        support.read_request(sock)
        support.respond(sock, json.dumps(body), '403 Forbidden', content_type='application/json')

    with pytest.raises(socketio.exceptions.ConnectionError):
        client.connect(hostile_server(refuse).url)
    assert client.seen('connect_error') == [['/', body]]


def test_a_connected_client_does_not_connect(server, client):
    client.connect(server.url)
    sid = client.get_sid()
    with pytest.raises(socketio.exceptions.ConnectionError, match='Already connected'):
        client.connect(server.url)
    assert client.call('who', timeout=TIMEOUT)['sid'] == sid


def test_no_such_transport(client):
    with pytest.raises(ValueError, match='transports'):
        client.connect('http://127.0.0.1:1', transports=['pigeon'])


def _silent(sock):
    """An Engine.IO server that never answers Socket.IO."""
    support.accept_websocket(sock)
    support.send_frame(sock, support.open_packet())
    support.read_to_end(sock)


def test_a_server_without_an_answer(client, hostile_server):
    server = hostile_server(_silent)
    with gevent.Timeout(TIMEOUT), pytest.raises(socketio.exceptions.ConnectionError):
        client.connect(server.url, transports='websocket', wait_timeout=0.1)
    assert not client.connected
    server.wait_open(0)


class Mine(Exception):
    """A time limit of the application's."""


@pytest.mark.parametrize(
    'error',
    [Mine, TimeoutError, socketio.exceptions.ConnectionError, gevent.Timeout, KeyboardInterrupt],
)
def test_a_connect_that_an_exception_ends_leaves_no_connection(client, hostile_server, error):
    """Whatever its type, and wherever between the connect of Engine.IO and the end it arrives."""
    server = hostile_server(_silent)
    ended = []

    def connect():
        try:
            client.connect(server.url, transports='websocket', wait_timeout=3600)
        except BaseException as exc:
            ended.append(exc)

    connecting = gevent.spawn(connect)
    assert support.eventually(lambda: client.eio.state == 'connected')
    interruption = error()
    connecting.kill(interruption, timeout=TIMEOUT)
    assert ended == [interruption]
    assert (client.connected, client.eio.state) == (False, 'disconnected')
    server.wait_open(0)


def test_a_connect_that_fails_before_it_connects_ends_no_other_connection(client, hostile_server):
    server = hostile_server(_silent)
    client.eio.connect(server.url, transports='websocket')
    with pytest.raises(ValueError, match='not in a disconnected state'):
        client.connect(server.url)
    assert client.eio.state == 'connected'


@pytest.mark.usefixtures('unhurried_abort')
@pytest.mark.parametrize('within', ['connect', 'connect_error handler'])
def test_a_greenlet_that_is_killed_in_connect(make_any_server, make_client, way, within):
    """The server hears of it at once: it does not wait for the heartbeat to fail."""
    server = make_any_server()
    client = make_client(namespaces=['/', '/private'])
    refused, never = Event(), Event()

    def connect_error(data):
        refused.set()
        never.wait()

    if within == 'connect_error handler':
        client.on('connect_error', connect_error, namespace='/private')
    connecting = gevent.spawn(
        client.connect, f'{server.url}?hold=1', transports=way, wait_timeout=3600
    )
    if within == 'connect_error handler':
        assert refused.wait(timeout=support.patience(TIMEOUT))
    else:
        client.wait_seen('connect_error')
    server.wait_count(1)
    connecting.kill(timeout=TIMEOUT)
    assert isinstance(connecting.value, gevent.GreenletExit)
    server.wait_count(0)
    assert (client.connected, client.eio.state) == (False, 'disconnected')
    assert client.seen('connect') == []
    never.set()


def test_a_connect_handler_that_raises_delays_nothing(server, client):
    """Not until the timeout of connect(), which is longer than this test may take."""

    @client.on('connect')
    def connect():
        raise ValueError('of the application')

    client.connect(server.url, wait_timeout=3600)
    assert client.call('echo', 1) == 1


@pytest.mark.parametrize('name', ['emit', 'call'])
def test_a_loop_of_calls_that_fail_at_once_lets_others_run(client, name):
    error = socketio.exceptions.BadNamespaceError
    assert support.gives_way(lambda: getattr(client, name)('echo'), error)


def test_connect_without_waiting(server, client):
    client.connect(server.url, wait=False)
    client.wait_seen('connect')
    assert client.call('echo', 1, timeout=TIMEOUT) == 1


# -- The end ------------------------------------------------------------------------------------


def test_disconnect(make_any_server, make_client, way):
    server = make_any_server()
    client = make_client()
    client.connect(server.url, transports=way)
    client.emit('join', 'room')
    client.disconnect()
    assert client.seen('disconnect') == [['/', 'client disconnect']]
    assert client.seen('__disconnect_final') == [['/']]
    assert not client.connected
    assert client.namespaces == {}
    server.wait_count(0)
    assert len(support.eventually(lambda: server.control('left'))) == 1
    client.disconnect()
    assert len(client.seen('disconnect')) == 1


def test_what_was_emitted_before_the_disconnect_arrives(server, make_client, way):
    other = make_client()
    other.connect(server.url)
    assert other.call('join', 'farewells', timeout=TIMEOUT)
    client = make_client()
    client.connect(server.url, transports=way)
    for number in range(50):
        client.emit('say', ('farewells', [number, b'bytes']))
    client.disconnect()
    assert [other.next() for _ in range(50)] == [
        ('said', [number, b'bytes']) for number in range(50)
    ]


def test_the_server_ends_it(server, client, way):
    """No reconnecting then: the server did not want this client."""
    client.connect(server.url, transports=way)
    client.emit('kick')
    with gevent.Timeout(TIMEOUT):
        client.wait()
    assert client.seen('disconnect') == [['/', 'server disconnect']]
    assert client.seen('__disconnect_final') == [['/']]
    assert len(client.seen('connect')) == 1
    assert not client.connected


def test_the_server_ends_it_while_a_disconnect_handler_waits(js_sio, make_client):
    """No handler runs twice, and the one that has waited does not end the next connection."""
    client = make_client()
    called = []
    may_end, has_ended = Event(), Event()

    @client.on('disconnect', namespace='/')
    def disconnect(reason):
        called.append(('/', reason))
        may_end.wait(TIMEOUT)
        has_ended.set()

    client.on('disconnect', lambda reason: called.append(('/chat', reason)), namespace='/chat')
    client.connect(js_sio.url, namespaces=['/', '/chat'])
    client.emit('kick')
    client.eio.wait()
    assert called == [('/', 'server disconnect'), ('/chat', 'server disconnect')]
    client.connect(js_sio.url, namespaces=['/', '/chat'])
    may_end.set()
    has_ended.wait(TIMEOUT)
    assert client.call('echo', 1) == 1
    assert len(called) == 2


def test_a_disconnect_handler_that_raises(server, client):
    """If the server has disconnected the client, it is disconnected all the same."""

    @client.on('disconnect')
    def disconnect(reason):
        raise ValueError('of the application')

    client.connect(server.url)
    client.emit('out')
    client.eio.wait()
    assert not client.connected


def test_a_disconnect_handler_that_times_out(make_server, make_client):
    """gevent.Timeout is a BaseException. The client is disconnected, and reconnects."""
    server = make_server()
    client = make_client(reconnection=True, reconnection_delay=0.01, randomization_factor=0)

    @client.on('disconnect')
    def disconnect(reason):
        raise gevent.Timeout(1)

    client.connect(server.url)
    server.kill()
    assert support.eventually(lambda: not client.connected)
    server.restart()
    assert support.eventually(lambda: client.connected)


def test_disconnect_in_a_handler(server, client):
    client.on('echo', lambda _: client.disconnect())
    client.connect(server.url)
    client.emit('echo', 1)
    with gevent.Timeout(TIMEOUT):
        client.wait()
    assert client.seen('disconnect') == [['/', 'client disconnect']]


def test_connected_means_connected(server, make_client, way):
    """A server may end what has just begun: then the client knows, and tells once."""
    for _ in range(5):
        client = make_client()
        client.connect(f'{server.url}?kick=1', transports=way)
        client.wait_seen('disconnect')
        assert client.seen('disconnect') == [['/', 'server disconnect']]
        assert support.eventually(lambda client=client: client.eio.state == 'disconnected')
        assert not client.connected
        assert client.namespaces == {}


def test_last_words(server, make_client, way):
    """An event and the end in the same breath as the namespace: connect() returns."""
    for _ in range(10):
        client = make_client()
        client.connect(f'{server.url}?ban=1', transports=way)
        client.wait_seen('disconnect')
        assert [event for event in client.events if event[0] != '__disconnect_final'] == [
            ('connect', '/'),
            ('banned', '/', 'you'),
            ('disconnect', '/', 'server disconnect'),
        ]
        assert not client.connected


@pytest.mark.parametrize('end', ['namespace', 'close packet', 'loss'])
def test_last_words_in_one_segment(hostile_server, make_client, end):
    """The greenlet in connect() wakes when all is over."""

    def answer(sock):
        support.accept_websocket(sock)
        support.send_frame(sock, support.open_packet())
        assert support.read_frame(sock)[1] == b'40{}'
        words = ['40{"sid":"one"}', '42["banned","you"]']
        words += {'namespace': ['41'], 'close packet': ['1'], 'loss': []}[end]
        sock.sendall(b''.join(map(support.frame, words)))
        if end == 'namespace':
            support.read_to_end(sock)

    server = hostile_server(answer)
    client = make_client(reconnection=False)
    with gevent.Timeout(TIMEOUT):
        client.connect(server.url, transports='websocket', wait_timeout=2 * TIMEOUT)
    client.wait_seen('disconnect')
    reason = 'transport error' if end == 'loss' else 'server disconnect'
    assert [event for event in client.events if event[0] != '__disconnect_final'] == [
        ('connect', '/'),
        ('banned', '/', 'you'),
        ('disconnect', '/', reason),
    ]
    assert not client.connected


def test_a_reconnection_that_is_lost_at_once_is_tried_again(hostile_server, make_client):
    """Nobody else would reconnect: the task that reconnects is still there."""
    connections = []

    def answer(sock):
        connections.append(sock)
        support.accept_websocket(sock)
        support.send_frame(sock, support.open_packet())
        assert support.read_frame(sock)[1] == b'40{}'
        sock.sendall(support.frame('40{"sid":"one"}'))
        if len(connections) >= 4:
            support.read_to_end(sock)

    server = hostile_server(answer)
    client = make_client()
    client.connect(server.url, transports='websocket')
    assert support.eventually(lambda: len(connections) >= 4, TIMEOUT)
    assert support.eventually(lambda: client.connected, TIMEOUT)


def test_nothing_is_left_of_many(server):
    """Clients that have left, without the conftest's care for them."""
    with support.no_leaks():
        clients = [Client(handle_sigint=False) for _ in range(20)]
        for client in clients:
            client.connect(server.url, transports=['websocket'])
            client.call('echo', b'bytes', timeout=TIMEOUT)
            client.disconnect()


# -- Options of the transport -------------------------------------------------------------------


def test_connections_by_a_function(way):
    seen = []

    def dial(host, port):
        seen.append((host, port))
        raise OSError('not today')

    sio = Client(dial=dial, reconnection=False, handle_sigint=False)
    with pytest.raises(socketio.exceptions.ConnectionError, match='not today'):
        sio.connect('http://app.test:81', transports=way)
    assert seen == [('app.test', 81)]
