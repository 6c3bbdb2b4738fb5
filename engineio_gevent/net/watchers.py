"""The end of the loop's watchers."""

from __future__ import annotations

from typing import Any


def close_watchers(loop: Any, *watchers: Any) -> None:
    """Stop watchers for good.

    :param loop: the loop of the watchers. If it has been destroyed, nothing is done: to stop a
                 watcher would raise an exception of the loop's own, or abort the process (libuv).
    :param watchers: watchers of any kind. None stands for no watcher.
    """
    for watcher in watchers:
        if watcher is not None and loop.ptr:
            watcher.close()
