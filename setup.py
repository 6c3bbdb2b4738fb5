"""What setup.cfg cannot say: the repository's address, the README for an index, the extension."""

import os
import re
import sys
from pathlib import Path

from setuptools import Extension, setup

#: Where the repository is, as in ``'https://example.org/owner/name'``. It is empty until the
#: repository is public: nothing may link to a name that somebody else could register.
ADDRESS = ''

PAGES = {'Source': '', 'Issues': '/issues', 'Changelog': '/blob/main/CHANGELOG.md'}
README = Path(__file__).with_name('README.md').read_text(encoding='utf-8')

# The page of a package index has none of the files that the README shows and links to.
README = re.sub(r'<picture>.*?</picture>\n\n', '', README, flags=re.DOTALL)
link = rf'[\1]({ADDRESS}/blob/main/\2)' if ADDRESS else r'\1'

# One binary for all CPythons from 3.10 on (PEP 384). Those without the GIL have no such binaries,
# and PyPy is faster in Python.
PURE = (
    os.environ.get('ENGINEIO_GEVENT_PURE_PYTHON', '0') not in ('', '0')
    or sys.implementation.name != 'cpython'
    or 't' in getattr(sys, 'abiflags', '')
)
INIT = Path(__file__).with_name('engineio_gevent') / '__init__.py'
VERSION = re.search("^__version__ = '(.*)'$", INIT.read_text(), re.MULTILINE)[1]
SPEEDUPS = Extension(
    'engineio_gevent.protocol._speedups',
    ['engineio_gevent/protocol/_speedups.c'],
    # It has the version: build/ may have that of another one, which would not be used.
    depends=['engineio_gevent/__init__.py'],
    define_macros=[('PACKAGE_VERSION', VERSION)],
    extra_compile_args=[] if os.name == 'nt' else ['-O3', '-g0'],
    # Without a compiler the package is installed all the same, and uses the Python.
    optional=True,
    py_limited_api=True,
)

setup(
    ext_modules=[] if PURE else [SPEEDUPS],
    options={} if PURE else {'bdist_wheel': {'py_limited_api': 'cp310'}},
    project_urls={name: ADDRESS + path for name, path in PAGES.items() if ADDRESS},
    long_description=re.sub(r'\[([^]]*)\]\((?!https?:|#)([^)]*)\)', link, README),
    long_description_content_type='text/markdown',
)
