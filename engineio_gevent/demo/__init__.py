"""``engineio-gevent demo``: what the client does, shown on a real server."""

from __future__ import annotations

from importlib.util import find_spec

from ..cli.errors import CommandError, Exit


class DemoError(CommandError):
    """Something that ends the demo; its text is one line for the person who runs it."""


class MissingExtra(DemoError):
    """A package of the extra is not installed."""

    exit_code = Exit.USAGE


def require(*modules: str) -> None:
    """Check that what the demo alone needs is there.

    :param modules: the names of the modules.
    :raises MissingExtra: one of them is not.
    """
    for module in modules:
        if find_spec(module) is None:
            raise MissingExtra(f"the demo needs {module!r}: pip install 'engineio-gevent[demo]'")
