"""A client in a program that is monkey-patched early, late, partly or not at all.

Arguments: the URL, when ('early': before the import of the package, 'after import', 'after a
client' exists, 'while connected', 'never'), and what not to patch.
"""
# ruff: noqa: E402 - it patches before it imports

import json
import sys
import warnings

from gevent import monkey

url, when, left_out = map(json.loads, sys.argv[1:])


def patch(moment):
    if moment == when:
        with warnings.catch_warnings():
            # what gevent says of late patching is for the program, which knows
            warnings.simplefilter('ignore', monkey.MonkeyPatchWarning)
            monkey.patch_all(**dict.fromkeys(left_out, False))


patch('early')

import threading

import engineio_gevent

patch('after import')


def attend(client):
    client.inbox = client.create_queue()
    client.on('message', client.inbox.put)
    client.on('disconnect', client.ends.append)


def use(client):
    """A round trip, one from a native thread, and the end."""
    client.send('hello')
    heard = [client.inbox.get(timeout=10)]
    monkey.get_original('_thread', 'start_new_thread')(client.send, ('from a thread',))
    heard.append(client.inbox.get(timeout=10))
    worker = threading.Thread(target=client.send, args=('from threading',))
    worker.start()
    heard.append(client.inbox.get(timeout=10))
    client.disconnect()
    return [*heard, *client.ends, client.state]


clients = [engineio_gevent.Client(ssl_verify=False) for _ in range(3)]
for client in clients:
    client.ends = []
    attend(client)
patch('after a client')
for client, transports in zip(clients, (['polling'], ['websocket'], None), strict=True):
    client.connect(url, transports=transports)
patch('while connected')
print(json.dumps([use(client) for client in clients]), flush=True)
again = clients[0]
again.ends.clear()
again.connect(url)
print(json.dumps(use(again)), flush=True)
print(json.dumps(monkey.is_module_patched('time')), flush=True)
