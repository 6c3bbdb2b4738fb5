"""Real servers and workers for which SIGINT has a meaning of its own."""

import contextlib
import http.client
import importlib.util
import json
import os
import signal
import socket
from pathlib import Path

import gevent.socket
import pytest

import support

PROGRAMS = Path(__file__).parent / 'programs'

END_TIMEOUT = 20
"""Seconds that tell a worker that ends from one that does not."""


class Worker(support.Program):
    """A program of `PROGRAMS`, or what runs one, in a process group of its own.

    :param folder: for its socket.
    :param arguments: what the interpreter is called with.
    """

    def __init__(self, folder, *arguments):
        self._address = str(folder / 'socket')
        super().__init__(*map(str, arguments), options=(), start_new_session=True)

    def hear(self):
        """Wait for the next line of JSON. Workers also print other lines."""
        while True:
            with contextlib.suppress(json.JSONDecodeError):
                return super().hear()

    def get(self, path='/'):
        """Send a request to the HTTP server at the socket, when it listens; its answer."""
        listens = support.eventually(self._listens, support.START_TIMEOUT)
        assert listens, f'it does not listen; its standard error:\n{self.stderr}'
        connection = http.client.HTTPConnection('worker')
        connection.sock = gevent.socket.socket(socket.AF_UNIX)
        try:
            connection.sock.connect(self._address)
            connection.request('GET', path, headers={'Connection': 'close'})
            return json.loads(connection.getresponse().read())
        finally:
            connection.close()

    def _listens(self):
        with gevent.socket.socket(socket.AF_UNIX) as sock:
            return sock.connect_ex(self._address) == 0 or self.process.poll() is not None

    def wait_end(self):
        """Wait for the end; returns the exit code."""
        ended = support.eventually(lambda: self.process.poll() is not None, END_TIMEOUT)
        assert ended, f'it does not end; its standard error:\n{self.stderr}'
        return self.process.returncode

    def kill(self):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        super().kill()


@pytest.fixture
def worker(tmp_path, monkeypatch, js_server):
    """Start a `Worker`, which finds the URL of `js_server` and a socket's path in its environment.

    `worker('-m', 'gunicorn', ..., needs='gunicorn')` skips the test without that module.
    """
    monkeypatch.setenv('URL', js_server.url)
    monkeypatch.setenv('FOLDER', str(tmp_path))
    workers = []

    def start(*arguments, needs=None):
        if needs and importlib.util.find_spec(needs) is None:
            support.missing(needs, f'pip install {needs}')
        workers.append(Worker(tmp_path, *arguments))
        return workers[-1]

    yield start
    for one in workers:
        one.kill()
