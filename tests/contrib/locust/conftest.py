"""Real Locust, in processes of its own: importing it would monkey-patch this one.

The locustfiles are in `locustfiles/`; `recorder.py` there writes down each request event.
"""

import contextlib
import csv
import importlib.util
import json
import os
import signal
import sys
from collections import Counter
from pathlib import Path

import gevent
import gevent.subprocess
import pytest

import engineio_gevent
import support

HERE = Path(__file__).resolve().parent
LOCUSTFILES = HERE / 'locustfiles'
PACKAGE = Path(engineio_gevent.__file__).parent

#: Seconds that anything may take on a busy machine: Locust to start, users to get so far.
PATIENCE = 40


@pytest.fixture(autouse=True)
def locust_is_there():
    if importlib.util.find_spec('locust') is None:
        support.missing('Locust', 'pip install "engineio-gevent[locust]"')


def environment(**more):
    """The environment variables of a process that is to find this package."""
    return {**os.environ, 'PYTHONPATH': str(PACKAGE.parent), **more}


class Locust:
    """A process of Locust, which runs until it is told to end.

    :param folder: for what it writes.
    :param locustfile: a name in `locustfiles/`, or a path.
    :param host: the server's URL.
    :param arguments: further ones of the command.
    :param name: of its reports.
    :param users: how many, for a run without the web UI.
    :param rate: how many of them begin in a second; the default is all.
    """

    def __init__(self, folder, locustfile, host, *arguments, name='run', users=0, rate=None):
        if users:
            arguments = [
                *arguments,
                '--headless',
                '--users',
                users,
                '--spawn-rate',
                rate or users,
                '--only-summary',
            ]
        self.prefix = folder / name
        self._records = folder / f'{name}.events'
        self._log = (folder / f'{name}.log').open('w+b')
        command = [
            sys.executable,
            '-m',
            'locust',
            '--locustfile',
            LOCUSTFILES / locustfile,
            '--host',
            host,
            '--csv',
            self.prefix,
            '--html',
            f'{self.prefix}.html',
            *arguments,
        ]
        self._process = gevent.subprocess.Popen(
            [str(part) for part in command],
            stdin=gevent.subprocess.DEVNULL,
            stdout=self._log,
            stderr=self._log,
            cwd=folder,
            start_new_session=True,
            env=environment(RECORDS=str(self._records), **support.locust_port()),
        )

    @property
    def output(self):
        """What it has written to the terminal so far."""
        size = os.fstat(self._log.fileno()).st_size
        return os.pread(self._log.fileno(), size, 0).decode(errors='replace')

    def until(self, condition, timeout=PATIENCE):
        """Let it run until something is so."""
        assert support.eventually(
            lambda: condition() or self._process.poll() is not None, timeout, 0.1
        ), self.output
        assert self._process.poll() is None, self.output

    def until_counted(self, request_type, name, count):
        """Let it run until its statistics have so many of these requests."""
        self.until(lambda: self.count(request_type, name) >= count)

    def wait(self, timeout=PATIENCE):
        """Wait for its end; returns its exit code."""
        try:
            return self._process.wait(timeout)
        except gevent.subprocess.TimeoutExpired:
            pytest.fail(f'Locust has not ended within {timeout} s:\n{self.output}')

    def quit(self, code=0, timeout=PATIENCE, tracebacks=False):
        """End the run, and wait for that; `control.py` in `locustfiles/` makes it possible."""
        self._process.send_signal(signal.SIGUSR1)
        self.ends(code, timeout, tracebacks)

    def leave(self):
        """Let all users end in order, also those of workers; `orderly.py` makes it possible."""
        os.killpg(self._process.pid, signal.SIGUSR2)

    def terminate(self, code=0):
        """End it by SIGTERM, also with the web UI, and wait for that."""
        self._process.terminate()
        self.ends(code)

    def ends(self, code=0, timeout=PATIENCE, tracebacks=False):
        """Wait for its end, with this exit code and, unless expected, no traceback of ours."""
        ended = self.wait(timeout)
        assert ended == code, self.output
        found = any(f'File "{path}' in self.output for path in (PACKAGE, HERE))
        assert found == tracebacks, self.output

    def stop(self):
        """End the process and those that it has forked, by force, if there are any left."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._log.close()

    @property
    def events(self):
        """The request events of all its processes, as dicts."""
        return [
            json.loads(line)
            for path in self._records.parent.glob(f'{self._records.name}.*')
            for line in path.read_text().splitlines(keepends=True)
            if line.endswith('\n')
        ]

    def events_of(self, request_type, name):
        return [
            event
            for event in self.events
            if (event['request_type'], event['name']) == (request_type, name)
        ]

    @property
    def stats(self):
        """The statistics by type and name, as the CSV file has them."""
        path = Path(f'{self.prefix}_stats.csv')
        if not path.exists():
            return {}
        with path.open(newline='') as file:
            return {(row['Type'], row['Name']): row for row in csv.DictReader(file)}

    def count(self, request_type, name):
        """How many of these requests the statistics have."""
        row = self.stats.get((request_type, name))
        return 0 if row is None else int(row['Request Count'])

    @property
    def failures(self):
        """How many failures there were by type, name and text, as Locust tells them apart."""
        return Counter(
            (event['request_type'], event['name'], event['exception'])
            for event in self.events
            if event['exception']
        )

    @property
    def html(self):
        return Path(f'{self.prefix}.html').read_text()

    @property
    def report(self):
        """The data of the HTML report. It is final, unlike the CSV files."""
        _, data = self.html.split('window.templateArgs = ', 1)
        return json.JSONDecoder().raw_decode(data)[0]


@pytest.fixture
def locust(tmp_path):
    """`locust('visitor.py', url, users=3)` starts a `Locust`."""
    running = []

    def start(locustfile, host, *arguments, **kwargs):
        running.append(Locust(tmp_path, locustfile, host, *arguments, **kwargs))
        return running[-1]

    yield start
    for process in running:
        process.stop()


@pytest.fixture
def locust_environment():
    return environment()


@pytest.fixture
def program(locust_environment):
    """`program('library.py', url)` runs a program in `locustfiles/`; returns its JSON."""

    def run(name, *arguments):
        done = gevent.subprocess.run(
            [sys.executable, LOCUSTFILES / name, *arguments],
            stdout=gevent.subprocess.PIPE,
            stderr=gevent.subprocess.PIPE,
            env=locust_environment,
            timeout=40,
            check=False,
        )
        assert done.returncode == 0, done.stderr.decode()
        return json.loads(done.stdout)

    return run


@pytest.fixture
def flaky_server(hostile_server):
    """`flaky_server(refusals)`: a websocket server that refuses so many, and then echoes."""

    def start(refusals):
        refused = []

        def handle(sock):
            request = support.read_request(sock)
            if len(refused) < refusals:
                refused.append(request)
                support.respond(
                    sock,
                    '{"code": 4, "message": "too early"}',
                    '503 Service Unavailable',
                    content_type='application/json',
                )
                return
            support.accept_websocket(sock, request)
            support.send_frame(sock, support.open_packet())
            while True:
                opcode, data = support.read_frame(sock)
                if opcode == support.CLOSE or data == b'1':
                    return
                support.send_frame(sock, data)

        return hostile_server(handle)

    return start


@pytest.fixture
def socketio_server():
    """The JavaScript Socket.IO server of `../socketio`."""
    server_js = HERE.parent / 'socketio' / 'js' / 'server.js'
    support.need_node(server_js.parent)
    server = support.ServerProcess(['node', server_js])
    yield server
    server.stop()
