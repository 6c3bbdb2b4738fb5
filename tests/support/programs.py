"""Python programs in processes of their own."""

import json
import os
import signal
import sys
import tempfile
from pathlib import Path

import gevent.select
from gevent import subprocess

import engineio_gevent

from .waiting import eventually

PROJECT = Path(engineio_gevent.__file__).parent.parent
"""The folder from which this package is imported."""


class Program:
    """A program that prints lines of JSON on standard output.

    :param arguments: what the interpreter is called with: a file, or `-c` and a source.
    :param argv: what the program finds in `sys.argv[1:]`, each as JSON.
    :param options: for the interpreter.
    :param settings: for `subprocess.Popen`.
    """

    def __init__(self, *arguments, argv=(), options=('-W', 'error'), **settings):
        path = os.pathsep.join(filter(None, [str(PROJECT), os.environ.get('PYTHONPATH')]))
        self._stderr = tempfile.TemporaryFile()  # noqa: SIM115 (closed in kill)
        self.process = subprocess.Popen(
            [sys.executable, *options, *arguments, *map(json.dumps, argv)],
            env={**os.environ, 'PYTHONPATH': path},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._stderr,
            **settings,
        )
        self._unheard = b''

    @property
    def stderr(self):
        """What the program has written to its standard error so far."""
        size = os.fstat(self._stderr.fileno()).st_size
        return os.pread(self._stderr.fileno(), size, 0).decode(errors='replace')

    def hear(self):
        """Wait for the next line; its value."""
        while b'\n' not in self._unheard:
            assert self._read(), f'the program has ended; its standard error:\n{self.stderr}'
        line, _, self._unheard = self._unheard.partition(b'\n')
        return json.loads(line)

    def _read(self):
        stdout = self.process.stdout.fileno()
        gevent.select.select([stdout], [], [])
        chunk = os.read(stdout, 65536)
        self._unheard += chunk
        return chunk

    def tell(self, line=''):
        """Give the program a line to read."""
        self.process.stdin.write(f'{line}\n'.encode())
        self.process.stdin.flush()

    def interrupt(self):
        """What Ctrl-C does."""
        self.process.send_signal(signal.SIGINT)

    def end(self):
        """Wait for the end; the values of the lines that nobody has heard."""
        self.process.stdin.close()
        while self._read():
            pass
        assert eventually(lambda: self.process.poll() is not None, 20)
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
