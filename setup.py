"""The README as a package index shows it; all else stands in setup.cfg."""

import re
from pathlib import Path

from setuptools import setup

SOURCE = 'https://github.com/engineio-gevent/engineio-gevent/blob/main/'
README = Path(__file__).with_name('README.md').read_text(encoding='utf-8')

setup(
    # Beside the index's page there are none of the files that the README links to.
    long_description=re.sub(r'\]\((?!https?:|#)', f']({SOURCE}', README),
    long_description_content_type='text/markdown',
)
