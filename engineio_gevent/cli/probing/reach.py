"""The steps to the server: host name, proxy, TCP or UNIX socket, TLS."""

from __future__ import annotations

import contextlib
import errno
import os
import ssl
from dataclasses import dataclass
from ipaddress import ip_address
from time import monotonic, perf_counter
from typing import Any

from gevent import socket
from gevent.hub import get_hub

from ...exceptions import ConnectionClosed, EngineIOError
from ...net import race, socks, tls, tunnel
from ...net.deadlines import within
from ...net.dial import Dialer
from ...net.errors import error_text
from ...net.hosts import authority, host_header
from ...net.race import SocketOptions
from ...net.resolve import Address, look_up
from ...net.tunnel import Proxy
from ...transports import redirects
from ...transports.connection import open_connection
from ...transports.environment import default_ca_bundle
from ...transports.route import Route
from ..options import Connection
from . import secure
from .report import SKIPPED, Fault, Run, Step
from .wire import exchange

#: Seconds that unreachable addresses may cost before that is a warning.
SLOW = 0.2

#: Seconds to look for another way to connect, after a request without a response.
LOOK = 2.0

#: How a proxy is used: not at all, by CONNECT, with absolute URLs, by SOCKS.
DIRECT, CONNECT, FORWARD, SOCKS = 'none', 'connect', 'forward', 'socks'


@dataclass(frozen=True)
class ProbeOptions:
    """The settings of a probe."""

    connection: Connection
    #: Seconds for each step. The reports name those of the connection.
    timeout: float
    #: Whether to wait for the first PING of the server.
    wait_ping: bool
    #: The parameters of the command by name, to report where a setting comes from.
    parameters: dict[str, Any]
    #: Whether to disconnect after the handshake.
    only_handshake: bool = False


class _Remembering(Dialer):
    """Connects to the address that answered in a step, as the client remembers it.

    :param dialer: the dialer of the connection.
    :param addresses: by host and port, the address that answered.
    """

    def __init__(self, dialer: Dialer, addresses: dict[tuple[str, int], str]) -> None:
        super().__init__()
        self._dialer = dialer
        self._addresses = addresses

    def open(self, host: str, port: int, timeout: float | None, options: SocketOptions = ()) -> Any:
        address = self._addresses.get((host, port), host)
        return self._dialer.open(address, port, timeout, options)


