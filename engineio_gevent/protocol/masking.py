"""The masking of what a client sends (RFC 6455, section 5.3), and its keys."""

from __future__ import annotations

import os
import struct
import sys
from collections import deque
from functools import cache

from .compiled import accelerated

__all__ = ['CUTS', 'REPEATS', 'draw_keys', 'forget_keys', 'keys', 'mask', 'mask_bytes']

# Each frame needs a key that the application's data cannot foresee. os.urandom
# is a system call of 0.45 us, so keys are drawn 1024 at a time. pop() is atomic:
# neither greenlets nor native threads can get the same key.
_KEY_BLOCK = 4096
_KEYS = struct.Struct('<1024I')
#: The stock of keys of :func:`.encode_frame` in Python, to ``pop()`` one from; empty,
#: :func:`draw_keys` is to be called. The extension has a stock of its own.
keys: deque[int] = deque()


def draw_keys() -> int:
    """Fill the stock of keys and return one that is not in it."""
    first, *others = _KEYS.unpack(os.urandom(_KEY_BLOCK))
    keys.extend(others)
    return int(first)


@accelerated
def forget_keys() -> None:
    """Empty the stock of keys."""
    keys.clear()


# A forked child must not go on with keys that its parent uses too.
if hasattr(os, 'register_at_fork'):
    os.register_at_fork(after_in_child=forget_keys)

# For the mask of a frame as an integer, by the length of its payload, up to 125. A key times
# REPEATS is that key again and again, from the third byte of the frame on. With CUTS it ends with
# the frame. Tables save 0.2 us of 0.7.
_SHORT = 125
REPEATS = [
    int.from_bytes(b'\0\0' + b'\1\0\0\0' * (1 + (length + 3) // 4), 'little')
    for length in range(_SHORT + 1)
]
CUTS = [(1 << 8 * (6 + length)) - 1 for length in range(_SHORT + 1)]

# From this many bytes on, tables are faster than integers. 1 MiB takes 1.2 ms
# by table, 2.1 ms as integers of 16 KiB, 3.5 ms as one integer.
_FOR_TABLES = 2048
_IDENTITY = int.from_bytes(bytes(range(256)), 'little')
_ONES = int.from_bytes(b'\x01' * 256, 'little')


def _mask_as_integer(payload: bytes, key: bytes) -> bytes:
    length = len(payload)
    mask = (key * (length // 4 + 1))[:length]
    masked = int.from_bytes(payload, 'little') ^ int.from_bytes(mask, 'little')
    return masked.to_bytes(length, 'little')


@cache  # 0.3 us for each of four; all of them are 256, of 256 bytes
def _table(byte: int) -> bytes:
    """What :meth:`bytes.translate` needs for "XOR with this byte"."""
    return (_IDENTITY ^ _ONES * byte).to_bytes(256, 'little')


def _mask_by_table(payload: bytes, key: bytes) -> bytearray:
    """Translate every fourth byte with the table of that byte of the key."""
    masked = bytearray(payload)
    for index, byte in enumerate(key):
        masked[index::4] = masked[index::4].translate(_table(byte))
    return masked


def mask_bytes(payload: bytes, key: bytes) -> bytes | bytearray:
    """Mask, or unmask, a whole payload in Python.

    :param payload: of any size.
    :param key: four bytes.
    """
    if len(payload) < _FOR_TABLES:
        return _mask_as_integer(payload, key)
    return _mask_by_table(payload, key)


@accelerated
def mask(payload: str | bytes, key: bytes, start: int = 0, stop: int = sys.maxsize, /) -> bytes:
    """Mask, or unmask, a payload or a piece of it.

    :param payload: bytes, or ASCII text.
    :param key: four bytes; the piece begins with the first.
    :param start: where the piece begins.
    :param stop: where it ends; both are as in a slice.
    """
    if len(key) != 4:
        raise ValueError('a masking key has 4 bytes')
    if isinstance(payload, str):
        if not payload.isascii():
            raise ValueError('text to mask must be ASCII')
        return bytes(mask_bytes(payload[start:stop].encode(), key))
    return bytes(mask_bytes(payload[start:stop], key))
