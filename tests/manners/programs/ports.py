"""Many short connections in a network namespace that has only a hundred ports for them.

Arguments: the kind of server, its options, who ends each connection ('client' or 'server'), how
many connections. Prints why there is no such namespace, or null; then how many connections were
made, and the error of the next one.
"""

import ctypes
import fcntl
import json
import os
import socket
import struct
import sys
from pathlib import Path

import engineio_gevent

sys.path.insert(0, str(Path(__file__).parents[2]))  # for support

NEW_USERS = 0x10000000
NEW_NETWORK = 0x40000000
SET_INTERFACE_FLAGS = 0x8914
UP = 1


def enter_namespace():
    """Leave the network of this process for an empty one."""
    libc = ctypes.CDLL(None, use_errno=True)
    user, group = os.getuid(), os.getgid()
    if libc.unshare(NEW_NETWORK if user == 0 else NEW_USERS | NEW_NETWORK):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    if user != 0:
        Path('/proc/self/setgroups').write_text('deny')
        Path('/proc/self/uid_map').write_text(f'0 {user} 1')
        Path('/proc/self/gid_map').write_text(f'0 {group} 1')
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        fcntl.ioctl(sock, SET_INTERFACE_FLAGS, struct.pack('16sh22x', b'lo', UP))
    settings = Path('/proc/sys/net/ipv4')
    (settings / 'ip_local_port_range').write_text('40000 40099')
    (settings / 'tcp_tw_reuse').write_text('0')


def connect_and_end(url, who, options):
    client = engineio_gevent.Client(handle_sigint=False, **options)
    client.connect(url, transports='websocket')
    if who == 'server':
        client.send('close')
        client.wait()
    else:
        client.disconnect()


def main():
    kind, server_options, client_options, who, count = map(json.loads, sys.argv[1:])
    try:
        enter_namespace()
    except OSError as exc:
        print(json.dumps(str(exc)))
        return
    print(json.dumps(None))
    from support import ServerProcess

    server = getattr(ServerProcess, kind)(**server_options)
    done, error = 0, None
    try:
        while done < count:
            connect_and_end(server.url, who, client_options)
            done += 1
    except engineio_gevent.exceptions.EngineIOError as exc:
        error = str(exc)
    finally:
        server.stop()
    print(json.dumps([done, error]))


if __name__ == '__main__':
    main()
