"""The options that say how to connect, which the commands share."""

from __future__ import annotations

import functools
import json
import math
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import click
from click.shell_completion import CompletionItem
from requests.utils import DEFAULT_CA_BUNDLE_PATH

from .. import Client
from ..exceptions import ConnectionClosed, ConnectionError
from ..transports import tls
from ..transports.base import describe
from ..transports.route import Route
from ..transports.tls import Verify
from ..transports.tunnel import Proxy
from .errors import SCHEME, CommandError
from .patched import patch
from .screen import one_line

# Headers whose values make no list (RFC 9110, section 5.5).
_SINGLE = frozenset((
    'authorization', 'content-length', 'content-type', 'date', 'from', 'host', 'max-forwards',
    'origin', 'proxy-authorization', 'referer', 'user-agent',
))  # fmt: skip

_PROXY_VARIABLES = 'http_proxy', 'https_proxy', 'all_proxy'


@dataclass(frozen=True)
class Connection:
    """How to reach a server, as the options say."""

    url: str
    headers: dict[str, str]
    #: None: polling, and the upgrade.
    transports: list[str] | None
    path: str
    verify: bool
    #: A client certificate and its key; None: it is in the same file.
    cert: str | None
    key: str | None
    #: Seconds for the handshake.
    timeout: float

    @property
    def shown(self) -> str:
        """The URL for people, and for what they save: without user and password."""
        return re.sub(r'(?<=//)[^/?#]*@', '', self.url)

    def prepare(self, *, has_ca: bool = False) -> None:
        """Make polling cooperative, where it goes through requests; may begin the process anew.

        :param has_ca: whether there are authorities of the user's own.
        :raises click.UsageError: the URL or a header is not valid, or a file of certificates.
        """
        route = self.route()
        if route.http_session is not None:
            patch()
            route.http_session.close()
        # A redirect may lead from http:// to https://.
        if route.secure or has_ca or self.cert is not None:
            self._check_files(route.verify)

    def _check_files(self, verify: Verify) -> None:
        """Read the authorities and the certificate.

        :raises click.UsageError: they are none; with the file.
        """
        try:
            tls.context(verify, None, DEFAULT_CA_BUNDLE_PATH)
        except OSError as exc:
            raise click.UsageError(
                f'{verify if isinstance(verify, str) else DEFAULT_CA_BUNDLE_PATH} has no '
                f'authorities that can be read: {describe(exc)}'
            ) from exc
        if self.cert is None:
            return
        try:
            tls.context(False, self.cert if self.key is None else (self.cert, self.key), '')
        except OSError as exc:
            files = self.cert if self.key is None else f'{self.cert} with the key {self.key}'
            raise click.UsageError(
                f'{files} is no client certificate, in PEM and with its key: {describe(exc)}'
            ) from exc

    def route(self) -> Route:
        """The way to the server, as the client finds it.

        :raises click.UsageError: the URL or a header is not valid.
        """
        try:
            return Route(
                self.url,
                self.headers,
                self.path,
                verify=self.verify,
                http_session=self._http_session(),
            )
        except ValueError as exc:
            raise click.UsageError(one_line(str(exc))) from exc

    def client(self, **options: Any) -> Client:
        """A client with these settings, not connected.

        :param options: others of :class:`.Client`'s.
        """
        return Client(
            ssl_verify=self.verify,
            request_timeout=self.timeout,
            http_session=self._http_session(),
            handle_sigint=False,
            **options,
        )

    def connect(self, client: Client) -> None:
        """Connect a client.

        :raises CommandError: there is no connection.
        """
        try:
            client.connect(self.url, self.headers, self.transports, self.path)
        except (ConnectionError, ValueError) as exc:
            raise CommandError(f'cannot connect to {self.shown}: {told(exc)}') from exc

    def _http_session(self) -> Any:
        """A requests.Session where polling needs one: it alone takes a client certificate."""
        if self.cert is None:
            return None
        import requests

        session = requests.Session()
        session.cert = self.cert if self.key is None else (self.cert, self.key)
        return session


def told(error: Exception) -> str:
    """Why there is no connection; the same for all clients with the same trouble."""
    text = str(error.args[0])
    body = error.args[1] if len(error.args) > 1 else None
    if body is None or (isinstance(body, dict) and isinstance(body.get('message'), str)):
        return text  # which has the message
    return f'{text}: {body if isinstance(body, str) else json.dumps(body)}'


class Number(click.FloatRange):
    """A number that one can count with: neither infinite nor NaN."""

    name = 'number'

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        number: float = super().convert(value, param, ctx)
        if not math.isfinite(number):
            self.fail(f'{value!r} is not a valid {self.name}.', param, ctx)
        return number

    def _describe_range(self) -> str:
        """For the help; click's own has a None in it where there is no bound."""
        return '' if self.min is None and self.max is None else super()._describe_range()


