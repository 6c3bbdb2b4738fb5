"""A pywsgi server that SIGINT stops: the requests that run are answered first."""

import json
import os
import signal

import gevent
import gevent.event
import gevent.socket
from gevent.pywsgi import WSGIServer

import engineio_gevent

# A test run in the background ignores SIGINT, and its children do, too.
signal.signal(signal.SIGINT, signal.default_int_handler)


def say(value):
    print(json.dumps(value), flush=True)


stopping = gevent.event.Event()
client = engineio_gevent.Client()
inbox = client.create_queue()
client.on('message', inbox.put)


def application(environ, start_response):
    """Answer when the server stops."""
    client.connect(os.environ['URL'])
    say('connected')
    stopping.wait()
    client.send('last words')
    start_response('200 OK', [('Content-Type', 'application/json')])
    return [json.dumps(inbox.get()).encode()]


def stop():
    stopping.set()
    server.stop()


listener = gevent.socket.socket(gevent.socket.AF_UNIX)
listener.bind(f'{os.environ["FOLDER"]}/socket')
listener.listen()
server = WSGIServer(listener, application, log=None, spawn=10)
gevent.signal_handler(signal.SIGINT, stop)
server.serve_forever(stop_timeout=60)
say(['stopped', client.state])
client.disconnect()
