"""Ports and addresses of this machine."""

import socket


def has_ipv6():
    """Whether something can listen on ::1 here."""
    with socket.socket(socket.AF_INET6) as sock:
        try:
            sock.bind(('::1', 0))
        except OSError:
            return False
    return True


def free_port():
    """A port of 127.0.0.1 where nobody listens."""
    with socket.socket() as sock:
        sock.bind(('127.0.0.1', 0))
        return sock.getsockname()[1]


def listens(port):
    """Whether somebody listens on this port of 127.0.0.1."""
    with socket.socket() as sock:
        return sock.connect_ex(('127.0.0.1', port)) == 0
