"""Start the command again with monkey-patched sockets.

Polling through requests (for a proxy or a client certificate) uses the sockets of the standard
library. Each GET would block the whole process until the server sends a packet. Monkey-patching
has to happen before requests is imported, and the package imports it. So the command replaces
itself by a process that patches first.
"""

from __future__ import annotations

import os
import sys

import click
from gevent.monkey import is_module_patched

# Threads are not patched, because the prompt runs an asyncio event loop in a native one. sys.path
# is copied, because a program given by -c also imports modules from the current directory.
_PROGRAM = """\
import sys
sys.path[:] = {path!r}
from gevent import monkey
monkey.patch_socket()
monkey.patch_ssl()
from engineio_gevent.cli import main
sys.exit(main())
"""


def patch() -> None:
    """Return if the sockets are monkey-patched, else replace this process by a patched one."""
    if is_module_patched('socket') and is_module_patched('ssl'):
        return
    arguments = click.get_current_context().find_root().obj
    sys.stdout.flush()
    sys.stderr.flush()
    program = _PROGRAM.format(path=[str(entry) for entry in sys.path])
    os.execv(sys.executable, [sys.executable, '-c', program, *arguments])
