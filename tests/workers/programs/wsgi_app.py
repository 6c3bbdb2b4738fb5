"""A WSGI application that connects a client in its first request."""

import json
import os

import engineio_gevent

client = engineio_gevent.Client()


def application(environ, start_response):
    if client.state != 'connected':
        client.connect(os.environ['URL'])
    start_response('200 OK', [('Content-Type', 'application/json')])
    return [json.dumps([os.getpid(), client.sid]).encode()]
