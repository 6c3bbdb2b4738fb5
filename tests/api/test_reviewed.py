"""Corners where two things happen at once: each was a fault once."""

import logging

import gevent
import gevent.event
import pytest
import requests

import engineio_gevent
from engineio_gevent import exceptions
from engineio_gevent.transports import unpatched
from engineio_gevent.transports.http import SessionHTTP
from engineio_gevent.transports.route import Route
from support import HostileServer, eventually


@pytest.fixture
def client():
    with engineio_gevent.Client(handle_sigint=False) as one:
        yield one


def outcome(function, *args, **kwargs):
    """What a call raises, or None; for greenlets, whose exceptions the hub would print."""
    try:
        function(*args, **kwargs)
    except Exception as exc:
        return exc
    return None


class SlowHandler(logging.Handler):
    """A log handler that waits, as one that writes to a socket does."""

    def __init__(self):
        super().__init__()
        self.records = []

    def emit(self, record):
        gevent.sleep(0.001)
        self.records.append(record.getMessage())


@pytest.mark.parametrize('transports', ['websocket', 'polling'])
def test_a_log_handler_that_waits_costs_nothing_but_time(js_server, transports):
    handler = SlowHandler()
    logger = logging.Logger('of.the.application', logging.INFO)
    logger.addHandler(handler)
    messages = []
    with engineio_gevent.Client(logger, handle_sigint=False) as eio:
        eio.on('message', messages.append)
        eio.connect(js_server.url, transports=transports)
        eio.send('numbers 20')
        assert eventually(lambda: len(messages) == 20)
    assert messages == [str(number) for number in range(20)]
    assert eventually(lambda: any('data 19' in record for record in handler.records))


def test_the_callers_logger_gets_the_errors_of_handlers(js_server):
    handler = SlowHandler()
    logger = logging.Logger('of.the.application', logging.ERROR)
    logger.addHandler(handler)
    with engineio_gevent.Client(logger, handle_sigint=False) as eio:
        eio.on('message', lambda data: 1 / 0)
        eio.on('disconnect', lambda reason: 1 / 0)
        eio.connect(js_server.url)
        eio.send('x')
        assert eventually(lambda: handler.records == ['message handler error'])
    assert handler.records == ['message handler error', 'disconnect handler error']


@pytest.mark.parametrize('transports', ['websocket', 'polling'])
def test_messages_before_an_end_within_the_connect_handler(js_server, client, transports):
    log = []
    ended = gevent.event.Event()

    @client.on('connect')
    def connect():
        client.send('close')
        ended.wait(5)

    @client.on('disconnect')
    def disconnect(reason):
        log.append('end')
        ended.set()

    client.on('message', log.append)
    client.connect(f'{js_server.url}?greet=3', transports=transports)
    client.wait()
    assert log == ['g0', 'g1', 'g2', 'end']


def test_disconnect_while_the_first_of_several_transports_connects():
    def hang(sock):
        sock.recv(65536)
        asked.set()
        sock.recv(65536)

    asked = gevent.event.Event()
    eio = engineio_gevent.Client(try_all_transports=True, handle_sigint=False)
    with HostileServer(hang) as server:
        connecting = gevent.spawn(outcome, eio.connect, server.url)
        assert asked.wait(5)
        eio.disconnect()
        error = connecting.get(timeout=5)
        assert isinstance(error, exceptions.ConnectionError)
        assert 'disconnected while connecting' in str(error)
        assert server.accepted == 1
    assert eio.state == 'disconnected'


def test_a_remembered_upgrade_stays_remembered(make_js_server):
    server = make_js_server()
    eio = engineio_gevent.Client(remember_upgrade=True, handle_sigint=False)
    began = []
    for _ in range(4):
        eio.connect(server.url)
        began.append(eio.base_url.partition(':')[0])
        eio.disconnect()
    assert began == ['http', 'ws', 'ws', 'ws']


def test_two_connects_and_a_session_that_takes_its_time(js_server):
    def make():
        gevent.sleep(0.01)
        return requests.Session()

    eio = engineio_gevent.Client(http_session=make, handle_sigint=False)
    both = [
        gevent.spawn(outcome, eio.connect, js_server.url, transports='websocket')
        for _ in range(2)
    ]
    outcomes = [one.get(timeout=5) for one in both]
    assert outcomes.count(None) == 1
    assert any(isinstance(one, ValueError) for one in outcomes)
    eio.disconnect()


def test_the_callers_session_can_be_read_before_a_connect():
    session = requests.Session()
    assert engineio_gevent.Client(http_session=session).http is session


def test_own_reason_though_the_heartbeat_ends_meanwhile(make_js_server):
    server = make_js_server(pingInterval=300, pingTimeout=200)
    reasons = []
    eio = engineio_gevent.Client(handle_sigint=False)
    eio.on('disconnect', reasons.append)
    eio.connect(server.url, transports='websocket')
    server.suspend()
    try:
        eio.disconnect(reason='bye')
    finally:
        server.resume()
    assert reasons == ['bye']


@pytest.mark.parametrize('transports', ['websocket', 'polling'])
def test_header_outside_latin_1(client, transports):
    with pytest.raises(ValueError, match='X-Name'):
        client.connect('http://127.0.0.1:9', {'X-Name': '\u20ac'}, transports)


def test_cookies_of_the_server_join_the_callers_through_a_session(make_js_server, monkeypatch):
    monkeypatch.setattr(unpatched, '_warned', True)  # the warning is others' to test
    server = make_js_server(cookie={'name': 'sticky', 'path': '/'})
    session = requests.Session()
    route = Route(server.url, {'Cookie': 'mine=1'}, http_session=session)
    http = SessionHTTP(route, session, None)
    for _ in range(2):
        http.get(route.target('polling'), 5)
    session.close()
    first, second = (one['headers']['cookie'] for one in server.requests())
    assert first == 'mine=1'
    assert second.startswith('mine=1; sticky=')
