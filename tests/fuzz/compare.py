"""Compares the extension in C with the Python that it replaces."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from engineio_gevent.protocol import messages  # noqa: F401 - it fills REFERENCE
from engineio_gevent.protocol.compiled import REFERENCE

try:
    from engineio_gevent.protocol import _speedups
except ImportError:  # then there is nothing to compare
    _speedups = None  # type: ignore[assignment]

#: Whether the extension is built.
IS_BUILT = _speedups is not None


def both(name: str) -> list[Callable[..., Any]]:
    """The function in Python, and the one in C, if it is built."""
    return [REFERENCE[name], getattr(_speedups, name, REFERENCE[name])]


def outcome(name: str, *args: Any) -> Any:
    """What comes of a call: the same in both, an error included."""
    python, compiled = (_outcome(function, args) for function in both(name))
    assert type(python) is type(compiled), (name, args, python, compiled)
    if name == 'encode_frame' and isinstance(python, bytes):
        # Their keys differ.
        python, compiled = _unmasked(python), _unmasked(compiled)
    assert python == compiled, (name, args, python, compiled)
    return python


def _outcome(function: Callable[..., Any], args: Any) -> Any:
    try:
        return function(*args)
    except Exception as error:
        return type(error).__name__, str(error)


def _unmasked(frame: bytes) -> bytes:
    start = {126: 8, 127: 14}.get(frame[1] & 0x7F, 6)
    key = frame[start - 4 : start]
    return frame[: start - 4] + bytes(byte ^ key[at % 4] for at, byte in enumerate(frame[start:]))
