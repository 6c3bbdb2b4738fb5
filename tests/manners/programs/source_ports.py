"""Many connections at once in a network that has only so many ports for each address.

Arguments: how many ports, the source addresses (null: the system chooses), how many connections.
Prints why there is no such network, or null; then how many connections are held at the same time,
the error of the next one, and how many connections each address of this side has, as the server
sees it.
"""

import collections
import json
import sys
from pathlib import Path

import engineio_gevent

sys.path.insert(0, str(Path(__file__).parents[2]))  # for support

import support
from support.networks import enter_network


def main():
    ports, addresses, count = map(json.loads, sys.argv[1:])
    try:
        enter_network(ports=ports)
    except OSError as exc:
        print(json.dumps(str(exc)))
        return
    print(json.dumps(None), flush=True)
    server = support.ServerProcess.js(port=8000)  # none of those ports
    clients, error = [], None
    try:
        while len(clients) < count:
            client = engineio_gevent.Client(handle_sigint=False, source_addresses=addresses)
            client.connect(server.url, transports='websocket')
            clients.append(client)
    except engineio_gevent.exceptions.ConnectionError as exc:
        error = str(exc).replace(server.netloc, 'SERVER')
    finally:
        for client in clients:  # what the server has seen comes by a connection, too
            client.disconnect()
        peers = collections.Counter(one['peer'] for one in server.requests())
        server.stop()
    print(json.dumps([len(clients), error, peers]))


if __name__ == '__main__':
    main()
