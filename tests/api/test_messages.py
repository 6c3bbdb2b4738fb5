"""send() and the message handler: every form of message, both ways, by every transport."""

import json
import math
import threading

import gevent
import pytest

import support

MIB = 1 << 20


@pytest.fixture
def connected(any_server, make_client, way):
    """A client that is connected."""
    client = make_client()
    client.connect(any_server.url, transports=way)
    return client


def test_text(any_server, connected):
    texts = [
        'hello',
        '',
        ' ',
        '\n\r\t',
        'a\x00b',
        '\x00',
        'é',
        '漢字',
        '\U0001f600\U0010ffff',
        '\u2028\u2029\ufeff',
        '123',
        '12.5',
        '0',
        '4hello',
        'b4hello',
        'true love',
        '{not JSON}',
        '\\n',
        '"unfinished',
    ]
    for text in texts:
        connected.send(text)
    assert connected.take(len(texts)) == texts
    assert any_server.received(connected.sid) == texts


def test_text_of_a_class_of_its_own(any_server, connected):
    class Markup(str):
        """As markupsafe's, which web frameworks use."""

        __slots__ = ()

        def __radd__(self, other):
            return Markup(f'{other}{self}')

    connected.send(Markup('<b>'))
    connected.send(Markup('\u20ac'))
    assert connected.take(2) == ['<b>', '\u20ac']
    assert any_server.received(connected.sid) == ['<b>', '\u20ac']


def test_binary(any_server, connected):
    blobs = [
        b'hello',
        b'',
        b'\x00',
        b'\x00\xff' * 3,
        bytes(range(256)),
        b'\x1e',
        b'4text',
        b'a',
        b'ab',
    ]
    forms = [*blobs, bytearray(b'array'), memoryview(b'a view')[2:], memoryview(b'x0y0')[::2]]
    for form in forms:
        connected.send(form)
    wanted = [*blobs, b'array', b'view', b'xy']
    received = connected.take(len(forms))
    assert received == wanted
    assert {type(one) for one in received} == {bytes}
    assert any_server.received(connected.sid) == wanted


def test_buffers_are_copied(connected):
    data = bytearray(b'before')
    connected.send(data)
    data[:] = b'after!'
    assert connected.next() == b'before'


def test_json(any_server, connected):
    values = [{'key': 'välue', 'list': [1, 2.5, None, True]}, [], {}, [1, [2, [3]]], ['\x1e']]
    for value in values:
        connected.send(value)
    assert connected.take(len(values)) == values
    texts = any_server.received(connected.sid)
    assert texts[1:4] == ['[]', '{}', '[1,[2,[3]]]']
    assert ' ' not in texts[0]


def test_other_values(any_server, connected):
    for value in [12, 2.5, True, None]:
        connected.send(value)
    assert connected.take(4) == ['12', '2.5', 'True', '']


def test_text_that_is_json(connected):
    for text in ['"quoted"', 'true', 'null', '-5', '[1]', '{"a":1}', ' [2]']:
        connected.send(text)
    assert connected.take(7) == ['quoted', True, None, -5, [1], {'a': 1}, [2]]


def test_parse_json_off(any_server, make_client, way):
    client = make_client(parse_json=False)
    client.connect(any_server.url, transports=way)
    texts = ['"quoted"', 'true', 'null', '-5', '[1]', '{"a":1}', '123', '']
    for text in texts:
        client.send(text)
    client.send(['sent as JSON'])
    assert client.take(9) == [*texts, '["sent as JSON"]']


def test_other_json_packages(any_server, make_client, way, json_package):
    client = make_client(json=json_package)
    client.connect(any_server.url, transports=way)
    values = [{'key': 'välue', 'list': [1, 2.5, None, True]}, [], ['\x1e']]
    for value in [*values, 'hello', '{', '5']:
        client.send(value)
    assert client.take(6) == [*values, 'hello', '{', '5']
    text = any_server.received(client.sid)[0]
    assert json.loads(text) == values[0]
    assert ' ' not in text
    # each raises an error of its own, which is what send() raises
    with pytest.raises(Exception, match=r'(?i)type|object|serializable'):
        client.send([object()])
    assert client.ask('still connected') == 'still connected'


def test_sizes_at_the_borders_of_frames(connected):
    for size in [125, 126, 65535, 65536, 200_000]:
        assert connected.ask('x' * (size - 1)) == 'x' * (size - 1)
        assert connected.ask(b'y' * size) == b'y' * size


@pytest.fixture
def large(server_with, make_client, way):
    """A client of a server that takes large messages."""
    server = server_with(maxHttpBufferSize=20 * MIB)
    client = make_client()
    client.connect(server.url, transports=way)
    return client


