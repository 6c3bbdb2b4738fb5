"""``python docs/build.py [SPHINX-OPTION ..]``: the documentation as HTML, in ``build/docs``.

Locust comes first: it monkey-patches the process, and refuses to be documented otherwise.
"""

import locust  # isort: skip  # noqa: F401 - for what it does to the process

import sys
from pathlib import Path

from sphinx.cmd.build import main

HERE = Path(__file__).parent

sys.exit(
    main(
        [
            '-b',
            'html',
            '-W',
            '--keep-going',
            '-n',
            *sys.argv[1:],
            str(HERE),
            str(HERE.parent / 'build' / 'docs'),
        ]
    )
)
