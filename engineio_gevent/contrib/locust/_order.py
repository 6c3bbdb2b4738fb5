"""Locust has to be imported before this package; a clear error where it was not.

Importing locust monkey-patches the process. Modules that have taken their classes from ``ssl``
before, as requests has by then, break: each TLS context they make ends in a RecursionError.
The command ``locust`` has imported itself before it reads a locustfile; it is programs that use
Locust as a library, and tools that import a locustfile, that this is for.
"""

from __future__ import annotations

import os
import sys

from gevent import monkey

if (
    'locust' not in sys.modules
    and not os.getenv('LOCUST_SKIP_MONKEY_PATCH')
    and not monkey.is_module_patched('ssl')
):
    raise ImportError(
        'import locust before engineio_gevent: locust monkey-patches the process when it is '
        'imported, and that has to come before anything has imported ssl'
    )
