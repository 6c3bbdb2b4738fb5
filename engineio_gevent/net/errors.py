"""The text of an exception that the operating system or TLS raised."""

from __future__ import annotations

from typing import Any


def error_text(error: BaseException) -> str:
    """An exception in a few words, whatever its class makes of ``str()``."""
    text: Any = getattr(error, 'strerror', None) or str(error)
    return str(text) if text else type(error).__name__
