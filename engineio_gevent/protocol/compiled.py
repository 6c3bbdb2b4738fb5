"""Which implementation is in use: the extension in C, or Python.

The extension is optional. The Python beside each of its functions is the reference, and what is
used where the extension is not built.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from types import ModuleType
from typing import Any, TypeVar

from .. import __version__

__all__ = ['ACCELERATED', 'REFERENCE', 'SWITCH', 'accelerated']

#: The environment variable that chooses Python, unless it is empty or ``0``.
SWITCH = 'ENGINEIO_GEVENT_PURE_PYTHON'

_Function = TypeVar('_Function', bound=Callable[..., Any])


def _load() -> ModuleType | None:
    """The extension; None: it is switched off, not built, or of another version."""
    if os.environ.get(SWITCH, '0') not in ('', '0'):
        return None
    try:
        from . import _speedups
    except ImportError:
        return None
    return _speedups if getattr(_speedups, 'VERSION', '') == __version__ else None


_speedups = _load()

#: Whether the extension is in use.
ACCELERATED = _speedups is not None

#: What the extension replaces, by name.
REFERENCE: dict[str, Callable[..., Any]] = {}


def accelerated(function: _Function) -> _Function:
    """Replace a function by that of the same name in the extension, if that is in use.

    :param function: the reference.
    """
    REFERENCE[function.__name__] = function
    found: _Function = getattr(_speedups, function.__name__, function)
    return found
