"""Across the upgrade: both sides send before, during and after it, and every message is counted."""

import gevent
import pytest
from gevent.pool import Pool

AT_ONCE = 10
"""Clients that upgrade beside each other."""

AFTERWARDS = 20
"""Messages that each sends when the upgrade is over."""


def cross(server, client):
    """Connect, upgrade and leave, while both sides send; returns (sent, received)."""

    def send_on():
        while not connected:
            client.count('greenlet')
            gevent.sleep(0.001)

    def begin():
        # The server's stream began with its connection event.
        client.count('handler')
        nonlocal sending
        sending = gevent.spawn(send_on)

    connected = False
    sending = None
    client.on('connect', begin)
    client.connect(f'{server.url}/?check=1&stream=1')
    assert client.transport() == 'websocket'
    for _ in range(AFTERWARDS):
        client.count('greenlet')
    connected = True
    sending.join()
    received = client.end_stream()
    sid = client.sid
    client.disconnect()
    assert server.checked(sid) == client.counts
    return client.counts['greenlet'] - AFTERWARDS, received


def cross_many(server, make_client, count):
    pool = Pool(AT_ONCE)
    crossings = [pool.spawn(cross, server, make_client()) for _ in range(count)]
    results = [crossing.get() for crossing in crossings]
    # The upgrades were under way while messages went both ways.
    assert sum(sent > 1 and received > 1 for sent, received in results) > count // 2


@pytest.mark.parametrize('part', range(4))
def test_two_thousand_upgrades(js_server, make_client, part):
    cross_many(js_server, make_client, 500)


def test_upgrades_with_python(python_server, make_client):
    cross_many(python_server, make_client, 200)
