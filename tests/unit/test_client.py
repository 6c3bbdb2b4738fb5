"""The client's face: its options, what can be read before and after, what it refuses."""

from __future__ import annotations

import inspect
import json
import logging
import pickle
import signal
import subprocess
import sys
import textwrap

import gevent
import gevent.event
import gevent.queue
import pytest

import engineio_gevent
from engineio_gevent import Client, exceptions
from engineio_gevent.connecting import connection_error
from support import (
    CLOSE,
    HostileServer,
    accept_websocket,
    free_port,
    no_leaks,
    open_packet,
    read_frame,
    read_request,
    read_to_end,
    respond,
    send_frame,
)


@pytest.fixture
def client():
    one = Client(handle_sigint=False)
    yield one
    one.disconnect(abort=True)


@pytest.fixture
def server():
    """Opens a websocket or a session by polling, and says nothing more."""

    def handle(sock):
        while True:
            request = read_request(sock)
            asked.append(request)
            if 'transport=websocket' in request.target:
                accept_websocket(sock, request)
                send_frame(sock, open_packet(pingInterval=25000, pingTimeout=20000))
                while True:
                    opcode, data = read_frame(sock)
                    if opcode == CLOSE:
                        send_frame(sock, data, CLOSE)
            if request.method == 'POST':
                respond(sock, 'ok')
            elif 'sid=' not in request.target:
                respond(sock, open_packet())
            else:
                read_to_end(sock)
                return

    asked = []
    with HostileServer(handle) as one:
        one.asked = asked
        yield one


# -- Options ---------------------------------------------------------------------------------------


def test_the_options_of_upstream_come_first_and_may_be_given_by_position():
    parameters = inspect.signature(Client).parameters
    by_position = {
        name: parameter.default
        for name, parameter in parameters.items()
        if parameter.kind == parameter.POSITIONAL_OR_KEYWORD
    }
    assert list(by_position.items()) == [
        ('logger', False),
        ('json', None),
        ('request_timeout', 5),
        ('http_session', None),
        ('ssl_verify', True),
        ('handle_sigint', True),
        ('websocket_extra_options', None),
        ('timestamp_requests', True),
    ]
    by_keyword = {
        name: parameter.default
        for name, parameter in parameters.items()
        if parameter.kind == parameter.KEYWORD_ONLY
    }
    assert by_keyword['try_all_transports'] is False
    assert by_keyword['remember_upgrade'] is False
    assert by_keyword['parse_json'] is True
    assert by_keyword['max_message_size'] == 100 << 20
    assert len(by_position) + len(by_keyword) == len(parameters)


def test_options_are_kept(client):
    options = {'header': {'X': 'x'}}
    one = Client(
        False, json, 3, None, False, False, options, False, write_limit=5, max_message_size=None
    )
    assert (one.request_timeout, one.ssl_verify, one.handle_sigint, one.timestamp_requests) == (
        3,
        False,
        False,
        False,
    )
    assert (one.write_limit, one.max_message_size) == (5, None)
    assert one.websocket_extra_options == options
    one.websocket_extra_options['more'] = 1
    assert 'more' not in options
    assert Client().websocket_extra_options == {}


# -- Logging ---------------------------------------------------------------------------------------


