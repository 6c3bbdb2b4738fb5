"""Ports and addresses of this machine."""

import contextlib
import secrets
import socket

import gevent.socket
import pytest


def has_ipv6():
    """Whether something can listen on ::1 here."""
    with socket.socket(socket.AF_INET6) as sock:
        try:
            sock.bind(('::1', 0))
        except OSError:
            return False
    return True


#: Ports that systems give neither to connections nor to those who ask for any port.
_PORTS = range(10_000, 32_768)


def free_port():
    """A port of 127.0.0.1 where nobody listens, and which the system gives to nobody else."""
    while True:
        port = secrets.choice(_PORTS)
        with socket.socket() as sock, contextlib.suppress(OSError):
            sock.bind(('127.0.0.1', port))
            return port


def listens(port):
    """Whether somebody listens on this port of 127.0.0.1."""
    with socket.socket() as sock:
        return sock.connect_ex(('127.0.0.1', port)) == 0


@contextlib.contextmanager
def swallowing(host='127.0.0.1', port=0):
    """A listening gevent socket that takes no connection, though it refuses none, for a block."""
    with contextlib.ExitStack() as stack:
        full = stack.enter_context(gevent.socket.socket())
        full.bind((host, port))
        full.listen(0)
        for _ in range(10):
            filler = stack.enter_context(gevent.socket.socket())
            filler.settimeout(0.1)
            try:
                filler.connect(full.getsockname())
            except OSError:
                break
        else:
            pytest.skip('this system lets any number of connections wait')
        yield full
