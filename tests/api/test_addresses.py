"""A host name whose first address is dead: what each connection does, and what it remembers."""

import contextlib

import gevent
import pytest
from gevent import socket

import support
from engineio_gevent.net import dial, race, resolve
from engineio_gevent.net.plain import PlainSocket
from engineio_gevent.per_hub import PerHub

NAME = 'two.test'


@pytest.fixture
def attempts(monkeypatch):
    """The addresses to which connections were begun, in order."""
    begun = []
    begin = PlainSocket.begin_to_connect

    def begin_to_connect(self, address):
        begun.append(address[0])
        return begin(self, address)

    monkeypatch.setattr(PlainSocket, 'begin_to_connect', begin_to_connect)
    return begun


@pytest.fixture
def two_addresses(monkeypatch):
    """The resolver finds a dead address first, and then the server's."""
    known = socket.getaddrinfo

    def getaddrinfo(host, port, *rest):
        if host != NAME:
            return known(host, port, *rest)
        return [
            (socket.AF_INET, socket.SOCK_STREAM, 6, '', (address, port))
            for address in ('127.0.0.2', '127.0.0.1')
        ]

    monkeypatch.setattr(resolve.socket, 'getaddrinfo', getaddrinfo)
    monkeypatch.setattr(resolve, '_cache', {})
    monkeypatch.setattr(resolve, '_lookups', PerHub(resolve._Lookups))
    monkeypatch.setattr(dial, '_answered_first', {})


@pytest.fixture(params=['swallows', 'refuses'])
def dead(request, js_server):
    """The first address does this."""
    with contextlib.ExitStack() as stack:
        if request.param == 'swallows':
            stack.enter_context(support.swallowing('127.0.0.2', js_server.port))
        yield request.param


def test_every_connection(two_addresses, dead, attempts, js_server, make_client, way, monkeypatch):
    """The first of all tries the dead address; the POST, the upgrade and the next client do not."""
    if dead == 'refuses':
        monkeypatch.setattr(race, 'ATTEMPT_DELAY', 1000)  # it is not waited for
    url = f'http://{NAME}:{js_server.port}'
    client = make_client(request_timeout=30)
    with gevent.Timeout(support.patience(10)):
        client.connect(url, transports=way)
        assert client.ask('hello') == 'hello'
        assert attempts[:2] == ['127.0.0.2', '127.0.0.1']
        assert set(attempts[2:]) <= {'127.0.0.1'}
        if way != ['websocket']:
            assert attempts[2:]
        before = len(attempts)
        resolve._cache.clear()  # it is remembered though the name is looked up again
        other = make_client(request_timeout=30)
        other.connect(url, transports=way)
        assert other.ask('hello') == 'hello'
        assert set(attempts[before:]) == {'127.0.0.1'}


@pytest.mark.parametrize('transport', ['polling', 'websocket'])
def test_no_address_answers(two_addresses, attempts, make_client, transport):
    """Both are tried, side by side; no descriptor is left."""
    with socket.socket() as other:
        other.bind(('127.0.0.1', 0))  # it takes the port, and does not listen
        port = other.getsockname()[1]
        with support.swallowing('127.0.0.2', port):
            client = make_client(request_timeout=3)
            error = support.outcome(client.connect, f'http://{NAME}:{port}', transports=[transport])
        assert 'request_timeout' in str(error) or 'timed out' in str(error)
        assert attempts == ['127.0.0.2', '127.0.0.1']


# -- A name server that does not answer ------------------------------------------------------------

HANGING = """
    import _socket
    import os
    import threading

    import gevent

    (url,) = argv
    known = _socket.getaddrinfo
    may_answer = threading.Event()
    hanging = []


    def getaddrinfo(host, port, family=0, kind=0, proto=0, flags=0):
        # In a native thread of gevent's pool.
        if host.startswith('hang') and not flags & _socket.AI_NUMERICHOST:
            hanging.append(host)
            may_answer.wait()
        return known(host, port, family, kind, proto, flags)


    _socket.getaddrinfo = getaddrinfo

    import engineio_gevent
    import gevent.socket


    def refused(name, timeout):
        try:
            engineio_gevent.Client(request_timeout=timeout).connect(f'http://{name}:1')
        except engineio_gevent.exceptions.ConnectionError as error:
            return 'request_timeout' in str(error)


    def works():
        with engineio_gevent.Client(request_timeout=20, handle_sigint=False) as client:
            client.connect(url)
            return client.transport()


    def in_a_thread(function, *arguments):
        done = []

        # Its hub is not destroyed: that would wait for the look-ups.
        thread = threading.Thread(target=lambda: done.append(function(*arguments)))
        thread.start()
        while thread.is_alive():
            gevent.sleep(0.01)
        return done[0]


    waiting = [gevent.spawn(refused, f'hang-{number}', 60) for number in range(100, 110)]
    gevent.sleep(0)  # they have asked
    say(works())
    gevent.killall(waiting)
    asking = [gevent.spawn(refused, f'hang-{number}', 0.2) for number in range(50)]
    say(all(one.get() for one in asking))
    say(15 <= len(hanging) <= 60)
    say(len(gevent.socket.getaddrinfo('localhost', 80)) > 0)
    say(works())
    say([in_a_thread(refused, 'hang-1', 0.2), in_a_thread(works), works()])
    child = os.fork()
    if child == 0:
        gevent.reinit()
        os._exit(0 if refused('hang-1', 0.2) and works() == 'websocket' else 1)
    say(os.waitpid(child, 0)[1])
    may_answer.set()
"""


def test_a_name_server_that_does_not_answer(script, js_server):
    """Ten clients wait. A look-up of another name is answered. So it is when fifty give up.

    So it is in another native thread, after one that ended while it asked, and after a fork.
    """
    program = script(HANGING, f'http://localhost:{js_server.port}')
    assert [program.hear() for _ in range(5)] == ['websocket', True, True, True, 'websocket']
    assert program.hear() == [True, 'websocket', 'websocket']
    assert program.hear() == 0
    assert program.result() == []
