"""Clients with the default `handle_sigint=True` where SIGINT belongs to somebody else."""

import os
import signal

import gevent
import pytest

from .conftest import PROGRAMS

#: A test run in the background ignores SIGINT, and its children do, too.
UWSGI = """
import signal
signal.signal(signal.SIGINT, signal.default_int_handler)
import pyuwsgi
pyuwsgi.run()
"""


@pytest.mark.parametrize('loop', ['default', 'libev-cffi', 'libuv'])
def test_pywsgi(worker, monkeypatch, loop):
    """The request that runs when SIGINT stops the server still has its client."""
    if loop != 'default':
        monkeypatch.setenv('GEVENT_LOOP', loop)
    server = worker(PROGRAMS / 'pywsgi_server.py')
    request = gevent.spawn(server.get)
    assert server.hear() == 'connected'
    server.interrupt()
    assert request.get() == 'last words'
    assert server.hear() == ['stopped', 'connected']
    assert server.wait_end() == 0, server.stderr


@pytest.mark.parametrize('name', ['SIGTERM', 'SIGINT'])
def test_uwsgi(worker, js_server, name):
    """The worker ends when its master does. Otherwise, the master would wait for a minute."""
    master = worker(
        *('-c', UWSGI, '--master', '--gevent', 10, '--die-on-term'),
        *('--http-socket', f'{os.environ["FOLDER"]}/socket'),
        *('--wsgi-file', PROGRAMS / 'wsgi_app.py', '--need-app'),
        needs='pyuwsgi',
    )
    _, sid = master.get()
    master.process.send_signal(getattr(signal, name))
    assert master.wait_end() == 0, master.stderr
    js_server.close_reason(sid)


def test_celery(worker, js_server):
    """A warm shutdown waits for the tasks, and they keep their clients."""
    celery = worker(
        *('-m', 'celery', '--workdir', PROGRAMS, '--app', 'celery_app'),
        *('worker', '--pool', 'gevent', '--without-gossip', '--without-mingle'),
        needs='celery',
    )
    sid = celery.hear()
    celery.interrupt()
    assert celery.hear() == 'Warm'
    celery.tell()
    assert celery.hear() == ['connected', 'last words']
    celery.wait_end()
    assert js_server.received(sid) == ['last words']


@pytest.mark.parametrize('target', ['worker', 'group'])
def test_gunicorn(worker, js_server, target):
    """The client stays connected until the application disconnects it in worker_exit."""
    master = worker(
        *('-m', 'gunicorn', '--config', PROGRAMS / 'gunicorn_conf.py'),
        *('--pythonpath', PROGRAMS, 'wsgi_app:application'),
        needs='gunicorn',
    )
    pid, sid = master.get()
    if target == 'worker':
        os.kill(pid, signal.SIGINT)
    else:
        os.killpg(master.process.pid, signal.SIGINT)
    # A second worker_int is for the signal of the master, if that comes in time.
    heard = [master.hear()]
    while heard[-1][0] != 'worker_exit':
        heard.append(master.hear())
    assert len(heard) > 1
    assert {state for _, state in heard} == {'connected'}
    js_server.close_reason(sid)
