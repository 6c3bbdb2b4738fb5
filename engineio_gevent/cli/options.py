"""The connection options, which several commands share."""

from __future__ import annotations

import functools
import json
import math
import os
import re
import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import click
from click.shell_completion import CompletionItem

from .. import Client, addresses
from ..exceptions import ConnectionClosed
from ..net import tls
from ..net.by_caller import Dial
from ..net.dial import Dialer
from ..net.errors import error_text
from ..net.hosts import authority
from ..net.tls import Cert, Verify
from ..net.tunnel import Proxy
from ..transports.environment import default_ca_bundle
from ..transports.route import Route
from .errors import SCHEME
from .screen import one_line

# Headers that have one value and not a list (RFC 9110, section 5.5).
_SINGLE = frozenset((
    'authorization', 'content-length', 'content-type', 'date', 'from', 'host', 'max-forwards',
    'origin', 'proxy-authorization', 'referer', 'user-agent',
))  # fmt: skip

_PROXY_VARIABLES = 'http_proxy', 'https_proxy', 'all_proxy'


@dataclass(frozen=True)
class Connection:
    """The connection settings from the arguments."""

    url: str
    headers: dict[str, str]
    #: None: polling, then the upgrade.
    transports: list[str] | None
    path: str
    verify: bool
    #: A client certificate and its key. A key of None is in the same file.
    cert: str | None
    key: str | None
    #: Seconds for the handshake of a transport.
    timeout: float
    #: By host and port, the address to connect to instead of those that a look-up finds.
    pins: Mapping[tuple[str, int], str] = field(default_factory=dict)
    #: The UNIX socket of the server.
    unix_socket: str | None = None
    #: The addresses of this machine to connect from.
    sources: tuple[str, ...] = ()

    @property
    def dial(self) -> Dial | None:
        """The client's option ``dial``."""
        if self.unix_socket is not None:
            return addresses.unix_socket(self.unix_socket)
        if self.pins:
            return addresses.pinned(
                {authority(host, port): address for (host, port), address in self.pins.items()}
            )
        return None

    @property
    def certificate(self) -> Cert:
        """The client certificate, as the client's option ``ssl_cert``."""
        return self.cert if self.cert is None or self.key is None else (self.cert, self.key)

    @property
    def shown(self) -> str:
        """The URL for output: without user and password."""
        return re.sub(r'(?<=//)[^/?#]*@', '', self.url)

    def prepare(self, *, has_ca: bool = False) -> None:
        """Check the settings.

        :param has_ca: whether the user passed a CA bundle.
        :raises click.UsageError: the URL, a header or a certificate file is invalid.
        """
        route = self.route()
        self._check_pins(route)
        # A redirect may lead from http:// to https://, so the files matter for both.
        if route.secure or has_ca or self.cert is not None:
            self._check_files(route.verify)

    def _check_pins(self, route: Route) -> None:
        """Check that ``--resolve`` names a host to which this connection goes.

        :raises click.UsageError: it does not.
        """
        try:
            proxy = route.websocket_proxy
        except ConnectionClosed:
            return  # the connection reports it
        host, port = (route.host, route.port) if proxy is None else (proxy.host, proxy.port)
        if self.pins and (host, port) not in self.pins:
            given = ', '.join(authority(*one) for one in self.pins)
            what = 'the server' if proxy is None else 'a proxy, which looks up the server'
            raise click.UsageError(
                f'--resolve {given} has no effect: the connection goes to {what}. '
                f'Use --resolve {authority(host, port)}:ADDR'
            )

    def _check_files(self, verify: Verify) -> None:
        """Read the CA bundle and the client certificate.

        :raises click.UsageError: a file is invalid. The message names it.
        """
        try:
            tls.context(verify, None, default_ca_bundle)
        except OSError as exc:
            raise click.UsageError(
                f'{verify if isinstance(verify, str) else default_ca_bundle()} is not a valid '
                f'CA bundle in PEM format: {error_text(exc)}'
            ) from exc
        if self.cert is None:
            return
        try:
            tls.context(False, self.certificate, default_ca_bundle)
        except OSError as exc:
            files = self.cert if self.key is None else f'{self.cert} with the key {self.key}'
            raise click.UsageError(
                f'{files} is not a valid client certificate in PEM format with its key: '
                f'{error_text(exc)}'
            ) from exc

    def route(self) -> Route:
        """The client's route to the server.

        :raises click.UsageError: the URL or a header is invalid.
        """
        try:
            return Route(
                self.url,
                self.headers,
                self.path,
                verify=self.verify,
                cert=self.certificate,
                dialer=Dialer(self.dial, self.sources[0] if self.sources else None),
            )
        except ValueError as exc:
            raise click.UsageError(one_line(str(exc))) from exc

    def client(self, **options: Any) -> Client:
        """A client with these settings, not connected.

        :param options: further options of :class:`.Client`.
        """
        return Client(
            ssl_verify=self.verify,
            request_timeout=self.timeout,
            ssl_cert=self.certificate,
            dial=self.dial,
            source_addresses=self.sources or None,
            handle_sigint=False,
            **options,
        )

    def connect(self, client: Client) -> None:
        """Connect a client; raises what :meth:`.Client.connect` raises."""
        client.connect(self.url, self.headers, self.transports, self.path)


