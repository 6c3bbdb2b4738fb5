"""gunicorn's settings, and the two moments when a worker's client comes and goes.

gunicorn reads this file by itself when it is started in this folder. What differs from one
installation to the next comes from the environment: BRIDGE_BIND, UPSTREAM_URL, WEB_CONCURRENCY.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gunicorn.arbiter import Arbiter
    from gunicorn.workers.ggevent import GeventWorker

wsgi_app = 'app:create_app()'
bind = os.environ.get('BRIDGE_BIND', '127.0.0.1:8000')
worker_class = 'gevent'
workers = int(os.environ.get('WEB_CONCURRENCY', '2'))
#: Connections of browsers per worker; each open page holds one for as long as it is open.
worker_connections = 1000
#: Of them, those left to pages that load and to posts when as many pages as can be are open.
SPARE_CONNECTIONS = 100
#: Streams end within a second of a worker's end, so this bounds requests that hang.
graceful_timeout = 10
#: Its default path is the same for all of a user's gunicorns, of which there may be several.
control_socket_disable = True

UPSTREAM_URL = os.environ.get('UPSTREAM_URL', 'http://127.0.0.1:5000')
#: Seconds that a new worker waits for its connection before it takes requests all the same.
FIRST_CONNECT = 3.0


def post_worker_init(worker: GeventWorker) -> None:
    """In the worker, when the application is loaded: its client connects."""
    # Imported here, where the worker has patched the standard library: the file itself is
    # read in the master, which it has not.
    from bridge import Bridge

    streams = worker.cfg.worker_connections - SPARE_CONNECTIONS
    bridge = Bridge(UPSTREAM_URL, worker.log.error_log, lambda: bool(worker.alive), streams)
    application: Any = worker.wsgi
    application.extensions['bridge'] = bridge
    # What browsers have missed while the worker before this one ended comes with the connection.
    bridge.start(FIRST_CONNECT)


def worker_exit(server: Arbiter, worker: GeventWorker) -> None:
    """In the worker, whatever ends it: its client leaves, and the upstream knows at once."""
    # A worker that has not got so far has no bridge; and the master calls this for a worker
    # that is gone already, in its own process, where there is none either.
    bridge = getattr(getattr(worker, 'wsgi', None), 'extensions', {}).get('bridge')
    if bridge is not None:
        bridge.stop()
