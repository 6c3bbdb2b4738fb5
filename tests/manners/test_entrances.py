"""Every entrance to disconnect() and connect(): whoever comes in, and whenever.

What holds for all: nothing hangs, nothing is left behind (`make_client` looks), the state ends as
'disconnected', and the disconnect handler has run once for each connection that came up. The same
client connects again.
"""

import os
import signal
import socket
import threading
from collections import Counter

import gevent
import gevent.event
import pytest

import support
from engineio_gevent.exceptions import ConnectionError

TURNS = 300
"""Turns of the loop in which a connect or a disconnect is over in any case."""


def soon():
    """Seconds in which anything ends that waits for nobody; a farewell's own bound is longer."""
    return support.patience(2)


def turns(count):
    """Give the loop turns: a look at the sockets for every third step, callbacks for the others."""
    looks, callbacks = divmod(count, 3)
    for _ in range(looks):
        gevent.sleep(1e-6)
    for _ in range(callbacks):
        gevent.sleep(0)


# -- disconnect(), from everywhere --------------------------------------------------------------


def from_the_connect_handler(client, connect, leave):
    client.handlers['connect'] = lambda: (client._on_connect(), leave())
    connect()


def from_a_message_handler(client, connect, leave):
    client.handlers['message'] = lambda data: leave()
    connect()
    client.send('hello')
    client.wait()


def from_the_disconnect_handler(client, connect, leave):
    client.handlers['disconnect'] = lambda reason: (client.reasons.append(reason), leave())
    connect()
    client.disconnect()


def from_two_greenlets_at_once(client, connect, leave):
    connect()
    gevent.joinall([gevent.spawn(leave), gevent.spawn(leave)], raise_error=True)


def twice(client, connect, leave):
    connect()
    leave()
    assert client.state == 'disconnected'
    leave()


def while_another_waits(client, connect, leave):
    connect()
    waiting = gevent.spawn(client.wait)
    gevent.sleep(0)
    leave()
    waiting.get()


def after_the_server_left(client, connect, leave):
    connect()
    client.send('close')
    client.wait()
    assert client.state == 'disconnected'
    leave()


def after_the_connection_broke(client, connect, leave):
    connect()
    client.send('drop')
    client.wait()
    assert client.state == 'disconnected'
    leave()


def as_the_server_leaves(client, connect, leave):
    connect()
    client.send('close')
    leave()


def from_a_signal_in_a_greenlet_of_gevents(client, connect, leave):
    connect()
    watcher = gevent.signal_handler(signal.SIGUSR1, leave)
    try:
        os.kill(os.getpid(), signal.SIGUSR1)
        client.wait()
    finally:
        watcher.cancel()


def from_a_signal_handler_in_the_hub(client, connect, leave):
    """Where nothing may wait."""
    seen = []

    def send_later():
        # in a native thread: the greenlets, the hub's too, are all asleep, unless the machine is
        # busy
        threading.Timer(0.02, os.kill, (os.getpid(), signal.SIGUSR1)).start()

    def on_signal(number, frame):
        if gevent.getcurrent() is not gevent.get_hub():
            send_later()
            return
        seen.append(True)
        leave()

    before = signal.signal(signal.SIGUSR1, on_signal)
    connect()
    send_later()
    try:
        client.wait()
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert seen == [True]


def from_a_signal_handler_in_a_greenlet(client, connect, leave):
    before = signal.signal(signal.SIGUSR1, lambda number, frame: leave())
    connect()
    signal.raise_signal(signal.SIGUSR1)
    signal.signal(signal.SIGUSR1, before)
    client.wait()


ENTRANCES = [
    from_the_connect_handler,
    from_a_message_handler,
    from_the_disconnect_handler,
    from_two_greenlets_at_once,
    twice,
    while_another_waits,
    after_the_server_left,
    after_the_connection_broke,
    as_the_server_leaves,
    from_a_signal_in_a_greenlet_of_gevents,
    from_a_signal_handler_in_the_hub,
    from_a_signal_handler_in_a_greenlet,
]


@pytest.mark.parametrize('abort', [False, True], ids=['orderly', 'abort'])
@pytest.mark.parametrize('entrance', ENTRANCES, ids=lambda entrance: entrance.__name__)
def test_disconnect(js_server, client, way, entrance, abort):
    """Three times by the same client; then it is none the worse for it."""

    def connect():
        client.connect(js_server.url, transports=way)

    normal = dict(client.handlers)
    for number in range(3):
        client.handlers.update(normal)
        with gevent.Timeout(soon()):
            entrance(client, connect, lambda: client.disconnect(abort))
        client.check_out()
        assert client.connects == number + 1
    client.handlers.update(normal)
    connect()
    assert client.ask('hello') == 'hello'


