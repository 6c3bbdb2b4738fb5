"""Find out whether the server runs on this machine, where it competes for CPU time."""

from __future__ import annotations

from urllib.parse import urlsplit

from gevent import socket


def is_here(url: str) -> bool:
    """Whether an address of the server belongs to this machine."""
    try:
        host = urlsplit(url).hostname or ''
        found = socket.getaddrinfo(host, None, type=socket.SOCK_DGRAM)
    except (OSError, ValueError):
        return False
    return any(_is_own(family, address) for family, _, _, _, address in found)


def _is_own(family: int, address: tuple[object, ...]) -> bool:
    """Whether a socket can be bound to this address, which works only for own addresses."""
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as sock:
            sock.bind((address[0], 0, *address[2:]))
    except OSError:
        return False
    return True
