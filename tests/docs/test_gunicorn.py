"""The programs of the page on gunicorn, in real gunicorn, while servers and workers come and go."""

import contextlib
import http.client
import importlib.util
import json
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

pytest.importorskip('flask')
pytest.importorskip('gunicorn')

HOW_TO = Path(__file__).resolve().parents[2] / 'docs' / 'how-to'
CONNECTED = (200, {'state': 'connected'})
PATIENCE = 30
"""Seconds that anything may take on a busy machine."""


def programs(page):
    """The files of a page by name; of those with the same name the last one."""
    text = (HOW_TO / page).read_text()
    return dict(re.findall(r'<!-- test: file (\S+) -->\n```python\n(.*?)```', text, re.DOTALL))


def recipes():
    """The programs of the page on gunicorn, with the patience that a busy machine needs."""
    files = programs('gunicorn.md')
    for name, wait, longer in (
        ('feed.py', 'timeout=5', 'timeout=600'),
        ('gunicorn.conf.py', 'timeout=10', 'timeout=100'),
    ):
        assert files[name].count(wait) == 1
        files[name] = files[name].replace(wait, longer)
    return files


class Gunicorn:
    """gunicorn in a folder with its programs.

    :param folder: where it is started.
    :param files: the programs, by name.
    :param url: the Engine.IO server, in place of that of the page.
    :param options: of gunicorn's command.
    """

    def __init__(self, folder, files, url, *options):
        self._port = support.free_port()
        for name, text in files.items():
            for old, new in (
                ('http://127.0.0.1:5000', url),
                ('127.0.0.1:8001', f'127.0.0.1:{self._port}'),
                ('engineio_gevent.Client()', 'engineio_gevent.Client(request_timeout=60)'),
            ):
                text = text.replace(old, new)
            (folder / name).write_text(text)
        with (folder / 'gunicorn.conf.py').open('a') as conf:
            # The default path of the control socket is shared by all gunicorns of a user.
            conf.write('\ncontrol_socket_disable = True\n')
        self._log = folder / 'log'
        with self._log.open('w') as log:
            self._process = subprocess.Popen(
                [sys.executable, '-m', 'gunicorn', '--timeout=200', *options],
                cwd=folder,
                env={**os.environ, 'PYTHONPATH': str(support.PROJECT)},
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    @property
    def log(self):
        return self._log.read_text()

    @property
    def booted(self):
        """The process identifiers of all workers so far."""
        return [int(pid) for pid in re.findall(r'Booting worker with pid: (\d+)', self.log)]

    @property
    def ended(self):
        """Those of the workers that have ended."""
        return [int(pid) for pid in re.findall(r'Worker exiting \(pid: (\d+)\)', self.log)]

    def ask(self, path):
        """GET; the status and the JSON of the response. Cooperative."""
        with contextlib.closing(http.client.HTTPConnection('127.0.0.1')) as connection:
            connection.sock = gevent.socket.create_connection(('127.0.0.1', self._port))
            connection.request('GET', path, headers={'Connection': 'close'})
            response = connection.getresponse()
            return response.status, json.loads(response.read())

    def answers(self, path='/health', answer=CONNECTED):
        """Wait until a request is answered like that."""

        def answered():
            with contextlib.suppress(OSError, http.client.HTTPException):
                return self.ask(path) == answer

        self.until(answered)

    def until(self, condition):
        """Wait until something is so."""
        assert support.eventually(condition, PATIENCE), self.log

    def reload(self):
        self._process.send_signal(signal.SIGHUP)

    def kill(self):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()


@pytest.fixture
def start(tmp_path):
    """Start a `Gunicorn`: `start(files, url, *options)`."""
    started = []

    def start(files, url, *options):
        started.append(Gunicorn(tmp_path, files, url, *options))
        return started[-1]

    yield start
    for one in started:
        one.kill()


@pytest.fixture
def slow_road(hostile_server):
    """`slow_road(server)`: a URL of the server at which each connection begins half a second late.

    A worker that took requests before it is connected would fail many.
    """

    def make(server):
        def forward(sock):
            gevent.sleep(0.5)
            with gevent.socket.create_connection(('127.0.0.1', server.port)) as there:
                back = gevent.spawn(pump, there, sock)
                try:
                    pump(sock, there)
                finally:
                    back.kill()

        return hostile_server(forward).url

    return make


def pump(here, there):
    """Send to one socket what comes from another."""
    with contextlib.suppress(OSError):
        while data := here.recv(1 << 16):
            there.sendall(data)
        there.shutdown(gevent.socket.SHUT_WR)


class Questions:
    """Requests without a pause; what is left of them is their answers."""

    def __init__(self, gunicorn):
        self.answered = 0
        #: The answers that are not what was asked for.
        self.wrong = []
        self._gunicorn = gunicorn
        self._asking = True
        self._greenlets = [gevent.spawn(self._ask) for _ in range(4)]

    def _ask(self):
        while self._asking:
            status, answer = self._gunicorn.ask('/ask/time')
            if (status, answer.get('question')) == (200, 'time'):
                self.answered += 1
            else:
                self.wrong.append((status, answer))

    def more(self):
        """Wait until more of them are answered."""
        goal = self.answered + 20
        self._gunicorn.until(lambda: self.answered >= goal)

    def end(self):
        self._asking = False
        gevent.joinall(self._greenlets, raise_error=True)


# -- The recipes --------------------------------------------------------------------------------


def test_requests_in_flight_fail_when_the_server_dies(start, make_js_server):
    server = make_js_server()
    gunicorn = start(recipes(), f'{server.url}?tag=silent', 'app:app')
    gunicorn.until(lambda: server.count() == 2)
    asked = [gevent.spawn(gunicorn.ask, f'/ask/{number}') for number in range(8)]

    def questions():
        tagged = server.control('tagged?tag=silent')
        return sum(len(client['received']) for client in tagged)

    gunicorn.until(lambda: questions() == 8)  # and to one with a tag the server answers nothing
    server.kill()
    # Without the handler each of them waits for its own timeout, and gets status 504.
    lost = 503, {'error': 'the connection ended before the answer arrived'}
    assert [one.get() for one in asked] == [lost] * 8
    gunicorn.answers('/ask/time', (503, {'error': 'not connected to the server'}))
    server.restart()
    gunicorn.until(lambda: server.count() == 2)
    gunicorn.answers()


def test_a_reload_fails_no_request(start, make_js_server, slow_road):
    server = make_js_server()
    gunicorn = start(recipes(), slow_road(server), 'app:app')
    gunicorn.until(lambda: server.count() == 2)
    old = gunicorn.booted
    questions = Questions(gunicorn)
    questions.more()
    gunicorn.reload()
    gunicorn.until(lambda: len(gunicorn.booted) == 4 and {*gunicorn.ended} == {*old})
    gunicorn.until(lambda: server.count() == 2)
    questions.more()
    questions.end()
    assert questions.wrong == []


@pytest.mark.parametrize('workers', [1, 2])
def test_a_renewal_fails_no_request(start, make_js_server, slow_road, workers):
    server = make_js_server()
    gunicorn = start(
        recipes(), slow_road(server), f'--workers={workers}', '--max-requests=20', 'app:app'
    )
    gunicorn.until(lambda: server.count() == workers)
    questions = Questions(gunicorn)
    gunicorn.until(lambda: len(gunicorn.booted) >= workers + 2)
    questions.more()
    questions.end()
    assert questions.wrong == []


def test_a_worker_waits_no_longer_than_its_timeout(start, make_js_server):
    server = make_js_server()
    server.kill()
    files = recipes()
    conf = files['gunicorn.conf.py'].replace('timeout=100', 'timeout=0.5')
    gunicorn = start({**files, 'gunicorn.conf.py': conf}, server.url, 'app:app')
    gunicorn.answers('/ask/time', (503, {'error': 'not connected to the server'}))
    server.restart()
    gunicorn.answers()


# -- A client that is connected when it is first needed -----------------------------------------

ON_DEMAND = """
import json

import on_demand


def application(environ, start_response):
    if environ['PATH_INFO'] == '/connect':
        on_demand.ensure_connected('http://127.0.0.1:5000')
    start_response('200 OK', [('Content-Type', 'application/json')])
    return [json.dumps({'state': on_demand.eio.state}).encode()]
"""


def test_sixteen_first_requests_make_one_connection(start, make_js_server, slow_road):
    server = make_js_server()
    files = {
        'on_demand.py': programs('reconnecting.md')['on_demand.py'],
        'app.py': ON_DEMAND,
        'gunicorn.conf.py': 'bind = "127.0.0.1:8001"\nworker_class = "gevent"\n',
    }
    gunicorn = start(files, slow_road(server), 'app')
    gunicorn.answers(answer=(200, {'state': 'disconnected'}))
    for _ in range(2):
        asked = [gevent.spawn(gunicorn.ask, '/connect') for _ in range(16)]
        assert [one.get() for one in asked] == [CONNECTED] * 16, gunicorn.log
        handshakes = [one for one in server.requests() if 'sid=' not in one['url']]
        assert len(handshakes) == server.count() == 1
        server.kill()  # and once more, when the connection has been lost
        gunicorn.answers(answer=(200, {'state': 'disconnected'}))
        server.restart()


# -- Worker classes, and hooks ------------------------------------------------------------------

CLIENTS = """
import json

import engineio_gevent

kept = engineio_gevent.Client()


def once():
    client = engineio_gevent.Client()
    inbox = client.create_queue()
    client.on('message', inbox.put)
    client.connect('http://127.0.0.1:5000')
    client.send('hello')
    answer = inbox.get(timeout=60)
    client.disconnect()
    return answer


def keep():
    kept.connect('HASTY_SERVER')
    return kept.sid


def application(environ, start_response):
    answer = once() if environ['PATH_INFO'] == '/once' else keep()
    start_response('200 OK', [('Content-Type', 'application/json')])
    return [json.dumps(answer).encode()]


async def asgi(scope, receive, send):
    assert scope['type'] == 'http'
    answer = once() if scope['path'] == '/once' else keep()
    await send({'type': 'http.response.start', 'status': 200, 'headers': []})
    await send({'type': 'http.response.body', 'body': json.dumps(answer).encode()})
"""


@pytest.mark.parametrize('kind', ['sync', 'gthread', 'tornado', 'asgi'])
def test_other_worker_classes(start, make_js_server, kind):
    """A client works within one request, and is lost between two."""
    if kind == 'tornado' and importlib.util.find_spec('tornado') is None:
        support.missing('Tornado', 'pip install tornado')
    hasty = make_js_server(pingInterval=1000, pingTimeout=1000)
    files = {
        'app.py': CLIENTS.replace('HASTY_SERVER', hasty.url),
        'gunicorn.conf.py': f'bind = "127.0.0.1:8001"\nworker_class = "{kind}"\nthreads = 4\n',
    }
    application = 'app:asgi' if kind == 'asgi' else 'app:application'
    gunicorn = start(files, make_js_server().url, application)
    gunicorn.answers('/once', (200, 'hello'))
    asked = [gevent.spawn(gunicorn.ask, '/once') for _ in range(32)]
    assert [one.get() for one in asked] == [(200, 'hello')] * 32, gunicorn.log
    status, sid = gunicorn.ask('/keep')
    assert status == 200, gunicorn.log
    assert hasty.close_reason(sid, PATIENCE) == 'ping timeout'


POST_FORK = """
import gevent.monkey

bind = '127.0.0.1:8001'
worker_class = 'gevent'


def post_fork(server, worker):
    import app

    app.patched = [gevent.monkey.is_module_patched('socket')]
    app.inbox = app.eio.create_queue()
    app.eio.on('message', app.inbox.put)
    app.eio.connect('http://127.0.0.1:5000')


def post_worker_init(worker):
    import app

    app.patched.append(gevent.monkey.is_module_patched('socket'))
"""

CONNECTED_EARLY = """
import json

import engineio_gevent

eio = engineio_gevent.Client()


def application(environ, start_response):
    eio.send('hello')
    answer = {'patched': patched, 'answer': inbox.get(timeout=60)}
    start_response('200 OK', [('Content-Type', 'application/json')])
    return [json.dumps(answer).encode()]
"""


def test_post_fork(start, make_js_server):
    """The connection works, but nothing is patched yet."""
    files = {'app.py': CONNECTED_EARLY, 'gunicorn.conf.py': POST_FORK}
    gunicorn = start(files, make_js_server().url, 'app')
    gunicorn.answers('/', (200, {'patched': [False, True], 'answer': 'hello'}))
