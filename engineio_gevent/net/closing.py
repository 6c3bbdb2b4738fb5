"""The end of a TCP connection: let the peer close it first.

The side that closes first keeps its port for a minute (TIME_WAIT). Clients that
come and go would run out of ports; a server has one port for all of them.
"""

from __future__ import annotations

import _socket
import struct
import sys
from typing import Any

from gevent.hub import get_hub

_READ = 1

#: Seconds in which the peer has to close.
PEER_TIMEOUT = 1.0
#: Bytes that are dropped at a time.
_READ_SIZE = 65536

# SO_LINGER: on, for no time. close() resets the connection then.
_RESET = struct.pack('HH' if sys.platform == 'win32' else 'ii', 1, 0)


def close_gently(sock: Any) -> None:
    """Close a socket once the peer has closed the connection; returns at once.

    A peer that does not close in time is sent a reset, which leaves no TIME_WAIT.

    :param sock: a connected socket that no greenlet uses. The peer has answered all that was sent.
    """
    # TLS would decrypt what comes, and gevent's sockets have watchers of their own.
    bare = _socket.socket(sock.family, sock.type, sock.proto, sock.detach())
    bare.setblocking(False)
    loop = get_hub().loop
    watcher = loop.io(bare.fileno(), _READ, ref=False)
    timer = loop.timer(PEER_TIMEOUT, ref=False)

    def close() -> None:
        for one in (watcher, timer):
            one.stop()
            one.close()
        bare.close()

    def read() -> None:
        try:
            if bare.recv(_READ_SIZE):
                return
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            pass  # the peer has reset the connection
        close()

    def give_up() -> None:
        bare.setsockopt(_socket.SOL_SOCKET, _socket.SO_LINGER, _RESET)
        close()

    watcher.start(read)
    timer.start(give_up)
