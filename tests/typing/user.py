"""A user's programs, for type checkers: every public name is used, and nothing is run.

mypy and pyright, both strict, check it against the installed package; ``test_typing.py`` looks
that no public name is missing here.
"""

from __future__ import annotations

import json
import logging
import os
import socket
from http.cookiejar import CookieJar
from pathlib import Path
from typing import Any, Literal

import gevent
import gevent.event
import gevent.queue
import requests
from locust import task
from typing_extensions import assert_type

import engineio_gevent
from engineio_gevent import Client, exceptions
from engineio_gevent.addresses import Dial, pinned, unix_socket
from engineio_gevent.contrib import socketio
from engineio_gevent.contrib.locust import (
    EngineIOClient,
    EngineIOUser,
    Failure,
    SocketIOClient,
    SocketIOUser,
)
from engineio_gevent.transports.caller_session import HTTPSession

# The client


def with_all_options() -> Client:
    """Every argument of the constructor, in each of the forms that it takes."""
    Client(True, json, 2.5, requests.Session(), False, False, {'compression': None}, False)
    Client(request_timeout=None, http_session=requests.Session, write_limit=None)
    return Client(
        logger=logging.getLogger('eio'),
        json=json,
        request_timeout=5,
        http_session=None,
        ssl_verify=True,
        handle_sigint=True,
        websocket_extra_options={'http_proxy_host': 'proxy', 'http_proxy_port': 3128},
        timestamp_requests=True,
        try_all_transports=True,
        remember_upgrade=True,
        parse_json=False,
        write_limit=1 << 16,
        max_message_size=None,
        max_receive_delay=0,
        ssl_cert=('cert.pem', 'key.pem'),
        dial=None,
        source_addresses=None,
        sockopt=(),
    )


def ways_to_a_server() -> list[Client]:
    """From where, and to what address."""

    def through_a_bastion(host: str, port: int) -> socket.socket:
        return socket.create_connection(('localhost', 2222))

    dials: list[Dial] = [
        unix_socket('/run/app.sock'),
        unix_socket(path=b'\0app'),
        unix_socket(Path('/run/app.sock')),
        pinned({'example.org': '192.0.2.7', 'example.org:8443': '2001:db8::7'}),
        pinned(hosts={}),
        through_a_bastion,
    ]
    clients = [Client(dial=dial) for dial in dials]
    clients += [Client(source_addresses='192.0.2.1'), Client(source_addresses=['192.0.2.1'])]
    return [*clients, Client(sockopt=[(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)])]


def settings(eio: Client) -> None:
    """What can be set on a client."""
    assert_type(eio.ssl_verify, bool | str | bytes | os.PathLike[Any])
    assert_type(eio.handle_sigint, bool)
    assert_type(eio.request_timeout, float | tuple[float, float] | None)
    assert_type(eio.timestamp_requests, bool)
    assert_type(eio.websocket_extra_options, dict[str, Any])
    assert_type(eio.try_all_transports, bool)
    assert_type(eio.remember_upgrade, bool)
    assert_type(eio.parse_json, bool)
    assert_type(eio.write_limit, int | None)
    assert_type(eio.max_message_size, int | None)
    assert_type(eio.max_receive_delay, float)
    assert_type(eio.logger, logging.Logger)
    eio.ssl_cert = Path('cert.pem')
    eio.ssl_cert = Path('cert.pem'), Path('key.pem')
    eio.ssl_verify = Path('ca.pem')
    assert_type(eio.dial, Dial | None)
    eio.source_addresses = None
    eio.sockopt = ()
    eio.request_timeout = None
    eio.write_limit = 0
    eio.max_message_size = 1 << 20


def register(eio: Client) -> None:
    """Handlers, by a decorator and by a call."""

    @eio.on('connect')
    def connected() -> None:
        eio.send('hello')

    @eio.on('message')
    def message(data: str | bytes) -> None:
        eio.send(data)

    @eio.on('disconnect')
    def disconnected(reason: str) -> None:
        if reason == eio.reason.TRANSPORT_ERROR:
            print(eio.disconnect_error, eio.unsent)
        assert reason in (
            eio.reason.CLIENT_DISCONNECT,
            eio.reason.SERVER_DISCONNECT,
            Client.reason.TRANSPORT_ERROR,
        )

    # The decorator leaves a function what it is.
    assert_type(message('again'), None)
    connected()
    disconnected('')
    eio.on('message', handler=print)
    eio.on(event='connect', handler=lambda: None)
    for event, handler in eio.handlers.items():
        assert event in eio.event_names
        assert callable(handler)
    assert_type(Client.event_names, list[str])