def cause_of(error: Exception) -> str:
    """Why ``connect()`` failed. Clients that fail for the same cause have the same text."""
    text = str(error.args[0])
    body = error.args[1] if len(error.args) > 1 else None
    if body is None or (isinstance(body, dict) and isinstance(body.get('message'), str)):
        return text  # which has the message
    return f'{text}: {body if isinstance(body, str) else json.dumps(body)}'


class Number(click.FloatRange):
    """A number that is neither infinite nor NaN."""

    name = 'number'

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        number: float = super().convert(value, param, ctx)
        if not math.isfinite(number):
            self.fail(f'{value!r} is not a finite {self.name}.', param, ctx)
        return number

    def _describe_range(self) -> str:
        """The range in the help text. Click itself shows a missing bound as None."""
        return '' if self.min is None and self.max is None else super()._describe_range()


def _headers(
    context: click.Context, parameter: click.Parameter, values: tuple[str, ...]
) -> dict[str, str]:
    headers: dict[str, tuple[str, str]] = {}
    for text in values:
        name, colon, value = (part.strip() for part in text.partition(':'))
        if not colon or not name:
            raise click.BadParameter(f'{text!r} is not of the form NAME:VALUE')
        known = name.lower()
        if known not in headers:
            headers[known] = name, value
        elif known in _SINGLE:
            raise click.BadParameter(f'{name} is given twice, but can have only one value')
        else:
            first, before = headers[known]
            headers[known] = first, f'{before}{"; " if known == "cookie" else ", "}{value}'
    return dict(headers.values())


def _proxy(context: click.Context, parameter: click.Parameter, value: str | None) -> str | None:
    if value:
        try:
            Proxy.parse(value)
        except ConnectionClosed as exc:
            raise click.BadParameter(str(exc)) from exc
    return value


class _Transports(click.ParamType):  # type: ignore[type-arg] # generic in new versions only
    """One or two names, separated by a comma."""

    name = 'transports'

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> list[str]:
        if isinstance(value, list):
            return value
        names = [name.strip() for name in value.split(',')]
        for name in names:
            if name not in ('polling', 'websocket'):
                self.fail(f'{name!r} is not polling or websocket', param, ctx)
        return names

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        known = 'polling', 'websocket', 'polling,websocket', 'websocket,polling'
        return [CompletionItem(name) for name in known if name.startswith(incomplete)]


