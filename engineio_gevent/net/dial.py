"""Open a TCP connection cooperatively, to the first address of a host that answers."""

from __future__ import annotations

import errno
import itertools
from collections.abc import Iterable, Iterator
from ipaddress import ip_address
from typing import Any

from .by_caller import Dial, open_by_caller
from .hosts import without_login
from .plain import PlainSocket
from .race import (
    SocketOptions,
    connect_first,
    explained,
    in_order,
    is_socket_option,
    new_socket,
    source_address,
)
from .resolve import look_up

_Key = tuple[str, int]  # host and port
# The address of a host that answered before those that its look-up lists first.
_answered_first: dict[_Key, Any] = {}
_ANSWERED_SIZE = 256


class Dialer:
    """Opens the TCP connections of an Engine.IO connection.

    :param dial: the caller's function, which then does all of it; None: :func:`open_socket`.
    :param source: the address of this machine to connect from; None: the system chooses it.
    :param options: ``setsockopt`` arguments, applied before connecting.
    """

    __slots__ = ('_dial', '_options', '_source')

    def __init__(
        self, dial: Dial | None = None, source: str | None = None, options: SocketOptions = ()
    ) -> None:
        self._dial = dial
        self._source = source
        self._options = tuple(options)

    def open(self, host: str, port: int, timeout: float | None, options: SocketOptions = ()) -> Any:
        """Open a connection; waits.

        :param timeout: in seconds, for the connection to be made; a ``dial`` of the caller's is
                        not limited by it.
        :param options: more ``setsockopt`` arguments.
        :returns: a connected socket: a :class:`.PlainSocket`, or one with TLS from the caller.
        :raises OSError: no address answered.
        :raises ConnectionClosed: the caller's function failed.
        """
        options = (*self._options, *options)
        if self._dial is not None:
            return open_by_caller(self._dial, host, port, options)
        return open_socket(host, port, options, timeout, self._source)


#: Opens connections as most clients do.
DIRECT = Dialer()


# How many connections each list of source addresses has made.
_turns: dict[tuple[str, ...], Iterator[int]] = {}
_TURNS_SIZE = 256


def make_dialer(
    dial: Dial | None, source_addresses: str | Iterable[str] | None, options: SocketOptions
) -> Dialer:
    """The dialer of a new Engine.IO connection, by the options of its client.

    :raises ValueError: an option is not valid.
    """
    if dial is None and source_addresses is None and not options:
        return DIRECT
    options = tuple(options) if isinstance(options, Iterable) else (options,)
    if not all(map(is_socket_option, options)):
        raise ValueError('sockopt must be a list of tuples, the arguments of setsockopt()')
    if source_addresses is None:
        if dial is not None and not callable(dial):
            raise ValueError(
                f'dial must be a function of a host and a port, not {type(dial).__name__}'
            )
        return Dialer(dial, None, options)
    if dial is not None:
        raise ValueError('dial and source_addresses cannot be combined: bind the socket in dial')
    if isinstance(source_addresses, str) or not isinstance(source_addresses, Iterable):
        source_addresses = (source_addresses,)
    addresses = tuple(source_addresses)
    _check_sources(addresses)
    if len(_turns) >= _TURNS_SIZE:
        _turns.clear()
    turns = _turns.setdefault(addresses, itertools.count())
    # All sockets of a connection have the same address: load balancers may go by it.
    return Dialer(None, str(addresses[next(turns) % len(addresses)]), options)


def _check_sources(addresses: tuple[str, ...]) -> None:
    if not addresses:
        raise ValueError('source_addresses is empty')
    for one in addresses:
        try:
            ip_address(str(one))  # it would take a number for an address
        except ValueError:
            shown = without_login(one) if isinstance(one, str) else one
            raise ValueError(f'source_addresses: {shown!r:.100} is not an IP address') from None


def open_socket(
    host: str,
    port: int,
    options: SocketOptions = (),
    timeout: float | None = None,
    source: str | None = None,
) -> PlainSocket:
    """Connect to the first address of a host that answers.

    An address that does not answer delays the next one for :data:`ATTEMPT_DELAY`, and one that
    refuses does not delay it (RFC 8305, section 5).

    :param host: a name or an address.
    :param port: the TCP port.
    :param options: ``setsockopt`` arguments, applied before connecting.
    :param timeout: in seconds, over all addresses.
    :param source: the address to connect from.
    :raises OSError: no address answered; the last error. ``TimeoutError`` in time.
    """
    addresses = look_up(host, port)
    bound = None
    if source is not None:
        bound = source_address(source)
        addresses = [one for one in addresses if one[0] == bound[0]]
    if not addresses:
        of_source = '' if source is None else f' of the family of the source address {source}'
        raise OSError(errno.EADDRNOTAVAIL, f'the host name has no address{of_source}')
    if len(addresses) == 1:
        sock = new_socket(addresses[0], options, bound)
        try:
            sock.settimeout(None if timeout is None else max(timeout, 0.001))
            sock.connect(addresses[0][4])
            sock.settimeout(None)
        except OSError as exc:
            sock.close()
            raise explained(exc, bound) from None
        except BaseException:  # a time-out or a kill, too, leaves no socket open
            sock.close()
            raise
        return sock
    key = host, port
    ordered = in_order(addresses, _answered_first.get(key))
    sock, address = connect_first(ordered, options, timeout, bound)
    if address is not ordered[0]:
        if len(_answered_first) >= _ANSWERED_SIZE:
            _answered_first.clear()
        _answered_first[key] = address[4]
    return sock
