"""The disconnect handler of older programs, which takes no reason."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from types import FunctionType
from typing import Any


def call_disconnect(handler: Callable[..., Any], reason: str) -> None:
    """Call a disconnect handler with the reason, or without where it takes none (legacy)."""
    if _takes_reason(handler):
        handler(reason)
    else:
        handler()


def _takes_reason(handler: Callable[..., Any]) -> bool:
    function = getattr(handler, '__func__', handler)
    if isinstance(function, FunctionType) and not hasattr(function, '__wrapped__'):
        # The code object answers in 0.3 us. inspect takes 25 us.
        code = function.__code__
        own = code.co_argcount - (function is not handler)  # without self
        return own > 0 or bool(code.co_flags & inspect.CO_VARARGS)
    try:
        signature = inspect.signature(handler)
    except (TypeError, ValueError):
        return True  # its signature is unknown: call it as documented, with the reason
    return _binds(signature, '') or not _binds(signature)


def _binds(signature: inspect.Signature, *arguments: object) -> bool:
    try:
        signature.bind(*arguments)
    except TypeError:
        return False
    return True
