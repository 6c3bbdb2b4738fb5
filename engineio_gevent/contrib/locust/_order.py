"""Raises an ``ImportError`` if ``locust`` is not imported before this package.

Importing locust monkey-patches the process. If ``ssl`` has been imported earlier, for example by
requests, each new TLS context then raises a RecursionError. The command ``locust`` imports itself
before it reads a locustfile. The check is for programs that use Locust as a library, and for tools
that import a locustfile.
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
        'import locust before engineio_gevent: importing locust monkey-patches the process, '
        'which must happen before ssl is imported'
    )
