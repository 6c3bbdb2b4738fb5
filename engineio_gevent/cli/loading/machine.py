"""Whether the server shares this machine: then the two take each other's time."""

from __future__ import annotations

from urllib.parse import urlsplit

from gevent import socket


def is_here(url: str) -> bool:
    """Whether an address of the server is one of this machine's."""
    try:
        host = urlsplit(url).hostname or ''
        found = socket.getaddrinfo(host, None, type=socket.SOCK_DGRAM)
    except (OSError, ValueError):
        return False
    return any(_is_ours(family, address) for family, _, _, _, address in found)


def _is_ours(family: int, address: tuple[object, ...]) -> bool:
    """Only addresses of its own can a machine bind a socket to."""
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as sock:
            sock.bind((address[0], 0, *address[2:]))
    except OSError:
        return False
    return True
