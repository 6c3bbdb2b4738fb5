"""A Celery application whose worker gives itself a task: to talk until it is told to end."""

import json
import os

import gevent.os
from celery import Celery, signals

import engineio_gevent

FOLDER = os.environ['FOLDER']

app = Celery('celery_app', broker='filesystem://')
app.conf.broker_transport_options = {
    'data_folder_in': FOLDER,
    'data_folder_out': FOLDER,
    'control_folder': f'{FOLDER}/control',
}


def say(value):
    # Celery has replaced sys.stdout.
    os.write(1, f'{json.dumps(value)}\n'.encode())


@app.task
def talk():
    client = engineio_gevent.Client()
    inbox = client.create_queue()
    client.on('message', inbox.put)
    client.connect(os.environ['URL'])
    say(client.sid)
    gevent.os.tp_read(0, 1)
    state = client.state
    client.send('last words')
    say([state, inbox.get(timeout=30) if state == 'connected' else None])
    client.disconnect()


@signals.worker_ready.connect
def begin(**_):
    talk.delay()


@signals.worker_shutting_down.connect
def shut_down(how, **_):
    say(how)
