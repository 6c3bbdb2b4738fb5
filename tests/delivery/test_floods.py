"""Floods from a server, whose messages a client collects: all arrive, once and in order."""

import gevent
import pytest

import support
from engineio_gevent.net import stream
from engineio_gevent.net.stream import Stream

MESSAGES = 500


@pytest.fixture
def flooding(hostile_server, trusted):
    """`flooding(secure)`: a server that sends a stream, one message in each turn of the loop."""

    def serve(sock):
        support.accept_websocket(sock)
        support.send_frame(sock, support.open_packet())
        gevent.sleep(0.05)  # the client may not have just sent something
        for number in range(MESSAGES):
            support.send_frame(sock, f'4s {number}')
            gevent.idle()
        while support.read_frame(sock)[1] != b'4end':
            pass
        support.send_frame(sock, f'4end {MESSAGES}')
        while support.read_frame(sock)[0] != support.CLOSE:
            pass
        sock.sendall(support.close_frame())

    def start(secure):
        return hostile_server(
            serve, **({'ssl_context': trusted.server_context()} if secure else {})
        )

    return start


@pytest.fixture
def pauses(monkeypatch):
    """A list that gets an entry for each pause that has ended."""
    ended = []
    resume = Stream._resume_reading
    monkeypatch.setattr(Stream, '_resume_reading', lambda one: (ended.append(1), resume(one)))
    monkeypatch.setattr(stream, '_FLOOD_SECONDS', 3600)  # however slow the machine is
    return ended


@pytest.mark.parametrize('secure', [False, True], ids=['ws', 'wss'])
@pytest.mark.parametrize('options', [{}, {'max_receive_delay': 0}], ids=['default', 'off'])
def test_a_flood_arrives(flooding, make_client, pauses, secure, options):
    server = flooding(secure)
    client = make_client(**options)
    client.connect(server.url, transports='websocket')
    assert support.eventually(lambda: client.streamed == MESSAGES, timeout=20)
    assert client.end_stream() == MESSAGES
    assert bool(pauses) is not bool(options)


def test_a_client_that_answers_is_not_paused(flooding, make_client, pauses, monkeypatch):
    monkeypatch.setattr(stream, 'QUIET_SECONDS', 3600)
    server = flooding(secure=False)
    client = make_client()
    take = client.handlers['message']
    client.on('message', lambda message: (take(message), client.send('answer')))
    client.connect(server.url, transports='websocket')
    assert support.eventually(lambda: client.streamed == MESSAGES, timeout=20)
    assert not pauses
    assert client.end_stream() == MESSAGES


@pytest.mark.parametrize('how', ['disconnect', 'abort', 'server'])
def test_an_end_in_the_midst_of_a_flood(hostile_server, make_client, pauses, how):
    def serve(sock):
        support.accept_websocket(sock)
        support.send_frame(sock, support.open_packet())
        gevent.sleep(0.05)
        number = 0
        while how != 'server' or number < MESSAGES:
            support.send_frame(sock, f'4s {number}')
            gevent.idle()
            number += 1

    server = hostile_server(serve)
    client = make_client()
    client.connect(server.url, transports='websocket')
    if how == 'server':
        client.wait_end()
        assert client.streamed == MESSAGES  # the end comes after the last message
        assert client.reasons == ['transport error']
    else:
        assert support.eventually(lambda: pauses)
        client.disconnect(abort=how == 'abort')
        assert client.reasons == ['client disconnect']
    assert client.faults == []
    server.wait_open(0)
