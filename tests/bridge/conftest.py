"""The bridge of `examples/gunicorn_bridge`: real gunicorn, its real upstream, a real browser."""

import contextlib
import http.client
import importlib.util
import json
import os
import re
import signal
import sys
import tempfile
from pathlib import Path
from urllib.parse import quote

import browser as browsers
import gevent
import gevent.socket
import gevent.subprocess
import pytest

import engineio_gevent
import support

EXAMPLE = Path(__file__).resolve().parents[2] / 'examples' / 'gunicorn_bridge'
ENVIRONMENT = {**os.environ, 'PYTHONPATH': str(Path(engineio_gevent.__file__).parents[1])}

LIVE = 'document.querySelector("html[data-stream=live]")'
"""The expression for a page that has its stream."""

PATIENCE = 30
"""Seconds that anything may take on a busy machine."""


def load(name):
    """A module of the example, of which the tests need the code and not the process."""
    spec = importlib.util.spec_from_file_location(f'gunicorn_bridge_{name}', EXAMPLE / f'{name}.py')
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def is_running(pid):
    """Whether a process runs; one that has ended, and for whose end nobody has asked, does not."""
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # it ends just now
        return Path(f'/proc/{pid}/stat').read_text().rpartition(')')[2].split()[0] != 'Z'
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return not Path('/proc/self').exists()


