"""The address of this machine from which each user connects."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterator

# How many users of this process have an address of each list.
_users: dict[tuple[str, ...], Iterator[int]] = {}
_USERS_SIZE = 256


def next_source(addresses: str | Collection[str], worker: int) -> str:
    """The address of the next user, from a list that is not empty.

    :param worker: the number of this process among the workers. They begin with different
                   addresses.
    """
    known = (addresses,) if isinstance(addresses, str) else tuple(addresses)
    if len(_users) >= _USERS_SIZE:
        _users.clear()
    users = _users.setdefault(known, itertools.count())
    return known[(worker + next(users)) % len(known)]
