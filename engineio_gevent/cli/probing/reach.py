"""The way to the server: names, proxies, TCP; and TLS after them."""

from __future__ import annotations

import errno
import os
from ipaddress import ip_address
from time import monotonic, perf_counter
from typing import Any

from gevent import socket
from gevent.hub import get_hub

from ...exceptions import ConnectionClosed
from ...transports import dial, tls, tunnel
from ...transports.base import describe
from ...transports.route import Route
from ...transports.tunnel import Proxy
from . import secure
from .report import SKIPPED, Fault, Run, Step

#: Seconds that addresses which do not answer may cost before that is a fault.
SLOW = 0.25

#: How a proxy is used: not at all, by CONNECT, with whole URLs, by SOCKS.
DIRECT, CONNECT, FORWARD, SOCKS = 'none', 'connect', 'forward', 'socks'


class Reach:
    """Opens connections to the server, as the client would for a transport.

    :param route: the client's decisions.
    :param timeout: seconds for each step.
    :param options: the options of the command, by name, for who decided what.
    """

    def __init__(self, route: Route, timeout: float, options: dict[str, Any]) -> None:
        self.route = route
        self.timeout = timeout
        self._options = options
        self._addresses: dict[tuple[str, int], str] = {}  # those that answered

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

    # With steps

    def open(self, run: Run, transport: str) -> Any:
        """Connect, step by step.

        :returns: the connected socket.
        """
        proxy = self._told_proxy(run, transport)
        if proxy is None:
            self._tell_of_bypass(run)
            sock = self._dial(run, self.route.host, self.route.port, None)
        else:
            sock = self._by_proxy(run, proxy, transport)
        if not self.route.secure:
            return sock
        with run.step('tls') as step:
            sock = secure.shake_hands(step, self.route, sock, self.timeout, self._authorities())
        return sock

    def _told_proxy(self, run: Run, transport: str) -> Proxy | None:
        """The proxy for a transport; where its URL is none, that is a step that fails."""
        try:
            return self.proxy(transport)
        except ConnectionClosed as exc:
            with run.step('proxy') as step:
                source = self._source()
                step.facts.update(url=None, source=source, how=DIRECT)
                raise Fault(f'what {source} says is {exc}') from exc
            raise  # never: the step does not go on

    def _dial(self, run: Run, host: str, port: int, proxy: Proxy | None) -> Any:
        known = _in_figures(host)
        if not known:
            # Names are looked up in a pool of threads, whose beginning takes some milliseconds
            # that are not the resolver's.
            get_hub().threadpool.apply(int)
        with run.step('dns') as step:
            step.facts.update(host=host, of='server' if proxy is None else 'proxy')
            found = known or dial.within(self.timeout, _look_up, host, port)
            step.facts['addresses'] = found
        with run.step('tcp') as step:
            step.facts.update(address=None, port=port, refused_by=[])
            sock = self._connect(step, host, port, found, proxy)
        return sock

    def _connect(
        self, step: Step, host: str, port: int, addresses: list[str], proxy: Proxy | None
    ) -> Any:
        """To the first address that answers, as the client does it."""
        begun = monotonic()
        deadline = begun + self.timeout
        error = OSError('no address')
        for index, address in enumerate(addresses):
            share = (deadline - monotonic()) / (len(addresses) - index)
            try:
                sock = dial.open_socket(address, port, (), max(share, 0.001))
            except OSError as exc:
                error = exc
                step.facts['refused_by'].append({'address': address, 'problem': describe(exc)})
                continue
            step.facts['address'] = self._addresses[host, port] = address
            lost = monotonic() - begun
            if step.facts['refused_by'] and lost > SLOW:
                gone = ', '.join(one['address'] for one in step.facts['refused_by'])
                step.warn(
                    f'{gone} does not answer, and each client tries it before {address}: '
                    f'{lost:.1f} seconds are lost'
                )
            return sock
        where = f'{addresses[0]} port {port}'
        if len(addresses) > 1:
            where = f'any of the {len(addresses)} addresses, port {port}'
        raise Fault(f'{"" if proxy is None else "the proxy: "}{_unreachable(error, where)}')

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
                        'a proxy that itself speaks TLS (https://): no websocket goes through it, '
                        'nor does this probe; polling does'
                    )
                if how == SOCKS:
                    sock = tunnel.open_tunnel(proxy, host, port, (), self.timeout)
                elif how == CONNECT:
                    dial.within(self.timeout, tunnel.connect, sock, proxy, host, port)
        except BaseException:  # Ctrl-C, too, leaves no socket open
            if sock is not None:
                sock.close()
            raise
        return sock

    def _source(self) -> str:
        if self._options.get('proxy'):
            return '--proxy'
        scheme = 'https' if self.route.secure else 'http'
        for name in f'{scheme}_proxy', f'{scheme}_proxy'.upper(), 'all_proxy', 'ALL_PROXY':
            if os.environ.get(name):
                return name
        return 'system'

    def _tell_of_bypass(self, run: Run) -> None:
        """A proxy of the environment's that is not for this host is worth a line."""
        scheme = 'https' if self.route.secure else 'http'
        names = f'{scheme}_proxy', 'all_proxy'
        if any(os.environ.get(one) for name in names for one in (name, name.upper())):
            with run.step('proxy') as step:
                step.status = SKIPPED
                step.facts.update(url=None, source='no_proxy', how=DIRECT)

    def _authorities(self) -> str:
        if self._options.get('ca'):
            return '--ca'
        for name in 'REQUESTS_CA_BUNDLE', 'CURL_CA_BUNDLE':
            if os.environ.get(name):
                return name
        return 'certifi'

    # Without

    def again(self, transport: str) -> tuple[Any, float]:
        """Open one more connection, once there has been one.

        :returns: the connected socket, and the seconds that it took.
        :raises OSError: there is none.
        """
        begun = perf_counter()
        sock = dial.within(self.timeout, self._open, transport)
        return sock, perf_counter() - begun

    def _open(self, transport: str) -> Any:
        route = self.route
        proxy = self.proxy(transport)
        how = self.how(transport)
        if how in (CONNECT, SOCKS):
            assert proxy is not None
            sock: Any = tunnel.open_tunnel(proxy, route.host, route.port, (), self.timeout)
        else:
            place = (route.host, route.port) if proxy is None else (proxy.host, proxy.port)
            address = self._addresses.get(place, place[0])
            sock = dial.open_socket(address, place[1], (), self.timeout)
        if not route.secure:
            return sock
        try:
            return tls.wrap(sock, route.tls_context(), route.host)
        except BaseException:  # Ctrl-C, too, leaves no socket open
            sock.close()
            raise


def _in_figures(host: str) -> list[str]:
    """The host, if it is an address; else nothing."""
    try:
        ip_address(host.partition('%')[0])
    except ValueError:
        return []
    return [host]


def _look_up(host: str, port: int) -> list[str]:
    """The addresses of a host, as :func:`.dial.look_up` finds them, but never from its cache."""
    try:
        host.encode('idna')  # here: gevent prints what is raised in its native thread
    except UnicodeError:
        raise Fault(f'{host} is not a host name') from None
    try:
        found = socket.getaddrinfo(host, port, 0, socket.SOCK_STREAM)
    except OSError as exc:
        raise Fault(f'there is no host {host}: {describe(exc)}') from exc
    return [str(address[0]) for *_, address in found]


def _unreachable(error: OSError, where: str) -> str:
    if isinstance(error, TimeoutError):
        return f'{where} does not answer: a firewall, or a wrong address'
    if error.errno == errno.ECONNREFUSED:
        return f'nobody listens at {where} (connection refused)'
    return f'no connection to {where}: {describe(error)}'