class Reach:
    """Opens connections to the server, as the client does for a transport.

    :param route: the client's route to the server. It gets another dialer.
    :param options: the settings.
    """

    def __init__(self, route: Route, options: ProbeOptions) -> None:
        self.route = route
        self.timeout = options.timeout
        #: The seconds to report after a timeout.
        self.stated_timeout = options.connection.timeout
        self._connection = options.connection
        self._parameters = options.parameters
        #: By host and port, the address that answered.
        self._addresses: dict[tuple[str, int], str] = {}
        route.dialer = _Remembering(route.dialer, self._addresses)

    def proxy(self, transport: str) -> Proxy | None:
        """The proxy for a transport."""
        if transport == 'websocket':
            return self.route.websocket_proxy
        return None if self.route.proxy is None else Proxy.parse(self.route.proxy)

    def how(self, transport: str) -> str:
        """How the proxy for a transport is used."""
        proxy = self.proxy(transport)
        if proxy is None:
            return DIRECT
        if proxy.scheme in tunnel.SOCKS:
            return SOCKS
        return CONNECT if self.route.secure or transport == 'websocket' else FORWARD

    # Connections with steps

    def open(self, run: Run, transport: str) -> Any:
        """Connect step by step.

        :returns: the connected socket.
        """
        proxy = self._reported_proxy(run, transport)
        if proxy is None:
            self._report_bypass(run)
            sock = self._dial(run, self.route.host, self.route.port, None)
        else:
            sock = self._by_proxy(run, proxy, transport)
        if not self.route.secure:
            return sock
        with run.step('tls') as step:
            try:
                sock = self._shake_hands(step, sock, None)
            except Fault as exc:
                if secure.NO_TLS_OR_HOST in exc.problem and self._speaks_http(transport):
                    raise Fault(secure.SPEAKS_HTTP) from exc
                raise
        return sock

    def _shake_hands(self, step: Step, sock: Any, proxy: Proxy | None) -> Any:
        """The handshake of TLS with the server, or with the proxy."""
        authorities = self._authorities() if self.route.verify else None
        return secure.shake_hands(
            step, self._peer(proxy), sock, self.timeout, self.stated_timeout, authorities
        )

    def _peer(self, proxy: Proxy | None) -> secure.Peer:
        route = self.route
        if proxy is None:
            return secure.Peer('server', route.host, route.tls_context, route.cert is not None)
        return secure.Peer('proxy', proxy.host, route.proxy_tls_context, has_certificate=False)

    def _reported_proxy(self, run: Run, transport: str) -> Proxy | None:
        """The proxy for a transport. An invalid URL is reported as a failed step."""
        try:
            return self.proxy(transport)
        except ConnectionClosed as exc:
            with run.step('proxy') as step:
                source = self._source()
                step.facts.update(url=None, source=source, how=DIRECT)
                raise Fault(f'{source}: {exc}') from exc
            raise  # never reached: the failed step raises Stop

    def _dial(self, run: Run, host: str, port: int, proxy: Proxy | None) -> Any:
        what = 'server' if proxy is None else 'proxy'
        if self._connection.unix_socket is not None:
            return self._dial_unix(run, self._connection.unix_socket)
        pinned = self._connection.pins.get((host, port))
        known = pinned or _as_address(host)
        if known is None:
            # Names are looked up in a thread pool. Starting it takes some milliseconds, which would
            # count as the resolver's.
            get_hub().threadpool.apply(int)
        with run.step('dns') as step:
            step.facts.update(host=host, of=what, pinned=pinned is not None)
            if known is None:
                found = within(self.timeout, _look_up, host, port)
            else:
                found = look_up(known, port)
            step.facts['addresses'] = [str(one[4][0]) for one in found]
        with run.step('tcp') as step:
            step.facts.update(address=None, port=port, refused_by=[])
            sock, address = self._connect(step, port, found, what)
            step.facts['address'] = self._addresses[host, port] = address
        return sock

    def _connect(self, step: Step, port: int, found: list[Address], what: str) -> tuple[Any, str]:
        """Connect to the first address that answers, as the client does.

        :returns: the socket, and the address.
        """
        source = None
        if self._connection.sources:
            source = race.source_address(self._connection.sources[0])
            found = [one for one in found if one[0] == source[0]]
            if not found:
                raise Fault(f'the {what} has no address of the family of {source[4][0]} (--source)')
        tried = race.in_order(found, None)
        refused: list[Address] = []

        def on_failure(address: Address, error: OSError) -> None:
            refused.append(address)
            _record(step, address, error_text(error))

        begun = monotonic()
        try:
            sock, answered = race.connect_first(tried, (), self.timeout, source, on_failure)
        except OSError as exc:
            if isinstance(exc, TimeoutError):
                _record_silent(step, tried, refused, self.stated_timeout)
            where = f'{tried[0][4][0]} port {port}'
            if len(tried) > 1:
                where = f'port {port} of all {len(tried)} addresses'
            raise Fault(_unreachable(exc, where, what)) from exc
        lost = monotonic() - begun
        address = str(answered[4][0])
        _record_silent(step, tried[: tried.index(answered)], refused, lost)
        if step.facts['refused_by'] and lost > SLOW:
            gone = ', '.join(one['address'] for one in step.facts['refused_by'])
            step.warn(
                f'{gone} cannot be reached. The first connection of each process loses {lost:.1f} '
                f'seconds before it reaches {address}'
            )
        return sock, address

    def _dial_unix(self, run: Run, path: str) -> Any:
        with run.step('unix') as step:
            step.facts['path'] = path
            dialer, route = self.route.dialer, self.route
            try:
                return within(self.timeout, dialer.open, route.host, route.port, self.timeout)
            except OSError as exc:
                raise Fault(_no_unix_socket(exc, path)) from exc

    def _by_proxy(self, run: Run, proxy: Proxy, transport: str) -> Any:
        sock = self._dial(run, proxy.host, proxy.port, proxy)
        try:
            if proxy.scheme == 'https':
                with run.step('proxy-tls') as step:
                    sock = self._shake_hands(step, sock, proxy)
            with run.step('proxy') as step:
                how = self.how(transport)
                url = f'{proxy.scheme}://{authority(proxy.host, proxy.port)}'
                step.facts.update(url=url, source=self._source(), how=how)
                if how != FORWARD:
                    self._tunnel(sock, proxy)
        except BaseException:  # Ctrl-C must not leave a socket open either
            sock.close()
            raise
        return sock

    def _tunnel(self, sock: Any, proxy: Proxy) -> None:
        """Let the proxy connect its end of a connection to the server."""
        host, port = self.route.host, self.route.port
        try:
            if proxy.scheme in tunnel.SOCKS:
                socks.require()
                who = proxy.user, proxy.password
                within(self.timeout, socks.connect, sock, proxy.scheme, host, port, *who)
            else:
                within(self.timeout, tunnel.connect, sock, proxy, host, port)
        except ssl.SSLError as exc:  # TLS 1.3 refuses a client after the handshake
            raise Fault(self._peer(proxy).named(secure.explain(exc, False)), 'proxy-tls') from exc
        except OSError as exc:
            problem = f'{authority(host, port)} via {proxy}: {error_text(exc)}'
            if "'407" in problem:
                problem += '. Pass --proxy http://USER:PASSWORD@HOST:PORT'
            elif proxy.scheme == 'https' and (
                isinstance(exc, ConnectionError) or 'closed the connection' in problem
            ):  # its alert may be lost
                problem += '. Perhaps the proxy requires a client certificate'
            raise Fault(problem) from exc

    def _source(self) -> str:
        if self._parameters.get('proxy'):
            return '--proxy'
        scheme = 'https' if self.route.secure else 'http'
        for name in f'{scheme}_proxy', f'{scheme}_proxy'.upper(), 'all_proxy', 'ALL_PROXY':
            if os.environ.get(name):
                return name
        return 'system'

    def _report_bypass(self, run: Run) -> None:
        """Report that the environment has a proxy which is not used for this host."""
        scheme = 'https' if self.route.secure else 'http'
        names = f'{scheme}_proxy', 'all_proxy'
        if any(os.environ.get(one) for name in names for one in (name, name.upper())):
            with run.step('proxy') as step:
                step.status = SKIPPED
                step.facts.update(url=None, source='no_proxy', how=DIRECT)

    def _authorities(self) -> str:
        if self._parameters.get('ca'):
            return '--ca'
        for name in 'REQUESTS_CA_BUNDLE', 'CURL_CA_BUNDLE':
            if os.environ.get(name):
                return name
        return 'certifi'

    # Connections without steps

    def again(self, transport: str) -> tuple[Any, float]:
        """Open another connection, to the address that accepted the first one.

        :returns: the connected socket, and the seconds that it took.
        :raises OSError: the connection took too long.
        :raises EngineIOError: the connection failed.
        """
        begun = perf_counter()
        sock = within(self.timeout, self._open, transport, self.route.secure)
        return sock, perf_counter() - begun

    def speaks_tls(self, transport: str) -> bool:
        """Whether a server that was addressed by http:// accepts a TLS handshake."""
        if self.route.secure or self.how(transport) == FORWARD:
            return False
        try:
            sock, _ = self.again(transport)
            context = tls.context(False, None, default_ca_bundle)
            within(min(self.timeout, LOOK), tls.wrap, sock, context, self.route.host).close()
        except (OSError, EngineIOError):
            return False
        return True

    def _speaks_http(self, transport: str) -> bool:
        """Whether a server that was addressed by https:// answers plain HTTP."""
        try:
            with contextlib.closing(within(self.timeout, self._open, transport, False)) as sock:
                headers = [('Host', host_header(self.route.netloc)), ('Connection', 'close')]
                within(min(self.timeout, LOOK), exchange, sock, 'GET', '/', headers, None)
        except (OSError, EngineIOError):
            return False
        return True

    def _open(self, transport: str, secure: bool) -> Any:
        place = redirects.home(self.route, '/')._replace(secure=secure)
        forward = self.how(transport) == FORWARD
        proxy = self.proxy(transport)
        return open_connection(self.route, place, proxy, self.timeout, tunnel=not forward)


