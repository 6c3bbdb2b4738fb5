"""The functions for frames that exist twice: in Python, which is the reference, and in C."""

import importlib
import sys
from types import ModuleType

import pytest

import engineio_gevent
from engineio_gevent.protocol import frames, messages  # noqa: F401 - they fill REFERENCE
from engineio_gevent.protocol.compiled import REFERENCE

from .missing import missing

IMPLEMENTATIONS = ['python', 'c']


def extension() -> ModuleType | None:
    """The extension in C, used or not; None: it is not built, or of another version."""
    try:
        found = importlib.import_module('engineio_gevent.protocol._speedups')
    except ImportError:
        return None
    return found if engineio_gevent.__version__ == found.VERSION else None


def can_have_extension() -> bool:
    """Whether setup.py builds the extension for this interpreter."""
    return sys.implementation.name == 'cpython' and 't' not in getattr(sys, 'abiflags', '')


def need_extension() -> ModuleType:
    """The extension; without one, the test is skipped."""
    found = extension()
    if found is None and can_have_extension():
        missing('the extension in C', 'install gcc, and then this package again')
    if found is None:
        pytest.skip('this interpreter uses no extension in C')
    return found


def use_implementation(name, monkeypatch):
    """Use one of the implementations, in all modules that have imported the functions.

    :param name: 'python' or 'c'.
    """
    compiled = extension() if name == 'python' else need_extension()
    for module in list(sys.modules.values()):
        for function, python in REFERENCE.items():
            both = [python, getattr(compiled, function, python)]
            found = getattr(module, '__dict__', {}).get(function)
            if any(found is one for one in both):
                monkeypatch.setattr(module, function, both[0 if name == 'python' else 1])
