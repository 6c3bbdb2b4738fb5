"""The client's option ``websocket_extra_options``: websocket-client's keyword arguments, checked.

websocket-client acts on those for the request. This package acts on those for the connection,
because it opens it, with the meaning that websocket-client gives them.
"""

from __future__ import annotations

import os
import re
import ssl
import warnings
from collections.abc import Callable, Collection, Iterable, Mapping
from functools import lru_cache
from typing import Any

from ..exceptions import ConnectionClosed
from ..net.by_caller import call
from ..net.hosts import ascii_host
from ..net.race import is_socket_option
from ..net.tls import SSLOPT, Verify
from ..net.tunnel import PROXY_PORTS, SOCKS, SOCKS_PORT, Proxy
from . import environment
from .headers import HANDSHAKE, NAME, Headers, checked_headers, one_of_each, without_framing

_PROXY = frozenset((
    'http_proxy_port', 'http_no_proxy', 'http_proxy_auth', 'http_proxy_timeout', 'proxy_type'
))  # fmt: skip
#: For the connection, which this package opens.
_CONNECTION = _PROXY | {'socket', 'timeout', 'redirect_limit', 'http_proxy_host'}
#: For each request: a redirect changes them.
_PER_REQUEST = frozenset(('header', 'cookie', 'origin', 'host'))
#: For the object of websocket-client, which does the handshake.
_OBJECT = frozenset((
    'class_', 'connection', 'enable_multithread', 'get_mask_key', 'skip_utf8_validation', 'sockopt',
    'sslopt', 'subprotocols', 'suppress_host', 'suppress_origin',
))  # fmt: skip
#: Those that would act on messages in a way that Engine.IO has no use for.
_WITHOUT_EFFECT = 'dispatcher', 'fire_cont_frame'
_PROXY_TYPES = *PROXY_PORTS, *SOCKS

_warned: set[str] = set()


def _is_seconds(value: Any) -> bool:
    return isinstance(value, (int, float)) and value >= 0  # False for NaN


def _is_port(value: Any) -> bool:
    return bool(re.fullmatch('[0-9]{1,5}', str(value))) and 0 < int(value) < 1 << 16


def _is_list_of(valid: Callable[[Any], bool]) -> Callable[[Any], bool]:
    # Not an iterator: each redirect reads the list again.
    def is_list(value: Any) -> bool:
        a_list = isinstance(value, Collection) and not isinstance(value, (str, bytes))
        return a_list and all(map(valid, value))

    return is_list


def _is_name(value: Any) -> bool:
    return isinstance(value, str) and bool(NAME.match(value))


def _is_host(value: Any) -> bool:
    try:
        return value == '' or (isinstance(value, str) and bool(ascii_host(value)))
    except ValueError:
        return False


def _is_login(value: Any) -> bool:
    pair = isinstance(value, (tuple, list)) and len(value) == 2
    return pair and all(one is None or isinstance(one, str) for one in value)


def _is_line(value: Any) -> bool:
    return isinstance(value, str) and (value.lower().startswith('connection:') or not value)


_SECONDS = 'a number of seconds, at least 0, or None'
#: What a value that is not None has to be.
_CHECKS: tuple[tuple[str, Callable[[Any], bool], str], ...] = (
    ('connection', _is_line, 'a line, such as "Connection: Upgrade"'),
    ('get_mask_key', callable, 'a function that is called with 4 and returns 4 bytes'),
    ('header', lambda value: isinstance(value, Iterable),
     'a dict, a list of lines, or a list of pairs'),
    ('http_no_proxy', _is_list_of(lambda one: isinstance(one, str)), 'a list of hosts'),
    ('http_proxy_auth', _is_login, 'a pair: user and password'),
    ('http_proxy_host', _is_host, 'the name or address of a host'),
    ('http_proxy_port', _is_port, 'a number from 1 to 65535'),
    ('http_proxy_timeout', _is_seconds, _SECONDS),
    ('proxy_type', ('', *_PROXY_TYPES).__contains__, f'one of {", ".join(_PROXY_TYPES)}'),
    ('redirect_limit', lambda value: bool(re.fullmatch('-?[0-9]{1,9}', str(value))),
     'a whole number'),
    ('socket', lambda value: callable(value) or hasattr(value, 'fileno'),
     'a connected socket, or a function that returns one'),
    ('sockopt', _is_list_of(is_socket_option),
     'a list of tuples, the arguments of setsockopt()'),
    ('sslopt', lambda value: isinstance(value, Mapping), 'a dict'),
    ('subprotocols', _is_list_of(_is_name),
     'a list of names, without spaces or control characters'),
    ('timeout', _is_seconds, _SECONDS),
)  # fmt: skip


def _is_path(value: Any) -> bool:
    return isinstance(value, (str, bytes, os.PathLike))


def _is_password(value: Any) -> bool:
    return isinstance(value, (str, bytes, bytearray)) or callable(value)


