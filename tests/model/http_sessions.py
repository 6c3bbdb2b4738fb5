"""A `requests.Session` that lets other greenlets run: this process is not monkey-patched."""

from __future__ import annotations

from typing import Any

import gevent.socket
import requests
import requests.adapters
import urllib3
import urllib3.connection
from urllib3.exceptions import NewConnectionError


class _Connection(urllib3.connection.HTTPConnection):
    def _new_conn(self) -> Any:
        try:
            return gevent.socket.create_connection((self.host, self.port), self.timeout)
        except OSError as exc:
            raise NewConnectionError(self, f'Failed to establish a new connection: {exc}') from exc


class _Pool(urllib3.HTTPConnectionPool):
    ConnectionCls = _Connection


class _Adapter(requests.adapters.HTTPAdapter):
    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = {'http': _Pool}


def make_session() -> requests.Session:
    session = requests.Session()
    session.trust_env = False
    session.mount('http://', _Adapter())
    return session


def close(session: requests.Session) -> None:
    """Close a session and the connections that lie idle in its pools."""
    for adapter in session.adapters.values():
        manager = getattr(adapter, 'poolmanager', None)
        for key in list(manager.pools.keys()) if manager else ():
            manager.pools[key].close()
    session.close()
