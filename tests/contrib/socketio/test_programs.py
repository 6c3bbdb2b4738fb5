"""Programs of their own: monkey-patched ones, and Ctrl-C."""

import os
import signal
import sys
import textwrap
from pathlib import Path

import gevent.subprocess
import pytest

import engineio_gevent

PROJECT = Path(engineio_gevent.__file__).parent.parent


class Program:
    """A Python program; it is given the URL, and what it prints is heard line by line."""

    def __init__(self, source, url):
        path = os.pathsep.join(filter(None, [str(PROJECT), os.environ.get('PYTHONPATH')]))
        self.process = gevent.subprocess.Popen(
            [sys.executable, '-W', 'error', '-c', textwrap.dedent(source), url],
            env={**os.environ, 'PYTHONPATH': path},
            text=True,
            stdout=gevent.subprocess.PIPE,
            stderr=gevent.subprocess.PIPE,
        )

    def hear(self, line):
        """Wait for a line, which has to be this one."""
        heard = self.process.stdout.readline()
        assert heard == f'{line}\n', heard + self.process.stderr.read()

    def end(self, quiet=True):
        """Wait for the end: the status, and what has been printed since."""
        said, complaints = self.process.communicate(timeout=20)
        assert not (quiet and complaints)
        return self.process.returncode, said.splitlines()


@pytest.fixture
def start():
    """Start a `Program`."""
    programs = []

    def start(source, url):
        programs.append(Program(source, url))
        return programs[-1]

    yield start
    for program in programs:
        if program.process.poll() is None:
            program.process.kill()
        program.process.wait()
        program.process.stdout.close()
        program.process.stderr.close()


TALK = """
    import sys, threading, time
    from engineio_gevent.contrib.socketio import Client, SimpleClient

    sio = Client(reconnection_delay=0.05, reconnection_delay_max=0.1)
    back = sio.eio.create_event()
    connects = []

    @sio.event
    def connect():
        connects.append(sio.eio.sid)
        if len(connects) == 2:
            back.set()

    sio.connect(sys.argv[1], transports=['websocket'])
    print(sio.call('echo', ('one', b'two')))
    sio.emit('drop')
    print(back.wait(10), connects[0] != connects[1])
    while not sio.connected:
        sio.sleep(0.01)
    print(sio.call('echo', 'three'))
    sio.start_background_task(sio.disconnect)
    sio.wait()
    with SimpleClient() as simple:
        simple.connect(sys.argv[1])
        simple.emit('echo', b'four')
        print(simple.receive(timeout=10))
"""

TALKED = ["('one', b'two')", 'True True', 'three', "['echo', b'four']"]


@pytest.mark.parametrize(
    'patch', ['', 'from gevent import monkey; monkey.patch_all()'], ids=['unpatched', 'patched']
)
def test_with_and_without_patches(server, start, patch):
    assert start(patch + textwrap.dedent(TALK), server.url).end() == (0, TALKED)


LEAVE = """
    import signal, sys, time
    # a test run in the background ignores SIGINT, and its children do, too
    signal.signal(signal.SIGINT, signal.default_int_handler)
    from engineio_gevent.contrib.socketio import Client

    sio = Client(reconnection_delay=60, reconnection_delay_max=60)

    @sio.event
    def disconnect(reason):
        print(reason, flush=True)
        if reason == 'transport error':
            sio.start_background_task(rest)

    def rest():
        sio.sleep(0.2)
        print('at rest', flush=True)

    @sio.event
    def __disconnect_final():
        print('final', flush=True)

    sio.connect(sys.argv[1], transports=['websocket'])
    print('connected', flush=True)
    try:
        sio.wait()
    except KeyboardInterrupt:
        print('interrupted', flush=True)
"""


def test_ctrl_c_leaves_the_server(make_server, start):
    server = make_server()
    program = start(LEAVE, server.url)
    program.hear('connected')
    program.process.send_signal(signal.SIGINT)
    assert program.end() == (0, ['client disconnect', 'final', 'interrupted'])
    server.wait_count(0)


def test_ctrl_c_ends_reconnecting(make_server, start):
    server = make_server()
    program = start(LEAVE + REST, server.url)
    program.hear('connected')
    server.kill()
    program.hear('transport error')
    program.hear('at rest')
    program.process.send_signal(signal.SIGINT)
    # raised in the hub, which tells so before the main greenlet gets it
    status, said = program.end(quiet=False)
    assert status == 0
    assert said == ['interrupted', 'final', 'ended']


REST = """
    sio._reconnect_task.join()
    print('ended')
"""


def test_the_handler_of_somebody_else_stays(start):
    """python-socketio's client would replace it when it is made."""
    program = start(
        """
        import signal
        signal.signal(signal.SIGINT, signal.default_int_handler)
        import gevent
        from engineio_gevent.contrib.socketio import Client

        watcher = gevent.signal_handler(signal.SIGINT, print, 'theirs', flush=True)
        Client()
        print('ready', flush=True)
        gevent.sleep(60)
        """,
        '',
    )
    program.hear('ready')
    program.process.send_signal(signal.SIGINT)
    program.hear('theirs')


CONFIGURED = """
    import logging.config, sys
    from engineio_gevent.contrib.socketio import Client

    class Tell(logging.Handler):
        def emit(self, record):
            print(record.name, record.getMessage(), record.exc_info[1], flush=True)

    sio = Client(reconnection=False)

    @sio.event
    def number(number):
        raise ValueError('an event')

    @sio.event
    def disconnect(reason):
        raise ValueError(reason)

    def answered(*data):
        raise ValueError('an acknowledgement')

    # It disables all loggers: python-socketio's and this package's.
    logging.config.dictConfig({'version': 1})
    logging.getLogger().addHandler(Tell())
    sio.connect(sys.argv[1], transports=['websocket'])
    sio.emit('numbers', 1)
    sio.emit('echo', callback=answered)
    sio.call('echo')
    sio.disconnect()
    sio.wait()
    print(sio.connected)
"""


def test_errors_in_handlers_are_logged_whatever_dictconfig_has_disabled(server, start):
    assert start(CONFIGURED, server.url).end() == (
        0,
        [
            'engineio_gevent.client message handler error an event',
            'engineio_gevent.client message handler error an acknowledgement',
            'engineio_gevent.client disconnect handler error client disconnect',
            'False',
        ],
    )


PATCHED_LATE = """
    import sys, warnings
    import requests, socketio
    from engineio_gevent.contrib.socketio import Client
    from gevent import monkey

    warnings.simplefilter('ignore')  # gevent's, of exactly that
    monkey.patch_all()
    sio = Client(http_session=requests.Session())
    try:
        sio.connect(sys.argv[1])
    except socketio.exceptions.ConnectionError as exc:
        print(exc)
"""


def test_requests_imported_before_patching(make_server, start, certificates):
    server = make_server(tls=certificates.tls)
    code, (line,) = start(PATCHED_LATE, server.url).end()
    assert code == 0
    assert line.startswith(f'{server.netloc}: requests cannot use TLS (RecursionError)')
    assert 'Call gevent.monkey.patch_all() before any other import' in line
