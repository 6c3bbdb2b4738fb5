"""A process without a free descriptor."""

import contextlib

import pytest


@contextlib.contextmanager
def no_descriptors():
    """Within the block, nothing can be opened in this process. What is open stays so."""
    resource = pytest.importorskip('resource', reason='Windows has no limit on descriptors')
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
