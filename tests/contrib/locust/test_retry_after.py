"""A server that refuses users, and says for how long."""

import time
from email.utils import formatdate

import pytest

import support

FAILED = 1
"""Locust's exit code where a request has failed."""


def refuse(sock, status, delay):
    support.respond(sock, b'', status, [('Retry-After', delay), ('Connection', 'close')])


@pytest.fixture
def postponing_server(hostile_server):
    """A websocket server for one user: it refuses, accepts, refuses, accepts.

    It has `asked`: when each connection was asked for.
    """

    def handle(sock):
        request = support.read_request(sock)
        server.asked.append(time.monotonic())
        number = len(server.asked)
        if number == 1:
            refuse(sock, '429 Too Many Requests', '2')
            return
        if number == 3:
            refuse(sock, '503 Service Unavailable', formatdate(time.time() + 4, usegmt=True))
            return
        support.accept_websocket(sock, request)
        support.send_frame(sock, support.open_packet())
        while True:
            opcode, data = support.read_frame(sock)
            if opcode == support.CLOSE or data == b'1':
                return
            # Socket.IO's CONNECT is answered by one with an id.
            support.send_frame(sock, b'40{"sid":"a"}' if data == b'40' else data)
            if number == 2 and data != b'40':
                return  # after the first message

    server = hostile_server(handle)
    server.asked = []
    return server


@pytest.mark.parametrize('user', ['OfEngineIO', 'OfSocketIO'])
def test_users_wait_for_as_long_as_the_server_asks_for(locust, postponing_server, user):
    """Their own delay is 10 ms."""
    server = postponing_server
    run = locust('postponed.py', server.url, user, users=1)
    run.until(lambda: len(server.asked) >= 4)
    run.quit(FAILED)
    assert server.asked[1] - server.asked[0] >= 2
    assert server.asked[3] - server.asked[2] >= 2  # a date has whole seconds
    assert any('429' in text for _, _, text in run.failures)


def test_a_user_that_waits_for_long_can_be_stopped(locust, hostile_server):
    def handle(sock):
        support.read_request(sock)
        refuse(sock, '503 Service Unavailable', '250')

    run = locust('postponed.py', hostile_server(handle).url, users=2)  # one of each kind
    run.until(lambda: len(run.events) == 2)
    run.quit(FAILED)


def test_the_delay(program):
    found = program('delays.py')
    assert all(2 <= one <= 2.5 for one in found['seconds'])
    assert len(set(found['seconds'])) > 50, 'no jitter'
    assert all(300 <= one <= 375 for one in found['long'])
    assert 90 < found['later'] <= 125
    assert 10 <= found['by the clock of the server'] <= 12.5
    assert 10 <= found['without a zone'] <= 12.5
    assert set(found['none']) == {0}
