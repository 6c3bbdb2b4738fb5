"""The TLS step: the handshake, the certificate, and the explanation of a failure."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from typing import Any, NamedTuple

from ...net import tls
from ...net.deadlines import within
from ...net.tls_over_tls import TLSOverTLS
from ...protocol.http1 import NothingCame
from ...transports.route import Route
from . import certificate
from .report import Fault, Step

#: Days before a certificate's end from which it is a warning.
SOON = 14

# OpenSSL's reasons for an answer that is not TLS. They differ between its versions.
_NO_TLS = frozenset((
    'WRONG_VERSION_NUMBER', 'HTTP_REQUEST', 'HTTPS_PROXY_REQUEST', 'UNKNOWN_PROTOCOL',
    'RECORD_LAYER_FAILURE', 'PACKET_LENGTH_TOO_LONG', 'UNEXPECTED_MESSAGE', 'BAD_RECORD_TYPE',
))  # fmt: skip
_VERSIONS = frozenset((
    'TLSV1_ALERT_PROTOCOL_VERSION', 'UNSUPPORTED_PROTOCOL', 'NO_PROTOCOLS_AVAILABLE',
    'WRONG_SSL_VERSION', 'VERSION_TOO_LOW',
))  # fmt: skip
_CERTIFICATE_WANTED = frozenset((
    'TLSV13_ALERT_CERTIFICATE_REQUIRED', 'SSLV3_ALERT_BAD_CERTIFICATE', 'TLSV1_ALERT_UNKNOWN_CA',
    'SSLV3_ALERT_CERTIFICATE_UNKNOWN', 'SSLV3_ALERT_NO_CERTIFICATE', 'TLSV1_ALERT_ACCESS_DENIED',
))  # fmt: skip

_CLOSED = NothingCame, ssl.SSLEOFError, ConnectionError
#: The problem if a port speaks plain HTTP.
SPEAKS_HTTP = 'the server does not speak TLS on this port. Try http:// instead of https://'
#: Possible causes if the server closes the connection during the handshake.
NO_TLS_OR_HOST = 'Perhaps this port does not speak TLS, or the server does not serve this host name'
_CLOSES = 'the server closed the connection after the TLS handshake without a response'


# What is said of a server, and of a proxy: it gets no client certificate.
_OF_PROXY = (
    ('the server', 'the proxy'),
    ('The server', 'The proxy'),
    ('Try http:// instead of https://', 'Try --proxy http://HOST:PORT'),
    ('. Pass --cert FILE', ', and this client sends none to proxies'),
    (' (--cert FILE)', ''),
)


class Peer(NamedTuple):
    """The other side of a TLS handshake.

    :param what: ``'server'`` or ``'proxy'``.
    :param host: the name that its certificate must have.
    :param context: makes the TLS context.
    :param has_certificate: whether the client sends a certificate.
    """

    what: str
    host: str
    context: Callable[[], ssl.SSLContext]
    has_certificate: bool

    def named(self, problem: str) -> str:
        """A problem of a server as one of this peer."""
        if self.what == 'proxy':
            for of_server, of_proxy in _OF_PROXY:
                problem = problem.replace(of_server, of_proxy)
        return problem


def shake_hands(
    step: Step,
    peer: Peer,
    sock: Any,
    timeout: float,
    stated_timeout: float,
    authorities: str | None,
) -> Any:
    """Do the handshake as the client does, and record its facts.

    :param stated_timeout: seconds to report after a timeout.
    :param authorities: the source of the CA bundle: an option, a variable or a package. None: the
                        certificate is not verified.
    :returns: the socket with TLS.
    :raises Fault: the handshake failed.
    """
    facts = step.facts
    facts.update(
        version=None,
        cipher=None,
        alpn=None,
        verified=False,
        authorities=authorities,
        client_certificate=peer.has_certificate,
        chain=None,
        certificate=None,
    )
    try:
        wrapped = tls.before_handshake(sock, peer.context(), peer.host, {})
    except BaseException:  # Ctrl-C must not leave a socket open either
        sock.close()
        raise
    inner = wrapped.tls if isinstance(wrapped, TLSOverTLS) else wrapped
    chain: list[certificate.Decoded] = []
    try:
        try:
            within(timeout, wrapped.do_handshake)
        finally:
            chain = certificate.sent_by(inner)
            if chain:
                facts['chain'] = len(chain)
                facts['certificate'] = certificate.facts(chain[0])
        cipher = inner.cipher()
        facts.update(
            version=inner.version(),
            cipher=cipher and cipher[0],
            # the client offers no protocols, since it supports only HTTP/1.1
            alpn=inner.selected_alpn_protocol(),
            verified=authorities is not None,
        )
        _look_at_days(step)
        return wrapped
    except BaseException as exc:  # Ctrl-C must not leave a socket open either
        wrapped.close()
        problem = _handshake_problem(exc, peer, chain, stated_timeout, authorities or '')
        if problem is None:
            raise
        raise Fault(peer.named(problem)) from exc


def _handshake_problem(
    error: BaseException,
    peer: Peer,
    chain: list[certificate.Decoded],
    stated_timeout: float,
    authorities: str,
) -> str | None:
    if isinstance(error, TimeoutError):
        return f'no TLS handshake within {stated_timeout:g} seconds. Does this port speak TLS?'
    if isinstance(error, ssl.SSLCertVerificationError):
        return certificate.problem(error, chain, peer.host, authorities)
    if isinstance(error, ssl.SSLError):
        return explain(error, peer.has_certificate)
    if isinstance(error, OSError):
        return (
            f'the connection was lost in the TLS handshake ({error.strerror or error}). '
            f'{NO_TLS_OR_HOST}'
        )
    return None


def _look_at_days(step: Step) -> None:
    certificate_facts = step.facts['certificate']
    left = certificate_facts and certificate_facts['days_left']
    if left is not None and left < SOON:
        until = certificate_facts['not_after']
        if left < 0:  # with --no-verify
            step.warn(f'the certificate expired on {until}')
        else:
            step.warn(f'the certificate expires on {until}, in {left} days')


def explain(error: ssl.SSLError, has_certificate: bool) -> str:
    """Why the TLS handshake failed, and what to try.

    :param has_certificate: whether the client sent a certificate.
    """
    reason = error.reason or ''
    if isinstance(error, ssl.SSLEOFError) or reason == 'UNEXPECTED_EOF_WHILE_READING':
        return f'the server closed the connection in the TLS handshake. {NO_TLS_OR_HOST}'
    if reason in _NO_TLS:
        return SPEAKS_HTTP
    if reason in _VERSIONS:
        return 'no common TLS version: this client supports TLS 1.2 and later'
    if reason in _CERTIFICATE_WANTED:
        if has_certificate:
            return f'the server rejected the client certificate ({_words(error)})'
        return f'the server requires a client certificate ({_words(error)}). Pass --cert FILE'
    if 'UNRECOGNIZED_NAME' in reason:
        return 'the server does not serve this host name'
    if 'HANDSHAKE_FAILURE' in reason:
        cause = '' if has_certificate else ', or it requires a client certificate (--cert FILE)'
        return f'the server rejected the TLS handshake: no common cipher{cause}'
    return _words(error)


def refused_certificate(
    error: BaseException, route: Route, *, first: bool
) -> tuple[str, str | None] | None:
    """Whether the server rejected the client certificate, or the lack of one.

    With TLS 1.3 a server rejects it after the handshake, in place of its first response. The server
    then closes the connection with a request unread, so that its alert may be lost.

    :param first: whether it was the first request.
    :returns: the explanation and the step to look at; None for another error.
    """
    has_certificate = route.cert is not None
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLError) and cause.reason in _CERTIFICATE_WANTED:
            return explain(cause, has_certificate), 'tls'
        if first and route.secure and isinstance(cause, _CLOSED):
            if has_certificate:
                return f'{_CLOSES}. Perhaps it rejected the client certificate', 'tls'
            return f'{_CLOSES}. Perhaps it requires a client certificate (--cert FILE)', None
        cause = cause.__cause__
    return None


def _words(error: ssl.SSLError) -> str:
    return (error.reason or str(error)).replace('_', ' ').lower()
