"""A server that sends messages and closes at once, in its connection event: nothing is lost."""

from __future__ import annotations

import gevent
import pytest

from support import WAYS, no_leaks, patience

TIMES = 20
"""Whether the words come in the same segment as the open packet depends on chance."""


def last_words(make_client, url, way):
    """Connect once; returns what the handlers saw, in order."""
    seen = []
    client = make_client()
    client.on('connect', lambda: seen.append('connect'))
    client.on('message', seen.append)
    client.on('disconnect', seen.append)
    with gevent.Timeout(patience(20)):
        client.connect(f'{url}?greet=3&close=1', transports=WAYS[way])
        client.wait()
    assert (client.state, client.sid) == ('disconnected', None)
    return seen


@pytest.mark.parametrize('way', WAYS)
def test_the_js_server(js_server, make_client, way):
    with no_leaks():
        for _ in range(TIMES):
            seen = last_words(make_client, js_server.url, way)
            reason = seen.pop()
            assert seen == ['connect', 'g0', 'g1', 'g2']
            assert reason in ('server disconnect', 'transport error')


def test_the_python_server(python_server, make_client):
    """By websocket. Over polling it forgets the session before it has sent its CLOSE packet."""
    with no_leaks():
        for _ in range(TIMES):
            seen = last_words(make_client, python_server.url, 'websocket')
            assert seen == ['connect', 'g0', 'g1', 'g2', 'server disconnect']
