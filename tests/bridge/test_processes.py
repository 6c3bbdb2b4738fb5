"""What operators do: end, reload and kill; and browsers that hold, flood or starve the workers."""

import json
import os
import signal
import socket
import subprocess

import gevent
import gevent.socket
import pytest
from intermediaries.conftest import Nginx

import support

from .conftest import EXAMPLE, PATIENCE, Process, is_running, read_json

pytest.importorskip('flask')
pytest.importorskip('gunicorn')

KIB = 1024


def resident(pid):
    """Bytes of memory that a process has."""
    return KIB * int(subprocess.check_output(['ps', '-o', 'rss=', '-p', str(pid)]))


# -- Ends ---------------------------------------------------------------------------------------


@pytest.mark.parametrize('name', ['SIGTERM', 'SIGINT', 'SIGQUIT'])
def test_end(start, listen, upstream, name):
    """Promptly, though streams are open; and SIGTERM lets these end in order."""
    gunicorn = start()
    workers = gunicorn.workers
    listeners = [listen(gunicorn, worker=worker) for worker in workers]
    gunicorn.post('hello')
    for listener in listeners:
        listener.hears(['hello'])
    gunicorn.signal(name)
    # Before gunicorn's own time for requests that hang, which is 10 s.
    assert gunicorn.ends(8) == 0
    ends = {listener.ends() for listener in listeners}
    assert name != 'SIGTERM' or ends == {'in order'}
    assert support.eventually(lambda: len(upstream.left) == 2, PATIENCE)
    assert upstream.left == dict.fromkeys(workers, 'client disconnect')
    assert 'graceful timeout' not in gunicorn.log
    assert 'Traceback' not in gunicorn.log


def test_end_while_the_upstream_hangs(start, upstream):
    """A worker gives its farewell 3 seconds, and goes."""
    gunicorn = start(workers=1)
    upstream.signal('SIGSTOP')
    gunicorn.signal('SIGTERM')
    assert gunicorn.ends(9) == 0
    upstream.signal('SIGCONT')


def test_end_before_there_was_an_upstream(start, upstream):
    upstream.kill()
    gunicorn = start(joined=False)
    gunicorn.until(lambda: len(set(gunicorn.find(r'\[(\d+)\] .* Upstream not connected'))) == 2)
    gunicorn.signal('SIGTERM')
    assert gunicorn.ends(8) == 0
    assert 'Traceback' not in gunicorn.log


def test_the_last_messages_come_before_the_end(start, listen, upstream):
    """What is posted until the end is in the streams, and what came after it is made up for."""
    gunicorn = start(workers=1)
    old = gunicorn.workers[0]
    listener = listen(gunicorn)
    texts = []
    while listener.end is None:
        texts.append(f'message {len(texts)}')
        assert gunicorn.post(texts[-1])[0] == 201, gunicorn.log
        if len(texts) == 5:
            gunicorn.signal('SIGHUP')
        gevent.sleep(0.01)
    heard = listener.texts
    assert heard == texts[: len(heard)]
    assert len(heard) >= 5
    assert listener.ends() == 'in order'
    gunicorn.until(lambda: not is_running(old) and len(upstream.members) == 1)
    listen(gunicorn, after=listener.last_id).hears(texts[len(heard) :])


def test_a_worker_that_is_killed_is_replaced(start, listen, upstream):
    gunicorn = start()
    first, second = gunicorn.workers
    listeners = [listen(gunicorn, worker=worker) for worker in (first, second)]
    gunicorn.post('before')
    for listener in listeners:
        listener.hears(['before'])
    os.kill(first, signal.SIGKILL)
    assert listeners[0].ends() == 'cut off'
    gunicorn.until(lambda: len(gunicorn.workers) == 2 and upstream.members == set(gunicorn.workers))
    gunicorn.until(lambda: upstream.left)
    assert upstream.left.keys() == {first}
    assert upstream.left[first] != 'client disconnect'  # it could not say anything
    gunicorn.post('after')
    listeners[1].hears(['before', 'after'])
    (third,) = set(gunicorn.workers) - {second}
    listen(gunicorn, listeners[0].last_id, third).hears(['after'])


