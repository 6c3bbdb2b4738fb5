"""A connect() that fails leaves alone what the client has connected meanwhile."""

from __future__ import annotations

import logging

import gevent
import pytest
from gevent.event import Event

from engineio_gevent.exceptions import ConnectionError
from support import WAYS, eventually, no_leaks

TIMEOUT = 20


class Late(BaseException):
    """Like gevent.Timeout: no Exception."""


@pytest.fixture
def client(make_client):
    return make_client()


def left_at(server, sids):
    """Those of the connections that the server still has."""
    return [sid for sid in sids if sid in server.control('clients')['ids']]


@pytest.mark.parametrize('how', ['raises', 'is killed', 'times out', 'disconnects'])
@pytest.mark.parametrize('way', WAYS)
def test_a_connect_handler_that_fails_after_the_next_connect(any_server, client, way, how):
    """The server drops the first connection; the disconnect handler connects again."""
    lost, connected_again = Event(), Event()
    sids, ends = [], []
    error = Late()

    @client.on('connect')
    def on_connect():
        sids.append(client.sid)
        if len(sids) == 1:
            client.send('drop')
            assert connected_again.wait(TIMEOUT)
            if how == 'raises':
                raise ValueError('no')
            if how == 'times out':
                raise error
            if how == 'disconnects':
                return
            Event().wait()  # until it is killed

    @client.on('disconnect')
    def on_disconnect(reason):
        ends.append(reason)
        if not lost.is_set():
            lost.set()
            client.connect(any_server.url, transports=WAYS[way])
            connected_again.set()

    def connect():
        try:
            client.connect(any_server.url, transports=WAYS[way])
        except ConnectionError as exc:
            return exc
        except Late as exc:
            return exc
        return None

    with no_leaks():
        first = gevent.spawn(connect)
        assert connected_again.wait(TIMEOUT)
        if how == 'is killed':
            first.kill()
        outcome = first.get(timeout=TIMEOUT)
        if how == 'raises':
            assert 'Connect handler failed' in str(outcome)
        elif how == 'times out':
            assert outcome is error
        assert (client.state, client.sid) == ('connected', sids[1])
        assert len(ends) == 1
        messages = []
        client.on('message', messages.append)
        client.send('still there')
        assert eventually(lambda: messages == ['still there'])
        assert left_at(any_server, sids[1:]) == sids[1:]
        client.disconnect()
    assert eventually(lambda: left_at(any_server, sids[1:]) == [])
    assert (client.state, len(ends), len(sids)) == ('disconnected', 2, 2)


@pytest.mark.parametrize('way', WAYS)
def test_a_log_handler_that_waits_while_another_greenlet_connects(any_server, make_client, way):
    """The failed connect() is forgotten before its error is logged."""
    logged, may_go_on = Event(), Event()

    class Waiting(logging.Handler):
        def emit(self, record):
            if 'connect handler error' in record.getMessage():
                logged.set()
                assert may_go_on.wait(TIMEOUT)

    logger = logging.getLogger('test.orphans')
    logger.addHandler(handler := Waiting())
    try:
        client = make_client(logger=logger)
        sids = []

        @client.on('connect')
        def on_connect():
            sids.append(client.sid)
            if len(sids) == 1:
                raise ValueError('no')

        first = gevent.spawn(
            pytest.raises, ConnectionError, client.connect, any_server.url, transports=WAYS[way]
        )
        assert logged.wait(TIMEOUT)
        assert client.state == 'disconnected'
        client.connect(any_server.url, transports=WAYS[way])
        may_go_on.set()
        first.get(timeout=TIMEOUT)
        assert (client.state, client.sid) == ('connected', sids[1])
        client.disconnect()
    finally:
        logger.removeHandler(handler)
    assert eventually(lambda: left_at(any_server, sids) == [])


@pytest.mark.parametrize('way', WAYS)
def test_connecting_again_before_the_disconnect_handler(any_server, client, way):
    """Then the next connect handler would run before it. Within it, connecting is allowed."""
    order = []

    @client.on('connect')
    def on_connect():
        order.append('connect')

    @client.on('disconnect')
    def on_disconnect(reason):
        order.append('disconnect')
        if order.count('disconnect') == 1:
            client.connect(any_server.url, transports=WAYS[way])

    client.connect(any_server.url, transports=WAYS[way])
    client._session.on_lost(client._session.transport, OSError('cut off'))
    # The dispatcher has not had its turn yet.
    with pytest.raises(ValueError, match='not in a disconnected state'):
        client.connect(any_server.url)
    assert eventually(lambda: order == ['connect', 'disconnect', 'connect'])
    assert eventually(lambda: client.state == 'connected')
    client.disconnect()
    assert order == ['connect', 'disconnect'] * 2