@lru_cache(maxsize=16)
def _is_known(setter: str, value: Any) -> bool:
    """Whether OpenSSL knows the ciphers or the curve."""
    try:
        getattr(ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT), setter)(value)
    except (TypeError, ValueError, ssl.SSLError):
        return False
    return True


_VERIFYING = 'context', 'ca_certs', 'ca_cert_path'
_FILE = 'the path of a file'
#: What a value of ``sslopt`` that is not None has to be.
_SSLOPT_CHECKS: tuple[tuple[str, Callable[[Any], bool], str], ...] = (
    ('ca_cert_path', _is_path, 'the path of a folder'),
    ('ca_certs', _is_path, _FILE),
    ('cert_reqs', tuple(ssl.VerifyMode).__contains__,
     'ssl.CERT_NONE, ssl.CERT_OPTIONAL or ssl.CERT_REQUIRED'),
    ('certfile', _is_path, _FILE),
    ('ciphers', lambda value: isinstance(value, str) and _is_known('set_ciphers', value),
     'a list of ciphers that OpenSSL knows, as one string'),
    ('context', lambda value: isinstance(value, ssl.SSLContext), 'an ssl.SSLContext'),
    ('ecdh_curve', lambda value: isinstance(value, str) and _is_known('set_ecdh_curve', value),
     'the name of a curve that OpenSSL knows'),
    ('keyfile', _is_path, _FILE),
    ('password', _is_password, 'text, bytes, or a function that returns them'),
    ('server_hostname', lambda value: isinstance(value, str), 'the name of a host'),
    ('ssl_version', lambda value: isinstance(value, int), 'a protocol of the module ssl'),
)  # fmt: skip


class WebSocketOptions:
    """The options of one connection.

    :param given: the keyword arguments.
    :raises ValueError: one of them is not valid.
    """

    __slots__ = ('_given', '_headers')

    def __init__(self, given: Mapping[str, Any]) -> None:
        self._given = given
        for name, valid, words in _CHECKS:
            value = given.get(name)
            if value is not None and not valid(value):
                # Without the value, which may be secret.
                raise _invalid(f'{name} must be {words}')
        if not callable(given.get('class_', object)):
            raise _invalid('class_ must be a class or a function')
        # The caller's headers: names and values in order.
        own = without_framing(_checked('header', _pairs(given.get('header') or ())))
        self._headers = one_of_each(own) if isinstance(given.get('header'), Mapping) else own
        for name in ('Cookie', 'Host', 'Origin'):
            special = _checked(name.lower(), [(name, given.get(name.lower()))])
            if special:
                self._headers = [one for one in self._headers if one[0].lower() != name.lower()]
                self._headers += special
        _checked('connection', _pairs(given.get('connection') or ()))
        _check_sslopt(given.get('sslopt') or {})
        self._warn()

    def _warn(self) -> None:
        """Warn of what has no effect."""
        given = self._given
        without = [name for name in _WITHOUT_EFFECT if given.get(name)]
        if 'class_' not in given:  # which may have arguments of its own
            without += given.keys() - (_CONNECTION | _PER_REQUEST | _OBJECT | {*_WITHOUT_EFFECT})
        without += (f'sslopt: {name}' for name in (given.get('sslopt') or {}).keys() - SSLOPT)
        for name in sorted(without):
            warn(f'{name} has no effect')
        if not given.get('http_proxy_host'):
            for name in sorted(_PROXY & given.keys()):
                warn(f'{name} has no effect without http_proxy_host')

    # The request

    def merged(self, headers: Headers) -> Headers:
        """The headers of a request: these, and the options', which replace them.

        :param headers: those of the client and its session, which may be meant for polling.
        """
        replaced = HANDSHAKE.union(name.lower() for name, _ in self._headers)
        return [one for one in headers if one[0].lower() not in replaced] + self._headers

    def arguments(self) -> dict[str, Any]:
        """The arguments for websocket-client, but for those that each request has of its own."""
        unwanted = _CONNECTION | _PER_REQUEST
        return {name: value for name, value in self._given.items() if name not in unwanted}

    # The connection

    def timeout(self, default: float | None) -> float | None:
        """Seconds for each step of the opening; None: no limit.

        :param default: the client's ``request_timeout``.
        """
        seconds: float | None = self._given.get('timeout', default)
        if seconds is None:
            import websocket

            seconds = websocket.getdefaulttimeout()
        return seconds

    def time_limit(self, default: float | None) -> float | None:
        """Seconds for the whole opening: a longer timeout of the caller's extends it.

        :param default: the client's ``request_timeout``.
        """
        step = self.timeout(default)
        if step is None or default is None:
            return None
        for_proxy: float | None = self._given.get('http_proxy_timeout')
        return max(default, step) if for_proxy is None else max(default, step, for_proxy)

    @property
    def sockopt(self) -> Iterable[tuple[Any, ...]]:
        return self._given.get('sockopt') or ()

    def sslopt(self, verify: Verify) -> dict[str, Any]:
        """The option ``sslopt``, with the CA bundle that the environment names for websockets.

        :param verify: the setting of the client and its session. A CA bundle there takes precedence
                       over that of the environment.
        """
        sslopt = dict(self._given.get('sslopt') or {})
        path = os.environ.get('WEBSOCKET_CLIENT_CA_BUNDLE')
        if path and (not isinstance(verify, str) or verify == environment.ca_bundle()):
            name = 'ca_certs' if os.path.isfile(path) else 'ca_cert_path'
            if os.path.exists(path) and sslopt.get(name) is None:
                sslopt[name] = path
        return sslopt

    @property
    def verifies(self) -> bool:
        """Whether ``sslopt`` says how to verify a server."""
        sslopt = self._given.get('sslopt') or {}
        # CERT_NONE is 0.
        return any(map(sslopt.get, _VERIFYING)) or sslopt.get('cert_reqs') is not None

    @property
    def redirect_limit(self) -> int:
        """How many redirects are followed to any server. websocket-client's default is 3."""
        limit = self._given.get('redirect_limit')
        return 0 if limit is None else max(0, int(limit))

    def socket(self) -> Any:
        """The caller's connected socket, or None. A function returns a new one each time.

        :raises ConnectionClosed: it is no socket, or it is closed, as after the connection that it
                                 was for.
        """
        given = self._given.get('socket')
        sock = call('websocket_extra_options: socket', given) if callable(given) else given
        if sock is not None and not hasattr(sock, 'fileno'):
            raise ConnectionClosed(
                'websocket_extra_options: socket: the function must return a connected socket or '
                'None'
            )
        if sock is not None and sock.fileno() == -1:
            raise ConnectionClosed(
                'websocket_extra_options: the socket is closed. It serves one connection: pass a '
                'function that returns a new one each time'
            )
        return sock

    def proxy(self, host: str, secure: bool) -> tuple[Proxy | None, float | None] | None:
        """The caller's proxy for a host, and its timeout in seconds.

        :returns: None if the options do not name a proxy. The proxy is None if ``http_no_proxy``,
                  or else ``NO_PROXY``, names the host.
        """
        own = self._given
        address = own.get('http_proxy_host')
        if not address:
            return None
        scheme = own.get('proxy_type') or 'http'
        port = int(own.get('http_proxy_port') or PROXY_PORTS.get(scheme, SOCKS_PORT))
        user, password = own.get('http_proxy_auth') or (None, '')
        listed = own.get('http_no_proxy')
        # Older versions of websocket-client otherwise use no proxy for localhost.
        if listed or os.environ.get('no_proxy', os.environ.get('NO_PROXY')):
            from websocket._url import get_proxy_info

            if not get_proxy_info(host, secure, address, port, None, listed)[0]:
                return None, None
        proxy = Proxy(scheme, ascii_host(address), port, user or None, password or '')
        return proxy, own.get('http_proxy_timeout')