@pytest.mark.parametrize('abort', [False, True], ids=['orderly', 'abort'])
@pytest.mark.parametrize('ended_by', ['close', 'drop', None])
def test_wait_in_the_disconnect_handler(js_server, client, way, ended_by, abort):
    """It waits for its own end, which is now."""
    ran = []

    @client.on('disconnect')
    def disconnect(reason):
        client.reasons.append(reason)
        client.wait()
        ran.append(reason)

    client.connect(js_server.url, transports=way)
    with gevent.Timeout(soon()):
        if ended_by:
            client.send(ended_by)
            client.wait()
        else:
            client.disconnect(abort)
    client.check_out()
    assert ran == client.reasons


# -- connect(), from everywhere -----------------------------------------------------------------


ENDS = {
    'own disconnect': lambda client: client.disconnect(),
    'own abort': lambda client: client.disconnect(abort=True),
    'close of the server': lambda client: client.send('close'),
    'broken connection': lambda client: client.send('drop'),
}


@pytest.mark.parametrize('end', list(ENDS))
def test_connect_in_the_disconnect_handler(js_server, client, way, end):
    """Twenty times on end, as a program does that always wants to be connected."""
    sids = []
    back = gevent.event.Event()

    @client.on('disconnect')
    def disconnect(reason):
        client.reasons.append(reason)
        if len(client.reasons) < 20:
            client.connect(js_server.url, transports=way)
            back.set()

    client.connect(js_server.url, transports=way)
    for _ in range(19):
        sids.append(client.sid)
        back.clear()
        with gevent.Timeout(soon()):
            ENDS[end](client)
            back.wait()
        assert client.state == 'connected'
    assert client.sid not in sids
    assert len(set(sids)) == 19
    assert client.ask('hello') == 'hello'
    client.disconnect()
    client.check_out()
    assert client.connects == 20


def test_failing_connect_in_the_disconnect_handler(js_server, client, way):
    """It ends like any other, and so does the connection before it."""
    failures = []

    @client.on('disconnect')
    def disconnect(reason):
        client.reasons.append(reason)
        failures.append(
            support.outcome(
                client.connect, f'http://127.0.0.1:{support.free_port()}', transports=way
            )
        )

    client.connect(js_server.url, transports=way)
    client.disconnect()
    client.check_out()
    assert [type(failure) for failure in failures] == [ConnectionError]


def test_disconnect_and_connect_in_a_message_handler(js_server, client, way):
    @client.on('message')
    def message(data):
        client.inbox.put(data)
        if data == 'move':
            client.disconnect()
            client.connect(js_server.url, transports=way)
            client.send('moved')

    client.connect(js_server.url, transports=way)
    first = client.sid
    client.send('move')
    assert client.inbox.get(timeout=soon()) == 'move'
    assert client.inbox.get(timeout=soon()) == 'moved'
    assert client.sid != first
    client.disconnect()
    client.check_out()
    assert client.connects == 2


def test_disconnect_and_connect_in_the_connect_handler(js_server, client, way):
    """The inner connection is what stays."""

    @client.on('connect')
    def connect():
        client._on_connect()
        if client.connects == 1:
            client.disconnect()
            client.connect(js_server.url, transports=way)

    with gevent.Timeout(soon()):
        client.connect(js_server.url, transports=way)
    assert client.state == 'connected'
    assert client.ask('hello') == 'hello'
    assert client.reasons == ['client disconnect']
    client.disconnect()
    client.check_out()


def test_connect_in_the_signal_handler_of_gevent(js_server, client, way):
    connected = gevent.event.Event()

    def connect():
        client.connect(js_server.url, transports=way)
        connected.set()

    watcher = gevent.signal_handler(signal.SIGUSR1, connect)
    try:
        os.kill(os.getpid(), signal.SIGUSR1)
        assert connected.wait(soon())
    finally:
        watcher.cancel()
    assert client.ask('hello') == 'hello'
    client.disconnect()
    client.check_out()


def test_connect_in_the_hub_is_refused(staged_server, make_client, way):
    """It would have to wait there, which nobody may; the client is as it was."""
    server = staged_server()
    client = make_client()
    failures = []
    gevent.get_hub().loop.run_callback(
        lambda: failures.append(support.outcome(client.connect, server.url, transports=way))
    )
    assert support.eventually(lambda: failures)
    assert isinstance(failures[0], (ConnectionError, AssertionError))  # gevent's is an assertion
    client.check_out()
    client.connect(server.url, transports=way)
    assert client.ask('hello') == 'hello'


