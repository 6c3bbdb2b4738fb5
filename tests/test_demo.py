"""`engineio-gevent demo`, run in a process as a user does.

The demo's server inherits the demo's standard error. Wherever a test has read that to its end,
as `communicate()` does, the server has ended too.
"""

import contextlib
import os
import pty
import re
import resource
import signal
import socket
import sys
from pathlib import Path

import gevent
import pytest
from gevent import subprocess
from gevent.queue import Queue

import engineio_gevent

MODULE = [sys.executable, '-m', 'engineio_gevent']
TIMEOUT = 40

# The package that the other tests import, not the one in the current directory.
ENVIRONMENT = {
    **os.environ,
    'PYTHONPATH': str(Path(engineio_gevent.__file__).parents[1]),
    'TERM': 'xterm-256color',
    'COLUMNS': '100',
}


@contextlib.contextmanager
def started(command, **options):
    """A process that is killed at the end of the block."""
    options = {'stdout': subprocess.PIPE, 'stderr': subprocess.PIPE, **options}
    with subprocess.Popen(command, text=True, env=ENVIRONMENT, cwd='/', **options) as process:
        try:
            yield process
        finally:
            process.kill()


def run(command, **options):
    """Run to the end; returns the exit code, the standard output and the standard error."""
    with started(command, **options) as process:
        out, err = process.communicate(timeout=TIMEOUT)
        return process.returncode, out, err


def demo(*arguments, **options):
    return run([*MODULE, 'demo', *arguments], **options)


def with_code(code, *arguments):
    """Run the command with Python code before and after it."""
    before, after = code
    program = (
        f'import sys\n{before}\nfrom engineio_gevent.cli import main\n'
        f'code = main(sys.argv[1:])\n{after}\nsys.exit(code)'
    )
    return run([sys.executable, '-c', program, *arguments])


def read_until(process, start):
    """Read lines of the standard output until one with this start."""
    for line in process.stdout:
        if line.startswith(start):
            return line
    pytest.fail(f'ended without a line {start!r}: {process.stderr.read()}')


@contextlib.contextmanager
def serving(*command):
    """A server that prints its address first; yields the process and its URL."""
    with started(command or [*MODULE, 'demo', '--serve', '--port', '0']) as process:
        line = process.stdout.readline()
        found = re.search(r'127\.0\.0\.1:(\d+)', line)
        assert found, line or process.stderr.read()
        yield process, f'http://{found[0]}'


SERVER = """
import engineio, gevent.pywsgi, os, socket, sys
sys.modules['geventwebsocket'] = None  # as in the demo's own
eio = engineio.Server(async_mode='gevent', **{options})
count = 0
@eio.on('connect')
def connect(sid, environ):
    global count
    count += 1
    if count > {connects}:
        return 'enough'
@eio.on('message')
def message(sid, data):
    global count
    count += 1
    if count > {messages}:
        os._exit(0)
    eio.send(sid, data if {echo} else 'something else')
server = gevent.pywsgi.WSGIServer(('127.0.0.1', 0), engineio.WSGIApp(eio), log=None)
server.init_socket()
server.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
server.start()
print(f'127.0.0.1:{{server.server_port}}', flush=True)
server.serve_forever()
"""


def other_server(connects=10000, messages=10000, echo=True, **options):
    return serving(
        sys.executable,
        '-c',
        SERVER.format(options=options, connects=connects, messages=messages, echo=echo),
    )


def only_error(code, out, err):
    """The one-line error of a failed demo."""
    assert code == 1, err
    assert err.count('\n') == 1, err
    assert err.startswith('engineio-gevent: ')
    return err


def number(pattern, out):
    found = re.search(pattern, out)
    assert found, f'no {pattern!r} in\n{out}'
    return float(found[1].replace(',', ''))


def check_figures(out, clients, transport='websocket'):
    assert 0 < number(r'handshake +([\d.]+) ms\n', out) < 5000
    if transport == 'websocket':
        assert 0 < number(r'upgrade +([\d.]+) ms\n', out) < 5000
    else:
        assert re.search(r'upgrade +none: the connection stays on polling', out)
    for kind in ('text', 'JSON', 'binary'):
        assert 0 < number(rf'{kind} ([\d.]+) ms', out) < 1000
    assert re.findall(r'connecting +(\d+) of (\d+)', out)[-1:] == [(str(clients), str(clients))]
    assert number(r'connected +([\d,]+) clients? in', out) == clients
    assert number(r'([\d,]+) per second', out) > 1
    assert 'idle ' in out
    messages = number(r'echoed +([\d,]+) messages', out)
    assert messages >= 3 * clients
    assert messages % clients == 0
    assert number(r'([\d,]+) round trips per second', out) > 10
    assert 0 < number(r'p50 ([\d.]+) ms', out) <= number(r'p99 ([\d.]+) ms', out) < 10000
    assert 1 <= number(r'CPU +([\d,]+) µs per round trip', out) < 10000
    assert number(r'disconnected +([\d,]+) clients? in', out) == clients
    if Path('/proc/self/fd').is_dir():
        assert re.search(r', 1 descriptor, ', out), out
        after = number(r'([\d,]+) descriptors open', out)
        assert after == number(r'open in this process, ([\d,]+) before the clients', out)
    if Path('/proc/self/smaps_rollup').exists() and sys.implementation.name == 'cpython':
        # A few clients may fit into memory that was free already. Many clients need more memory.
        memory = number(r'idle +([\d.]+) KiB', out)
        assert memory < 20 + 2000 / clients
        assert memory > 1 or clients < 400


