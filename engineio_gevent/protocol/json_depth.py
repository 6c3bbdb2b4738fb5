"""How deep JSON may nest where the stack is small.

The C scanner of ``json`` recurses. CPython up to 3.12 stops it at the recursion
limit; 3.13 at 10,000 levels, 1.3 MB of stack. The main thread has that; a native
thread beside it may have less (512 KiB on macOS), and the process would end.
"""

from __future__ import annotations

import os
import sys
from _thread import get_native_id
from itertools import accumulate

#: Levels of arrays and objects that are read there; a few more may be. They take 65 KiB.
MAX_NESTING = 500

_STEPS = {ord('['): 1, ord('{'): 1, ord(']'): -1, ord('}'): -1}
_OTHERS = bytes(byte for byte in range(256) if byte not in _STEPS)


def too_deep(text: str) -> bool:
    """Whether to read this as JSON could take more stack than there may be.

    :param text: JSON, or any text; cheap where it is short or has few brackets.
    """
    if len(text) <= MAX_NESTING or text.count('[') + text.count('{') <= MAX_NESTING:
        return False
    if sys.version_info < (3, 13) or _has_large_stack():
        return False  # json has a limit of its own, and it is safe
    return nests_deeper(text, MAX_NESTING)


def _has_large_stack() -> bool:
    # Linux gives the main thread the number of the process; elsewhere nothing is known.
    return get_native_id() == os.getpid()


def nests_deeper(text: str, levels: int) -> bool:
    """Whether brackets outside of strings nest deeper than this; 12 ms for 1 MB."""
    # What stands in strings does not count: of the parts between quotes, every second.
    bare = ''.join(text.replace('\\\\', '').replace('\\"', '').split('"')[::2])
    brackets = bare.encode(errors='replace').translate(None, _OTHERS)
    for _ in range(8):  # most JSON is flat, and gone after a few
        brackets = brackets.replace(b'[]', b'').replace(b'{}', b'')
    return max(accumulate(map(_STEPS.__getitem__, brackets)), default=0) > levels
