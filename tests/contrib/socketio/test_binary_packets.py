"""A packet with binary data reaches the server whole: nothing comes between it and its pieces.

python-socketio's server closes the connection where something does.
"""

import itertools
import logging

import gevent
import pytest

import engineio_gevent.contrib.socketio as module
import support

GREENLETS = 6
THREADS = 3
EACH = 8


class Waiting(logging.Handler):
    """A log handler that lets other greenlets run, except in other native threads."""

    def __init__(self):
        super().__init__()
        self._hub = gevent.get_hub()
        self.lines = 0

    def handle(self, record):  # without the lock, which would be one for all greenlets
        self.lines += 1
        if gevent._hub_local.get_hub_if_exists() is self._hub:
            gevent.sleep(0)


@pytest.fixture
def waiting_log():
    logger = logging.getLogger('test.socketio.waiting')
    logger.setLevel(logging.INFO)
    logger.propagate = False
    logger.addHandler(handler := Waiting())
    yield logger
    logger.removeHandler(handler)
    assert handler.lines


def packet(sender, number):
    """The data of an event, with pieces of several sizes."""
    sizes = itertools.islice(itertools.cycle([0, 3, 200, 5000]), number % 4, number % 4 + 3)
    return [sender, number, *(f'{sender} {number} '.encode() + b'x' * size for size in sizes)]


def packets(sender):
    return [packet(sender, number) for number in range(EACH)]


def is_whole(client, senders):
    """Wait until the server has sent everything back, in the order of each sender."""
    expected = {sender: packets(sender) for sender in senders}
    found = {sender: [] for sender in senders}
    for _ in range(EACH * len(senders)):
        event, sender, *rest = client.next()
        assert event == 'echo'
        found[sender].append([sender, *rest])
    assert found == expected
    assert client.seen('disconnect') == []


@pytest.mark.parametrize('namespace', ['/', '/chat'])
def test_emits_from_greenlets_and_native_threads(server, make_client, waiting_log, way, namespace):
    """Also while the connection is upgraded, and while emit() waits at the write limit."""
    client = make_client(
        namespaces=('/', '/chat'), logger=waiting_log, engineio_logger=waiting_log, write_limit=500
    )

    def emit(sender):
        for data in packets(sender):
            client.emit('echo', tuple(data), namespace=namespace)

    greenlets = []

    @client.on('connect', namespace=namespace)
    def connect():
        greenlets.extend(gevent.spawn(emit, f'g{number}') for number in range(GREENLETS))

    client.connect(server.url, transports=way, namespaces=['/', '/chat'])
    threads = [support.NativeThread(emit, f't{number}') for number in range(THREADS)]
    for thread in threads:
        thread.get()
    gevent.joinall(greenlets, raise_error=True)
    is_whole(
        client, [f'g{one}' for one in range(GREENLETS)] + [f't{one}' for one in range(THREADS)]
    )
    client.disconnect()


def test_calls_and_acknowledgements(server, make_client, waiting_log, way):
    """The answers of the client's own handlers have pieces, too."""
    client = make_client(logger=waiting_log, engineio_logger=waiting_log, write_limit=500)
    answered = []
    client.on('question', lambda *data: tuple(data))
    client.on('answered', answered.append)
    client.connect(server.url, transports=way)

    def call(sender):
        for data in packets(sender):
            assert [*client.call('echo', tuple(data), timeout=support.patience(20))] == data
            client.emit('ask', tuple(data))

    senders = [f'g{number}' for number in range(GREENLETS)]
    gevent.joinall([gevent.spawn(call, sender) for sender in senders], raise_error=True)
    assert support.eventually(lambda: len(answered) == EACH * len(senders), 20)
    for sender in senders:
        assert [one for one in answered if one[0] == sender] == packets(sender)
    assert client.seen('disconnect') == []


def test_a_simple_client(python_sio, waiting_log, way):
    client = module.SimpleClient(
        handle_sigint=False, logger=waiting_log, engineio_logger=waiting_log, write_limit=500
    )
    client.connect(python_sio.url, transports=way)

    def emit(sender):
        for data in packets(sender):
            client.emit('echo', tuple(data))

    senders = [f'g{number}' for number in range(GREENLETS)]
    gevent.joinall([gevent.spawn(emit, sender) for sender in senders], raise_error=True)
    found = [client.receive(timeout=support.patience(20))[1:] for _ in range(EACH * GREENLETS)]
    for sender in senders:
        assert [one for one in found if one[0] == sender] == packets(sender)
    client.disconnect()


@pytest.mark.parametrize('how', ['kill', 'timeout'])
def test_a_killed_emit_has_sent_all_or_nothing(
    python_sio, make_client, waiting_log, transport, how
):
    """However far it has come: in the log, or at the write limit."""
    client = make_client(logger=waiting_log, engineio_logger=waiting_log, write_limit=10)
    client.connect(python_sio.url, transports=transport)
    for number in range(20):
        emitting = gevent.spawn(support.outcome, client.emit, 'echo', tuple(packet('g', number)))
        for _ in range(1 + number % 10):
            gevent.sleep(0)
        exception = gevent.GreenletExit if how == 'kill' else gevent.Timeout
        emitting.kill(exception)
    assert client.call('echo', b'last', timeout=support.patience(20)) == b'last'
    while (arrived := client.next())[1] != b'last':
        assert list(arrived[1:]) == packet('g', arrived[2])
    assert client.seen('disconnect') == []
    # the answer to a POST may come later than what the server sends by another connection
    assert support.eventually(lambda: client.eio.unsent == 0)