def run(script):
    """Run it in a fresh interpreter, where pytest has not touched logging; returns its lines."""
    done = subprocess.run(
        [sys.executable, '-u', '-W', 'error', '-c', textwrap.dedent(script)],
        text=True,
        timeout=30,
        check=False,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout.splitlines()


SHOW = """
    import logging
    from engineio_gevent import Client

    own = logging.getLogger('engineio_gevent.client')

    def show():
        print(own.level, [type(handler).__name__ for handler in own.handlers],
              logging.root.level, logging.root.handlers)
"""


def test_no_logging_configures_nothing():
    assert run(f"""{SHOW}
    assert Client().logger is own
    show()
    """) == ['0 [] 30 []']


def test_logging_touches_its_own_logger_alone():
    assert run(f"""{SHOW}
    assert Client(logger=True).logger is own
    Client(logger=True)
    show()
    own.info('said')
    """) == ["20 ['StreamHandler'] 30 []", 'said']


def test_logging_as_the_application_has_set_it_up():
    assert run(f"""{SHOW}
    own.addHandler(logging.NullHandler())
    own.setLevel(logging.DEBUG)
    Client(logger=True)
    show()
    """) == ["10 ['NullHandler'] 30 []"]


def test_another_logger():
    logger = logging.getLogger('of.the.application')
    assert Client(logger=logger).logger is logger
    assert logger.handlers == []


# -- Before a connection, and after ----------------------------------------------------------------


def test_before_a_connection(client):
    assert client.state == 'disconnected'
    for name in (
        'sid',
        'upgrades',
        'ping_interval',
        'ping_timeout',
        'current_transport',
        'base_url',
        'http',
        'disconnect_error',
        'transports',
    ):
        assert getattr(client, name) is None, name
    assert client.transport() is None
    assert client.handlers == {}
    assert client.event_names == ['connect', 'disconnect', 'message']
    assert client.is_asyncio_based() is False
    client.wait()
    client.send('dropped')
    client.disconnect()
    client.disconnect(abort=True)


@pytest.mark.parametrize('transport', ['polling', 'websocket'])
def test_while_connected_and_after(client, server, transport):
    client.connect(server.url + '?a=b', transports=transport)
    netloc = server.url.removeprefix('http://')
    scheme = 'http' if transport == 'polling' else 'ws'
    assert client.state == 'connected'
    assert client.sid == 'the-sid'
    assert (client.upgrades, client.ping_interval, client.ping_timeout) == ([], 25, 20)
    assert client.transport() == client.current_transport == transport
    assert client.transports == [transport]
    assert client.base_url.startswith(f'{scheme}://{netloc}/engine.io/?a=b&transport={transport}')
    assert 't=' not in client.base_url.replace('transport=', '')
    client.upgrades.append('nonsense')
    assert client.upgrades == []
    client.disconnect()
    assert (client.state, client.sid, client.disconnect_error) == ('disconnected', None, None)


def test_reasons(client):
    assert Client.reason.CLIENT_DISCONNECT == client.reason.CLIENT_DISCONNECT == 'client disconnect'
    assert client.reason.SERVER_DISCONNECT == 'server disconnect'
    assert client.reason.TRANSPORT_ERROR == 'transport error'


# -- Handlers --------------------------------------------------------------------------------------


def test_on(client):
    @client.on('message')
    def message(data):
        pass

    def other(data):
        pass

    assert client.handlers == {'message': message}
    assert client.on('message', other) is None
    assert client.handlers == {'message': other}


@pytest.mark.parametrize('event', ['Message', '', 'ping', None])
def test_on_another_event(client, event):
    with pytest.raises(ValueError, match='event'):
        client.on(event)
    with pytest.raises(ValueError, match='event'):
        client.on(event, print)


# -- What connect() refuses ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ('transports', 'chosen'),
    [
        (None, ['polling', 'websocket']),
        ('polling', ['polling']),
        ('websocket', ['websocket']),
        (['websocket', 'polling'], ['websocket', 'polling']),
        (('polling',), ['polling']),
        (['webtransport', 'websocket'], ['websocket']),
        (iter(['polling']), ['polling']),
    ],
)
def test_transports(client, transports, chosen):
    with pytest.raises(exceptions.ConnectionError):
        client.connect(f'http://127.0.0.1:{free_port()}', transports=transports)
    assert client.transports == chosen


@pytest.mark.parametrize('transports', ['webtransport', [], ['x', 'y'], '', ()])
def test_no_transport_left(client, transports):
    with no_leaks(), pytest.raises(ValueError, match='transports'):
        client.connect('http://127.0.0.1', transports=transports)
    assert client.state == 'disconnected'


@pytest.mark.parametrize(
    'arguments',
    [
        {'url': 'ftp://a.test'},
        {'url': 'http://'},
        {'url': 'http://a.test', 'headers': {'X': 'a\nb'}},
        {'url': 'http://a.test', 'engineio_path': 'a\nb'},
        {'url': 'http://a.test:99999'},
    ],
)
def test_arguments_that_are_not_valid(client, arguments):
    with no_leaks(), pytest.raises(ValueError, match=r'.'):
        client.connect(**arguments)
    assert client.state == 'disconnected'


def test_a_value_error_leaves_the_process_alone():
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(ValueError, match='transports'):
        Client().connect('http://a.test', transports='x')
    with pytest.raises(ValueError, match='URL'):
        Client().connect('nowhere')
    assert signal.getsignal(signal.SIGINT) is before


def test_connected_already(client, server):
    client.connect(server.url, transports='websocket')
    with pytest.raises(ValueError, match='not in a disconnected state'):
        client.connect(server.url)
    assert client.state == 'connected'


def test_connection_errors_are_chained(client):
    port = free_port()
    with pytest.raises(exceptions.ConnectionError) as caught:
        client.connect(f'http://127.0.0.1:{port}')
    assert isinstance(caught.value.__cause__, exceptions.ConnectionClosed)
    assert isinstance(caught.value.__cause__.__cause__, ConnectionRefusedError)
    assert f'127.0.0.1:{port}' in str(caught.value)
    assert client.disconnect_error is None


def test_the_first_failure_is_the_one_that_is_told():
    one = Client(handle_sigint=False, try_all_transports=True)

    def handle(sock):
        request = read_request(sock)
        respond(sock, '', '404 Not Found' if 'polling' in request.target else '403 Forbidden')

    with HostileServer(handle) as server:
        for order, status in ((['polling', 'websocket'], '404'), (['websocket', 'polling'], '403')):
            with pytest.raises(exceptions.ConnectionError, match=status):
                one.connect(server.url, transports=order)


