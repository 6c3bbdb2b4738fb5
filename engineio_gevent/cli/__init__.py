"""The command line: ``engineio-gevent``, and ``python -m engineio_gevent``.

``app`` runs it; each command is a module of its own beside it.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.util import find_spec

#: What the commands are made with, by the extra ``cli``.
_NEEDED = 'click', 'rich', 'prompt_toolkit'


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command.

    :param argv: the arguments; those of the process if None.
    :returns: the exit code.
    """
    missing = [name for name in _NEEDED if find_spec(name) is None]
    if missing:
        print(
            f'engineio-gevent: the command needs {missing[0]!r}: '
            "pip install 'engineio-gevent[cli]'",
            file=sys.stderr,
        )
        return 2
    from . import app

    return app.run(argv)
