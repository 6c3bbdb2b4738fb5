"""Signals between any two lines: nothing is lost or doubled, and the client can be used again."""

from __future__ import annotations

import linecache
import sys
from pathlib import Path

import gevent
import pytest

import engineio_gevent
from support import eventually

PACKAGE = Path(engineio_gevent.__file__).parent
#: Where the life of a connection is.
FILES = {
    str(PACKAGE / f'{name}.py')
    for name in (
        'client',
        'connecting',
        'handler_calls',
        'incoming',
        'lifecycle',
        'outgoing',
        'session',
    )
}


#: An interruption in these functions leaves the connection open at the server: one reads the OPEN
#: packet, the other one goes from one transport to the next.
UNSAFE = {'on_packets', 'switch'}


def _callers(frame):
    """The names of a function and of those that called it."""
    names = set()
    while frame is not None:
        names.add(frame.f_code.co_name)
        frame = frame.f_back
    return names


def ctrl_c():
    raise KeyboardInterrupt


#: From one line to the next that is interrupted. Each takes a connection.
STEP = 7


class Interrupt:
    """Calls a signal handler before one line that this greenlet runs in these files.

    :param line: the number of the line, counted as they are run.
    :param handler: the signal handler. The default is that of Ctrl-C.
    """

    def __init__(self, line, handler=ctrl_c, files=FILES):
        self._left = line
        self._handler = handler
        self._files = files
        self._greenlet = gevent.getcurrent()
        #: Where it was: None if there are not so many lines.
        self.place = None

    def __enter__(self):
        sys.settrace(self._trace)
        return self

    def __exit__(self, *_):
        sys.settrace(None)

    def _trace(self, frame, event, _):
        if frame.f_code.co_filename not in self._files or UNSAFE & _callers(frame):
            return None
        if event == 'line' and gevent.getcurrent() is self._greenlet and self.place is None:
            if linecache.getline(frame.f_code.co_filename, frame.f_lineno).lstrip()[:5] == 'with ':
                return self._trace  # its end is traced, too, where no signal is handled
            self._left -= 1
            if self._left < 0:
                self.place = f'{Path(frame.f_code.co_filename).name}:{frame.f_lineno}'
                self._handler()
        return self._trace


def interrupted(line, call):
    """Make a call that Ctrl-C interrupts; return the place, or None if it has not so many lines."""
    with Interrupt(line) as interrupt:
        try:
            call()
        except KeyboardInterrupt:
            assert interrupt.place
    return interrupt.place


@pytest.fixture
def client():
    client = engineio_gevent.Client(handle_sigint=False, request_timeout=60)
    client.log = []
    client.on('connect', lambda: client.log.append('connect'))
    client.on('disconnect', lambda reason: client.log.append('disconnect'))
    return client


def check_can_be_used(client, server, way, place):
    """Whatever state it is in, `disconnect()` ends that."""
    client.disconnect()
    assert eventually(lambda: client.state == 'disconnected'), place
    # Over polling the server may not have been told: it notices that there are no more requests.
    assert way == ['polling'] or eventually(lambda: server.count() == 0), place
    assert client.log in ([], ['connect'], ['connect', 'disconnect']), place
    client.log.clear()
    client.connect(server.url, transports=way)
    client.disconnect()
    assert client.log == ['connect', 'disconnect'], place
    client.log.clear()


@pytest.mark.time_limit(240)
def test_in_connect(make_js_server, client, way):
    server = make_js_server()
    for line in range(0, 10_000, STEP):
        place = interrupted(line, lambda: client.connect(server.url, transports=way))
        if place is None:
            break
        check_can_be_used(client, server, way, place)
    assert line > 100


@pytest.mark.time_limit(240)
@pytest.mark.parametrize('abort', [False, True])
def test_in_disconnect(make_js_server, client, way, abort):
    server = make_js_server()
    for line in range(0, 10_000, STEP):
        client.connect(server.url, transports=way)
        place = interrupted(line, lambda: client.disconnect(abort=abort))
        if place is None:
            break
        check_can_be_used(client, server, way, place)
    assert line > 20


SENDING = FILES | {
    str(PACKAGE / f'{name}.py') for name in ('net/stream', 'net/outbox', 'transports/websocket')
}


@pytest.mark.time_limit(240)
@pytest.mark.parametrize('size', [10, 100_000])
@pytest.mark.parametrize('abort', [False, True])
def test_a_signal_handler_that_disconnects_during_send(make_js_server, client, size, abort):
    """What has been sent arrives once, in order; the message that is being sent may be lost."""
    server = make_js_server()
    for line in range(0, 10_000, STEP):
        client.connect(server.url, transports='websocket')
        sid = client.sid
        with Interrupt(line, lambda: client.disconnect(abort=abort), SENDING) as interrupt:
            for number in range(3):
                client.send(f'{number}' + size * 'x')
        client.disconnect()
        assert client.log == ['connect', 'disconnect'], interrupt.place
        client.log.clear()
        received = [int(text[0]) for text in server.received(sid)]
        assert received == list(range(len(received))), interrupt.place
        if interrupt.place is None:
            break
    assert line > 20
    assert received == [0, 1, 2]
