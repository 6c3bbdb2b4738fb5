"""A WSGI application for gunicorn's gevent worker that has Engine.IO clients.

In the environment: `URL`, the Engine.IO server, and `PLACES`, where clients are made and connected,
some of: import, post_worker_init, request. Each place makes one per transport.
"""

import json
import os

PLACES = os.environ['PLACES'].split()
URL = os.environ['URL']

clients = []


def make_clients(place):
    if place in PLACES:
        clients.extend(connected(transports) for transports in (['polling'], ['websocket'], None))


def connected(transports):
    import engineio_gevent

    client = engineio_gevent.Client()
    client.inbox = client.create_queue()
    client.on('message', client.inbox.put)
    client.connect(URL, transports=transports)
    return client


def attempt(function, *args):
    """What it returns, or its error."""
    try:
        return function(*args)
    except Exception as exc:
        return f'{type(exc).__name__}: {exc}'


def ask(client):
    client.send('hello')
    return client.inbox.get(timeout=5)


def own():
    """A client of this process's own, beside those that it may have inherited."""
    client = connected(None)
    answer = ask(client)
    client.disconnect()
    return answer


def application(environ, start_response):
    make_clients('request')
    answer = {'pid': os.getpid(), 'sids': [client.sid for client in clients]}
    if environ['PATH_INFO'] == '/inherited':
        answer['ask'] = [attempt(ask, client) for client in clients]
        answer['wait'] = [attempt(client.wait) for client in clients]
        answer['connect'] = [attempt(client.connect, URL) for client in clients]
        answer['disconnect'] = [attempt(client.disconnect) for client in clients]
        answer['own'] = attempt(own)
    body = json.dumps(answer).encode()
    start_response(
        '200 OK', [('Content-Type', 'application/json'), ('Content-Length', str(len(body)))]
    )
    return [body]


make_clients('import')
