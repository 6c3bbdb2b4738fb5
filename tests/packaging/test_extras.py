"""The wheel with each extra alone, in an empty environment: what the extra is for works."""

import configparser
import contextlib
import os
import re
import shutil
import signal
import socket
import zipfile

import gevent
import pytest
from gevent import subprocess
from run import PYTHONS, find_pythons

import support

from .conftest import ROOT

pytestmark = pytest.mark.time_limit(175)

BRIDGE = ROOT / 'examples' / 'gunicorn_bridge'
EXTRAS = configparser.ConfigParser()
EXTRAS.read(ROOT / 'setup.cfg')
EXTRAS = set(EXTRAS['options.extras_require'])

#: Whether the extension in C is used; and whether installing the sdist here builds it.
WHICH = 'import engineio_gevent; print(engineio_gevent.__accelerated__)'
COMPILED = shutil.which('gcc') is not None and support.can_have_extension()

#: Polling, the upgrade, and a message there and back.
ECHO = """
import sys, gevent.event, engineio_gevent
answer = gevent.event.AsyncResult()
with engineio_gevent.Client() as eio:
    eio.on('message', lambda data: data == 'there and back' and answer.set(data))
    eio.connect(sys.argv[1])
    assert eio.transport() == 'websocket', eio.transport()
    eio.send('there and back')
    answer.get(timeout=30)
print(engineio_gevent.__version__, engineio_gevent.__file__)
"""


@pytest.fixture
def installed(environment, wheel, python_server):
    """`installed('socks')` is an `Environment` with that extra; a client works in each."""

    def install(extra=''):
        made = environment(f'{wheel}[{extra}]' if extra else wheel)
        assert str(made.folder) in made.run_python(ECHO, python_server.url)
        return made

    return install


def test_each_has_a_test():
    assert {
        name.removeprefix('test_the_extra_')
        for name in globals()
        if name.startswith('test_the_extra_')
    } == EXTRAS


def test_without_extras(installed):
    made = installed()
    assert made.packages() & {'pip', 'click', 'rich', 'python-engineio', 'locust'} == set()
    for command in [made.bin / 'engineio-gevent'], [made.python, '-m', 'engineio_gevent']:
        printed = made.run(*command, 'probe', 'http://127.0.0.1:1', code=2)
        assert len(printed.splitlines()) == 1
        assert "pip install 'engineio-gevent[cli]'" in printed


def test_from_the_sdist(environment, sdist, python_server):
    made = environment(sdist)
    assert str(made.folder) in made.run_python(ECHO, python_server.url)
    assert made.run_python(WHICH) == f'{COMPILED}\n'


def test_from_the_sdist_without_a_compiler(
    environment, sdist, python_server, monkeypatch, tmp_path
):
    monkeypatch.setenv('CC', 'no-compiler-here')
    # uv keeps what it has built, by the path.
    made = environment(shutil.copy(sdist, tmp_path))
    assert str(made.folder) in made.run_python(ECHO, python_server.url)
    assert made.run_python(WHICH) == 'False\n'


@pytest.mark.skipif(not COMPILED, reason='no extension is built here')
def test_the_extension_is_built_again_for_another_version(environment, unpacked):
    """The folder build/ still has that of the version before."""
    made = environment(unpacked)
    assert made.run_python(WHICH) == 'True\n'
    source = unpacked / 'engineio_gevent' / '__init__.py'
    source.write_text(re.sub("__version__ = '.*'", "__version__ = '9.9.9'", source.read_text()))
    os.utime(unpacked / 'setup.py')  # otherwise uv installs its earlier build
    made.install(unpacked)
    assert made.run_python(f'{WHICH}; print(engineio_gevent.__version__)') == 'True\n9.9.9\n'


def test_the_wheel_without_the_extension(installed):
    assert installed().run_python(WHICH) == 'False\n'


def test_the_wheel_with_the_extension(environment, compiled_wheel, python_server):
    made = environment(compiled_wheel)
    assert str(made.folder) in made.run_python(ECHO, python_server.url)
    assert made.run_python(WHICH) == 'True\n'
    switch = {'ENGINEIO_GEVENT_PURE_PYTHON': '1'}
    assert made.run_python(WHICH, env=switch) == 'False\n'
    assert made.run_python(ECHO, python_server.url, env=switch)


@pytest.mark.parametrize('name', [name for name in PYTHONS if not name.startswith('pypy')])
def test_the_extension_is_loaded_by_every_python(compiled_wheel, name, tmp_path):
    """One file serves all of them."""
    command = find_pythons().get(name)
    if command is None:
        pytest.skip(f'{name} is not installed')
    with zipfile.ZipFile(compiled_wheel) as archive:
        archive.extract('engineio_gevent/protocol/_speedups.abi3.so', tmp_path)
    program = (
        'import _speedups as s\n'
        'frame = s.encode_frame(1, "4hello")\n'
        'assert s.mask(frame[6:], frame[2:6]) == b"4hello"\n'
        'print(s.split_messages(b"\\x81\\x064hello", 10))'
    )
    done = subprocess.run(
        [command, '-c', program],
        cwd=tmp_path / 'engineio_gevent' / 'protocol',
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.stdout, done.stderr) == ("(['hello'], 8)\n", '')