def _pairs(headers: Any) -> Iterable[tuple[Any, Any]]:
    """The names and values of a mapping, of lines, or of pairs."""
    if isinstance(headers, Mapping):
        return headers.items()
    pairs = []
    for number, line in enumerate([headers] if isinstance(headers, (str, bytes)) else headers, 1):
        pair = line.decode('latin-1') if isinstance(line, bytes) else line
        if isinstance(pair, str):
            pair = pair.split(':', 1)
        if not isinstance(pair, (tuple, list)) or len(pair) != 2:
            # Without the line, which may be secret.
            raise _invalid(f'header: line {number} must be "Name: value"')
        pairs.append((pair[0], pair[1]))
    return pairs


def _checked(option: str, headers: Iterable[tuple[Any, Any]]) -> Headers:
    try:
        return checked_headers(headers)
    except ValueError as exc:
        raise _invalid(f'{option}: {exc}') from None


def _check_sslopt(sslopt: Mapping[str, Any]) -> None:
    """Refuse what websocket-client, or ssl, refuses."""
    for name, valid, words in _SSLOPT_CHECKS:
        value = sslopt.get(name)
        if value is not None and not valid(value):
            # Without the value, which may be secret.
            raise _invalid(f'sslopt: {name} must be {words}')
    if sslopt.get('context'):
        return
    if sslopt.get('cert_reqs', ssl.CERT_REQUIRED) == ssl.CERT_NONE and sslopt.get('check_hostname'):
        raise _invalid('sslopt: check_hostname cannot be enabled when cert_reqs is CERT_NONE')
    chain = sslopt.get('cert_chain', (None,) * 3)
    if not isinstance(chain, (tuple, list)) or len(chain) != 3:
        raise _invalid('sslopt: cert_chain must be a tuple or list (certfile, keyfile, password)')
    if not all(map(_is_path, filter(None, chain[:2]))):
        raise _invalid('sslopt: cert_chain must begin with the paths of files')


def _invalid(why: str) -> ValueError:
    return ValueError(f'websocket_extra_options: {why}')


def warn(what: str) -> None:
    """Warn, once in a process."""
    if what not in _warned:
        _warned.add(what)
        warnings.warn(f'websocket_extra_options: {what}', RuntimeWarning, stacklevel=2)
