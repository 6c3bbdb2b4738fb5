"""The options that say from where and to where a command connects: addresses and UNIX sockets."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from ipaddress import ip_address
from typing import Any

import click

from .. import addresses
from ..net import race
from ..net.errors import error_text
from ..net.hosts import ascii_host, authority
from .options import ConnectionOption

# HOST:PORT:ADDR. Each of the hosts may be an IPv6 address in brackets.
_RESOLVE = re.compile(r'(?P<host>\[[^]]*\]|[^][:]+):(?P<port>\d{1,5}):(?P<address>.+)')


def _pins(
    context: click.Context, parameter: click.Parameter, values: tuple[str, ...]
) -> dict[tuple[str, int], str]:
    found: dict[tuple[str, int], str] = {}
    for text in values:
        matched = _RESOLVE.fullmatch(text)
        if matched is None:
            raise click.BadParameter(
                f'{text!r} is not of the form HOST:PORT:ADDR, such as example.com:443:192.0.2.7 or '
                'example.com:443:[2001:db8::7]'
            )
        try:
            host = ascii_host(matched['host'].strip('[]')).lower()
        except ValueError as exc:
            raise click.BadParameter(f'{text!r}: {exc}') from exc
        port = int(matched['port'])
        if not 0 < port < 65536:
            raise click.BadParameter(f'{text!r}: the port must be a number from 1 to 65535')
        address = _ip_address(matched['address'])
        if found.setdefault((host, port), address) != address:
            raise click.BadParameter(f'{authority(host, port)} is given twice')
    return found


def _ip_address(text: str) -> str:
    """An IP address, of which one of IPv6 may be in brackets.

    :raises click.BadParameter: it is not.
    """
    bare = text[1:-1] if text.startswith('[') and text.endswith(']') else text
    try:
        return str(ip_address(bare))
    except ValueError:
        raise click.BadParameter(f'{text!r} is not an IP address') from None


def _unix_socket(
    context: click.Context, parameter: click.Parameter, value: str | None
) -> str | None:
    if value is not None:
        try:
            addresses.unix_socket(value)
        except ValueError as exc:
            raise click.BadParameter(str(exc)) from exc
    return value


def _sources(
    context: click.Context, parameter: click.Parameter, values: tuple[str, ...]
) -> tuple[str, ...]:
    found = [_ip_address(one.strip()) for text in values for one in text.split(',')]
    for one in found:
        _check_source(one)
    return tuple(found)


def _check_source(address: str) -> None:
    """Bind a socket to an address.

    :raises click.BadParameter: it is not an address of this machine.
    """
    try:
        source = race.source_address(address)
        race.new_socket(source, (), source).close()
    except OSError as exc:
        raise click.BadParameter(f'{error_text(exc)}. "ip address" lists the addresses') from exc


_option = functools.partial(click.option, cls=ConnectionOption)

#: Options of the commands that connect one client.
_ADDRESS_OPTIONS = (
    _option(
        '--resolve', 'pins', multiple=True, callback=_pins, metavar='HOST:PORT:ADDR',
        help='Connect to this address instead of looking up HOST, if the port is PORT. Repeat the '
             'option for more hosts. The Host header and the TLS certificate keep the name.',
    ),
    _option(
        '--unix-socket', callback=_unix_socket, metavar='PATH', type=click.Path(),
        help='Connect to this UNIX socket, without a proxy. The Host header and the TLS '
             'certificate have the host of the URL.',
    ),
)  # fmt: skip

#: The option of the command that connects many clients.
source_option = click.option(
    '--source', 'sources', multiple=True, callback=_sources, metavar='ADDR',
    help='Connect from this IP address of this machine. Repeat the option, or separate addresses '
         'by commas: the clients use them in turn.',
)  # fmt: skip


def address_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that replace the look-up of the host."""
    for add in reversed(_ADDRESS_OPTIONS):
        function = add(function)
    return function