class Process:
    """A process of the example, in a session of its own; its output is in `log`."""

    def __init__(self, *arguments, **environment):
        self._file = tempfile.TemporaryFile()  # noqa: SIM115 (closed in kill)
        # gevent's, as the browser is: it asks for the ends of all children, of others' too.
        self.process = gevent.subprocess.Popen(
            [sys.executable, *map(str, arguments)],
            cwd=EXAMPLE,
            stdin=gevent.subprocess.DEVNULL,
            stdout=self._file,
            stderr=self._file,
            start_new_session=True,
            env={**ENVIRONMENT, **environment},
        )
        self.pid = self.process.pid

    @property
    def log(self):
        size = os.fstat(self._file.fileno()).st_size
        return os.pread(self._file.fileno(), size, 0).decode()

    def until(self, condition, timeout=PATIENCE):
        """Wait until something is so; returns what is."""
        value = support.eventually(condition, timeout)
        assert value, self.log
        return value

    def find(self, pattern):
        """What a pattern finds in the log: all groups, or matches."""
        return re.findall(pattern, self.log, re.MULTILINE)

    def signal(self, name):
        os.kill(self.pid, getattr(signal, name))

    def ends(self, timeout=PATIENCE):
        """Wait for the end; returns the exit code."""
        self.until(lambda: self.process.poll() is not None, timeout)
        return self.process.returncode

    def kill(self):
        """End all of its session."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        self.process.wait()
        self._file.close()


class Upstream:
    """The embedded upstream; it can be killed, and started again at the same port.

    :param transports: those that it has.
    """

    def __init__(self, transports=('polling', 'websocket')):
        self._transports = [*transports]
        self.port = support.free_port()
        self.url = f'http://127.0.0.1:{self.port}'
        self.start()

    def start(self):
        program = (
            'import engineio, functools, runpy\n'
            f'engineio.Server = functools.partial(engineio.Server, transports={self._transports})\n'
            'runpy.run_path("upstream.py", run_name="__main__")'
        )
        self.process = Process('-c', program, self.port)
        self.process.until(lambda: self.process.find('listening on'))

    def signal(self, name):
        self.process.signal(name)

    def kill(self):
        self.process.kill()

    @property
    def unread(self):
        """The most bytes that one of its connections has received, and it has not read."""
        rows = [row.split() for row in Path('/proc/net/tcp').read_text().splitlines()[1:]]
        port = f':{self.port:04X}'
        return max(int(row[4].split(':')[1], 16) for row in rows if row[1].endswith(port))

    @property
    def members(self):
        """The process identifiers of the workers that are there."""
        return {int(pid) for pid in self.process.find(r'worker (\d+) has joined')} - set(self.left)

    @property
    def left(self):
        """Why the workers have left that are gone, by process identifier."""
        found = self.process.find(r'worker (\d+) has left: (.*)')
        return {int(pid): reason for pid, reason in found}

    def say(self, *texts):
        """Send messages by a client that is no worker."""
        client = engineio_gevent.Client(handle_sigint=False, request_timeout=PATIENCE)
        client.connect(self.url, transports=self._transports[-1])
        for text in texts:
            client.send(text)
        client.disconnect()


class Gunicorn(Process):
    """gunicorn with the application.

    :param url: of the upstream.
    :param workers: how many.
    :param options: more of gunicorn's.
    """

    def __init__(self, url, workers=2, options=(), port=None):
        self.port = port or support.free_port()
        self.url = f'http://127.0.0.1:{self.port}'
        self.count = workers
        super().__init__(
            '-m',
            'gunicorn',
            *options,
            UPSTREAM_URL=url,
            BRIDGE_BIND=f'127.0.0.1:{self.port}',
            WEB_CONCURRENCY=str(workers),
        )

    @property
    def workers(self):
        """The process identifiers of the workers that run, in the order of their start."""
        return [
            pid for pid in map(int, self.find(r'Booting worker with pid: (\d+)')) if is_running(pid)
        ]

    @contextlib.contextmanager
    def only(self, pid):
        """Let this worker alone take connections."""
        others = [other for other in self.workers if other != pid]
        for other in others:
            os.kill(other, signal.SIGSTOP)
        try:
            yield
        finally:
            for other in others:
                os.kill(other, signal.SIGCONT)

    def ask(self, method, path, body=None, headers=None):
        """Send a request; the connection, from which to read the response. Cooperative."""
        connection = http.client.HTTPConnection('127.0.0.1')
        connection.sock = gevent.socket.create_connection(('127.0.0.1', self.port))
        connection.request(method, path, body, {'Connection': 'close', **(headers or {})})
        return connection

    def request(self, method, path, body=None, headers=None):
        """A request; its status, headers and body. Cooperative."""
        with contextlib.closing(self.ask(method, path, body, headers)) as connection:
            response = connection.getresponse()
            return response.status, response.headers, response.read()

    def ask_to_post(self, text, **fields):
        """Send the request that posts a message as the page does; the connection."""
        return self.ask(
            'POST',
            '/messages',
            json.dumps({'text': text, **fields}),
            {'Content-Type': 'application/json'},
        )

    def post(self, text, **fields):
        """Post a message as the page does; the status and the JSON."""
        return read_json(self.ask_to_post(text, **fields))

    def health(self):
        """The status and the JSON of /health, of any worker."""
        return read_json(self.ask('GET', '/health'))


def read_json(connection):
    """The status and the JSON of the response; the connection is closed."""
    with contextlib.closing(connection), connection.getresponse() as response:
        return response.status, json.loads(response.read())


class Listener:
    """A browser without a page: it reads a stream of events in a greenlet.

    :param gunicorn: whose stream.
    :param after: the id of the last message that it has.
    """

    def __init__(self, gunicorn, after=None):
        #: The events as (kind, data).
        self.events = []
        #: How it has ended: 'in order', 'cut off'; None: not yet.
        self.end = None
        self.last_id = after
        self._connection = http.client.HTTPConnection('127.0.0.1')
        self._connection.sock = gevent.socket.create_connection(('127.0.0.1', gunicorn.port))
        query = f'?after={quote(after)}' if after else ''
        self._connection.request('GET', f'/events{query}')
        self._response = self._connection.getresponse()
        self.status = self._response.status
        self.headers = self._response.headers
        self._greenlet = gevent.spawn(self._read)

    def _read(self):
        # Chunk by chunk: where lines are read, http.client takes a cut for the end.
        stream = self._response.fp
        unread = b''
        try:
            while size := int(stream.readline(), 16):
                unread += stream.read(size + 2)[:size]
                *events, unread = unread.split(b'\n\n')
                for event in events:
                    self._take(dict(line.split(': ', 1) for line in event.decode().splitlines()))
            self.end = 'in order'
        except (OSError, ValueError):  # no number where the next size should be
            self.end = 'cut off'

    def _take(self, event):
        if 'data' in event:
            self.last_id = event.get('id', self.last_id)
            self.events.append((event['event'], json.loads(event['data'])))

    def of(self, kind):
        return [data for name, data in self.events if name == kind]

    @property
    def texts(self):
        return [data['text'] for data in self.of('message')]

    @property
    def worker(self):
        """The process identifier of its worker."""
        assert support.eventually(lambda: self.of('hello'), PATIENCE)
        return self.of('hello')[0]['worker']

    def hears(self, texts):
        """Wait until it has exactly these messages, in this order."""
        support.eventually(lambda: len(self.texts) >= len(texts), PATIENCE)
        assert self.texts == texts

    def ends(self):
        """Wait for the end; how it was."""
        assert support.eventually(lambda: self.end, PATIENCE)
        return self.end

    def close(self):
        self._greenlet.kill()
        self._response.close()
        self._connection.close()


@pytest.fixture
def upstream():
    """An `Upstream`."""
    one = Upstream()
    yield one
    one.kill()


@pytest.fixture
def start(upstream):
    """Start a `Gunicorn`, and wait until all of its workers have joined the upstream."""
    started = []

    def start(joined=True, **options):
        one = Gunicorn(upstream.url, **options)
        started.append(one)
        if joined:
            one.until(
                lambda: len(one.workers) == one.count and upstream.members >= set(one.workers)
            )
        return one

    yield start
    for one in started:
        one.kill()


@pytest.fixture
def listen():
    """Start a `Listener`."""
    started = []

    def start(gunicorn, after=None, worker=None):
        with gunicorn.only(worker) if worker else contextlib.nullcontext():
            started.append(Listener(gunicorn, after))
            assert worker in (None, started[-1].worker)
        return started[-1]

    yield start
    for one in started:
        one.close()


@pytest.fixture
def browser(pool, tmp_path_factory):
    """A browser that others use, too."""
    browsers.need()
    return pool.get(browsers.Browser, lambda: browsers.Browser(tmp_path_factory.mktemp('browser')))


@pytest.fixture
def open_page(browser):
    """Open a page of a `Gunicorn`'s, of a certain worker; nothing may go wrong in it."""
    opened = []

    def start(gunicorn, worker=None, until=LIVE):
        page = browser.page()
        opened.append(page)
        with gunicorn.only(worker) if worker else contextlib.nullcontext():
            page.open(gunicorn.url)
            page.wait_for(until)
        return page

    yield start
    errors = []
    for page in opened:
        page.evaluate('0')  # what it has to tell comes before the answer
        errors += page.errors
        page.close()
    assert errors == []