def _known_paths(
    context: click.Context, parameter: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    known = 'engine.io', 'socket.io'
    return [CompletionItem(path) for path in known if path.startswith(incomplete)]


class ConnectionOption(click.Option):
    """An option of :func:`connection_options`."""


class ConnectingCommand(click.Command):
    """A command with :func:`connection_options`, which have their own section in its help."""

    def format_options(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        sections: dict[str, list[tuple[str, str]]] = {'Options': [], 'Connection options': []}
        for option in self.get_params(context):
            record = option.get_help_record(context)
            if isinstance(option, click.Option) and record is not None:
                where = 'Connection options' if isinstance(option, ConnectionOption) else 'Options'
                sections[where].append(record)
        for title, records in sections.items():
            with formatter.section(title):
                formatter.write_dl(records)


_option = functools.partial(click.option, cls=ConnectionOption)
_FILE = click.Path(exists=True, dir_okay=False)

_OPTIONS = (
    click.argument('url'),
    _option(
        '-H', '--header', 'headers', multiple=True, callback=_headers, metavar='NAME:VALUE',
        help='Send this header with every request. Repeat the option for more headers. Values of '
             'the same name are joined, if the header allows a list.',
    ),
    _option(
        '--transports', type=_Transports(), metavar='NAMES',
        help='polling, websocket, or both separated by a comma. The connection begins with the '
             'first.  [default: polling, then upgrade to websocket]',
    ),
    _option(
        '--path', default='engine.io', show_default=True, metavar='PATH',
        shell_complete=_known_paths,
        help='Path of Engine.IO on the server. Socket.IO servers use socket.io.',
    ),
    _option('--no-verify', is_flag=True, help='Do not verify the server certificate.'),
    _option(
        '--ca', type=click.Path(exists=True), metavar='FILE',
        help='CA bundle for verification (PEM).  [default: REQUESTS_CA_BUNDLE, else certifi]',
    ),
    _option('--cert', type=_FILE, metavar='FILE', help='Client certificate (PEM).'),
    _option('--key', type=_FILE, metavar='FILE', help='Key of --cert, if it is in another file.'),
    _option(
        '--proxy', callback=_proxy, metavar='URL',
        help='http://HOST:PORT, or socks5h://HOST:PORT with the extra socks. Use "" for no proxy.  '
             '[default: from the environment]',
    ),
    _option(
        '--timeout', type=Number(min=0, min_open=True), default=5.0, show_default=True,
        metavar='SECONDS', help='Timeout of the handshake, and of each step of probe.',
    ),
)  # fmt: skip


def connection_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add the argument URL and the options. The function receives them as ``connection``."""

    @functools.wraps(function)
    def with_connection(
        url: str,
        headers: dict[str, str],
        transports: list[str] | None,
        path: str,
        no_verify: bool,
        ca: str | None,
        cert: str | None,
        key: str | None,
        proxy: str | None,
        timeout: float,
        pins: Mapping[tuple[str, int], str] | None = None,
        unix_socket: str | None = None,
        sources: tuple[str, ...] = (),
        **others: Any,
    ) -> Any:
        if not url.strip():
            raise click.UsageError('the URL is empty')
        if not re.match(SCHEME, url):
            raise click.UsageError(f'the URL {url!r} has no scheme. Did you mean http://{url}?')
        _check_path(url, path)
        if unix_socket is not None and (proxy or pins):
            other = '--resolve' if pins else '--proxy'
            raise click.UsageError(f'--unix-socket and {other} cannot be used together')
        if key is not None and cert is None:
            raise click.UsageError('--key requires --cert')
        if ca is not None:
            # Both transports read these variables, and this process has no other clients.
            os.environ['REQUESTS_CA_BUNDLE'] = ca
        if unix_socket is not None:
            proxy = ''
        if proxy is not None:
            _set_proxy(proxy)
        connection = Connection(
            url, headers, transports, path, not no_verify, cert, key, timeout, pins or {},
            unix_socket, sources,
        )  # fmt: skip
        connection.prepare(has_ca=ca is not None)
        return function(connection=connection, **others)

    for add in reversed(_OPTIONS):
        with_connection = add(with_connection)
    return with_connection


def other_path(url: str, path: str) -> str:
    """The path in a URL, if it is another one than that of Engine.IO; else an empty string."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return ''  # Connection.route() says what is wrong
    if '@' in parts.path:
        return ''  # a part of a password; Connection.route() says so, and does not show it
    given = parts.path.strip('/')
    return given if parts.netloc and given != path.strip('/') else ''


def _check_path(url: str, path: str) -> None:
    """Check that the URL has no other path than ``--path``.

    :raises click.UsageError: it has.
    """
    given = other_path(url, path)
    if given:
        raise click.UsageError(
            f'the URL has the path /{one_line(given)}, but Engine.IO is at --path {path}. Remove '
            f'the path from the URL. If Engine.IO is there, use --path {shlex.quote(given)}'
        )


def _set_proxy(url: str) -> None:
    """Use this proxy instead of those in the environment; '' for no proxy."""
    for name in (*_PROXY_VARIABLES, 'no_proxy'):
        os.environ.pop(name, None)
        os.environ.pop(name.upper(), None)
    if url:
        for name in _PROXY_VARIABLES:
            os.environ[name] = url
    else:
        os.environ['no_proxy'] = '*'  # ignores the settings of the operating system, too
