"""Clients in gunicorn's gevent worker: it ends as it would without them, and they leave."""

import http.client
import json
import os
import re
import signal
import socket
import sys
import tempfile
import time

import gevent
import gevent.select
import gevent.socket
import pytest
from gevent import subprocess

import support

from .conftest import PROGRAMS

pytest.importorskip('gunicorn')

SIGNALS = ['SIGINT', 'SIGTERM', 'SIGQUIT', 'SIGHUP']
PLACES = 'import post_worker_init request'

FAREWELL = 1.0
"""Seconds by which clients may delay the end, whatever their server does."""

MARGIN = 1.0
"""Seconds for a busy machine, and for gunicorn, which looks once a second whether to end."""


class Gunicorn:
    """gunicorn with one gevent worker.

    :param url: of the Engine.IO server.
    :param places: where the application makes its clients, see `programs/gunicorn_app.py`.
    :param config: gunicorn's configuration, in `programs/`.
    :param app: the module of the application, in `programs/`.
    """

    def __init__(
        self,
        url,
        places,
        *options,
        config='gunicorn_conf.py',
        app='gunicorn_app',
        **environment,
    ):
        self._listener = socket.create_server(('127.0.0.1', 0))
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 (closed in kill)
        environment = {
            **os.environ,
            'URL': url,
            'PLACES': places,
            'PYTHONPATH': str(support.PROJECT),
            'LISTENER': str(self._listener.fileno()),
            **environment,
        }
        self.process = subprocess.Popen(
            [
                sys.executable,
                '-m',
                'gunicorn',
                '--config',
                PROGRAMS / config,
                '--pythonpath',
                PROGRAMS,
                *options,
                f'{app}:application',
            ],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=self._log,
            pass_fds=[self._listener.fileno()],
            start_new_session=True,
        )
        self._unheard = b''

    @property
    def log(self):
        size = os.fstat(self._log.fileno()).st_size
        return os.pread(self._log.fileno(), size, 0).decode()

    def log_lines(self, but=None):
        """The log's lines, sorted, without times, process identifiers and tracebacks.

        Whether there is a traceback depends on when a second signal arrives.

        :param but: leave out lines in which this pattern is found.
        """
        text = re.sub(r'^\[.*?\] \[\d+\] ', '', self.log, flags=re.MULTILINE)
        lines = re.sub(r'(?<=[ :(])\d{2,}\b', 'N', text).splitlines()
        kept = [line for line in lines if not (but and re.search(but, line))]
        return sorted(line for line in kept if line.startswith('['))

    def hear(self):
        """Wait for what a process says next."""
        stdout = self.process.stdout.fileno()
        while b'\n' not in self._unheard:
            gevent.select.select([stdout], [], [])
            chunk = os.read(stdout, 65536)
            assert chunk, f'gunicorn has ended:\n{self.log}'
            self._unheard += chunk
        line, _, self._unheard = self._unheard.partition(b'\n')
        return json.loads(line)

    def get(self, path='/'):
        """A request to the application; its answer."""
        connection = http.client.HTTPConnection('127.0.0.1')
        connection.sock = gevent.socket.create_connection(self._listener.getsockname())
        try:
            connection.request('GET', path, headers={'Connection': 'close'})
            return json.loads(connection.getresponse().read())
        finally:
            connection.close()

    def boot(self):
        """Wait for a worker, ask it for its clients: (process identifier, sids)."""
        told, pid = self.hear()
        assert told == 'worker'
        answer = self.get()
        assert answer['pid'] == pid
        return pid, answer['sids']

    def kill(self):
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        self.process.stdout.close()
        self._log.close()
        self._listener.close()


@pytest.fixture
def gunicorn():
    """Start a `Gunicorn`."""
    started = []

    def start(*args, **kwargs):
        started.append(Gunicorn(*args, **kwargs))
        return started[-1]

    yield start
    for one in started:
        one.kill()


