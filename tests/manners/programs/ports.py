"""Many short connections in a network that has only fifty ports for them.

Arguments: the kind of server, its options, the client's options, the transports of a connect, the
message that has the server end a connection (null: the client ends it), how many connections.
Prints why there is no such network, or null; then how many connections were made, and the error of
the next one.
"""

import json
import sys
from pathlib import Path

import gevent

import engineio_gevent
from engineio_gevent.net import closing

sys.path.insert(0, str(Path(__file__).parents[2]))  # for support

import support
from support.networks import enter_network

#: Sockets that may wait for the server to close them. A slow machine has a slow server.
MOST_WAITING = 20


def connect_and_end(url, options, transports, message):
    client = engineio_gevent.Client(handle_sigint=False, **options)
    client.connect(url, transports=transports)
    if transports is None and client.transport() != 'websocket':
        raise engineio_gevent.exceptions.EngineIOError('the upgrade failed')
    if message is None:
        client.disconnect()
    else:
        client.send(message)
        client.wait()
    while sum(map(len, closing._closing.values())) > MOST_WAITING:
        gevent.sleep(0.005)


def main():
    kind, server_options, options, transports, message, count = map(json.loads, sys.argv[1:])
    try:
        enter_network(ports=50)
    except OSError as exc:
        print(json.dumps(str(exc)))
        return
    print(json.dumps(None))
    server = getattr(support.ServerProcess, kind)(**server_options)
    done, error = 0, None
    try:
        while done < count:
            connect_and_end(server.url, options, transports, message)
            done += 1
    except engineio_gevent.exceptions.EngineIOError as exc:
        error = str(exc)
    finally:
        server.stop()
    print(json.dumps([done, error]))


if __name__ == '__main__':
    main()
