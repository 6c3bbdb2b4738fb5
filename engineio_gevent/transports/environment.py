"""What the environment says of a connection: proxies, netrc and CA bundles, by requests' rules.

requests decides, by its own functions. Its import takes 60 ms, so it waits until the environment
has something to decide about, and most environments have nothing.
"""

from __future__ import annotations

import os
import re
import sys
import urllib.request
from collections.abc import Mapping
from functools import lru_cache

# By the scheme of a URL, the variables that may name its proxy.
_PROXIES = {
    'http': ('http_proxy', 'HTTP_PROXY', 'all_proxy', 'ALL_PROXY'),
    'https': ('https_proxy', 'HTTPS_PROXY', 'all_proxy', 'ALL_PROXY'),
}
# Whether os.access() can ask for the user that files are opened by, if a program has two.
_EFFECTIVE_IDS = os.access in os.supports_effective_ids
_BUNDLES = ('REQUESTS_CA_BUNDLE', 'CURL_CA_BUNDLE')
_NETRC = ('NETRC',)
# The same names as os.environ keeps them.
_KEYS = {
    names: tuple(map(os.environ.encodekey, names))
    for names in (*_PROXIES.values(), _BUNDLES, _NETRC)
}
# A URL that requests would not change: unreserved and reserved characters (RFC 3986, section 2).
_PLAIN = re.compile(r"[A-Za-z0-9\-._~!#$&'()*+,/:;=?@\[\]]*\Z")


def proxies_for(url: str) -> Mapping[str, str]:
    """The proxies for a URL, by scheme; none if ``no_proxy`` names its host.

    :param url: ``http`` or ``https``.
    """
    names = _PROXIES[url.partition(':')[0]]
    if not (_platform_proxies() or _first_of(names)):
        return {}
    from requests.utils import get_environ_proxies

    proxies: Mapping[str, str] = get_environ_proxies(url)
    return proxies


def select_proxy(url: str, proxies: Mapping[str, str]) -> str | None:
    """The proxy of these for a URL."""
    if not proxies:
        return None
    from requests.utils import select_proxy as select

    return select(url, dict(proxies)) or None


def ca_bundle() -> str | None:
    """The CA bundle that the environment names."""
    found = _first_of(_BUNDLES)
    return found and sys.intern(found)  # the same object for all clients


def _first_of(names: tuple[str, ...]) -> str | None:
    """The value of the first variable that has one. It is a key of ``_KEYS``."""
    # Most often none is set. By get(), to find that out for four names takes 2.5 us, and from the
    # dictionary inside of os.environ 0.1. A program may have put another mapping in its place.
    data = getattr(os.environ, '_data', None)
    if isinstance(data, dict) and data.keys().isdisjoint(_KEYS[names]):
        return None
    return next(filter(None, map(os.environ.get, names)), None)


def default_ca_bundle() -> str:
    """The CA bundle of requests."""
    import certifi  # as requests.certs does

    return certifi.where()


def netrc_credentials(url: str) -> tuple[str, str] | None:
    """User and password from netrc."""
    for path in _netrc_paths(_first_of(_NETRC), os.environ.get('HOME')):
        # os.path.exists() would take twice as long, and get_netrc_auth() 20 us.
        if os.access(path, os.F_OK, effective_ids=_EFFECTIVE_IDS):
            break
    else:
        return None
    from requests.utils import get_netrc_auth

    return get_netrc_auth(url)


def quoted(url: str) -> str:
    """A URL in ASCII, with what must be quoted quoted."""
    if _PLAIN.match(url):
        return url
    from requests.utils import requote_uri

    return str(requote_uri(url))


@lru_cache(maxsize=16)
def _netrc_paths(given: str | None, _home: str | None) -> list[str]:
    names = ['~/.netrc', '~/_netrc'] if given is None else [given]
    return list(map(os.path.expanduser, names))


def _platform_proxies() -> bool:
    """Whether this platform keeps proxies elsewhere than in the environment."""
    return urllib.request.getproxies is not getattr(urllib.request, 'getproxies_environment', None)
