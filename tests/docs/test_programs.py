"""The programs of the pages on uWSGI, Celery, Django, pywsgi and worker processes.

They start, reload and stop as the tables of their pages say. Nothing is simulated.
"""

import contextlib
import http.client
import importlib.util
import os
import re
import signal
import sys
from pathlib import Path

import gevent
import gevent.socket
import pytest
from gevent import subprocess

import support

from .test_blocks import ROOT, blocks

pytestmark = pytest.mark.time_limit(120)

#: Seconds for a program to start, or to end, on an idle machine.
LONG = 40

CLEAN = 'client disconnect'

#: What takes long in a program: it says that it runs, and waits until the test releases it.
HOLD = """
import os

import gevent


def hold():
    if not os.path.exists('released'):
        open('running', 'w').close()
    while not os.path.exists('released'):
        gevent.sleep(0.01)
"""


class Running:
    """The files of a page, and the program that its command starts.

    :param changes: {text: what replaces it in the files}.
    """

    def __init__(self, folder, page, server, command, changes, **environment):
        self.folder = folder
        self.server = server
        self._requests = []
        self._asking = []
        self.port = support.free_port()
        self.page = blocks(f'docs/how-to/{page}.md')
        files = {'hold.py': HOLD}
        for block in self.page:
            if block.how.startswith('file '):
                text = block.text.replace('http://127.0.0.1:5000', server.url)
                text = text.replace('127.0.0.1:8000', f'127.0.0.1:{self.port}')
                files[block.how.removeprefix('file ')] = text
        for old, new in changes.items():
            assert any(old in text for text in files.values()), old
            files = {name: text.replace(old, new) for name, text in files.items()}
        for name, text in files.items():
            (folder / name).write_text(text)
        self.environment = {
            **os.environ,
            'PYTHONPATH': f'{folder}{os.pathsep}{ROOT}',  # Celery loads tasks.py without its folder
            'PATH': f'{Path(sys.executable).parent}{os.pathsep}{os.environ["PATH"]}',
            **environment,
        }
        with open(folder / 'log', 'w') as log:
            # gevent's: where a test has used that, the standard library's get no exit codes.
            self.process = subprocess.Popen(
                command.split(),
                cwd=folder,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    @property
    def log(self):
        return (self.folder / 'log').read_text()

    def connected(self, count):
        """Wait until the server has this many clients; their sids."""
        self.server.wait_count(count, LONG)
        return set(self.server.control('clients')['ids'])

    def file(self, name):
        """Wait for a file in the program's folder."""
        assert support.eventually((self.folder / name).exists, LONG), self.log

    def release(self):
        (self.folder / 'released').touch()

    def hold(self):
        """After `release()`: hold the next one."""
        (self.folder / 'released').unlink()

    def logs(self, text):
        """Wait for a text in the log."""
        assert support.eventually(lambda: text in self.log, LONG), self.log

    def kill(self, name):
        """Send a signal to the program's first process."""
        self.process.send_signal(getattr(signal, name))

    def request(self):
        """Send a request; the connection, whose `getresponse()` waits."""
        connection = http.client.HTTPConnection('127.0.0.1', self.port)
        address = ('127.0.0.1', self.port)

        def connect():
            with contextlib.suppress(OSError):
                connection.sock = gevent.socket.create_connection(address)
            return connection.sock

        assert support.eventually(connect, LONG), self.log
        self._requests.append(connection)
        connection.request('GET', '/', headers={'Connection': 'close'})
        return connection

    def asks(self):
        """Start the Celery page's `ask.py`, which waits for the result of a task."""
        asking = subprocess.Popen(
            [sys.executable, 'ask.py'],
            cwd=self.folder,
            env=self.environment,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        self._asking.append(asking)
        return asking

    def code(self):
        """Wait for the end; the exit code."""
        assert support.eventually(lambda: self.process.poll() is not None, LONG), self.log
        return self.process.returncode

    def reasons(self, count):
        """Wait until this many connections have ended at the server; their reasons."""
        assert support.eventually(lambda: len(self.server.control('closed')) >= count, LONG)
        return [reason for _, reason in self.server.control('closed')]

    def stop(self):
        with contextlib.suppress(ProcessLookupError):  # it has ended, with all its children
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        for connection in self._requests:
            connection.close()
        for asking in self._asking:
            asking.kill()
            asking.communicate()


@pytest.fixture
def start(tmp_path, make_python_server):
    """Start a `Running`: `start(page, command, changes, server={...}, **environment)`."""
    running = []

    def run(page, command, changes=(), server=(), **environment):
        server = make_python_server(**dict(server))
        running.append(Running(tmp_path, page, server, command, dict(changes), **environment))
        return running[-1]

    yield run
    for one in running:
        one.stop()


def need(module, package):
    if importlib.util.find_spec(module) is None:
        support.missing(package, f'pip install {package}')


HELD_REQUEST = {'    status = ': '    import hold; hold.hold()\n    status = '}
STOPS = ['SIGTERM', 'SIGINT']
each_stop = pytest.mark.parametrize('name', STOPS)


# -- uWSGI --------------------------------------------------------------------------------------


LAZY = {
    'master = true': 'master = true\nlazy-apps = true\ntouch-chain-reload = reload',
    'def application': 'connect()\n\n\ndef application',
}


@pytest.fixture
def uwsgi(start):
    """Start uWSGI, and wait until each worker has answered: signals before that are lost."""
    need('pyuwsgi', 'pyuwsgi')

    def run(changes=(), command='uwsgi', **options):
        program = start('uwsgi', f'{command} --ini uwsgi.ini', changes, **options)
        program.release()
        program.connected(2)
        while len(set(re.findall(r'^\[pid: (\d+)', program.log, re.MULTILINE))) < 2:
            assert program.request().getresponse().status == 200
        program.hold()
        return program

    return run


def test_uwsgi_finishes_requests_at_sigterm(uwsgi):
    program = uwsgi(HELD_REQUEST)
    request = program.request()
    program.file('running')
    program.kill('SIGTERM')
    assert program.reasons(1) == [CLEAN]  # of the worker without a request
    assert program.connected(1)
    program.release()
    assert request.getresponse().status == 200
    assert program.code() == 0
    assert program.reasons(2) == [CLEAN, CLEAN]


def test_uwsgi_cuts_requests_at_sigint(uwsgi):
    program = uwsgi(HELD_REQUEST)
    request = program.request()
    program.file('running')
    os.killpg(program.process.pid, signal.SIGINT)  # as Ctrl-C does
    with pytest.raises((ConnectionError, http.client.HTTPException)):
        request.getresponse()
    assert program.code() == 0
    assert program.reasons(2) == [CLEAN, CLEAN]


def test_uwsgi_reloads_at_sighup(uwsgi):
    # A command `uwsgi` that was compiled needs no `binary-path`, `pyuwsgi` does.
    options = f'master = true\nbinary-path = {sys.executable}'
    program = uwsgi({'master = true': options}, command='pyuwsgi')
    before = program.connected(2)
    program.kill('SIGHUP')
    assert program.reasons(2) == [CLEAN, CLEAN]
    assert program.request().getresponse().status == 200  # it waits until uWSGI is back
    assert not before & program.connected(2)


def test_uwsgi_reloads_one_worker_after_another(uwsgi):
    program = uwsgi(LAZY)
    before = program.connected(2)
    (program.folder / 'reload').touch()
    counts = set()

    def all_are_new():
        clients = program.server.control('clients')
        counts.add(clients['count'])
        return clients['count'] == 2 and not before & set(clients['ids'])

    assert support.eventually(all_are_new, LONG), program.log
    assert min(counts) == 1
    assert program.reasons(2) == [CLEAN, CLEAN]


def test_uwsgi_without_the_gevent_loop_misses_heartbeats(start):
    need('pyuwsgi', 'pyuwsgi')
    program = start(
        'uwsgi',
        'uwsgi --ini uwsgi.ini',
        {'gevent = 100\n': '', 'gevent-early-monkey-patch = true\n': ''},
        server={'pingInterval': 1000, 'pingTimeout': 1000},
    )
    assert program.request().getresponse().status == 200
    assert program.reasons(1) == ['ping timeout']


# -- Celery -------------------------------------------------------------------------------------


@pytest.fixture
def celery(start, tmp_path):
    need('celery', 'celery')
    commands = [block.text for block in blocks('docs/how-to/celery.md')]
    made = next(text for text in commands if text.startswith('$ mkdir '))
    for name in made.split()[2:]:
        (tmp_path / name).mkdir()
    (worker,) = re.findall(r'\$ (celery .*)', '\n'.join(commands))
    return lambda *changes: start('celery', worker, *changes)


def answer(asking):
    out, err = asking.communicate(timeout=support.patience(LONG))
    assert asking.returncode == 0, err
    return out


HELD_TASK = {
    'gevent.Timeout(5,': 'gevent.Timeout(1000,',
    'get(timeout=30)': 'get(timeout=1000)',
    "            eio.send({'ref'": '            import hold; hold.hold()\n            '
    "eio.send({'ref'",
}


@pytest.mark.parametrize(('name', 'code'), [('SIGTERM', 0), ('SIGINT', 1)])
def test_celery_finishes_tasks(celery, name, code):
    program = celery(HELD_TASK)
    program.connected(1)
    asking = program.asks()
    program.file('running')
    program.kill(name)
    program.logs('Warm shutdown')
    assert program.connected(1)
    program.release()
    assert "'question': 'time'" in answer(asking)
    assert program.code() == code
    assert program.reasons(1) == [CLEAN]


def test_celery_loses_tasks_at_sigquit(celery):
    program = celery(HELD_TASK)
    program.connected(1)
    program.asks()
    program.file('running')
    program.kill('SIGQUIT')
    assert program.code() in (0, 1)  # Celery's own code depends on where the signal finds it
    (reason,) = program.reasons(1)
    assert reason in (CLEAN, 'transport close')  # and so does whether the client disconnects


def test_celery_restarts_at_sighup(celery):
    program = celery()
    before = program.connected(1)
    program.kill('SIGHUP')
    assert program.reasons(1) == [CLEAN]
    assert not before & program.connected(1)
    program.kill('SIGTERM')
    assert program.code() == 0


def test_celery_runs_a_task_again_whose_connection_was_lost(celery):
    program = celery(HELD_TASK)
    program.connected(1)
    asking = program.asks()
    program.file('running')
    program.server.kill()
    program.logs('disconnected: ')
    program.release()
    program.logs('Retry in ')
    program.server.restart()
    assert "'question': 'time'" in answer(asking)


# -- Django -------------------------------------------------------------------------------------


@pytest.fixture
def django(start):
    need('django', 'django')
    need('gunicorn', 'gunicorn')
    return lambda *changes: start('django', 'gunicorn project', *changes)


def test_django_finishes_requests_at_sigterm(django):
    program = django(HELD_REQUEST)
    program.connected(2)
    request = program.request()
    program.file('running')
    program.kill('SIGTERM')
    assert program.reasons(1) == [CLEAN]  # of the worker without a request
    program.release()
    assert request.getresponse().status == 200
    assert program.code() == 0
    assert program.reasons(2) == [CLEAN, CLEAN]


def test_django_cuts_requests_at_sigint(django):
    program = django(HELD_REQUEST)
    program.connected(2)
    request = program.request()
    program.file('running')
    program.kill('SIGINT')
    with pytest.raises((ConnectionError, http.client.HTTPException)):
        request.getresponse()
    assert program.code() == 0
    assert program.reasons(2) == [CLEAN, CLEAN]


def test_django_reloads(django):
    program = django()
    before = program.connected(2)
    program.kill('SIGHUP')
    assert program.reasons(2) == [CLEAN, CLEAN]
    assert not before & program.connected(2)


def test_django_logs_and_closes_connections_to_the_database(django):
    failing = '    try:\n        with db.connection'
    program = django(
        {failing: f'    if latest: raise ValueError(data)\n{failing}', 'workers = 2': 'workers = 1'}
    )
    (sid,) = program.connected(1)
    program.logs('INFO feed: connected to ')
    assert support.eventually(lambda: program.server.received(sid), LONG)
    response = program.request().getresponse()
    assert (response.status, response.read()) == (
        200,
        b'{"state": "connected", "message": "HELLO"}',
    )
    worker = int(re.search(r'Booting worker with pid: (\d+)', program.log)[1])
    assert not [name for name in open_files(worker) if 'db.sqlite3' in name]


def open_files(pid):
    folder = Path(f'/proc/{pid}/fd')
    return [os.readlink(entry) for entry in folder.iterdir()]


# -- pywsgi -------------------------------------------------------------------------------------


@each_stop
def test_pywsgi_finishes_requests(start, name):
    program = start('pywsgi', 'python server.py', HELD_REQUEST)
    program.connected(1)
    request = program.request()
    program.file('running')
    program.kill(name)
    program.logs('INFO stopping')
    assert program.connected(1)
    program.release()
    assert request.getresponse().status == 200
    assert program.code() == 0
    assert program.reasons(1) == [CLEAN]


# -- A worker process ---------------------------------------------------------------------------


HELD_JOB = {'gevent.sleep(0.1)  # your work': 'import hold; hold.hold()'}


@pytest.fixture
def worker(start):
    return lambda *changes, **options: start('worker', 'python worker.py', *changes, **options)


@each_stop
def test_a_worker_finishes_jobs(worker, name):
    program = worker(HELD_JOB)
    (sid,) = program.connected(1)
    program.file('running')
    program.kill(name)
    program.logs('INFO stopping')
    program.release()
    assert program.code() == 0
    assert '{"result":"first is done"}' in program.server.received(sid)
    assert program.reasons(1) == [CLEAN]


def test_the_log_of_a_worker(worker):
    program = worker()
    program.logs('job done')
    program.kill('SIGINT')
    assert program.code() == 0
    assert program.log in [block.text for block in program.page]


def test_a_worker_does_not_wait_for_jobs_forever(worker):
    program = worker(HELD_JOB, GRACE='0.1')
    program.file('running')
    program.kill('SIGTERM')
    assert program.code() == 1, program.log
    assert program.reasons(1) == [CLEAN]


def test_a_second_signal_ends_a_worker_at_once(worker):
    program = worker(HELD_JOB, GRACE='1000')
    program.file('running')
    program.kill('SIGTERM')
    program.logs('INFO stopping')
    program.kill('SIGINT')
    assert program.code() == 1, program.log
    assert CLEAN not in dict(program.server.control('closed')).values()


def test_a_worker_reconnects(worker):
    program = worker()
    program.connected(1)
    program.server.kill()
    program.logs('WARNING disconnected: ')
    program.logs('WARNING not connected: ')
    program.server.restart()
    program.connected(1)
    program.kill('SIGTERM')
    assert program.code() == 0


def test_a_worker_stops_without_a_server(worker):
    program = worker(URL=f'http://127.0.0.1:{support.free_port()}')
    program.logs('WARNING not connected: ')
    program.kill('SIGTERM')
    assert program.code() == 0


def test_a_worker_whose_settings_are_wrong_ends(worker):
    program = worker(URL='http://')
    assert program.code() == 1, program.log
    assert 'ValueError' in program.log