def _headers(
    context: click.Context, parameter: click.Parameter, values: tuple[str, ...]
) -> dict[str, str]:
    headers: dict[str, tuple[str, str]] = {}
    for text in values:
        name, colon, value = (part.strip() for part in text.partition(':'))
        if not colon or not name:
            raise click.BadParameter(f'{text!r} is not NAME:VALUE')
        known = name.lower()
        if known not in headers:
            headers[known] = name, value
        elif known in _SINGLE:
            raise click.BadParameter(f'{name} is given twice, and has one value only')
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
    """One or two names, with a comma between them."""

    name = 'transports'

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> list[str]:
        if isinstance(value, list):
            return value
        names = [name.strip() for name in value.split(',')]
        for name in names:
            if name not in ('polling', 'websocket'):
                self.fail(f'{name!r} is neither polling nor websocket', param, ctx)
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


class _Connecting(click.Option):
    """One of those that say how to connect."""


class ConnectingCommand(click.Command):
    """A command with :func:`connection_options`, which stand apart in its help."""

    def format_options(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        sections: dict[str, list[tuple[str, str]]] = {'Options': [], 'How to connect': []}
        for option in self.get_params(context):
            record = option.get_help_record(context)
            if isinstance(option, click.Option) and record is not None:
                where = 'How to connect' if isinstance(option, _Connecting) else 'Options'
                sections[where].append(record)
        for title, records in sections.items():
            with formatter.section(title):
                formatter.write_dl(records)


_option = functools.partial(click.option, cls=_Connecting)
_FILE = click.Path(exists=True, dir_okay=False)

_OPTIONS = (
    click.argument('url'),
    _option(
        '-H', '--header', 'headers', multiple=True, callback=_headers, metavar='NAME:VALUE',
        help='A header of every request; may be given several times, and so may one name: its '
             'values are joined, where the header allows that.',
    ),
    _option(
        '--transports', type=_Transports(), metavar='NAMES',
        help='polling, websocket, or both with a comma, the first to begin with.  '
             '[default: polling, then the upgrade]',
    ),
    _option(
        '--path', default='engine.io', show_default=True, metavar='PATH',
        shell_complete=_known_paths,
        help='Where Engine.IO is mounted on the server; a Socket.IO server has it at socket.io.',
    ),
    _option('--no-verify', is_flag=True, help="Do not verify the server's certificate."),
    _option(
        '--ca', type=click.Path(exists=True), metavar='FILE',
        help='Authorities to verify it with, PEM.  [default: REQUESTS_CA_BUNDLE, or certifi]',
    ),
    _option('--cert', type=_FILE, metavar='FILE', help='A client certificate, PEM.'),
    _option('--key', type=_FILE, metavar='FILE', help='Its key, if that is another file.'),
    _option(
        '--proxy', callback=_proxy, metavar='URL',
        help='http://HOST:PORT, or socks5h://HOST:PORT with the extra socks; "" for none.  '
             '[default: that of the environment]',
    ),
    _option(
        '--timeout', type=Number(min=0, min_open=True), default=5.0, show_default=True,
        metavar='SECONDS', help='For the handshake of a transport.',
    ),
)  # fmt: skip


def connection_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add the argument URL and the options; the function gets them as ``connection``."""

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
        **others: Any,
    ) -> Any:
        if not url.strip():
            raise click.UsageError('the URL is empty')
        if not re.match(SCHEME, url):
            raise click.UsageError(f'the URL has no scheme; did you mean http://{url}?')
        if key is not None and cert is None:
            raise click.UsageError('--key goes with --cert')
        if ca is not None:
            # Here, and for proxies, both transports look: this process is ours alone.
            os.environ['REQUESTS_CA_BUNDLE'] = ca
        if proxy is not None:
            _set_proxy(proxy)
        connection = Connection(url, headers, transports, path, not no_verify, cert, key, timeout)
        connection.prepare(has_ca=ca is not None)
        return function(connection=connection, **others)

    for add in reversed(_OPTIONS):
        with_connection = add(with_connection)
    return with_connection


def _set_proxy(url: str) -> None:
    """Make this the proxy for everything, in place of the environment's; '' for none."""
    for name in (*_PROXY_VARIABLES, 'no_proxy'):
        os.environ.pop(name, None)
        os.environ.pop(name.upper(), None)
    if url:
        for name in _PROXY_VARIABLES:
            os.environ[name] = url
    else:
        os.environ['no_proxy'] = '*'  # the system's own settings count for nothing either