def test_workers_without_a_master_leave(start, upstream):
    gunicorn = start()
    workers = gunicorn.workers
    gunicorn.signal('SIGKILL')
    gunicorn.ends()
    gunicorn.until(lambda: len(upstream.left) == 2)
    assert upstream.left == dict.fromkeys(workers, 'client disconnect')
    gunicorn.until(lambda: not any(map(is_running, workers)))


def test_a_worker_that_has_had_its_requests_is_replaced(start, listen, upstream):
    """With max_requests, in the same way."""
    gunicorn = start(workers=1, options=['--max-requests', '3'])
    old = gunicorn.workers
    listener = listen(gunicorn)
    assert [gunicorn.post(text)[0] for text in ('one', 'two')] == [201, 201]
    assert listener.ends() == 'in order'
    gunicorn.until(lambda: upstream.members and not upstream.members & set(old))
    # The third request ends the worker, and on a busy machine the stream before its message comes.
    later = listen(gunicorn, after=listener.last_id)
    later.hears(['one', 'two'][len(listener.texts) :])
    assert listener.texts + later.texts == ['one', 'two']
    assert upstream.left == {old[0]: 'client disconnect'}


# -- Browsers -----------------------------------------------------------------------------------


def test_browsers_that_read_nothing(start, listen, upstream):
    """They hold up neither the others nor the end, and cost a bounded amount of memory."""
    gunicorn = start(workers=1)
    worker = gunicorn.workers[0]
    listener = listen(gunicorn)
    starving = []
    for _ in range(30):
        sock = socket.socket()
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 * KIB)
        sock.connect(('127.0.0.1', gunicorn.port))
        sock.sendall(b'GET /events HTTP/1.1\r\nHost: bridge\r\n\r\n')
        starving.append(sock)
    gunicorn.until(lambda: gunicorn.health()[1]['streams'] == 31)
    before = resident(worker)
    texts = [f'{number} '.ljust(1000, '.') for number in range(4000)]
    for begin in range(0, len(texts), 400):  # no more at a time than a stream may be behind
        upstream.say(*texts[begin : begin + 400])
        assert support.eventually(lambda begin=begin: len(listener.texts) == begin + 400, PATIENCE)
    assert listener.texts == texts
    # Were each of them to wait for all of it, that would be 120 MB.
    assert resident(worker) - before < 20_000 * KIB
    assert gunicorn.health()[1]['streams'] == 31
    gunicorn.signal('SIGTERM')
    assert gunicorn.ends(8) == 0
    assert listener.ends() == 'in order'
    assert 'Traceback' not in gunicorn.log
    for sock in starving:
        sock.close()


def test_streams_end_when_the_browser_goes(start, listen):
    gunicorn = start(workers=1)
    listeners = [listen(gunicorn) for _ in range(5)]
    gunicorn.until(lambda: gunicorn.health()[1]['streams'] == 5)
    for listener in listeners:
        listener.close()
    # HEAD is answered, and is no stream.
    assert gunicorn.request('HEAD', '/events')[0] == 200
    gunicorn.until(lambda: gunicorn.health()[1]['streams'] == 0)
    assert 'Traceback' not in gunicorn.log


