"""The steps to the server: host name, proxy, TCP, TLS."""

from __future__ import annotations

import contextlib
import errno
import os
from ipaddress import ip_address
from time import monotonic, perf_counter
from typing import Any

from gevent import socket
from gevent.hub import get_hub

from ...exceptions import ConnectionClosed, EngineIOError
from ...net import dial, tls, tunnel
from ...net.deadlines import within
from ...net.errors import error_text
from ...net.tunnel import Proxy
from ...transports.route import Route
from . import secure
from .report import SKIPPED, Fault, Run, Step
from .wire import exchange

#: Seconds that unreachable addresses may cost before that is a warning.
SLOW = 0.25

#: Seconds to look for another way to connect, after a request without a response.
LOOK = 2.0

#: How a proxy is used: not at all, by CONNECT, with absolute URLs, by SOCKS.
DIRECT, CONNECT, FORWARD, SOCKS = 'none', 'connect', 'forward', 'socks'


class Reach:
    """Opens connections to the server, as the client does for a transport.

    :param route: the client's route to the server.
    :param timeout: seconds for each step.
    :param stated_timeout: seconds to report after a timeout; None: ``timeout``.
    :param parameters: the parameters of the command by name, to report where a setting comes from.
    """

    def __init__(
        self,
        route: Route,
        timeout: float,
        stated_timeout: float | None,
        parameters: dict[str, Any],
    ) -> None:
        self.route = route
        self.timeout = timeout
        self.stated_timeout = timeout if stated_timeout is None else stated_timeout
        self._parameters = parameters
        #: By host and port, the address that accepted a connection.
        self._addresses: dict[tuple[str, int], str] = {}

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
        if proxy.scheme.startswith('socks'):
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
                sock = secure.shake_hands(
                    step, self.route, sock, self.timeout, self.stated_timeout, self._authorities()
                )
            except Fault as exc:
                if secure.NO_TLS_OR_HOST in exc.problem and self._speaks_http(transport):
                    raise Fault(secure.SPEAKS_HTTP) from exc
                raise
        return sock

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
        known = _as_address(host)
        if not known:
            # Names are looked up in a thread pool. Starting it takes some milliseconds, which would
            # count as the resolver's.
            get_hub().threadpool.apply(int)
        with run.step('dns') as step:
            step.facts.update(host=host, of='server' if proxy is None else 'proxy')
            found = known or within(self.timeout, _look_up, host, port)
            step.facts['addresses'] = found
        with run.step('tcp') as step:
            step.facts.update(address=None, port=port, refused_by=[])
            sock = self._connect(step, host, port, found, proxy)
        return sock

    def _connect(
        self, step: Step, host: str, port: int, addresses: list[str], proxy: Proxy | None
    ) -> Any:
        """Connect to the first address that accepts, as the client does."""
        begun = monotonic()
        deadline = begun + self.timeout
        error = OSError('no address')
        for index, address in enumerate(addresses):
            share = (deadline - monotonic()) / (len(addresses) - index)
            try:
                sock = dial.open_socket(address, port, (), max(share, 0.001))
            except OSError as exc:
                error = exc
                step.facts['refused_by'].append({'address': address, 'problem': error_text(exc)})
                continue
            step.facts['address'] = self._addresses[host, port] = address
            lost = monotonic() - begun
            if step.facts['refused_by'] and lost > SLOW:
                gone = ', '.join(one['address'] for one in step.facts['refused_by'])
                step.warn(
                    f'{gone} cannot be reached. Each client tries it before {address}, which takes '
                    f'{lost:.1f} seconds'
                )
            return sock
        where = f'{addresses[0]} port {port}'
        if len(addresses) > 1:
            where = f'port {port} of all {len(addresses)} addresses'
        raise Fault(_unreachable(error, where, 'server' if proxy is None else 'proxy'))

    def _by_proxy(self, run: Run, proxy: Proxy, transport: str) -> Any:
        how = self.how(transport)
        sock = None
        if how != SOCKS and proxy.scheme == 'http':
            sock = self._dial(run, proxy.host, proxy.port, proxy)
        try:
            with run.step('proxy') as step:
                step.facts.update(
                    url=f'{proxy.scheme}://{str(proxy).removeprefix("proxy ")}',
                    source=self._source(),
                    how=how,
                )
                host, port = self.route.host, self.route.port
                if proxy.scheme == 'https':
                    raise Fault(
                        'TLS to a proxy (https://) works only for polling, not for websockets or '
                        'for probe'
                    )
                if how == SOCKS:
                    sock = tunnel.open_tunnel(proxy, host, port, (), self.timeout)
                elif how == CONNECT:
                    within(self.timeout, tunnel.connect, sock, proxy, host, port)
        except BaseException:  # Ctrl-C must not leave a socket open either
            if sock is not None:
                sock.close()
            raise
        return sock

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
        :raises OSError: the connection failed.
        """
        begun = perf_counter()
        sock = within(self.timeout, self._open, transport)
        return sock, perf_counter() - begun

    def speaks_tls(self, transport: str) -> bool:
        """Whether a server that was addressed by http:// accepts a TLS handshake."""
        if self.route.secure or self.how(transport) == FORWARD:
            return False
        try:
            sock, _ = self.again(transport)
            context = tls.context(False, None, '')
            within(min(self.timeout, LOOK), tls.wrap, sock, context, self.route.host).close()
        except (OSError, ConnectionClosed):
            return False
        return True

    def _speaks_http(self, transport: str) -> bool:
        """Whether a server that was addressed by https:// answers plain HTTP."""
        try:
            with contextlib.closing(self._open_tcp(transport)) as sock:
                headers = [('Host', self.route.netloc), ('Connection', 'close')]
                within(min(self.timeout, LOOK), exchange, sock, 'GET', '/', headers, None)
        except (OSError, EngineIOError):
            return False
        return True

    def _open_tcp(self, transport: str) -> Any:
        """Connect to the server, or to a proxy that forwards requests."""
        proxy = self.proxy(transport)
        if self.how(transport) in (CONNECT, SOCKS):
            assert proxy is not None
            host, port = self.route.host, self.route.port
            return tunnel.open_tunnel(proxy, host, port, (), self.timeout)
        host, port = (
            (self.route.host, self.route.port) if proxy is None else (proxy.host, proxy.port)
        )
        address = self._addresses.get((host, port), host)
        return dial.open_socket(address, port, (), self.timeout)

    def _open(self, transport: str) -> Any:
        sock, route = self._open_tcp(transport), self.route
        if not route.secure:
            return sock
        try:
            return tls.wrap(sock, route.tls_context(), route.host)
        except BaseException:  # Ctrl-C must not leave a socket open either
            sock.close()
            raise


def _as_address(host: str) -> list[str]:
    """The host, if it is an IP address; else an empty list."""
    try:
        ip_address(host.partition('%')[0])
    except ValueError:
        return []
    return [host]


def _look_up(host: str, port: int) -> list[str]:
    """The addresses of a host, as from :func:`.dial.look_up`, but without its cache."""
    try:
        host.encode('idna')  # not in gevent's native thread, which would print the exception
    except UnicodeError:
        raise Fault(f'{host} is not a valid host name') from None
    try:
        found = socket.getaddrinfo(host, port, 0, socket.SOCK_STREAM)
    except OSError as exc:
        raise Fault(f'host {host} not found: {error_text(exc)}') from exc
    return [str(address[0]) for *_, address in found]


def _unreachable(error: OSError, where: str, what: str) -> str:
    if isinstance(error, TimeoutError):
        return (
            f'the {what} at {where} did not answer. Check the address, and whether a firewall '
            'drops packets'
        )
    if error.errno == errno.ECONNREFUSED:
        return f'connection refused: no {what} listens at {where}'
    return f'no connection to the {what} at {where}: {error_text(error)}'
