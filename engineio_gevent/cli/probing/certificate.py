"""What a server's certificate says, verified or not, and why it is not believed."""

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


def shown_by(sock: ssl.SSLSocket) -> list[Decoded]:
    """The certificates that the server has sent, its own first; empty where Python cannot tell.

    ``getpeercert()`` tells of those alone that were verified, and it is the others that
    one has to see. Since Python 3.13 there is a public ``get_unverified_chain()``, of undecoded
    bytes; what is below it is there since 3.10, and decodes.
    """
    try:
        chain = sock._sslobj.get_unverified_chain()  # type: ignore[attr-defined]  # see above
        return [one.get_info() for one in chain or ()]
    except (AttributeError, ValueError, ssl.SSLError):
        pass
    try:
        verified = sock.getpeercert()
    except (OSError, ValueError):
        return []
    return [dict(verified)] if verified else []


def facts(decoded: Decoded) -> dict[str, Any]:
    """A certificate, for the report."""
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
    """The hosts and addresses that a certificate is for."""
    return [str(value) for _, value in decoded.get('subjectAltName', ())]


def problem(
    error: ssl.SSLCertVerificationError, chain: list[Decoded], host: str, authorities: str
) -> str:
    """Why the certificate is not believed, and what to do.

    :param chain: what the server has sent.
    :param authorities: where those come from that it was verified with.
    """
    own = chain[0] if chain else {}
    code = error.verify_code
    if code in _OTHER_NAME:
        others = names(own)
        listed = ', '.join(others[:5]) + (f' and {len(others) - 5} more' if others[5:] else '')
        return f'the certificate is for {listed or "no host at all"}, not for {host}'
    if code == _EXPIRED:
        found = facts(own) if own else {}
        if found and found['days_left'] < 0:
            ago = -found['days_left'] - 1
            return f'the certificate has expired on {found["not_after"]}, {ago} days ago'
        return 'a certificate of the chain has expired, though not that of the server itself'
    if code == _NOT_YET_VALID:
        since = _day(own.get('notBefore')) if own else None
        return (
            f'the certificate is valid from {since or "a later date"} on: is the clock of this '
            'machine right?'
        )
    if code == _SELF_SIGNED:
        return 'the certificate is self-signed: if it is the right one, --ca FILE believes it'
    issuer = _name(chain[-1].get('issuer', ())) if chain else ''
    if code == _SELF_SIGNED_IN_CHAIN or code in _NO_ISSUER:
        told = (
            f'the authority {issuer or "of the certificate"} is not among those of '
            f'{authorities}: --ca FILE has others verify it'
        )
        if len(chain) == 1 and code in _NO_ISSUER:
            told += (
                '; or the server, which sends one certificate alone, leaves out the '
                "intermediate authority's"
            )
        return told
    return f'the certificate is not believed: {error.verify_message}'


def _name(rdns: Any) -> str:
    """A distinguished name: its common name and organisation, if it has them."""
    fields = {key: str(value) for rdn in rdns for key, value in rdn}
    wanted = 'commonName', 'organizationName', 'organizationalUnitName'
    parts = [fields[key] for key in wanted if key in fields]
    return ', '.join(parts or fields.values())


def _day(when: str | None) -> str | None:
    if when is None:
        return None
    return datetime.fromtimestamp(ssl.cert_time_to_seconds(when), timezone.utc).strftime('%Y-%m-%d')
