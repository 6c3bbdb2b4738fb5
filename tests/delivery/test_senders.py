"""Many senders at once: each one's messages keep their order, and no frame is torn by another."""

import random
import threading

import gevent
import pytest
from gevent.event import AsyncResult

import support

GREENLETS = 50
THREADS = 4
EACH = 200

SIZES = [0, 10, 120, 130, 3000]
"""Paddings for frames with each form of header, above and below what is gathered."""


@pytest.fixture
def client(any_server, make_client):
    client = make_client()
    client.server = any_server
    return client


def connect(client, way):
    client.connect(f'{client.server.url}/?check=1', transports=way)
    return client.sid


def padding(chance):
    return 'x' * chance.choice(SIZES)


def arrived(client, sid, timeout=20):
    """Wait until the server has all that was sent, in order."""
    support.eventually(lambda: client.server.checked(sid) == client.counts, timeout)
    assert client.server.checked(sid) == client.counts


def test_greenlets_and_native_threads_at_once(client, way):
    chance = random.Random(1)
    sid = connect(client, way)

    def greenlet(name):
        for number in range(EACH):
            client.count(name, padding(chance), binary=number % 3 == 0)
            if chance.random() < 0.1:
                gevent.sleep(0)

    def thread(name):
        own = random.Random(name)
        for number in range(EACH):
            client.count(name, padding(own), binary=number % 3 == 0)

    threads = [threading.Thread(target=thread, args=[f't{number}']) for number in range(THREADS)]
    for one in threads:
        one.start()
    gevent.joinall(
        [gevent.spawn(greenlet, f'g{number}') for number in range(GREENLETS)], raise_error=True
    )
    assert support.eventually(lambda: not any(one.is_alive() for one in threads), 10)
    assert len(client.counts) == GREENLETS + THREADS
    assert set(client.counts.values()) == {EACH}
    arrived(client, sid)


def test_greenlets_that_wait_for_room(any_server, make_client, transport):
    # Each send waits: what is queued is over the limit all the time.
    client = make_client(write_limit=1000)
    client.connect(f'{any_server.url}/?check=1', transports=transport)
    sid = client.sid

    def send(name):
        for _ in range(20):
            client.count(name, 'x' * 3000)

    gevent.joinall([gevent.spawn(send, f'g{number}') for number in range(20)], raise_error=True)
    client.disconnect()
    assert any_server.checked(sid) == client.counts


def test_a_native_thread_that_sends_and_disconnects(client, transport):
    sid = connect(client, transport)

    def send():
        for _ in range(1000):
            client.count('thread')
        client.disconnect()

    thread = threading.Thread(target=send)
    thread.start()
    client.wait_end()
    assert support.eventually(lambda: not thread.is_alive())
    assert client.server.checked(sid) == {'thread': 1000}
    assert client.reasons == ['client disconnect']


def test_message_handlers(client, way):
    """Handlers that answer at once, handlers that wait first, and a greenlet beside them."""
    streamed = AsyncResult()

    def answer(message):
        word, number = message.split()
        if word == 'end':
            streamed.set(int(number))
            return
        client.count('handler')
        if int(number) % 10 == 0:
            gevent.sleep(0.001)
            client.count('later')

    client.on('message', answer)
    sid = connect(client, way)
    client.send('stream 1')
    while client.counts.get('handler', 0) < 200:
        client.count('beside')
        gevent.sleep(0.001)
    client.send('end')
    total = streamed.get(timeout=10)
    assert support.eventually(lambda: client.counts['later'] == (total + 9) // 10)
    arrived(client, sid)
    assert client.counts['handler'] == total


def test_the_connect_handler(client, way):
    def send():
        for _ in range(1000):
            client.count('handler')
        # nothing that another greenlet sends meanwhile is lost either
        gevent.spawn(client.count, 'other').join()

    client.on('connect', send)
    sid = connect(client, way)
    client.count('handler')
    arrived(client, sid)
    assert client.counts == {'handler': 1001, 'other': 1}


def test_the_connect_handler_then_disconnect(client, way):
    def send():
        for _ in range(1000):
            client.count('handler')

    client.on('connect', send)
    sid = connect(client, way)
    client.disconnect()
    assert client.server.checked(sid) == {'handler': 1000}


def test_a_message_handler_that_disconnects(client, way):
    def leave(message):
        for _ in range(1000):
            client.count('handler')
        client.disconnect()

    client.on('message', leave)
    sid = connect(client, way)
    client.send('numbers 1')
    client.wait_end()
    assert client.server.checked(sid) == {'handler': 1000}
    assert client.reasons == ['client disconnect']
