"""Names of hosts: checked in the form that is sent, and as TLS and the ``Host`` header have them.

A name may end with a dot: the resolver then adds no search domain. Certificates have no such dot,
and many servers do not know a ``Host`` with one. An IPv6 address may end with a zone, such as
``%eth0``, which has a meaning on this machine only (RFC 6874, section 1). urllib3 omits both, too.
"""

from __future__ import annotations

import re
from functools import lru_cache
from ipaddress import IPv6Address

_NAME = re.compile(r'[A-Za-z0-9._~-]{1,254}')
_ZONE = re.compile(r'(?:25)?([A-Za-z0-9._~-]+)')
_LOGIN = re.compile(r'\A(\w[\w+.-]*://|//)?.*@', re.DOTALL)
# What a Host header omits: a zone, a dot at the end of a name.
_LOCAL = re.compile(r'%[^\]]*(?=\])|\.(?=:\d*\Z|\Z)')


def ascii_host(host: str) -> str:
    """The host of a URL as it goes over the wire.

    :param host: a name in any script, or an IP address without brackets.
    :raises ValueError: it is not valid. What counts is the name that IDNA makes of it (RFC 3490):
                        it can turn one character into several, and into ``<`` or a space.
    """
    try:
        if ':' in host:
            return _ipv6(host)
        # The codec also refuses empty labels, and those of more than 63 characters; that of its
        # result, too, in which one character can have become several dots.
        name = host.encode('idna').decode('ascii').encode('idna').decode('ascii')
    except ValueError:  # that of the codec is a UnicodeError
        name = ''
    if not _NAME.fullmatch(name):
        raise ValueError(f'invalid host name: {host!r:.100}') from None
    return name


def _ipv6(host: str) -> str:
    address, percent, zone = host.partition('%')
    IPv6Address(address)
    if not percent:
        return address
    matched = _ZONE.fullmatch(zone)  # a URL has %25 for the percent sign
    if not matched:
        raise ValueError('invalid zone')
    return f'{address}%{matched[1]}'


def authority(host: str, port: int | None) -> str:
    """A host and its port as in a URL. The port None is left out."""
    host = f'[{host}]' if ':' in host else host
    return host if port is None else f'{host}:{port}'


@lru_cache(maxsize=16)
def host_header(netloc: str) -> str:
    """The value of the ``Host`` header for the host and port of a URL."""
    return _LOCAL.sub('', netloc)


def tls_name(host: str) -> str:
    """The name that the certificate of a host has, and that the handshake sends."""
    return host.partition('%')[0].removesuffix('.')


def without_login(url: str) -> str:
    """A URL for an error: without user, password and query.

    A password may have any character, so all up to the last @ is left out.
    """
    return re.split('[?#]', _LOGIN.sub(r'\1...@', url))[0]
