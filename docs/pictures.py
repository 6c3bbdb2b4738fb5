"""Make the pictures of the documentation: ``python docs/pictures.py [probe] [bridge] [locust]``.

Each picture shows real output. It is made twice, for light and for dark pages: ``NAME.EXT`` and
``NAME-dark.EXT`` in ``docs/_static``.

- ``probe``: the command on a terminal, as SVG.
- ``bridge``: the page of ``examples/gunicorn_bridge``, as PNG.
- ``locust``: Locust's web page during the load test of the README, as PNG.

The script needs a headless Chromium (``apt-get install chromium-headless-shell``) and::

    pip install -e '.[dev,locust,socketio]' -r examples/gunicorn_bridge/requirements.txt

It uses the ports of the README, 5000 and 5001, because the pictures show them.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import io
import json
import os
import pty
import re
import signal
import struct
import subprocess
import sys
import tempfile
import termios
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rich._export_format import CONSOLE_SVG_FORMAT
from rich.console import Console
from rich.terminal_theme import TerminalTheme
from rich.text import Text

ROOT = Path(__file__).resolve().parents[1]
STATIC = ROOT / 'docs' / '_static'

# The browser of the tests, so that this script needs no other driver.
sys.path.insert(0, str(ROOT / 'tests'))
import browser as browsers  # noqa: E402 - it is in tests/

import support  # noqa: E402 - it is in tests/

#: Columns of the terminal. With more, the text is too small on a page.
COLUMNS = 92
#: Bytes that a picture may have, so that a page loads fast.
MAX_SIZE = 150_000
#: Seconds that a server may take to start.
START_TIMEOUT = 30

THEMES = {
    '': TerminalTheme(
        (255, 255, 255),
        (31, 35, 40),
        [
            (36, 41, 47),
            (207, 34, 46),
            (17, 99, 41),
            (125, 78, 0),
            (9, 105, 218),
            (130, 80, 223),
            (27, 124, 131),
            (110, 119, 129),
        ],
    ),
    '-dark': TerminalTheme(
        (13, 17, 23),
        (230, 237, 243),
        [
            (72, 79, 88),
            (255, 123, 114),
            (63, 185, 80),
            (210, 153, 34),
            (88, 166, 255),
            (188, 140, 255),
            (57, 197, 207),
            (177, 186, 196),
        ],
    ),
}

#: A page with fonts of its own would load them from another host.
SVG_FORMAT = re.sub(r'@font-face \{\{.*?\}\}\s*', '', CONSOLE_SVG_FORMAT, flags=re.DOTALL).replace(
    'Fira Code, monospace', 'ui-monospace, Menlo, Consolas, "DejaVu Sans Mono", monospace'
)


# Programs


@contextlib.contextmanager
def running(*command: object, ready: str, folder: Path = ROOT) -> Iterator[None]:
    """Run a program until the end of the block.

    :param command: a Python module or file, and its arguments.
    :param ready: the program has started when its output contains this text.
    :param folder: the working directory.
    """
    with tempfile.TemporaryFile('w+') as log:
        process = subprocess.Popen(
            [sys.executable, '-u', *map(str, command)],
            cwd=folder,
            env=_environment(),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )

        def output() -> str:
            return os.pread(log.fileno(), 1_000_000, 0).decode(errors='replace')

        try:
            deadline = time.monotonic() + START_TIMEOUT
            while ready not in output():
                if process.poll() is not None or time.monotonic() > deadline:
                    sys.exit(f'{" ".join(map(str, command))} did not start:\n{output()}')
                time.sleep(0.1)
            yield
        finally:
            process.terminate()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()


def _environment() -> dict[str, str]:
    paths = [str(ROOT), *filter(None, [os.environ.get('PYTHONPATH')])]
    return {**os.environ, 'PYTHONPATH': os.pathsep.join(paths), 'TERM': 'xterm-256color'}


# The terminal


def on_terminal(*arguments: str) -> list[str]:
    """The lines that ``engineio-gevent`` leaves on a terminal, with their ANSI colours."""
    terminal, other_end = pty.openpty()
    fcntl.ioctl(other_end, termios.TIOCSWINSZ, struct.pack('4H', 40, COLUMNS, 0, 0))
    environment = _environment()
    for name in ('COLUMNS', 'NO_COLOR', 'FORCE_COLOR'):
        environment.pop(name, None)
    process = subprocess.Popen(
        [sys.executable, '-m', 'engineio_gevent', *arguments],
        env=environment,
        stdin=other_end,
        stdout=other_end,
        stderr=other_end,
    )
    os.close(other_end)
    output = b''
    with contextlib.suppress(OSError):  # Linux raises EIO at the end of a terminal
        while chunk := os.read(terminal, 65536):
            output += chunk
    process.wait()
    os.close(terminal)
    return screen(output.decode())


def screen(output: str) -> list[str]:
    """What remains on the screen: the progress is overwritten by the results.

    Only the escape sequences that rich uses for its progress are known.
    """
    lines = ['']
    row = 0
    for part in re.split(r'(\r?\n|\r|\x1b\[[?\d;]*[A-Za-z])', output):
        if part.endswith('\n'):
            row += 1
            lines += [''] * (row + 1 - len(lines))
        elif re.fullmatch(r'\x1b\[\d*A', part):
            row -= int(part[2:-1] or 1)
        elif part == '\x1b[2K':
            lines[row] = ''
        elif part != '\r' and not re.fullmatch(r'\x1b\[\?25[lh]', part):
            lines[row] += part
    return [line.rstrip() for line in lines[: row + 1]]


def terminal_picture(name: str, lines: list[str]) -> None:
    """Write a picture of a terminal.

    :param lines: with ANSI colours.
    """
    for suffix, theme in THEMES.items():
        console = Console(
            record=True, width=COLUMNS, file=io.StringIO(), force_terminal=True, highlight=False
        )
        for line in lines:
            console.print(Text.from_ansi(line), soft_wrap=True)
        svg = console.export_svg(
            title='', theme=theme, code_format=SVG_FORMAT, unique_id=f'{name}{suffix}'
        )
        # The window needs a border that is visible on light pages, too.
        svg = svg.replace('rgba(255,255,255,0.35)', 'rgba(128,128,128,0.5)')
        write(f'{name}{suffix}.svg', f'{svg.rstrip()}\n'.encode())


def probe() -> None:
    """Two runs: one that fails and says why, and one with the option that was missing."""
    url = 'http://127.0.0.1:5001'
    lines = []
    with running('examples/socketio_server.py', 5001, ready='Socket.IO server on'):
        for arguments in [url], [url, '--path', 'socket.io']:
            lines.append(f'\x1b[1m$ engineio-gevent probe {" ".join(arguments)}\x1b[0m')
            lines += [*on_terminal('probe', *arguments)]
    terminal_picture('probe', lines[:-1] if not lines[-1] else lines)


# Pages


def page_picture(name: str, page: Any, width: int, height: int, url: str = '') -> None:
    """Write a picture of a page in a browser.

    :param url: a page that has to be loaded again after a change of the colour scheme.
    """
    for suffix, scheme in ('', 'light'), ('-dark', 'dark'):
        page.look(width, height, scheme, motion=False)
        if url:
            page.open(url)
        time.sleep(3)  # until fonts are loaded and animations have ended
        page.evaluate('document.documentElement.style.overflow = "hidden"')  # no scroll bars
        path = Path(tempfile.gettempdir()) / f'{os.getpid()}.png'
        page.screenshot(path)
        write(f'{name}{suffix}.png', path.read_bytes())
        path.unlink()


@contextlib.contextmanager
def open_browser() -> Iterator[Any]:
    """A browser."""
    if browsers.find() is None:
        sys.exit('No headless Chromium: apt-get install chromium-headless-shell')
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        browser = browsers.Browser(Path(folder))
        try:
            yield browser
        finally:
            browser.stop()


MESSAGES = [
    *(f'Order {number} has been packed' for number in range(4107, 4112)),
    'Order 4108 has been handed to the carrier',
    'The carrier has changed the route of order 4108: expected tomorrow, between 14:00 and 16:00',
    'Order 4112 has been packed',
]


def bridge() -> None:
    """The page of the gunicorn example, after half a minute."""
    port = support.free_port()
    url = f'http://127.0.0.1:{port}'
    example = ['examples/gunicorn_bridge', '--port', port, '--upstream-port', 0]
    with running(*example, ready='has joined'), open_browser() as browser:
        page = browser.page()
        page.open(url)
        page.wait_for('document.querySelector("html[data-stream=live]")')
        for message in MESSAGES:
            request = urllib.request.Request(
                f'{url}/messages',
                json.dumps({'text': message}).encode(),
                {'Content-Type': 'application/json'},
            )
            urllib.request.urlopen(request).close()
            time.sleep(3)  # so that the messages have different times
        page.type('text', 'Thank you!')
        page.press('Send', "document.querySelector('#messages .own')")
        page_picture('bridge', page, 1000, 680)


def locust() -> None:
    """Locust's statistics of the load test of the README."""
    port = support.free_port()
    url = 'http://127.0.0.1:5000'
    program = re.search(
        r'<!-- test: file visitor\.py -->\n```python\n(.*?)```',
        (ROOT / 'README.md').read_text(),
        re.DOTALL,
    )
    assert program
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, 'visitor.py').write_text(program[1])
        command = ['-m', 'locust', '-f', 'visitor.py', '--host', url, '--web-port', port]
        users = ['--users', 20, '--spawn-rate', 20, '--autostart']
        with (
            running('-m', 'engineio_gevent', 'demo', '--serve', ready='5000'),
            running(*command, *users, ready='All users spawned', folder=Path(folder)),
            open_browser() as browser,
        ):
            time.sleep(30)  # so that the page has figures to show
            page = browser.page()
            page_picture('locust', page, 1240, 500, f'http://127.0.0.1:{port}')


PICTURES = {'probe': probe, 'bridge': bridge, 'locust': locust}


def write(name: str, data: bytes) -> None:
    """Write a picture, if it is small enough."""
    if len(data) > MAX_SIZE:
        sys.exit(f'{name} has {len(data):,} bytes: more than {MAX_SIZE:,}')
    (STATIC / name).write_bytes(data)
    print(f'docs/_static/{name}: {len(data):,} bytes')


def main() -> None:
    """Make the pictures that the command line names, or all."""
    parser = argparse.ArgumentParser(description='Make the pictures of the documentation.')
    parser.add_argument(
        'name', nargs='*', choices=[*PICTURES, []], help=f'{", ".join(PICTURES)}; default: all'
    )
    for name in parser.parse_args().name or PICTURES:
        PICTURES[name]()


if __name__ == '__main__':
    main()