def test_the_figures():
    code, out, err = demo('--clients', '400')
    assert (code, err) == (0, '')
    check_figures(out, 400)
    assert ', 0 greenlets per client' in out
    assert number(r'(\d+) greenlets in total', out) < 10
    # The server has ended, and the port is free.
    port = int(number(r'http://127\.0\.0\.1:(\d+) \(python-engineio', out))
    with socket.socket() as sock:
        assert sock.connect_ex(('127.0.0.1', port)) != 0


def test_against_a_served_demo():
    with serving() as (server, url):
        code, out, err = demo('--clients', '50', '--url', url)
        assert (code, err) == (0, '')
        check_figures(out, 50)
        assert f'{url} (given by --url)' in out
        server.send_signal(signal.SIGINT)
        assert server.communicate(timeout=TIMEOUT) == ('', '')
        assert server.returncode == 130


def test_by_polling():
    """Without a websocket a client needs no greenlet either, and the demo reports it."""
    with other_server(transports=['polling']) as (_, url):
        code, out, err = demo('--clients', '10', '--url', url)
    assert (code, err) == (0, '')
    check_figures(out, 10, transport='polling')
    assert ', 0 greenlets per client' in out


def test_it_ends_with_what_to_try_next():
    with serving() as (_, url):
        given = demo('--clients', '2', '--url', url)[1].split('\nTry next\n')[1]
    assert re.findall(r'^engineio-gevent (\w+) (\S+) {2,}\w', given, re.MULTILINE) == [
        ('connect', url),
        ('probe', url),
        ('load', url),
    ]
    own = demo('--clients', '2')[1].split('\nTry next\n')[1]
    commands = re.findall(r'^engineio-gevent (.+?) {2,}\w', own, re.MULTILINE)
    assert commands == [
        'demo --serve',
        *(f'{name} http://127.0.0.1:5000' for name in ('connect', 'probe', 'load')),
    ]


def test_one_client():
    code, out, err = demo('--clients', '1')
    assert (code, err) == (0, '')
    check_figures(out, 1)


def test_the_served_demo_changes_nothing():
    messages = ['{"a":  1}', '5', 'true', 'x' * 300000, 'ä\x00€', b'', bytes(range(256)) * 1000]
    for transport in ('polling', 'websocket'):
        received = Queue()
        with serving() as (_, url), engineio_gevent.Client(parse_json=False) as client:
            client.on('message', received.put)
            client.connect(url, transports=[transport])
            for message in messages:
                client.send(message)
            assert [received.get(timeout=10) for _ in messages] == messages


def test_python_engineio_is_in_the_server_alone():
    code, out, err = with_code(
        (
            '',
            'import socket\nprint([name for name in ("engineio", "simple_websocket") '
            'if name in sys.modules], socket.socket.__module__)',
        ),
        'demo',
        '--clients',
        '2',
    )
    assert (code, err) == (0, '')
    assert out.splitlines()[-1] == '[] socket'


# -- Failures -----------------------------------------------------------------------------------


def test_refused():
    with socket.socket() as sock:
        sock.bind(('127.0.0.1', 0))
        url = f'http://127.0.0.1:{sock.getsockname()[1]}'
        line = only_error(*demo('--url', url))
    assert f'cannot connect to {url}: connection refused: no server listens at ' in line
    assert f'Run "engineio-gevent probe {url}" for a diagnosis.' in line


def test_not_a_url():
    assert 'cannot connect to nonsense: URL must' in only_error(*demo('--url', 'nonsense'))


def test_a_server_that_does_not_echo():
    with other_server(echo=False) as (_, url):
        assert f'{url} did not send a message back within 3 seconds' in only_error(
            *demo('--url', url)
        )


def test_a_server_that_refuses_one_of_many():
    with other_server(connects=170) as (_, url):
        line = only_error(*demo('--url', url, '--clients', '40'))
    assert f'cannot connect to {url} after ' in line
    assert ' of 40 clients: Unexpected status code 401' in line


def test_a_server_that_dies():
    with other_server(messages=250) as (_, url):
        line = only_error(*demo('--url', url, '--clients', '10'))
    assert f'the connection of a client to {url} was lost: ' in line
    assert re.search('closed the connection|reset', line), 'no cause'


