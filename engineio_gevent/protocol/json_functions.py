"""How messages are written and read as JSON: the functions of the option ``json``.

JSON packages differ. The standard library's ``dumps()`` has to be told to leave
out spaces; orjson's refuses such a request and returns bytes; ``msgspec.json``
calls its functions ``encode()`` and ``decode()``. :func:`json_functions` looks
once at what a client was given, and returns a pair that behaves alike.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable
from json import decoder, encoder, scanner
from types import ModuleType
from typing import Any, NamedTuple

__all__ = ['JSONFunctions', 'adapt', 'decode', 'json_functions']

_SEPARATORS = (',', ':')


class JSONFunctions(NamedTuple):
    """The two functions of a client."""

    #: Return the JSON of an object, without spaces.
    dumps: Callable[[Any], str]
    #: Return what a text stands for; ValueError: it is not JSON.
    loads: Callable[[str], Any]


# The standard library's

_dumps = json.dumps
_loads = json.loads


def _is_own(function: Any, module: ModuleType) -> bool:
    """Whether a function is one of a module's, and not what an application has put in its place.

    That may have happened before this module was imported.
    """
    return getattr(function, '__globals__', None) is vars(module)


def _has_own_methods() -> bool:
    """Whether no application has replaced those by which it could change all JSON of a process."""
    writer: Any = json.JSONEncoder
    reader = json.JSONDecoder
    writing = (writer.__init__, writer.encode, writer.iterencode)
    reading = (reader.decode, reader.raw_decode)
    return all(_is_own(method, encoder) for method in writing) and all(
        _is_own(method, decoder) for method in reading
    )


def _refuse(value: object) -> Any:
    raise TypeError(value)


# json.dumps() makes an encoder in Python and one in C at each call. The one in C,
# made once, takes 0.9 us of 2.3 for a small dict. PyPy has none.
_markers: dict[int, Any] = {}
_make_encoder: Any = getattr(encoder, 'c_make_encoder', None)
_chunks = _make_encoder and _make_encoder(
    _markers, _refuse, encoder.encode_basestring_ascii, None, ':', ',', False, False, True
)
# What json.loads() calls at its core: 0.7 us of 1.4.
_make_scanner: Any = getattr(scanner, 'c_make_scanner', None)
_scan_once = _make_scanner and _make_scanner(json.JSONDecoder())


def _encode(data: Any) -> str:
    """``json.dumps()`` without spaces."""
    try:
        return ''.join(_chunks(data, 0))
    except Exception:
        # The containers that were being written are still noted, to find circular
        # references. Others may have been noted by another thread meanwhile. All of
        # that is left to json.dumps(), and so are errors and a patched ``default()``.
        _markers.clear()
    except BaseException:  # a kill, in a method of the data's: what is noted would live on
        _markers.clear()
        raise
    return _dumps(data, separators=_SEPARATORS)


def decode(text: str) -> Any:
    """``json.loads()``."""
    if _scan_once is not None:
        try:
            value, end = _scan_once(text, 0)
        except StopIteration:
            end = -1
        if end == len(text):
            return value
    return _loads(text)  # white space around JSON, or an error to describe


# Any other's


class _Adapter:
    """Functions of a JSON package, as python-engineio and python-socketio call them."""

    def __init__(self, functions: JSONFunctions) -> None:
        self._functions = functions

    def dumps(self, data: Any, separators: Any = None) -> str:
        """Return JSON without spaces."""
        return self._functions.dumps(data)

    def loads(self, text: str) -> Any:
        """Return what JSON stands for."""
        return self._functions.loads(text)


def adapt(module: Any) -> Any:
    """Return what can be used in place of the standard library's ``json``.

    :param module: a JSON package; returned as it is if it can be used so.

    :raises ValueError: it has no functions that are known.
    """
    functions = json_functions(module)
    dumps = getattr(module, 'dumps', None)
    is_alike = callable(dumps) and hasattr(module, 'loads') and _takes_separators(dumps)
    return module if is_alike else _Adapter(functions)


def json_functions(module: Any) -> JSONFunctions:
    """Return the functions of a JSON package, decided by what it has.

    :param module: a module or object with ``dumps()`` and ``loads()``, or with
                   ``encode()`` and ``decode()``; None is the standard library's.

    :raises ValueError: it has neither.
    """
    module = json if module is None else module
    dumps, loads = getattr(module, 'dumps', None), getattr(module, 'loads', None)
    if callable(dumps) and callable(loads):
        standard = _has_own_methods()
        return JSONFunctions(
            _encode if standard and _chunks and _is_own(dumps, json) else _writer(dumps),
            decode if standard and _is_own(loads, json) else loads,
        )
    write, read = getattr(module, 'encode', None), getattr(module, 'decode', None)
    if callable(write) and callable(read):
        return JSONFunctions(_as_text(write), _reader(read))
    raise ValueError(
        f'json must be a module with dumps() and loads(), or encode() and decode(): {module!r:.100}'
    )


def _writer(dumps: Callable[..., Any]) -> Callable[[Any], str]:
    if not _takes_separators(dumps):
        return _as_text(dumps)

    def write(data: Any) -> str:
        text = dumps(data, separators=_SEPARATORS)
        return text.decode() if isinstance(text, bytes) else text

    return write


def _as_text(write: Callable[[Any], Any]) -> Callable[[Any], str]:
    def as_text(data: Any) -> str:
        text = write(data)
        return text.decode() if isinstance(text, bytes) else text

    return as_text


def _takes_separators(dumps: Callable[..., Any]) -> bool:
    """Whether the function can be called as the standard library's is."""
    try:
        inspect.signature(dumps).bind(None, separators=_SEPARATORS)
    except TypeError:
        return False
    except ValueError:  # a function in C that does not tell its parameters
        try:
            dumps([], separators=_SEPARATORS)
        except TypeError:
            return False
    return True


def _reader(read: Callable[[str], Any]) -> Callable[[str], Any]:
    """``decode()``, whose error for bad JSON need not be a ValueError."""
    try:
        read('{')
    except ValueError:
        return read
    except Exception as exc:
        refused = type(exc)
    else:
        return read

    def loads(text: str) -> Any:
        try:
            return read(text)
        except refused as exc:
            raise ValueError(str(exc)) from exc

    return loads
