"""The TLS step: its handshake, the certificate, and what is wrong with it."""

from __future__ import annotations

import ssl
from typing import Any

from ...transports import dial, tls
from ...transports.http1 import NothingCame
from ...transports.route import Route
from . import certificate
from .report import Fault, Step

#: Days before a certificate's end from which it is a warning.
SOON = 14

# OpenSSL's words for what is no TLS at all; they depend on its version.
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
_CLOSES = 'after the TLS handshake the server closed the connection without an answer'


def shake_hands(
    step: Step, route: Route, sock: Any, timeout: float, authorities: str
) -> ssl.SSLSocket:
    """Do the handshake as the client does, and note what can be seen.

    :param authorities: where those come from that the certificate is verified with.
    :raises Fault: there is no TLS.
    """
    facts = step.facts
    facts.update(
        version=None,
        cipher=None,
        alpn=None,
        verified=False,
        authorities=authorities if route.verify else None,
        client_certificate=route.cert is not None,
        chain=None,
        certificate=None,
    )
    try:
        wrapped = tls.before_handshake(sock, route.tls_context(), route.host, {})
    except BaseException:  # Ctrl-C, too, leaves no socket open
        sock.close()
        raise
    chain: list[certificate.Decoded] = []
    try:
        try:
            dial.within(timeout, wrapped.do_handshake)
        finally:
            chain = certificate.shown_by(wrapped)
            if chain:
                facts['chain'] = len(chain)
                facts['certificate'] = certificate.facts(chain[0])
        cipher = wrapped.cipher()
        facts.update(
            version=wrapped.version(),
            cipher=cipher and cipher[0],
            # the client offers no protocols: HTTP/1.1 is all that it speaks
            alpn=wrapped.selected_alpn_protocol(),
            verified=bool(route.verify),
        )
        _look_at_days(step)
        return wrapped
    except BaseException as exc:  # Ctrl-C, too, leaves no socket open
        wrapped.close()
        if isinstance(exc, TimeoutError):
            raise Fault(f'no answer within {timeout:g} seconds: is it TLS that is there?') from exc
        if isinstance(exc, ssl.SSLCertVerificationError):
            problem = certificate.problem(exc, chain, route.host, authorities)
            raise Fault(problem) from exc
        if isinstance(exc, ssl.SSLError):
            raise Fault(explain(exc, route.cert is not None)) from exc
        if isinstance(exc, OSError):
            raise Fault(
                f'the connection was lost in the handshake ({exc.strerror or exc}): '
                'perhaps it is no TLS that is there, or no host of this name'
            ) from exc
        raise


def _look_at_days(step: Step) -> None:
    certificate_facts = step.facts['certificate']
    left = certificate_facts and certificate_facts['days_left']
    if left is not None and left < SOON:
        until = certificate_facts['not_after']
        if left < 0:  # and it is not verified
            step.warn(f'the certificate has expired on {until}')
        else:
            step.warn(f'the certificate expires on {until}, in {left} days')


def explain(error: ssl.SSLError, has_certificate: bool) -> str:
    """What stopped TLS, in words that say what to look at.

    :param has_certificate: whether the client has shown a certificate.
    """
    reason = error.reason or ''
    if isinstance(error, ssl.SSLEOFError) or reason == 'UNEXPECTED_EOF_WHILE_READING':
        return (
            'the server closed the connection in the handshake: perhaps it is no TLS that is '
            'there, or no host of this name'
        )
    if reason in _NO_TLS:
        return 'what answers here is not TLS: http:// instead of https://?'
    if reason in _VERSIONS:
        return 'the server speaks no version of TLS that this client does (1.2 and later)'
    if reason in _CERTIFICATE_WANTED:
        if has_certificate:
            return f"the server does not take the client's certificate ({_words(error)})"
        return f'the server demands a certificate of the client: --cert FILE ({_words(error)})'
    if 'UNRECOGNIZED_NAME' in reason:
        return 'the server has no host of this name'
    if 'HANDSHAKE_FAILURE' in reason:
        wanted = '' if has_certificate else ', or it demands a certificate of the client (--cert)'
        return f'the server refuses the handshake: there is no cipher in common{wanted}'
    return _words(error)


def refused_certificate(
    error: BaseException, route: Route, *, first: bool
) -> tuple[str, str | None] | None:
    """What to say if the server has refused the client's certificate, or that there is none.

    With TLS 1.3 that comes after the handshake, in place of the first answer; and as the server
    closes then, with a request unread, what it said may be lost on the way.

    :param first: whether it was the first request.
    :returns: the sentence, and the step to look at.
    """
    has_certificate = route.cert is not None
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLError) and cause.reason in _CERTIFICATE_WANTED:
            return explain(cause, has_certificate), 'tls'
        if first and route.secure and isinstance(cause, _CLOSED):
            if has_certificate:
                return f"{_CLOSES}: perhaps it does not take the client's certificate", 'tls'
            return f'{_CLOSES}: perhaps it demands a certificate of the client (--cert FILE)', None
        cause = cause.__cause__
    return None


def _words(error: ssl.SSLError) -> str:
    return (error.reason or str(error)).replace('_', ' ').lower()
