"""Functions for the option ``dial`` of the client: UNIX sockets, and hosts with fixed addresses."""

from __future__ import annotations

import errno
import os
import sys
from collections import defaultdict
from collections.abc import Mapping
from ipaddress import ip_address
from urllib.parse import urlsplit

from gevent import sleep, socket
from gevent.lock import Semaphore

from .net.by_caller import Dial
from .net.dial import open_socket
from .net.errors import error_text
from .net.hosts import ascii_host
from .net.plain import PlainSocket
from .per_hub import PerHub

__all__ = ['Dial', 'pinned', 'unix_socket']

#: Seconds between two attempts to connect to a UNIX socket whose queue is full. The system does not
#: report when it has room.
RETRY_DELAY = 0.001

# The size of ``sun_path``. The path of a file ends with a zero byte, an abstract name does not.
_LONGEST = 108 if sys.platform == 'linux' else 104

# For each path, who may try again: thousands of clients that all try again would be slow.
_turns: PerHub[defaultdict[bytes, Semaphore]] = PerHub(lambda hub: defaultdict(Semaphore))
_TURNS_SIZE = 256


def unix_socket(path: str | bytes | os.PathLike[str]) -> Dial:
    """A ``dial`` that connects to a UNIX socket, whatever the host and port of the URL are.

    The URL still says the ``Host`` header, the path, and whether to use TLS. While the server has
    too many connections to accept, the function tries again. The time limit is that of the client,
    ``request_timeout``.

    :param path: the path of the socket. On Linux, an abstract name begins with a zero byte.
    :raises ValueError: the path is not valid.

    Example::

        eio = engineio_gevent.Client(dial=unix_socket('/run/app.sock'))
        eio.connect('http://localhost')
    """
    try:
        name = os.fsencode(path)
    except TypeError:
        raise ValueError(f'not the path of a UNIX socket: {path!r}') from None
    abstract = name.startswith(b'\0')
    if not name or (b'\0' in name and not abstract):
        raise ValueError(f'not the path of a UNIX socket: {path!r}')
    if len(name) >= _LONGEST + abstract:
        raise ValueError(f'the path of a UNIX socket must be shorter than {_LONGEST}: {path!r}')
    shown = '@' + os.fsdecode(name[1:]) if abstract else os.fsdecode(name)

    def dial(host: str, port: int) -> PlainSocket:
        sock = PlainSocket(socket.AF_UNIX, socket.SOCK_STREAM, 0)
        try:
            error = sock.connect_ex(name)
            if error == errno.EAGAIN:
                turns = _turns.get()
                if len(turns) >= _TURNS_SIZE:
                    turns.clear()
                with turns[name]:
                    while (error := sock.connect_ex(name)) == errno.EAGAIN:
                        sleep(RETRY_DELAY)
            if error:
                raise OSError(error, f'{shown}: {os.strerror(error)}')
        except BaseException:  # a time-out or a kill, too, leaves no socket open
            sock.close()
            raise
        return sock

    return dial


def pinned(hosts: Mapping[str, str]) -> Dial:
    """A ``dial`` that connects to fixed addresses instead of looking up the names of some hosts.

    The TLS certificate must still have the name of the URL, and the ``Host`` header has it. Other
    hosts are looked up as usual. If a proxy is used, the host is that of the proxy.

    :param hosts: an IP address for each ``'host'`` or ``'host:port'``. An entry with a port is used
                  first. A host that is an IPv6 address is in brackets, as in a URL.
    :raises ValueError: an entry is not valid.

    Example::

        dial = pinned({'example.org': '192.0.2.7', 'example.org:8443': '2001:db8::7'})
        eio = engineio_gevent.Client(dial=dial)
        eio.connect('https://example.org')
    """
    known: dict[tuple[str, int | None], str] = {}
    for host, address in hosts.items():
        try:
            known[_host_and_port(host)] = str(ip_address(str(address)))
        except ValueError as exc:
            raise ValueError(f'pinned: {exc}') from None

    def dial(host: str, port: int) -> PlainSocket:
        name = host.lower()
        address = known.get((name, port)) or known.get((name, None))
        if address is None:
            return open_socket(host, port)
        try:
            return open_socket(address, port)
        except OSError as exc:
            raise OSError(exc.errno, f'{address}: {error_text(exc)}') from exc

    return dial


def _host_and_port(text: str) -> tuple[str, int | None]:
    """The host as URLs of the client have it, and the port if there is one.

    :raises ValueError: it is not a host.
    """
    try:
        parts = urlsplit(f'//{text}')
        host, port = parts.hostname, parts.port
        if host and parts.netloc == text and '@' not in text:
            return ascii_host(host), port
    except ValueError:  # a port that is not a number, brackets without an address, not IDNA
        pass
    raise ValueError(f"not a 'host' or 'host:port': {text!r}")
