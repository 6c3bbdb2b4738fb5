"""The package's own loggers, which a configuration of logging cannot disable by accident."""

from __future__ import annotations

import logging

#: For clients whose caller passed no logger.
CLIENT = logging.getLogger('engineio_gevent.client')
#: For what ends a handler, and is no ordinary exception.
DISPATCHER = logging.getLogger('engineio_gevent.dispatcher')


def enabled(logger: logging.Logger) -> logging.Logger:
    """Enable a logger of this package, so that no error in a handler vanishes.

    ``dictConfig()`` and ``fileConfig()`` disable each existing logger that they do not name, unless
    they are told not to. The levels, filters and handlers of the application still apply. A logger
    that the caller passed stays as it is.
    """
    if logger is CLIENT or logger is DISPATCHER:
        logger.disabled = False
    return logger