def test_remembering_the_upgrade():
    """After a connection that was upgraded, the next begins with the websocket."""

    def handle(sock):
        request = read_request(sock)
        if 'polling' in request.target and 'sid=' in request.target:
            respond(sock, '6', headers=[('Connection', 'close')])  # on a slow machine it is polled
            return
        begun.append(request.target.partition('transport=')[2].partition('&')[0])
        if 'polling' in request.target:
            respond(sock, open_packet(upgrades=['websocket']), headers=[('Connection', 'close')])
            return
        accept_websocket(sock, request)
        if 'sid=' in request.target:
            sock.recv(100)
            send_frame(sock, '3probe')
        else:
            send_frame(sock, open_packet())
        read_to_end(sock)

    begun = []
    with HostileServer(handle) as server:
        for remember, expected in (
            (False, ['polling', 'websocket'] * 2),
            (True, ['polling', 'websocket', 'websocket']),
        ):
            begun.clear()
            one = Client(handle_sigint=False, remember_upgrade=remember)
            for _ in range(2):
                one.connect(server.url)
                assert one.transport() == 'websocket'
                one.disconnect(abort=True)
            assert begun == expected


# -- Around ----------------------------------------------------------------------------------------


def test_a_context_manager(server):
    with Client(handle_sigint=False) as one:
        one.connect(server.url, transports='websocket')
        assert one.state == 'connected'
    assert one.state == 'disconnected'
    with pytest.raises(KeyError), Client(handle_sigint=False) as one:
        one.connect(server.url, transports='websocket')
        raise KeyError
    assert one.state == 'disconnected'
    server.wait_open(0)


def test_tools(client):
    task = client.start_background_task(lambda one, two=0: (one, two), 1, two=2)
    task.join()
    assert task.value == (1, 2)
    assert isinstance(task, gevent.Greenlet)
    ran = []
    gevent.spawn(ran.append, 1)
    client.sleep(0)
    client.sleep()
    assert ran == [1]
    queue = client.create_queue(3)
    assert isinstance(queue, gevent.queue.Queue)
    with pytest.raises(client.get_queue_empty_exception()):
        queue.get(block=False)
    assert isinstance(client.create_event(), gevent.event.Event)


def test_a_json_module_of_its_own(server):
    class Shouting:
        @staticmethod
        def dumps(data, **settings):
            return json.dumps(data, **settings).upper()

        loads = staticmethod(json.loads)

    one = Client(handle_sigint=False, json=Shouting)
    one.connect(server.url, transports='polling')
    one.send({'a': 'b'})
    one.disconnect()
    posted = b'\x1e'.join(request.body for request in server.asked if request.method == 'POST')
    assert posted == b'4{"A":"B"}\x1e1'


def test_the_public_names():
    assert set(engineio_gevent.__all__) == {
        'Client',
        'exceptions',
        '__accelerated__',
        '__version__',
    }


@pytest.mark.parametrize(
    'error',
    [
        exceptions.ConnectionError('what', {'code': 1}),
        exceptions.HeartbeatTimeout('what'),
        exceptions.ProtocolError('what'),
        exceptions.ConnectionClosed('what'),
    ],
    ids=lambda error: type(error).__name__,
)
def test_exceptions_travel_between_processes(error):
    again = pickle.loads(pickle.dumps(error))
    assert (type(again), again.args, again.__dict__) == (type(error), error.args, error.__dict__)


# -- The text of a failed connect --------------------------------------------------------------


@pytest.mark.parametrize(
    ('cause', 'text'),
    [
        (exceptions.ConnectionClosed('server: Connection refused'), 'server: Connection refused'),
        (exceptions.ConnectionClosed('the server closed it'), 'server: the server closed it'),
        (LookupError('x'), 'server: LookupError: x'),
        (LookupError(), 'server: LookupError'),
        (exceptions.HTTPError('GET http://server/x', 500), 'GET http://server/x'),
        (
            exceptions.HTTPError('GET http://server/x', 404),
            'GET http://server/x (check engineio_path)',
        ),
        (
            exceptions.ProtocolError('not an Engine.IO 4 handshake: x'),
            'server: not an Engine.IO 4 handshake: x '
            '(check the URL, engineio_path and the version of the server)',
        ),
        (
            exceptions.ProtocolError("it begins '\\x15\\x03\\x01'"),
            "server: it begins '\\x15\\x03\\x01' (the port speaks TLS: use https:// or wss://)",
        ),
        (
            exceptions.ConnectionClosed('server: wrong version number'),
            'server: wrong version number (the port does not speak TLS: use http:// or ws://)',
        ),
    ],
)
def test_a_failed_connect_names_the_server_once_and_says_what_to_try(cause, text):
    args = connection_error(cause, 'server').args
    # With a status there is a second one, the JSON body: None without any.
    assert args == ((text, None) if isinstance(cause, exceptions.HTTPError) else (text,))
