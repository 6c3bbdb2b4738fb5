"""``engineio-gevent demo``: measures of one client and of many, with a real server."""

from __future__ import annotations

from importlib.util import find_spec

from ..errors import CommandError, Exit


class DemoError(CommandError):
    """Ends the demo. Its text is a one-line error message."""


class MissingExtra(DemoError):
    """A package of the extra ``demo`` is missing."""

    exit_code = Exit.USAGE


def require(*modules: str) -> None:
    """Check that modules of the extra ``demo`` are installed.

    :param modules: the names of the modules.
    :raises MissingExtra: one of them is missing.
    """
    for module in modules:
        if find_spec(module) is None:
            raise MissingExtra(
                f"the package {module!r} is missing. Run: pip install 'engineio-gevent[demo]'"
            )
