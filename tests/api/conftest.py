"""Clients that write down what happens to them, and scripts in processes of their own."""

import json
import os
import signal
import subprocess
import sys
import tempfile
import textwrap
from pathlib import Path

import gevent
import gevent.queue
import gevent.select
import pytest

import engineio_gevent
import support

TIMEOUT = 10
"""Seconds within which anything has to happen that a test waits for."""

PROJECT = Path(engineio_gevent.__file__).parent.parent


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
        return self.inbox.get(timeout=TIMEOUT)

    def take(self, count):
        """Wait for so many messages."""
        return [self.next() for _ in range(count)]

    def ask(self, message):
        """Send a message and wait for the next one."""
        self.send(message)
        return self.next()

    def wait_end(self, timeout=TIMEOUT):
        """`wait()`, with a bound."""
        with gevent.Timeout(timeout):
            self.wait()


@pytest.fixture(params=['js', 'python'])
def server_with(request):
    """`js_server_with`, then `python_server_with`."""
    return request.getfixturevalue(f'{request.param}_server_with')


@pytest.fixture
def make_client():
    """Make a `RecordingClient`; the test fails where one leaves something open.

    Servers that run in this process are made before the first client.
    """
    clients = []
    leaks = []

    def make(*args, **kwargs):
        if not leaks:
            leaks.append(support.Leaks())
        clients.append(RecordingClient(*args, **kwargs))
        return clients[-1]

    yield make
    for client in clients:
        client.disconnect(abort=True)
    if leaks:
        support.eventually(lambda: not leaks[0].left())
        if left := leaks[0].left():
            pytest.fail('left open:\n' + '\n'.join(left), pytrace=False)


@pytest.fixture
def client(make_client):
    """A `RecordingClient` without options."""
    return make_client()


WAYS = {'polling': ['polling'], 'websocket': ['websocket'], 'upgraded': None}


@pytest.fixture(params=list(WAYS))
def way(request):
    """The `transports` of a connect: polling, websocket, polling upgraded to websocket."""
    return WAYS[request.param]


@pytest.fixture
def connect_all_ways(make_client):
    """`connect_all_ways(server)`: three clients, one for each `way`, for what takes its time."""

    def connect(server, **options):
        clients = [make_client(**options) for _ in WAYS]
        for client, transports in zip(clients, WAYS.values(), strict=True):
            client.connect(server.url, transports=transports)
        return clients

    return connect


@pytest.fixture(params=['polling', 'websocket'])
def transport(request):
    """'polling', then 'websocket'."""
    return request.param


class Script:
    """A Python program in a process of its own, which prints lines of JSON.

    :param source: the program; `say(value)` prints a line, `argv` is what follows here.
    """

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

    def __init__(self, source, *argv):
        source = self.PREFACE + textwrap.dedent(source)
        path = os.pathsep.join(filter(None, [str(PROJECT), os.environ.get('PYTHONPATH')]))
        self._stderr = tempfile.TemporaryFile()  # noqa: SIM115 (closed in kill)
        self.process = subprocess.Popen(
            [sys.executable, '-W', 'error', '-c', source, *map(json.dumps, argv)],
            env={**os.environ, 'PYTHONPATH': path}, stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, stderr=self._stderr)
        self._unheard = b''

    @property
    def stderr(self):
        """What the script has written to its standard error so far."""
        size = os.fstat(self._stderr.fileno()).st_size
        return os.pread(self._stderr.fileno(), size, 0).decode(errors='replace')

    def hear(self):
        """Wait for the next line; its value."""
        while b'\n' not in self._unheard:
            assert self._read(), f'the script has ended; its standard error:\n{self.stderr}'
        line, _, self._unheard = self._unheard.partition(b'\n')
        return json.loads(line)

    def _read(self):
        stdout = self.process.stdout.fileno()
        gevent.select.select([stdout], [], [])
        chunk = os.read(stdout, 65536)
        self._unheard += chunk
        return chunk

    def go_on(self):
        """Give the script a line to read."""
        self.process.stdin.write(b'\n')
        self.process.stdin.flush()

    def interrupt(self):
        """What Ctrl-C does."""
        self.process.send_signal(signal.SIGINT)

    def end(self):
        """Wait for the end; the values of the lines that nobody has heard."""
        self.process.stdin.close()
        while self._read():
            pass
        assert support.eventually(lambda: self.process.poll() is not None, 20)
        return [json.loads(line) for line in self._unheard.splitlines()]

    def result(self):
        """Wait for the end, which has to be a good one; the lines, as `end` gives them."""
        lines = self.end()
        assert self.process.returncode == 0, self.stderr
        assert not self.stderr
        return lines

    def kill(self):
        self.process.kill()
        self.process.wait()
        self.process.stdin.close()
        self.process.stdout.close()
        self._stderr.close()


@pytest.fixture
def script():
    """Start a `Script`."""
    scripts = []

    def start(source, *argv):
        scripts.append(Script(source, *argv))
        return scripts[-1]

    yield start
    for one in scripts:
        one.kill()
