"""The configuration of gunicorn for `gunicorn_app`; `LISTENER` is the descriptor to listen on."""

import json
import os
import sys

bind = f'fd://{os.environ["LISTENER"]}'
worker_class = 'gevent'
control_socket_disable = True


def say(value):
    # in one system call, for the lines of several processes
    os.write(1, f'{json.dumps(value)}\n'.encode())


def post_worker_init(worker):
    sys.modules['gunicorn_app'].make_clients('post_worker_init')
    say(['worker', os.getpid()])


def worker_exit(server, worker):
    if 'FAREWELL' in os.environ:
        for client in sys.modules['gunicorn_app'].clients:
            client.disconnect()


def child_exit(server, worker):
    """In the master."""
    if server.cfg.preload_app:
        app = sys.modules['gunicorn_app']
        say(['master', [app.attempt(app.ask, client) for client in app.clients]])
