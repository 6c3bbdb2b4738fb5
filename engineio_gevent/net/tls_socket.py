"""gevent's TLS socket, with what a stream driven by the hub needs of it."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable
from typing import Any

import gevent.ssl


def _send(self: Any, data: Any, *arguments: Any, **timeout: Any) -> int:
    """Send some of ``data``; without time to wait, it raises what TLS waits for.

    gevent's own returns 0 then. A stream would wait for room, and find it at once, again and
    again, while TLS waits for the peer.
    """
    if self.timeout == 0 and self._sslobj:
        sent: int = self._sslobj.write(data)
        return sent
    return gevent.ssl.SSLSocket.send(self, data, *arguments, **timeout)


def sender(sock: Any) -> Callable[[Any], int]:
    """The ``send()`` of a socket of any kind, which raises if TLS has to wait.

    A caller's function may have made gevent's TLS socket itself.
    """
    send: Callable[[Any], int] = sock.send
    if getattr(type(sock), 'send', None) is gevent.ssl.SSLSocket.send:
        send = functools.partial(_send, sock)
    return send


def announces_each_record(sock: Any) -> bool:
    """Whether a TLS socket reads one record at a time, so that the loop announces the next one.

    OpenSSL does, and returns as much of a record as it is asked for. A class of another kind, as
    that for TLS inside TLS, may have read more than it has returned.
    """
    return getattr(type(sock), 'recv', None) is gevent.ssl.SSLSocket.recv


class TLSSocket(gevent.ssl.SSLSocket):
    """A TLS socket that closes what it has taken over when it cannot be made.

    gevent's own leaves the descriptor to the garbage collector where the peer
    has reset the connection by then.
    """

    def __init__(self, **options: Any) -> None:
        try:
            super().__init__(**options)
        except BaseException:  # a time-out or a kill, too, leaves no socket open
            if options['sock'].fileno() == -1:  # it is ours by now
                self.close()
            raise

    send = _send

    def detach(self) -> int:
        """Give up the descriptor, and watch it no longer: the owner may close it at once.

        gevent's own goes on watching while a greenlet waits, up to a later callback, and a loop
        that watches a closed descriptor aborts the process.
        """
        # Where the hub has been destroyed its watchers have, too, and say so.
        with contextlib.suppress(ValueError):
            for name in ('_read_event', '_write_event'):
                watcher = getattr(self, name)
                if watcher is not None:
                    watcher.stop()
        return super().detach()
