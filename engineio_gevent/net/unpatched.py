"""A warning, once in a process, before code runs that blocks the whole thread."""

from __future__ import annotations

import warnings

from gevent.monkey import is_module_patched

_warned = False


def warn_if_unpatched(what: str) -> None:
    """Warn, once in a process, if the standard library's sockets are not cooperative.

    :param what: the operation that uses them: the beginning of the warning.
    """
    global _warned
    if _warned or is_module_patched('socket'):
        return
    _warned = True
    warnings.warn(
        f'{what} blocks all greenlets of this thread while it waits, because the standard '
        "library's sockets are not monkey-patched. Call gevent.monkey.patch_all() at the start "
        'of the program, or connect without http_session.',
        RuntimeWarning,
        stacklevel=2,
    )
