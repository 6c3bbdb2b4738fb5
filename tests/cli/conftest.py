"""Run the command as users do: in processes, with pipes and pseudo-terminals."""

import contextlib
import json
import os
import signal
import sys
import termios
import time
from pathlib import Path

import pexpect
import pyte
import pytest
from gevent import subprocess

import engineio_gevent
import support

COMMAND = [sys.executable, '-m', 'engineio_gevent']
TIMEOUT = 40


class Result:
    """The exit code and the output of a process."""

    def __init__(self, code, out, err):
        self.code = code
        self.out = out
        self.err = err

    @property
    def events(self):
        """The decoded JSON lines of the standard output."""
        return [json.loads(line) for line in self.out.splitlines()]

    def __repr__(self):
        return f'exit {self.code}\n--- out\n{self.out}\n--- err\n{self.err}'


class Terminal:
    """The command on a pseudo-terminal, and its screen.

    Nothing here lets gevent's loop run, which may take the exit code of the command.
    """

    def __init__(self, arguments, environment, rows=30, columns=100, command=COMMAND):
        self.screen = pyte.Screen(columns, rows)
        environment = {**environment, 'COLUMNS': str(columns)}
        self._stream = pyte.Stream(self.screen)
        self._child = pexpect.spawn(
            command[0],
            [*command[1:], *arguments],
            env=environment,
            cwd='/',
            encoding='utf-8',
            dimensions=(rows, columns),
            timeout=TIMEOUT,
        )
        self._child.delaybeforesend = None
        #: the whole output with its control sequences
        self.raw = ''

    @property
    def text(self):
        """The non-empty lines of the screen."""
        return '\n'.join(line.rstrip() for line in self.screen.display if line.strip())

    @property
    def edits_lines(self):
        """Whether the terminal itself edits lines, as it does under a shell."""
        return bool(termios.tcgetattr(self._child.child_fd)[3] & termios.ICANON)

    def read(self):
        """Read available output; returns False at the end."""
        try:
            piece = self._child.read_nonblocking(65536, timeout=0.05)
        except pexpect.TIMEOUT:
            return True
        except pexpect.EOF:
            return False
        self.raw += piece
        self._stream.feed(piece)
        # prompt_toolkit may query the position of the cursor
        if '\x1b[6n' in piece:
            self._child.send(f'\x1b[{self.screen.cursor.y + 1};{self.screen.cursor.x + 1}R')
        return True

    def until(self, shown):
        """Read until the screen contains this text or satisfies this function."""
        condition = shown if callable(shown) else lambda text: shown in text
        deadline = time.monotonic() + support.patience(TIMEOUT)
        while not condition(self.text):
            assert time.monotonic() < deadline, f'not shown: {shown}\n{self.text}'
            if not self.read():
                assert condition(self.text), f'ended without: {shown}\n{self.text}'
                return

    def type(self, keys):
        self._child.send(keys)

    def signal(self, number):
        os.kill(self._child.pid, number)

    def end(self):
        """Read to the end; returns the exit code."""
        deadline = time.monotonic() + support.patience(TIMEOUT)
        while self.read():
            assert time.monotonic() < deadline, self.text
        self._child.wait()
        return self._child.exitstatus

    def close(self):
        self._child.close(force=True)


class CLI:
    """Runs `engineio-gevent`."""

    def __init__(self, home):
        # The package that the other tests import, not the one in the current directory.
        self.environment = {
            **os.environ,
            'PYTHONPATH': str(Path(engineio_gevent.__file__).parents[1]),
            'XDG_STATE_HOME': str(home),
            'TERM': 'xterm-256color',
            'COLUMNS': '100',
        }
        for name in (
            'NO_COLOR',
            'FORCE_COLOR',
            'http_proxy',
            'HTTP_PROXY',
            'https_proxy',
            'HTTPS_PROXY',
            'all_proxy',
            'ALL_PROXY',
            'no_proxy',
            'NO_PROXY',
        ):
            self.environment.pop(name, None)
        self._stack = contextlib.ExitStack()

    def __call__(self, *arguments, given='', env=(), timeout=TIMEOUT):
        """Run to the end; returns a `Result`."""
        done = subprocess.run(
            [*COMMAND, *map(str, arguments)],
            check=False,
            input=given,
            text=True,
            capture_output=True,
            cwd='/',
            env={**self.environment, **dict(env)},
            timeout=support.patience(timeout),
        )
        return Result(done.returncode, done.stdout, done.stderr)

    def start(self, *arguments, env=(), **options):
        """Start a process with pipes, which is killed at the end of the test."""
        options = {
            'stdin': subprocess.PIPE,
            'stdout': subprocess.PIPE,
            'stderr': subprocess.PIPE,
            'text': True,
            'bufsize': 1,
            **options,
        }
        process = self._stack.enter_context(
            subprocess.Popen(
                [*COMMAND, *map(str, arguments)],
                cwd='/',
                env={**self.environment, **dict(env)},
                # Tests in the background may ignore SIGINT, and a child inherits that.
                preexec_fn=lambda: signal.signal(  # no other threads do anything
                    signal.SIGINT, signal.default_int_handler
                ),
                **options,
            )
        )
        self._stack.callback(process.kill)
        return process

    def terminal(self, *arguments, env=(), **options):
        """A `Terminal`."""
        terminal = Terminal([*map(str, arguments)], {**self.environment, **dict(env)}, **options)
        self._stack.callback(terminal.close)
        return terminal

    def close(self):
        self._stack.close()


@pytest.fixture
def cli(tmp_path):
    """`cli('connect', url)` runs the command; it also has `start` and `terminal`."""
    runner = CLI(tmp_path / 'state')
    yield runner
    runner.close()


@pytest.fixture
def one_error():
    """The one-line error of a command that failed with this exit code."""

    def check(result, code=1):
        assert result.code == code, result
        assert result.err.startswith('engineio-gevent: '), result
        assert result.err.count('\n') == 1, result
        return result.err.removeprefix('engineio-gevent: ').rstrip()

    return check


@pytest.fixture
def native_server():
    """`native_server(handler, ssl_context=...)`: a `support.NativeServer`.

    Its threads are native, as the tests wait for processes.
    """
    servers = []

    def start(handler, **options):
        servers.append(support.NativeServer(handler, **options))
        return servers[-1]

    yield start
    for server in servers:
        server.stop()
