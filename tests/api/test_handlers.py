"""Handlers: when they run, in what order, in which context, and what they may do and raise."""

import contextvars
import logging

import gevent
import gevent.event
import pytest

import engineio_gevent
import support


def test_on(client):
    @client.on('message')
    def decorated(data):
        pass

    assert client.handlers['message'] is decorated

    def other(data):
        pass

    assert client.on('message', other) is None
    assert client.handlers['message'] is other
    assert client.event_names == ['connect', 'disconnect', 'message']
    for event in ['open', '', None, 'Message']:
        with pytest.raises(ValueError, match='Invalid event'):
            client.on(event)
        with pytest.raises(ValueError, match='Invalid event'):
            client.on(event, other)


def test_without_handlers(any_server, way):
    client = engineio_gevent.Client()
    client.connect(f'{any_server.url}?greet=3', transports=way)
    client.send('hello')
    sid = client.sid
    client.disconnect()
    assert any_server.received(sid) == ['hello']


def test_handler_can_change_while_connected(any_server, client, way):
    client.connect(any_server.url, transports=way)
    assert client.ask('old') == 'old'
    answer = gevent.event.AsyncResult()
    client.on('message', answer.set)
    client.send('new')
    assert answer.get(timeout=5) == 'new'


def test_connect_handler_comes_first(any_server, make_client, way):
    """No message is handed over before the connect handler has returned, though they are there."""
    client = make_client()
    events = []

    @client.on('connect')
    def connect():
        gevent.sleep(0.1)
        events.append('connect')

    @client.on('message')
    def message(data):
        events.append(data)

    client.connect(f'{any_server.url}?greet=20', transports=way)
    assert support.eventually(lambda: len(events) == 21)
    assert events == ['connect', *(f'g{number}' for number in range(20))]


def test_send_in_the_connect_handler(any_server, make_client, way):
    client = make_client()

    @client.on('connect')
    def connect():
        for message in ['one', b'two', ['three']]:
            client.send(message)

    client.connect(any_server.url, transports=way)
    assert client.take(3) == ['one', b'two', ['three']]


def test_handlers_start_in_order(any_server, make_client, way):
    client = make_client()
    started, ended = [], []

    @client.on('message')
    def message(data):
        started.append(int(data))
        gevent.sleep(0.001 * (int(data) * 7 % 5))
        ended.append(int(data))

    client.connect(any_server.url, transports=way)
    client.send('numbers 500')
    assert support.eventually(lambda: len(ended) == 500)
    assert started == list(range(500))


def test_sleeping_handler_delays_nobody(server_with, connect_all_ways):
    server = server_with(pingInterval=200, pingTimeout=200)
    clients = connect_all_ways(server)
    wake_up = gevent.event.Event()
    quick = []

    def message(data):
        if data == 'sleep':
            wake_up.wait()
        quick.append(data)

    for client in clients:
        client.on('message', message)
        for _ in range(100):
            client.send('sleep')
        client.send('quick')
    assert support.eventually(lambda: quick == ['quick'] * 3)
    gevent.sleep(1)  # several pings, to each of which the server wants a pong
    assert [client.state for client in clients] == ['connected'] * 3
    assert quick == ['quick'] * 3
    wake_up.set()
    assert support.eventually(lambda: len(quick) == 303)


@pytest.mark.parametrize(
    'error',
    [
        ZeroDivisionError('my error'),
        gevent.GreenletExit('my error'),
        SystemExit('my error'),
        gevent.Timeout(1),
    ],
)
def test_handler_that_raises(any_server, make_client, caplog, way, error):
    client = make_client()

    @client.on('message')
    def message(data):
        if data == 'raise':
            raise error
        client.inbox.put(data)

    client.connect(any_server.url, transports=way)
    for _ in range(3):
        client.send('raise')
    assert client.ask('fine') == 'fine'
    assert client.state == 'connected'
    records = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert len(records) == 3
    assert all(record.exc_info[1] is error for record in records)


def test_disconnect_handler_that_raises(any_server, make_client, caplog, way):
    client = make_client()

    @client.on('disconnect')
    def disconnect(reason):
        raise ZeroDivisionError(reason)

    client.connect(any_server.url, transports=way)
    client.disconnect()
    assert client.state == 'disconnected'
    assert [str(record.exc_info[1]) for record in caplog.records] == ['client disconnect']
    client.connect(any_server.url, transports=way)
    assert client.ask('fine') == 'fine'


