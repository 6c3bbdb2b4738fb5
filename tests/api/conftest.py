"""Clients that write down what happens to them, and scripts in processes of their own."""

import textwrap

import gevent
import gevent.queue
import gevent.select
import pytest

import engineio_gevent
import support

TIMEOUT = 10
"""Seconds within which anything has to happen that a test waits for, on an idle machine."""


class RecordingClient(engineio_gevent.Client):
    """A client whose own handlers keep what they are called with."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        #: ('connect', None), ('message', data), ('disconnect', reason)
        self.events = []
        #: the `state` that each of the handlers has seen
        self.states = []
        #: the messages that nobody has taken
        self.inbox = gevent.queue.Queue()
        self.on('connect', lambda: self._note('connect', None))
        self.on('message', self._take)
        self.on('disconnect', lambda reason: self._note('disconnect', reason))

    def _note(self, event, argument):
        self.events.append((event, argument))
        self.states.append(self.state)

    def _take(self, message):
        self._note('message', message)
        self.inbox.put(message)

    @property
    def reasons(self):
        """The reasons of the disconnects so far."""
        return [argument for event, argument in self.events if event == 'disconnect']

    def next(self):
        """Wait for a message."""
        return self.inbox.get(timeout=support.patience(TIMEOUT))

    def take(self, count):
        """Wait for so many messages."""
        return [self.next() for _ in range(count)]

    def ask(self, message):
        """Send a message and wait for the next one."""
        self.send(message)
        return self.next()

    def wait_end(self, timeout=TIMEOUT):
        """`wait()`, with a bound."""
        with gevent.Timeout(support.patience(timeout)):
            self.wait()


@pytest.fixture(params=['js', 'python'])
def server_with(request):
    """`js_server_with`, then `python_server_with`."""
    return request.getfixturevalue(f'{request.param}_server_with')


@pytest.fixture
def make_client():
    """Make a `RecordingClient`, see `support.made_clients`."""
    yield from support.made_clients(RecordingClient)


@pytest.fixture
def client(make_client):
    """A `RecordingClient` without options."""
    return make_client()


@pytest.fixture
def connect_all_ways(make_client):
    """`connect_all_ways(server)`: three clients, one for each `way`, for what takes its time."""

    def connect(server, **options):
        clients = [make_client(**options) for _ in support.WAYS]
        for client, transports in zip(clients, support.WAYS.values(), strict=True):
            client.connect(server.url, transports=transports)
        return clients

    return connect


PREFACE = textwrap.dedent("""\
    import json
    import signal
    import sys

    # a test run in the background ignores SIGINT, and its children do, too
    signal.signal(signal.SIGINT, signal.default_int_handler)
    argv = [json.loads(argument) for argument in sys.argv[1:]]


    def say(value):
        print(json.dumps(value), flush=True)


    """)


@pytest.fixture
def script():
    """Start a `support.Program` from its source, in which `say(value)` prints a line.

    Its `argv` has what follows the source.
    """
    scripts = []

    def start(source, *argv):
        scripts.append(support.Program('-c', PREFACE + textwrap.dedent(source), argv=argv))
        return scripts[-1]

    yield start
    for one in scripts:
        one.kill()