def test_two_connects_at_once(js_server, client, way):
    both = [
        gevent.spawn(support.outcome, client.connect, js_server.url, transports=way)
        for _ in range(2)
    ]
    failures = [one.get(timeout=soon()) for one in both]
    assert sorted(type(failure).__name__ for failure in failures) == ['NoneType', 'ValueError']
    assert client.ask('hello') == 'hello'
    client.disconnect()
    client.check_out()
    assert client.connects == 1


def test_connect_during_a_farewell(staged_server, make_client):
    """Not yet: the connection is still there, and says so; then yes."""
    server = staged_server('farewell')
    client = make_client()
    client.connect(server.url, transports='websocket')
    leaving = gevent.spawn(client.disconnect)
    assert server.reached.wait(5)
    assert client.state == 'disconnecting'
    assert isinstance(support.outcome(client.connect, server.url), ValueError)
    server.go_on.set()
    leaving.get(timeout=soon())
    client.check_out()
    client.connect(server.url)
    assert client.ask('hello') == 'hello'


# -- During a connect of another greenlet -------------------------------------------------------


#: (transports, where the server stops, whether the connect handler has run by then)
STAGES = [
    (['polling'], 'GET of the handshake', False),
    (['websocket'], 'websocket handshake', False),
    (['websocket'], 'open packet', False),
    (None, 'GET of the handshake', False),
    (None, 'websocket handshake', True),
    (None, 'pong of the probe', True),
    (None, 'noop', True),
]

BLOWS = {
    'disconnect': lambda client, greenlet: client.disconnect(),
    'abort': lambda client, greenlet: client.disconnect(abort=True),
    'kill': lambda client, greenlet: greenlet.kill(),
    'timeout': lambda client, greenlet: greenlet.kill(gevent.Timeout(1)),
}


@pytest.mark.parametrize('blow', list(BLOWS))
@pytest.mark.parametrize(('way', 'stage', 'came_up'), STAGES)
def test_connect_ended_at_a_stage(staged_server, make_client, way, stage, came_up, blow):
    """By each blow, while the server keeps it waiting; the next connect works."""
    server = staged_server(stage)
    client = make_client()
    connecting = gevent.spawn(support.outcome, client.connect, server.url, transports=way)
    assert server.reached.wait(5)
    with gevent.Timeout(soon()):
        BLOWS[blow](client, connecting)
        failure = connecting.get()
    if blow == 'timeout':
        assert isinstance(failure, gevent.Timeout)
    elif blow == 'kill':
        assert isinstance(failure, gevent.GreenletExit)
    elif not came_up:
        assert isinstance(failure, ConnectionError)
        assert 'disconnect() was called while connecting' in str(failure)
    client.check_out()
    assert client.connects == came_up
    server.wait_open(0)
    server.go_on.set()
    client.connect(server.url, transports=way)
    assert client.ask('hello') == 'hello'
    client.disconnect()
    client.check_out()


@pytest.mark.parametrize('blow', list(BLOWS))
def test_connect_ended_in_any_turn_of_the_loop(staged_server, make_client, way, blow):
    """Begin, give the loop 0, 1, 2 ... turns, strike: every state of a connect has its turn.

    Among these turns are the one in which the handshake's answer arrives, the one between that
    and the connect handler, and those of the upgrade's packets.
    """
    server = staged_server()
    client = make_client()

    @client.on('connect')
    def connect():
        turns(9)  # an end may come meanwhile, too
        client.connects += 1  # one that is interrupted here does not count as up

    states = []
    for count in range(1, TURNS):
        connecting = gevent.spawn(support.outcome, client.connect, server.url, transports=way)
        turns(count)
        if connecting.ready():
            break
        states.append(client.state)
        with gevent.Timeout(soon()):
            BLOWS[blow](client, connecting)
            failure = connecting.get()
        if states[-1] == 'disconnected':
            assert failure is not None
            assert client.connects == 0
        elif failure is None:  # the blow came too late, in the last turn
            client.disconnect()
        client.check_out()
        server.wait_open(0)
        client.connects = 0
        client.reasons.clear()
    assert connecting.get() is None
    assert client.ask('hello') == 'hello'
    client.disconnect()
    client.check_out()
    # the sweep has gone through what it was meant for: the handshake, then the handler
    assert states == sorted(states, reverse=True)
    assert min(Counter(states).values()) >= 5
    assert len(set(states)) == 2