def test_type_error_in_a_disconnect_handler_does_not_call_it_twice(any_server, make_client, caplog):
    client = make_client()
    calls = []

    @client.on('disconnect')
    def disconnect(reason=None):
        calls.append(reason)
        raise TypeError('of its own')

    client.connect(any_server.url)
    client.disconnect()
    assert calls == ['client disconnect']
    assert 'of its own' in caplog.text


@pytest.mark.parametrize('kind', ['function', 'lambda', 'method', 'object', 'builtin'])
def test_legacy_disconnect_handler(any_server, make_client, caplog, kind):
    calls = []

    class Holder:
        def method(self):
            calls.append('called')

        __call__ = method

    def function():
        calls.append('called')

    event = gevent.event.Event()
    client = make_client()
    client.on(
        'disconnect',
        {
            'function': function,
            'lambda': lambda: calls.append('called'),
            'method': Holder().method,
            'object': Holder(),
            'builtin': event.set,
        }[kind],
    )
    client.connect(any_server.url)
    client.disconnect()
    assert event.is_set() if kind == 'builtin' else calls == ['called']
    assert not caplog.records


# -- What a handler sees ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ('command', 'reason', 'state'),
    [
        ('close', 'server disconnect', 'disconnecting'),
        ('drop', 'transport error', 'connected'),
    ],
)
def test_state_in_the_disconnect_handler(python_server, make_client, way, command, reason, state):
    client = make_client()
    client.connect(python_server.url, transports=way)
    sid = client.sid
    seen = []
    noted = client.handlers['disconnect']

    @client.on('disconnect')
    def disconnect(given):
        seen.append(client.sid)
        noted(given)

    client.send(command)
    client.wait_end()
    assert client.reasons == [reason]
    assert client.states[-1] == state
    assert seen == [sid]
    assert (client.state, client.sid) == ('disconnected', None)


@pytest.mark.parametrize('abort', [False, True])
def test_state_in_the_handler_of_an_own_disconnect(any_server, client, way, abort):
    client.connect(any_server.url, transports=way)
    client.disconnect(abort)
    assert client.reasons == ['client disconnect']
    assert client.states == ['connected', 'disconnecting']
    assert client.disconnect_error is None


def test_wait_returns_after_the_disconnect_handler(any_server, make_client, way):
    client = make_client()
    begun, may_end, done = gevent.event.Event(), gevent.event.Event(), []

    @client.on('disconnect')
    def disconnect(reason):
        begun.set()
        may_end.wait()
        done.append(reason)

    client.connect(any_server.url, transports=way)
    waiters = [gevent.spawn(client.wait) for _ in range(3)]
    client.send('close')
    assert begun.wait(5)
    assert not gevent.wait(waiters, timeout=0.05)
    may_end.set()
    gevent.joinall(waiters, timeout=5, raise_error=True)
    assert len(done) == 1
    assert all(waiter.ready() for waiter in waiters)


def test_wait_while_not_connected(any_server, client):
    client.wait()
    client.connect(any_server.url)
    client.disconnect()
    client.wait()


def test_context_variables(any_server, make_client, way):
    """Each call sees those of connect(), in a copy of its own."""
    variable = contextvars.ContextVar('variable', default='unset')
    client = make_client()
    seen = []

    @client.on('message')
    def message(data):
        seen.append(variable.get())
        variable.set('changed by a handler')

    @client.on('disconnect')
    def disconnect(reason):
        seen.append(variable.get())

    def connect():
        variable.set('of connect')
        client.connect(any_server.url, transports=way)
        variable.set('later')

    contextvars.copy_context().run(connect)
    client.send('numbers 3')
    assert support.eventually(lambda: len(seen) == 3)
    client.disconnect()
    assert seen == ['of connect'] * 4
    assert variable.get() == 'unset'


# -- What a handler may do ----------------------------------------------------------------------


def test_messages_before_the_servers_end_within_the_connect_handler(js_server, make_client, way):
    client = make_client()
    connected = client.handlers['connect']
    ended = gevent.event.Event()

    @client.on('connect')
    def connect():
        connected()
        client.send('close')
        ended.wait(5)

    noted = client.handlers['disconnect']

    @client.on('disconnect')
    def disconnect(reason):
        noted(reason)
        ended.set()

    client.connect(f'{js_server.url}?greet=3', transports=way)
    client.wait_end()
    assert [argument for event, argument in client.events if event == 'message'] == [
        'g0',
        'g1',
        'g2',
    ]
    assert client.events[-1][0] == 'disconnect'


