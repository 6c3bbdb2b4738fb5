"""Have a SOCKS proxy connect to a host: the messages by socksio, over a socket of this package."""

from __future__ import annotations

from ipaddress import ip_address
from typing import Any

from .resolve import look_up

# Bytes of address and port in a SOCKS 5 reply, by the type of the address (RFC 1928, section 6):
# IPv4, IPv6, and a name with its length before it.
_SIZES = {1: 4 + 2, 4: 16 + 2, 3: None}


class Refused(OSError):
    """The proxy refused, or is not a SOCKS proxy."""


def require() -> None:
    """Check that what this module needs is installed.

    :raises Refused: it is not.
    """
    try:
        import socksio  # noqa: F401  # only whether it is there
    except ImportError:
        raise Refused('socksio is not installed: pip install "engineio-gevent[socks]"') from None


def connect(sock: Any, scheme: str, host: str, port: int, user: str | None, password: str) -> None:
    """Have the proxy at the other end of a socket connect its end to a host; waits.

    :param scheme: ``socks4``, ``socks4a``, ``socks5`` or ``socks5h``. The proxy looks up the name
                   only with ``socks4a`` and ``socks5h``.
    :raises OSError: it refused, or the connection to it was lost.
    """
    import socksio

    if len(host) > 255:
        raise Refused('the host name is too long for SOCKS')
    version_4 = scheme.startswith('socks4')
    target = host if scheme in ('socks4a', 'socks5h') else _address(host, port, version_4)
    try:
        if version_4:
            _connect_4(sock, target, port, user)
        else:
            _connect_5(sock, target, port, user, password)
    except (socksio.SOCKSError, ValueError) as exc:
        raise Refused(f'invalid SOCKS answer from the proxy: {exc}') from exc


def _address(host: str, port: int, only_ipv4: bool) -> str:
    """The address of a host, for a proxy that is not to look the name up."""
    found = [one[4][0] for one in look_up(host, port) if ':' not in one[4][0] or not only_ipv4]
    if not found:
        raise Refused(f'{host} has no IPv4 address, which SOCKS 4 needs')
    return str(found[0]).partition('%')[0]


def _connect_4(sock: Any, target: str, port: int, user: str | None) -> None:
    import socksio

    who = (user or '').encode()
    connection = socksio.SOCKS4Connection(who)
    kind = socksio.SOCKS4Request if _is_address(target) else socksio.SOCKS4ARequest
    connection.send(kind.from_address(socksio.SOCKS4Command.CONNECT, (target, port), who))
    sock.sendall(connection.data_to_send())
    reply = connection.receive_data(_read(sock, 8))
    if reply.reply_code is not socksio.SOCKS4ReplyCode.REQUEST_GRANTED:
        raise _refusal(reply.reply_code.name)


def _connect_5(sock: Any, target: str, port: int, user: str | None, password: str) -> None:
    import socksio

    connection = socksio.SOCKS5Connection()
    methods = [socksio.SOCKS5AuthMethod.NO_AUTH_REQUIRED]
    if user is not None:
        methods.append(socksio.SOCKS5AuthMethod.USERNAME_PASSWORD)
    connection.send(socksio.SOCKS5AuthMethodsRequest(methods))
    sock.sendall(connection.data_to_send())
    answer: Any = connection.receive_data(_read(sock, 2))
    chosen = answer.method
    if chosen not in methods:
        raise _refusal(
            'all offered authentication methods were rejected'
            if user is not None
            else 'it wants a user and a password'
        )
    if chosen is socksio.SOCKS5AuthMethod.USERNAME_PASSWORD:
        secrets = (user or '').encode(), password.encode()
        if max(map(len, secrets)) > 255:  # RFC 1929, section 2
            raise Refused('user and password for a SOCKS proxy must not exceed 255 bytes')
        connection.send(socksio.SOCKS5UsernamePasswordRequest(*secrets))
        sock.sendall(connection.data_to_send())
        answer = connection.receive_data(_read(sock, 2))
        if not answer.success:
            raise _refusal('authentication failed')
    request = socksio.SOCKS5CommandRequest.from_address(
        socksio.SOCKS5Command.CONNECT, (target, port)
    )
    connection.send(request)
    sock.sendall(connection.data_to_send())
    reply = _read(sock, 4)
    kind = reply[3]
    if kind not in _SIZES:
        raise ValueError('unknown type of address')
    _read(sock, _SIZES[kind] or _read(sock, 1)[0] + 2)
    # The address is of no use, and socksio takes no long names in its place.
    answer = connection.receive_data(reply[:3] + b'\1' + bytes(6))
    if answer.reply_code is not socksio.SOCKS5ReplyCode.SUCCEEDED:
        raise _refusal(answer.reply_code.name)


def _refusal(why: str) -> Refused:
    return Refused(f'the SOCKS proxy refused: {why.replace("_", " ").lower()}')


def _is_address(target: str) -> bool:
    try:
        ip_address(target)
    except ValueError:
        return False
    return True


def _read(sock: Any, size: int) -> bytes:
    """Exactly this many bytes: what follows comes from the server."""
    data = b''
    while len(data) < size:
        piece = sock.recv(size - len(data))
        if not piece:
            raise Refused('the proxy closed the connection')
        data += piece
    return data
