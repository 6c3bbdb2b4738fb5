"""The limit of open descriptors of this process and its children."""

from __future__ import annotations

from .errors import CommandError


def allow_descriptors(count: int) -> None:
    """Raise the soft limit if it is too low.

    :param count: the number of descriptors that will be open.
    :raises CommandError: the hard limit is too low.
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
        raise CommandError(
            f'{count:,} open files are needed, but the limit is {hard:,}. '
            'Reduce --clients, or raise the limit with "ulimit -Hn"'
        ) from exc
