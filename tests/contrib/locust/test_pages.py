"""The locustfiles of `docs/how-to/locust.md`: what each reports, and that guests rejoin."""

import signal
import sys
import time
from pathlib import Path

import gevent
import pytest
from gevent import subprocess
from markdown_it import MarkdownIt

import support

ROOT = Path(__file__).resolve().parents[3]
PAGE = ROOT / 'docs' / 'how-to' / 'locust.md'
RECORDER = Path(__file__).with_name('locustfiles') / 'recorder.py'
USERS = 3


def locustfiles():
    """The text of each file of the page, by name."""
    found = {}
    name = None
    for token in MarkdownIt('commonmark').parse(PAGE.read_text()):
        if token.type == 'html_block':
            name = token.content.partition('test: file ')[2].removesuffix('-->\n').strip() or None
        elif token.type == 'fence' and name is not None:
            found[name] = token.content
            name = None
    return found


class Server:
    """`examples/socketio_server.py`, on the same port each time it is started."""

    def __init__(self, environment):
        self._environment = environment
        self._port = support.free_port()
        self.url = f'http://127.0.0.1:{self._port}'
        self.start()

    def start(self):
        self._process = subprocess.Popen(
            [sys.executable, ROOT / 'examples' / 'socketio_server.py', str(self._port)],
            env=self._environment,
            text=True,
            stdout=subprocess.PIPE,
        )
        assert self.url in self._process.stdout.readline()

    def stall(self, seconds):
        self._process.send_signal(signal.SIGSTOP)
        gevent.sleep(seconds)
        self._process.send_signal(signal.SIGCONT)

    def stop(self):
        self._process.kill()
        self._process.communicate()


@pytest.fixture
def server(locust_environment):
    server = Server(locust_environment)
    yield server
    server.stop()


@pytest.fixture
def start(locust, tmp_path, server):
    """`start('visitor.py', users=3)`: a run of a file of the page."""

    def run(name, url=None, **arguments):
        (tmp_path / name).write_text(locustfiles()[name])
        return locust(f'{tmp_path / name},{RECORDER}', url or server.url, **arguments)

    return run


#: What users of each file report, besides `connect`.
ROWS = {
    'visitor.py': {('call', 'join'), ('call', 'add'), ('emit', 'say'), ('recv', 'said')},
    'by_token.py': {('call', '/members whoami')},
    'by_cookie.py': {('POST', '/login'), ('call', '/members whoami')},
    'listener.py': {('call', 'join'), ('request', 'say'), ('recv', 'said'), ('recv', 'heard')},
    'checked.py': {('call', 'add'), ('call', 'ones')},
    'open_loop.py': {('call', 'add')},
    'rooms.py': {('call', 'join'), ('emit', 'say'), ('recv', 'said')},
    'moved.py': {('call', 'join'), ('emit', 'say'), ('recv', 'said'), ('push', 'said')},
}


@pytest.mark.parametrize('name', ROWS)
def test_rows(start, name):
    # Of three users, all may wait for a message at the same time, and none send one.
    run = start(name, users=4 * USERS)
    for row in ROWS[name]:
        run.until(lambda row=row: run.events_of(*row))
    run.quit()
    assert not run.failures
    assert {(event['request_type'], event['name']) for event in run.events} == {
        ('connect', 'polling'),
        *ROWS[name],
    }


def test_engineio(start, js_server):
    run = start('asker.py', js_server.url, users=USERS)
    run.until(lambda: run.events_of('request', 'time'))
    run.quit()
    assert not run.failures
    rows = {event['request_type'] for event in run.events}
    # An answer to a user that was about to stop may come after its call has ended.
    assert rows - {'recv'} == {'connect', 'upgrade', 'request'}


def test_guests_join_their_room_again(start, server):
    run = start('rooms.py', users=USERS)
    run.until(lambda: len(run.events_of('call', 'join')) == USERS)
    run.until(lambda: run.events_of('recv', 'said'))
    server.stop()
    run.until(lambda: len(run.events_of('disconnect', 'transport error')) == USERS)
    heard = len(run.events_of('recv', 'said'))
    server.start()
    run.until(lambda: len(run.events_of('call', 'join')) == 2 * USERS)
    run.until(lambda: len(run.events_of('recv', 'said')) > heard)
    run.quit(1)
    # A busy machine may take longer to start the server than a call waits for the connection.
    late = {key for key in run.failures if key[2].startswith('not connected within')}
    assert {kind for kind, _, _ in set(run.failures) - late} <= {'connect', 'disconnect'}


@pytest.mark.parametrize('spawns', [True, False])
def test_a_server_that_stalls(locust, tmp_path, server, spawns):
    """Users that wait for their answers have one slow call each, the others all that were due."""
    text = locustfiles()['open_loop.py']
    path = tmp_path / 'stalled.py'
    path.write_text(
        text if spawns else text.replace("self.spawn(self.sio.call, 'add'", "self.sio.call('add'")
    )
    run = locust(f'{path},{RECORDER}', server.url, users=USERS)
    run.until(lambda: len(run.events_of('call', 'add')) >= USERS)
    server.stall(3)
    began = time.time()  # when the server was there again
    run.until(
        lambda: sum(event['start_time'] > began for event in run.events_of('call', 'add')) >= USERS
    )
    run.quit()
    assert not run.failures
    slow = [event for event in run.events_of('call', 'add') if event['response_time'] > 400]
    if spawns:  # six of each user were due in three seconds; the last two may not have been slow
        assert len(slow) >= 4 * USERS
    else:
        assert len([event for event in slow if event['response_time'] > 1500]) <= USERS


@pytest.mark.time_limit(90)
def test_steps(locust, tmp_path, server):
    (tmp_path / 'steps.py').write_text(locustfiles()['steps.py'])
    run = locust(f'{tmp_path / "steps.py"},{RECORDER}', server.url, '--headless')
    run.ends()  # by itself
    assert not run.failures
    assert len(run.events_of('connect', 'polling')) == 30
    assert run.output.count('Shape test updating to') == 3


def test_every_file_is_tested():
    assert set(locustfiles()) == {*ROWS, 'asker.py', 'steps.py'}