def test_refusals(start, upstream):
    gunicorn = start(workers=1)
    as_json = {'Content-Type': 'application/json'}
    for status, body, headers, says in [
        (415, '{"text": "hello"}', {'Content-Type': 'text/plain'}, 'application/json'),
        (400, '{"text": ', as_json, 'Bad Request'),
        (400, '["text"]', as_json, 'no text'),
        (400, '{"text": " \\n"}', as_json, 'no text'),
        (400, '{"text": 42}', as_json, 'no text'),
        (413, json.dumps({'text': 'x' * 1001}), as_json, 'longer than 1000'),
        (413, json.dumps({'text': 'x' * 20_000}), as_json, 'Too Large'),
        (400, '{"text": "hello", "key": ""}', as_json, 'The key must have 1 to 64'),
        (400, '{"text": "hello", "key": [1]}', as_json, 'The key must have 1 to 64'),
        (400, json.dumps({'text': 'hello', 'key': 'x' * 65}), as_json, 'The key must have 1 to 64'),
    ]:
        got, answer_headers, answer = gunicorn.request('POST', '/messages', body, headers)
        assert got == status, (body, answer)
        assert says in json.loads(answer)['error']
        assert answer_headers['X-Content-Type-Options'] == 'nosniff'
    assert gunicorn.request('GET', '/messages')[0] == 405
    assert json.loads(gunicorn.request('GET', '/nowhere')[2]) == {'error': 'Not Found.'}
    assert gunicorn.post('x' * 1000)[0] == 201
    assert gunicorn.post('\U0001f600' * 1000)[0] == 201  # 12,000 bytes of JSON


def test_headers(start, listen):
    gunicorn = start(workers=1)
    listener = listen(gunicorn)
    assert listener.headers['Content-Type'].startswith('text/event-stream')
    assert listener.headers['Cache-Control'] == 'no-store'
    assert listener.headers['X-Accel-Buffering'] == 'no'
    for path in ('/', '/static/page.js', '/health'):
        status, headers, _ = gunicorn.request('GET', path)
        assert status == 200
        assert "default-src 'none'" in headers['Content-Security-Policy']


@pytest.mark.parametrize('http', ['1.0', '1.1'])
def test_behind_nginx(start, listen, upstream, tmp_path, http):
    """Events come as they happen, and a reload costs none of them.

    By HTTP/1.0, its default for long, nginx holds a stream back that does not forbid it.
    """
    gunicorn = start()
    old = gunicorn.workers
    proxy = Nginx(tmp_path, [gunicorn, gunicorn], upgrade=http == '1.1', buffering=True)
    try:
        listener = listen(proxy)
        texts = []
        for number in range(3):
            texts.append(f'message {number}')
            upstream.say(texts[-1])
            listener.hears(texts)
        # A reload ends the stream in order, and the next one goes on where it was.
        gunicorn.signal('SIGHUP')
        assert listener.ends() == 'in order'
        upstream.say('meanwhile')
        # One of them may still take a stream, only to end it.
        gunicorn.until(lambda: not any(pid in gunicorn.workers for pid in old))
        assert support.eventually(lambda: gunicorn.health()[0] == 200, PATIENCE)
        listen(proxy, after=listener.last_id).hears(['meanwhile'])
    finally:
        proxy.stop()


# -- The upstream -------------------------------------------------------------------------------


def test_health(start, upstream):
    gunicorn = start(workers=1)
    assert gunicorn.health() == (
        200,
        {'state': 'connected', 'transport': 'websocket', 'streams': 0},
    )
    upstream.kill()
    gunicorn.until(lambda: gunicorn.health()[0] == 503)
    status, body = gunicorn.post('hello')
    assert (status, body) == (503, {'error': 'Not sent: the upstream is not connected.'})
    upstream.start()
    gunicorn.until(lambda: gunicorn.health()[0] == 200)
    assert gunicorn.post('hello')[0] == 201


def test_a_post_that_is_not_confirmed(start, upstream):
    """The upstream has ended with it: nobody knows, and so it is said."""
    gunicorn = start(workers=1)
    upstream.signal('SIGSTOP')
    posting = gunicorn.ask_to_post('x' * 1000)
    gunicorn.until(lambda: upstream.unread > 1000)  # a ping has less than 100 bytes
    upstream.kill()
    status, body = read_json(posting)
    assert (status, 'may have arrived' in body['error']) == (504, True)


def test_streams_while_the_upstream_is_away(start, listen, upstream):
    """The state is told, and a page that comes then is told at once; with what was before."""
    gunicorn = start(workers=1)
    listener = listen(gunicorn)
    upstream.say('before')
    listener.hears(['before'])
    upstream.kill()
    assert support.eventually(lambda: {'ms': None} in listener.of('latency'), PATIENCE)
    late = listen(gunicorn)
    late.hears(['before'])
    assert late.of('status')[0]['state'] in ('waiting', 'connecting')
    upstream.start()
    assert support.eventually(lambda: late.of('status')[-1]['state'] == 'connected', PATIENCE)
    upstream.say('after')
    listener.hears(['before', 'after'])
    late.hears(['before', 'after'])