@pytest.mark.parametrize('blow', ['kill', 'timeout'])
def test_disconnect_ended_in_any_turn_of_the_loop(staged_server, make_client, way, blow):
    """The farewell is cut short; the connection ends all the same."""
    server = staged_server()
    client = make_client()
    for count in range(1, TURNS):
        client.connect(server.url, transports=way)
        client.send('hello')
        leaving = gevent.spawn(support.outcome, client.disconnect)
        turns(count)
        finished = leaving.ready()
        with gevent.Timeout(soon()):
            BLOWS[blow](client, leaving)
            client.disconnect()
        client.check_out()
        server.wait_open(0)
        if finished:
            break
    assert finished
    assert client.connects == count > 2


def test_connects_and_disconnects_of_many_greenlets_at_once(js_server, client, way):
    """Whatever they agree on, each connection that came up has one end, and none remains."""

    def come_and_go(number):
        for _ in range(5):
            failure = support.outcome(client.connect, js_server.url, transports=way)
            assert failure is None or isinstance(failure, (ValueError, ConnectionError)), failure
            gevent.sleep(number / 500)
            # a handshake that others cut short again and again would never come up
            if failure is None or client.state == 'connected':
                client.disconnect(abort=number % 2 == 0)

    greenlets = [gevent.spawn(come_and_go, number) for number in range(8)]
    gevent.joinall(greenlets, timeout=20, raise_error=True)
    assert all(greenlet.ready() for greenlet in greenlets)
    client.check_out()
    assert client.connects
    client.connect(js_server.url, transports=way)
    assert client.ask('hello') == 'hello'


# -- A Timeout or a kill() that hits a greenlet inside ------------------------------------------


#: (transports, where the server takes no more)
FULL = [(['polling'], 'POST'), (['websocket'], 'frames'), (None, 'frames')]

LARGE = 1_000_000
"""Characters of a message that the sockets in between do not hold, when they are `NARROW`."""

NARROW = {'sockopt': [(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)]}


@pytest.mark.parametrize('blow', ['kill', 'timeout'])
@pytest.mark.parametrize(('way', 'stage'), FULL)
def test_send_ended_at_the_write_limit(staged_server, make_client, way, stage, blow):
    """Only the waiting ends: the connection stays, and every message arrives whole, in order."""
    server = staged_server(stage)
    client = make_client(write_limit=10_000, websocket_extra_options=NARROW)
    client.connect(server.url, transports=way)
    large = 'x' * LARGE
    sending = gevent.spawn(support.outcome, client.send, large)
    assert server.reached.wait(5)
    gevent.sleep(0.02)
    assert not sending.ready()
    BLOWS[blow](client, sending)
    assert isinstance(sending.get(timeout=soon()), (gevent.GreenletExit, gevent.Timeout))
    assert client.state == 'connected'
    server.go_on.set()
    client.send('after')
    received = [client.inbox.get(timeout=10) for _ in range(2)]
    assert [len(message) for message in received] == [len(large), 5]
    client.disconnect()
    client.check_out()
    assert server.packets[-3:] == [f'4{large}', '4after', '1'] or way is None
    assert [packet[:2] for packet in server.packets if packet[0] != '5'] == ['4x', '4a', '1']


@pytest.mark.parametrize('blow', ['kill', 'timeout'])
@pytest.mark.parametrize(('way', 'stage'), FULL)
def test_one_of_several_senders_ended(staged_server, make_client, way, stage, blow):
    server = staged_server(stage)
    client = make_client(write_limit=10_000, websocket_extra_options=NARROW)
    client.connect(server.url, transports=way)
    names = 'abc'
    senders = [gevent.spawn(support.outcome, client.send, name * LARGE) for name in names]
    assert server.reached.wait(5)
    gevent.sleep(0.02)
    assert not any(sender.ready() for sender in senders)
    BLOWS[blow](client, senders[0])
    gevent.sleep(0.02)
    assert [sender.ready() for sender in senders] == [True, False, False]
    server.go_on.set()
    assert [sender.get(timeout=10) for sender in senders[1:]] == [None, None]
    assert [client.inbox.get(timeout=10)[:1] for _ in names] == list(names)
    client.disconnect()
    client.check_out()


@pytest.mark.parametrize('abort', [False, True], ids=['orderly', 'abort'])
@pytest.mark.parametrize(('way', 'stage'), FULL)
def test_disconnect_lets_senders_go(staged_server, make_client, way, stage, abort):
    server = staged_server(stage)
    client = make_client(write_limit=10_000, websocket_extra_options=NARROW)
    client.connect(server.url, transports=way)
    senders = [gevent.spawn(support.outcome, client.send, name * LARGE) for name in 'abc']
    assert server.reached.wait(5)
    gevent.sleep(0.02)
    assert not any(sender.ready() for sender in senders)
    with gevent.Timeout(0.5 if abort else 5):
        client.disconnect(abort)
    assert [sender.get(timeout=soon()) for sender in senders] == [None] * 3
    client.check_out()
    server.go_on.set()
    server.wait_open(0)


