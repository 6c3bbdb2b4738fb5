"""The command once more, with the standard library's sockets patched.

Polling through requests (a proxy, a client certificate) waits in those sockets: a GET would hold
up everything else for as long as the server has nothing to say. Patching comes too late once
requests is imported, as it is with the package; so the command begins anew, patched first.
"""

from __future__ import annotations

import os
import sys

import click
from gevent.monkey import is_module_patched

# Threads stay native: the prompt has one, and an event loop of asyncio in it. The path is the one
# of now: a program given by -c would have the current directory in it, and import what lies there.
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
    """Go on if the standard library's sockets are cooperative; else begin anew in this process."""
    if is_module_patched('socket') and is_module_patched('ssl'):
        return
    arguments = click.get_current_context().find_root().obj
    sys.stdout.flush()
    sys.stderr.flush()
    program = _PROGRAM.format(path=[str(entry) for entry in sys.path])
    os.execv(sys.executable, [sys.executable, '-c', program, *arguments])
