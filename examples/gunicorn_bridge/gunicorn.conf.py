"""gunicorn's settings, and the hooks that connect and disconnect the client of each worker.

gunicorn reads this file when it is started in this folder. Set these environment variables for an
installation: BRIDGE_BIND, UPSTREAM_URL, WEB_CONCURRENCY.
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
#: Browser connections of each worker. Each open page uses one while it is open.
worker_connections = 1000
#: Connections reserved for loading pages and posts; streams cannot use them.
SPARE_CONNECTIONS = 100
#: Streams end within a second, so this only limits requests that hang.
graceful_timeout = 10
#: The default path is shared by all gunicorns of a user, and there may be several.
control_socket_disable = True

UPSTREAM_URL = os.environ.get('UPSTREAM_URL', 'http://127.0.0.1:5000')
#: Seconds that a new worker waits for its connection before it accepts requests. Must be less than
#: gunicorn's `timeout`, after which the master kills a worker that has not started.
FIRST_CONNECT = 10.0


def post_worker_init(worker: GeventWorker) -> None:
    """Connect the client. Runs in the worker after the application is loaded."""
    # Import here, in the worker, which is monkey-patched. The master reads this file unpatched.
    from bridge import Bridge

    streams = worker.cfg.worker_connections - SPARE_CONNECTIONS
    bridge = Bridge(UPSTREAM_URL, worker.log.error_log, lambda: bool(worker.alive), streams)
    application: Any = worker.wsgi
    application.extensions['bridge'] = bridge
    # The upstream then sends the messages that browsers missed during a reload.
    bridge.start(FIRST_CONNECT)


def worker_exit(server: Arbiter, worker: GeventWorker) -> None:
    """Disconnect the client. Runs in the worker when it stops for any reason but SIGKILL."""
    # A worker that failed to start has no bridge. The master also calls this hook in its own
    # process for a worker that was killed; there is no bridge there.
    bridge = getattr(getattr(worker, 'wsgi', None), 'extensions', {}).get('bridge')
    if bridge is not None:
        bridge.stop()