# -- The one command ----------------------------------------------------------------------------


@pytest.fixture
def command():
    """`python examples/gunicorn_bridge`, as a `Process`."""
    started = []

    def start(*arguments, options=()):
        started.append(Process(*options, EXAMPLE, *arguments))
        return started[-1]

    yield start
    for one in started:
        for pid in one.find(r'upstream: process (\d+)|\[(\d+)\] \[INFO\]'):
            for number in filter(None, pid):
                if is_running(int(number)):
                    os.kill(int(number), signal.SIGKILL)
        one.kill()


def processes(command):
    """The process identifiers that its log tells of."""
    found = command.find(r'upstream: process (\d+)|^\[.*\] \[(\d+)\] \[INFO\]')
    return {int(number) for numbers in found for number in numbers if number}


def until_joined(command, count=2):
    command.until(lambda: len(command.find(r'worker \d+ has joined')) >= count)


@pytest.mark.parametrize('name', ['SIGINT', 'SIGHUP'])
def test_the_command(command, name):
    """It starts all that is needed; Ctrl-C, or the end of its terminal, ends all of that."""
    run = command('--port', 0, '--upstream-port', 0)
    until_joined(run)
    port = int(run.find(r'^Open http://127.0.0.1:(\d+)/')[0])
    with gevent.socket.create_connection(('127.0.0.1', port)) as sock:
        sock.sendall(b'GET / HTTP/1.0\r\n\r\n')
        assert b'<title>Bridge</title>' in support.read_to_end(sock)
    assert len(processes(run)) == 4  # the upstream, gunicorn, two workers
    os.killpg(run.pid, getattr(signal, name))  # as a terminal does
    assert run.ends() == 0
    assert [pid for pid in processes(run) if is_running(pid)] == []
    assert len(run.find(r'worker \d+ has left: client disconnect')) == 2
    assert 'Traceback' not in run.log


def test_the_command_starts_the_upstream_again(command):
    run = command('--port', 0, '--upstream-port', 0)
    until_joined(run)
    os.kill(int(run.find(r'upstream: process (\d+)')[0]), signal.SIGKILL)
    until_joined(run, 4)
    assert len(run.find(r'upstream: process (\d+)')) == 2
    run.signal('SIGTERM')
    assert run.ends() == 0
    assert [pid for pid in processes(run) if is_running(pid)] == []


def test_the_command_for_another_upstream(command, upstream):
    run = command('--port', 0, '--workers', 1, '--upstream', upstream.url)
    run.until(lambda: len(upstream.members) == 1)
    assert run.find('upstream: process') == []
    run.signal('SIGINT')
    assert run.ends() == 0
    assert [*upstream.left.values()] == ['client disconnect']


def test_the_command_says_what_is_wrong(command, upstream):
    for option in ('--port', '--upstream-port'):
        run = command('--port', 0, option, upstream.port)
        assert run.ends() == 1
        assert run.log == (
            f'Port {upstream.port}: Address already in use; choose another port with {option}\n'
        )
    for arguments, says in [
        (['--port', 65536], 'a port is a number from 0 to 65535'),
        (['--port', 'http'], "invalid port_number value: 'http'"),
        (['--upstream-port', -1], 'a port is a number from 0 to 65535'),
        (['--port', 8123, '--upstream-port', 8123], '--port and --upstream-port must differ'),
        (['--workers', 0], 'at least 1'),
    ]:
        run = command(*arguments)
        assert run.ends() == 2
        assert says in run.log.splitlines()[-1]
    run = command(options=['-S', '-E'])  # without packages
    assert run.ends() == 2
    assert run.log == (
        'Missing packages: flask, gunicorn[gevent], engineio-gevent[demo], '
        'engineio-gevent. README.md has the command.\n'
    )