def converse(eio: Client) -> None:
    """A connection, from its beginning to its end."""
    eio.connect('http://localhost:5000')
    eio.connect(
        url='https://localhost',
        headers={'Authorization': 'Bearer 1'},
        transports=['polling', 'websocket'],
        engineio_path='engine.io',
    )
    eio.connect('ws://localhost', transports='websocket')
    eio.connect('ws://localhost', None, ('websocket',), 'somewhere')
    for data in ('text', b'bytes', bytearray(1), memoryview(b'x'), ['a', 1], {'b': None}, 1, 1.5):
        eio.send(data)
    eio.send(data=None)
    eio.wait()
    eio.disconnect()
    eio.disconnect(abort=True, reason='enough')
    with Client() as other:
        assert_type(other, Client)
        other.connect('http://localhost:5000')


def look(eio: Client) -> None:
    """What can be read of a client."""
    assert_type(eio.state, Literal['disconnected', 'connected', 'disconnecting'])
    if eio.state == 'disconnecting':
        return
    assert_type(eio.sid, str | None)
    assert_type(eio.upgrades, list[str] | None)
    assert_type(eio.ping_interval, float | None)
    assert_type(eio.ping_timeout, float | None)
    assert_type(eio.transports, list[str] | None)
    assert_type(eio.current_transport, str | None)
    assert_type(eio.transport(), str | None)
    assert_type(eio.base_url, str | None)
    assert_type(eio.disconnect_error, Exception | None)
    assert_type(eio.unsent, int)
    assert_type(eio.is_asyncio_based(), bool)
    if eio.http is not None and eio.http.cookies is not None:
        for cookie in eio.http.cookies:
            name: str = cookie.name
            print(name)


def tools(eio: Client) -> None:
    """What helps programs that do not want to know what they run on."""

    def work(name: str, times: int = 1) -> str:
        return name * times

    greenlet = eio.start_background_task(work, 'x', times=2)
    greenlet.join()
    eio.start_background_task(target=work, name='x')
    assert isinstance(greenlet, gevent.Greenlet)
    eio.sleep()
    eio.sleep(seconds=0.5)
    queue = eio.create_queue(maxsize=1)
    queue.put('x')
    try:
        queue.get(timeout=1)
    except eio.get_queue_empty_exception():
        pass
    event = eio.create_event()
    event.set()
    assert_type(event, gevent.event.Event)
    typed: gevent.queue.Queue[int] = eio.create_queue()
    typed.put(1)


class Chatty(Client):
    """A client of one's own."""

    def send(self, data: Any) -> None:
        print('->', data)
        super().send(data)


# What goes wrong


def failures(eio: Client) -> int | None:
    """Every exception, and what its attributes say."""
    assert_type(engineio_gevent.__version__, str)
    assert_type(engineio_gevent.__accelerated__, bool)
    try:
        eio.connect('http://localhost:5000')
    except engineio_gevent.exceptions.ConnectionError as exc:
        cause = exc.__cause__
        if isinstance(cause, exceptions.HTTPError):
            assert_type(cause.body, Any)
            assert_type(cause.headers, dict[str, str])
            assert_type(cause.headers.get('retry-after'), str | None)
            return assert_type(cause.status, int)
        if isinstance(cause, exceptions.ProtocolError):
            assert_type(cause.decoded, list[Any])
            return assert_type(cause.code, int)
        if isinstance(cause, exceptions.ConnectionClosed):
            assert_type(cause.reason, str)
            return assert_type(cause.code, int)
        if isinstance(cause, (exceptions.HeartbeatTimeout, exceptions.EngineIOError)):
            return None
    return 0


class OwnSession:
    """Has requests' interface, as far as the client needs it."""

    def __init__(self) -> None:
        self.cookies = CookieJar()

    def request(self, method: str, url: str, **options: Any) -> requests.Response:
        return requests.request(method, url, **options)


