"""Emits that have to wait, since the server takes nothing: they stay whole, and hold up nobody."""

import logging
import time

import gevent
import pytest
from gevent.event import Event

import support

TIMEOUT = 10

ATTACHMENT = b'x' * 100_000
"""Some of them fill what the operating system takes."""


class Peer:
    """A Socket.IO server that reads when it is told to, and keeps what came."""

    def __init__(self):
        self.go_on = Event()
        #: the payloads of frames since the handshake; binary as bytes
        self.frames = []

    def __call__(self, sock):
        support.accept_websocket(sock)
        support.send_frame(sock, support.open_packet())
        assert support.read_frame(sock)[1] == b'40{}'
        support.send_frame(sock, '40{"sid":"one"}')
        self.go_on.wait()
        while True:
            opcode, payload = support.read_frame(sock)
            if opcode == support.CLOSE:
                sock.sendall(support.close_frame())
                return
            self.frames.append(payload if opcode == support.BINARY else payload.decode())


@pytest.fixture
def peer():
    peer = Peer()
    yield peer
    peer.go_on.set()


@pytest.fixture
def stuck(peer, hostile_server, make_client):
    """A connected client, and a greenlet that waits in an emit of three attachments."""
    server = hostile_server(peer)
    client = make_client(write_limit=1000, reconnection=False)
    client.connect(server.url, transports='websocket')
    # more than the socket takes
    client.eio.post(*['2["filler"]' + ' ' * 1_000_000] * 10)
    emitting = gevent.spawn(client.emit, 'binary', (ATTACHMENT, b'two', b'three'))
    gevent.sleep(0.05)
    assert not emitting.ready()
    yield client, emitting
    emitting.kill()


def whole(frames):
    """What came, as (text, attachments); each packet has those that it announces, at once."""
    packets = []
    frames = [frame for frame in frames if isinstance(frame, bytes) or 'filler' not in frame[:20]]
    while frames:
        text = frames.pop(0)
        assert isinstance(text, str), 'an attachment without its packet'
        count = int(text[2 : text.index('-')]) if text.startswith('45') else 0
        packets.append((text, frames[:count]))
        assert all(isinstance(frame, bytes) for frame in frames[:count]), 'cut by another packet'
        assert len(packets[-1][1]) == count
        del frames[:count]
    return packets


def test_nothing_comes_between_a_packet_and_its_attachments(stuck, peer):
    client, emitting = stuck
    others = [gevent.spawn(client.emit, 'text', number) for number in range(5)]
    others += [gevent.spawn(client.emit, 'more', (b'%d' % number, b'-')) for number in range(5)]
    gevent.sleep(0.05)
    peer.go_on.set()
    gevent.joinall([emitting, *others], timeout=TIMEOUT, raise_error=True)
    client.disconnect()
    packets = whole(peer.frames)
    assert packets[0][1] == [ATTACHMENT, b'two', b'three']
    assert sum(text.startswith('42["text"') for text, _ in packets) == 5
    assert [found for text, found in packets if '"more"' in text] == [
        [b'%d' % number, b'-'] for number in range(5)
    ]


def test_one_who_is_killed_leaves_no_half(stuck, peer):
    client, emitting = stuck
    emitting.kill()
    peer.go_on.set()
    client.emit('text')
    client.disconnect()
    assert [text[:9] for text, _ in whole(peer.frames)] == ['453-["bin', '42["text"', '41', '1']


def test_disconnect_is_bounded(stuck, peer):
    client, emitting = stuck
    begin = time.monotonic()
    client.disconnect()
    assert time.monotonic() - begin < support.patience(5)
    assert client.seen('disconnect') == [['/', 'client disconnect']]
    peer.go_on.set()
    emitting.get(timeout=TIMEOUT)


def test_the_write_limit_stays_after_emits_that_interleave(peer, hostile_server, make_client):
    """Emits with attachments, each of which lets the other run in the midst, do not disable it."""

    class Waiting(logging.Handler):
        def emit(self, record):
            gevent.sleep(0)

    server = hostile_server(peer)
    logger = logging.getLogger('test.socketio.interleaving')
    logger.setLevel(logging.INFO)
    logger.addHandler(handler := Waiting())
    try:
        client = make_client(write_limit=1000, reconnection=False, engineio_logger=logger)
        client.connect(server.url, transports='websocket')
        client.eio.post(*['2["filler"]' + ' ' * 1_000_000] * 10)
        emitting = [gevent.spawn(client.emit, 'more', (b'-', b'-')) for _ in range(2)]
        support.settle()
        emitting.append(gevent.spawn(client.emit, 'text'))
        support.settle()
        assert not any(one.ready() for one in emitting)
        peer.go_on.set()
        gevent.joinall(emitting, timeout=TIMEOUT, raise_error=True)
        client.disconnect()
    finally:
        logger.removeHandler(handler)
