"""The end of the loop's watchers."""

from __future__ import annotations

from typing import Any


def close_watchers(loop: Any, *watchers: Any) -> None:
    """Stop watchers for good.

    :param loop: whose they are. It may have been destroyed, and they with it: to stop one then
                 raises an exception that differs from loop to loop, or aborts the process (libuv).
    :param watchers: watchers of any kind; None is none.
    """
    for watcher in watchers:
        if watcher is not None and loop.ptr:
            watcher.close()