@pytest.mark.parametrize('blow', ['kill', 'timeout'])
def test_wait_ended(js_server, client, way, blow):
    """The others still wait, and the connection lives."""
    client.connect(js_server.url, transports=way)
    waiting = [gevent.spawn(support.outcome, client.wait) for _ in range(3)]
    turns(3)
    BLOWS[blow](client, waiting[0])
    assert isinstance(waiting[0].get(timeout=soon()), (gevent.GreenletExit, gevent.Timeout))
    with gevent.Timeout(0.01, False):
        client.wait()
    assert client.ask('hello') == 'hello'
    assert not any(one.ready() for one in waiting[1:])
    client.disconnect()
    assert [one.get(timeout=soon()) for one in waiting[1:]] == [None, None]
    client.check_out()


@pytest.mark.parametrize('blow', ['kill', 'timeout'])
@pytest.mark.parametrize(
    ('way', 'stage'),
    [
        (['polling'], 'POST'),
        (['websocket'], 'frames'),
        (['websocket'], 'farewell'),
        (None, 'frames'),
        (None, 'farewell'),
    ],
)
def test_disconnect_ended_at_a_stage(staged_server, make_client, way, stage, blow):
    """While the server takes its time over the farewell: at once, with all closed."""
    server = staged_server(stage)
    client = make_client(websocket_extra_options=NARROW)
    client.connect(server.url, transports=way)
    client.send('x' * LARGE)
    leaving = gevent.spawn(support.outcome, client.disconnect)
    assert server.reached.wait(5)
    turns(3)
    assert not leaving.ready()
    with gevent.Timeout(0.5):
        BLOWS[blow](client, leaving)
    assert isinstance(leaving.get(timeout=soon()), (gevent.GreenletExit, gevent.Timeout))
    client.check_out()
    assert client.reasons == ['client disconnect']
    server.go_on.set()
    server.wait_open(0)
    client.connect(server.url, transports=way)
    assert client.ask('hello') == 'hello'


@pytest.mark.parametrize('blow', ['kill', 'timeout'])
def test_disconnect_ended_while_its_handler_runs(js_server, client, way, blow):
    """The handler is not the caller's: it runs to its end, and that is the connection's."""
    entered, go_on = gevent.event.Event(), gevent.event.Event()

    @client.on('disconnect')
    def disconnect(reason):
        entered.set()
        go_on.wait()
        client.reasons.append(reason)

    client.connect(js_server.url, transports=way)
    leaving = gevent.spawn(support.outcome, client.disconnect)
    assert entered.wait(5)
    BLOWS[blow](client, leaving)
    assert isinstance(leaving.get(timeout=soon()), (gevent.GreenletExit, gevent.Timeout))
    assert client.reasons == []
    go_on.set()
    client.check_out()
    assert client.reasons == ['client disconnect']


def test_kill_of_a_handler(js_server, client, way, caplog):
    """By the application, which knows the greenlet; the other handlers go on."""
    greenlets = []

    @client.on('message')
    def message(data):
        client.inbox.put(data)
        if data == 'stay':
            greenlets.append(gevent.getcurrent())
            gevent.sleep(60)

    @client.on('disconnect')
    def disconnect(reason):
        client.reasons.append(reason)
        greenlets.append(gevent.getcurrent())
        gevent.sleep(60)

    client.connect(js_server.url, transports=way)
    assert client.ask('stay') == 'stay'
    greenlets.pop().kill(timeout=soon())
    assert client.ask('hello') == 'hello'
    leaving = gevent.spawn(client.disconnect)
    assert support.eventually(lambda: greenlets)
    greenlets.pop().kill(timeout=soon())
    leaving.get(timeout=soon())
    client.check_out()
    assert client.reasons == ['client disconnect']
    assert caplog.messages == ['handler was killed before it finished'] * 2


def test_timeout_around_a_reconnecting_program(staged_server, make_client):
    """`gevent.Timeout` as it is used most: around the calls, again and again."""
    server = staged_server('open packet')
    client = make_client()
    for _ in range(5):
        with pytest.raises(gevent.Timeout), gevent.Timeout(0.01):
            client.connect(server.url, transports='websocket')
        client.check_out()
        server.wait_open(0)
    server.go_on.set()
    with gevent.Timeout(soon()):
        client.connect(server.url, transports='websocket')
    with gevent.Timeout(0.01, False):
        client.wait()
    assert client.ask('hello') == 'hello'
