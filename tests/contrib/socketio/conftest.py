"""Socket.IO servers, and clients that write down what happens to them."""

import sys
from pathlib import Path

import gevent
import gevent.queue
import pytest
import socketio

import support
from engineio_gevent.contrib.socketio import Client

HERE = Path(__file__).parent
JS_SERVER = HERE / 'js' / 'server.js'
PYTHON_SERVER = HERE / 'python_server.py'

TIMEOUT = 10
"""Seconds within which anything has to happen that a test waits for, on an idle machine."""

# -- Servers ------------------------------------------------------------------------------------


def start_js(**options):
    support.need_node(JS_SERVER.parent)
    return support.ServerProcess(['node', JS_SERVER], options)


def start_python(**options):
    return support.ServerProcess([sys.executable, PYTHON_SERVER], options)


STARTERS = {'js': start_js, 'python': start_python}


@pytest.fixture
def js_sio(pool):
    """The JavaScript server without options; others may use it, too."""
    return pool.get(start_js, start_js)


@pytest.fixture
def python_sio(pool):
    """python-socketio's server without options; others may use it, too."""
    return pool.get(start_python, start_python)


@pytest.fixture(params=list(STARTERS))
def server(request):
    """`js_sio`, then `python_sio`."""
    return request.getfixturevalue(f'{request.param}_sio')


def _factory(start):
    servers = []

    def make(**options):
        servers.append(start(**options))
        return servers[-1]

    yield make
    for each in servers:
        each.stop()


@pytest.fixture
def make_server():
    """Start a JavaScript server for one test: `make_server(port=1234)`."""
    yield from _factory(start_js)


@pytest.fixture(params=list(STARTERS))
def make_any_server(request):
    """`make_server`, then one that starts python-socketio's."""
    yield from _factory(STARTERS[request.param])


# -- Clients ------------------------------------------------------------------------------------


class RecordingClient(Client):
    """A client with a handler for everything, in each of its namespaces.

    :param namespaces: those that it has handlers for, and connects to.
    """

    def __init__(self, *args, namespaces=('/',), **kwargs):
        super().__init__(
            *args,
            **{
                'handle_sigint': False,
                'reconnection_delay': 0.05,
                'reconnection_delay_max': 0.2,
                **kwargs,
            },
        )
        #: ('connect', namespace), ('disconnect', namespace, reason), (event, namespace, *arguments)
        self.events = []
        #: the events that are none of the client's own, and that nobody has taken
        self.inbox = gevent.queue.Queue()
        for namespace in namespaces:
            self._record(namespace)

    def _record(self, namespace):
        def note(event):
            self.on(
                event,
                lambda *arguments: self.events.append((event, namespace, *arguments)),
                namespace=namespace,
            )

        for event in ('connect', 'connect_error', 'disconnect', '__disconnect_final'):
            note(event)

        @self.on('*', namespace=namespace)
        def take(event, *arguments):
            self.events.append((event, namespace, *arguments))
            self.inbox.put((event, *arguments))

    def seen(self, event):
        """The arguments of each of these events so far, behind their namespace."""
        return [arguments for name, *arguments in self.events if name == event]

    def next(self):
        """Wait for an event of the server's."""
        return self.inbox.get(timeout=support.patience(TIMEOUT))

    def wait_seen(self, event, count=1, timeout=TIMEOUT):
        """Wait until there have been so many of these events; their arguments."""
        assert support.eventually(lambda: len(self.seen(event)) >= count, timeout), self.events
        return self.seen(event)


@pytest.fixture
def make_client():
    """Make a `RecordingClient`, see `support.made_clients`."""
    yield from support.made_clients(RecordingClient, end=RecordingClient.shutdown)
    assert socketio.base_client.reconnecting_clients == []


@pytest.fixture
def client(make_client):
    """A `RecordingClient` without options."""
    return make_client()


class Ticker:
    """A greenlet that looks at the clock, and so sees where nobody else had a turn."""

    INTERVAL = 0.01

    def __init__(self):
        self.ticks = 0
        self._greenlet = gevent.spawn(self._run)

    def _run(self):
        while True:
            gevent.sleep(self.INTERVAL)
            self.ticks += 1

    def stop(self):
        self._greenlet.kill()


@pytest.fixture
def ticker():
    """A `Ticker`."""
    ticker = Ticker()
    yield ticker
    ticker.stop()