def sessions() -> list[Client]:
    """Each form of the option ``http_session``, and timeouts for connecting and for reading."""
    shared: HTTPSession = requests.Session()
    return [
        Client(http_session=shared, request_timeout=(3, 5)),
        Client(http_session=OwnSession(), request_timeout=(3.5, 5.5)),
        Client(http_session=OwnSession),
        Client(http_session=lambda: requests.Session()),
    ]


# Socket.IO


class Room:
    """A program on ``engineio_gevent.contrib.socketio``."""

    def __init__(self) -> None:
        self.sio = socketio.Client(reconnection=False, parse_json=False)
        self.simple: socketio.SimpleClient = socketio.SimpleClient()

    def visit(self) -> None:
        """Come, speak, and go."""
        self.sio.connect('http://localhost:5001', namespaces=['/chat'])
        assert_type(self.sio.connected, bool)
        assert_type(self.sio.reconnection, bool)
        assert_type(self.sio.namespaces, dict[str, str])
        assert_type(self.sio.eio.sid, str | None)
        self.sio.emit('said', {'text': 'hello'})
        self.sio.shutdown()
        assert issubclass(self.simple.client_class, socketio.Client)
        with self.simple as simple:
            # What is python-socketio's own has no types.
            simple.connect('http://localhost:5001')  # pyright: ignore[reportUnknownMemberType]
            assert_type(self.simple.connected, bool)
            if self.simple.client is not None:
                self.simple.client.disconnect()
            self.simple.input_event.wait(1)
            self.simple.connected_event.wait(1)
        self.simple.disconnect()


# Load tests


class Visitor(EngineIOUser):
    """A user of Locust with all that can be set on its class."""

    abstract = False
    host = 'http://localhost:5000'
    transports = ('polling', 'websocket')
    engineio_path = 'engine.io'
    headers = {'X-Test': '1'}
    client_options = {'remember_upgrade': True}
    reconnect = False
    connect_timeout = 2.5
    connect_retry_delay = 0.5
    source_addresses = ('192.0.2.1', '192.0.2.2')
    http_session = requests.Session()

    def message_name(self, message: Any) -> str:
        return str(message)[:10]

    def on_start(self) -> None:
        super().on_start()

        @self.eio.on('message')
        def message(data: Any) -> None:
            self.report('push', 'chat', milliseconds=12.5, length=len(data), response=data)

        message('x')

    def on_stop(self) -> None:
        super().on_stop()

    @task
    def ask(self) -> None:
        assert_type(self.eio, EngineIOClient)
        self.eio.send({'ask': 'time'}, name='ask')
        answer = self.eio.request(
            {'ask': 'time'}, match=lambda message: 'time' in message, timeout=2, name='time')
        push = self.eio.expect(match='tick', timeout=None, name='tick')
        if answer is None or push is None:
            failure = Failure('no time')
            assert_type(failure.timed, bool)
            self.report('check', 'time', error=failure, started=0.0)
        if not self.eio.usable:
            self.eio.on_lost()
            self.eio.connect('http://localhost:5000')
        print(self.client)


class Guest(SocketIOUser):
    """The same with Socket.IO."""

    host = 'http://localhost:5001'
    options = {'reconnection_delay': 0.2}
    headers = None
    auth = {'token': '1'}
    transports = 'websocket'
    namespaces = '/chat'
    source_addresses = '192.0.2.1'
    socketio_path = 'socket.io'
    reconnect = True

    def message_name(self, event: str, namespace: str, *args: Any) -> str:
        return event[:10]

    @task
    def speak(self) -> None:
        assert_type(self.sio, SocketIOClient)
        assert_type(self.sio.wait_timeout, float)
        self.sio.connect('http://localhost:5001')
        self.sio.emit('said', 'hello', namespace='/chat', callback=print)
        self.sio.send('hello', namespace='/chat', callback=None, name='hello')
        print(self.sio.call('ask', {'what': 'time'}, namespace='/chat', timeout=5, name='ask'))
        print(self.sio.request('ask', answer='time', match=len, check=lambda data: data > 0))
        print(self.sio.expect('time', timeout=None, namespace='/chat', name='time'))
        self.spawn(self.sio.emit, 'said', 'hello', name='said').join()
        self.sio.on_sent_away()
        self.report('check', 'time')
        print(self.client)
