"""Clients that poll through the sessions of Locust's users. Prints what came of it as JSON."""

import json
import sys

import gevent
import gevent.server
from locust import FastHttpUser, HttpUser
from locust.env import Environment

import engineio_gevent

url, nowhere = sys.argv[1:]
environment = Environment()
seen = {}
rows = []
environment.events.request.add_listener(lambda **event: rows.append(event['request_type']))


def refused(session, timeout=5):
    try:
        engineio_gevent.Client(http_session=session, request_timeout=timeout).connect(nowhere)
    except engineio_gevent.exceptions.ConnectionError as exc:
        return [str(exc.args[0]), *exc.args[1:], type(exc.__cause__).__name__]


for kind in (HttpUser, FastHttpUser):

    class User(kind):
        host = url

    session = User(environment).client
    found = seen[kind.__name__] = {'refused': refused(session)}
    for transports in ('polling', None):
        client = engineio_gevent.Client(http_session=session)
        inbox = client.create_queue()
        client.on('message', inbox.put)
        client.connect(url, {'X-Own': 'x'}, transports=transports)
        for message in ('hello', b'\x00\xff', 'headers'):
            client.send(message)
            answer = inbox.get(timeout=10)
            assert message == 'headers' or answer == message, answer
        found[str(transports)] = [
            client.current_transport,
            [
                [
                    one['method'],
                    one['headers']['x-own'],
                    one['headers'].get('cookie', ''),
                    one['headers'].get('user-agent', ''),
                ]
                for one in answer
            ],
            client.sid,
        ]
        client.disconnect()
    found['rows'] = sorted(set(rows))

    def silent(sock, address):
        gevent.sleep(30)  # longer than the client waits

    server = gevent.server.StreamServer(('127.0.0.1', 0), silent)
    server.start()
    nowhere, before = f'http://127.0.0.1:{server.server_port}', nowhere
    found['silent'] = refused(session, 0.2)
    nowhere = before
    server.stop(0)
json.dump(seen, sys.stdout)