def test_the_extra_cli(installed, python_server):
    made = installed('cli')
    command = made.bin / 'engineio-gevent'
    assert 'python-engineio' not in made.packages()
    assert 'probe' in made.run(command, '--help')
    assert 'demo' in made.run(made.python, '-m', 'engineio_gevent', '--help')
    for name in 'connect', 'probe', 'load', 'demo':
        assert name in made.run(command, name, '--help')
    assert 'websocket' in made.run(command, 'probe', python_server.url)
    assert 'said' in made.run(
        'sh', '-c', f'{command} connect {python_server.url} -x said -w 5 --json'
    )
    made.run(command, 'load', python_server.url, '--clients', '2', '--duration', '1')


def test_the_extra_demo(installed):
    made = installed('demo')
    made.run(made.bin / 'engineio-gevent', 'demo', '--clients', '5')


def relay(sock):
    """A SOCKS proxy, version 5, for one connection (RFC 1928)."""

    def pump(source, target):
        with contextlib.suppress(OSError):  # either end may be gone by then
            while data := source.recv(65536):
                target.sendall(data)
            target.shutdown(socket.SHUT_WR)

    assert sock.recv(2)[:1] == b'\5'
    sock.recv(255)
    sock.sendall(b'\5\0')  # no authentication
    version, command, _, kind = sock.recv(4)
    assert (version, command) == (5, 1)
    host = sock.recv(4) if kind == 1 else sock.recv(sock.recv(1)[0])
    name = '.'.join(map(str, host)) if kind == 1 else host.decode()
    with gevent.socket.create_connection((name, int.from_bytes(sock.recv(2), 'big'))) as there:
        sock.sendall(b'\5\0\0\1' + bytes(6))
        gevent.joinall([gevent.spawn(pump, sock, there), gevent.spawn(pump, there, sock)])


def test_the_extra_socks(installed, python_server, hostile_server):
    made = installed('socks')
    proxy = hostile_server(relay)
    variables = {'ALL_PROXY': f'socks5h://127.0.0.1:{proxy.port}', 'NO_PROXY': ''}
    # This process serves: it must not block on that one.
    gevent.get_hub().threadpool.apply(
        made.run_python, (ECHO, python_server.url), {'env': variables}
    )
    assert proxy.accepted >= 2  # polling and the websocket


def test_the_extra_socketio(installed):
    installed('socketio').run_python(
        'import socketio.exceptions\n'
        'from engineio_gevent.contrib.socketio import Client, SimpleClient\n'
        'SimpleClient()\n'
        'try:\n'
        '    Client().connect("http://127.0.0.1:1")\n'
        'except socketio.exceptions.ConnectionError:\n'
        '    pass'
    )


def test_the_extra_locust(installed, python_server):
    made = installed('locust')
    made.run_python(  # Locust warns on its own
        'import warnings; warnings.simplefilter("default")\n'
        'import locust\n'
        'from engineio_gevent.contrib.locust import EngineIOUser, SocketIOUser'
    )
    (made.folder / 'locustfile.py').write_text(
        'from locust import constant, task\n'
        'from engineio_gevent.contrib.locust import EngineIOUser\n'
        'class Visitor(EngineIOUser):\n'
        '    wait_time = constant(0.1)\n'
        '    @task\n'
        '    def say(self):\n'
        '        self.eio.request("hello", match="hello", name="hello")\n'
    )
    printed = made.run(
        made.bin / 'locust',
        '--headless',
        '--users',
        '2',
        '--spawn-rate',
        '2',
        '--run-time',
        '2s',
        '--host',
        python_server.url,
        '--loglevel',
        'WARNING',
        '--exit-code-on-error',
        '1',
    )
    assert 'hello' in printed


def test_the_extra_bench(installed, unpacked):
    made = installed('bench')
    made.run(made.python, '-c', 'import aiohttp, engineio, socketio, trustme')
    assert 'echo' in made.run(made.python, '-m', 'benchmarks', '--list', cwd=unpacked)


def test_the_extra_docs(installed, unpacked):
    made = installed('docs')
    made.run(made.python, 'docs/build.py', '-q', cwd=unpacked)
    assert (unpacked / 'build' / 'docs' / 'index.html').exists()


def test_the_extra_dev(installed, unpacked):
    made = installed('dev')
    assert 'passed' in made.run(
        made.python, '-m', 'pytest', '-n', '2', 'tests/unit/test_packet.py', cwd=unpacked
    )
    made.run(made.python, '-m', 'ruff', 'check', '.', cwd=unpacked)
    for tool in 'mypy', 'pyright', 'tox', 'twine', 'build':
        made.run(made.python, '-m', tool, '--version')


def test_the_bridge_needs_what_it_says(environment, wheel):
    """Its requirements alone are enough for its one command."""
    needed = (BRIDGE / 'requirements.txt').read_text().split()
    own = [
        f'{wheel}{name.removeprefix("engineio-gevent")}'
        for name in needed
        if name.startswith('engineio-gevent')
    ]
    others = [name for name in needed if not name.startswith('engineio-gevent')]
    assert len(own) == 1
    made = environment(*own, *others)
    with subprocess.Popen(
        [made.python, BRIDGE, '--port', '0', '--upstream-port', '0'],
        text=True,
        env=made.variables,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    ) as process:
        printed = []
        for line in process.stdout:
            printed.append(line)
            if sum('has joined' in line for line in printed) == 2:
                process.send_signal(signal.SIGINT)
    assert process.returncode == 0, ''.join(printed)