def is_running(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def strike(gunicorn, target, name):
    """Send a signal and wait for its effect.

    :returns: the process identifier of the next worker or None, the sids of its clients, the
              seconds that the end of the process took which the signal was meant for.
    """
    pid, sids = gunicorn.boot()
    number = getattr(signal, name)
    began = time.monotonic()
    if target == 'worker':
        os.kill(pid, number)
    elif target == 'master':
        os.kill(gunicorn.process.pid, number)
    else:
        os.killpg(gunicorn.process.pid, number)
    if target == 'worker' or name == 'SIGHUP':
        assert support.eventually(lambda: not is_running(pid), 15), 'the worker does not end'
        took = time.monotonic() - began
        gunicorn.boot()  # another one takes its place
        os.kill(gunicorn.process.pid, signal.SIGQUIT)
        assert support.eventually(lambda: gunicorn.process.poll() is not None, 15)
    else:
        assert support.eventually(lambda: gunicorn.process.poll() is not None, 15)
        took = time.monotonic() - began
    assert not is_running(pid)
    return sids, took


@pytest.mark.parametrize('name', SIGNALS)
@pytest.mark.parametrize('target', ['worker', 'master', 'group'])
def test_signal(js_server, gunicorn, target, name):
    """The exit code, the log and the time are those of a run without clients."""
    runs = [gunicorn(js_server.url, places) for places in ('', PLACES)]
    greenlets = [gevent.spawn(strike, run, target, name) for run in runs]
    (_, normal_time), (sids, took) = [greenlet.get() for greenlet in greenlets]
    without, with_clients = runs
    assert with_clients.process.returncode == without.process.returncode
    # A signal to the group ends the worker, and has the master end or replace it. Which comes first
    # decides whether gunicorn replaces it once or twice, and whether the master's signal kills a
    # worker that does not handle it yet, or no more.
    lines = set if (target, name) == ('group', 'SIGHUP') else list
    killed = r'was sent SIG\w+!' if target == 'group' else None
    assert lines(with_clients.log_lines(but=killed)) == lines(without.log_lines(but=killed))
    assert 'engineio_gevent' not in with_clients.log
    assert took < normal_time + FAREWELL + support.patience(MARGIN)
    assert len(sids) == 9
    for sid in sids:
        js_server.close_reason(sid)


# SIGINT to the group reaches a worker twice, and the second one cuts worker_exit short.
@pytest.mark.parametrize(
    ('target', 'name'), [('worker', 'SIGINT'), ('worker', 'SIGTERM'), ('group', 'SIGTERM')]
)
def test_orderly_farewell(python_server, gunicorn, target, name):
    """If the application disconnects its clients in worker_exit."""
    run = gunicorn(python_server.url, 'import', FAREWELL='1')
    sids, _ = strike(run, target, name)
    assert len(sids) == 3
    assert [python_server.close_reason(sid) for sid in sids] == ['client disconnect'] * 3


@pytest.mark.parametrize('name', ['SIGINT', 'SIGTERM', 'SIGQUIT'])
def test_worker_of_a_dead_server(make_js_server, gunicorn, name):
    """It ends in time even where nobody answers the clients."""
    server = make_js_server()
    runs = [gunicorn(server.url, places) for places in ('', 'import')]
    pids = [run.boot()[0] for run in runs]
    server.suspend()
    try:
        ends = []
        for pid in pids:
            began = time.monotonic()
            os.kill(pid, getattr(signal, name))
            assert support.eventually(lambda pid=pid: not is_running(pid), 15)
            ends.append(time.monotonic() - began)
    finally:
        server.resume()
    assert ends[1] < ends[0] + FAREWELL + support.patience(MARGIN)


def test_preload(js_server, gunicorn):
    """Clients connected before the fork are the master's; the worker is told, and no harm done."""
    run = gunicorn(js_server.url, 'import', '--preload')
    pid, _ = run.boot()
    answer = run.get('/inherited')
    for call in ('ask', 'wait', 'connect'):
        assert len(answer[call]) == 3
        for error in answer[call]:
            assert error.startswith('RuntimeError: ')
            assert 'before the process forked' in error
    assert answer['disconnect'] == [None] * 3
    assert answer['own'] == 'hello'
    os.kill(pid, signal.SIGQUIT)
    assert run.hear() == ['master', ['hello'] * 3]
    assert run.hear()[0] == 'worker'
    os.kill(run.process.pid, signal.SIGTERM)
    assert support.eventually(lambda: run.process.poll() is not None, 15)
    assert run.process.returncode == 0
    assert 'Traceback' not in run.log


@pytest.mark.parametrize('patch', ['late', 'early'])
def test_preload_of_requests(js_server_tls, certificates, gunicorn, patch):
    """An application that the master has imported unpatched: the error says what to do."""
    run = gunicorn(
        js_server_tls.url,
        '',
        config='preload_conf.py',
        app='preloaded_app',
        REQUESTS_CA_BUNDLE=certificates.ca,
        PATCH=patch,
    )
    answer = run.get()
    error = (
        f'{js_server_tls.netloc}: requests cannot use TLS (RecursionError), because it was '
        'imported before ssl was monkey-patched. Call gevent.monkey.patch_all() before any other '
        'import; with gunicorn, at the top of gunicorn.conf.py'
    )
    late = patch == 'late'
    assert answer == {
        'own connections': 'websocket',
        'session': error if late else 'websocket',
        'session, polling': error if late else 'polling',
        'session, websocket': 'websocket',
        'websocket-client': 'websocket',
    }
    assert ('MonkeyPatchWarning' in run.log) == late
