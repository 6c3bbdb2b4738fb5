"""The configuration of gunicorn for `wsgi_app`."""

import json
import os
import sys

bind = f'unix:{os.environ["FOLDER"]}/socket'
worker_class = 'gevent'
control_socket_disable = True


def say(value):
    # In one system call, for the lines of several processes.
    os.write(1, f'{json.dumps(value)}\n'.encode())


def worker_int(worker):
    say(['worker_int', sys.modules['wsgi_app'].client.state])


def worker_exit(server, worker):
    client = sys.modules['wsgi_app'].client
    say(['worker_exit', client.state])
    client.disconnect()