@pytest.mark.parametrize(
    ('missing', 'arguments'),
    [
        ('engineio', []),
        ('simple_websocket', []),
        ('engineio', ['--serve', '--port', '0']),
        ('simple_websocket', ['--serve', '--port', '0']),
    ],
)
def test_without_the_extra(missing, arguments):
    code, _, err = with_code((f'sys.modules[{missing!r}] = None', ''), 'demo', *arguments)
    assert code == 2
    assert err == (
        f'engineio-gevent: the package {missing!r} is missing. '
        "Run: pip install 'engineio-gevent[demo]'\n"
    )


@pytest.mark.parametrize(
    'arguments',
    [
        ['nonsense'],
        ['demo', '--clients', '0'],
        ['demo', '--clients', 'x'],
        ['demo', '--port', '5000'],
        ['demo', '--serve', '--port', '65536'],
        ['demo', '--serve', '--url', 'http://localhost'],
    ],
)
def test_wrong_arguments(arguments):
    code, out, err = run([*MODULE, *arguments])
    assert (code, out) == (2, '')
    assert 'Usage: engineio-gevent' in err
    assert 'Traceback' not in err


def test_help():
    code, out, err = run([*MODULE, '--help'])
    assert (code, err) == (0, '')
    assert re.search(r'^ +demo +\w', out, re.MULTILINE)
    code, out, err = run([*MODULE, 'demo', '--help'])
    assert (code, err) == (0, '')
    for expected in ('--clients', '--url', '--serve', '--port', 'engineio-gevent[demo]'):
        assert expected in out
    assert run([*MODULE, '--version'])[1] == f'engineio-gevent {engineio_gevent.__version__}\n'


def test_a_port_that_is_taken():
    with socket.socket() as sock:
        sock.bind(('127.0.0.1', 0))
        sock.listen()
        port = sock.getsockname()[1]
        line = only_error(*demo('--serve', '--port', str(port)))
    assert f'cannot listen on 127.0.0.1:{port}: Address already in use' in line


def limited(soft, hard):
    return lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_the_soft_limit_of_descriptors_is_raised():
    code, out, err = demo('--clients', '60', preexec_fn=limited(40, 2000))
    assert (code, err) == (0, '')
    check_figures(out, 60)


def test_the_hard_limit_of_descriptors():
    line = only_error(*demo('--clients', '60', preexec_fn=limited(40, 100)))
    assert 'open files are needed, but the limit is 100' in line


# -- The end ------------------------------------------------------------------------------------


@pytest.mark.parametrize('moment', ['server', 'echo', 'connecting', 'connected'])
def test_ctrl_c(moment):
    with started([*MODULE, 'demo', '--clients', '400']) as process:
        read_until(process, moment)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=TIMEOUT)
        assert err == ''
        assert process.returncode == 130


def test_ctrl_c_that_arrives_in_some_greenlet():
    """gevent would print a traceback if Python raised KeyboardInterrupt itself."""
    code, _, err = with_code(
        (
            'import gevent, os, signal\n'
            'gevent.spawn_later(0.3, os.kill, os.getpid(), signal.SIGINT)',
            '',
        ),
        'demo',
        '--clients',
        '2000',
    )
    assert (code, err) == (130, '')


def test_the_server_does_not_outlive_a_demo_that_is_killed():
    with started([*MODULE, 'demo', '--clients', '400']) as process:
        read_until(process, 'connecting')
        process.kill()
        process.communicate(timeout=TIMEOUT)
        assert process.returncode == -signal.SIGKILL


def test_the_server_of_a_demo_that_has_gone():
    reading, writing = os.pipe()
    os.close(reading)
    assert run(
        [sys.executable, '-m', 'engineio_gevent.cli.demonstration.server'],
        stdin=subprocess.DEVNULL,
        stdout=writing,
    ) == (0, None, '')
    os.close(writing)


def test_a_reader_that_leaves():
    with started([*MODULE, 'demo', '--clients', '5']) as process:
        process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == ''
        assert process.wait(TIMEOUT) == 1
    reading, writing = os.pipe()
    os.close(reading)
    assert demo('--serve', '--port', '0', stdout=writing) == (1, None, '')
    os.close(writing)


def test_on_a_terminal():
    terminal, other_end = pty.openpty()
    with started([*MODULE, 'demo', '--clients', '50'], stdout=other_end) as process:
        os.close(other_end)
        seen = b''
        # At the end Linux raises EIO.
        with contextlib.suppress(OSError), gevent.Timeout(TIMEOUT):
            while chunk := os.read(terminal, 65536):
                seen += chunk
        os.close(terminal)
        assert process.wait(TIMEOUT) == 0
    assert b'50 of 50' in seen
    assert b'\nconnecting' not in seen  # lines are for pipes
    assert b'\x1b[?25h' in seen[seen.rindex(b'\x1b[?25l') :], 'the cursor is still hidden'
    assert b'\x1b[38;5;30m' in seen  # the colour of labels in all commands
    plain = re.sub(r'\x1b\[[\d;?]*\w', '', seen.decode()).replace('\r', '')
    assert '50 clients in ' in plain