@pytest.mark.usefixtures('unhurried_abort')
@pytest.mark.parametrize('abort', [False, True])
def test_disconnect_in_the_connect_handler(any_server, make_client, way, abort):
    client = make_client()
    sids = []

    @client.on('connect')
    def connect():
        sids.append(client.sid)
        client.disconnect(abort)

    with gevent.Timeout(5):
        client.connect(any_server.url, transports=way)
    client.wait_end()
    assert client.state == 'disconnected'
    assert client.reasons == ['client disconnect']
    any_server.close_reason(sids[0])


@pytest.mark.parametrize('abort', [False, True])
def test_disconnect_in_the_message_handler(any_server, make_client, way, abort):
    client = make_client()
    after = gevent.event.Event()

    @client.on('message')
    def message(data):
        client.disconnect(abort)
        after.set()

    client.connect(any_server.url, transports=way)
    client.send('hello')
    assert after.wait(5)
    client.wait_end()
    assert client.state == 'disconnected'
    assert client.reasons == ['client disconnect']


@pytest.mark.parametrize('command', ['close', 'drop', None])
@pytest.mark.parametrize('abort', [False, True])
def test_disconnect_in_the_disconnect_handler(any_server, make_client, way, abort, command):
    client = make_client()
    reasons = []

    @client.on('disconnect')
    def disconnect(reason):
        reasons.append(reason)
        client.disconnect(abort)
        reasons.append(None)

    client.connect(any_server.url, transports=way)
    with gevent.Timeout(2):  # sooner than a farewell's bound
        if command:
            client.send(command)
            client.wait()
        else:
            client.disconnect()
    assert len(reasons) == 2
    assert client.state == 'disconnected'


@pytest.mark.parametrize('command', ['close', 'drop'])
def test_reconnect_in_the_disconnect_handler(any_server, make_client, way, command):
    client = make_client()
    again = gevent.event.Event()
    sids, reasons = [], []

    @client.on('disconnect')
    def disconnect(reason):
        reasons.append(reason)
        if len(reasons) < 3:
            client.connect(any_server.url, transports=way)
            sids.append(client.sid)
            again.set()

    client.connect(any_server.url, transports=way)
    sids.append(client.sid)
    for number in range(2):
        client.send(command)
        assert again.wait(5)
        again.clear()
        assert client.state == 'connected'
        assert client.sid == sids[-1]
        assert client.ask(f'again {number}') == f'again {number}'
    assert len(set(sids)) == 3
    assert len(reasons) == 2
    client.disconnect()
    assert len(reasons) == 3
    assert client.state == 'disconnected'


def test_connect_in_the_connect_handler(any_server, make_client, way):
    client = make_client()
    errors = []

    @client.on('connect')
    def connect():
        try:
            client.connect(any_server.url)
        except ValueError as exc:
            errors.append(exc)

    client.connect(any_server.url, transports=way)
    assert len(errors) == 1
    assert client.ask('hello') == 'hello'


def test_other_client_in_a_handler(any_server, make_client, way):
    first, second = make_client(), make_client()

    @first.on('message')
    def message(data):
        second.connect(any_server.url, transports=way)
        second.send(data)

    first.connect(any_server.url, transports=way)
    first.send('passed on')
    assert second.next() == 'passed on'


# -- The tools ----------------------------------------------------------------------------------


def test_tools(client):
    queue = client.create_queue(maxsize=1)
    task = client.start_background_task(lambda *args, **kwargs: queue.put((args, kwargs)), 1, key=2)
    task.join()
    assert queue.get() == ((1,), {'key': 2})
    with pytest.raises(client.get_queue_empty_exception()):
        queue.get(block=False)
    event = client.create_event()
    client.start_background_task(event.set)
    assert event.wait(5)
    switched = []
    client.start_background_task(switched.append, True)
    client.sleep(0.001)
    assert switched
    assert client.is_asyncio_based() is False
    assert (
        client.reason.CLIENT_DISCONNECT,
        client.reason.SERVER_DISCONNECT,
        client.reason.TRANSPORT_ERROR,
    ) == ('client disconnect', 'server disconnect', 'transport error')
