"""Errors of the operating system and of TLS: their text, and those that pass by themselves."""

from __future__ import annotations

import errno
from typing import Any

from ..exceptions import ConnectionClosed

_OUT_OF_RESOURCES = frozenset(
    (errno.EMFILE, errno.ENFILE, errno.EADDRNOTAVAIL, errno.ENOBUFS, errno.ENOMEM)
)


class OutOfResources(ConnectionClosed):
    """This machine had no descriptor, port or memory for a new connection: nothing was sent."""


def connection_error(error: BaseException) -> type[ConnectionClosed]:
    """The exception for a connection that could not be opened, by what the system said."""
    if isinstance(error, OSError) and error.errno in _OUT_OF_RESOURCES:
        return OutOfResources
    return ConnectionClosed


def error_text(error: BaseException) -> str:
    """An exception in a few words, whatever its class makes of ``str()``."""
    text: Any = getattr(error, 'strerror', None) or str(error)
    return str(text) if text else type(error).__name__


def as_os_error(error: Exception) -> OSError:
    """An exception of a socket, converted to OSError."""
    if isinstance(error, OSError):
        return error
    converted = OSError(error_text(error))
    converted.__cause__ = error
    return converted
