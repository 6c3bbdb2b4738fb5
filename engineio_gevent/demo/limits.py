"""How many descriptors this process, and those it starts, may have open."""

from __future__ import annotations

from . import DemoError


def allow_descriptors(count: int) -> None:
    """Raise the soft limit where it is lower.

    :param count: how many will be open.
    :raises DemoError: the hard limit does not allow it.
    """
    try:
        import resource
    except ImportError:  # a system without such limits
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= count:
        return
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (count, hard))
    except (ValueError, OSError) as exc:
        raise DemoError(
            f'{count:,} open files are needed, and the limit is {hard:,}: '
            'take fewer --clients, or raise it by "ulimit -Hn"'
        ) from exc
