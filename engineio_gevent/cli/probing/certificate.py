"""Read a server certificate, verified or not, and explain why verification failed."""

from __future__ import annotations

import ssl
import time
from datetime import datetime, timezone
from typing import Any

_DAY = 86400

# OpenSSL's X509_V_ERR_*, as verify_code of an exception.
_NOT_YET_VALID, _EXPIRED = 9, 10
_SELF_SIGNED, _SELF_SIGNED_IN_CHAIN = 18, 19
_NO_ISSUER = 2, 20, 21
_OTHER_NAME = 62, 64

Decoded = dict[str, Any]


def sent_by(sock: ssl.SSLSocket | ssl.SSLObject) -> list[Decoded]:
    """The certificates that the server sent, its own first; empty if Python cannot read them.

    ``getpeercert()`` returns only verified certificates, and a failed verification is what has to
    be explained. The public ``get_unverified_chain()`` exists since Python 3.13 and returns
    encoded bytes. The private method that it calls exists since 3.10 and returns objects that
    decode themselves.
    """
    try:
        chain = sock._sslobj.get_unverified_chain()  # type: ignore[union-attr]  # see above
        return [one.get_info() for one in chain or ()]
    except (AttributeError, ValueError, ssl.SSLError):
        pass
    try:
        verified = sock.getpeercert()
    except (OSError, ValueError):
        return []
    return [dict(verified)] if verified else []


def facts(decoded: Decoded) -> dict[str, Any]:
    """The facts of a certificate, for the report."""
    until = decoded.get('notAfter')
    return {
        'subject': _name(decoded.get('subject', ())),
        'issuer': _name(decoded.get('issuer', ())),
        'names': names(decoded),
        'not_before': _day(decoded.get('notBefore')),
        'not_after': _day(until),
        'days_left': until and int((ssl.cert_time_to_seconds(until) - time.time()) // _DAY),
    }


def names(decoded: Decoded) -> list[str]:
    """The host names and addresses in a certificate."""
    return [str(value) for _, value in decoded.get('subjectAltName', ())]


def problem(
    error: ssl.SSLCertVerificationError, chain: list[Decoded], host: str, authorities: str
) -> str:
    """Why the verification failed, and what to do.

    :param chain: the certificates that the server sent.
    :param authorities: the source of the CA bundle: an option, a variable or a package.
    """
    own = chain[0] if chain else {}
    code = error.verify_code
    if code in _OTHER_NAME:
        others = names(own)
        listed = ', '.join(others[:5]) + (f' and {len(others) - 5} more' if others[5:] else '')
        return f'the certificate is for {listed or "no host"}, not for {host}'
    if code == _EXPIRED:
        found = facts(own) if own else {}
        if found and found['days_left'] < 0:
            ago = -found['days_left'] - 1
            return f'the certificate expired on {found["not_after"]}, {ago} days ago'
        return 'a certificate in the chain has expired, but not the server certificate'
    if code == _NOT_YET_VALID:
        since = _day(own.get('notBefore')) if own else None
        return (
            f'the certificate is valid from {since or "a later date"}. Check the clock of this '
            'machine'
        )
    if code == _SELF_SIGNED:
        return 'the certificate is self-signed. Pass --ca FILE to trust it'
    issuer = _name(chain[-1].get('issuer', ())) if chain else ''
    if code == _SELF_SIGNED_IN_CHAIN or code in _NO_ISSUER:
        text = (
            f'the certificate was issued by {issuer or "an unknown CA"}, which is not in the CA '
            f'bundle ({authorities}). Pass --ca FILE to trust another CA'
        )
        if len(chain) == 1 and code in _NO_ISSUER:
            text += (
                '. The server sent only one certificate: perhaps an intermediate certificate is '
                'missing'
            )
        return text
    return f'the certificate was not verified: {error.verify_message}'


def _name(rdns: Any) -> str:
    """The common name and organisation of a distinguished name, or all its fields."""
    fields = {key: str(value) for rdn in rdns for key, value in rdn}
    wanted = 'commonName', 'organizationName', 'organizationalUnitName'
    parts = [fields[key] for key in wanted if key in fields]
    return ', '.join(parts or fields.values())


def _day(when: str | None) -> str | None:
    if when is None:
        return None
    return datetime.fromtimestamp(ssl.cert_time_to_seconds(when), timezone.utc).strftime('%Y-%m-%d')
