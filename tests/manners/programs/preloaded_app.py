"""A WSGI application for gunicorn's `preload_app`: it says how clients of each kind connect.

In the environment: `URL`, the Engine.IO server, by https.
"""

import json
import os

import requests

import engineio_gevent


def attempt(transports=None, **options):
    """The transport of a client that has connected, or its error."""
    client = engineio_gevent.Client(**options)
    try:
        client.connect(os.environ['URL'], transports=transports)
        return client.transport()
    except engineio_gevent.exceptions.ConnectionError as exc:
        return exc.args[0]
    finally:
        client.disconnect()


def application(environ, start_response):
    answer = {
        'own connections': attempt(),
        'session': attempt(http_session=requests.Session()),
        'session, polling': attempt('polling', http_session=requests.Session),
        'session, websocket': attempt('websocket', http_session=requests.Session()),
        'websocket-client': attempt('websocket', websocket_extra_options={'timeout': 5}),
    }
    start_response('200 OK', [('Content-Type', 'application/json')])
    return [json.dumps(answer).encode()]
