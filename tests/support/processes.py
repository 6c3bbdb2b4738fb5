"""The real servers, in processes of their own."""

import base64
import contextlib
import http.client
import json
import os
import re
import signal
import socket as stdlib_socket
import sys
import tempfile
import time
import weakref
from pathlib import Path
from typing import ClassVar

import gevent
import gevent.select
import gevent.socket
from gevent import subprocess

from .waiting import eventually, patience

TESTS = Path(__file__).resolve().parents[1]
JS_SERVER = TESTS / 'servers' / 'js' / 'server.js'
PYTHON_SERVER = TESTS / 'servers' / 'python_server.py'

START_TIMEOUT = 30
"""Seconds that a server process may take until it listens, on an idle machine."""


class AnnouncedServer:
    """A server in a process of its own, which prints its port in its first line."""

    def __init__(self, command, environment=None):
        self._process = subprocess.Popen(
            command, text=True, stdout=subprocess.PIPE, env=environment
        )
        line = self._process.stdout.readline()
        port = re.search(r':(\d+)', line)
        if port is None:
            self.stop()
            raise RuntimeError(f'{command} has no port: {line!r}')
        self.url = f'http://127.0.0.1:{port[1]}'

    @property
    def alive(self):
        """Whether the process has not ended."""
        return self._process.poll() is None

    def stop(self):
        self._process.terminate()
        self._process.communicate()


class ServerProcess:
    """A test server in its own process; what it does is told in `servers/js/server.js`.

    :param command: what to run, a list, to which the options are added as one JSON argument.
    :param options: the options of the server.
    """

    #: all that run, for the report of a failed test
    running: ClassVar = weakref.WeakSet()

    def __init__(self, command, options=None):
        self.options = dict(options or {})
        self.command = [str(part) for part in command]
        self._start()

    def _start(self):
        self._stderr = tempfile.TemporaryFile()  # noqa: SIM115 (closed in _close_pipes)
        self._process = subprocess.Popen(
            [*self.command, json.dumps(self.options)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._stderr,
        )
        self.host = self.options.get('host', '127.0.0.1')
        self.running.add(self)
        try:
            listening = json.loads(self._first_line())
        except BaseException:
            self.kill()
            raise
        self.port = listening['port']
        self._control_port = listening['control']

    @classmethod
    def js(cls, **options):
        """Start the JavaScript server."""
        return cls(['node', JS_SERVER], options)

    @classmethod
    def python(cls, **options):
        """Start the python-engineio server."""
        return cls([sys.executable, PYTHON_SERVER], options)

    def __repr__(self):
        return f'<{Path(self.command[-1]).name} {self.options} pid {self.pid}>'

    @property
    def pid(self):
        return self._process.pid

    @property
    def alive(self):
        """Whether the process has not ended."""
        return self._process.poll() is None

    @property
    def descriptors(self):
        """The descriptors of this process that lead to the server's."""
        return {
            file.fileno()
            for file in (self._process.stdin, self._process.stdout, self._stderr)
            if not file.closed
        }

    @property
    def netloc(self):
        host = f'[{self.host}]' if ':' in self.host else self.host
        return f'{host}:{self.port}'

    @property
    def url(self):
        """`http://host:port`, or https."""
        return f'{"https" if self.options.get("tls") else "http"}://{self.netloc}'

    @property
    def ws_url(self):
        """`ws://host:port`, or wss."""
        return f'{"wss" if self.options.get("tls") else "ws"}://{self.netloc}'

    @property
    def stderr(self):
        """What the server has written to its standard error so far."""
        if self._stderr.closed:
            return self._final_stderr
        size = os.fstat(self._stderr.fileno()).st_size
        return os.pread(self._stderr.fileno(), size, 0).decode(errors='replace')

    def control(self, path):
        """GET `/control/<path>`; returns the JSON value. Cooperative."""
        connection = http.client.HTTPConnection(self.host, self._control_port)
        family = stdlib_socket.AF_INET6 if ':' in self.host else stdlib_socket.AF_INET
        with gevent.Timeout(patience(10)), contextlib.closing(connection):
            # set before connecting, so that an error closes it
            connection.sock = gevent.socket.socket(family, stdlib_socket.SOCK_STREAM)
            connection.sock.connect((self.host, self._control_port))
            connection.request('GET', f'/control/{path}', headers={'Connection': 'close'})
            with connection.getresponse() as response:
                return json.loads(response.read())

    def count(self):
        """How many clients the server has."""
        return self.control('clients')['count']

    def wait_count(self, count, timeout=5):
        """Wait until the server has `count` clients."""
        last = None

        def reached():
            nonlocal last
            last = self.count()
            return last == count

        assert eventually(reached, timeout), f'{last} clients after {timeout} s, expected {count}'

    def close_reason(self, sid, timeout=5):
        """Wait until the server has closed this client; returns its reason."""
        reason = eventually(lambda: dict(self.control('closed')).get(sid), timeout)
        assert reason, f'the server has not closed {sid} within {timeout} s'
        return reason

    def received(self, sid):
        """The messages that the server has received from this client; binary as bytes."""
        return [
            message if isinstance(message, str) else base64.b64decode(message['b64'])
            for message in self.control(f'received?sid={sid}')
        ]

    def checked(self, sid):
        """What this client, which has `check=1` in its query, has sent in order: {sender: count}.

        Fails where a message was lost, came twice or out of order.
        """
        checked = self.control(f'checked?sid={sid}')
        assert checked['faults'] == []
        return checked['counts']

    def requests(self, sid=None):
        """The requests of this client, or all: dicts of method, url, headers, raw, peer."""
        return self.control(f'requests?sid={sid}' if sid else 'requests')

    def suspend(self):
        """Stop the process where it is: a peer that is there and says nothing."""
        self._process.send_signal(signal.SIGSTOP)

    def resume(self):
        self._process.send_signal(signal.SIGCONT)

    def stop(self):
        """End the process in order, else by force."""
        if self._process.stdin and not self._process.stdin.closed:
            self._process.stdin.close()
        if not eventually(lambda: self._process.poll() is not None):
            self._process.kill()
        self._end()

    def kill(self):
        """End the process by SIGKILL."""
        self._process.kill()
        self._end()

    def restart(self):
        """After `kill()` or `stop()`: start the process again, on the same port."""
        self.options = {**self.options, 'port': self.port}
        self._start()

    def _end(self):
        self._process.wait(10)
        self.running.discard(self)
        if not self._stderr.closed:
            self._final_stderr = self.stderr
            self._stderr.close()
        self._process.stdin.close()
        self._process.stdout.close()

    def _first_line(self):
        line = b''
        limit = patience(START_TIMEOUT)
        deadline = time.monotonic() + limit
        stdout = self._process.stdout.fileno()
        while not line.endswith(b'\n'):
            ready, _, _ = gevent.select.select([stdout], [], [], deadline - time.monotonic())
            chunk = os.read(stdout, 4096) if ready else b''
            if not chunk:
                what = 'ended' if ready else f'did not listen within {limit:.0f} s'
                raise RuntimeError(f'{self!r} {what}; its standard error:\n{self.stderr}')
            line += chunk
        return line
