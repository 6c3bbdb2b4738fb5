"""The command line: ``engineio-gevent``, and ``python -m engineio_gevent``.

``app`` runs it. Each command has its own module.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.util import find_spec

#: The modules of the extra ``cli``.
_NEEDED = 'click', 'rich', 'prompt_toolkit'


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command.

    :param argv: the arguments; None: those of the process.
    :returns: the exit code.
    """
    missing = [name for name in _NEEDED if find_spec(name) is None]
    if missing:
        print(
            f'engineio-gevent: the package {missing[0]!r} is missing. '
            "Run: pip install 'engineio-gevent[cli]'",
            file=sys.stderr,
        )
        return 2
    from . import app

    return app.run(argv)