def _record(step: Step, address: Address, problem: str) -> None:
    step.facts['refused_by'].append({'address': str(address[4][0]), 'problem': problem})


def _record_silent(
    step: Step, tried: list[Address], refused: list[Address], seconds: float
) -> None:
    """Record the addresses that have neither answered nor refused."""
    for one in tried:
        if one not in refused:
            _record(step, one, f'no answer within {seconds:.3g} seconds')


def _as_address(host: str) -> str | None:
    """The host, if it is an IP address."""
    try:
        ip_address(host.partition('%')[0])
    except ValueError:
        return None
    return host


def _look_up(host: str, port: int) -> list[Address]:
    """The addresses of a host, as from :func:`.resolve.look_up`, but without its cache."""
    try:
        found: list[Address] = socket.getaddrinfo(host, port, 0, socket.SOCK_STREAM)
    except OSError as exc:
        raise Fault(f'host {host} not found: {error_text(exc)}') from exc
    return found


def _unreachable(error: OSError, where: str, what: str) -> str:
    if isinstance(error, TimeoutError):
        return (
            f'the {what} at {where} did not answer. Check the address, and whether a firewall '
            'drops packets'
        )
    if error.errno == errno.ECONNREFUSED:
        return f'connection refused: no {what} listens at {where}'
    return f'no connection to the {what} at {where}: {error_text(error)}'


def _no_unix_socket(error: OSError, path: str) -> str:
    if isinstance(error, TimeoutError):
        return f'the server at the UNIX socket {path} did not answer. It may be busy'
    if error.errno == errno.ENOENT:
        return f'there is no UNIX socket {path}. Check the path, and whether the server runs'
    if error.errno == errno.ECONNREFUSED:
        return f'connection refused: no server listens at the UNIX socket {path}'
    if error.errno == errno.EACCES:
        return f'this user may not write to the UNIX socket {path}'
    return f'no connection to the UNIX socket {error_text(error)}'
