"""Exit codes and errors of the commands."""

from __future__ import annotations

import signal
from enum import IntEnum

#: Matches a URL with a scheme.
SCHEME = r'[A-Za-z][A-Za-z0-9+.-]*://'


class Exit(IntEnum):
    """The exit codes."""

    #: Success.
    DONE = 0
    #: No connection, or a server that does not do what the command needs.
    FAILED = 1
    #: Invalid arguments, or a package of an extra is missing.
    USAGE = 2
    #: The connection was lost, or closed before the server accepted all messages.
    LOST = 3
    #: ``probe`` only: the connection works, with a problem.
    DEGRADED = 4
    #: Ctrl-C, in the usual form of shells.
    INTERRUPTED = 128 + signal.SIGINT
    #: SIGTERM, in the same form.
    TERMINATED = 128 + signal.SIGTERM


class CommandError(Exception):
    """Ends a command. Its text is a one-line error message."""

    exit_code = Exit.FAILED


class Interrupted(BaseException):
    """Ctrl-C or SIGTERM. Click and gevent handle KeyboardInterrupt in their own ways.

    :param number: the number of the signal.
    """

    def __init__(self, number: int = signal.SIGINT) -> None:
        super().__init__(number)
        self.exit_code = Exit(128 + number)
