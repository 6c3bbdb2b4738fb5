"""What the tests against hostile servers share: a client that keeps a record, a look for leaks."""

import pytest
from gevent.event import Event

from engineio_gevent import Client, exceptions
from engineio_gevent.net import unpatched
from support import NativeServer, patience, settle


class Witness:
    """A client whose handlers write down what they see.

    :param options: the client's.
    """

    def __init__(self, **options):
        self.client = Client(**{'handle_sigint': False, 'request_timeout': 5, **options})
        self.connects = 0
        self.messages = []
        #: for each run of the disconnect handler: its reason, and the state that it saw
        self.ends = []
        self.ended = Event()
        self.client.on('connect', self._on_connect)
        self.client.on('message', self.messages.append)
        self.client.on('disconnect', self._on_disconnect)

    def _on_connect(self):
        self.connects += 1

    def _on_disconnect(self, reason):
        self.ends.append((reason, self.client.state))
        self.ended.set()

    def connect(self, server, transports='polling'):
        self.client.connect(server.url, transports=transports)
        return self

    def fails_to_connect(self, server, transports='polling'):
        """Connect, which has to fail without a trace; returns the cause and the exception."""
        with pytest.raises(exceptions.ConnectionError) as caught:
            self.connect(server, transports)
        assert (self.connects, self.messages, self.ends) == (0, [], [])
        assert (self.client.state, self.client.sid) == ('disconnected', None)
        assert caught.value.args[0]
        assert caught.value.__cause__ is not None
        return caught.value.__cause__, caught.value

    def loses(self, reason='transport error', state='connected', timeout=5):
        """Wait for the one disconnect; returns its cause."""
        assert self.ended.wait(patience(timeout)), 'no disconnect'
        self.client.wait()
        settle()  # for a second one, if there were any
        assert self.ends == [(reason, state)]
        assert (self.client.state, self.client.sid) == ('disconnected', None)
        return self.client.disconnect_error


@pytest.fixture
def witness():
    """`witness(max_message_size=100)` makes a `Witness`, whose connection ends with the test."""
    made = []

    def make(**options):
        made.append(Witness(**options))
        return made[-1]

    yield make
    for one in made:
        one.client.disconnect(abort=True)


@pytest.fixture
def native():
    """`native(handler)` starts a `NativeServer`, for clients whose sockets block this thread."""
    servers = []

    def start(handler, **options):
        servers.append(NativeServer(handler, **options))
        return servers[-1]

    yield start
    for server in servers:
        server.stop()


@pytest.fixture(autouse=True)
def warned_already(monkeypatch):
    """Sessions use sockets that block. The warning about that has tests of its own."""
    monkeypatch.setattr(unpatched, '_warned', True)


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch):
    """No proxy and no CA bundle of whoever runs the tests."""
    for name in ('http_proxy', 'https_proxy', 'ws_proxy', 'wss_proxy', 'all_proxy', 'no_proxy'):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    for name in ('REQUESTS_CA_BUNDLE', 'CURL_CA_BUNDLE', 'WEBSOCKET_CLIENT_CA_BUNDLE'):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(autouse=True)
def nothing_is_left(leaks, little_to_look_through):
    """The end of each test, its servers stopped: no descriptor, no greenlet more than before."""
    with leaks():
        yield