def test_large_messages(large):
    text = ('0123456789é' * (MIB // 12 + 1))[:MIB]
    assert large.ask(text) == text
    blob = bytes(range(256)) * (MIB // 256)
    assert large.ask(blob) == blob
    assert large.ask('big 3000000') == 'x' * 3_000_000
    assert large.ask('bigbin 3000000') == (bytes(range(256)) * 11719)[:3_000_000]
    assert large.ask('hello') == 'hello'


def test_a_burst_larger_than_any_buffer(large):
    # More than write_limit, more than the sockets hold: send() waits, nothing is lost.
    blobs = [bytes([number]) * 200_000 for number in range(40)]
    for blob in blobs:
        large.send(blob)
    assert large.take(len(blobs)) == blobs


def test_many_messages_sent_at_once(any_server, connected):
    count = 300 if connected.transport() == 'polling' else 1000  # 16 to a POST
    texts = [f'message {number}' for number in range(count)]
    for text in texts:
        connected.send(text)
    assert connected.take(count) == texts
    assert any_server.received(connected.sid) == texts


def test_posts_hold_what_servers_take(python_server, make_client):
    # python-engineio refuses the seventeenth packet of a POST.
    client = make_client()
    client.connect(python_server.url, transports='polling')
    texts = [str(number) for number in range(100)]
    for text in texts:
        client.send(text)
    assert client.take(100) == texts
    posts = [
        request for request in python_server.requests(client.sid) if request['method'] == 'POST'
    ]
    assert len(posts) >= 7


def test_many_messages_received_at_once(any_server, connected):
    connected.send('numbers 1000')
    assert connected.take(1000) == [str(number) for number in range(1000)]


def test_many_messages_in_one_poll(any_server, make_client):
    client = make_client()
    client.connect(f'{any_server.url}?greet=1000', transports='polling')
    assert client.take(1000) == [f'g{number}' for number in range(1000)]
    gets = [request for request in any_server.requests(client.sid) if request['method'] == 'GET']
    assert len(gets) < 10


def test_order_of_each_sender(any_server, connected):
    """Greenlets and a native thread send at once: each one's messages arrive in its order."""

    def send(name, pause):
        for number in range(40):
            connected.send(f'{name}:{number}')
            pause(number)

    thread = threading.Thread(target=send, args=('thread', lambda number: None))
    greenlets = [
        gevent.spawn(
            send,
            f'greenlet{index}',
            lambda number, index=index: number % (index + 2) or gevent.sleep(0),
        )
        for index in range(10)
    ]
    thread.start()
    gevent.joinall(greenlets, raise_error=True)
    assert support.eventually(lambda: not thread.is_alive())
    connected.take(440)
    received = any_server.received(connected.sid)
    assert len(received) == 440
    for name in ['thread', *(f'greenlet{index}' for index in range(10))]:
        own = [text for text in received if text.startswith(f'{name}:')]
        assert own == [f'{name}:{number}' for number in range(40)]


def test_disconnect_after_a_send_in_another_thread_loses_nothing(any_server, connected):
    sid = connected.sid

    def send():
        connected.send('first')
        unsent.append(connected.unsent)
        connected.send(b'second')

    unsent = []
    thread = threading.Thread(target=send)
    thread.start()
    thread.join()  # The hub gets no turn before disconnect().
    connected.disconnect()
    any_server.close_reason(sid)
    assert any_server.received(sid) == ['first', b'second']
    assert unsent == [1]
    assert connected.unsent == 0


def test_thread_gets_its_errors(connected):
    refused = ['a\x1eb'] if connected.transport() == 'polling' else []
    results = []

    def send():
        for data in [object(), '\ud800', *refused, 'fine']:
            try:
                connected.send(data)
            except Exception as exc:
                results.append(type(exc))
            else:
                results.append(None)

    thread = threading.Thread(target=send)
    thread.start()
    assert support.eventually(lambda: not thread.is_alive())
    assert connected.next() == 'fine'
    assert results == [TypeError, UnicodeEncodeError, *(ValueError for _ in refused), None]
    assert connected.state == 'connected'


def test_wrong_types(connected):
    for data in [object(), {1, 2}, (1, 2), [object()], {'key': b'bytes'}, 1j]:
        with pytest.raises(TypeError):
            connected.send(data)
        assert connected.ask('fine') == 'fine'


def test_lone_surrogates(connected):
    for text in ['\ud800', 'a\udfffb']:
        with pytest.raises(ValueError, match='surrogate'):
            connected.send(text)
        assert connected.ask('fine') == 'fine'
    assert connected.ask(['\ud800']) == ['\ud800']  # JSON escapes it


def test_separator_of_packets(any_server, make_client, transport):
    client = make_client()
    client.connect(any_server.url, transports=transport)
    if transport == 'polling':
        with pytest.raises(ValueError, match=r'U\+001E'):
            client.send('a\x1eb')
    else:
        assert client.ask('a\x1eb') == 'a\x1eb'
    assert client.ask('fine') == 'fine'
    assert client.ask(['a\x1eb']) == ['a\x1eb']
    assert client.ask(b'a\x1eb') == b'a\x1eb'


def test_not_a_number(connected):
    assert math.isnan(connected.ask([math.nan])[0])


def test_sends_while_not_connected_are_dropped(any_server, client, way):
    client.send('too early')
    client.connect(any_server.url, transports=way)
    assert client.ask('in time') == 'in time'
    sid = client.sid
    client.disconnect()
    client.send('too late')
    client.connect(any_server.url, transports=way)
    assert client.ask('again') == 'again'
    assert any_server.received(sid) == ['in time']
    assert any_server.received(client.sid) == ['again']


# -- The server's limit -------------------------------------------------------------------------


def test_posts_are_split_by_the_servers_limit(server_with, make_client):
    server = server_with(maxHttpBufferSize=1000)
    client = make_client()
    client.connect(server.url, transports='polling')
    messages = [f'{number:03}' + 'é' * 150 for number in range(20)]
    messages += [bytes([number]) * 300 for number in range(20)]
    for message in messages:
        client.send(message)
    assert client.take(40) == messages
    lengths = [
        int(request['headers']['content-length'])
        for request in server.requests(client.sid)
        if request['method'] == 'POST'
    ]
    assert len(lengths) > 12
    assert max(lengths) <= 1000


def test_message_above_the_servers_limit(js_server_with, make_client, way):
    server = js_server_with(maxHttpBufferSize=1000)
    client = make_client()
    client.connect(server.url, transports=way)
    assert client.ask('x' * 900) == 'x' * 900
    client.send('x' * 5000)
    client.wait_end()
    assert client.reasons == ['transport error']
    if way == ['polling']:
        assert client.disconnect_error.status == 413
    else:
        assert client.disconnect_error.code == 1009
    client.connect(server.url, transports=way)
    assert client.disconnect_error is None
    assert client.ask('fine') == 'fine'


def test_message_above_the_limit_of_python_engineio(python_server_with, make_client, way):
    server = python_server_with(maxHttpBufferSize=1000)
    client = make_client()
    client.connect(server.url, transports=way)
    client.send('x' * 5000)
    client.wait_end()
    assert len(client.reasons) == 1
    client.connect(server.url, transports=way)
    assert client.ask('fine') == 'fine'


def test_message_above_the_clients_limit(server_with, make_client, way):
    server = server_with(maxHttpBufferSize=MIB)
    client = make_client(max_message_size=10_000)
    client.connect(server.url, transports=way)
    sid = client.sid
    assert client.ask('big 9000') == 'x' * 9000
    client.send('big 10001')
    client.wait_end()
    assert client.reasons == ['transport error']
    assert client.disconnect_error.code == 1009
    assert client.inbox.empty()
    if way != ['polling']:  # over polling nobody tells the server
        server.close_reason(sid)


@pytest.mark.parametrize('limit', [1e4, math.inf, 1 << 80])
def test_a_limit_that_is_no_small_integer(any_server, make_client, way, limit):
    client = make_client(max_message_size=limit, write_limit=limit)
    client.connect(any_server.url, transports=way)
    assert client.ask('x' * 9000) == 'x' * 9000
    assert client.ask(b'hello') == b'hello'


# -- Waiting ------------------------------------------------------------------------------------


def test_send_waits_for_a_server_that_takes_nothing(server_with, connect_all_ways):
    server = server_with(maxHttpBufferSize=20 * MIB)
    clients = connect_all_ways(server, write_limit=100_000)
    # over polling, writing stops at once; a websocket's buffers hold some megabytes
    counts = [20 if client.transport() == 'polling' else 200 for client in clients]

    def send(client, count):
        for number in range(count):
            client.send(bytes([number]) * 50_000)

    server.suspend()
    try:
        senders = [gevent.spawn(send, *pair) for pair in zip(clients, counts, strict=True)]
        assert not gevent.wait(senders, timeout=0.5, count=1)
    finally:
        server.resume()
    for client, count in zip(clients, counts, strict=True):
        assert client.take(count) == [bytes([number]) * 50_000 for number in range(count)]
    gevent.joinall(senders, raise_error=True)


def test_send_without_limit_never_waits(server_with, make_client, way):
    server = server_with(maxHttpBufferSize=20 * MIB)
    client = make_client(write_limit=None)
    client.connect(server.url, transports=way)
    switched = []
    server.suspend()
    try:
        gevent.get_hub().loop.run_callback(switched.append, True)
        for _ in range(100):
            client.send(b'x' * 50_000)
        assert not switched
    finally:
        server.resume()
    assert client.take(100) == [b'x' * 50_000] * 100


def test_disconnect_frees_who_waits_in_send(server_with, make_client, way):
    server = server_with()
    client = make_client(write_limit=10_000)
    client.connect(server.url, transports=way)

    def send():
        while client.state == 'connected':
            client.send(b'x' * 100_000)

    server.suspend()
    try:
        greenlet = gevent.spawn(send)
        gevent.sleep(0.1)
        assert not greenlet.ready()
        client.disconnect(abort=True)
        greenlet.get(timeout=5)
    finally:
        server.resume()
    assert support.eventually(lambda: client.reasons == ['client disconnect'])
