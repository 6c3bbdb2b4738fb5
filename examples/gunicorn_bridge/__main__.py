"""Starts the bridge and an upstream server for it. Ctrl-C stops both.

    python examples/gunicorn_bridge [--port 8000] [--workers 2] [--upstream URL]

The embedded upstream is restarted when it stops. Kill it and watch the page.
"""

from __future__ import annotations

import argparse
import os
import signal
import socket
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path
from types import FrameType

HERE = Path(__file__).resolve().parent
#: Seconds before a stopped upstream is restarted.
PAUSE = 4.0
#: Seconds that the bridge and the upstream have to stop.
PATIENCE = 20.0
NEEDED = {
    'flask': 'flask',
    'gunicorn': 'gunicorn[gevent]',
    'packaging': 'gunicorn[gevent]',
    'engineio': 'engineio-gevent[demo]',
    'engineio_gevent': 'engineio-gevent',
}


def positive(text: str) -> int:
    """Parse a number of workers."""
    if int(text) < 1:
        raise argparse.ArgumentTypeError('at least 1')
    return int(text)


def port_number(text: str) -> int:
    """Parse a port; 0 is any free port."""
    if not 0 <= int(text) <= 65535:
        raise argparse.ArgumentTypeError('a port is a number from 0 to 65535')
    return int(text)


def free_port(option: str, wanted: int) -> int:
    """Return the wanted port if it is free, or any free port for 0."""
    try:
        with socket.create_server(('127.0.0.1', wanted)) as sock:
            port: int = sock.getsockname()[1]
            return port
    except OSError as exc:
        sys.exit(f'Port {wanted}: {os.strerror(exc.errno or 0)}; choose another port with {option}')


#: Whether a signal to stop has been received.
ending = False


def main() -> int:
    """Run the bridge; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog='gunicorn_bridge', description='Start the bridge and an upstream server.'
    )
    option = parser.add_argument
    option('--port', type=port_number, default=8000, help='port of the page (default: 8000)')
    option('--workers', type=positive, default=2, help='number of gunicorn workers (default: 2)')
    option('--upstream', metavar='URL', help='use this upstream instead of the embedded one')
    option(
        '--upstream-port',
        type=port_number,
        default=5000,
        help='port of the embedded upstream (default: 5000)',
    )
    arguments = parser.parse_args()
    missing = {package: None for module, package in NEEDED.items() if find_spec(module) is None}
    if missing:
        print(
            f'Missing packages: {", ".join(missing)}. README.md has the command.', file=sys.stderr
        )
        return 2
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM):
        signal.signal(number, end)
    if arguments.port == arguments.upstream_port != 0 and not arguments.upstream:
        parser.error('--port and --upstream-port must differ')
    upstream = None
    port = free_port('--port', arguments.port)
    try:
        if not arguments.upstream:
            upstream = Upstream(free_port('--upstream-port', arguments.upstream_port))
        url = arguments.upstream if upstream is None else upstream.url
        return run(url, port, arguments.workers, upstream)
    finally:
        if upstream is not None:
            upstream.stop()


def end(number: int, frame: FrameType | None) -> None:
    """Handle a signal to stop."""
    global ending
    ending = True  # an exception here could leave a process that has just been started


class Upstream:
    """The embedded upstream, in its own process.

    :param port: its port, also after a restart.
    """

    def __init__(self, port: int) -> None:
        self._port = port
        self._ended_at: float | None = None
        self.url = f'http://127.0.0.1:{self._port}'
        self._start()

    def _start(self) -> None:
        # In its own session, so that only the parent receives Ctrl-C. The parent stops it last.
        command = [sys.executable, str(HERE / 'upstream.py'), str(self._port)]
        self._process = subprocess.Popen(command, start_new_session=True)
        print(f'upstream: process {self._process.pid}', flush=True)

    def look_after(self) -> bool:
        """Restart it some seconds after it has stopped; returns False if it fails to run."""
        code = self._process.poll()
        if code is None:
            return True
        if self._ended_at is None:
            self._ended_at = time.monotonic()
            print(f'upstream: stopped; restarting in {PAUSE:.0f} s', flush=True)
        elif time.monotonic() - self._ended_at > PAUSE:
            self._ended_at = None
            self._start()
        return code <= 0  # stopped by a signal, or without an error

    def stop(self) -> None:
        """Stop it."""
        stop(self._process)


def run(url: str, port: int, workers: int, upstream: Upstream | None) -> int:
    """Run gunicorn until it stops or a signal arrives; returns the exit code."""
    environment = {
        **os.environ,
        'UPSTREAM_URL': url,
        'BRIDGE_BIND': f'127.0.0.1:{port}',
        'WEB_CONCURRENCY': str(workers),
    }
    gunicorn = subprocess.Popen(
        [sys.executable, '-m', 'gunicorn'], cwd=HERE, env=environment, start_new_session=True
    )
    print(f'gunicorn: process {gunicorn.pid}', flush=True)
    print(f'Open http://127.0.0.1:{port}/ (Ctrl-C stops it)', flush=True)
    try:
        while gunicorn.poll() is None and not ending:
            time.sleep(0.1)
            if upstream is not None and not upstream.look_after():
                return 1
    finally:
        stop(gunicorn)
    return 0 if ending else gunicorn.returncode


def stop(process: subprocess.Popen[bytes]) -> None:
    """Terminate a process; kill it if it does not stop in time."""
    process.terminate()
    try:
        process.wait(PATIENCE)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


if __name__ == '__main__':
    sys.exit(main())
