"""What the commands end with."""

from __future__ import annotations

import signal
from enum import IntEnum


class Exit(IntEnum):
    """The exit codes."""

    #: It did what was asked.
    DONE = 0
    #: It could not: no connection, or a server that does not do what the command needs.
    FAILED = 1
    #: The arguments make no sense, or a package of an extra is not installed.
    USAGE = 2
    #: There was a connection, and it was lost: neither side had closed it.
    LOST = 3
    #: It connects, with something to mend: ``probe`` alone.
    DEGRADED = 4
    #: Ctrl-C; what a shell reports of such a command.
    INTERRUPTED = 128 + signal.SIGINT


class CommandError(Exception):
    """What ends a command; its text is one line for the person who runs it."""

    exit_code = Exit.FAILED


class Lost(CommandError):
    """The connection was lost."""

    exit_code = Exit.LOST


class Interrupted(BaseException):
    """Ctrl-C: as KeyboardInterrupt, of which click and gevent make things of their own."""
