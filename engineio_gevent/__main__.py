"""``python -m engineio_gevent`` is the command ``engineio-gevent``."""

import sys

from .cli import main

sys.exit(main())
