"""What the commands end with, and what they all look at before they begin."""

from __future__ import annotations

import signal
from enum import IntEnum

#: How a URL begins; what has none is told so.
SCHEME = r'[A-Za-z][A-Za-z0-9+.-]*://'


class Exit(IntEnum):
    """The exit codes."""

    #: It did what was asked.
    DONE = 0
    #: It could not: no connection, or a server that does not do what the command needs.
    FAILED = 1
    #: The arguments make no sense, or a package of an extra is not installed.
    USAGE = 2
    #: There was a connection, and it was lost, or closed with something of ours not taken.
    LOST = 3
    #: It connects, with something to mend: ``probe`` alone.
    DEGRADED = 4
    #: Ctrl-C; what a shell reports of such a command.
    INTERRUPTED = 128 + signal.SIGINT
    #: SIGTERM, in the same way.
    TERMINATED = 128 + signal.SIGTERM


class CommandError(Exception):
    """What ends a command; its text is one line for the person who runs it."""

    exit_code = Exit.FAILED


class Lost(CommandError):
    """The connection was lost."""

    exit_code = Exit.LOST


class Interrupted(BaseException):
    """Ctrl-C: as KeyboardInterrupt, of which click and gevent make things of their own.

    :param number: of the signal.
    """

    def __init__(self, number: int = signal.SIGINT) -> None:
        super().__init__(number)
        self.exit_code = Exit(128 + number)
